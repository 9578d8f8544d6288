/* The caps that slots count against: is there room for one more?
 *
 * A host whose cluster is not known yet may turn out to be in any: its connections count against
 * every cluster of the provider until its banner is seen, and it is connected to only when each has
 * room for it. So a cap is kept as the receiver counts it, also while it is not known who it is. */
#include "caps.h"
#include "door.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "rate.h"

#define LIMIT_GROWS	30000 /* ms until one more connection than the receiver refused is tried */
#define SLOW_START_STEP 2000
#define WANTED_AGAIN	2000 /* ms; one that is unknown asks every half a second */

static bool full(uint32_t in_use, uint32_t cap)
{
	return cap && in_use >= cap;
}

uint32_t cluster_limit(const struct cluster *c, ms_t mono)
{
	return c->limit ? c->limit + (uint32_t)((mono - c->limit_at) / LIMIT_GROWS) : 0;
}

/* Doubles while what is allowed is used and delivers. */
uint32_t cluster_slow_start(struct policy *p, struct cluster *c, ms_t mono)
{
	uint32_t cap = p->params->providers[c->provider].connections_per_cluster;

	if (!c->slow_start || mono - c->slow_start_at < SLOW_START_STEP || !c->slow_start_fed)
		return c->slow_start;
	c->slow_start *= 2;
	c->slow_start_at = mono;
	c->slow_start_fed = false;
	if (c->slow_start >= (cap ? cap : 64))
		c->slow_start = 0;
	return c->slow_start;
}

/* Connections that are, or may be, at this cluster. */
static uint32_t may_be_at(const struct provider_state *v, uint32_t in_use, uint32_t unknown)
{
	return in_use + (v->uses.unknown - unknown);
}

static enum policy_limit cluster_caps(
	const struct policy *p, const struct cluster *c, uint32_t more, ms_t mono)
{
	const struct provider_params *v = &p->params->providers[c->provider];
	const struct provider_state *s = &p->providers[c->provider];
	const struct geography *g = &s->geographies[c->geography];

	if (full(may_be_at(s, g->uses.in_use, g->uses.unknown) + more,
		    v->connections_per_geography))
		return LIMIT_GEOGRAPHY;
	if (full(may_be_at(s, c->uses.in_use, c->uses.unknown) + more, v->connections_per_cluster))
		return LIMIT_CLUSTER;
	if (full(c->uses.in_use, cluster_limit(c, mono)))
		return LIMIT_RECEIVER;
	return LIMIT_NONE;
}

static enum policy_limit lane_caps(
	const struct policy *p, const struct cluster *c, unsigned source, uint32_t more)
{
	const struct provider_params *v = &p->params->providers[c->provider];
	const struct provider_state *s = &p->providers[c->provider];
	unsigned subnet = p->sources[source].subnet;
	const struct lane *l = c->lanes[source];
	const struct path *h = c->paths[subnet];

	if (full((l ? l->uses.in_use - l->uses.unknown : 0) + s->unknown_source[source] + more,
		    v->connections_per_lane))
		return LIMIT_LANE;
	if (full((h ? h->uses.in_use - h->uses.unknown : 0) + s->unknown_subnet[subnet] + more,
		    v->connections_per_cluster_subnet))
		return LIMIT_SUBNET;
	return LIMIT_NONE;
}

/* A place is kept free for a host that is not known yet and has asked in vain. */
static uint32_t kept_free(const struct policy *p, const struct cluster *c, ms_t mono)
{
	return p->providers[c->provider].wanted > mono;
}

/* One source is enough for it; every cluster has to have room there. */
static bool may_take(const struct policy *p, const struct cluster *c, unsigned source)
{
	return p->sources[source].subnet ==
	       p->sources[p->providers[c->provider].wanted_source].subnet;
}

bool in_the_way(const struct policy *p, const struct slot *s, ms_t mono)
{
	const struct provider_state *v = &p->providers[s->provider];
	enum policy_limit r;

	if (v->wanted <= mono || s->unknown)
		return false;
	/* the narrowest first: ending that one helps with the wider ones, too */
	r = lane_caps(p, s->cluster, v->wanted_source, 1);
	if (r == LIMIT_LANE)
		return s->source == v->wanted_source;
	if (r == LIMIT_SUBNET)
		return may_take(p, s->cluster, s->source);
	r = cluster_caps(p, s->cluster, 1, mono);
	return r == LIMIT_GEOGRAPHY || r == LIMIT_CLUSTER;
}

enum policy_limit cluster_room(const struct policy *p, const struct cluster *c, ms_t mono)
{
	const struct provider_params *v = &p->params->providers[c->provider];

	if (full(p->providers[c->provider].uses.in_use, v->connections))
		return LIMIT_PROVIDER;
	return cluster_caps(p, c, kept_free(p, c, mono), mono);
}

enum policy_limit lane_room(
	const struct policy *p, const struct cluster *c, unsigned source, ms_t mono)
{
	const struct lane *l = c->lanes[source];
	const struct path *h = c->paths[p->sources[source].subnet];
	enum policy_limit r =
		lane_caps(p, c, source, kept_free(p, c, mono) && may_take(p, c, source));

	if (r == LIMIT_NONE && h && full(h->uses.in_use, door_limit(&h->door, mono)))
		r = LIMIT_RECEIVER;
	if (r != LIMIT_NONE || !l)
		return r;
	if (full(l->uses.in_use, door_limit(&l->door, mono)))
		return LIMIT_RECEIVER;
	return full(l->uses.in_use, l->window) ? LIMIT_WINDOW : LIMIT_NONE;
}

uint32_t connects_kept(const struct policy *p, unsigned provider, unsigned source, ms_t mono)
{
	const struct provider_state *v = &p->providers[provider];

	return v->unknown_source[source] + (v->wanted_connect > mono);
}

/* It and those under way may all turn out to be at this cluster. */
static bool may_connect(
	struct policy *p, struct cluster *c, unsigned source, ms_t mono, ms_t *until)
{
	const struct provider_state *v = &p->providers[c->provider];
	struct bucket fresh = { .at = p->start.at };

	return bucket_spare(c->lanes[source] ? &c->lanes[source]->connects : &fresh,
		&p->params->providers[c->provider].lane_connect_rate, v->unknown_source[source],
		mono, until);
}

enum policy_limit unknown_room(
	struct policy *p, const struct cluster *at, unsigned source, ms_t mono, ms_t *until)
{
	const struct provider_params *v = &p->params->providers[at->provider];
	struct provider_state *s = &p->providers[at->provider];
	uint32_t most = v->connections_per_cluster ? (v->connections_per_cluster + 3) / 4 : 8;
	enum policy_limit r = LIMIT_NONE;

	if (full(s->uses.in_use, v->connections))
		return LIMIT_PROVIDER;
	if (full(s->uses.unknown, most))
		return LIMIT_UNKNOWN;
	for (struct cluster *c = s->clusters; c && r == LIMIT_NONE; c = c->next) {
		r = cluster_caps(p, c, 0, mono);
		/* one that shows a limit of its own says nothing about the others */
		if (r == LIMIT_RECEIVER)
			r = LIMIT_NONE;
		if (r == LIMIT_NONE)
			r = lane_caps(p, c, source, 0);
		if (r == LIMIT_NONE && !may_connect(p, c, source, mono, until))
			r = LIMIT_CONNECTS;
	}
	if (r == LIMIT_CONNECTS) {
		s->wanted_connect = mono + 10000;
	} else if (r != LIMIT_NONE) {
		if (source == s->wanted_source || mono - s->wanted_asked > WANTED_AGAIN) {
			s->wanted_source = source;
			s->wanted_asked = mono;
		}
		s->wanted = mono + 10000;
		s->wanted_at = at->id;
		r = LIMIT_UNKNOWN;
	}
	return r;
}

bool cluster_over(const struct policy *p, const struct slot *s)
{
	const struct provider_params *v = &p->params->providers[s->provider];
	const struct cluster *c = s->cluster;
	uint32_t geography = p->providers[s->provider].geographies[c->geography].uses.in_use;

	return (v->connections_per_cluster && c->uses.in_use > v->connections_per_cluster) ||
	       (v->connections_per_geography && geography > v->connections_per_geography) ||
	       (s->path && v->connections_per_cluster_subnet &&
		       s->path->uses.in_use > v->connections_per_cluster_subnet) ||
	       (s->lane && v->connections_per_lane &&
		       s->lane->uses.in_use > v->connections_per_lane);
}

static bool same_place(const struct slot *s, const struct policy_choice *why)
{
	return s->cluster && s->cluster->id == why->cluster_id;
}

bool policy_frees(const struct policy *p, uint32_t slot, const struct policy_choice *why)
{
	const struct slot *s = &p->slots[slot];

	must(slot < p->nslots && s->used);
	if (s->provider != why->blocking_provider || s->provider == ~0u)
		return false;
	switch (why->limit) {
	case LIMIT_PROVIDER:
	case LIMIT_UNKNOWN:
		return true;
	case LIMIT_GEOGRAPHY:
		for (const struct cluster *c = p->providers[s->provider].clusters; c; c = c->next)
			if (c->id == why->cluster_id)
				return s->cluster && s->cluster->geography == c->geography;
		return false;
	case LIMIT_CLUSTER:
	case LIMIT_RECEIVER:
	case LIMIT_SLOW_START:
		return same_place(s, why);
	case LIMIT_SUBNET:
		return same_place(s, why) && s->source != ~0u && why->blocking_source != ~0u &&
		       p->sources[s->source].subnet == p->sources[why->blocking_source].subnet;
	case LIMIT_LANE:
	case LIMIT_WINDOW:
		return same_place(s, why) && s->source == why->blocking_source;
	case LIMIT_NONE:
	case LIMIT_MESSAGES:
	case LIMIT_CONNECTS:
	case LIMIT_REFUSED:
	case LIMIT_PACE:
		break;
	}
	return false;
}
