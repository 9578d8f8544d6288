/* What becomes of the messages of a step. */
#include "state.h"

#define HOLD_MIN 1000

static ms_t expires(const struct rehearsal *r, const struct letter *g)
{
	return g->arrived + class_expire(r->params, class_of(r, g));
}

bool end_expired(const struct rehearsal *r, const struct letter *g)
{
	return r->now >= expires(r, g);
}

static void again_at(struct rehearsal *r, struct letter *g, ms_t at)
{
	g->flow &= ~1u; /* no longer diverted */
	g->match.tried.n = 0;
	if (at > expires(r, g))
		at = expires(r, g);
	post(r, at, EVENT_RETRY, g->index, 0);
}

void end_hold(struct rehearsal *r, struct letter *g, ms_t at)
{
	if (end_expired(r, g))
		end_expire(r, g);
	else
		again_at(r, g, at > r->now + HOLD_MIN ? at : r->now + HOLD_MIN);
}

static void left(struct rehearsal *r, struct letter *g)
{
	record_left(r, g);
	letter_free(r, g);
}

void end_expire(struct rehearsal *r, struct letter *g)
{
	r->record.total.expired += g->match.count;
	r->record.by_traffic[g->traffic].expired += g->match.count;
	r->record.hours[r->record.hour].n.expired += g->match.count;
	left(r, g);
}

void end_defer(struct rehearsal *r, struct letter *g)
{
	if (end_expired(r, g)) {
		end_expire(r, g);
		return;
	}
	/* each message has its own luck with the schedule, up to a point */
	while (g->match.count > 1) {
		uint32_t part = g->match.count > 8 ? g->match.count / 8 : 1;
		struct letter *rest = letter_new(r, g, part);

		if (!rest)
			return;
		g->match.count -= part;
		g->id += part;
		rest->attempts++;
		again_at(r, rest,
			r->now + policy_backoff(r->policy, class_of(r, rest), rest->attempts));
	}
	g->attempts++;
	again_at(r, g, r->now + policy_backoff(r->policy, class_of(r, g), g->attempts));
}

static void bounce(struct rehearsal *r, struct letter *g)
{
	r->record.total.bounced += g->match.count;
	r->record.hours[r->record.hour].n.bounced += g->match.count;
	left(r, g);
}

static void dispose(struct rehearsal *r, struct letter *g, const struct policy_verdict *v)
{
	switch (v->what) {
	case DISPOSE_BOUNCE:
		bounce(r, g);
		return;
	case DISPOSE_RETRY_SUBNET:
		r->record.total.diverted += g->match.count;
		r->record.hours[r->record.hour].n.diverted += g->match.count;
		mail_push(r, &r->flows[g->flow | 1u], g, false);
		return;
	case DISPOSE_HOLD:
		end_hold(r, g, r->now + v->hold);
		return;
	case DISPOSE_RETRY_FEWER:
	case DISPOSE_RETRY_SPLIT: /* each is alone already */
	case DISPOSE_RESOLVE:
	case DISPOSE_DEFER:
	case DISPOSE_DELIVERED:
		break;
	}
	end_defer(r, g);
}

/* What is refused is a step of one message. */
void end_step(struct rehearsal *r, struct link *k)
{
	const struct answer *a = receiver_answer(r, k);
	struct letter *g = letter_of(k->running.next);
	const char *domain = r->receivers[k->cluster].domains[g->tenant];
	struct policy_verdict v;

	if (!a) {
		policy_txn_end(r->policy, &g->match.txn, TXN_NOT_BEGUN);
		return;
	}
	policy_result(
		r->policy, policy_time(r), &g->match.txn, domain, &a->is, &g->match.tried, &v);
	policy_txn_end(r->policy, &g->match.txn, k->says == SAYS_YES ? TXN_SENT : TXN_CUT);
	while (!list_empty(&k->running)) {
		g = letter_of(k->running.next);
		list_del(&g->match.in_flow);
		if (k->says != SAYS_YES)
			break;
		record_delivered(r, k, g);
		letter_free(r, g);
	}
	if (k->says == SAYS_YES)
		return;
	if (v.what != DISPOSE_BOUNCE)
		record_deferred(r, k);
	dispose(r, g, &v);
}
