/* What is told of an end, and of one by time why it came: to the sender of the message, and to the
 * log. Called by sorting.c, intake.c, settle.c and operate.c, on the dispatcher's thread.
 *
 * The reason of an end by time is what happened last. That is the last reply where an attempt was
 * made since the recipient was due; where none was made, what kept us from it. What we do ourselves,
 * and what is said of the address that we send from, is not put down to the recipient. */
#include "expire.h"

#include <stdio.h>
#include <stdlib.h>

#include "delivery_log.h"

#define NO_MEMORY_WAIT 60000 /* ms */

struct report *report_for(
	struct message *m, struct item *i, enum dsn_action action, const char *status)
{
	struct report *p;

	if (!dsn_wanted(m, i->recipient, action))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p) {
		if (action == DSN_FAILED) { /* no notice, no end: later, when there is memory */
			i->end = END_DEFER;
			i->next_due = i->old_due + NO_MEMORY_WAIT;
		}
		return NULL;
	}
	free(i->report);
	i->report = p;
	p->action = action;
	snprintf(p->status, sizeof(p->status), "%s", status);
	if (i->code && i->reply)
		snprintf(p->diagnostic, sizeof(p->diagnostic), "%s", i->reply);
	else if (i->reply)
		snprintf(p->reason, sizeof(p->reason), "%s", i->reply);
	if (i->host)
		snprintf(p->mta, sizeof(p->mta), "%.*s", (int)strcspn(i->host, "["), i->host);
	return p;
}

/* For the sender of the message, who knows neither sources nor lanes. NULL: nothing of ours. */
static const char *for_people(enum hold_reason r)
{
	static const char turn[] =
		"The sending system sends only so much there at a time, and its turn did not come.";

	switch (r) {
	case HOLD_CAP:
	case HOLD_RATE:
	case HOLD_WINDOW:
	case HOLD_WARMUP:
	case HOLD_DOMAIN_RATE:
	case HOLD_RECIPIENT:
		return turn;
	case HOLD_RESTING:
		return "The receiving system was putting off all mail of the sending system.";
	case HOLD_BLOCKED:
		return "The receiving system refuses the addresses that the sending system sends "
		       "from.";
	case HOLD_SENDER:
		return "The receiving system refuses mail of the sender's domain.";
	case HOLD_SUSPENDED:
		return "The operator of the sending system had suspended delivery there.";
	case HOLD_OPERATOR:
		return "The operator of the sending system was holding it.";
	case HOLD_NO_SOURCE:
	case HOLD_NO_HOST:
		return "The sending system has no address that it could be sent from.";
	case HOLD_NONE:
	case HOLD_BACKOFF:
	case HOLD_DNS:
		break;
	}
	return NULL;
}

/* The receiver spoke of the address that we send from, at the last attempt. */
static bool blamed(const struct item *i)
{
	return i->verdict == VERDICT_SOURCE_BLOCK || i->verdict == VERDICT_SOURCE_THROTTLE;
}

void settle_expire(struct dispatch *d, struct message *m, struct item *i)
{
	bool tried = i->last_attempt && i->last_attempt >= i->old_due;
	const char *held = tried ? NULL : for_people(i->waited);
	const char *last = i->reply && !i->code ? i->reply : NULL;
	struct log_attempt a = { .event = EVENT_EXPIRED,
		.message = m,
		.item = i,
		.status = "4.4.7",
		.reason = held ? hold_reason_text(i->waited) : i->reply };
	struct report *p;

	i->end = END_EXPIRED;
	d->stats.expired++;
	delivery_log(d, &a);
	p = report_for(m, i, DSN_FAILED, "4.4.7");
	if (!p)
		return;
	p->ours = held || (i->code && blamed(i));
	if (!held && p->ours)
		held = "What the receiving host said is about the system that sends, not about "
		       "the recipient or the message.";
	snprintf(p->reason, sizeof(p->reason),
		"The message could not be delivered in time, and is given up.%s%s%s%s",
		held ? " " : "", held ? held : "", last ? " At the last try: " : "",
		last ? last : "");
}

void end_by_operator(struct dispatch *d, struct message *m, struct item *i, bool remove)
{
	struct log_attempt a = { .message = m, .item = i, .reason = "by operator" };
	struct report *p;

	/* what was told of a delay is told */
	free(i->report);
	i->report = NULL;
	if (remove) {
		i->end = END_REMOVED;
		a.event = EVENT_REMOVED;
		delivery_log(d, &a);
		return;
	}
	i->end = END_BOUNCED;
	a.event = EVENT_BOUNCED;
	a.status = "5.7.0";
	d->stats.bounced++;
	delivery_log(d, &a);
	p = report_for(m, i, DSN_FAILED, "5.7.0");
	if (p)
		snprintf(p->reason, sizeof(p->reason),
			"The administrator of the mail system returned this message.");
}
