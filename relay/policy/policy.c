/* The policy's life: parameters, reload, look-ups by name. */
#include "postern/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"
#include "state.h"

const char *hold_reason_text(enum hold_reason r)
{
	static const char *const text[] = {
#define X(name, t) t,
		HOLD_REASONS(X)
#undef X
	};

	return r >= 0 && r < sizeof(text) / sizeof(*text) ? text[r] : "";
}

/* The arrays that lie beside one set of parameters. */
struct tables {
	struct source_state *sources;
	struct pool_state *pools;
	struct provider_state *providers;
};

static void tables_free(struct tables *t, const struct policy_params *p)
{
	if (t->pools)
		for (unsigned i = 0; i < p->npools; i++)
			free(t->pools[i].credit);
	if (t->providers)
		for (unsigned i = 0; i < p->nproviders; i++)
			free(t->providers[i].blocks);
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
		t->sources[i].subnet = i;
		for (unsigned j = 0; j < i; j++)
			if (net_eq(&p->sources[i].subnet, &p->sources[j].subnet)) {
				t->sources[i].subnet = t->sources[j].subnet;
				break;
			}
	}
}

static void *array(size_t n, size_t size)
{
	return calloc(n ? n : 1, size);
}

static int tables_new(struct tables *t, const struct policy_params *p)
{
	t->sources = array(p->nsources, sizeof(*t->sources));
	t->pools = array(p->npools, sizeof(*t->pools));
	t->providers = array(p->nproviders, sizeof(*t->providers));
	if (!t->sources || !t->pools || !t->providers)
		goto fail;
	for (unsigned i = 0; i < p->npools; i++) {
		t->pools[i].credit = array(p->pools[i].nmembers, sizeof(int64_t));
		if (!t->pools[i].credit)
			goto fail;
	}
	for (unsigned i = 0; i < p->nproviders; i++) {
		t->providers[i].blocks = array(p->nsources, sizeof(struct block));
		if (!t->providers[i].blocks)
			goto fail;
	}
	number_subnets(t, p);
	return 0;
fail:
	tables_free(t, p);
	return -ENOMEM;
}

int policy_new(struct policy **ret, const struct policy_params *params, uint64_t seed)
{
	struct policy *p = calloc(1, sizeof(*p));
	struct tables t = { 0 };
	int r;

	if (!p)
		return -ENOMEM;
	must(params->nproviders > 0);
	r = tables_new(&t, params);
	if (r) {
		free(p);
		return r;
	}
	p->params = params;
	p->sources = t.sources;
	p->pools = t.pools;
	p->providers = t.providers;
	p->free_slot = ~0u;
	rng_seed(&p->rng, seed);
	*ret = p;
	return 0;
}

struct policy *policy_free(struct policy *p)
{
	struct cluster *c, *next;
	struct tables t;

	if (!p)
		return NULL;
	HASH_ITER (hh, p->clusters, c, next)
		cluster_free(p, c);
	for (size_t i = 0; i < p->nsuspensions; i++) {
		free(p->suspensions[i].source);
		free(p->suspensions[i].where);
	}
	free(p->suspensions);
	free(p->slots);
	t = (struct tables){ p->sources, p->pools, p->providers };
	tables_free(&t, p->params);
	free(p);
	return NULL;
}

/* ---- reload ---- */

/* Old number → new number by name; -1: gone. */
struct renumber {
	int *source, *provider;
};

static int renumber_new(
	struct renumber *n, const struct policy_params *old, const struct policy_params *next)
{
	n->source = array(old->nsources, sizeof(int));
	n->provider = array(old->nproviders, sizeof(int));
	if (!n->source || !n->provider)
		return -ENOMEM;
	for (unsigned i = 0; i < old->nsources; i++)
		n->source[i] = source_by_name(next, old->sources[i].name);
	for (unsigned i = 0; i < old->nproviders; i++)
		n->provider[i] = provider_by_name(next, old->providers[i].name);
	return 0;
}

/* A lane whose source is gone stays with its open connections' count in the cluster, no more. */
static struct lane **move_lanes(struct policy *p, struct cluster *c, struct lane **lanes,
	const struct renumber *n, const struct policy_params *next)
{
	struct lane **old = c->lanes;
	uint32_t cap = n->provider[c->key.provider] < 0
			       ? 0
			       : next->providers[n->provider[c->key.provider]].connections_per_lane;

	for (unsigned i = 0; i < p->params->nsources; i++) {
		if (!old[i])
			continue;
		if (n->source[i] < 0) {
			free(old[i]);
			continue;
		}
		old[i]->source = (unsigned)n->source[i];
		if (!cap || !old[i]->window || old[i]->window > cap || !old[i]->good)
			old[i]->window = cap;
		lanes[n->source[i]] = old[i];
	}
	return lanes;
}

static void move_slots(struct policy *p, const struct renumber *n)
{
	for (uint32_t i = 0; i < p->nslots; i++) {
		struct slot *s = &p->slots[i];

		if (!s->used)
			continue;
		s->pool = ~0u;
		if (s->source != ~0u && n->source[s->source] < 0) {
			s->source = ~0u;
			s->lane = NULL;
		} else if (s->source != ~0u) {
			s->source = (unsigned)n->source[s->source];
		}
		if (n->provider[s->provider] < 0) {
			s->cluster = NULL;
			s->lane = NULL;
			s->provider = ~0u;
		} else {
			s->provider = (unsigned)n->provider[s->provider];
		}
	}
}

static void move_blocks(struct policy *p, struct tables *t, const struct renumber *n)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		if (n->source[i] < 0)
			continue;
		t->sources[n->source[i]].unavailable_until = p->sources[i].unavailable_until;
		for (unsigned k = 0; k < p->params->nproviders; k++)
			if (n->provider[k] >= 0)
				t->providers[n->provider[k]].blocks[n->source[i]] =
					p->providers[k].blocks[i];
	}
	for (unsigned k = 0; k < p->params->nproviders; k++)
		if (n->provider[k] >= 0)
			t->providers[n->provider[k]].connections = p->providers[k].connections;
}

/* Lane arrays for all clusters, made before anything is changed: a reload is all or nothing. */
static struct lane ***new_lane_arrays(const struct policy *p, const struct policy_params *next)
{
	size_t n = HASH_COUNT(p->clusters);
	struct lane ***all = array(n, sizeof(*all));

	for (size_t i = 0; all && i < n; i++) {
		all[i] = array(next->nsources, sizeof(**all));
		if (all[i])
			continue;
		while (i-- > 0)
			free(all[i]);
		free(all);
		all = NULL;
	}
	return all;
}

static void lanes_free(struct cluster *c, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		free(c->lanes[k]);
	free(c->lanes);
	free(c);
}

int policy_reload(struct policy *p, const struct policy_params *next)
{
	struct renumber n = { 0 };
	struct tables t = { 0 }, old = { p->sources, p->pools, p->providers };
	struct cluster *c, *following, *kept = NULL;
	struct lane ***lanes = NULL;
	size_t i = 0;
	int r;

	must(next->nproviders > 0);
	r = renumber_new(&n, p->params, next);
	if (!r)
		r = tables_new(&t, next);
	if (!r) {
		lanes = new_lane_arrays(p, next);
		r = lanes ? 0 : -ENOMEM;
	}
	if (r) {
		tables_free(&t, next);
		goto out;
	}
	move_slots(p, &n);
	move_blocks(p, &t, &n);
	HASH_ITER (hh, p->clusters, c, following) {
		struct lane **mine = move_lanes(p, c, lanes[i++], &n, next);

		HASH_DEL(p->clusters, c);
		free(c->lanes);
		c->lanes = mine;
		if (n.provider[c->key.provider] < 0) {
			lanes_free(c, next->nsources);
			continue;
		}
		c->key.provider = (uint32_t)n.provider[c->key.provider];
		HASH_ADD(hh, kept, key, sizeof(c->key), c);
		if (!c->hh.tbl) /* memory is out: learned again */
			lanes_free(c, next->nsources);
	}
	p->clusters = kept;
	tables_free(&old, p->params);
	p->sources = t.sources;
	p->pools = t.pools;
	p->providers = t.providers;
	p->params = next;
out:
	free(lanes);
	free(n.source);
	free(n.provider);
	return r;
}

/* ---- look-ups ---- */

unsigned policy_provider(const struct policy *p, struct slice mx_host)
{
	unsigned last = p->params->nproviders - 1;

	if (mx_host.n && mx_host.p[mx_host.n - 1] == '.')
		mx_host.n--;
	for (unsigned i = 0; i < last; i++) {
		const struct provider_params *v = &p->params->providers[i];

		for (unsigned k = 0; k < v->nmx; k++)
			if (glob_match(slice_of(v->mx[k]), mx_host))
				return i;
	}
	return last;
}

int policy_pool(const struct policy *p, const char *name)
{
	for (unsigned i = 0; i < p->params->npools; i++)
		if (!strcmp(p->params->pools[i].name, name))
			return (int)i;
	return -ENOENT;
}

void policy_slot(const struct policy *p, uint32_t slot, struct policy_slot_info *ret)
{
	const struct slot *s;

	must(slot < p->nslots && p->slots[slot].used);
	s = &p->slots[slot];
	*ret = (struct policy_slot_info){
		.source = s->source,
		.provider = s->provider,
		.cluster = s->cluster ? s->cluster->name : "",
		.messages = s->messages,
	};
}
