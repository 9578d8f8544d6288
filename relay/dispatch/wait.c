/* What waits for what, for "postern why": asked for each domain and pool with waiting mail, on the
 * dispatcher's thread. Changes nothing. */
#include <string.h>

#include "domain.h"
#include "hold.h"
#include "pool.h"

static bool waits(const struct flow *f, const struct pool *pool)
{
	return f->pool == pool && !f->aside && f->match.nready && f->match.waiter.waiting;
}

static void tell_flow(const struct flow *f, struct dispatch_wait *ret)
{
	const struct waiter *w = &f->match.waiter;

	ret->reason = w->reason;
	ret->limit = w->limit;
	ret->cluster = w->cluster;
	memcpy(ret->where, w->where, sizeof(ret->where));
	ret->until = w->until ? w->until : w->wake.pos ? w->wake.at : 0;
}

static bool tell_parked(const struct domain *m, const struct pool *pool, struct dispatch_wait *w)
{
	struct wait_for f;

	if (!wait_tell(&m->parking, pool, &f))
		return false;
	w->reason = f.reason;
	w->limit = f.limit;
	w->cluster = f.cluster;
	memcpy(w->where, f.where, sizeof(w->where));
	w->until = f.until;
	return true;
}

static uint32_t recipients(const struct flow *f)
{
	uint32_t n = 0;

	for (const struct list *l = f->match.ready.next; l != &f->match.ready; l = l->next)
		n += container(l, struct work, match.in_flow)->n;
	return n;
}

void dispatch_wait(struct dispatch *d, struct dispatch_wait *w)
{
	const struct domain *m = domain_find(d, w->domain);
	const struct pool *pool = pool_get(d, w->pool);
	bool found;

	w->reason = HOLD_NONE;
	w->limit = LIMIT_NONE;
	w->provider = m && m->nhosts ? m->provider : ~0u;
	w->cluster = w->aside = w->paced = 0;
	w->until = 0;
	w->where[0] = '\0';
	if (hold_is_set(d, w->domain)) {
		w->reason = HOLD_OPERATOR;
		return;
	}
	if (!m || !pool)
		return;
	found = tell_parked(m, pool, w);
	for (const struct flow *f = m->flows; f; f = f->next) {
		if (f->aside && f->pool == pool)
			*(f->aside == HOLD_SENDER ? &w->aside : &w->paced) += recipients(f);
		/* work that other subnets refused waits for something of its own */
		if (!found && waits(f, pool) && (w->reason == HOLD_NONE || !f->diverted))
			tell_flow(f, w);
	}
	if (w->reason == HOLD_NONE && m->asked && !m->route)
		w->reason = HOLD_DNS;
	if (w->until)
		w->until = loop_wall(d->loop) + (w->until - loop_mono(d->loop));
}
