/* Inbound sessions when places are short: who goes first. Runs on the worker's thread.
 *
 * A session is a stranger until it has authenticated or its network has had a message accepted of
 * late. Strangers stand in a list, by when they were last heard: the head has been silent longest.
 * With most places taken, or much memory held by open transactions, their silence is borne for
 * seconds only, and at the limit the head goes when somebody comes. Others never go for that. */
#include <utlist.h>

#include "inbound.h"

#define STRESS_SHARE	 800 /* thousandths of the places */
#define PATIENCE	 10000
#define PATIENCE_TLS	 5000
#define PATIENCE_PREFACE 3000
#define GRACE		 1000 /* ms that anybody may be silent */
#define TRIES		 16

void stress_begin(struct session *s)
{
	if (s->stranger || client_is_proven(s->known, loop_mono(s->ib->loop)))
		return;
	s->stranger = true;
	DL_APPEND2(s->ib->strangers, s, strange_prev, strange_next);
}

void stress_leave(struct session *s)
{
	if (!s->stranger)
		return;
	s->stranger = false;
	DL_DELETE2(s->ib->strangers, s, strange_prev, strange_next);
}

void stress_progress(struct session *s)
{
	if (!s->stranger || !s->strange_next)
		return;
	DL_DELETE2(s->ib->strangers, s, strange_prev, strange_next);
	DL_APPEND2(s->ib->strangers, s, strange_prev, strange_next);
}

static bool memory_is_short(const struct inbound *ib)
{
	const struct session_limits *l = ib->p.limits;

	return (ib->p.body_memory_max > 0 && body_memory() > ib->p.body_memory_max / 4 * 3) ||
	       (l->envelope_max > 0 && atomic_load_explicit(&l->envelope, memory_order_relaxed) >
					       l->envelope_max / 8 * 3);
}

ms_t stress_patience(const struct session *s)
{
	if (!s->stranger)
		return 0;
	if (limits_in_use(s->ib->p.limits, s->ln->p) < STRESS_SHARE && !memory_is_short(s->ib))
		return 0;
	return s->waits & WAIT_PREFACE ? PATIENCE_PREFACE
	       : s->waits & WAIT_TLS   ? PATIENCE_TLS
				       : PATIENCE;
}

bool stress_make_room(struct inbound *ib)
{
	static const char reply[] =
		"421 4.3.2 Silent while others want to be served, try again later";
	ms_t now = loop_mono(ib->loop);
	struct session *s = ib->strangers;

	for (unsigned i = 0; s && i < TRIES; i++, s = s->strange_next) {
		if (now - s->since < GRACE)
			return false; /* nor has any behind it been silent longer */
		if (s->waits & (WAIT_COMMIT | WAIT_APPEND | WAIT_MEMORY))
			continue;
		session_rejected_for(s, REJECT_SILENT, reply);
		session_end(s, reply);
		return true;
	}
	return false;
}
