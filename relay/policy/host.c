/* A host's own failures: which hosts are left alone for a while, from where, and who finds out that
 * they are well again. Called by choose.c, admit.c and the outcomes of connections.
 *
 * A connection that dies in silence says something about the way from one of our subnets to that
 * host. It is the host's own trouble when a second subnet meets the same and none got through
 * meanwhile, or when the host says so itself. The mark lasts seconds at first and minutes in the
 * end. When its time is over one connection finds out, and all the others stay away until it has.
 *
 * A mark is never the last word: where a domain has nothing else, marked hosts are used. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "contrast.h"
#include "host.h"
#include "learn.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "slot.h"
#include "source.h"

#define MARKS	  5u	   /* of all our subnets together; and of four of them */
#define FIRST	  5000	   /* ms */
#define LONGEST	  300000   /* ms */
#define JUST_NOW  60000	   /* ms; what happened to another subnet so lately is compared with */
#define FORGOTTEN 3600000  /* ms after which the next failure is a first one */
#define LATE	  5000	   /* ms until a connection that is not up yet is late */
#define ALL	  UINT_MAX /* subnets */
#define HALVES	  600000.0 /* ms */

struct host_mark {
	unsigned subnet;
	uint8_t fails;	   /* one after the other; 0: not in use */
	bool in_session;   /* the door was open: only mail that is taken ends it */
	bool probing;	   /* its time is over, and one connection is finding out */
	ms_t first, until; /* mono */
};
struct host_trouble {
	struct host_mark marks[MARKS];
};

static struct host_mark *mark_of(const struct host *h, unsigned subnet)
{
	for (unsigned i = 0; h->trouble && i < MARKS; i++)
		if (h->trouble->marks[i].fails && h->trouble->marks[i].subnet == subnet)
			return &h->trouble->marks[i];
	return NULL;
}

static bool in_force(const struct host_mark *m, ms_t mono)
{
	return m && (m->until > mono || m->probing);
}

static void clear(struct policy *p, struct host *h, unsigned subnet, bool in_session)
{
	struct host_mark *m = mark_of(h, subnet);

	if (!m || (m->in_session && !in_session))
		return;
	m->fails = 0;
	for (unsigned i = 0; i < MARKS; i++)
		if (h->trouble->marks[i].fails)
			return;
	host_untroubled(p, h);
}

/* The subnet's mark, or one that is made for it: unused, or the one that is over soonest. */
static struct host_mark *mark_get(struct policy *p, struct host *h, unsigned subnet, ms_t mono)
{
	struct host_mark *m = mark_of(h, subnet), *best = NULL;

	if (m && mono - m->until > FORGOTTEN)
		m->fails = 0;
	if (m && m->fails)
		return m;
	if (!h->trouble) {
		h->trouble = calloc(1, sizeof(*h->trouble));
		if (!h->trouble)
			return NULL;
		p->ntroubled++;
	}
	for (unsigned i = 0; i < MARKS; i++) {
		m = &h->trouble->marks[i];
		if (!m->fails) {
			best = m;
			break;
		}
		if (m->subnet != ALL && (!best || m->until < best->until))
			best = m;
	}
	*best = (struct host_mark){ .subnet = subnet, .first = mono };
	return best;
}

/* spent: what it took to find out; one that hangs is tried more seldom than one that refuses. */
static ms_t length_of(const struct host_mark *m, ms_t spent)
{
	ms_t length = FIRST;

	for (unsigned i = 0; i < m->fails && length < LONGEST; i++)
		length *= 2;
	if (length < 4 * spent)
		length = 4 * spent;
	return length < LONGEST ? length : LONGEST;
}

/* What was under way when the mark was made says nothing new. */
static void mark(struct policy *p, struct host *h, unsigned subnet, bool in_session,
	struct policy_now now, ms_t spent)
{
	struct host_mark *m = mark_get(p, h, subnet, now.mono);
	ms_t length;

	if (!m)
		return;
	m->in_session |= in_session;
	if (m->fails && m->until > now.mono && !m->probing)
		return;
	length = length_of(m, spent);
	m->probing = false;
	if (m->fails < UINT8_MAX)
		m->fails++;
	/* marks that begin together must not end together */
	m->until = now.mono + length + (ms_t)(rng_unit(&p->rng) * (double)length / 10);
}

/* Another of our subnets failed there just now, and nobody has got through since. */
static bool others_fail(const struct host *h, unsigned subnet, ms_t mono)
{
	for (unsigned i = 0; h->trouble && i < MARKS; i++) {
		const struct host_mark *m = &h->trouble->marks[i];

		if (m->fails && m->subnet != subnet && m->subnet != ALL &&
			m->until > mono - JUST_NOW && h->up_at < m->first)
			return true;
	}
	return false;
}

/* No other subnet of the pool could find out more. */
static bool alone(const struct policy *p, struct policy_now now, const struct slot *s)
{
	const struct pool_params *v = s->pool == ~0u ? NULL : &p->params->pools[s->pool];
	uint8_t family = p->params->sources[s->source].address.family;

	for (unsigned i = 0; v && i < v->nmembers; i++) {
		unsigned source = v->members[i].source;
		ms_t until;

		if (p->params->sources[source].address.family == family &&
			p->sources[source].subnet != p->sources[s->source].subnet &&
			source_obstacle(p, now, source, s->cluster, s->provider, &until) ==
				HOLD_NONE)
			return false;
	}
	return true;
}

uint64_t policy_host_failed(
	struct policy *p, struct policy_now now, uint32_t slot, enum policy_host_fault fault)
{
	struct slot *s = slot_get(p, slot);
	bool in_session = fault == HOST_LOST || fault == HOST_SAYS, all;
	struct host *h = s->host;
	unsigned subnet;

	if (!h || !s->lane || s->provider == ~0u)
		return POLICY_FROM_ALL;
	s->host_told = true;
	subnet = p->sources[s->source].subnet;
	if (fault == HOST_REFUSES)
		return 1ull << (subnet % 64);
	all = fault == HOST_SAYS || fault == HOST_SAYS_AT_DOOR ||
	      others_fail(h, subnet, now.mono) || mark_of(h, ALL);
	s->probes_host = false;
	mark(p, h, all ? ALL : subnet, in_session, now, s->up ? 0 : now.mono - s->opened);
	return all || alone(p, now, s) ? POLICY_FROM_ALL : 1ull << (subnet % 64);
}

ms_t policy_late_after(const struct policy *p, uint32_t slot)
{
	const struct host *h = p->slots[slot].host;
	ms_t usual = h ? 2 * (ms_t)h->opening_ms : 0;

	must(slot < p->nslots && p->slots[slot].used);
	return usual > LATE ? usual : LATE;
}

/* Is there a way beside this one, and not a worse one? A host that is only being probed is no
 * measure of that. */
static bool elsewhere(const struct policy *p, struct policy_now now, const struct slot *s,
	const struct policy_want *w)
{
	const struct pool_params *v = &p->params->pools[w->pool];
	uint16_t preference = 0;

	for (unsigned i = 0; i < w->nhosts; i++)
		if (addr_eq(&w->hosts[i].addr, &s->host->key.addr))
			preference = w->hosts[i].preference;
	for (unsigned i = 0; i < v->nmembers; i++) {
		unsigned source = v->members[i].source;
		struct host_tier t = host_best_tier(p, w, p->params->sources[source].address.family,
			p->sources[source].subnet, now.mono);
		ms_t until;

		if (t.rank == HOST_USABLE && (s->probes_host || t.preference <= preference) &&
			source_obstacle(p, now, source, s->cluster, s->provider, &until) ==
				HOLD_NONE)
			return true;
	}
	return false;
}

bool policy_host_late(
	struct policy *p, struct policy_now now, uint32_t slot, const struct policy_want *w)
{
	struct slot *s = slot_get(p, slot);
	struct host_mark *m;
	bool ret;

	if (!s->host || !s->lane || s->provider != w->provider)
		return false;
	m = mark_get(p, s->host, p->sources[s->source].subnet, now.mono);
	if (!m)
		return false;
	if (!m->fails)
		m->fails = 1;
	m->probing = true;
	ret = elsewhere(p, now, s, w);
	s->probes_host = true;
	return ret;
}

/* ---- connections ---- */

void host_slot_opens(struct policy *p, struct slot *s, ms_t mono)
{
	struct host_mark *own = mark_of(s->host, p->sources[s->source].subnet),
			 *all = mark_of(s->host, ALL);

	if (own && own->until <= mono)
		own->probing = s->probes_host = true;
	if (all && all->until <= mono)
		all->probing = s->probes_host = true;
}

void host_slot_up(struct policy *p, struct slot *s, ms_t mono)
{
	struct host *h = s->host;

	h->up_at = mono;
	if (s->cluster)
		s->cluster->door = NULL;
	h->opening_ms = mono - s->opened < UINT32_MAX ? (uint32_t)(mono - s->opened) : UINT32_MAX;
	if (!s->lane)
		return;
	clear(p, h, p->sources[s->source].subnet, false);
	clear(p, h, ALL, false);
}

/* Mail was taken. */
void host_slot_good(struct policy *p, struct slot *s)
{
	if (!s->host || !s->host->trouble || !s->lane)
		return;
	clear(p, s->host, p->sources[s->source].subnet, true);
	if (s->host->trouble)
		clear(p, s->host, ALL, true);
	s->probes_host = false;
}

struct tally host_tally(const struct host *h, ms_t mono)
{
	double share = exp(-0.69 * (double)(mono - h->counted) / HALVES);

	return (struct tally){ (double)h->good * share, (double)h->bad * share };
}

void host_noted(struct host *h, ms_t mono, bool bad)
{
	struct tally t;

	if (!h)
		return;
	if (mono - h->counted >= 1000) {
		t = host_tally(h, mono);
		h->good = (float)t.good;
		h->bad = (float)t.bad;
		h->counted = mono;
	}
	*(bad ? &h->bad : &h->good) += 1;
}

/* A probe that found out nothing is made again. */
void host_slot_gone(struct policy *p, struct slot *s)
{
	struct host_mark *m;

	if (!s->probes_host)
		return;
	s->probes_host = false;
	m = s->source == ~0u ? NULL : mark_of(s->host, p->sources[s->source].subnet);
	if (m)
		m->probing = false;
	m = mark_of(s->host, ALL);
	if (m)
		m->probing = false;
}

/* One front end may be full, or broken, while its cluster is well. It is the cluster that takes no
 * more when a second host says so and nobody has got in between, or when the host is all of it that
 * we use. */
bool host_caps_cluster(struct slot *s, ms_t mono)
{
	struct cluster *c = s->cluster;
	bool again;

	if (!s->host || s->host->uses.in_use == c->uses.in_use)
		return c->uses.in_use > 1;
	again = c->door && c->door != s->host && mono - c->door_at < JUST_NOW;
	if (!again) {
		c->door = s->host; /* only ever compared */
		c->door_at = mono;
	}
	return again;
}

/* Refused here, while others are inside at other hosts. */
bool host_alone_ill(const struct slot *s)
{
	return s->host && s->cluster->uses.up > s->host->uses.up;
}

/* ---- who may be used ---- */

static bool avoided(const struct host *h, unsigned subnet, ms_t mono)
{
	return in_force(mark_of(h, subnet), mono) || in_force(mark_of(h, ALL), mono);
}

struct host_tier host_tier_of(
	const struct policy *p, const struct policy_want *w, unsigned i, unsigned subnet, ms_t mono)
{
	const struct policy_host *k = &w->hosts[i];
	struct host_tier t = { HOST_USABLE, k->preference };

	if (k->failed || (k->failed_from >> (subnet % 64) & 1)) {
		t.rank = HOST_FAILED;
	} else if (p->ntroubled) {
		const struct host *h = host_find(p, w->provider, &k->addr);

		if (h && avoided(h, subnet, mono))
			t.rank = HOST_AVOIDED;
	}
	return t;
}

/* As good, or bad, for all of our subnets: mostly so, and then one check is enough. */
bool hosts_alike(const struct policy *p, const struct policy_want *w)
{
	for (unsigned i = 0; i < w->nhosts; i++) {
		const struct host *h;

		if (w->hosts[i].failed)
			continue;
		if (w->hosts[i].failed_from)
			return false;
		h = p->ntroubled ? host_find(p, w->provider, &w->hosts[i].addr) : NULL;
		if (h && h->trouble)
			return false;
	}
	return true;
}

bool host_tier_before(struct host_tier a, struct host_tier b)
{
	return a.rank != b.rank ? a.rank < b.rank : a.preference < b.preference;
}

struct host_tier host_best_tier(const struct policy *p, const struct policy_want *w, uint8_t family,
	unsigned subnet, ms_t mono)
{
	struct host_tier best = { HOST_NONE, UINT16_MAX };

	for (unsigned i = 0; i < w->nhosts; i++) {
		struct host_tier t;

		if (w->hosts[i].addr.family != family)
			continue;
		t = host_tier_of(p, w, i, subnet, mono);
		if (host_tier_before(t, best))
			best = t;
	}
	return best;
}

/* Words in a session, or sessions that break, speak against open connections, too. */
static bool session_avoided(const struct host *h, unsigned subnet, ms_t mono)
{
	const struct host_mark *own = mark_of(h, subnet), *all = mark_of(h, ALL);

	return (own && own->in_session && in_force(own, mono)) ||
	       (all && all->in_session && in_force(all, mono));
}

bool host_may_admit(
	struct policy *p, struct policy_now now, struct slot *s, const struct policy_want *w)
{
	if (!s->host || !s->host->trouble || !s->lane)
		return true;
	if (session_avoided(s->host, p->sources[s->source].subnet, now.mono) && !s->probes_host &&
		elsewhere(p, now, s, w))
		return false;
	host_slot_opens(p, s, now.mono); /* it finds out, if that is due */
	return true;
}

/* For one subnet: the hosts that a connection may be opened to, and those whose door alone is shut,
 * where open connections go on. True: some are left alone. */
static bool reach_from(const struct policy *p, const struct policy_want *w, uint8_t family,
	unsigned subnet, ms_t mono, bool *reach)
{
	struct host_tier best = host_best_tier(p, w, family, subnet, mono);
	bool avoids = false;

	for (unsigned i = 0; best.rank < HOST_FAILED && i < w->nhosts; i++) {
		struct host_tier t;

		if (w->hosts[i].addr.family != family)
			continue;
		t = host_tier_of(p, w, i, subnet, mono);
		if (t.rank == HOST_AVOIDED && t.preference <= best.preference) {
			const struct host *h = host_find(p, w->provider, &w->hosts[i].addr);

			avoids = true;
			reach[i] |= h && !session_avoided(h, subnet, mono);
		}
		reach[i] |= t.rank == best.rank && t.preference == best.preference;
	}
	return avoids;
}

bool policy_reach(
	const struct policy *p, struct policy_now now, const struct policy_want *w, bool *reach)
{
	const struct pool_params *v = &p->params->pools[w->pool];
	unsigned last = UINT_MAX;
	bool avoids = false;

	memset(reach, 0, w->nhosts * sizeof(*reach));
	if (hosts_alike(p, w)) {
		reach_from(p, w, ADDR_V4, 0, now.mono, reach);
		reach_from(p, w, ADDR_V6, 0, now.mono, reach);
		return false;
	}
	for (unsigned i = 0; i < v->nmembers; i++) {
		unsigned source = v->members[i].source, subnet = p->sources[source].subnet;

		if (subnet != last)
			avoids |= reach_from(p, w, p->params->sources[source].address.family,
				subnet, now.mono, reach);
		last = subnet;
	}
	return avoids;
}
