/* What follows when a hold begins or ends: of a recipient domain (hold.c), or of a selector
 * (orders.c). What waits in memory goes back into the queue, and is held when it comes from there;
 * what is running is not interrupted; a domain that is let go is read again. Called by operate.c, on
 * the dispatcher's thread. */
#include "standing.h"

#include <errno.h>

#include "domain.h"
#include "hold.h"
#include "item.h"
#include "operation.h"
#include "orders.h"
#include "park.h"
#include "state.h"

/* ---- of a domain ---- */

/* What waits in memory goes back into the queue; what is running is not interrupted. */
static void domain_put_back(struct dispatch *d, struct domain *m)
{
	m->on_hold = true;
	domain_feed(d, m, FEED_ON_STALE, NULL);
	park_forget(d, m);
	for (struct flow *f = m->flows; f; f = f->next)
		while (!list_empty(&f->match.ready))
			work_evict(d, container(f->match.ready.next, struct work, match.in_flow));
	domain_feed(d, m, FEED_ON_STOP, NULL);
}

static int hold_domain(struct dispatch *d, const char *name)
{
	struct domain *m = domain_find(d, name);
	int r = hold_add(d, slice_of(name));

	if (!r && m)
		domain_put_back(d, m);
	return r ? r : hold_record(d, name, true);
}

static int release_domain(struct dispatch *d, const char *name)
{
	struct domain *m = domain_get(d, name);
	int r = m ? hold_record(d, name, false) : -ENOMEM;

	if (r)
		return r;
	m->on_hold = false;
	domain_due(d, m, loop_wall(d->loop)); /* it is looked what there is */
	hold_forget(d, name);
	return 0;
}

struct releasing {
	struct dispatch *d;
	int result;
};

static void release_next(void *arg, const char *name)
{
	struct releasing *r = arg;

	r->result = r->result ? r->result : release_domain(r->d, name);
}

/* NULL: all of them. */
static int release_held(struct dispatch *d, const char *name)
{
	struct releasing all = { .d = d };

	if (name)
		return hold_is_set(d, name) ? release_domain(d, name) : 0;
	holds_each(d, release_next, &all);
	return all.result;
}

/* ---- of a selector ---- */

static int record(struct dispatch *d, const struct order *o)
{
	char key[ORDER_KEY];
	struct buf b;
	int r;

	buf_init(&b, 0);
	order_key(o, key);
	r = order_record(o, &b);
	if (!r)
		r = state_put(d, slice_of(key), buf_slice(&b));
	buf_deinit(&b);
	return r;
}

static bool any_held(const struct dispatch *d, const struct work *w)
{
	for (const struct item *i = w->items; i; i = i->next)
		if (order_of(d, w->message, i->recipient))
			return true;
	return false;
}

/* What waits in memory under an order goes back into the queue, and is held when it comes from
 * there; what is running is not interrupted. */
static void put_back(struct dispatch *d)
{
	struct domain *m, *next;
	struct list *l, *after;

	HASH_ITER (hh, d->domains, m, next) {
		bool any = false;

		for (struct flow *f = m->flows; f; f = f->next) {
			for (l = f->match.ready.next; l != &f->match.ready; l = after) {
				struct work *w = container(l, struct work, match.in_flow);

				after = l->next;
				if (!any_held(d, w))
					continue;
				any = true;
				work_evict(d, w);
			}
		}
		if (!any)
			continue;
		domain_feed(d, m, FEED_ON_STALE, NULL);
		domain_due(d, m, loop_wall(d->loop));
	}
}

static int begin_order(struct dispatch *d, const struct dispatch_order *given)
{
	struct slice domain = selector_one_domain(given->which);
	struct order *o;
	int r = domain.p ? hold_domain(d, domain.p) : 0;

	if (!r)
		r = order_set(d, given, &o);
	if (!r)
		r = record(d, o);
	if (!r && !domain.p)
		put_back(d);
	return r;
}

/* It holds nothing from here on; its mail is let go by the operation that follows. */
int order_end(struct dispatch *d, struct order *o)
{
	bool was = o->ending;
	int r;

	o->ending = true;
	r = record(d, o);
	if (!r && o->of_domain)
		r = release_held(d, selector_one_domain(o->which).p);
	if (r)
		o->ending = was;
	return r;
}

bool operation_ends(const struct operation *o, const struct order *order)
{
	return !o->which || o->which == order->which || selector_same(o->which, order->which);
}

/* A hold may be for what comes, too; a release ends the orders of the same selector, or all. */
int standing_change(struct dispatch *d, const struct operation *o, const struct dispatch_task *t)
{
	struct slice domain = o->which ? selector_one_domain(o->which) : (struct slice){ NULL, 0 };
	int r = 0;

	if (o->dry)
		return 0;
	if (o->op == DISPATCH_HOLD && t->order)
		return begin_order(d, t->order);
	if (o->op == DISPATCH_HOLD && domain.p)
		return hold_domain(d, domain.p);
	if (o->op != DISPATCH_RELEASE)
		return 0;
	for (struct order *e = d->orders.first; e && !r; e = e->next)
		if (operation_ends(o, e))
			r = order_end(d, e);
	if (!r && (domain.p || !o->which))
		r = release_held(d, domain.p);
	return r;
}

/* All that they held is on disk as let go. */
void standing_forget(struct dispatch *d, const struct operation *o)
{
	struct order *e, *next;

	if (o->dry || o->result || (o->op != DISPATCH_RELEASE && o->op != DISPATCH_FREE))
		return;
	for (e = d->orders.first; e; e = next) {
		char key[ORDER_KEY];

		next = e->next;
		if (!e->ending || !operation_ends(o, e))
			continue;
		order_key(e, key);
		if (!state_put(d, slice_of(key), (struct slice){ NULL, 0 }))
			order_drop(d, e);
	}
}
