/* The policy's life: what is made with it, and what ends with it. Called by the drivers; tables by
 * reload.c as well. One owner, one thread: the dispatcher's, or that of a rehearsal or test. */
#include <errno.h>
#include <stdlib.h>

#include "ban.h"
#include "cluster.h"
#include "events.h"
#include "finding.h"
#include "learn.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "recipient.h"
#include "sender_watch.h"
#include "source.h"
#include "suspend.h"
#include "table.h"
#include "tenant.h"
#include "unknown.h"
#include "warmup.h"

const char *hold_reason_text(enum hold_reason r)
{
	static const char *const text[] = {
#define X(name, t) t,
		HOLD_REASONS(X)
#undef X
	};

	return r >= 0 && r < sizeof(text) / sizeof(*text) ? text[r] : "";
}

bool hold_is_domains(enum hold_reason r)
{
	return r == HOLD_BACKOFF || r == HOLD_DNS || r == HOLD_OPERATOR || r == HOLD_DOMAIN_RATE;
}

#define DIVERTED_PATIENCE 60000
#define SAVE_PATIENCE	  1000

bool policy_impatient(const struct policy_choice *why, ms_t mono)
{
	if (why->reason == HOLD_BLOCKED || why->reason == HOLD_SUSPENDED ||
		why->reason == HOLD_BACKOFF)
		return false;
	if (why->reason == HOLD_CAP || why->reason == HOLD_RATE || why->reason == HOLD_WINDOW)
		return why->until && why->until - mono > DIVERTED_PATIENCE;
	if (why->reason == HOLD_WARMUP) /* an allowance that is being saved */
		return !why->until || why->until - mono > SAVE_PATIENCE;
	return true;
}

const char *policy_limit_text(enum policy_limit l)
{
	static const char *const text[] = {
#define X(name, t) t,
		POLICY_LIMITS(X)
#undef X
	};

	return l >= 0 && l < sizeof(text) / sizeof(*text) ? text[l] : "";
}

/* ---- the arrays that lie beside one set of parameters ---- */

static void provider_free(struct provider_state *v, unsigned nsources)
{
	ramps_free(v, nsources);
	free(v->blocks);
	free(v->unknown_source);
	free(v->unknown_subnet);
	free(v->suspended);
	free(v->pinned);
}

void tables_free(struct tables *t, const struct policy_params *p)
{
	if (t->pools)
		for (unsigned i = 0; i < p->npools; i++) {
			free(t->pools[i].credit);
			free(t->pools[i].backlog);
		}
	if (t->providers)
		for (unsigned i = 0; i < p->nproviders; i++)
			provider_free(&t->providers[i], p->nsources);
	free(t->pools);
	free(t->providers);
	free(t->sources);
	*t = (struct tables){ 0 };
}

static bool net_eq(const struct net *a, const struct net *b)
{
	return a->bits == b->bits && addr_eq(&a->addr, &b->addr);
}

static void number_subnets(struct tables *t, const struct policy_params *p)
{
	for (unsigned i = 0; i < p->nsources; i++) {
		unsigned j = 0;

		while (j < i && !net_eq(&p->sources[i].subnet, &p->sources[j].subnet))
			j++;
		t->sources[i].subnet = j < i ? t->sources[j].subnet : t->nsubnets++;
	}
}

static void *array(size_t n, size_t size)
{
	return calloc(n ? n : 1, size);
}

static int provider_new(struct provider_state *v, unsigned nsources)
{
	v->ngeographies = 1;
	v->blocks = array(nsources, sizeof(*v->blocks));
	v->ramps = array(nsources, sizeof(struct ramp *));
	v->unknown_source = array(nsources, sizeof(*v->unknown_source));
	v->unknown_subnet = array(nsources, sizeof(*v->unknown_subnet));
	return v->blocks && v->ramps && v->unknown_source && v->unknown_subnet ? 0 : -ENOMEM;
}

int tables_new(struct tables *t, const struct policy_params *p)
{
	int r = 0;

	t->sources = array(p->nsources, sizeof(*t->sources));
	t->pools = array(p->npools, sizeof(*t->pools));
	t->providers = array(p->nproviders, sizeof(*t->providers));
	if (!t->sources || !t->pools || !t->providers)
		goto fail;
	for (unsigned i = 0; i < p->npools; i++) {
		t->pools[i].credit = array(p->pools[i].nmembers, sizeof(int64_t));
		t->pools[i].backlog = array(p->nproviders, sizeof(bool));
		if (!t->pools[i].credit || !t->pools[i].backlog)
			goto fail;
	}
	for (unsigned i = 0; i < p->nproviders && !r; i++)
		r = provider_new(&t->providers[i], p->nsources);
	if (!r)
		r = ramps_new(t, p);
	if (r)
		goto fail;
	number_subnets(t, p);
	return 0;
fail:
	tables_free(t, p);
	return -ENOMEM;
}

/* ---- life ---- */

int policy_new(struct policy **ret, const struct policy_params *params, uint64_t seed)
{
	struct policy *p = calloc(1, sizeof(*p));
	struct tables t = { 0 };
	int r = -ENOMEM;

	if (!p)
		return -ENOMEM;
	must(params->nproviders > 0);
	p->events.all = calloc(EVENTS_MAX, sizeof(*p->events.all));
	if (p->events.all)
		r = tables_new(&t, params);
	if (r) {
		free(p->events.all);
		free(p);
		return r;
	}
	p->params = params;
	p->sources = t.sources;
	p->pools = t.pools;
	p->providers = t.providers;
	p->nsubnets = t.nsubnets;
	for (unsigned i = 0; i < params->nproviders; i++)
		p->providers[i].uid = ++p->provider_seq;
	p->free_slot = ~0u;
	rng_seed(&p->rng, seed);
	ramps_recount(p);
	*ret = p;
	return 0;
}

static void free_learned(struct policy *p)
{
	struct host *h, *next_host;
	struct network *n, *next_network;
	struct name *m, *next_name;
	struct tenant *t, *next_tenant;

	HASH_ITER (hh, p->hosts, h, next_host) {
		h->uses.in_use = 0;
		host_free(p, h);
	}
	HASH_ITER (hh, p->networks, n, next_network)
		network_free(p, n);
	HASH_ITER (hh, p->names, m, next_name) {
		HASH_DEL(p->names, m);
		free(m);
	}
	bans_free(p);
	senders_free(p);
	recipients_free(p);
	unknown_free(p);
	findings_free(p);
	HASH_ITER (hh, p->tenants, t, next_tenant) {
		HASH_DEL(p->tenants, t);
		free(t);
	}
}

struct policy *policy_free(struct policy *p)
{
	struct cluster *c, *next;
	struct tables t;

	if (!p)
		return NULL;
	free_learned(p);
	HASH_ITER (hh, p->clusters, c, next) {
		c->refs = 0; /* slots are not given back at the end */
		cluster_free(p, c);
	}
	for (size_t i = 0; i < p->nsuspensions; i++) {
		free(p->suspensions[i].source);
		free(p->suspensions[i].where);
	}
	for (size_t i = 0; i < p->gone.n; i++)
		free(p->gone.keys[i]);
	free(p->gone.keys);
	free(p->suspensions);
	free(p->slots);
	free(p->events.all);
	t = (struct tables){ p->sources, p->pools, p->providers, p->nsubnets };
	tables_free(&t, p->params);
	free(p);
	return NULL;
}
