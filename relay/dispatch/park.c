/* Memory is for what can go: mail that waits long is put back into the queue, and its domain is
 * parked with all that wait for the same (relay/sched/wait_class.c, which says when some may be
 * tried again). Called by flows that wait, by transactions that begin, by operators and by the
 * turn, on the dispatcher's thread.
 *
 * The due index knows no pools. When mail of some of a domain's pools is parked, what others have
 * is looked for behind and among that: from the place that was reached (feed.cursor), and each
 * entry once. */
#include "park.h"

#include "domain.h"
#include "item.h"
#include "lifetime.h"
#include "party.h"

#define CLASSES_A_TURN 64u

/* What lies before the place that was reached may go now. */
static void may_go(struct dispatch *d, struct domain *m)
{
	domain_feed(d, m, FEED_ON_STALE, NULL);
	m->feed.cursor = (struct feed_place){ 0 };
	domain_due(d, m, loop_wall(d->loop));
}

/* After each call that may have let some go. */
static void take_effects(struct dispatch *d)
{
	struct parking *pk;

	while ((pk = waits_unparked(&d->waits)))
		may_go(d, container(pk, struct domain, parking));
}

/* When something in it may be over; mono, 0: nothing is in it. */
static ms_t end_of(const struct dispatch *d, const struct flow *f)
{
	ms_t first = 0;

	for (struct list *l = f->match.ready.next; l != &f->match.ready; l = l->next) {
		const struct work *w = container(l, struct work, match.in_flow);
		ms_t at = w->items ? lifetime_look(d, w->message, w->items) : 0;

		if (at && (!first || at < first))
			first = at;
	}
	return first;
}

/* Not without memory for it: then it stays in memory. */
void park_flow(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;
	struct wait_for why;
	bool parked;

	wait_of(&why, &f->match.waiter, f->pool, m->provider);
	why.alone |= f->diverted;
	why.end = end_of(d, f);
	parked = wait_park(&d->waits, &m->parking, &why, loop_mono(d->loop));
	take_effects(d);
	if (!parked)
		return;
	while (!list_empty(&f->match.ready))
		work_evict(d, container(f->match.ready.next, struct work, match.in_flow));
	m->idle_since = 0; /* its route goes with the next sweep */
	domain_feed(d, m, FEED_ON_STOP, NULL);
}

void park_joined(
	struct dispatch *d, struct domain *m, const struct party *p, const struct message *msg)
{
	wait_ends(&d->waits, &m->parking, party_pool(p), lifetime_look_fresh(d, msg));
}

void park_gone(struct dispatch *d, const struct flow *f)
{
	wait_gone(&d->waits, &f->domain->parking, f->pool);
	take_effects(d);
	domain_feed(d, f->domain, FEED_ON_LOOK, NULL); /* it has its whole window again */
}

void park_forget(struct dispatch *d, struct domain *m)
{
	wait_forget(&d->waits, &m->parking);
	take_effects(d);
}

void park_ask(struct dispatch *d, struct domain *m)
{
	wait_ask(&d->waits, &m->parking, loop_mono(d->loop));
	take_effects(d);
}

void park_over(struct dispatch *d)
{
	ms_t now = loop_mono(d->loop);

	if (!waits_at(&d->waits) || waits_at(&d->waits) > now)
		return;
	waits_run(&d->waits, now, CLASSES_A_TURN);
	take_effects(d);
}

void park_wake(struct dispatch *d)
{
	waits_wake(&d->waits, loop_mono(d->loop));
	take_effects(d);
}
