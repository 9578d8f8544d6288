/* Mail whose domain never had a route, as far as memory goes: a share of memory, so that what
 * waits for silent name servers leaves what is left to mail that can go. Called by intake.c
 * and route.c; counted in domain.c; on the dispatcher's thread.
 *
 * A domain without a route that has mail due waits in a list of its own (due_first); the newest
 * and the oldest of it are read in turn, as far as the share has room. When it has none, mail
 * whose look-up takes long is put back into the queue: the domain is put off, and read again when
 * the answer comes. */
#include "unrouted.h"

#include "domain.h"
#include "fair.h"
#include "item.h"

#define LONG	250 /* ms; mail whose look-up takes as long is put back */
#define OUT_MAX 64u /* put back in one go */
#define PUT_OFF_MAX                                                                                \
	512u /* look-ups under way for those: more than the slow lane of the resolver holds */

void unrouted_known(struct dispatch *d, struct domain *m)
{
	if (m->known)
		return;
	m->known = true;
	d->routes.unrouted -= m->in_memory;
	if (m->feed.state != FEED_DUE)
		return;
	list_del(&m->in_due);
	list_add(m->in_memory ? &d->reads.due : &d->reads.due_new, &m->in_due);
}

void unrouted_asked(struct dispatch *d, struct domain *m)
{
	m->asked_at = loop_mono(d->loop);
	list_add(&d->routes.asked, &m->in_asked);
}

void unrouted_answered(struct dispatch *d, struct domain *m)
{
	list_del(&m->in_asked);
	m->looked_up = true;
	if (!m->put_off)
		return;
	m->put_off = false;
	d->routes.nput_off--;
	domain_feed(d, m, FEED_ON_LOOK, NULL);
}

static void put_back(struct dispatch *d, struct domain *m)
{
	m->put_off = true; /* first: what leaves memory is due again */
	d->routes.nput_off++;
	for (struct flow *f = m->flows; f; f = f->next)
		while (!list_empty(&f->match.ready))
			work_evict(d, container(f->match.ready.next, struct work, match.in_flow));
	domain_feed(d, m, FEED_ON_STOP, NULL);
}

static void make_room(struct dispatch *d)
{
	ms_t before = loop_mono(d->loop) - LONG;
	struct list *next;
	unsigned n = 0;

	for (struct list *l = d->routes.asked.next; l != &d->routes.asked && n < OUT_MAX;
		l = next) {
		struct domain *m = container(l, struct domain, in_asked);

		next = l->next;
		if (m->asked_at > before)
			return;
		if (m->known || m->put_off)
			continue;
		put_back(d, m);
		n++;
	}
}

struct domain *unrouted_next(struct dispatch *d)
{
	struct domain *m;
	struct list *l;

	if (list_empty(&d->reads.due_first) || d->routes.nput_off >= PUT_OFF_MAX)
		return NULL;
	if (d->routes.unrouted + d->reads.reserved_first >= fair_unrouted_max(d)) {
		make_room(d);
		if (d->routes.unrouted + d->reads.reserved_first >= fair_unrouted_max(d))
			return NULL;
	}
	d->routes.newest_first = !d->routes.newest_first;
	l = d->routes.newest_first ? d->reads.due_first.prev : d->reads.due_first.next;
	m = container(l, struct domain, in_due);
	return d->held.work + d->reads.reserved < fair_due_max(d, m) ? m : NULL;
}
