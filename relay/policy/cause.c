/* Who is to blame for a refusal: the smallest thing that explains what was seen. A tenant that
 * refuses everybody, while others at its cluster do not; a source that is refused, while others of
 * its subnet are not; a subnet, while another is accepted at the same cluster in the same time; and
 * the cluster, when all are refused there. Nothing is decided before there is something to compare
 * with, if there can be.
 *
 * Called by verdict.c for each outcome, on the dispatcher's thread. Order of a refusal: a probe's
 * outcome; what a smaller thing explains (explain.c); a limit that was passed (pace.c); what is left
 * is evidence against lane, path and cluster, over which judge.c sits. */
#include "cause.h"
#include "block.h"
#include "change.h"
#include "contrast.h"
#include "evidence.h"
#include "explain.h"
#include "health.h"
#include "host.h"
#include "judge.h"
#include "learn.h"
#include "limit.h"
#include "paces.h"
#include "policy_impl.h"
#include "tenant.h"
#include "window.h"

#define DECISIVE 2u /* refused at less than was accepted before */

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
	evidence_bad(&t->evidence, now.mono, accuser_of(t, now, f), false, weight_of(f->kind));
	evidence_note(&t->evidence, now.mono, true);
	return true;
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

/* Words that no rule knows, at hosts that have something in common, may be the cluster's once everybody
 * there is told so. Elsewhere they may be greylisting, of each message by itself. */
static bool of_everybody(const struct policy *p, const struct slot *s, const struct refusal *f)
{
	return f->kind == KIND_UNKNOWN && named(p, s->provider);
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
	else if (of_everybody(p, s, f))
		evidence_bad(&s->cluster->evidence, now.mono, accuser, false, weight);
	if (f->tried) {
		take_back(p, s, f->tried);
		return;
	}
	evidence_bad(&s->path->evidence, now.mono, accuser, alibi, weight);
	evidence_bad(&s->lane->evidence, now.mono, accuser, alibi, weight);
}

/* ---- limits ---- */

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
static bool at_its_limit(
	struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f)
{
	struct tally all = tally_of(&s->cluster->evidence, now.mono),
		     path = tally_of(&s->path->evidence, now.mono);
	bool again = f->recipient && f->recipient == s->lane->refused_last;
	const struct pace *of;
	enum pace_finding r;

	s->lane->refused_last = f->recipient;
	if (again)
		return false; /* one recipient's trouble, however often it is met */
	r = paces_refused(p, now, s->lane, sent(s), &of);
	if (r != PACE_LIMIT && r != PACE_SAME)
		return false;
	/* others are well: once is enough */
	return of->runs < (contrast(&path, &all) > EXPLAINS ? 1 : DECISIVE);
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
	if (f->kind == KIND_THROTTLE || f->kind == KIND_BUSY || of_everybody(p, s, f))
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
		k = note_pair(p, now, s, t, f);
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
	limited = first && speaks_of_rates(p, s, f) && at_its_limit(p, now, s, f);
	if (first)
		accuse(p, s, now, f, t);
	if (limited)
		return suspect(s, f);
	if (t && f->kind != KIND_UNKNOWN && judge_tenant(p, now, s, t, f))
		return CAUSE_DOMAIN;
	return judge(p, now, s, f);
}

/* ---- an acceptance ---- */

static void acquit_tenant(
	struct policy *p, struct policy_now now, const struct slot *s, const char *domain)
{
	struct tenant *t = tenant_find(p, domain);

	note_habit(p, now, s->path, t && pair_good(t->pairs, s->path->subnet), false,
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
	paces_accepted(s->lane, now.mono, s->weight ? s->weight : 1);
	evidence_good(&s->cluster->evidence, now.mono);
	s->cluster->slow_start_fed = true;
}

/* Of the last so many the oldest goes. */
static void note_guessed(struct path *h, ms_t mono)
{
	for (unsigned i = GUESSED_KEPT - 1; i; i--)
		h->guessed_good[i] = h->guessed_good[i - 1];
	h->guessed_good[0] = mono;
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
	if (host_guessed(s->host))
		note_guessed(s->path, now.mono);
	else
		acquit_place(p, now, s);
	window_good(p, s->lane, s->weight ? s->weight : 1, now.mono);
	block_good(p, now, s);
}
