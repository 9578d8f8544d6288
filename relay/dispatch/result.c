/* Verdicts: what became of each recipient of a transaction, and what is done about it. Called by
 * connection.c with what a worker hands back, on the dispatcher's thread.
 *
 * reply → rules (classify) → policy_result → delivered, bounced, moved to another subnet, split,
 * held, deferred → sorting.c */
#include "result.h"

#include <stdio.h>
#include <stdlib.h>

#include "candidate.h"
#include "expire.h"
#include "flow.h"
#include "host.h"
#include "host_memory.h"
#include "item.h"
#include "past.h"
#include "postern/must.h"
#include "settle.h"
#include "sorting.h"

#define ASK_AGAIN    1000
#define SESSION_SURE 5u	   /* messages */
#define DOUBT_WAIT   60000 /* ms at least before a recipient that may have it is tried again */
#define DOUBT_MAX    3u	   /* times that a recipient may be in doubt, where nothing else is set */

static void status_of(char out[16], const struct reply *r)
{
	reply_enhanced_format(out, r);
	if (!out[0])
		snprintf(out, 16, "%d.0.0", r->code / 100);
}

static void delivered(
	struct sorting *s, struct item *i, const struct rcpt_result *o, const struct reply *r)
{
	i->end = END_DELIVERED;
	s->d->stats.delivered++;
	s->d->stats.by_verdict[VERDICT_DELIVERED]++;
	sorting_log(s, i, EVENT_DELIVERED, r, verdict_name(VERDICT_DELIVERED), NULL, NULL, 0);
	if (!o->dsn_passed_on && (i->recipient->notify & NOTIFY_SUCCESS)) {
		struct report *p = report_for(s->message, i, DSN_RELAYED, "2.0.0");

		if (p) { /* the next host may not report it: RFC 3461 section 5.2.2 */
			reply_format(p->diagnostic, sizeof(p->diagnostic), r);
			snprintf(p->mta, sizeof(p->mta), "%s", s->mx);
		}
	}
	sorting_settle(s, i);
}

static void cancelled(struct sorting *s, struct item *i)
{
	bool removed = i->cancel == CANCEL_REMOVE;

	sorting_log(
		s, i, removed ? EVENT_REMOVED : EVENT_BOUNCED, NULL, NULL, NULL, "by operator", 0);
	if (removed) {
		i->end = END_REMOVED;
		sorting_settle(s, i);
	} else {
		sorting_bounce(s, i, "5.7.0",
			"The administrator of the mail system returned this message.");
	}
}

/* The receiver takes so many recipients a transaction, or at least fewer than these: all others go
 * in the next ones, as many in each. False: that is not known, and they go one by one. */
static bool fewer(struct sorting *s, struct item *i, const struct reply *r,
	const struct policy_verdict *v, const char *verdict)
{
	uint32_t limit;

	if (!s->t || s->t->n < 2 || (i->flags & RCPT_STATE_SPLIT))
		return false;
	if (!s->too_many)
		policy_too_many(s->d->policy, now_of(s->d), s->c->match.slot, s->t->n, s->accepted);
	s->too_many = true;
	limit = policy_recipients(s->d->policy, now_of(s->d), s->c->match.slot);
	if (!limit || limit >= s->t->n)
		return false;
	sorting_log(s, i, EVENT_DEFERRED, r, verdict, v->cause,
		"fewer recipients a transaction next", loop_wall(s->d->loop));
	s->d->stats.deferred++;
	sorting_work(s, &s->again, i);
	return true;
}

static void dispose(
	struct sorting *s, struct item *i, const struct reply *r, const struct policy_verdict *v)
{
	const char *name = verdict_name(i->verdict);
	ms_t wall = loop_wall(s->d->loop), delay;
	char status[16];

	if (i->cancel && v->what != DISPOSE_BOUNCE) {
		cancelled(s, i);
		return;
	}
	status_of(status, r);
	switch (v->what) {
	case DISPOSE_BOUNCE:
		sorting_log(s, i, EVENT_BOUNCED, r, name, v->cause, NULL, 0);
		sorting_bounce(s, i, status, NULL);
		return;
	case DISPOSE_RETRY_SUBNET:
		sorting_log(s, i, EVENT_DEFERRED, r, name, v->cause, "another subnet next", wall);
		s->d->stats.deferred++;
		sorting_work(s, &s->diverted, i);
		return;
	case DISPOSE_RETRY_FEWER:
		if (fewer(s, i, r, v, name))
			return;
		/* fall through */
	case DISPOSE_RETRY_SPLIT:
		sorting_log(s, i, EVENT_DEFERRED, r, name, v->cause,
			"one recipient a transaction next", wall);
		s->d->stats.deferred++;
		if (!(i->flags & RCPT_STATE_SPLIT)) {
			struct work *alone = NULL;

			i->flags |= RCPT_STATE_SPLIT;
			sorting_work(s, &alone, i);
			if (alone) {
				alone->match.tried = s->tried;
				flow_push(s->d, s->flow, alone, false);
			}
			return;
		}
		break; /* it was alone already */
	case DISPOSE_HOLD:
		sorting_log(s, i, EVENT_HELD, r, name, v->cause, hold_reason_text(v->reason),
			wall + v->hold);
		s->d->stats.held++;
		/* what refused it holds it, and may end at any time: the policy is asked again */
		settle_defer(s->d, s->message, i, ASK_AGAIN);
		sorting_settle(s, i);
		return;
	case DISPOSE_RESOLVE:
		resolver_forget(s->d->resolver, i->domain->name);
		break;
	case DISPOSE_DELIVERED:
	case DISPOSE_DEFER:
		break;
	}
	delay = policy_backoff(s->d->policy, class_of(s->d, s->message), i->attempts + 1u);
	if (v->what != DISPOSE_RETRY_SPLIT && v->what != DISPOSE_RETRY_FEWER)
		sorting_log(s, i, EVENT_DEFERRED, r, name, v->cause, NULL, wall + delay);
	sorting_defer(s, i, delay);
}

/* To be tried at once, the same way or another, within the bound of lost connections. */
static void at_once(struct sorting *s, struct item *i, const struct reply *r, const char *verdict,
	const char *cause, const char *reason)
{
	i->lost++;
	s->went_wrong = true;
	sorting_log(s, i, EVENT_DEFERRED, r, verdict, cause, reason, loop_wall(s->d->loop));
	s->d->stats.deferred++;
	sorting_work(s, &s->again, i);
}

static bool may_be_at_once(const struct item *i)
{
	return !i->cancel && i->lost + 1u < LOST_MAX * 3;
}

/* Words that blame nobody in particular. */
static bool of_the_host(const struct classification *c)
{
	return c->verdict == VERDICT_TRANSIENT_OTHER ||
	       (c->verdict == VERDICT_DESTINATION_BUSY && c->scope != SCOPE_RECIPIENT &&
		       c->scope != SCOPE_MESSAGE && c->scope != SCOPE_DOMAIN);
}

/* RFC 3463 x.4.2: a bad connection; also what closes one that did nothing for a while. */
static bool timed_out(const struct reply *r)
{
	return r->has_enhanced && r->enhanced[1] == 4 && r->detail == 2;
}

/* "Too many messages" may be said of a session or of a source. After several were taken it is
 * tried: a receiver that means the source says so again, to the next connection before it takes
 * anything. Not where a mark or a code of Microsoft's says which. */
static bool of_the_session(
	const struct sorting *s, const struct reply *r, const struct classification *c)
{
	struct policy_slot_info info;

	if (of_the_host(c))
		return true;
	policy_slot(s->d->policy, s->c->match.slot, &info);
	return c->verdict == VERDICT_SOURCE_THROTTLE && !c->token[0] && r->detail < 500 &&
	       info.messages > SESSION_SURE;
}

/* 421 after messages were taken in this session: it has had what one session may have. The next one
 * goes on, and neither the host nor a retry pays for it. */
static bool another_session(
	struct sorting *s, struct item *i, const struct reply *r, const struct classification *c)
{
	if (r->code != 421 || !of_the_session(s, r, c) || !may_be_at_once(i) ||
		!policy_session_ended(s->d->policy, now_of(s->d), s->c->match.slot, !timed_out(r)))
		return false;
	at_once(s, i, r, verdict_name(c->verdict), NULL, "another connection next");
	return true;
}

/* System or network trouble of the host (RFC 3463: x.3, x.4), or it closes: this host has failed in
 * this cycle, and says nothing about the others. */
static bool another_host(struct sorting *s, struct item *i, const struct reply *r,
	const struct classification *c, const struct policy_verdict *v)
{
	bool system = r->code == 421 || (r->code == 452 && !r->enhanced[0]) ||
		      (r->code / 100 == 4 && (r->enhanced[1] == 3 || r->enhanced[1] == 4));

	if (!system || v->what != DISPOSE_DEFER || !of_the_host(c) || !may_be_at_once(i) ||
		!host_broke(s->d, s->c, i->domain, HOST_SAYS, i->reply ? i->reply : "421"))
		return false;
	at_once(s, i, r, verdict_name(c->verdict), v->cause, "another host next");
	return true;
}

static uint8_t families_of(const struct domain *m)
{
	unsigned families = 0;

	for (unsigned i = 0; i < m->nhosts; i++)
		families |=
			m->hosts[i].addr.family == ADDR_V6 ? POLICY_FAMILY_V6 : POLICY_FAMILY_V4;
	return (uint8_t)families;
}

static void replied(struct sorting *s, struct item *i, const char *phase, const struct reply *r)
{
	struct dispatch *d = s->d;
	struct classification c;
	struct policy_verdict v;
	char text[512];

	classify(d->rules, slice_of(provider_of(d, s->c->match.provider)->name), slice_of(phase), r,
		&c);
	reply_format(text, sizeof(text), r);
	sorting_remember(s, i, text, r->code, c.verdict);
	d->stats.by_verdict[c.verdict]++;
	if (another_session(s, i, r, &c))
		return;
	s->tried.recipient = policy_recipient_hash(i->recipient->address);
	s->tried.families = families_of(i->domain);
	policy_result(d->policy, now_of(d), s->txn, i->domain->name, &c, &s->tried, &v);
	/* it did not understand us: who knows what it takes the next command for */
	s->went_wrong |= c.verdict == VERDICT_TRANSIENT_OTHER && r->code >= 500;
	if (!another_host(s, i, r, &c, &v))
		dispose(s, i, r, &v);
}

/* Cannot be sent there by our own finding; the reply is ours. */
static void local_finding(struct sorting *s, struct item *i, const struct reply *r)
{
	struct policy_verdict v = { .what = r->code >= 500 ? DISPOSE_BOUNCE : DISPOSE_DEFER };
	char text[512];

	reply_format(text, sizeof(text), r);
	sorting_remember(s, i, text, r->code, VERDICT_MESSAGE_REJECTED);
	dispose(s, i, r, &v);
}

static void lost(struct sorting *s, struct item *i, bool counts)
{
	static const char why[] = "4.4.2 Connection lost before the message was complete";
	ms_t delay;

	s->went_wrong = true;
	if (i->cancel) {
		cancelled(s, i);
		return;
	}
	/* a message that breaks whatever it meets may not go round for long; what was not begun
	 * may, or what another session or host can take */
	if (counts && may_be_at_once(i) &&
		(policy_session_ended(s->d->policy, now_of(s->d), s->c->match.slot, false) ||
			host_broke(s->d, s->c, i->domain, HOST_LOST, why)))
		counts = false;
	i->lost = (uint8_t)(i->lost + (counts ? 3 : 1));
	if (i->lost < LOST_MAX * 3) {
		sorting_work(s, &s->again, i);
		return;
	}
	i->lost = 0;
	sorting_remember(s, i, why, 0, VERDICT_TRANSIENT_OTHER);
	delay = policy_backoff(s->d->policy, class_of(s->d, s->message), i->attempts + 1u);
	sorting_log(s, i, EVENT_DEFERRED, NULL, NULL, NULL, why, loop_wall(s->d->loop) + delay);
	sorting_defer(s, i, delay);
}

/* The host is done without what failed: at once, and no retry is used up. */
static void without_it(struct sorting *s, struct item *i, const struct reply *r, const char *what)
{
	char reason[160];

	s->went_wrong = true;
	if (i->cancel) {
		cancelled(s, i);
		return;
	}
	snprintf(reason, sizeof(reason), "%s%sagain without %s", what, what[0] ? "; " : "",
		host_memory_name(s->t->suspect));
	sorting_log(s, i, EVENT_DEFERRED, r->code ? r : NULL, NULL, NULL, reason,
		loop_wall(s->d->loop));
	s->d->stats.deferred++;
	sorting_work(s, &s->again, i);
}

/* One time more; true when it was the last that is allowed. */
static bool doubted_enough(const struct dispatch *d, struct item *i)
{
	unsigned n = (i->flags & RCPT_STATE_DOUBTS) / RCPT_STATE_DOUBT + 1u;
	unsigned max = d->params->retry.in_doubt_max;

	if (n >= (max ? max : DOUBT_MAX))
		return true;
	i->flags = (uint8_t)((i->flags & ~RCPT_STATE_DOUBTS) | n * RCPT_STATE_DOUBT);
	return false;
}

/* Each time more may be one copy more: so there are few, and the sender is told in the end. */
static void in_doubt(struct sorting *s, struct item *i, const struct reply *r)
{
	static const char why[] =
		"4.4.2 Connection lost after the message was sent; it may have arrived";
	static const char enough[] =
		"5.4.2 Connection lost each time after the message was sent; it may have arrived, "
		"more than once";
	ms_t delay;

	s->went_wrong = true;
	s->d->stats.in_doubt++;
	if (!s->lesson &&
		!policy_session_ended(s->d->policy, now_of(s->d), s->c->match.slot, false))
		host_broke(s->d, s->c, i->domain, HOST_LOST, why);
	sorting_remember(s, i, why, 0, VERDICT_TRANSIENT_OTHER);
	if (i->cancel) {
		cancelled(s, i);
		return;
	}
	if (doubted_enough(s->d, i)) {
		s->d->stats.in_doubt_ended++;
		sorting_log(s, i, EVENT_BOUNCED, NULL, NULL, NULL, enough, 0);
		sorting_bounce(s, i, "5.4.2", enough + 6);
		return;
	}
	if (s->lesson) {
		without_it(s, i, r, why);
		return;
	}
	delay = policy_backoff(s->d->policy, class_of(s->d, s->message), i->attempts + 1u);
	if (delay < DOUBT_WAIT)
		delay = DOUBT_WAIT;
	sorting_log(s, i, EVENT_DEFERRED, NULL, NULL, NULL, why, loop_wall(s->d->loop) + delay);
	sorting_defer(s, i, delay);
}

static void sort_one(struct sorting *s, struct item *i, const struct rcpt_result *o)
{
	static const struct classification good = { .verdict = VERDICT_DELIVERED };
	static const struct reply none;
	const struct reply *r = o->reply < s->t->nreplies ? &s->t->replies[o->reply] : &none;
	struct policy_verdict v;

	i->work = NULL;
	i->next = NULL;
	s->d->stats.attempts += o->outcome != RCPT_PENDING;
	switch (o->outcome) {
	case RCPT_DELIVERED:
		s->tried.recipient = policy_recipient_hash(i->recipient->address);
		policy_result(
			s->d->policy, now_of(s->d), s->txn, i->domain->name, &good, &s->tried, &v);
		delivered(s, i, o, r);
		break;
	case RCPT_REPLIED:
		if (s->lesson && s->t->refused && o->reply == s->t->suspect_reply)
			without_it(s, i, r, "");
		else
			replied(s, i, client_phase_name(o->phase), r);
		break;
	case RCPT_LOCAL:
		local_finding(s, i, r);
		break;
	case RCPT_LOST:
		if (s->lesson)
			without_it(s, i, r, "");
		else
			lost(s, i, true);
		break;
	case RCPT_PENDING:
		lost(s, i, false);
		break;
	case RCPT_IN_DOUBT:
		in_doubt(s, i, r);
		break;
	}
}

static void take_off(struct connection *c, const struct work *w)
{
	unsigned k = 0;

	while (k < c->match.nrunning && c->running[k] != w)
		k++;
	must(k < c->match.nrunning);
	for (; k + 1 < c->match.nrunning; k++)
		c->running[k] = c->running[k + 1];
	c->match.nrunning--;
}

/* The receiver took this recipient, whatever became of the content. */
static bool rcpt_accepted(const struct rcpt_result *o)
{
	return o->outcome == RCPT_DELIVERED || o->outcome == RCPT_IN_DOUBT ||
	       (o->outcome == RCPT_REPLIED && (o->phase == PHASE_EOD || o->phase == PHASE_DATA));
}

/* Its content was sent to the end, whatever came back. */
static bool content_ended(const struct rcpt_result *o)
{
	return o->outcome == RCPT_DELIVERED || o->outcome == RCPT_IN_DOUBT ||
	       (o->outcome == RCPT_REPLIED && o->phase == PHASE_EOD);
}

/* How the transaction ended, one recipient more looked at. */
static enum policy_txn_end txn_end_of(enum policy_txn_end before, const struct rcpt_result *o)
{
	if (content_ended(o))
		return TXN_SENT;
	return before == TXN_NOT_BEGUN && o->outcome != RCPT_PENDING ? TXN_CUT : before;
}

void result_take(struct dispatch *d, struct connection *c, struct outbound_transact *t)
{
	struct work *w = t->owner;
	struct sorting s = { .d = d,
		.c = c,
		.t = t,
		.message = w->message,
		.tried = w->match.tried,
		.txn = &w->match.txn,
		.flow = w->flow,
		.mx = w->mx ? w->mx : c->host_name };
	struct item *i = w->items;
	enum policy_txn_end end = TXN_NOT_BEGUN;

	transcript_keep(d, c, &t->transcript, w->message->id);
	take_off(c, w);
	d->held.in_flight -= w->n;
	w->flow->domain->match.in_flight -= w->n;
	s.lesson = host_memory_result(d, c, t);
	for (uint32_t k = 0; k < t->n; k++)
		s.accepted += rcpt_accepted(&t->results[k]);
	if (s.accepted > 1)
		policy_took(d->policy, now_of(d), c->match.slot, s.accepted);
	for (uint32_t k = 0; k < t->n; k++) {
		struct item *next = i->next;

		end = txn_end_of(end, &t->results[k]);
		sort_one(&s, i, &t->results[k]);
		i = next;
	}
	must(!i);
	policy_txn_end(d->policy, &w->match.txn, end);
	sorting_end(&s);
	work_free(w);
	c->told = true;
	if (s.went_wrong)
		c->match.retire = true;
}

void result_refused(struct dispatch *d, struct connection *c, struct work *w,
	const struct classification *k, const struct reply *r)
{
	const char *mx = route_name_of(w->flow->domain, c->host);
	struct sorting s = { .d = d,
		.c = c,
		.message = w->message,
		.tried = w->match.tried,
		.flow = w->flow,
		.mx = mx ? mx : c->host_name };
	struct item *next;
	char text[512];

	reply_format(text, sizeof(text), r);
	for (struct item *i = w->items; i; i = next) {
		struct policy_verdict v;

		next = i->next;
		i->next = NULL;
		i->work = NULL;
		d->stats.attempts++;
		d->stats.by_verdict[k->verdict]++;
		sorting_remember(&s, i, text, r->code, k->verdict);
		s.tried.families = families_of(i->domain);
		policy_refused(
			d->policy, now_of(d), c->match.slot, i->domain->name, k, &s.tried, &v);
		dispose(&s, i, r, &v);
	}
	sorting_end(&s);
	work_free(w);
}
