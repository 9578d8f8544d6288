/* Connections of the scheduler: the lists they are in, who is ended so that others get a place, and
 * who is told that a place is free. Called by match.c and the drivers; see match.h. */
#include <string.h>

#include "postern/match.h"

#define VICTIMS	   64u	/* idle connections looked at for one to give up */
#define WAY_EVERY  2000 /* ms; one connection of a cluster is closed for a pool as often */
#define WAY_AGAIN  200	/* ms */
#define WAKE_LINKS 4u	/* flows of one host asked when a place there is free */
#define SEEN_LINKS 64u	/* flows of one host looked at for them */

void match_host_init(struct match_host *h)
{
	*h = (struct match_host){ 0 };
	turns_here_init(&h->turns);
	list_init(&h->idle);
	list_init(&h->half);
}

/* ---- life ---- */

void match_opening(struct match *m, struct match_connection *c, struct match_flow *f,
	struct match_host *h, const struct policy_choice *choice)
{
	c->state = MATCH_OPENING;
	c->slot = choice->slot;
	c->source = choice->source;
	c->host = h;
	c->asked_by = f;
	c->nrunning = 0;
	c->retire = c->paused = c->in_idle = c->in_half = false;
	list_init(&c->idle);
	list_init(&c->half);
	list_init(&c->all_idle);
	list_add(&m->all, &c->in_all);
	m->nconnections++;
	h->opening++;
	f->opening++;
}

void match_opening_over(struct match_connection *c)
{
	if (!c->asked_by)
		return;
	c->asked_by->opening--;
	c->host->opening--;
	c->asked_by = NULL;
}

void match_leave_lists(struct match_connection *c)
{
	if (c->in_idle) {
		list_del(&c->idle);
		list_del(&c->all_idle);
		c->in_idle = false;
		c->host->nidle--;
	}
	if (c->in_half) {
		list_del(&c->half);
		c->in_half = false;
	}
}

void match_up(struct match_connection *c)
{
	match_opening_over(c);
	c->state = MATCH_UP;
	c->host->up++;
}

void match_down(struct match_connection *c)
{
	if (c->state != MATCH_OPENING)
		c->host->up--;
	match_opening_over(c);
	match_leave_lists(c);
	list_del(&c->in_all);
	c->state = MATCH_QUITTING;
}

void match_gone(struct match *m, struct match_connection *c)
{
	match_leave_lists(c);
	list_del(&c->in_all);
	m->nconnections--;
}

static void enter_idle(struct match *m, struct match_connection *c, ms_t mono)
{
	c->idle_since = mono;
	c->in_idle = true;
	c->host->nidle++;
	list_add(&c->host->idle, &c->idle);
	list_add(&m->idle, &c->all_idle);
}

void match_sort(struct match *m, struct policy_now now, struct match_connection *c)
{
	bool free_now = c->state == MATCH_UP && !c->retire;

	if (c->state == MATCH_UP && (c->retire || m->draining) && !c->nrunning) {
		match_quit(m, c);
		/* it could not be told: match_tick finds it here, and tries again */
		if (c->state == MATCH_UP && !c->in_idle) {
			match_leave_lists(c);
			enter_idle(m, c, now.mono);
		}
		return;
	}
	if (c->in_idle && free_now && !c->nrunning)
		return;
	match_leave_lists(c);
	if (!free_now)
		return;
	if (!c->nrunning) {
		enter_idle(m, c, now.mono);
	} else if (c->nrunning < m->pipeline) {
		c->in_half = true;
		list_add(&c->host->half, &c->half);
	}
}

void match_quit(struct match *m, struct match_connection *c)
{
	if (c->state != MATCH_UP)
		return;
	if (!m->driver->quit(m->arg, c)) {
		c->retire = true; /* once it is idle, match_tick tries again */
		return;
	}
	match_leave_lists(c);
	c->state = MATCH_QUITTING;
}

void match_tick(struct match *m, ms_t mono)
{
	for (struct list *l = m->idle.next, *next; l != &m->idle; l = next) {
		struct match_connection *c = container(l, struct match_connection, all_idle);
		ms_t max = m->params->providers[c->provider].connection_idle_max;
		struct policy_slot_info info;

		next = l->next;
		policy_slot(m->policy, c->slot, &info);
		if (c->retire || c->host->retired || info.retire || mono - c->idle_since >= max)
			match_quit(m, c);
	}
}

void match_drain(struct match *m)
{
	m->draining = true;
	for (struct list *l = m->idle.next, *next; l != &m->idle; l = next) {
		next = l->next;
		match_quit(m, container(l, struct match_connection, all_idle));
	}
}

/* ---- places for others ---- */

bool match_room(struct match *m)
{
	if (!m->connections_max || m->nconnections < m->connections_max)
		return true;
	if (!list_empty(&m->idle)) /* one that does nothing is ended */
		match_quit(m, container(m->idle.next, struct match_connection, all_idle));
	return false;
}

/* It would take this flow's work itself: nothing is won by ending it. */
static bool would_take(
	const struct match *m, const struct match_connection *c, struct match_flow *f)
{
	const struct match_work *w = match_first(f);

	if (!w || !f->linked || !m->driver->serves(&c->source, f->pool))
		return false;
	if (w->tried.prefer && w->tried.prefer != c->source + 1)
		return false;
	for (unsigned i = 0; i < w->tried.n; i++)
		if (w->tried.source[i] == c->source)
			return false;
	for (unsigned i = 0; i < f->nlinks; i++)
		if (f->links[i].host == c->host)
			return true;
	return false;
}

bool match_give_up_idle(struct match *m, struct match_flow *f, const struct policy_choice *why)
{
	struct match_connection *second = NULL;
	unsigned n = 0;

	for (struct list *l = m->idle.next; l != &m->idle && n < VICTIMS; l = l->next, n++) {
		struct match_connection *c = container(l, struct match_connection, all_idle);

		if (c->provider != f->provider || would_take(m, c, f) ||
			!policy_frees(m->policy, c->slot, why))
			continue;
		if (!c->paused) {
			match_quit(m, c);
			return true;
		}
		if (!second)
			second = c;
	}
	if (second) /* only its rate keeps it idle */
		match_quit(m, second);
	return second != NULL;
}

/* The one to end after what it carries; *none: there is no need to. */
static struct match_connection *victim_for(
	struct match *m, struct match_flow *f, const struct policy_choice *why, bool *none)
{
	struct match_connection *victim = NULL;

	*none = true;
	for (struct list *l = m->all.next; l != &m->all; l = l->next) {
		struct match_connection *c = container(l, struct match_connection, in_all);

		if (c->provider != f->provider)
			continue;
		if (would_take(m, c, f) && !c->retire)
			return NULL;
		if (c->state != MATCH_UP || !policy_frees(m->policy, c->slot, why))
			continue;
		if (c->retire)
			return NULL; /* a place is on its way */
		if (!victim)
			victim = c;
	}
	*none = false;
	return victim;
}

/* When that was last done for the pool's mail of that rank there. */
static ms_t *way_made(
	struct match *m, const struct match_flow *f, const struct policy_choice *why, unsigned pool)
{
	uint64_t of = (why->cluster_id * 31 + pool) * RANKS + f->waiter.rank;

	return &m->way_made[of % MATCH_WAYS];
}

void match_make_way(struct match *m, struct policy_now now, struct match_flow *f,
	const struct policy_choice *why, unsigned pool)
{
	ms_t *made = way_made(m, f, why, pool);
	struct match_connection *victim;
	bool none;

	/* of unknown places the policy takes care itself */
	if (why->limit == LIMIT_NONE || why->limit == LIMIT_UNKNOWN || f->opening || f->diverted ||
		now.mono - *made < WAY_EVERY)
		return;
	*made = now.mono;
	victim = victim_for(m, f, why, &none);
	if (none)
		return;
	f->waiter.unserved = true;
	if (!victim) { /* all are being opened */
		*made = now.mono - WAY_EVERY + WAY_AGAIN;
		return;
	}
	victim->retire = true;
	match_sort(m, now, victim);
}

/* Those that have waited longest for a place at that cluster come first, else a domain with much
 * mail at this host would have every place that it leaves; then those at this host; then some of
 * all that wait, in turn. */
void match_freed(struct match *m, struct match_host *h, const char *where, unsigned more)
{
	unsigned n = 0, seen = 0;

	if (where)
		places_freed(&m->places, where);
	for (struct match_link *l = h ? match_links_first(h) : NULL;
		l && n < WAKE_LINKS && seen < SEEN_LINKS; l = match_links_after(h, l), seen++)
		if (l->flow->waiter.for_place) {
			waiter_over(&m->places, &l->flow->waiter);
			n++;
		}
	places_freed_any(&m->places, more);
}
