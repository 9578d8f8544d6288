/* What becomes of the messages of a step: as relay/dispatch does it. */
#include "state.h"

#define HOLD_MIN 1000

static ms_t expires(const struct rehearsal *r, const struct letter *g)
{
	return g->arrived + r->params->retry.expire;
}

bool end_expired(const struct rehearsal *r, const struct letter *g)
{
	return r->now >= expires(r, g);
}

static void again_at(struct rehearsal *r, uint32_t i, ms_t at)
{
	struct letter *g = &r->letters[i];

	g->flow &= ~1u; /* no longer diverted */
	g->tried.n = 0;
	if (at > expires(r, g))
		at = expires(r, g);
	post(r, at, EVENT_RETRY, i, 0);
}

void end_hold(struct rehearsal *r, uint32_t i, ms_t at)
{
	if (i == NONE)
		return; /* no_memory is set: the run ends */
	if (end_expired(r, &r->letters[i]))
		end_expire(r, i);
	else
		again_at(r, i, at > r->now + HOLD_MIN ? at : r->now + HOLD_MIN);
}

void end_expire(struct rehearsal *r, uint32_t i)
{
	r->total.expired += r->letters[i].count;
	r->hours[r->hour].n.expired += r->letters[i].count;
	record_left(r, &r->letters[i]);
	letter_free(r, i);
}

void end_defer(struct rehearsal *r, uint32_t i)
{
	struct letter *g = &r->letters[i];
	uint32_t rest;

	if (end_expired(r, g)) {
		end_expire(r, i);
		return;
	}
	/* each message has its own luck with the schedule, up to a point */
	while (g->count > 1) {
		struct letter like = *g;
		uint32_t part = g->count > 8 ? g->count / 8 : 1;

		rest = letter_new(r, &like, part);
		if (rest == NONE)
			return;
		g = &r->letters[i];
		g->count -= part;
		g->id += part;
		r->letters[rest].attempts++;
		again_at(r, rest, r->now + policy_backoff(r->policy, r->letters[rest].attempts));
		g = &r->letters[i];
	}
	g->attempts++;
	again_at(r, i, r->now + policy_backoff(r->policy, g->attempts));
}

static void bounce(struct rehearsal *r, uint32_t i)
{
	r->total.bounced += r->letters[i].count;
	r->hours[r->hour].n.bounced += r->letters[i].count;
	record_left(r, &r->letters[i]);
	letter_free(r, i);
}

static void dispose(struct rehearsal *r, uint32_t i, const struct policy_verdict *v)
{
	struct letter *g = &r->letters[i];

	switch (v->what) {
	case DISPOSE_BOUNCE:
		bounce(r, i);
		return;
	case DISPOSE_RETRY_SUBNET:
		r->total.diverted += g->count;
		r->hours[r->hour].n.diverted += g->count;
		mail_push(r, g->flow | 1u, i, false);
		return;
	case DISPOSE_HOLD:
		end_hold(r, i, r->now + v->hold);
		return;
	case DISPOSE_RETRY_FEWER:
	case DISPOSE_RETRY_SPLIT: /* each is alone already */
	case DISPOSE_RESOLVE:
	case DISPOSE_DEFER:
	case DISPOSE_DELIVERED:
		break;
	}
	end_defer(r, i);
}

static void delivered(struct rehearsal *r, const struct link *k, uint32_t i)
{
	while (i != NONE) {
		uint32_t next = r->letters[i].next;

		record_delivered(r, k, &r->letters[i]);
		letter_free(r, i);
		i = next;
	}
}

void end_step(struct rehearsal *r, struct link *k, uint32_t first)
{
	const struct answer *a = receiver_answer(r, k);
	struct letter *g = &r->letters[first];
	const char *domain = r->receivers[k->cluster].domains[g->tenant];
	struct policy_verdict v;

	if (!a) {
		policy_txn_end(r->policy, &k->txn, TXN_NOT_BEGUN);
		return;
	}
	policy_result(r->policy, policy_time(r), &k->txn, domain, &a->is, &g->tried, &v);
	policy_txn_end(r->policy, &k->txn, k->says == SAYS_YES ? TXN_SENT : TXN_CUT);
	if (k->says == SAYS_YES) {
		delivered(r, k, first);
		return;
	}
	if (v.what != DISPOSE_BOUNCE)
		record_deferred(r, k);
	dispose(r, first, &v);
}
