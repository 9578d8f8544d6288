/* Flows of the scheduler: their work, and the hosts at which it may be offered. Called by match.c
 * and the drivers; see match.h. */
#include <stdlib.h>

#include "postern/match.h"
#include "postern/must.h"

void match_init(struct match *m, const struct match_driver *driver, void *arg)
{
	*m = (struct match){ .driver = driver, .arg = arg, .pipeline = 1, .batch = 1 };
	places_init(&m->places);
	list_init(&m->idle);
	list_init(&m->all);
}

void match_deinit(struct match *m)
{
	turns_deinit(&m->turns);
	places_deinit(&m->places);
}

void match_flow_init(struct match_flow *f, const struct match_domain *domain)
{
	*f = (struct match_flow){ .domain = domain };
	waiter_init(&f->waiter);
	list_init(&f->ready);
}

void match_flow_deinit(struct match *m, struct match_flow *f)
{
	match_forget_hosts(m, f);
	waiter_deinit(&m->places, &f->waiter);
}

/* ---- work ---- */

void match_work_init(struct match_work *w)
{
	*w = (struct match_work){ .count = 1 };
	list_init(&w->in_flow);
}

struct match_work *match_first(const struct match_flow *f)
{
	return list_empty(&f->ready) ? NULL : container(f->ready.next, struct match_work, in_flow);
}

void match_push(struct match *m, struct match_flow *f, struct match_work *w, bool front)
{
	list_add(front ? f->ready.next : &f->ready, &w->in_flow);
	f->nready++;
	f->messages += w->count;
	/* while it waits, open connections may still take it: that needs the links only */
	if (!f->waiter.waiting || !f->linked)
		waiter_ask(&m->places, &f->waiter);
}

void match_remove(struct match *m, struct match_flow *f, struct match_work *w)
{
	must(f->nready > 0 && f->messages >= w->count);
	list_del(&w->in_flow);
	f->messages -= w->count;
	if (--f->nready == 0) {
		match_unlink(m, f);
		waiter_stop(&m->places, &f->waiter);
	}
}

/* ---- hosts ---- */

/* Where some are left alone for a while, they are looked at again when what failed is. */
bool match_link(struct match *m, struct policy_now now, struct match_flow *f)
{
	struct match_work *first = match_first(f);
	const struct turn_for turn = { f->pool, f->party, f->waiter.rank };
	bool reach[MATCH_HOSTS], left_alone;
	struct policy_want w;

	if (f->linked || !first)
		return false;
	m->driver->want(m->arg, f, first, NULL, &w);
	if (!w.nhosts)
		return false;
	must(w.nhosts <= MATCH_HOSTS && (!f->links || f->nlinks == w.nhosts));
	if (!f->links)
		f->links = calloc(w.nhosts, sizeof(*f->links));
	if (!f->links)
		return false; /* own connections only; tried again with the next work */
	f->nlinks = w.nhosts;
	f->provider = w.provider;
	left_alone = policy_reach(m->policy, now, &w, reach);
	for (unsigned i = 0; i < f->nlinks; i++) {
		struct match_link *l = &f->links[i];

		if (!reach[i])
			continue;
		l->flow = f;
		l->host = m->driver->host(m->arg, f, i);
		if (turns_join(&m->turns, &l->host->turns, &turn, &l->turn))
			f->linked = true;
		else
			l->host = NULL;
	}
	return left_alone;
}

void match_unlink(struct match *m, struct match_flow *f)
{
	for (unsigned i = 0; f->linked && i < f->nlinks; i++)
		if (f->links[i].host) {
			turns_leave(&m->turns, &f->links[i].turn);
			f->links[i].host = NULL;
		}
	f->linked = false;
}

void match_rank(struct match *m, struct match_flow *f, unsigned rank)
{
	if (f->waiter.rank == rank)
		return;
	match_unlink(m, f);
	waiter_rank(&m->places, &f->waiter, rank);
	if (f->nready)
		waiter_ask(&m->places, &f->waiter);
}

void match_forget_hosts(struct match *m, struct match_flow *f)
{
	match_unlink(m, f);
	free(f->links);
	f->links = NULL;
	f->nlinks = 0;
}

struct match_link *match_links_first(const struct match_host *h)
{
	struct turn_link *l = turns_first(&h->turns);

	return l ? container(l, struct match_link, turn) : NULL;
}

struct match_link *match_links_after(const struct match_host *h, const struct match_link *l)
{
	struct turn_link *next = turns_after(&h->turns, &l->turn);

	return next ? container(next, struct match_link, turn) : NULL;
}

/* ---- sources ---- */

static void add_members(const struct policy_params *p, unsigned pool, bool *has)
{
	const struct pool_params *v = &p->pools[pool];

	for (unsigned k = 0; k < v->nmembers; k++)
		has[v->members[k].source] = true;
}

void match_sources(const struct policy_params *p, unsigned pool, bool *has)
{
	const struct pool_params *v = &p->pools[pool];

	add_members(p, pool, has);
	/* mail over the allowance of its own sources may go from another pool's */
	for (unsigned i = 0; i < p->nwarmups; i++) {
		const struct warmup_params *w = &p->warmups[i];
		bool ours = false;

		for (unsigned k = 0; k < v->nmembers; k++)
			for (unsigned j = 0; j < w->nsources; j++)
				ours |= v->members[k].source == w->sources[j];
		if (ours && w->overflow == OVERFLOW_NAMED)
			add_members(p, w->overflow_pool, has);
	}
}
