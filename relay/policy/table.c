/* The policy's tables: clusters, lanes, slots, token buckets. */
#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"
#include "state.h"

void cluster_free(struct policy *p, struct cluster *c)
{
	HASH_DEL(p->clusters, c);
	if (c->lanes)
		for (unsigned i = 0; i < p->params->nsources; i++)
			free(c->lanes[i]);
	free(c->lanes);
	free(c);
}

static bool cluster_idle(const struct policy *p, const struct cluster *c, ms_t wall)
{
	if (c->connections)
		return false;
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i] && (c->lanes[i]->rest_until > wall || c->lanes[i]->dirty))
			return false;
	return true;
}

/* Drops what holds no state worth keeping: the table is bounded, mail is not. */
static void clusters_sweep(struct policy *p, ms_t wall)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next)
		if (cluster_idle(p, c, wall))
			cluster_free(p, c);
}

struct cluster *cluster_of_net(struct policy *p, unsigned provider, const struct net *n, ms_t wall)
{
	struct cluster_key key;
	struct cluster *c;

	memset(&key, 0, sizeof(key));
	key.provider = provider;
	key.net = n->addr;
	HASH_FIND(hh, p->clusters, &key, sizeof(key), c);
	if (c)
		return c;
	if (HASH_COUNT(p->clusters) >= CLUSTERS_MAX)
		clusters_sweep(p, wall);
	if (HASH_COUNT(p->clusters) >= CLUSTERS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->lanes = calloc(p->params->nsources ? p->params->nsources : 1, sizeof(*c->lanes));
	if (!c->lanes) {
		free(c);
		return NULL;
	}
	c->key = key;
	c->host = n->addr;
	c->learned = wall;
	net_format(c->name, n);
	HASH_ADD(hh, p->clusters, key, sizeof(c->key), c);
	if (!c->hh.tbl) {
		free(c->lanes);
		free(c);
		return NULL;
	}
	return c;
}

struct cluster *cluster_get(struct policy *p, unsigned provider, const struct addr *host, ms_t wall)
{
	struct net n = net_of(host, 24, 48);
	struct cluster *c = cluster_of_net(p, provider, &n, wall);

	if (c)
		c->host = *host;
	return c;
}

struct lane *lane_get(struct policy *p, struct cluster *c, unsigned source)
{
	struct lane *l = c->lanes[source];

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->cluster = c;
	l->source = source;
	l->window = p->params->providers[c->key.provider].connections_per_lane;
	c->lanes[source] = l;
	return l;
}

uint32_t cluster_subnet_in_use(const struct policy *p, const struct cluster *c, unsigned subnet)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i] && p->sources[i].subnet == subnet)
			n += c->lanes[i]->in_use;
	return n;
}

struct slot *slot_get(struct policy *p, uint32_t number)
{
	must(number < p->nslots && p->slots[number].used);
	return &p->slots[number];
}

int slot_new(struct policy *p, uint32_t *ret)
{
	uint32_t n = p->free_slot;

	if (n == ~0u) {
		uint32_t more = p->nslots ? p->nslots * 2 : 64;
		struct slot *slots = realloc(p->slots, more * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		p->slots = slots;
		for (uint32_t i = more; i-- > p->nslots;) {
			slots[i] = (struct slot){ .next_free = p->free_slot };
			p->free_slot = i;
		}
		n = p->free_slot;
		p->nslots = more;
	}
	p->free_slot = p->slots[n].next_free;
	p->slots[n] = (struct slot){ .used = true };
	*ret = n;
	return 0;
}

void slot_release(struct policy *p, uint32_t number)
{
	p->slots[number] = (struct slot){ .next_free = p->free_slot };
	p->free_slot = number;
}

int source_by_name(const struct policy_params *params, const char *name)
{
	for (unsigned i = 0; i < params->nsources; i++)
		if (!strcmp(params->sources[i].name, name))
			return (int)i;
	return -ENOENT;
}

int provider_by_name(const struct policy_params *params, const char *name)
{
	for (unsigned i = 0; i < params->nproviders; i++)
		if (!strcmp(params->providers[i].name, name))
			return (int)i;
	return -ENOENT;
}

/* A burst of a twentieth, and the rest refilled evenly: together never more than the count in any
 * period, as the receiver would count it. */
static double burst_of(const struct rate *r)
{
	return r->count >= 40 ? r->count / 20 : 1;
}

bool bucket_ready(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until)
{
	double burst, per_ms;

	if (!r->count || r->per <= 0)
		return true;
	burst = burst_of(r);
	per_ms = (r->count - burst + 1) / (double)r->per;
	if (!b->at)
		b->tokens = burst;
	else if (mono > b->at)
		b->tokens += (double)(mono - b->at) * per_ms;
	b->at = mono ? mono : 1;
	if (b->tokens > burst)
		b->tokens = burst;
	if (b->tokens >= 1)
		return true;
	*until = mono + (ms_t)((1 - b->tokens) / per_ms) + 1;
	return false;
}

bool bucket_take(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until)
{
	if (!bucket_ready(b, r, mono, until))
		return false;
	if (r->count)
		b->tokens -= 1;
	return true;
}

void bucket_give_back(struct bucket *b, const struct rate *r)
{
	if (r->count)
		b->tokens += 1;
}
