/* Memory of open transactions: what each client holds, and what follows when it is too much in all.
 * Runs on the worker's thread.
 *
 * Envelopes: a client has a share, and the unproven together have another (clients.c); who is over
 * it gets 452 to RCPT. Content: what is over body_memory_max does not stop everybody. Whole chunks
 * that silent sessions hold go to the queue's file, the most and the longest silent first;
 * strangers that stay silent are ended if that is not enough; and who waits meanwhile are the
 * clients that hold more than their share. Only far over the limit all wait. */
#include <stdlib.h>
#include <utlist.h>

#include "inbound.h"

#define SHARE_LEAST   (256u << 10)
#define SHARES_PROVEN 2u
#define SHARES	      8u   /* a client may hold such a part of content when it is short */
#define RELIEVE_EVERY 20   /* ms */
#define SILENT	      200  /* ms after which content is thought to be held */
#define SILENT_ENDS   5000 /* a stranger's ends then */
#define HOLDERS	      256u /* searched in one go */

void budget_charge(struct session *s)
{
	size_t envelope = 0, content = 0;

	if (s->server)
		smtp_server_held(s->server, &envelope, &content);
	content += sign_held(s);
	if (!s->known || (envelope == s->charged_envelope && content == s->charged_content))
		return;
	client_charge(s->ib->p.limits, s->known, (ptrdiff_t)(content - s->charged_content),
		(ptrdiff_t)(envelope - s->charged_envelope));
	s->charged_envelope = envelope;
	s->charged_content = content;
}

bool budget_envelope_room(void *arg, size_t bytes)
{
	struct session *s = arg;
	size_t more = bytes > s->charged_envelope ? bytes - s->charged_envelope : 0;

	return client_has_room(s->ib->p.limits, s->known, more, loop_mono(s->ib->loop));
}

struct holder {
	struct session *s;
	uint64_t burden; /* bytes × ms of silence */
};

static int by_burden(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return x->burden < y->burden ? 1 : x->burden > y->burden ? -1 : 0;
}

static unsigned find_holders(struct inbound *ib, struct holder *holders)
{
	ms_t now = loop_mono(ib->loop);
	struct session *s;
	unsigned n = 0;

	DL_FOREACH (ib->sessions, s) {
		ms_t silent = now - s->since;

		if (!s->content.begun || s->charged_content == 0 || silent < SILENT ||
			(s->waits & WAIT_COMMIT))
			continue;
		holders[n++] = (struct holder){ s, s->charged_content * (uint64_t)silent };
		if (n == HOLDERS)
			break;
	}
	qsort(holders, n, sizeof(*holders), by_burden);
	return n;
}

static bool still_over(const struct inbound *ib, uint64_t moved)
{
	return body_memory() > ib->p.body_memory_max / 8 * 7 + moved;
}

static void end_holder(struct session *s)
{
	static const char reply[] =
		"421 4.3.1 No memory for a message that does not go on, try again later";

	session_rejected_for(s, REJECT_MEMORY, reply);
	session_end(s, reply);
}

void budget_relieve(struct inbound *ib)
{
	struct holder holders[HOLDERS];
	ms_t now = loop_mono(ib->loop);
	uint64_t moved = 0;
	unsigned n;

	if (ib->relieved && now - ib->relieved < RELIEVE_EVERY)
		return;
	ib->relieved = now;
	n = find_holders(ib, holders);
	for (unsigned i = 0; i < n && still_over(ib, moved); i++)
		moved += inbound_evict(holders[i].s);
	for (unsigned i = 0; i < n && still_over(ib, moved); i++) {
		struct session *s = holders[i].s;

		if (s->stranger && now - s->since >= SILENT_ENDS && s->charged_content > 0) {
			moved += s->charged_content;
			end_holder(s);
		}
	}
}

bool budget_may_go_on(struct session *s)
{
	uint64_t max = s->ib->p.body_memory_max, share = max / SHARES;
	size_t own = atomic_load_explicit(&s->known->content, memory_order_relaxed);

	budget_relieve(s->ib);
	if (client_is_proven(s->known, loop_mono(s->ib->loop)))
		share = max / SHARES_PROVEN;
	if (share < SHARE_LEAST)
		share = SHARE_LEAST;
	return body_memory() <= max + max / 2 && own <= share;
}
