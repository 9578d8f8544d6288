/* Fair shares: who gets memory, and which domain is read next. Called by the other parts of the
 * dispatcher, on its thread.
 *
 * Parties and pools have "much" in memory or not (party.c). Memory in all is for everyone up to a
 * part that is kept for parties without much; the last of that is for pools without much. A domain's
 * window has such a part, too. So who comes new finds room at once, however much others have
 * waiting, and whoever takes the room that was kept has much soon, and stops. */
#include "fair.h"

#include <stdlib.h>

#include "flow.h"
#include "party.h"
#include "postern/must.h"

#define KEPT	     8u	 /* a part of so many of memory is kept for parties without much */
#define KEPT_POOLS   16u /* of so many, for pools without much */
#define KEPT_READING 16u /* up to there domains are read that have nothing in memory */
#define KEPT_WINDOW  8u	 /* of so many of a domain's window, over it, for senders of few there */
#define OLD_EVERY    4u	 /* one domain of so many that are read has mail in memory */
#define UNROUTED     4u	 /* the share of memory of mail whose domain never had a route */

/* ---- shares of memory ---- */

static uint32_t without_part(uint32_t n, uint32_t part)
{
	return n - (n + part - 1) / part;
}

static uint32_t memory_for(const struct dispatch *d, const struct party *p)
{
	if (party_has_much(d, p))
		return without_part(d->p.work_max, KEPT);
	if (pool_has_much(d, party_pool(p)) && party_rank(p) >= RANK_NORMAL)
		return without_part(d->p.work_max, KEPT_POOLS);
	return d->p.work_max;
}

uint32_t fair_window_end(const struct dispatch *d)
{
	return d->p.window + d->p.window / KEPT_WINDOW + 1;
}

/* What is kept of a domain's window is taken in ever smaller parts: there is always some left. Who
 * goes before others has as much as a window more. */
static bool window_room(struct dispatch *d, struct domain *m, const struct party *p)
{
	const struct flow_kind k = { .pool = party_pool(p), .party = (struct party *)(uintptr_t)p };
	uint32_t n = m->in_memory - m->gathered, end = fair_window_end(d);
	const struct flow *f;

	if (party_rank(p) < RANK_NORMAL)
		return n < end + d->p.window;
	if (n < d->p.window || n >= end)
		return n < d->p.window;
	f = flow_find(d, m, &k);
	return !f || f->works < (end - n) / 4;
}

uint32_t fair_unrouted_max(const struct dispatch *d)
{
	return d->p.work_max / UNROUTED;
}

bool fair_room(struct dispatch *d, struct domain *m, const struct party *p)
{
	return d->held.work + d->reads.reserved < memory_for(d, p) && window_room(d, m, p) &&
	       (m->known || d->routes.unrouted < fair_unrouted_max(d));
}

uint64_t fair_body_max(const struct dispatch *d, const struct party *p)
{
	uint64_t max = d->p.body_memory_max;

	return party_has_much(d, p) ? max / 2 : max - max / 4;
}

/* ---- who is read from the queue ---- */

uint32_t fair_due_max(const struct dispatch *d, const struct domain *m)
{
	return m->in_memory ? due_max(d) : without_part(d->p.work_max, KEPT_READING);
}

struct domain *fair_due(struct dispatch *d)
{
	const uint32_t used = d->held.work + d->reads.reserved;
	struct list *all[2] = { &d->reads.due_new, &d->reads.due };
	bool old_first = d->reads.due_turn % OLD_EVERY == 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct list *l = all[i ^ old_first];
		struct domain *m;

		if (list_empty(l))
			continue;
		m = container(l->next, struct domain, in_due);
		if (used < fair_due_max(d, m))
			return m;
	}
	return NULL;
}
