/* Who is to blame for a refusal: the smallest thing that explains what was seen. A tenant that
 * refuses everybody, while others at its cluster do not; a source that is refused, while others of
 * its subnet are not; a subnet, while another is accepted at the same cluster in the same time; and
 * the cluster, when all are refused there. Nothing is decided before there is something to compare
 * with, if there can be. */
#include <stdio.h>

#include "ban.h"
#include "block.h"
#include "cause.h"
#include "change.h"
#include "contrast.h"
#include "evidence.h"
#include "health.h"
#include "host.h"
#include "learn.h"
#include "limit.h"
#include "pace.h"
#include "policy_impl.h"
#include "sender.h"
#include "sender_watch.h"
#include "table.h"
#include "tenant.h"
#include "window.h"

#define TENANT_BLAME  12.0 /* five messages refused */
#define TENANT_MOST   0.4
#define UNHEARD	      24.0  /* score at which the others are waited for no longer */
#define JUST_NOW      60000 /* ms */
#define TAKES_MAIL    3u
#define ANSWERS_COME  20000 /* ms */
#define SLOW_START_AT 2u
#define OTHERS_WELL   900000 /* ms */
#define EXPLAINS      6.0    /* log likelihood ratio */
#define CLEARLY	      2.0    /* more than the next best */
#define DECISIVE      2u     /* refused at less than was accepted before */
#define RECIPIENTS    3u     /* that a tenant refuses */
#define IN_A_ROW      6u     /* refused by a subnet; */
#define LAST	      8u     /* or of so many outcomes … */
#define MOST_OF_LAST  7u     /* … these */
#define PAIR_KNOWN    2u     /* refusals in a row, where others do so as well; */
#define PAIR_REFUSED  4u     /* else at the least */
#define PAIRS_MANY    3u
#define PAIRS_FRESH   3600000 /* ms */
#define PAIR_OTHERS   3.0     /* accepted from the subnet by others */
#define JUST_GOOD     60000

/* ---- telling ---- */

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

static bool judge_cluster(
	struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f)
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
	if (o.tested < o.count &&
		(c->evidence.score < UNHEARD || now.mono - c->evidence.onset < ANSWERS_COME))
		return false;
	if (!o.ill && f->kind != KIND_BUSY)
		return false;
	blame_cluster(p, now, c, f->cooldown);
	return true;
}

static bool judge_tenant(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
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

/* Is another source of the same subnet accepted meanwhile? */
static bool sibling_well(const struct policy *p, const struct lane *l)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		const struct lane *k = l->cluster->lanes[i];
		unsigned good, bad;

		if (!k || k == l || k->path != l->path)
			continue;
		evidence_since(&k->evidence, l->evidence.onset, &good, &bad);
		if (good + bad >= 2 && wilson_high(bad, good + bad) < 0.5)
			return true;
	}
	return false;
}

static bool judge_lane(struct policy *p, struct policy_now now, struct lane *l, ms_t cooldown)
{
	if (l->evidence.score < SCORE_BLAME || !sibling_well(p, l))
		return false;
	health_rest(p, &l->health, &health_lane, now, cooldown);
	tell_lane(p, now, l);
	evidence_clear(&l->evidence);
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

static bool judge_path(
	struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f)
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
		if (s->cluster->lanes[i] && s->cluster->lanes[i]->path == h) {
			evidence_clear(&s->cluster->lanes[i]->evidence);
			pace_excuse(&s->cluster->lanes[i]->pace);
		}
	return true;
}

/* ---- a refusal ---- */

/* While others there are accepted, one recipient's refusals are its own, however many. A tenant of
 * one recipient is that recipient. */
static uint32_t whose(const struct tenant *t, struct policy_now now, const struct refusal *f)
{
	if (!f->recipient || !t->good_at || now.mono - t->good_at > OTHERS_WELL)
		return 0;
	return (uint32_t)(f->recipient ^ f->recipient >> 32) | 1;
}

/* Words of which no rule says that they are about us weigh less. */
static double weight_of(enum kind k)
{
	return k == KIND_THROTTLE || k == KIND_DEAD ? SCORE_BAD : SCORE_VAGUE;
}

/* false: nothing that it had not said before. */
static bool accuse_tenant(
	struct tenant *t, struct policy_now now, const struct slot *s, const struct refusal *f)
{
	uint64_t bit = 1ull << (s->path->subnet % 64);

	if (t->evidence.score <= 0) {
		t->subnets = 0;
		t->messages = 0;
	}
	t->subnets |= bit;
	t->cluster = s->cluster->id;
	/* one message refused again, here or from another subnet, may be its own fault or its
	 * recipient's: it is one piece of evidence */
	if (f->tried || (f->message && f->message == t->message))
		return false;
	t->messages++;
	t->message = f->message;
	evidence_bad(&t->evidence, now.mono, whose(t, now, f), false, weight_of(f->kind));
	evidence_note(&t->evidence, now.mono, true);
	return true;
}

/* The outcome of a probe. CAUSE_NONE: nothing was being probed. */
static enum cause probe_failed(
	struct policy *p, struct policy_now now, struct slot *s, struct tenant *t, enum kind kind)
{
	if (kind != KIND_DOMAIN && kind != KIND_UNKNOWN && sick(&s->cluster->health)) {
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

/* A message that a second subnet refuses as well explains both refusals, if not the cluster does:
 * the first is taken back. */
static void take_back(struct policy *p, const struct slot *s, const struct policy_tried *tried)
{
	unsigned first = tried->source[0], subnet;
	struct lane *l = first < p->params->nsources ? s->cluster->lanes[first] : NULL;

	if (tried->n > 1 || !l)
		return;
	subnet = p->sources[first].subnet;
	if (subnet == s->path->subnet || sick(&l->path->health))
		return;
	evidence_take_back(&l->evidence);
	evidence_take_back(&l->path->evidence);
}

/* What each unit at the cluster has seen, whoever is to blame. */
static void note(struct slot *s, struct policy_now now, const struct refusal *f)
{
	if (f->kind == KIND_DOMAIN)
		return;
	host_noted(s->host, now.mono, true);
	evidence_note(&s->cluster->evidence, now.mono, true);
	evidence_note(&s->path->evidence, now.mono, true);
	evidence_note(&s->lane->evidence, now.mono, true);
}

static void accuse(struct policy *p, struct slot *s, struct policy_now now, const struct refusal *f,
	const struct tenant *t)
{
	uint32_t accuser = t ? (uint32_t)t->key | 1 : 0;
	bool alibi = t && t->good_at && s->path->evidence.onset &&
		     t->good_at >= s->path->evidence.onset && t->good_subnet != s->path->subnet;
	double weight = weight_of(f->kind);

	if (f->kind == KIND_THROTTLE || f->kind == KIND_BUSY)
		evidence_bad(&s->cluster->evidence, now.mono, accuser, false, SCORE_BAD);
	if (f->tried) {
		take_back(p, s, f->tried);
		return;
	}
	evidence_bad(&s->path->evidence, now.mono, accuser, alibi, weight);
	evidence_bad(&s->lane->evidence, now.mono, accuser, alibi, weight);
}

/* ---- what explains it better than the path from us to the cluster ---- */

/* Refusals in a row. Where several tenants were found that do not want this subnet, others may be
 * of the same mind. */
static unsigned pairs_need(const struct path *h, ms_t mono)
{
	unsigned chance = habit_chance(&h->habit);

	if (habit_holds(&h->habit))
		return PAIR_KNOWN;
	if (h->pairs >= PAIRS_MANY && mono - h->paired < PAIRS_FRESH)
		chance /= 2;
	return chance > PAIR_REFUSED ? chance : PAIR_REFUSED;
}

static bool taken_elsewhere(const struct slot *s, const struct tenant *t, const struct pair *k)
{
	return t->good_at > k->before && t->good_subnet != s->path->subnet;
}

/* NULL: no pair, by what it says. */
static struct pair *note_pair(
	struct policy_now now, struct slot *s, struct tenant *t, const struct refusal *f)
{
	bool after = evidence_last(&s->path->evidence, 2) > 1;
	struct pair *k;

	if (f->kind == KIND_DOMAIN || f->kind == KIND_DEAD)
		return NULL;
	k = pair_bad(t->pairs, s->path->subnet, f->recipient, now.mono);
	if (!k || k->last != now.mono)
		return k; /* the same recipient again */
	/* each tenant once: one that refuses everything says nothing of the others */
	if (k->bad == 1 || (k->bad == 2 && taken_elsewhere(s, t, k)))
		habit_note(&s->path->habit, k->bad == 2, true, after);
	return k;
}

/* The tenant takes mail from another subnet, and others take it from this one: those two alone do
 * not go together. A ban of the tenant's keeps them apart, and has it tried again now and then. */
static bool explain_pair(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
	const struct refusal *f, const struct pair *k)
{
	struct tally path = tally_of(&s->path->evidence, now.mono);

	if (!k || k->bad < pairs_need(s->path, now.mono) || !taken_elsewhere(s, t, k) ||
		path.good < PAIR_OTHERS || s->path->good_at <= k->before)
		return false;
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct ban_what w = { BAN_DOMAIN, s->provider, p->params->sources[i].name, t->name,
			f->message, 0 };

		if (p->sources[i].subnet == s->path->subnet)
			ban_set(p, now, &w);
	}
	pace_excuse(&s->lane->pace);
	window_excuse(s->lane);
	if (s->path->pairs < UINT8_MAX)
		s->path->pairs++;
	s->path->paired = now.mono;
	for (unsigned i = 1; i < k->bad && i <= PAIR_REFUSED; i++) {
		evidence_take_back(&s->path->evidence);
		evidence_take_back(&s->lane->evidence);
		evidence_take_back(&s->cluster->evidence);
	}
	return true;
}

/* Most of what the tenant refuses, and hardly anything that others do. */
static bool explain_tenant(struct policy_now now, const struct slot *s, const struct tenant *t,
	const struct refusal *f)
{
	struct tally all = tally_of(&s->cluster->evidence, now.mono), path, tenant;
	double by_tenant;

	if (f->kind == KIND_DEAD)
		return false;
	if (t->pace.rate > 0)
		return true;
	if (whose(t, now, f) && t->evidence.naccusers < RECIPIENTS)
		return false; /* a mailbox's own trouble */
	path = tally_of(&s->path->evidence, now.mono);
	tenant = tally_of(&t->evidence, now.mono);
	by_tenant = contrast(&tenant, &all);
	return by_tenant >= EXPLAINS && by_tenant > contrast(&path, &all) + CLEARLY;
}

/* Whatever address it comes from, and whoever it is for. */
static bool explain_sender(struct policy *p, struct policy_now now, const struct slot *s,
	const struct tenant *t, const struct refusal *f)
{
	struct tally all = tally_of(&s->cluster->evidence, now.mono), path, tenant;
	double otherwise = EXPLAINS, by_path, by_tenant = 0;

	if (f->kind == KIND_DEAD)
		return false;
	if (sender_held(p, s->provider, f->sender))
		return true; /* the probe is refused as well */
	path = tally_of(&s->path->evidence, now.mono);
	by_path = contrast(&path, &all);
	if (t) {
		tenant = tally_of(&t->evidence, now.mono);
		by_tenant = contrast(&tenant, &all);
	}
	if (by_path + CLEARLY > otherwise)
		otherwise = by_path + CLEARLY;
	if (by_tenant > otherwise)
		otherwise = by_tenant;
	return sender_explains(p, now, s, f, otherwise);
}

/* When the transaction that is answered now was sent. */
static ms_t sent(const struct slot *s)
{
	return s->up ? s->began[s->outstanding > 1] : s->opened;
}

static enum cause tenants_own(struct policy *p, struct policy_now now, struct slot *s,
	struct tenant *t, const struct refusal *f)
{
	bool known = t->pace.rate > 0;
	enum pace_finding r;

	if (f->kind == KIND_UNKNOWN)
		return CAUSE_DOMAIN; /* greylisting, perhaps: its mail backs off one by one */
	r = pace_refused(&t->pace, now, sent(s));
	if (r == PACE_UNRELATED)
		judge_tenant(p, now, s, t, f);
	/* what it refused before it was found out was put down to others */
	for (unsigned i = 0; !known && i < p->params->nsources; i++)
		if (s->cluster->lanes[i] && t->evidence.onset &&
			s->cluster->lanes[i]->pace.cut >= t->evidence.onset)
			pace_excuse(&s->cluster->lanes[i]->pace);
	return CAUSE_DOMAIN;
}

/* Elsewhere than at a named provider, what no rule knows may be greylisting, which takes the next
 * try at any rate. */
static bool speaks_of_rates(const struct policy *p, const struct slot *s, const struct refusal *f)
{
	return f->kind != KIND_DEAD && (f->kind != KIND_UNKNOWN || named(p, s->provider));
}

/* More was sent than it takes. What was under way then says nothing more; only when it goes on at a
 * rate that was accepted before, it is no limit. */
static bool at_its_limit(struct slot *s, struct policy_now now, const struct refusal *f)
{
	struct tally all = tally_of(&s->cluster->evidence, now.mono),
		     path = tally_of(&s->path->evidence, now.mono);
	bool again = f->recipient && f->recipient == s->lane->refused_last;
	enum pace_finding r;

	s->lane->refused_last = f->recipient;
	if (again)
		return false; /* one recipient's trouble, however often it is met */
	r = pace_refused(&s->lane->pace, now, sent(s));
	if (r != PACE_LIMIT && r != PACE_SAME)
		return false;
	/* others are well: once is enough */
	return s->lane->pace.runs < (contrast(&path, &all) > EXPLAINS ? 1 : DECISIVE);
}

/* ---- judging ---- */

/* What it is called while nobody is found guilty. */
static enum cause suspect(const struct slot *s, const struct refusal *f)
{
	switch (f->kind) {
	case KIND_DOMAIN:
		return CAUSE_DOMAIN;
	case KIND_BUSY:
		return s->cluster->evidence.score >= SCORE_SUSPECT ? CAUSE_CLUSTER : CAUSE_MESSAGE;
	case KIND_UNKNOWN:
		return CAUSE_NONE;
	case KIND_THROTTLE:
	case KIND_DEAD:
		break;
	}
	return CAUSE_SUBNET;
}

static enum cause judge(
	struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f)
{
	if (judge_lane(p, now, s->lane, f->cooldown))
		return CAUSE_SOURCE;
	if (judge_path(p, now, s, f))
		return CAUSE_SUBNET;
	if (f->kind == KIND_THROTTLE || f->kind == KIND_BUSY)
		if (sick(&s->cluster->health) || judge_cluster(p, now, s, f))
			return CAUSE_CLUSTER;
	return suspect(s, f);
}

enum cause blame(struct policy *p, struct policy_now now, struct slot *s, struct refusal *f)
{
	struct tenant *t = f->domain ? tenant_get(p, f->domain, now.mono) : NULL;
	enum cause r = probe_failed(p, now, s, t, f->kind);
	bool first = !s->told.bad; /* of this transaction */
	struct pair *k = NULL;
	bool limited;

	if (r != CAUSE_NONE)
		return r;
	s->told.bad = true;
	if (first)
		note(s, now, f);
	if (t && accuse_tenant(t, now, s, f))
		k = note_pair(now, s, t, f);
	if (s->pool == ~0u)
		return suspect(s, f);
	if (f->kind == KIND_DOMAIN)
		return t ? tenants_own(p, now, s, t, f) : CAUSE_DOMAIN;
	if (explain_pair(p, now, s, t, f, k)) {
		f->found = FOUND_PAIR;
		return CAUSE_DOMAIN;
	}
	if (f->sender && first && explain_sender(p, now, s, t, f)) {
		f->found = FOUND_SENDER;
		return CAUSE_MESSAGE;
	}
	if (t && explain_tenant(now, s, t, f))
		return tenants_own(p, now, s, t, f);
	if (k && habit_explains(&s->path->habit, k->bad > 1)) {
		if (!judge_tenant(p, now, s, t, f))
			f->found = FOUND_PAIR;
		return CAUSE_DOMAIN;
	}
	if (f->kind == KIND_THROTTLE)
		window_throttled(s->lane, now.mono, !s->up);
	limited = first && speaks_of_rates(p, s, f) && at_its_limit(s, now, f);
	if (first)
		accuse(p, s, now, f, t);
	if (limited)
		return suspect(s, f);
	if (t && f->kind != KIND_UNKNOWN && judge_tenant(p, now, s, t, f))
		return CAUSE_DOMAIN;
	return judge(p, now, s, f);
}

/* ---- an acceptance ---- */

static void well_again(struct policy *p, struct policy_now now, struct slot *s)
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

static void acquit_tenant(
	struct policy *p, struct policy_now now, const struct slot *s, const char *domain)
{
	struct tenant *t = tenant_find(p, domain);

	habit_note(&s->path->habit, t && pair_good(t->pairs, s->path->subnet), false,
		evidence_last(&s->path->evidence, 1) > 0);
	if (!t)
		return;
	evidence_good(&t->evidence, now.mono);
	pace_accepted(&t->pace, now.mono, 1);
	t->good_at = now.mono;
	t->good_subnet = s->path->subnet;
	t->probe_at = 0;
	if (health_probed(p, &t->health, &health_tenant, true, now))
		event_health(p, now, s->cluster, ~0u, ~0u, &t->health, CAUSE_DOMAIN, &t->evidence,
			t->name);
}

/* The lane, the path and the cluster took mail. */
static void acquit_place(struct policy *p, struct policy_now now, struct slot *s)
{
	if (sick(&s->cluster->health) || sick(&s->path->health) || sick(&s->lane->health))
		well_again(p, now, s);
	evidence_good(&s->lane->evidence, now.mono);
	evidence_good(&s->path->evidence, now.mono);
	s->path->good_at = now.mono;
	pace_accepted(&s->lane->pace, now.mono, s->weight ? s->weight : 1);
	evidence_good(&s->cluster->evidence, now.mono);
	s->cluster->slow_start_fed = true;
}

void acquit(struct policy *p, struct policy_now now, struct slot *s, const char *domain)
{
	acquit_tenant(p, now, s, domain);
	if (s->told.good)
		return;
	s->told.good = true;
	host_slot_good(p, s);
	host_noted(s->host, now.mono, false);
	limits_taken(p, now, s);
	if (!host_guessed(s->host))
		acquit_place(p, now, s);
	window_good(p, s->lane, s->weight ? s->weight : 1, now.mono);
	block_good(p, now, s);
}
