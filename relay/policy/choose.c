/* Before a connection and before each transaction: may it be, and from where to where? */
#include <errno.h>
#include <stdio.h>

#include "postern/must.h"
#include "state.h"

bool source_tried(const struct policy *p, const struct policy_tried *tried, unsigned source)
{
	if (!tried)
		return false;
	for (unsigned i = 0; i < tried->n; i++) {
		unsigned t = tried->source[i];

		if (t == source || (t < p->params->nsources &&
					   p->sources[t].subnet == p->sources[source].subnet))
			return true;
	}
	return false;
}

enum hold_reason source_obstacle(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall)
{
	const struct block *b = &p->providers[provider].blocks[source];

	*until_wall = 0;
	if (p->sources[source].unavailable_until > now.wall) {
		*until_wall = p->sources[source].unavailable_until;
		return HOLD_NO_SOURCE;
	}
	if (b->until > now.wall) {
		*until_wall = b->until;
		return HOLD_BLOCKED;
	}
	if (suspended(p, now, source, c, provider, until_wall))
		return HOLD_SUSPENDED;
	if (c && c->lanes[source] && c->lanes[source]->rest_until > now.wall) {
		*until_wall = c->lanes[source]->rest_until;
		return HOLD_RESTING;
	}
	return HOLD_NONE;
}

/* Gathers why nothing could be chosen: the reason nearest to going, and the earliest time. */
struct refusals {
	enum hold_reason reason;
	int rank;
	unsigned source;
	const struct cluster *cluster;
	ms_t until; /* mono; 0: none known */
};

static int reason_rank(enum hold_reason r)
{
	/* what is over soonest or needs least comes first */
	static const enum hold_reason order[] = { HOLD_CAP, HOLD_RATE, HOLD_WINDOW, HOLD_RESTING,
		HOLD_BLOCKED, HOLD_SUSPENDED, HOLD_NO_SOURCE, HOLD_NO_HOST };

	for (unsigned i = 0; i < sizeof(order) / sizeof(*order); i++)
		if (order[i] == r)
			return (int)i;
	return 100;
}

static void refuse(struct refusals *f, enum hold_reason why, unsigned source,
	const struct cluster *c, ms_t until)
{
	int rank = reason_rank(why);

	if (f->reason == HOLD_NONE || rank < f->rank) {
		f->reason = why;
		f->rank = rank;
		f->source = source;
		f->cluster = c;
	}
	if (until && (!f->until || until < f->until))
		f->until = until;
}

static ms_t mono_of(struct policy_now now, ms_t wall)
{
	if (!wall)
		return 0;
	return wall > now.wall ? now.mono + (wall - now.wall) : now.mono;
}

static bool full(uint32_t in_use, uint32_t cap)
{
	return cap && in_use >= cap;
}

/* All limits of one source towards one cluster; HOLD_NONE: a connection may be opened. */
static enum hold_reason lane_limit(
	struct policy *p, struct policy_now now, struct cluster *c, unsigned source, ms_t *until)
{
	const struct provider_params *v = &p->params->providers[c->key.provider];
	struct lane *l = c->lanes[source];
	ms_t wall;
	enum hold_reason r = source_obstacle(p, now, source, c, c->key.provider, &wall);

	*until = mono_of(now, wall);
	if (r != HOLD_NONE)
		return r;
	if (full(p->providers[c->key.provider].connections, v->connections) ||
		full(c->connections, v->connections_per_cluster) ||
		full(cluster_subnet_in_use(p, c, p->sources[source].subnet),
			v->connections_per_cluster_subnet))
		return HOLD_CAP;
	if (!l)
		return HOLD_NONE;
	if (full(l->in_use, v->connections_per_lane))
		return HOLD_CAP;
	if (full(l->in_use, l->window))
		return HOLD_WINDOW;
	if (!bucket_ready(&l->connects, &v->lane_connect_rate, now.mono, until) ||
		!bucket_ready(&l->messages, &v->lane_message_rate, now.mono, until))
		return HOLD_RATE;
	return HOLD_NONE;
}

/* The preference that counts now: the lowest that has a host not failed; failed ones only when
 * nothing else is left. *failed says which kind. */
static uint16_t best_preference(const struct policy_want *w, uint8_t family, bool *failed)
{
	uint16_t best = UINT16_MAX;

	*failed = true;
	for (unsigned i = 0; i < w->nhosts; i++) {
		const struct policy_host *h = &w->hosts[i];

		if (h->addr.family != family || (h->failed && !*failed))
			continue;
		if ((*failed && !h->failed) || h->preference < best)
			best = h->preference;
		*failed = h->failed;
	}
	return best;
}

static bool has_family(const struct policy_want *w, uint8_t family)
{
	for (unsigned i = 0; i < w->nhosts; i++)
		if (w->hosts[i].addr.family == family)
			return true;
	return false;
}

/* A host that this source may connect to; -1 when none. */
static int pick_host(struct policy *p, struct policy_now now, const struct policy_want *w,
	unsigned source, struct refusals *f)
{
	uint8_t family = p->params->sources[source].address.family;
	bool failed;
	uint16_t best = best_preference(w, family, &failed);
	unsigned start = w->nhosts > 1 ? (unsigned)rng_below(&p->rng, w->nhosts) : 0;

	for (unsigned i = 0; i < w->nhosts; i++) {
		unsigned k = (start + i) % w->nhosts;
		const struct policy_host *h = &w->hosts[k];
		enum hold_reason why;
		struct cluster *c;
		ms_t until = 0;

		if (h->addr.family != family || h->preference != best || h->failed != failed)
			continue;
		c = cluster_get(p, w->provider, &h->addr, now.wall);
		why = c ? lane_limit(p, now, c, source, &until) : HOLD_CAP;
		if (why == HOLD_NONE)
			return (int)k;
		refuse(f, why, source, c, until);
	}
	return -1;
}

static int take_slot(struct policy *p, struct policy_now now, const struct policy_want *w,
	unsigned source, unsigned host, struct policy_choice *ret)
{
	struct cluster *c = cluster_get(p, w->provider, &w->hosts[host].addr, now.wall);
	struct lane *l = c ? lane_get(p, c, source) : NULL;
	struct slot *s;
	ms_t until;

	if (!l || slot_new(p, &ret->slot))
		return -ENOMEM;
	s = slot_get(p, ret->slot);
	s->source = source;
	s->provider = w->provider;
	s->pool = w->pool;
	s->cluster = c;
	s->lane = l;
	s->opened = now.mono;
	bucket_take(&l->connects, &p->params->providers[w->provider].lane_connect_rate, now.mono,
		&until);
	l->in_use++;
	c->connections++;
	p->providers[w->provider].connections++;
	ret->go = true;
	ret->source = source;
	ret->host = host;
	snprintf(ret->cluster, sizeof(ret->cluster), "%.31s", c->name);
	return 0;
}

/* Smooth weighted round robin over the members that may go now. */
void policy_choose(struct policy *p, struct policy_now now, const struct policy_want *w,
	struct policy_choice *ret)
{
	const struct pool_params *pool = &p->params->pools[w->pool];
	int64_t *credit = p->pools[w->pool].credit, total = 0;
	struct refusals f = { .source = ~0u };
	int best = -1, host = -1;

	*ret = (struct policy_choice){ .blocking_source = ~0u };
	for (unsigned i = 0; i < pool->nmembers; i++) {
		unsigned source = pool->members[i].source;
		int h;

		if (source_tried(p, w->tried, source)) {
			refuse(&f, HOLD_NO_SOURCE, source, NULL, 0);
			continue;
		}
		if (!has_family(w, p->params->sources[source].address.family)) {
			refuse(&f, HOLD_NO_HOST, source, NULL, 0);
			continue;
		}
		h = pick_host(p, now, w, source, &f);
		if (h < 0)
			continue;
		credit[i] += pool->members[i].weight;
		total += pool->members[i].weight;
		if (best < 0 || credit[i] > credit[best]) {
			best = (int)i;
			host = h;
		}
	}
	if (best >= 0) {
		credit[best] -= total;
		if (!take_slot(p, now, w, pool->members[best].source, (unsigned)host, ret))
			return;
		refuse(&f, HOLD_CAP, ~0u, NULL, now.mono + 1000);
	}
	ret->reason = f.reason == HOLD_NONE ? HOLD_NO_SOURCE : f.reason;
	ret->until = f.until;
	ret->blocking_source = f.source;
	if (f.cluster)
		snprintf(ret->cluster, sizeof(ret->cluster), "%.31s", f.cluster->name);
}

static bool pool_has(const struct policy *p, unsigned pool, unsigned source)
{
	const struct pool_params *v = &p->params->pools[pool];

	for (unsigned i = 0; i < v->nmembers; i++)
		if (v->members[i].source == source)
			return true;
	return false;
}

static bool worn_out(const struct slot *s, const struct provider_params *v, ms_t mono)
{
	return full(s->messages, v->messages_per_connection) ||
	       (v->connection_age_max && mono - s->opened >= v->connection_age_max);
}

bool policy_admit(struct policy *p, struct policy_now now, uint32_t slot,
	const struct policy_want *w, struct policy_choice *why, bool *retire)
{
	struct slot *s = slot_get(p, slot);
	const struct provider_params *v;
	ms_t wall = 0, until = 0;

	*why = (struct policy_choice){ .slot = slot, .blocking_source = s->source };
	*retire = false;
	if (!s->lane || s->provider == ~0u) { /* left over from before a reload */
		why->reason = HOLD_NO_SOURCE;
		*retire = true;
		return false;
	}
	v = &p->params->providers[s->provider];
	snprintf(why->cluster, sizeof(why->cluster), "%.31s", s->cluster->name);
	why->reason = source_obstacle(p, now, s->source, s->cluster, s->provider, &wall);
	if (why->reason != HOLD_NONE || worn_out(s, v, now.mono)) {
		if (why->reason == HOLD_NONE)
			why->reason = HOLD_CAP;
		why->until = mono_of(now, wall);
		*retire = true;
		return false;
	}
	if (w->provider != s->provider || !pool_has(p, w->pool, s->source) ||
		source_tried(p, w->tried, s->source)) {
		why->reason = HOLD_NO_SOURCE;
		return false;
	}
	if (!bucket_take(&s->lane->messages, &v->lane_message_rate, now.mono, &until)) {
		why->reason = HOLD_RATE;
		why->until = until;
		return false;
	}
	s->messages++;
	s->pool = w->pool;
	why->go = true;
	why->source = s->source;
	return true;
}

void policy_unadmit(struct policy *p, struct policy_now now, uint32_t slot)
{
	struct slot *s = slot_get(p, slot);

	if (s->messages)
		s->messages--;
	if (s->lane && s->provider != ~0u)
		bucket_give_back(
			&s->lane->messages, &p->params->providers[s->provider].lane_message_rate);
}

void policy_connected(
	struct policy *p, struct policy_now now, uint32_t slot, const struct smtp_client_info *info)
{
	/* the cluster is the host's network: the banner tells nothing more */
	slot_get(p, slot)->up = true;
}
