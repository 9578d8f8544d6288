/* New parameters: what belongs to a source, a subnet or a provider moves by name; slots of open
 * connections stay counted. All or nothing: memory is taken before anything is changed. */
#include <errno.h>
#include <stdlib.h>

#include "learn.h"
#include "params.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "slot.h"
#include "source.h"
#include "suspend.h"
#include "table.h"
#include "tenant.h"
#include "warmup.h"

static void *array(size_t n, size_t size)
{
	return calloc(n ? n : 1, size);
}

/* Old number → new number; -1: gone. */
struct renumber {
	int *source, *provider, *subnet;
};

static void renumber_free(struct renumber *n)
{
	free(n->source);
	free(n->provider);
	free(n->subnet);
}

static int subnet_of(const struct tables *t, const struct policy_params *p, const struct net *net)
{
	for (unsigned i = 0; i < p->nsources; i++)
		if (p->sources[i].subnet.bits == net->bits &&
			addr_eq(&p->sources[i].subnet.addr, &net->addr))
			return (int)t->sources[i].subnet;
	return -1;
}

static int renumber_new(struct renumber *n, const struct policy *p, const struct tables *t,
	const struct policy_params *next)
{
	const struct policy_params *old = p->params;

	n->source = array(old->nsources, sizeof(int));
	n->provider = array(old->nproviders, sizeof(int));
	n->subnet = array(p->nsubnets, sizeof(int));
	if (!n->source || !n->provider || !n->subnet)
		return -ENOMEM;
	for (unsigned i = 0; i < old->nsources; i++) {
		n->source[i] = source_by_name(next, old->sources[i].name);
		n->subnet[p->sources[i].subnet] = subnet_of(t, next, &old->sources[i].subnet);
	}
	for (unsigned i = 0; i < old->nproviders; i++)
		n->provider[i] = provider_by_name(next, old->providers[i].name);
	return 0;
}

/* Arrays for all clusters. */
struct arrays {
	struct lane ***lanes;
	struct path ***paths;
	size_t n;
};

static void arrays_free(struct arrays *a, bool all)
{
	for (size_t i = 0; all && i < a->n; i++) {
		if (a->lanes)
			free(a->lanes[i]);
		if (a->paths)
			free(a->paths[i]);
	}
	free(a->lanes);
	free(a->paths);
}

static int arrays_new(struct arrays *a, const struct policy *p, const struct policy_params *next,
	unsigned nsubnets)
{
	a->n = HASH_COUNT(p->clusters);
	a->lanes = array(a->n, sizeof(*a->lanes));
	a->paths = array(a->n, sizeof(*a->paths));
	if (!a->lanes || !a->paths)
		return -ENOMEM;
	for (size_t i = 0; i < a->n; i++) {
		a->lanes[i] = array(next->nsources, sizeof(struct lane *));
		a->paths[i] = array(nsubnets, sizeof(struct path *));
		if (!a->lanes[i] || !a->paths[i])
			return -ENOMEM;
	}
	return 0;
}

/* ---- moving ---- */

/* A slot whose source moved to another subnet, or is gone, is no lane's any more. */
static void orphan(struct policy *p, struct slot *s, bool provider_gone)
{
	warmup_slot_gone(p, s);
	slot_orphan(p, s, provider_gone);
}

/* Counts are still those of before, by the numbers of before. */
static void move_slot(
	struct policy *p, struct slot *s, const struct renumber *n, const struct tables *t)
{
	int source, subnet;

	s->pool = ~0u;
	p->txns.before_reload = p->txns.last;
	slot_known(p, s);
	if (n->provider[s->provider] < 0) {
		orphan(p, s, true);
		return;
	}
	if (s->source != ~0u) {
		source = n->source[s->source];
		subnet = n->subnet[p->sources[s->source].subnet];
		if (source < 0 || subnet < 0 || t->sources[source].subnet != (unsigned)subnet)
			orphan(p, s, false);
		else
			s->source = (unsigned)source;
	}
	s->provider = (unsigned)n->provider[s->provider];
}

static void move_slots(struct policy *p, const struct renumber *n, const struct tables *t)
{
	for (uint32_t i = 0; i < p->nslots; i++)
		if (p->slots[i].used && p->slots[i].provider != ~0u)
			move_slot(p, &p->slots[i], n, t);
		else if (p->slots[i].used)
			p->slots[i].pool = ~0u;
}

static void move_lanes(const struct policy *p, struct cluster *c, struct lane **lanes,
	struct path **paths, const struct renumber *n, const struct tables *t)
{
	for (unsigned i = 0; i < p->nsubnets; i++) {
		struct path *h = c->paths[i];

		if (!h)
			continue;
		if (n->subnet[i] < 0) {
			free(h);
			continue;
		}
		h->subnet = (unsigned)n->subnet[i];
		paths[h->subnet] = h;
	}
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = c->lanes[i];
		int to = n->source[i], subnet = n->subnet[p->sources[i].subnet];

		if (!l)
			continue;
		if (to < 0 || subnet < 0 || t->sources[to].subnet != (unsigned)subnet) {
			free(l);
			continue;
		}
		l->source = (unsigned)to;
		l->path = paths[subnet];
		lanes[to] = l;
	}
	free(c->lanes);
	free(c->paths);
	c->lanes = lanes;
	c->paths = paths;
}

static void limit_windows(
	const struct cluster *c, const struct policy_params *next, unsigned provider)
{
	uint32_t cap = next->providers[provider].connections_per_lane;

	for (unsigned i = 0; i < next->nsources; i++) {
		struct lane *l = c->lanes[i];

		if (!l || !cap)
			continue;
		l->window = l->window < cap ? l->window : cap;
		l->unshrunk = l->unshrunk < cap ? l->unshrunk : cap;
	}
}

static void drop_cluster(struct cluster *c, unsigned nsources, unsigned nsubnets)
{
	for (unsigned i = 0; i < nsources; i++)
		free(c->lanes[i]);
	for (unsigned i = 0; i < nsubnets; i++)
		free(c->paths[i]);
	free(c->lanes);
	free(c->paths);
	free(c->suspended);
	free(c->pinned);
	free(c);
}

static void move_clusters(struct policy *p, struct arrays *a, const struct renumber *n,
	struct tables *t, const struct policy_params *next)
{
	struct cluster *c, *following;
	size_t i = 0;

	HASH_ITER (hh, p->clusters, c, following) {
		int to = n->provider[c->provider];
		struct provider_state *v;

		move_lanes(p, c, a->lanes[i], a->paths[i], n, t);
		i++;
		if (to < 0) {
			HASH_DEL(p->clusters, c);
			drop_cluster(c, next->nsources, t->nsubnets);
			continue;
		}
		v = &t->providers[to];
		c->provider = (unsigned)to;
		c->prev = NULL;
		c->next = v->clusters;
		if (c->next)
			c->next->prev = c;
		v->clusters = c;
		limit_windows(c, next, (unsigned)to);
	}
}

/* Before the clusters: what hangs on those of a provider that is gone goes with them. */
static void move_learned(struct policy *p, const struct renumber *n)
{
	struct host *h, *next_host;
	struct network *w, *next_network;

	HASH_ITER (hh, p->hosts, h, next_host) {
		int to = n->provider[h->provider];

		host_untroubled(p, h); /* subnets have other numbers now */
		if (to < 0)
			host_free(p, h);
		else
			h->provider = (unsigned)to;
	}
	HASH_ITER (hh, p->networks, w, next_network) {
		int to = n->provider[w->provider];

		if (to < 0)
			network_free(p, w);
		else
			w->provider = (unsigned)to;
	}
}

static void move_providers(struct policy *p, struct tables *t, const struct renumber *n,
	const struct policy_params *next)
{
	for (unsigned k = 0; k < p->params->nproviders; k++) {
		struct provider_state *from = &p->providers[k], *to;

		if (n->provider[k] < 0)
			continue;
		to = &t->providers[n->provider[k]];
		to->uid = from->uid;
		to->uses = from->uses;
		memcpy(to->geographies, from->geographies, sizeof(to->geographies));
		to->ngeographies = from->ngeographies;
		memcpy(to->buckets, from->buckets, sizeof(to->buckets));
		to->bucket = from->bucket;
		to->bucket_at = from->bucket_at;
		to->deferring = from->deferring;
		to->provider_sick = from->provider_sick;
		memcpy(to->changes, from->changes, sizeof(to->changes));
		for (unsigned i = 0; i < p->params->nsources; i++)
			if (n->source[i] >= 0)
				to->blocks[n->source[i]] = from->blocks[i];
		ramps_move(to, from, n->source, p->params->nsources);
	}
	for (unsigned k = 0; k < next->nproviders; k++)
		if (!t->providers[k].uid)
			t->providers[k].uid = ++p->provider_seq;
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (n->source[i] >= 0)
			t->sources[n->source[i]].unavailable_until =
				p->sources[i].unavailable_until;
}

/* Bits stand for subnets of before. Bans go by names. */
static void move_tenants(struct policy *p)
{
	struct tenant *t, *next;

	HASH_ITER (hh, p->tenants, t, next)
		t->subnets = 0;
}

int policy_reload(struct policy *p, const struct policy_params *next)
{
	struct tables t = { 0 }, old = { p->sources, p->pools, p->providers, p->nsubnets };
	struct renumber n = { 0 };
	struct arrays a = { 0 };
	int r;

	must(next->nproviders > 0);
	r = tables_new(&t, next);
	if (!r)
		r = renumber_new(&n, p, &t, next);
	if (!r)
		r = arrays_new(&a, p, next, t.nsubnets);
	if (r) {
		tables_free(&t, next);
		arrays_free(&a, true);
		renumber_free(&n);
		return r;
	}
	move_slots(p, &n, &t);
	move_learned(p, &n);
	move_providers(p, &t, &n, next);
	move_tenants(p);
	move_clusters(p, &a, &n, &t, next);
	arrays_free(&a, false);
	tables_free(&old, p->params);
	renumber_free(&n);
	p->sources = t.sources;
	p->pools = t.pools;
	p->providers = t.providers;
	p->nsubnets = t.nsubnets;
	p->params = next;
	/* a source that was gone for a while has no lanes any more that know what it sent */
	p->start.again = p->start.begun;
	ramps_recount(p);
	suspensions_apply(p, 0);
	return 0;
}
