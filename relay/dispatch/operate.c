/* What operators ask for: retry, hold, release, remove, bounce; and why something waits. Called by
 * control commands through dispatch_call, then by the turn, a slice each. What is running is not
 * interrupted, but not started again. */
#include "operate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "candidate.h"
#include "domain.h"
#include "expire.h"
#include "flow.h"
#include "item.h"
#include "learned.h"
#include "operation.h"
#include "orders.h"
#include "park.h"
#include "post.h"
#include "postern/must.h"
#include "recall.h"
#include "settle.h"
#include "standing.h"
#include "state.h"

#define OUTSTANDING 2048u /* what the writer takes into one transaction is full */

struct flag_job {
	struct queue_flag flag;
	struct operation *o;
	struct message *message; /* NULL: the fence */
	uint32_t only[];	 /* flag.nonly of them */
};

static void no_answer(void *arg, int result, uint64_t changed)
{
	(void)arg;
	(void)result;
	(void)changed;
}

static bool is_let_go(const struct dispatch *d, const struct order *e)
{
	for (const struct operation *o = d->operations; o; o = o->next)
		if (operation_ends(o, e) && (o->op == DISPATCH_RELEASE || o->op == DISPATCH_FREE))
			return true;
	return false;
}

void orders_tick(struct dispatch *d)
{
	ms_t wall = loop_wall(d->loop);

	for (struct order *e = d->orders.first; e; e = e->next) {
		/* what an order of a domain found waiting was held by hand */
		const struct dispatch_task t = {
			.op = e->of_domain ? DISPATCH_RELEASE : DISPATCH_FREE, .number = e->number
		};

		if (!e->ending && e->until && e->until <= wall && order_end(d, e))
			continue; /* tried again */
		if (e->ending && !is_let_go(d, e))
			(void)dispatch_operate(d, &t, no_answer, NULL, NULL);
	}
}

/* Whom it is about. An order may be gone before the operation is. */
static int choose(struct dispatch *d, struct operation *o, const struct dispatch_task *t)
{
	const struct order *order = t->number ? order_numbered(d, t->number) : NULL;
	size_t named = 0;
	int r = 0;

	if (t->number && !order)
		return -ENOENT;
	o->which = t->which;
	if (order) {
		r = selector_copy(&o->own, order->which);
		o->which = o->own;
	}
	if (r)
		return r;
	must(t->fits || !o->which || !selector_asks(o->which));
	if (o->which)
		selector_ids(o->which, &named);
	if (o->which && !selector_words(o->which))
		o->which = NULL;
	o->cursor = named ? 0 : 1;
	return 0;
}

static void operation_free(struct operation *o)
{
	selector_free(o->own);
	free(o);
}

int dispatch_operate(struct dispatch *d, const struct dispatch_task *t,
	void (*done)(void *arg, int result, uint64_t changed), void *arg, _Atomic uint64_t *so_far)
{
	struct operation *o = calloc(1, sizeof(*o)), **last = &d->operations;
	int r;

	if (!o)
		return -ENOMEM;
	o->op = t->op;
	o->fits = t->fits;
	o->dry = t->dry;
	o->done = done;
	o->arg = arg;
	o->so_far = so_far;
	o->ordered = t->order && !selector_one_domain(t->order->which).p;
	r = d->match.draining ? -ESHUTDOWN : choose(d, o, t);
	if (!r)
		r = standing_change(d, o, t);
	if (r) {
		operation_free(o);
		return r;
	}
	while (*last)
		last = &(*last)->next;
	if (t->op == DISPATCH_SAVE) {
		state_save(d);
		o->walked = true; /* the fence comes after it */
	}
	*last = o;
	d->turn.more = true;
	return 0;
}

static bool waits(const struct item *i)
{
	return i->work && !i->work->connection;
}

/* ---- flags ---- */

/* only: n indexes; NULL: all its recipients. */
static int post_flag(struct dispatch *d, struct operation *o, struct message *m,
	enum queue_job_kind kind, const uint32_t *only, uint32_t n)
{
	struct flag_job *j = calloc(1, sizeof(*j) + n * sizeof(*only));

	if (!j)
		return -ENOMEM;
	j->o = o;
	j->message = m ? message_ref(m) : NULL;
	j->flag.job.kind = kind;
	j->flag.now = loop_wall(d->loop);
	if (m)
		j->flag.id = m->id;
	if (only) {
		memcpy(j->only, only, n * sizeof(*only));
		j->flag.only = j->only;
		j->flag.nonly = n;
	}
	if (o->op == DISPATCH_HOLD)
		j->flag.op = FLAG_HOLD;
	else if (o->op == DISPATCH_FREE)
		j->flag.op = FLAG_FREE;
	else
		j->flag.op = o->op == DISPATCH_RELEASE ? FLAG_RELEASE : FLAG_DUE_NOW;
	o->outstanding++;
	job_post(d, &j->flag.job, JOB_OPERATION);
	return 0;
}

static bool is_meant(const struct flag_job *j, uint32_t index)
{
	for (uint32_t i = 0; i < j->flag.nonly; i++)
		if (j->only[i] == index)
			return true;
	return !j->flag.only;
}

/* The index says now what was asked for; memory follows. */
static void flag_done(struct dispatch *d, const struct operation *o, const struct flag_job *j)
{
	const struct message *m = j->message;

	for (uint32_t k = 0; k < m->nrecipients; k++) {
		const struct recipient *r = &m->recipients[k];
		struct item *i = item_find(d, m->id, r->index);
		struct domain *dom;

		if (!is_meant(j, r->index))
			continue;
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

/* An end is on its way into the queue. A deferral there is followed by the end: settle.c. */
static bool ends_already(const struct item *i)
{
	return i->settle && (i->cancel || (i->end != END_DEFER && i->end != END_HELD));
}

static void end_message(struct dispatch *d, struct operation *o, struct message *m,
	const struct queue_rcpt_state *states)
{
	struct item *list = NULL;

	for (uint32_t k = 0; k < m->nrecipients; k++) {
		const struct recipient *r = &m->recipients[k];
		struct item *i = item_find(d, m->id, r->index);
		struct domain *dom;

		if (!operation_means(d, o, m, k, &states[k]) || (i && ends_already(i)))
			continue;
		o->changed++;
		if (i && (i->settle || !waits(i))) {
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
		end_by_operator(d, m, i, o->op == DISPATCH_REMOVE);
		i->next = list;
		list = i;
	}
	if (list)
		settle_items(d, m, list);
}

/* ---- the walk ---- */

static int flag_message(struct dispatch *d, struct operation *o, struct message *m,
	const uint32_t *only, uint32_t n)
{
	/* holding is of the message; what is tried again, of a recipient */
	if (o->op != DISPATCH_RETRY || n == m->nrecipients)
		only = NULL;
	return post_flag(d, o, m, QUEUE_FLAG, only, only ? n : 0);
}

static int change(struct dispatch *d, struct operation *o, struct message *m,
	const struct queue_rcpt_state *states)
{
	uint32_t *meant = calloc(m->nrecipients + 1, sizeof(*meant)), n = 0;
	int r = meant ? 0 : -ENOMEM;

	for (uint32_t k = 0; meant && k < m->nrecipients; k++)
		if (operation_means(d, o, m, k, &states[k]))
			meant[n++] = m->recipients[k].index;
	if (o->dry || o->ordered) /* an order holds them when they are due */
		o->changed += n;
	else if (n && (o->op == DISPATCH_REMOVE || o->op == DISPATCH_BOUNCE))
		end_message(d, o, m, states);
	else if (n)
		r = flag_message(d, o, m, meant, n);
	free(meant);
	return r;
}

static void one_message(struct dispatch *d, struct operation *o, uint64_t id)
{
	struct queue_rcpt_state *states;
	struct message *m;
	int r = queue_load(d->queue, id, &m, &states);

	if (r == -ENOENT) {
		o->missing++;
		return;
	}
	if (!r) {
		r = change(d, o, m, states);
		message_unref(m);
	}
	if (r)
		o->result = r;
}

static void walk(struct dispatch *d, struct operation *o)
{
	operation_find(d, o);
	for (unsigned i = 0; i < o->nfound; i++)
		one_message(d, o, o->found[i]);
}

/* Named, and none of them is there. */
static int result_of(const struct operation *o)
{
	size_t named = 0;

	if (o->which)
		selector_ids(o->which, &named);
	return !o->result && named && o->missing == named ? -ENOENT : o->result;
}

static void finish(struct dispatch *d, struct operation *o)
{
	d->operations = o->next;
	standing_forget(d, o);
	o->done(o->arg, result_of(o), o->changed);
	operation_free(o);
}

static bool is_of_all(const struct operation *o)
{
	return o->op == DISPATCH_RETRY && !o->which && !o->dry;
}

/* ---- all: see recall.c ---- */

static void recall_domain(struct dispatch *d, struct domain *m)
{
	recall_begin(d, m);
	route_clear_failures(m);
	for (struct flow *f = m->flows; f; f = f->next)
		flow_wait_over(d, f);
	domain_feed(d, m, FEED_ON_STALE, NULL);
	park_ask(d, m);
	domain_due(d, m, loop_wall(d->loop));
}

static void recall_all(struct dispatch *d, ms_t at, uint64_t most)
{
	struct domain *m, *next;

	d->clock.recall_at = at;
	d->clock.recall_most = most;
	HASH_ITER (hh, d->domains, m, next)
		recall_domain(d, m);
}

void recall_load(struct dispatch *d)
{
	uint64_t most;
	ms_t at;

	if (recall_recorded(d, &at, &most))
		recall_all(d, at, most);
}

static int record_all(struct dispatch *d)
{
	char value[32];
	int n = snprintf(value, sizeof(value), "1 %" PRId64, loop_wall(d->loop));

	return state_put(d, RECALL_KEY, (struct slice){ value, (size_t)n });
}

/* All that waits for its time is marked at once; it is counted when what has been delivered is gone
 * from the queue. False: not yet. */
static bool mark_all(struct dispatch *d, struct operation *o)
{
	if (!o->begun) {
		o->begun = true;
		o->result = post_flag(d, o, NULL, QUEUE_FENCE, NULL, 0);
	}
	if (o->outstanding)
		return false;
	if (!o->result)
		o->result = queue_indexed(d->queue, &o->changed);
	if (!o->result)
		o->result = record_all(d);
	if (!o->result)
		recall_all(d, loop_wall(d->loop), o->changed);
	o->walked = true;
	return true;
}

bool operate_step(struct dispatch *d)
{
	struct operation *o = d->operations;

	if (!o)
		return false;
	if (o->so_far)
		atomic_store_explicit(o->so_far, o->changed, memory_order_relaxed);
	if (is_of_all(o) && !o->walked && !mark_all(d, o))
		return false;
	if (!o->walked) {
		walk(d, o);
		return !o->walked && o->outstanding < OUTSTANDING;
	}
	if (!o->fenced) { /* what was posted is on disk when the answer is given */
		o->fenced = true;
		if (!post_flag(d, o, NULL, QUEUE_FENCE, NULL, 0))
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
		flag_done(d, o, j);
	} else if (job->result == -ENOENT) {
		o->missing++; /* it went meanwhile */
	} else if (job->result) {
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
