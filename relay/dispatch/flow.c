/* Flows: the mail of a recipient domain by pool and sender's domain; diverted work apart, and what is
 * set aside. Made with the first work that goes into one, and freed when it is empty and many are.
 * What becomes of one that waits: waiting.c; who is next: relay/sched/match.c. Called by all that
 * puts work somewhere, on the dispatcher's thread. */
#include "flow.h"

#include <stdlib.h>

#include "party.h"
#include "postern/must.h"

#define FLOWS_MIN 1024u /* that may be empty, until they are looked for */

/* From domain to aside, as they lie in a flow. */
#define FLOW_KEY_N (offsetof(struct flow, next) - offsetof(struct flow, domain))

static void flow_key(struct flow *ret, struct domain *m, const struct flow_kind *k)
{
	memset(ret, 0, sizeof(*ret)); /* also what lies between */
	ret->domain = m;
	ret->pool = k->pool;
	ret->party = k->party;
	ret->diverted = k->diverted;
	ret->aside = k->aside;
}

struct flow *flow_find(struct dispatch *d, struct domain *m, const struct flow_kind *k)
{
	struct flow key, *f;

	flow_key(&key, m, k);
	HASH_FIND(hh, d->flows, &key.domain, FLOW_KEY_N, f);
	return f;
}

struct flow *flow_get(struct dispatch *d, struct domain *m, const struct flow_kind *k)
{
	struct flow *f = flow_find(d, m, k);

	if (f)
		return f;
	if (!places_reserve(&d->match.places, HASH_COUNT(d->flows) + 1))
		return NULL;
	f = malloc(sizeof(*f));
	if (!f)
		return NULL;
	flow_key(f, m, k);
	HASH_ADD(hh, d->flows, domain, FLOW_KEY_N, f);
	if (!f->hh.tbl) {
		free(f);
		return NULL;
	}
	party_ref(f->party);
	match_flow_init(&f->match, &m->match);
	list_init(&f->in_opening);
	f->match.pool = f->pool;
	f->match.party = f->party;
	f->match.diverted = f->diverted;
	match_rank(&d->match, &f->match, party_rank(f->party));
	f->next = m->flows;
	m->flows = f;
	return f;
}

void flow_push(struct dispatch *d, struct flow *f, struct work *w, bool front)
{
	if (w->flow != f) {
		if (w->flow)
			w->flow->works--;
		w->flow = f;
		f->works++;
	}
	w->connection = NULL;
	match_push(&d->match, &f->match, &w->match, front);
}

void flow_remove(struct dispatch *d, struct work *w)
{
	must(!w->connection);
	match_remove(&d->match, &w->flow->match, &w->match);
}

void flow_wait_over(struct dispatch *d, struct flow *f)
{
	waiter_over(&d->match.places, &f->match.waiter);
}

/* The hosts that mail may go to now. Where some are left alone for a while, they are looked at
 * again when what failed in the cycle is. */
void flow_link(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;

	if (match_link(&d->match, now_of(d), &f->match) && !m->failed_at)
		m->failed_at = loop_mono(d->loop);
}

void want_of(const struct flow *f, const struct work *w, struct policy_want *ret)
{
	const struct domain *m = f->domain;

	*ret = (struct policy_want){
		.provider = m->provider,
		.pool = (unsigned)f->pool->index,
		.domain = m->name,
		.sender = w->match.tried.sender,
		.hosts = m->hosts,
		.nhosts = m->nhosts,
		.tried = w->match.tried.n || w->match.tried.prefer ? &w->match.tried : NULL,
	};
}

static bool flow_idle(const struct flow *f)
{
	return !f->match.nready && !f->match.opening && !f->works;
}

static void flow_free(struct dispatch *d, struct flow *f)
{
	match_flow_deinit(&d->match, &f->match);
	list_del(&f->in_opening);
	HASH_DEL(d->flows, f);
	party_unref(d, f->party);
	free(f);
}

void flows_free(struct dispatch *d, struct domain *m)
{
	while (m->flows) {
		struct flow *f = m->flows;

		m->flows = f->next;
		flow_free(d, f);
	}
}

static void free_idle_flows(struct dispatch *d, struct domain *m)
{
	struct flow **p = &m->flows;

	while (*p) {
		struct flow *f = *p;

		if (!flow_idle(f)) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		flow_free(d, f);
	}
}

/* A flow for each sender of a busy domain: those that are empty do not wait until all are. */
void flows_sweep(struct dispatch *d)
{
	struct domain *m, *next;

	if (HASH_COUNT(d->flows) < 2 * d->flows_kept + FLOWS_MIN)
		return;
	HASH_ITER (hh, d->domains, m, next)
		free_idle_flows(d, m);
	d->flows_kept = HASH_COUNT(d->flows);
}

bool flows_idle(const struct domain *m)
{
	for (const struct flow *f = m->flows; f; f = f->next)
		if (!flow_idle(f))
			return false;
	return true;
}
