/* Recipient domains: what waits for each, and when the queue is to be read for it again.
 * Called by everything of this room, on the dispatcher's thread.
 *
 * When it is read is one state (feed.h), kept by domain_feed alone: in state DUE it is in a list,
 * in LATER a timer runs. A domain is freed when nothing of it is in memory or in the queue. */
#include "domain.h"

#include <stdlib.h>

#include "candidate.h"
#include "flow.h"
#include "hold.h"
#include "post.h"

#define IDLE_KEPT 10000 /* ms that an empty domain keeps its route */

struct domain *domain_find(struct dispatch *d, const char *name)
{
	struct domain *m;

	HASH_FIND_STR(d->domains, name, m);
	return m;
}

struct domain *domain_get(struct dispatch *d, const char *name)
{
	struct domain *m = domain_find(d, name);
	size_t n;

	if (m)
		return m;
	n = strlen(name);
	m = calloc(1, sizeof(*m) + n + 1);
	if (!m)
		return NULL;
	memcpy(m->name, name, n + 1);
	m->wake.kind = WAKE_DOMAIN;
	m->route_wake.kind = WAKE_ROUTE;
	m->idle_since = loop_mono(d->loop);
	list_init(&m->in_due);
	list_init(&m->in_asked);
	list_init(&m->in_ahead);
	parking_init(&m->parking);
	list_init(&m->items);
	list_init(&m->gone);
	m->on_hold = hold_is_set(d, name);
	HASH_ADD_KEYPTR(hh, d->domains, m->name, n, m);
	if (!m->hh.tbl) {
		free(m);
		return NULL;
	}
	return m;
}

void domain_holds(struct dispatch *d, struct domain *m, int items)
{
	m->in_memory += (uint32_t)items;
	d->held.work += (uint32_t)items;
	if (!m->known)
		d->routes.unrouted += (uint32_t)items;
}

/* Up to half of the window is left to drain before more is read: reading in larger portions. */
static bool has_room(const struct dispatch *d, const struct domain *m)
{
	return m->in_memory - m->gathered <= (domain_probing(m) ? 0 : d->p.window / 2);
}

static struct list *due_list(struct dispatch *d, const struct domain *m)
{
	/* whose look-up has ended is no newcomer any more: before the oldest */
	if (!m->known)
		return m->looked_up ? d->reads.due_first.next : &d->reads.due_first;
	return m->in_memory ? &d->reads.due : &d->reads.due_new;
}

/* Due mail of it has no room in memory, and may be looked for behind what fills it: ahead.c. */
static bool wants_ahead(const struct dispatch *d, const struct domain *m)
{
	return m->feed.ahead_from <= loop_wall(d->loop) && list_empty(&m->in_ahead) &&
	       !domain_probing(m);
}

/* What a state of the feed means here. */
static void keep_state(struct dispatch *d, struct domain *m, enum feed_state before)
{
	enum feed_state now = m->feed.state;

	if (before == FEED_DUE && now != before)
		list_del(&m->in_due);
	if (now == FEED_DUE && now != before) {
		list_add(due_list(d, m), &m->in_due);
		d->turn.more = true;
	}
	if (now != FEED_LATER)
		wake_clear(&d->wakes, &m->wake);
	else if (!m->wake.pos || m->wake.at != m->feed.at)
		wake_set(&d->wakes, &m->wake, m->feed.at);
	if (now == FEED_FULL && wants_ahead(d, m))
		list_add(&d->reads.ahead, &m->in_ahead);
}

/* All its pools' mail is parked: nothing of it is to be read. */
static bool all_parked(const struct dispatch *d, const struct domain *m)
{
	unsigned pools = d->fair.npools > d->params->npools ? d->fair.npools : d->params->npools;

	return m->parking.nparked >= pools;
}

void domain_feed(struct dispatch *d, struct domain *m, enum feed_event e, struct feed_in *in)
{
	enum feed_state before = m->feed.state;
	struct feed_in none = { 0 };

	in = in ? in : &none;
	in->mono = loop_mono(d->loop);
	in->wall = loop_wall(d->loop);
	in->longest = d->clock.due_longest;
	in->stopped = m->on_hold || m->put_off || all_parked(d, m);
	in->room = has_room(d, m);
	feed_step(&m->feed, e, in);
	keep_state(d, m, before);
}

void domain_due(struct dispatch *d, struct domain *m, ms_t due)
{
	domain_feed(d, m, FEED_ON_MAIL, &(struct feed_in){ .due = due });
}

void domain_touch(struct dispatch *d, struct domain *m)
{
	if (!m->in_memory)
		m->idle_since = loop_mono(d->loop);
	if (feed_waits_for_room(&m->feed))
		domain_feed(d, m, FEED_ON_LEFT, NULL);
}

bool domain_empty(const struct domain *m)
{
	return !m->in_memory && !m->feed.next && !m->parking.nparked;
}

static void domain_free(struct dispatch *d, struct domain *m)
{
	flows_free(d, m);
	route_drop(d, m);
	parking_deinit(&d->waits, &m->parking);
	wake_clear(&d->wakes, &m->wake);
	wake_clear(&d->wakes, &m->route_wake);
	list_del(&m->in_due);
	list_del(&m->in_asked);
	list_del(&m->in_ahead);
	HASH_DEL(d->domains, m);
	free(m->failure);
	free(m);
}

/* Takes back what quiet domains hold; those with mail for later keep their name and time only. */
void domain_sweep(struct dispatch *d)
{
	ms_t before = loop_mono(d->loop) - IDLE_KEPT;
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		if (feed_waits_for_room(&m->feed)) /* as when it was left to that; ahead.c, too */
			domain_feed(d, m, FEED_ON_LEFT, NULL);
		if (m->in_memory || feed_reading(&m->feed) || m->asked || m->idle_since > before ||
			!flows_idle(m))
			continue;
		if (domain_empty(m)) {
			domain_free(d, m);
			continue;
		}
		flows_free(d, m);
		route_drop(d, m);
	}
}

void domains_free(struct dispatch *d)
{
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next)
		domain_free(d, m);
}
