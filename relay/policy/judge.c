/* Whether a tenant, lane, path or cluster is to rest, once the evidence is against it: each verdict
 * wants something to compare with, if there can be. And what a probe of one that rests came to.
 * Called by cause.c for each refusal, and for an acceptance where something rests, on the
 * dispatcher's thread. Order: the smaller thing is judged first; whoever is found sick takes the
 * evidence of what lies inside it along. */
#include "judge.h"
#include "change.h"
#include "contrast.h"
#include "evidence.h"
#include "health.h"
#include "paces.h"
#include "policy_impl.h"
#include "tenant.h"
#include "window.h"

#define TENANT_BLAME  12.0 /* five messages refused */
#define TENANT_MOST   0.4
#define UNHEARD	      24.0  /* score at which the others are waited for no longer */
#define JUST_NOW      60000 /* ms */
#define TAKES_MAIL    3u
#define ANSWERS_COME  20000 /* ms */
#define ACCUSERS_SURE 4u    /* tenants */
#define ANSWERS_LATE  120000
#define SLOW_START_AT 2u
#define IN_A_ROW      6u /* refused by a subnet; */
#define LAST	      8u /* or of so many outcomes … */
#define MOST_OF_LAST  7u /* … these */
#define JUST_GOOD     60000

static void tell_lane(struct policy *p, struct policy_now now, const struct lane *l)
{
	event_health(p, now, l->cluster, l->source, p->sources[l->source].subnet, &l->health,
		CAUSE_SOURCE, &l->evidence, NULL);
}

static void tell_path(struct policy *p, struct policy_now now, const struct path *h)
{
	event_health(
		p, now, h->cluster, ~0u, h->subnet, &h->health, CAUSE_SUBNET, &h->evidence, NULL);
}

/* ---- verdicts ---- */

/* The cluster explains all that was seen there lately. */
static void absolve(struct policy *p, struct policy_now now, struct cluster *c)
{
	struct tenant *t, *next;

	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = c->lanes[i];

		if (!l)
			continue;
		evidence_clear(&l->evidence);
		pace_excuse(&l->pace);
		if (sick(&l->health) && now.wall - l->health.since < JUST_NOW) {
			health_well(&l->health, now);
			tell_lane(p, now, l);
		}
	}
	for (unsigned i = 0; i < p->nsubnets; i++) {
		struct path *h = c->paths[i];

		if (!h)
			continue;
		evidence_clear(&h->evidence);
		pace_excuse(&h->pace);
		if (sick(&h->health) && now.wall - h->health.since < JUST_NOW) {
			health_well(&h->health, now);
			tell_path(p, now, h);
		}
	}
	HASH_ITER (hh, p->tenants, t, next)
		if (t->cluster == c->id && (!sick(&t->health) || now.mono - t->blamed < JUST_NOW))
			tenant_unblame(p, t, now);
}

static void blame_cluster(struct policy *p, struct policy_now now, struct cluster *c, ms_t cooldown)
{
	health_rest(p, &c->health, &health_cluster, now,
		cooldown < health_cluster.longest ? cooldown : health_cluster.longest);
	c->slow_start = 0;
	c->rested = now.mono;
	event_health(p, now, c, ~0u, ~0u, &c->health, CAUSE_CLUSTER, &c->evidence, NULL);
	evidence_clear(&c->evidence);
	absolve(p, now, c);
}

/* Others have not been heard yet. A refusal comes before what was sent beside it is accepted, or read
 * where there is much to do; while something is under way there, an answer comes. */
static bool waits_for(const struct evidence *e, const struct others *o, ms_t mono)
{
	if (e->score < UNHEARD || mono - e->onset < ANSWERS_COME)
		return true;
	return o->asked && mono - e->onset < ANSWERS_LATE;
}

bool judge_cluster(struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f)
{
	struct cluster *c = s->cluster;
	struct others o;
	unsigned good, bad;

	if (c->evidence.score < SCORE_BLAME)
		return false;
	look_at_others(p, now, s, c->evidence.onset, 0.5, &o);
	evidence_since(&s->path->evidence, c->evidence.onset, &good, &bad);
	/* a few of ours may have been heard once each: together they say that it takes mail */
	if (o.well || o.taken >= TAKES_MAIL || (good && wilson_low(bad, good + bad) < 0.3))
		return false;
	/* chance may have asked the sick ones first; and a refusal comes before what was sent beside
	 * it is accepted, or read where there is much to do */
	if (o.tested < o.count && waits_for(&c->evidence, &o, now.mono))
		return false;
	if (!o.ill && f->kind != KIND_BUSY)
		return false;
	if (f->kind == KIND_UNKNOWN && (good || o.taken || c->evidence.naccusers < ACCUSERS_SURE))
		return false; /* nothing is taken from anybody, whoever it is for */
	blame_cluster(p, now, c, f->cooldown);
	return true;
}

bool judge_tenant(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
	const struct refusal *f)
{
	const struct evidence *e = &s->cluster->evidence;
	unsigned good, bad;
	struct others o;

	if (!t || sick(&t->health) || t->evidence.score < TENANT_BLAME || t->messages < 4)
		return false;
	/* most of its mail, not that to one of its recipients */
	evidence_since(&t->evidence, t->evidence.onset, &good, &bad);
	if (wilson_low(bad, good + bad) < TENANT_MOST)
		return false;
	if (f->kind != KIND_DOMAIN) {
		if (f->kind == KIND_THROTTLE &&
			!(t->subnets & (t->subnets - 1))) { /* another subnet may be welcome */
			look_at_others(p, now, s, t->evidence.onset, 0.5, &o);
			if (o.count || o.resting)
				return false;
		}
		evidence_since(e, t->evidence.onset, &good, &bad);
		if (good < 2 && e->naccusers > 2)
			return false; /* many accuse the cluster */
	}
	t->blamed = now.mono;
	t->cluster = s->cluster->id;
	t->provider = p->providers[s->provider].uid;
	health_rest(p, &t->health, &health_tenant, now, f->cooldown);
	event_health(p, now, s->cluster, ~0u, ~0u, &t->health, CAUSE_DOMAIN, &t->evidence, t->name);
	return true;
}

/* Is another source of the same subnet accepted meanwhile? What was before these refusals says nothing: the
 * whole subnet may have been well then. */
static bool sibling_well(const struct policy *p, const struct lane *l, ms_t mono)
{
	ms_t since = evidence_reach(&l->evidence, IN_A_ROW, mono);

	for (unsigned i = 0; i < p->params->nsources; i++) {
		const struct lane *k = l->cluster->lanes[i];
		unsigned good, bad;

		if (!k || k == l || k->path != l->path)
			continue;
		evidence_since(&k->evidence, since, &good, &bad);
		if (good + bad >= 2 && wilson_high(bad, good + bad) < 0.5)
			return true;
	}
	return false;
}

bool judge_lane(struct policy *p, struct policy_now now, struct lane *l, ms_t cooldown)
{
	if (l->evidence.score < SCORE_BLAME || !sibling_well(p, l, now.mono))
		return false;
	health_rest(p, &l->health, &health_lane, now, cooldown);
	tell_lane(p, now, l);
	evidence_clear(&l->evidence);
	pace_suspect(&l->pace, now);
	return true;
}

static bool one_lane_explains(const struct policy *p, const struct path *h)
{
	bool well = false, ill = false;

	for (unsigned i = 0; i < p->params->nsources; i++) {
		const struct lane *k = h->cluster->lanes[i];
		unsigned good, bad;

		if (!k || k->path != h)
			continue;
		evidence_since(&k->evidence, h->evidence.onset, &good, &bad);
		well |= good + bad >= 2 && wilson_high(bad, good + bad) < 0.5;
		ill |= bad > good;
	}
	return well && ill;
}

bool judge_path(struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f)
{
	struct path *h = s->path;
	unsigned good, bad;
	struct others o;

	if (h->evidence.score < SCORE_BLAME || one_lane_explains(p, h))
		return false;
	evidence_since(&h->evidence, h->evidence.onset, &good, &bad);
	/* refused now and then: there are smaller things that explain that */
	if (evidence_last(&h->evidence, IN_A_ROW) < IN_A_ROW &&
		evidence_last(&h->evidence, LAST) < MOST_OF_LAST)
		return false;
	look_at_others(p, now, s, h->evidence.onset, wilson_low(bad, good + bad), &o);
	if (!o.well && f->kind != KIND_THROTTLE)
		return false; /* what does not speak of us needs the contrast */
	if (!o.well && o.count) {
		/* refused as well: it is the cluster, once all are heard. Not heard yet: they are
		 * waited for */
		if (o.tested || h->evidence.score < UNHEARD)
			return false;
	}
	if (!o.count && o.resting) { /* the last one: then it is no subnet */
		if (f->kind == KIND_DEAD || good || now.mono - h->good_at < JUST_GOOD)
			return false; /* it takes some: a limit of its own */
		blame_cluster(p, now, s->cluster, f->cooldown);
		return false;
	}
	health_rest(p, &h->health, &health_path, now, f->cooldown);
	tell_path(p, now, h);
	evidence_clear(&h->evidence);
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (s->cluster->lanes[i] && s->cluster->lanes[i]->path == h)
			evidence_clear(&s->cluster->lanes[i]->evidence);
	paces_suspect(p, now, h);
	return true;
}

/* ---- probes ---- */

/* The outcome of a probe. CAUSE_NONE: nothing was being probed. */
enum cause probe_failed(
	struct policy *p, struct policy_now now, struct slot *s, struct tenant *t, enum kind kind)
{
	if (kind != KIND_DOMAIN && (kind != KIND_UNKNOWN || named(p, s->provider)) &&
		sick(&s->cluster->health)) {
		health_probed(p, &s->cluster->health, &health_cluster, false, now);
		return CAUSE_CLUSTER;
	}
	if (kind != KIND_DOMAIN && sick(&s->path->health)) {
		health_probed(p, &s->path->health, &health_path, false, now);
		return CAUSE_SUBNET;
	}
	if (kind != KIND_DOMAIN && sick(&s->lane->health)) {
		health_probed(p, &s->lane->health, &health_lane, false, now);
		return CAUSE_SOURCE;
	}
	if (t && sick(&t->health)) {
		t->probe_at = 0;
		health_probed(p, &t->health, &health_tenant, false, now);
		return CAUSE_DOMAIN;
	}
	return CAUSE_NONE;
}

void well_again(struct policy *p, struct policy_now now, struct slot *s)
{
	struct cluster *c = s->cluster;

	if (health_probed(p, &c->health, &health_cluster, true, now)) {
		c->slow_start = SLOW_START_AT;
		c->slow_start_at = c->rested = now.mono;
		c->slow_start_fed = false;
		event_health(p, now, c, ~0u, ~0u, &c->health, CAUSE_CLUSTER, &c->evidence, NULL);
	}
	if (health_probed(p, &s->path->health, &health_path, true, now)) {
		for (unsigned i = 0; i < p->params->nsources; i++)
			if (c->lanes[i] && c->lanes[i]->path == s->path)
				window_slow_start(c->lanes[i], now.mono);
		tell_path(p, now, s->path);
	}
	if (health_probed(p, &s->lane->health, &health_lane, true, now)) {
		window_slow_start(s->lane, now.mono);
		tell_lane(p, now, s->lane);
	}
}
