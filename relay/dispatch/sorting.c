/* The recipients of one work, sorted: see the header. Called by result.c with what a worker handed
 * back, and by finding.c with what we found out ourselves; on the dispatcher's thread. */
#include "sorting.h"

#include <stdio.h>
#include <stdlib.h>

#include "delivery_log.h"
#include "domain.h"
#include "expire.h"
#include "flow.h"
#include "item.h"
#include "settle.h"

static void replace(char **where, const char *text)
{
	free(*where);
	*where = text ? slice_dup(slice_of(text)) : NULL;
}

/* What `show` and a later notification know of this attempt. Memory failing here loses words only.
 */
void sorting_remember(
	struct sorting *s, struct item *i, const char *reply, uint16_t code, enum verdict v)
{
	char host[320];

	i->code = code;
	i->verdict = (uint8_t)v;
	i->last_attempt = loop_wall(s->d->loop);
	replace(&i->reply, reply);
	if (!s->c)
		return;
	snprintf(host, sizeof(host), "%s[%s]", s->mx, s->c->host->text);
	replace(&i->host, host);
	replace(&i->source, s->c->source_name);
}

void sorting_log(struct sorting *s, const struct item *i, enum log_event_kind event,
	const struct reply *r, const char *verdict, const char *cause, const char *reason,
	ms_t next)
{
	struct log_attempt a = {
		.event = event,
		.attempted = log_event_ends_attempt(event),
		.message = s->message,
		.item = i,
		.connection = s->c,
		.mx = s->mx,
		.transact = s->t,
		.reply = r,
		.verdict = verdict,
		.cause = cause,
		.reason = reason,
		.next = next,
	};

	delivery_log(s->d, &a);
}

void sorting_settle(struct sorting *s, struct item *i)
{
	i->next = s->settled;
	s->settled = i;
}

void sorting_work(struct sorting *s, struct work **w, struct item *i)
{
	if (!*w)
		*w = work_new(s->message);
	if (!*w) {
		struct domain *m = i->domain;

		item_drop(s->d, i);
		domain_due(s->d, m, loop_wall(s->d->loop));
		return;
	}
	i->work = *w;
	i->next = (*w)->items;
	(*w)->items = i;
	(*w)->n++;
}

void sorting_bounce(struct sorting *s, struct item *i, const char *status, const char *reason)
{
	struct report *p;

	i->end = END_BOUNCED;
	s->d->stats.bounced++;
	p = report_for(s->message, i, DSN_FAILED, status);
	if (p && reason)
		snprintf(p->reason, sizeof(p->reason), "%s", reason);
	sorting_settle(s, i);
}

/* Uses up a retry. */
void sorting_defer(struct sorting *s, struct item *i, ms_t delay)
{
	s->d->stats.deferred++;
	i->attempts++;
	settle_defer(s->d, s->message, i, delay);
	sorting_settle(s, i);
}

void sorting_end(struct sorting *s)
{
	struct dispatch *d = s->d;

	if (s->settled)
		settle_items(d, s->message, s->settled);
	if (s->again) {
		s->again->match.tried = s->tried;
		flow_push(d, s->flow, s->again, true);
	}
	if (s->diverted) {
		const struct flow_kind k = {
			.pool = s->flow->pool, .party = s->flow->party, .diverted = true
		};
		struct flow *f = flow_get(d, s->flow->domain, &k);

		s->diverted->match.tried = s->tried;
		s->diverted->match.tried.prefer = 0;
		flow_push(d, f ? f : s->flow, s->diverted, false);
	}
}
