/* Before a connection: may it be, and from where to where? Called by the scheduler for a flow that
 * has more work than connections.
 *
 * Order: sources that may serve the mail → subnets and lanes that are well, have room and rates →
 * hosts of the best preference. The first reason that stands in the way of all is what the mail
 * waits for, with the earliest time at which any of them ends. Pure; a choice is counted as a slot
 * until policy_disconnected. */
#include "candidate.h"

#include "ban.h"
#include "block.h"
#include "caps.h"
#include "cluster.h"
#include "health.h"
#include "host.h"
#include "learn.h"
#include "limit.h"
#include "pace.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "rate.h"
#include "slot.h"
#include "source.h"
#include "tenant.h"
#include "times.h"
#include "warmup.h"
#include "warmup_control.h"

#define UNMARKED 5 /* ms; a commit takes as long */
#define SOON	 10000

static int take_slot(struct policy *p, struct policy_now now, const struct policy_want *w,
	unsigned source, const struct candidate *k, struct policy_choice *ret)
{
	struct lane *l = lane_get(p, k->cluster, source);
	struct host *h = l ? host_get(p, w->provider, &w->hosts[k->host].addr, now) : NULL;
	struct slot *s;
	ms_t until;

	if (!h || slot_new(p, &ret->slot))
		return -1;
	s = slot_get(p, ret->slot);
	s->source = source;
	s->provider = w->provider;
	s->pool = w->pool;
	s->host = h;
	s->opened = now.mono;
	s->foreign = w->hosts[k->host].foreign;
	s->unknown = !k->known;
	bucket_take(&l->connects, &p->params->providers[w->provider].lane_connect_rate, now.mono,
		&until);
	host_slot_opens(p, s, now.mono);
	slot_attach(p, s, k->cluster, l);
	limits_opens(p, now, s);
	warmup_expect(p, s);
	if (!k->known)
		p->providers[w->provider].wanted = p->providers[w->provider].wanted_connect = 0;
	health_probe(&k->cluster->health, now);
	health_probe(&l->path->health, now);
	health_probe(&l->health, now);
	health_probe(&l->ramp.share, now);
	bans_probe(p, now, ret->slot, s, w->domain, w->sender, false);
	ret->go = true;
	ret->source = source;
	ret->host = k->host;
	return 0;
}

static void name_cluster(struct policy_choice *ret, const struct cluster *c)
{
	size_t n = strnlen(c->key.name, sizeof(ret->cluster) - 1);

	memcpy(ret->cluster, c->key.name, n);
	ret->cluster[n] = '\0';
	ret->cluster_id = c->id;
}

static void say_no(struct policy_choice *ret, const struct refusals *f)
{
	ret->reason = f->reason == HOLD_NONE ? HOLD_NO_SOURCE : f->reason;
	ret->limit = f->limit;
	/* the hours that another source is blocked for say nothing about a slot */
	ret->until = f->slot && (f->reason == HOLD_CAP || f->reason == HOLD_WINDOW) ? 0 : f->until;
	ret->blocking_source = f->source;
	if (f->cluster)
		name_cluster(ret, f->cluster);
}

static bool tenant_waits(
	struct policy *p, struct policy_now now, struct tenant *t, struct policy_choice *ret)
{
	ms_t wall = 0;

	ret->reason = tenant_gate(p, t, now, &wall);
	ret->until = mono_if(now, wall);
	if (ret->reason == HOLD_NONE && !pace_ready(&t->pace, now.mono, 0, &ret->until)) {
		ret->reason = HOLD_DOMAIN_RATE;
		ret->limit = LIMIT_PACE;
	}
	return ret->reason != HOLD_NONE;
}

/* First all sources that reach hosts of the best preference, then those that reach others, and
 * where no source has any, those that are left alone for now. */
enum round { ROUND_BEST, ROUND_BACKUP, ROUND_AVOIDED };

/* One decision: over the members of a pool, and of those that take what it cannot. */
struct choosing {
	struct policy *p;
	struct policy_now now;
	const struct policy_want *w;
	struct tenant *tenant;
	struct candidates *all; /* IPv4, IPv6; large: only what is found is written */
	struct refusals f;
	bool alike;	  /* no host has a mark, or failed for some only: as good for all subnets */
	bool good;	  /* a source has a host that is well, and may go now or soon */
	enum round round; /* of hosts */
	enum round more;  /* the last one that has any */
	int owner;	  /* source that the domain has to wait for; -1: none */
	int overflow;	  /* pool that takes what a ramp does not; -1: none */
	/* the best so far */
	struct candidate to;
	int64_t total;
	int best; /* member of the pool; -1: none */
	bool probing, first;
};

/* In service by the operator's word, at all of the provider. */
static bool kept(const struct policy *p, unsigned provider, unsigned source, ms_t wall)
{
	const ms_t *pinned_at = p->providers[provider].pinned;

	return pinned_at && pinned_at[source] > wall;
}

static struct candidates *candidates_for(struct choosing *c, unsigned source)
{
	uint8_t family = c->p->params->sources[source].address.family;
	unsigned subnet = c->p->sources[source].subnet;
	struct candidates *all = &c->all[family == ADDR_V6];

	if (!all->family || (!c->alike && all->subnet != subnet)) {
		all->family = family;
		all->subnet = subnet;
		candidates_find(c->p, c->now, c->w, all);
	}
	return all;
}

/* The lowest preference of that family at which mail may go from anywhere. */
static uint16_t best_preference(const struct policy_want *w, uint8_t family)
{
	uint16_t best = UINT16_MAX;

	for (unsigned i = 0; i < w->nhosts; i++)
		if (w->hosts[i].addr.family == family && !w->hosts[i].failed &&
			w->hosts[i].preference < best)
			best = w->hosts[i].preference;
	return best;
}

static enum round round_of(const struct choosing *c, const struct candidates *all)
{
	if (all->tier.rank != HOST_USABLE)
		return ROUND_AVOIDED;
	if (c->alike || all->tier.preference <= best_preference(c->w, all->family))
		return ROUND_BEST;
	return ROUND_BACKUP;
}

/* Are there hosts for this source in this round? */
static bool in_round(struct choosing *c, unsigned source, const struct candidates *all)
{
	enum round r = round_of(c, all);
	bool left = false;

	if (all->tier.rank == HOST_NONE) {
		refuse(&c->f, HOLD_NO_HOST, LIMIT_NONE, source, NULL, 0);
		return false;
	}
	if (r > c->round) {
		c->more = r > c->more ? r : c->more;
		return false;
	}
	if (r < c->round)
		return false; /* it was asked */
	if (all->tier.rank != HOST_FAILED)
		return true;
	/* failed for this source alone: others may get through; else this is what is left */
	for (unsigned i = 0; i < c->w->nhosts; i++)
		left |= !c->w->hosts[i].failed;
	if (left)
		refuse(&c->f, HOLD_NO_HOST, LIMIT_NONE, source, NULL, c->now.mono + SOON);
	return !left;
}

/* It has a host that is well: nobody is sent to one that is not, only for that it has to wait. */
static bool waits_only(enum hold_reason r)
{
	return r == HOLD_CAP || r == HOLD_RATE || r == HOLD_WINDOW || r == HOLD_RESTING;
}

/* May this member be chosen, and to which host? NULL: no. */
static const struct candidate *ask_member(struct choosing *c, unsigned source, bool *probe)
{
	struct policy *p = c->p;
	struct refusals own = { .source = source };
	struct candidates *all;
	enum hold_reason r;
	uint32_t count;
	ms_t until = 0;
	int h;

	if (source_tried(p, c->w->tried, source)) {
		refuse(&c->f, HOLD_NO_SOURCE, LIMIT_NONE, source, NULL, 0);
		return NULL;
	}
	if (source_banned(p, c->now, ~0u, source, c->w->provider, c->tenant, &until) &&
		!kept(p, c->w->provider, source, c->now.wall)) {
		refuse(&c->f, HOLD_BLOCKED, LIMIT_REFUSED, source, NULL, mono_if(c->now, until));
		return NULL;
	}
	all = candidates_for(c, source);
	if (!in_round(c, source, all))
		return NULL;
	h = candidates_pick(p, c->now, all, source, &own, probe);
	r = warmup_gate(p, c->now, c->w->provider, source, 1, true, &count, &until);
	if (r != HOLD_NONE && c->overflow < 0)
		c->overflow = warmup_overflow(p, c->w->provider, source);
	/* what a source waits for is the last of its obstacles to go: an allowance is none while
	 * the source is suspended */
	if (r != HOLD_NONE && (h >= 0 || hold_rank(r) > own.rank))
		refuse(&c->f, r, LIMIT_NONE, source, NULL, until);
	else if (own.reason != HOLD_NONE)
		refuse_as(&c->f, &own);
	c->good |= r == HOLD_NONE && all->tier.rank == HOST_USABLE && waits_only(own.reason);
	return h < 0 || r != HOLD_NONE ? NULL : &all->a[h];
}

static int rank_of(bool probe, bool first)
{
	return probe ? 2 : first;
}

/* Smooth weighted round robin over the members that may go now; one that is to be probed comes
 * first, else the probe would wait for its turn; and then a new one that has something due. only:
 * this source, -1: all but those that are another domain's to wait for. */
static void choose_round(struct choosing *c, unsigned pool, int only)
{
	const struct pool_params *v = &c->p->params->pools[pool];
	int64_t *credit = c->p->pools[pool].credit;

	for (unsigned i = 0; i < v->nmembers; i++) {
		unsigned source = v->members[i].source;
		const struct candidate *to;
		bool probe = false, first;

		if (only >= 0 ? source != (unsigned)only
			      : c->owner >= 0 && warmup_waits(c->p, c->w->provider, source))
			continue;
		to = ask_member(c, source, &probe);
		if (!to)
			continue;
		credit[i] += v->members[i].weight;
		c->total += v->members[i].weight;
		first = warmup_first(c->p, c->w->provider, source);
		if (c->best < 0 || rank_of(probe, first) > rank_of(c->probing, c->first) ||
			(probe == c->probing && first == c->first && credit[i] > credit[c->best])) {
			c->best = (int)i;
			c->to = *to;
			c->probing = probe;
			c->first = first;
		}
	}
	if (c->best < 0)
		return;
	credit[c->best] -= c->total;
	/* who is chosen before its turn owes no more than one round */
	for (unsigned i = 0; c->first && i < v->nmembers; i++)
		credit[i] = credit[i] > c->total    ? c->total
			    : credit[i] < -c->total ? -c->total
						    : credit[i];
}

static void choose_in(struct choosing *c, unsigned pool, int only)
{
	c->more = ROUND_BEST;
	for (c->round = ROUND_BEST; c->best < 0 && c->round <= c->more; c->round++)
		if (c->round != ROUND_AVOIDED || !c->good)
			choose_round(c, pool, only);
}

/* A member has allowance that is only being saved: these milliseconds are no reason to send its
 * mail elsewhere. They are few, as a save is for a part of the day's. */
static bool wait_for_save(struct choosing *c, unsigned pool)
{
	const struct pool_params *v = &c->p->params->pools[pool];
	unsigned provider = c->w->provider;

	for (unsigned i = 0; c->p->nramps && i < v->nmembers; i++) {
		unsigned source = v->members[i].source;
		uint32_t count;
		ms_t until, wall;

		if (source_tried(c->p, c->w->tried, source) ||
			(c->owner >= 0 && warmup_waits(c->p, provider, source)))
			continue;
		if (warmup_gate(c->p, c->now, provider, source, 1, true, &count, &until) ==
				HOLD_NONE ||
			!warmup_saving(c->p, c->now, provider, source) ||
			source_obstacle(c->p, c->now, source, NULL, provider, &wall) != HOLD_NONE)
			continue;
		refuse(&c->f, HOLD_WARMUP, LIMIT_NONE, source, NULL, until);
		return true;
	}
	return false;
}

/* Over in a moment: waiting costs less than what a change of the source does. */
static bool passes_soon(const struct refusals *f, ms_t mono)
{
	return f->reason == HOLD_CAP || f->reason == HOLD_WINDOW ||
	       (f->reason == HOLD_RATE && f->until && f->until - mono <= SOON);
}

/* Mail that was put off for nobody's sake goes from the same source again, or from the same subnet,
 * while that may go. True: chosen, or worth waiting for. */
static bool choose_same(struct choosing *c, unsigned pool)
{
	const struct policy *p = c->p;
	const struct pool_params *v = &p->params->pools[pool];
	unsigned prefer = c->w->tried && c->w->tried->prefer ? c->w->tried->prefer - 1u : ~0u;

	if (prefer >= p->params->nsources || source_tried(p, c->w->tried, prefer))
		return false;
	choose_in(c, pool, (int)prefer);
	if (c->best >= 0 || passes_soon(&c->f, c->now.mono))
		return true;
	for (unsigned i = 0; i < v->nmembers && c->best < 0; i++) {
		unsigned source = v->members[i].source;

		if (source != prefer && p->sources[source].subnet == p->sources[prefer].subnet)
			choose_in(c, pool, (int)source);
	}
	return c->best >= 0;
}

/* The pool that the best one is in; best -1: nobody may go. */
static unsigned choose_source(struct choosing *c)
{
	unsigned pool = c->w->pool;

	if (c->owner >= 0 && warmup_waits(c->p, c->w->provider, (unsigned)c->owner)) {
		choose_in(c, pool, c->owner);
		/* what waits for its allowance is nobody else's; what waits for its health is */
		if (c->best >= 0 || c->f.reason == HOLD_WARMUP)
			return pool;
	}
	if (c->owner < 0 && choose_same(c, pool))
		return pool;
	if (wait_for_save(c, pool))
		return pool;
	choose_in(c, pool, -1);
	if (c->best < 0 && c->overflow >= 0) {
		pool = (unsigned)c->overflow;
		choose_in(c, pool, -1);
	}
	return pool;
}

void policy_choose(struct policy *p, struct policy_now now, const struct policy_want *w,
	struct policy_choice *ret)
{
	struct candidates all[2];
	struct choosing c = {
		.p = p,
		.now = now,
		.w = w,
		.all = all,
		.tenant = tenant_find(p, w->domain),
		.f = { .source = ~0u },
		.owner = warmup_owner(p, w->provider, w->pool, w->domain),
		.overflow = -1,
		.best = -1,
	};
	unsigned pool;

	*ret = (struct policy_choice){ .blocking_source = ~0u, .blocking_provider = w->provider };
	if (p->start.again) {
		p->start.again = false;
		p->start.at = now.mono;
	}
	if (p->start.unmarked) {
		ret->reason = HOLD_RATE;
		ret->limit = LIMIT_CONNECTS;
		ret->until = now.mono + UNMARKED;
		return;
	}
	if (c.tenant && tenant_waits(p, now, c.tenant, ret))
		return;
	if (policy_sender(p, now, w, &ret->until) == SENDER_HELD) {
		ret->reason = HOLD_SENDER;
		return;
	}
	ret->until = 0;
	all[0].family = all[1].family = 0;
	c.alike = hosts_alike(p, w);
	pool = choose_source(&c);
	if (c.best >= 0) {
		name_cluster(ret, c.to.cluster);
		if (!take_slot(
			    p, now, w, p->params->pools[pool].members[c.best].source, &c.to, ret))
			return;
		refuse(&c.f, HOLD_CAP, LIMIT_NONE, ~0u, NULL, now.mono + 1000);
	}
	say_no(ret, &c.f);
}
