/* What the mail of each pool waits for, and for how much of the time. Called once a minute of the
 * rehearsal; what has waited in a flow for longer than that is no moment's matter. A minute is put
 * down to what most of the pool's waiting messages wait for: its bottleneck then. Mail that a
 * receiver deferred and that waits for its retry has its own counts. */
#include <stdlib.h>

#include "state.h"

#define MINUTE 60000

/* Waits for a place or a rate are told apart by whose limit it is, others by their reason. */
static unsigned kind_of(const struct waiter *w)
{
	bool limit =
		(w->reason == HOLD_CAP || w->reason == HOLD_RATE) && w->limit < REHEARSAL_LIMITS;

	return limit && w->limit ? REHEARSAL_REASONS + (unsigned)w->limit : (unsigned)w->reason;
}

int bottlenecks_new(struct rehearsal *r)
{
	r->record.waits =
		calloc((size_t)r->params->npools * REHEARSAL_WAITS, sizeof(*r->record.waits));
	return r->record.waits ? 0 : -1;
}

void bottlenecks_free(struct rehearsal *r)
{
	free(r->record.waits);
}

/* The pool's messages by what they wait for. */
static void count(const struct rehearsal *r, unsigned pool, uint64_t n[REHEARSAL_WAITS])
{
	memset(n, 0, REHEARSAL_WAITS * sizeof(*n));
	for (uint32_t i = 0; i < r->nflows; i++) {
		const struct flow *f = &r->flows[i];
		const struct waiter *w = &f->match.waiter;

		if (f->pool == pool && f->match.nready && w->waiting &&
			w->reason < REHEARSAL_REASONS &&
			r->now - letter_of(f->match.ready.next)->arrived >= MINUTE)
			n[kind_of(w)] += f->match.messages;
	}
}

void bottlenecks_look(struct rehearsal *r)
{
	for (unsigned pool = 0; pool < r->params->npools; pool++) {
		struct rehearsal_wait *w = &r->record.waits[(size_t)pool * REHEARSAL_WAITS];
		uint64_t n[REHEARSAL_WAITS];
		unsigned most = 0;

		count(r, pool, n);
		for (unsigned k = 0; k < REHEARSAL_WAITS; k++)
			if (n[k] > n[most])
				most = k;
		if (!n[most])
			continue;
		w += most;
		if (!w->time)
			w->first = wall_of(r) - MINUTE;
		w->last = wall_of(r);
		w->time += MINUTE;
		if (n[most] > w->most)
			w->most = n[most];
	}
}

const char *rehearsal_wait_text(unsigned wait)
{
	return wait < REHEARSAL_REASONS
		       ? hold_reason_text((enum hold_reason)wait)
		       : policy_limit_text((enum policy_limit)(wait - REHEARSAL_REASONS));
}
