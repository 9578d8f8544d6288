/* What operators ask for: retry, hold, release, remove, bounce; and why something waits. Operations
 * walk the queue in slices; what is running is not interrupted, but not started again. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/foreign.h"
#include "postern/must.h"

#define MESSAGES_A_TURN 32u
#define OUTSTANDING	2048u /* what the writer takes into one transaction is full */
#define HELD_DOMAIN	"held by the operator until it is released, with what comes"

struct operation {
	struct operation *next;
	enum dispatch_op op;
	uint64_t id;  /* one message; 0: a walk */
	char *domain; /* of the walk; NULL: all */
	uint64_t cursor;
	bool walked, fenced;
	uint32_t outstanding;
	int result;
	uint64_t changed;
	void (*done)(void *arg, int result, uint64_t changed);
	void *arg;
	_Atomic uint64_t *so_far; /* NULL: nobody looks */
};

struct flag_job {
	struct queue_flag flag;
	struct operation *o;
	struct message *message; /* NULL: the fence */
};

/* A hold of a domain is for what comes, too; a release ends it, of all domains that of each. */
static int standing(struct dispatch *d, const struct operation *o)
{
	if (o->op == DISPATCH_HOLD && o->domain)
		return hold_set(d, o->domain);
	if (o->op == DISPATCH_RELEASE && !o->id)
		return hold_release(d, o->domain);
	return 0;
}

int dispatch_operate(struct dispatch *d, enum dispatch_op op, uint64_t id, const char *domain,
	void (*done)(void *arg, int result, uint64_t changed), void *arg, _Atomic uint64_t *so_far)
{
	struct operation *o = calloc(1, sizeof(*o)), **last = &d->operations;
	int r;

	if (!o)
		return -ENOMEM;
	if (d->match.draining) {
		free(o);
		return -ESHUTDOWN;
	}
	if (domain && !id) {
		o->domain = slice_dup(slice_of(domain));
		if (!o->domain) {
			free(o);
			return -ENOMEM;
		}
	}
	o->op = op;
	o->id = id;
	o->cursor = id ? id : 1;
	o->done = done;
	o->arg = arg;
	o->so_far = so_far;
	r = standing(d, o);
	if (r) {
		free(o->domain);
		free(o);
		return r;
	}
	while (*last)
		last = &(*last)->next;
	if (op == DISPATCH_SAVE) {
		state_save(d);
		o->walked = true; /* the fence comes after it */
	}
	*last = o;
	d->more = true;
	return 0;
}

static bool concerns(const struct operation *o, const struct recipient *r)
{
	return !o->domain || !strcmp(o->domain, r->domain);
}

static bool waits(const struct item *i)
{
	return i->work && !i->work->connection;
}

/* ---- flags ---- */

static int post_flag(
	struct dispatch *d, struct operation *o, struct message *m, enum queue_job_kind kind)
{
	struct flag_job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->o = o;
	j->message = m ? message_ref(m) : NULL;
	j->flag.job.kind = kind;
	j->flag.now = loop_wall(d->loop);
	if (m)
		j->flag.id = m->id;
	if (o->op == DISPATCH_HOLD)
		j->flag.op = FLAG_HOLD;
	else
		j->flag.op = o->op == DISPATCH_RELEASE ? FLAG_RELEASE : FLAG_DUE_NOW;
	o->outstanding++;
	job_post(d, &j->flag.job, JOB_OPERATION);
	return 0;
}

/* The index says now what was asked for; memory follows. */
static void flag_done(struct dispatch *d, const struct operation *o, const struct message *m)
{
	for (uint32_t k = 0; k < m->nrecipients; k++) {
		const struct recipient *r = &m->recipients[k];
		struct item *i = item_find(d, m->id, r->index);
		struct domain *dom;

		if (i && o->op == DISPATCH_HOLD && waits(i)) {
			work_evict(d, i->work);
			continue;
		}
		if (i && waits(i)) {
			route_clear_failures(i->domain);
			flow_wait_over(d, i->work->flow);
		}
		dom = o->op == DISPATCH_HOLD ? domain_find(d, r->domain) : domain_get(d, r->domain);
		if (!dom)
			continue;
		domain_feed(d, dom, FEED_ON_STALE, NULL);
		if (o->op == DISPATCH_HOLD)
			continue;
		park_ask(d, dom);
		if (!i)
			domain_due(d, dom, loop_wall(d->loop));
	}
}

/* ---- ends ---- */

static bool take_out(struct dispatch *d, struct item *i)
{
	struct work *w = i->work;
	struct item **p = &w->items;

	if (!item_keep_text(i)) /* it lies in the message that goes with the work */
		return false;
	while (*p != i)
		p = &(*p)->next;
	*p = i->next;
	i->work = NULL;
	i->next = NULL;
	if (--w->n == 0) {
		flow_remove(d, w);
		work_free(w);
	}
	return true;
}

static void end_item(
	struct dispatch *d, const struct operation *o, struct message *m, struct item *i)
{
	struct log_attempt a = { .message = m, .item = i, .reason = "by operator" };
	struct report *p;

	if (o->op == DISPATCH_REMOVE) {
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

static void end_message(struct dispatch *d, struct operation *o, struct message *m,
	const struct queue_rcpt_state *states)
{
	struct item *list = NULL;

	for (uint32_t k = 0; k < m->nrecipients; k++) {
		const struct recipient *r = &m->recipients[k];
		struct item *i = item_find(d, m->id, r->index);
		struct domain *dom;

		if (!concerns(o, r) || (i && i->settle))
			continue;
		o->changed++;
		if (i && !waits(i)) {
			i->cancel = o->op == DISPATCH_REMOVE ? CANCEL_REMOVE : CANCEL_BOUNCE;
			continue;
		}
		if (i) {
			if (!take_out(d, i)) {
				o->result = -ENOMEM;
				continue;
			}
		} else {
			dom = domain_get(d, r->domain);
			i = dom ? item_new(d, dom, m->id, r, true, states[k].due) : NULL;
			if (!i) {
				o->result = -ENOMEM;
				continue;
			}
			item_state(i, &states[k]);
		}
		end_item(d, o, m, i);
		i->next = list;
		list = i;
	}
	if (list)
		settle_items(d, m, list);
}

/* ---- the walk ---- */

static bool any_concerned(const struct operation *o, const struct message *m)
{
	for (uint32_t k = 0; k < m->nrecipients; k++)
		if (concerns(o, &m->recipients[k]))
			return true;
	return false;
}

static void one_message(struct dispatch *d, struct operation *o, uint64_t id)
{
	struct queue_rcpt_state *states;
	struct message *m;
	int r = queue_load(d->queue, id, &m, &states);

	if (r) {
		if (o->id || r != -ENOENT)
			o->result = r;
		return;
	}
	if (any_concerned(o, m)) {
		if (o->op == DISPATCH_REMOVE || o->op == DISPATCH_BOUNCE)
			end_message(d, o, m, states);
		else
			r = post_flag(d, o, m, QUEUE_FLAG);
		if (r)
			o->result = r;
	}
	message_unref(m);
}

static void walk(struct dispatch *d, struct operation *o)
{
	for (unsigned n = 0; n < MESSAGES_A_TURN && !o->walked && o->outstanding < OUTSTANDING;
		n++) {
		if (!o->id && queue_next_message(d->queue, &o->cursor)) {
			o->walked = true;
			break;
		}
		one_message(d, o, o->cursor);
		o->walked = o->id || o->cursor == UINT64_MAX;
		o->cursor++;
	}
}

static void finish(struct dispatch *d, struct operation *o)
{
	d->operations = o->next;
	o->done(o->arg, o->result, o->changed);
	free(o->domain);
	free(o);
}

bool operate_step(struct dispatch *d)
{
	struct operation *o = d->operations;

	if (!o)
		return false;
	if (o->so_far)
		atomic_store_explicit(o->so_far, o->changed, memory_order_relaxed);
	if (!o->walked) {
		walk(d, o);
		return !o->walked && o->outstanding < OUTSTANDING;
	}
	if (!o->fenced) { /* what was posted is on disk when the answer is given */
		o->fenced = true;
		if (!post_flag(d, o, NULL, QUEUE_FENCE))
			return false;
	}
	if (o->outstanding)
		return false;
	finish(d, o);
	return d->operations != NULL;
}

void operate_answer(struct dispatch *d, struct queue_job *job)
{
	struct flag_job *j = container(job, struct flag_job, flag.job);
	struct operation *o = j->o;

	o->outstanding--;
	if (j->message && !job->result) {
		o->changed += j->flag.changed;
		flag_done(d, o, j->message);
	} else if (job->result && (o->id || job->result != -ENOENT)) {
		o->result = job->result;
	}
	message_unref(j->message);
	free(j);
}

void operate_free_all(struct dispatch *d)
{
	while (d->operations) {
		struct operation *o = d->operations;

		o->result = -ESHUTDOWN;
		finish(d, o);
	}
}

/* ---- reasons ---- */

static ms_t wall_of(const struct dispatch *d, ms_t mono)
{
	return mono ? loop_wall(d->loop) + (mono - loop_mono(d->loop)) : 0;
}

/* What waits for a place is looked at again at the latest then. */
static ms_t flow_until(const struct dispatch *d, const struct flow *f)
{
	const struct waiter *w = &f->match.waiter;
	bool place = w->reason == HOLD_CAP || w->reason == HOLD_WINDOW;

	return wall_of(d, !w->until && place && w->wake.pos ? w->wake.at : w->until);
}

static void flow_reason(
	const struct dispatch *d, const struct flow *f, char *reason, size_t max, ms_t *until)
{
	const struct waiter *w = &f->match.waiter;

	if (w->waiting) {
		const char *limit = policy_limit_text(w->limit);
		bool local = w->where[0] && w->limit != LIMIT_PROVIDER &&
			     (limit[0] || w->reason == HOLD_RESTING);

		snprintf(reason, max, "%s%s%s%s%s", hold_reason_text(w->reason),
			limit[0] ? ": " : "", limit, local ? " at " : "", local ? w->where : "");
		*until = flow_until(d, f);
	} else if (!f->domain->route && f->domain->asked) {
		snprintf(reason, max, "waiting for DNS");
	} else if (f->match.opening) {
		snprintf(reason, max, "connecting");
	} else {
		snprintf(reason, max, "ready");
	}
}

/* Of that pool, if one does; else of any. */
static const struct flow *waiting_flow(const struct domain *m, const char *pool)
{
	const struct flow *any = NULL;

	for (const struct flow *f = m->flows; f; f = f->next) {
		if (f->match.waiter.waiting && !strcmp(f->pool->name, pool))
			return f;
		if (f->match.waiter.waiting && !any)
			any = f;
	}
	return any;
}

void dispatch_reason(struct dispatch *d, uint64_t id, const struct recipient *r, const char *pool,
	const struct queue_rcpt_state *s, char *reason, size_t reason_max, ms_t *until)
{
	struct item *i = item_find(d, id, r->index);
	ms_t wall = loop_wall(d->loop);
	struct wait_for parked;
	const struct flow *f;
	struct domain *m;

	*until = 0;
	if (i && i->settle) {
		snprintf(reason, reason_max,
			i->settle->stalled ? "outcome cannot be recorded yet" : "being recorded");
		return;
	}
	if (i && i->work && i->work->connection) {
		snprintf(reason, reason_max, "being delivered to %s[%s]",
			i->work->connection->host_name, i->work->connection->host->text);
		return;
	}
	if (i && i->work) {
		flow_reason(d, i->work->flow, reason, reason_max, until);
		return;
	}
	m = domain_find(d, r->domain);
	if (hold_is_set(d, r->domain)) {
		snprintf(reason, reason_max, HELD_DOMAIN);
	} else if (s->due > wall && s->attempts) {
		snprintf(reason, reason_max, "backing off after: %s",
			s->reply ? s->reply : "a failed attempt");
		foreign_end(reason);
		*until = s->due;
	} else if (s->due > wall) {
		snprintf(reason, reason_max, "held: %s", s->reply ? s->reply : "not due yet");
		foreign_end(reason);
		*until = s->due;
	} else if (m && wait_tell(&m->parking, pool_get(d, pool), &parked)) {
		snprintf(reason, reason_max, "%s", hold_reason_text(parked.reason));
		*until = wall_of(d, parked.until);
	} else if (m && (f = waiting_flow(m, pool))) {
		flow_reason(d, f, reason, reason_max, until);
	} else {
		snprintf(reason, reason_max, "in line behind other messages of this domain");
	}
}

static void domain_info(
	const struct dispatch *d, const struct domain *m, struct dispatch_domain_info *ret)
{
	struct wait_for parked;

	*ret = (struct dispatch_domain_info){
		.domain = m->name,
		.provider = m->nhosts ? provider_of(d, m->provider)->name : "",
		.in_flight = m->match.in_flight,
		.next_due = m->feed.next,
		.reason = "",
	};
	for (const struct flow *f = m->flows; f; f = f->next) {
		for (const struct list *l = f->match.ready.next; l != &f->match.ready; l = l->next)
			ret->ready += container(l, struct work, match.in_flow)->n;
		if (f->match.nready && f->match.waiter.waiting) {
			ret->reason = hold_reason_text(f->match.waiter.reason);
			ret->until = flow_until(d, f);
		}
	}
	if (m->on_hold)
		ret->reason = HELD_DOMAIN;
	if (!ret->reason[0] && wait_tell(&m->parking, NULL, &parked)) {
		ret->reason = hold_reason_text(parked.reason);
		ret->until = wall_of(d, parked.until);
	}
	if (!ret->reason[0] && m->asked && !m->route && m->in_memory)
		ret->reason = hold_reason_text(HOLD_DNS);
}

struct telling {
	struct dispatch *d;
	void (*fn)(void *arg, const struct dispatch_domain_info *i);
	void *arg;
};

/* A hold without mail is to be seen, too. */
static void tell_hold(void *arg, const char *domain)
{
	const struct telling *t = arg;
	const struct domain *m = domain_find(t->d, domain);
	const struct dispatch_domain_info info = {
		.domain = domain, .provider = "", .reason = HELD_DOMAIN, .held = true
	};

	if (!m || domain_empty(m))
		t->fn(t->arg, &info);
}

void dispatch_domains(
	struct dispatch *d, void (*fn)(void *arg, const struct dispatch_domain_info *i), void *arg)
{
	struct telling t = { d, fn, arg };
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		struct dispatch_domain_info info;

		if (domain_empty(m))
			continue;
		domain_info(d, m, &info);
		info.held = m->on_hold;
		fn(arg, &info);
	}
	holds_each(d, tell_hold, &t);
}
