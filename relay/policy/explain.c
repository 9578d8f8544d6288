/* What explains a refusal better than the path from us to the cluster: two that do not go together
 * (a tenant and a subnet), a tenant, a domain that sends. Called by cause.c for each refusal before
 * anything is put down to the path, on the dispatcher's thread. */
#include "explain.h"
#include "ban.h"
#include "contrast.h"
#include "evidence.h"
#include "habit.h"
#include "pace.h"
#include "policy_impl.h"
#include "sender.h"
#include "sender_watch.h"
#include "tenant.h"
#include "window.h"

#define OTHERS_WELL  900000 /* ms */
#define CLEARLY	     2.0    /* more than the next best */
#define RECIPIENTS   3u	    /* that a tenant refuses */
#define PAIR_KNOWN   2u	    /* refusals in a row, where others do so as well; */
#define PAIR_REFUSED 4u	    /* else at the least */
#define PAIRS_MANY   3u
#define PAIRS_FRESH  3600000 /* ms */
#define PAIR_OTHERS  3.0     /* accepted from the subnet by others */

/* While others there are accepted, one recipient's refusals are its own, however many. A tenant of
 * one recipient is that recipient. */
uint32_t accuser_of(const struct tenant *t, struct policy_now now, const struct refusal *f)
{
	if (!f->recipient || !t->good_at || now.mono - t->good_at > OTHERS_WELL)
		return 0;
	return (uint32_t)(f->recipient ^ f->recipient >> 32) | 1;
}

/* Refusals in a row. Where several tenants were found that do not want this subnet, others may be
 * of the same mind. */
static unsigned pairs_need(const struct path *h, ms_t mono)
{
	unsigned chance = habit_chance(&h->habit);

	if (h->habit.holds)
		return PAIR_KNOWN;
	if (h->pairs >= PAIRS_MANY && mono - h->paired < PAIRS_FRESH)
		chance /= 2;
	return chance > PAIR_REFUSED ? chance : PAIR_REFUSED;
}

static bool taken_elsewhere(const struct slot *s, const struct tenant *t, const struct pair *k)
{
	return t->good_at > k->before && t->good_subnet != s->path->subnet;
}

/* Once it is known that refusals hang on whom the mail is for, what they had been taken for is given
 * back: limits that were found in the meantime, smaller windows, and what was held against the path. */
void note_habit(struct policy *p, struct policy_now now, struct path *h, bool again, bool refused,
	bool after)
{
	if (!habit_note(&h->habit, now.wall, again, refused, after))
		return;
	evidence_forgive(&h->evidence);
	pace_retract(&h->pace, h->habit.since);
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = h->cluster->lanes[i];

		if (!l || l->path != h)
			continue;
		evidence_forgive(&l->evidence);
		pace_retract(&l->pace, h->habit.since);
		window_excuse(l);
	}
}

/* NULL: no pair, by what it says. */
struct pair *note_pair(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
	const struct refusal *f)
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
		note_habit(p, now, s->path, k->bad == 2, true, after);
	return k;
}

/* The tenant takes mail from another subnet, and others take it from this one: those two alone do
 * not go together. A ban of the tenant's keeps them apart, and has it tried again now and then. */
bool explain_pair(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
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
	pace_excuse(&s->path->pace);
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
bool explain_tenant(struct policy_now now, const struct slot *s, const struct tenant *t,
	const struct refusal *f)
{
	struct tally all = tally_of(&s->cluster->evidence, now.mono), path, tenant;
	double by_tenant;

	if (f->kind == KIND_DEAD)
		return false;
	if (t->pace.rate > 0)
		return true;
	if (accuser_of(t, now, f) && t->evidence.naccusers < RECIPIENTS)
		return false; /* a mailbox's own trouble */
	path = tally_of(&s->path->evidence, now.mono);
	tenant = tally_of(&t->evidence, now.mono);
	by_tenant = contrast(&tenant, &all);
	return by_tenant >= EXPLAINS && by_tenant > contrast(&path, &all) + CLEARLY;
}

/* Whatever address it comes from, and whoever it is for. */
bool explain_sender(struct policy *p, struct policy_now now, const struct slot *s,
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
