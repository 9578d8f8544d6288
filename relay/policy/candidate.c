/* Hosts that a new connection may be made to, and whether a source may make it. Called by choose.c for
 * one decision, on the policy's thread; keeps nothing over it.
 *
 * A source asks the candidates of its family in turn, beginning anywhere: what their cluster allows
 * first (the gate, the same for all sources), then what its own lane there does. What refused it is
 * told in struct refusals: the reason that needs least, and the first time at which asking again makes
 * sense. */
#include "candidate.h"

#include "ban.h"
#include "block.h"
#include "caps.h"
#include "health.h"
#include "host.h"
#include "learn.h"
#include "paces.h"
#include "policy_impl.h"
#include "rate.h"
#include "source.h"
#include "times.h"
#include "warmup_control.h"

int hold_rank(enum hold_reason r)
{
	static const int8_t ranks[] = {
		[HOLD_CAP] = 1,
		[HOLD_RATE] = 2,
		[HOLD_DOMAIN_RATE] = 2,
		[HOLD_WINDOW] = 3,
		[HOLD_WARMUP] = 4,
		[HOLD_RESTING] = 5,
		[HOLD_BLOCKED] = 6,
		[HOLD_SUSPENDED] = 7,
		[HOLD_NO_SOURCE] = 8,
		[HOLD_NO_HOST] = 9,
	};

	return (size_t)r < sizeof(ranks) && ranks[r] ? ranks[r] : 100;
}

void refuse(struct refusals *f, enum hold_reason why, enum policy_limit limit, unsigned source,
	const struct cluster *c, ms_t until)
{
	int rank = hold_rank(why);

	if (f->reason == HOLD_NONE || rank < f->rank) {
		f->reason = why;
		f->limit = limit;
		f->rank = rank;
		f->source = source;
		f->cluster = c;
	}
	f->slot |= !until && (why == HOLD_CAP || why == HOLD_WINDOW);
	if (until && (!f->until || until < f->until))
		f->until = until;
}

void refuse_as(struct refusals *f, const struct refusals *own)
{
	refuse(f, own->reason, own->limit, own->source, own->cluster, own->until);
	f->slot |= own->slot;
}

/* ---- candidates ---- */

static void cluster_gate(struct policy *p, struct policy_now now, struct candidate *k)
{
	struct cluster *c = k->cluster;
	uint32_t most;
	ms_t wall = 0;

	k->gate = HOLD_NONE;
	k->until = 0;
	if (sick(&c->health) && !k->guessed) {
		k->gate = health_gate(&c->health, now.wall,
			c->uses.outstanding > 0 || c->uses.in_use > c->uses.up, &wall);
		k->until = mono_if(now, wall);
		k->limit = LIMIT_NONE;
		if (k->gate != HOLD_NONE)
			return;
	}
	k->limit = k->known ? cluster_room(p, c, now.mono) : LIMIT_NONE;
	if (k->limit != LIMIT_NONE) {
		k->gate = HOLD_CAP;
		return;
	}
	most = cluster_slow_start(p, c, now.mono);
	if (most && c->uses.in_use >= most) {
		k->gate = HOLD_WINDOW;
		k->limit = LIMIT_SLOW_START;
		k->until = now.mono + 1000;
	}
}

static void add_candidate(struct policy *p, struct policy_now now, const struct policy_want *w,
	unsigned host, struct candidates *all)
{
	const struct host_standing at =
		host_standing(p, w->provider, &w->hosts[host].addr, now.mono);
	struct candidate *k = &all->a[all->n];
	unsigned same = 0;

	k->host = (uint8_t)host;
	k->cluster = at.cluster;
	k->known = at.known;
	k->guessed = at.guessed;
	all->n++;
	if (!k->cluster) {
		k->gate = HOLD_CAP;
		k->limit = LIMIT_NONE;
		k->until = now.mono + 1000;
		return;
	}
	while (same < all->n - 1 &&
		(all->a[same].cluster != k->cluster || all->a[same].known != k->known ||
			all->a[same].guessed != k->guessed))
		same++;
	if (same < all->n - 1) {
		k->gate = all->a[same].gate;
		k->limit = all->a[same].limit;
		k->until = all->a[same].until;
	} else {
		cluster_gate(p, now, k);
	}
}

void candidates_find(struct policy *p, struct policy_now now, const struct policy_want *w,
	struct candidates *ret)
{
	ret->tier = host_best_tier(p, w, ret->family, ret->subnet, now.mono);
	ret->n = 0;
	for (unsigned i = 0; i < w->nhosts && ret->n < HOSTS_SEEN; i++) {
		struct host_tier t;

		if (w->hosts[i].addr.family != ret->family)
			continue;
		t = host_tier_of(p, w, i, ret->subnet, now.mono);
		if (t.rank == ret->tier.rank && t.preference == ret->tier.preference)
			add_candidate(p, now, w, i, ret);
	}
	ret->start = ret->n > 1 ? (unsigned)rng_below(&p->rng, ret->n) : 0;
}

/* ---- one source towards one candidate ---- */

struct answer {
	enum hold_reason reason;
	enum policy_limit limit;
	ms_t until; /* mono */
	bool probe; /* it would be one */
};

static void rests(
	const struct policy *p, struct policy_now now, const struct lane *l, struct answer *a)
{
	const struct path *h = l->path;
	ms_t wall = 0;

	a->reason = health_gate(&h->health, now.wall,
		h->uses.outstanding > 0 || h->uses.in_use > h->uses.up, &wall);
	if (a->reason == HOLD_NONE)
		a->reason = health_gate(&l->health, now.wall,
			l->uses.outstanding > 0 || l->uses.in_use > l->uses.up, &wall);
	if (a->reason == HOLD_NONE && share_sick(p, l))
		a->reason = health_gate(&l->ramp.share, now.wall,
			l->uses.outstanding > 0 || l->uses.in_use > l->uses.up, &wall);
	a->until = mono_if(now, wall);
	a->probe = true;
}

static void ask_lane(struct policy *p, struct policy_now now, const struct candidate *k,
	unsigned source, struct answer *a)
{
	struct cluster *c = k->cluster;
	const struct provider_params *v = &p->params->providers[c->provider];
	const struct block *b = &p->providers[c->provider].blocks[source];
	struct lane *l = c->lanes[source];
	const struct path *h = c->paths[p->sources[source].subnet];
	struct bucket fresh = { .at = p->start.at };
	ms_t wall;

	*a = (struct answer){ .reason = source_obstacle(p, now, source, c, c->provider, &wall) };
	if (a->reason != HOLD_NONE) {
		a->until = mono_if(now, wall);
		return;
	}
	if (b->until && !pinned(p, c, source, now.wall)) {
		a->probe = true;
		a->reason = block_gate(b, now.wall, b->uses.in_use > 0, &wall);
		a->until = mono_if(now, wall);
	}
	if (a->reason == HOLD_NONE && source_banned_at(p, now, ~0u, source, c, &wall) &&
		!pinned(p, c, source, now.wall)) {
		a->limit = LIMIT_REFUSED;
		a->reason = HOLD_BLOCKED;
		a->until = mono_if(now, wall);
	}
	if (a->reason == HOLD_NONE && h && sick(&h->health) && !l)
		l = lane_get(p, c, source);
	if (a->reason == HOLD_NONE && l && !k->guessed &&
		(sick(&l->path->health) || sick(&l->health) || share_sick(p, l)) &&
		!pinned(p, c, source, now.wall))
		rests(p, now, l, a);
	if (a->reason != HOLD_NONE)
		return;
	if (l && !bucket_ready(&l->messages, &v->lane_message_rate, now.mono, &a->until)) {
		a->limit = LIMIT_MESSAGES;
		a->reason = HOLD_RATE;
		return;
	}
	if (l && !paces_ready(l, now.mono, &a->until)) {
		a->limit = LIMIT_PACE;
		a->reason = HOLD_RATE;
		return;
	}
	a->limit = k->known ? lane_room(p, c, source, now.mono)
			    : unknown_room(p, c, source, now.mono, &a->until);
	if (a->limit == LIMIT_CONNECTS) {
		a->reason = HOLD_RATE;
		return;
	}
	if (a->limit != LIMIT_NONE) {
		a->reason = a->limit == LIMIT_WINDOW ? HOLD_WINDOW : HOLD_CAP;
		if (a->limit == LIMIT_UNKNOWN)
			a->until = now.mono + 500;
		return;
	}
	if (k->known &&
		!bucket_spare(l ? &l->connects : &fresh, &v->lane_connect_rate,
			connects_kept(p, c->provider, source, now.mono), now.mono, &a->until)) {
		a->limit = LIMIT_CONNECTS;
		a->reason = HOLD_RATE;
	}
}

int candidates_pick(struct policy *p, struct policy_now now, const struct candidates *all,
	unsigned source, struct refusals *f, bool *probe)
{
	const struct cluster *refused = NULL;

	for (unsigned i = 0; i < all->n; i++) {
		const struct candidate *k = &all->a[(all->start + i) % all->n];
		struct answer a;

		if (k->cluster == refused && k->known && !k->guessed)
			continue; /* the same answer again */
		refused = k->known && !k->guessed ? k->cluster : NULL;
		if (k->gate != HOLD_NONE &&
			!(k->gate == HOLD_RESTING && pinned(p, k->cluster, source, now.wall))) {
			refuse(f, k->gate, k->limit, source, k->cluster, k->until);
			continue;
		}
		ask_lane(p, now, k, source, &a);
		if (a.reason == HOLD_NONE) {
			*probe = a.probe;
			return (int)((all->start + i) % all->n);
		}
		refuse(f, a.reason, a.limit, source, k->cluster, a.until);
	}
	return -1;
}
