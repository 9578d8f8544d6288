/* Outcomes go to the queue: one job per message, posted once an iteration; notifications in the
 * same transaction. What is settled stays in memory until the answer, so that nothing is attempted
 * twice; a settlement that fails is repeated, never the delivery. */
#include "settle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "domain.h"
#include "expire.h"
#include "item.h"
#include "notify.h"
#include "post.h"
#include "postern/must.h"

#define AGAIN	       5000
#define RETURN_MAX     65536u
#define HEADER_MAX     16384u
#define NO_MEMORY_WAIT 60000

void settle_defer(struct dispatch *d, struct message *m, struct item *i, ms_t delay)
{
	ms_t wall = loop_wall(d->loop), notice = class_notice(d->params, class_of(d, m));

	if (wall >= m->expires) {
		settle_expire(d, m, i);
		return;
	}
	i->end = END_DEFER;
	i->next_due = wall + (delay < d->clock.due_longest ? delay : d->clock.due_longest);
	if (i->next_due > m->expires)
		i->next_due = m->expires;
	if (!notice || wall - m->arrived < notice || (i->flags & RCPT_STATE_DELAY_SENT))
		return;
	if (dsn_wanted(m, i->recipient, DSN_DELAYED) && report_for(m, i, DSN_DELAYED, "4.0.0"))
		i->flags |= RCPT_STATE_DELAY_SENT;
}

/* ---- notifications ---- */

/* The first bytes of the content in one piece; *n 0 when they cannot be had: the notice goes
 * without. */
static char *original(struct dispatch *d, const struct message *m, size_t *n)
{
	size_t max = m->ret == RET_FULL ? RETURN_MAX : HEADER_MAX;
	char *p = malloc(max);

	*n = 0;
	if (!p)
		return NULL;
	if (m->body && !m->body->taken) {
		for (const struct body_block *k = body_start(m->body); k && *n < max; k = k->next) {
			size_t take = k->len < max - *n ? k->len : max - *n;

			memcpy(p + *n, k->data, take);
			*n += take;
		}
		return p;
	}
	while (*n < max) {
		size_t got = 0;

		if (queue_body_read(d->queue, m->id, *n, p + *n, max - *n, &got) || !got)
			break;
		*n += got;
	}
	return p;
}

static uint32_t gather(const struct settle *s, enum dsn_action action, struct dsn_recipient *out)
{
	uint32_t n = 0;

	for (const struct item *i = s->items; i; i = i->next) {
		const struct report *p = i->report;

		if (!p || p->action != action)
			continue;
		if (out)
			out[n] = (struct dsn_recipient){
				.recipient = i->recipient,
				.action = action,
				.status = p->status,
				.remote_mta = p->mta[0] ? p->mta : NULL,
				.diagnostic = p->diagnostic[0] ? p->diagnostic : NULL,
				.reason = p->reason[0] ? p->reason : NULL,
				.address_invalid = i->verdict == VERDICT_RECIPIENT_INVALID,
				.ours = p->ours,
				.last_attempt = i->last_attempt,
				.will_retry_until = action == DSN_DELAYED ? s->message->expires : 0,
			};
		n++;
	}
	return n;
}

/* The notification goes there: in the form that routing wants. NULL: as the address has it. */
static const char *sender_domain(const struct message *m, char *out, size_t max)
{
	const char *at = strrchr(m->sender, '@');

	return at && !domain_to_ascii(slice_of(at + 1), out, max) ? out : NULL;
}

/* 0, -ENOMEM, or what dsn_build has against the message. */
static int build_one(
	struct dispatch *d, struct settle *s, enum dsn_action action, struct slice content)
{
	struct dsn_params p = {
		.hostname = d->p.hostname,
		.postmaster = d->p.postmaster,
		.wall = loop_wall(d->loop),
		.return_max = RETURN_MAX,
	};
	char domain[256];
	uint32_t n = gather(s, action, NULL);
	struct dsn_recipient *r = calloc(n ? n : 1, sizeof(*r));
	struct queue_accept *a = calloc(1, sizeof(*a));
	int e = -ENOMEM;

	if (!r || !a)
		goto out;
	gather(s, action, r);
	p.id = queue_new_id(d->queue);
	p.sender_domain = sender_domain(s->message, domain, sizeof(domain));
	e = dsn_build(&a->message, s->message, r, n, content, &p);
	if (e)
		goto out;
	a->job.kind = QUEUE_ACCEPT;
	a->due = p.wall;
	s->dsn[s->q.ndsn++] = a;
	d->stats.dsns++;
	a = NULL;
out:
	free(r);
	free(a);
	return e;
}

static bool reported(const struct item *i, enum dsn_action action)
{
	return i->report && i->report->action == action;
}

/* A failure that cannot be told is not final yet. */
static void take_back(struct dispatch *d, struct settle *s, enum dsn_action action)
{
	for (struct item *i = s->items; i; i = i->next) {
		if (!reported(i, action))
			continue;
		if (action == DSN_DELAYED)
			i->flags &= (uint8_t)~RCPT_STATE_DELAY_SENT;
		if (action != DSN_FAILED)
			continue;
		i->end = END_DEFER;
		i->next_due = loop_wall(d->loop) + NO_MEMORY_WAIT;
	}
}

static void build_notices(struct dispatch *d, struct settle *s)
{
	static const enum dsn_action actions[] = { DSN_FAILED, DSN_DELAYED, DSN_RELAYED };
	struct slice content = { 0 };
	char *text = NULL;
	int r;

	for (unsigned k = 0; k < 3; k++) {
		if (!gather(s, actions[k], NULL))
			continue;
		if (!text) {
			text = original(d, s->message, &content.n);
			content.p = text;
		}
		r = build_one(d, s, actions[k], content);
		if (r == -ENOMEM)
			take_back(d, s, actions[k]);
		else if (r)
			log_event(d->log, LOG_ERR, EVENT_NOTIFICATION_FAILED,
				"no notification can be made for message %016llx: %s",
				(unsigned long long)s->q.id, strerror(-r));
	}
	free(text);
}

/* ---- jobs ---- */

static void outcome(struct queue_settle_rcpt *o, const struct item *i)
{
	*o = (struct queue_settle_rcpt){
		.index = i->recipient->index,
		.outcome = i->end == END_DEFER || i->end == END_HELD ? OUTCOME_DEFER : OUTCOME_GONE,
		.domain = i->domain->name,
		.old_due = i->old_due,
	};
	if (o->outcome == OUTCOME_DEFER)
		o->state = (struct queue_rcpt_state){
			.due = i->end == END_HELD ? i->old_due : i->next_due,
			.last_attempt = i->last_attempt,
			.attempts = i->attempts,
			.code = i->code,
			.verdict = i->verdict,
			.flags = i->end == END_HELD ? i->flags | RCPT_STATE_HELD : i->flags,
			.reply = i->reply,
			.host = i->host,
			.source = i->source,
		};
}

static void post(struct dispatch *d, struct settle *s)
{
	s->q.job.kind = QUEUE_SETTLE;
	job_post(d, &s->q.job, JOB_SETTLE);
}

/* An outcome must not be lost, and without it nothing may go on: what is needed to record it is
 * waited for. */
static void *memory(struct dispatch *d, size_t n, size_t size)
{
	const struct timespec moment = { .tv_nsec = 10 * 1000000 };
	void *p = calloc(n, size);

	if (!p)
		log_event(d->log, LOG_ERR, EVENT_OUT_OF_MEMORY,
			"an outcome cannot be recorded; waiting for memory");
	while (!p) {
		nanosleep(&moment, NULL);
		p = calloc(n, size);
	}
	return p;
}

struct settle *settle_new(struct dispatch *d, struct message *m)
{
	struct settle *s = memory(d, 1, sizeof(*s));

	s->q.rcpts = &s->one;
	s->wake.kind = WAKE_SETTLE;
	s->message = message_ref(m);
	s->q.id = m->id;
	s->q.dsn = s->dsn;
	return s;
}

void settle_commit(struct dispatch *d, struct settle *s)
{
	uint32_t n = 0;

	if (s->q.n > 1)
		s->q.rcpts = memory(d, s->q.n, sizeof(*s->q.rcpts));
	build_notices(d, s);
	for (struct item *i = s->items; i; i = i->next) {
		i->settle = s;
		i->work = NULL;
		outcome(&s->q.rcpts[n++], i);
	}
	must(n == s->q.n);
	post(d, s);
}

void settle_items(struct dispatch *d, struct message *m, struct item *items)
{
	struct settle *s;

	items = notify_gather(d, m, items);
	if (!items)
		return;
	s = settle_new(d, m);
	s->items = items;
	for (struct item *i = items; i; i = i->next)
		s->q.n++;
	settle_commit(d, s);
}

void settle_again(struct dispatch *d, struct settle *s)
{
	if (s->gathering) {
		notify_tell(d, s->gathering);
		return;
	}
	s->stalled = false;
	d->match.stalled = --d->held.stalled >= STALLED_MAX;
	post(d, s);
}

/* The operator ended it while its deferral was on its way into the queue: the end follows, of what
 * is there now. */
static bool ends_now(struct dispatch *d, struct settle *s, struct item *i)
{
	if (!i->cancel || (i->end != END_DEFER && i->end != END_HELD))
		return false;
	if (i->end == END_DEFER)
		i->old_due = i->next_due;
	else
		i->flags |= RCPT_STATE_HELD;
	i->settle = NULL;
	end_by_operator(d, s->message, i, i->cancel == CANCEL_REMOVE);
	return true;
}

static void settled(struct dispatch *d, struct settle *s, bool recorded)
{
	struct item *next, *ended = NULL;

	for (struct item *i = s->items; i; i = next) {
		struct domain *m = i->domain;
		ms_t due = i->end == END_DEFER ? i->next_due : 0;

		next = i->next;
		if (recorded && ends_now(d, s, i)) {
			i->next = ended;
			ended = i;
			continue;
		}
		item_drop(d, i);
		if (due)
			domain_due(d, m, due);
	}
	if (ended)
		settle_items(d, s->message, ended);
	for (uint32_t k = 0; k < s->q.ndsn; k++) {
		message_unref(s->dsn[k]->message);
		free(s->dsn[k]);
	}
	if (s->q.rcpts != &s->one)
		free(s->q.rcpts);
	message_unref(s->message);
	free(s);
}

void settle_answer(struct dispatch *d, struct queue_job *j)
{
	struct settle *s = container(j, struct settle, q.job);

	if (!j->result || j->result == -ENOENT || j->result == -EBADMSG) {
		if (j->result == -EBADMSG)
			log_event(d->log, LOG_ERR, EVENT_QUEUE_DAMAGED,
				"a record of message %016llx cannot be read; run check-queue",
				(unsigned long long)s->q.id);
		settled(d, s, !j->result);
		return;
	}
	log_event(d->log, LOG_ERR, EVENT_SETTLE_FAILED,
		"outcomes cannot be recorded (%s); trying again", strerror(-j->result));
	s->stalled = true;
	d->match.stalled = ++d->held.stalled >= STALLED_MAX;
	wake_set(&d->wakes, &s->wake, loop_mono(d->loop) + AGAIN);
}

/* At the end of all: what could not be recorded stays in the queue as it was. */
void settle_free(struct dispatch *d, struct settle *s)
{
	settled(d, s, false);
}
