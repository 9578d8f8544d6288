/* The dispatcher's thread: mailboxes, start, drain and stop, calls from other threads. Made and ended
 * by the main thread. What it does in a turn of its loop: turn.c. */
#include "postern/dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "assign.h"
#include "clock_step.h"
#include "connection.h"
#include "fair.h"
#include "hostname.h"
#include "intake.h"
#include "learned.h"
#include "notify.h"
#include "operate.h"
#include "own.h"
#include "past.h"
#include "post.h"
#include "postern/must.h"
#include "reader.h"
#include "recall.h"
#include "result.h"
#include "route.h"
#include "settle.h"
#include "setup.h"
#include "state.h"
#include "turn.h"
#include "unproven.h"

#define TICK 1000 /* ms */

/* ---- mailboxes ---- */

static void on_answers(void *arg, struct mpsc_node *first)
{
	struct dispatch *d = arg;

	while (first) {
		struct queue_job *j = container(first, struct queue_job, node);

		first = first->next;
		d->held.jobs_out--;
		switch ((enum job_tag)j->tag) {
		case JOB_SETTLE:
			settle_answer(d, j);
			break;
		case JOB_OPERATION:
			operate_answer(d, j);
			break;
		case JOB_STATE:
			state_answer(d, j);
			break;
		case JOB_FENCE:
			break;
		case JOB_ASIDE:
			free(container(j, struct queue_flag, job));
			break;
		}
	}
	if (reader_room(d->reads.reader) && (fair_due(d) || !list_empty(&d->reads.due_first)))
		d->turn.more = true;
}

static void on_result(struct dispatch *d, struct outbound_event *e)
{
	struct connection *c = connection_by_number(d, e->connection);

	must(c && e->transact);
	unproven_result(d, c, e->transact);
	result_take(d, c, e->transact);
	if (c->down) {
		connection_ended(d, c);
		return;
	}
	match_sort(&d->match, now_of(d), &c->match);
	match_assign(&d->match, now_of(d), &c->match);
}

static void on_events(void *arg, struct mpsc_node *first)
{
	struct dispatch *d = arg;

	while (first) {
		struct outbound_event *e = container(first, struct outbound_event, node);

		first = first->next;
		switch (e->kind) {
		case OUTBOUND_UP:
			connection_up(d, e);
			break;
		case OUTBOUND_RESULT:
			on_result(d, e);
			break;
		case OUTBOUND_DOWN:
			connection_down(d, e);
			break;
		}
		outbound_event_free(e);
	}
}

static void on_calls(void *arg, struct mpsc_node *first)
{
	struct dispatch *d = arg;

	while (first) {
		struct dispatch_call *c = container(first, struct dispatch_call, node);

		first = first->next; /* the call is its caller's again when it has run */
		c->fn(d, c->arg);
	}
}

void dispatch_call(struct dispatch *d, struct dispatch_call *c)
{
	mpsc_post(&d->boxes.calls.mpsc, &c->node);
}

struct mpsc *dispatch_events(struct dispatch *d)
{
	return &d->boxes.events.mpsc;
}

struct policy *dispatch_policy(struct dispatch *d)
{
	return d->policy;
}

struct history *dispatch_history(struct dispatch *d)
{
	return d->past->history;
}

void dispatch_relieved(struct dispatch *d)
{
	d->relieved = true;
}

struct policy_now dispatch_now(struct dispatch *d)
{
	return now_of(d);
}

/* ---- statistics ---- */

void dispatch_stats(struct dispatch *d, struct dispatch_stats *ret)
{
	pthread_mutex_lock(&d->shown.lock);
	*ret = d->shown.snapshot;
	pthread_mutex_unlock(&d->shown.lock);
}

/* ---- life ---- */

static void defaults(struct dispatch *d)
{
	struct dispatch_params *p = &d->p;

	if (!p->window)
		p->window = 200;
	if (!p->work_max)
		p->work_max = 4000;
	if (!p->body_memory_max)
		p->body_memory_max = 16u << 20;
	if (!p->drain_deadline)
		p->drain_deadline = 30000;
}

static void lists_init(struct dispatch *d)
{
	match_init(&d->match, &dispatch_driver, d);
	opening_init(&d->opening);
	d->match.pipeline = PIPELINE;
	list_init(&d->reads.due);
	list_init(&d->reads.due_new);
	list_init(&d->reads.due_first);
	list_init(&d->routes.asked);
	list_init(&d->reads.ahead);
	waits_init(&d->waits);
	list_init(&d->told.by_age);
	log_line_init(&d->line);
	pthread_mutex_init(&d->shown.lock, NULL);
	uv_sem_init(&d->life.stopped, 0);
}

static int make_parts(
	struct dispatch *d, const struct policy_params *policy, char *error, size_t error_max)
{
	int r = setup_tls(&d->tls, policy, error, error_max);

	if (!r)
		r = own_new(&d->own, d->p.hostname, d->p.listening, d->p.nlistening, policy);
	if (!r)
		r = policy_new(&d->policy, policy, rng_entropy());
	if (!r)
		r = chronicle_new(d);
	if (!r)
		r = loop_new(&d->loop, "dispatch");
	if (!r)
		r = resolver_new(
			&d->resolver, &d->p.dns, d->loop, route_answer, d, error, error_max);
	if (!r)
		resolver_on_name(d->resolver, hostname_answer);
	if (!r)
		r = reader_new(&d->reads.reader, d->queue, &d->boxes.readings_in.mpsc);
	return r;
}

int dispatch_new(struct dispatch **ret, const struct dispatch_params *p,
	const struct policy_params *policy, struct classifier *rules, struct queue *queue,
	struct log *log, char *error, size_t error_max)
{
	struct dispatch *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->p = *p;
	d->params = policy;
	d->rules = rules;
	due_longest_set(d);
	d->queue = queue;
	d->log = log;
	defaults(d);
	lists_init(d);
	if (error_max)
		error[0] = '\0';
	r = make_parts(d, policy, error, error_max);
	d->p.listening = NULL; /* was copied */
	if (r) {
		if (error_max && !error[0])
			snprintf(error, error_max, "dispatcher: %s", strerror(-r));
		dispatch_free(d);
		return r;
	}
	d->match.policy = d->policy;
	d->match.params = policy;
	d->match.connections_max = d->p.outbound_max;
	opening_limit(&d->opening, d->p.outbound_max);
	loop_mailbox_add(d->loop, &d->boxes.fresh, intake_fresh, d);
	loop_mailbox_add(d->loop, &d->boxes.answers, on_answers, d);
	loop_mailbox_add(d->loop, &d->boxes.events, on_events, d);
	loop_mailbox_add(d->loop, &d->boxes.calls, on_calls, d);
	loop_mailbox_add(d->loop, &d->boxes.readings_in, intake_readings, d);
	loop_at_end(d->loop, &d->turn.at_end, turn_end, d);
	queue_set_fresh(queue, &d->boxes.fresh.mpsc);
	*ret = d;
	return 0;
}

static void on_started(void *arg)
{
	struct dispatch *d = arg;
	int r;

	d->clock.saved_at = d->clock.swept_at = loop_mono(d->loop);
	clock_begin(d);
	d->clock.up_since = loop_wall(d->loop);
	state_load(d);
	chronicle_load(d);
	policy_begin(d->policy, now_of(d));
	if (policy_warmup_wants(d->policy))
		warmup_save(d);
	r = intake_start(d);
	if (r)
		log_event(d->log, LOG_ERR, EVENT_QUEUE_READ_FAILED,
			"waiting domains cannot be read: %s", strerror(-r));
	recall_load(d);
}

int dispatch_start(struct dispatch *d, struct worker **workers, unsigned nworkers)
{
	int r;

	d->out.workers = calloc(nworkers, sizeof(struct worker *));
	d->out.orders = calloc(nworkers, sizeof(*d->out.orders));
	d->out.load = calloc(nworkers, sizeof(*d->out.load));
	if (!d->out.workers || !d->out.orders || !d->out.load)
		return -ENOMEM;
	memcpy(d->out.workers, workers, nworkers * sizeof(struct worker *));
	d->out.nworkers = nworkers;
	uv_timer_init(loop_uv(d->loop), &d->turn.timer);
	uv_timer_init(loop_uv(d->loop), &d->turn.tick);
	d->turn.timer.data = d->turn.tick.data = d;
	uv_timer_start(&d->turn.tick, turn_tick, TICK, TICK);
	r = resolver_start(d->resolver);
	if (!r)
		r = reader_start(d->reads.reader);
	if (!r)
		r = loop_start(d->loop, on_started, d);
	d->life.started = !r;
	if (r) {
		uv_close((uv_handle_t *)&d->turn.timer, NULL);
		uv_close((uv_handle_t *)&d->turn.tick, NULL);
	}
	return r;
}

static void last_save(struct dispatch *d)
{
	policy_end(d->policy, now_of(d));
	state_save(d);
}

static void drain(struct dispatch *d, void *arg)
{
	d->life.drained = d->life.drain_asked;
	match_drain(&d->match);
	d->life.by = loop_mono(d->loop) + d->p.drain_deadline;
	notify_tell_all(d);
	last_save(d);
	/* the deadline may pass without any event: the tick looks */
}

void dispatch_drain(struct dispatch *d, void (*done)(void *arg), void *arg)
{
	d->life.drain_asked = done;
	d->life.drained_arg = arg;
	d->life.drain_call = (struct dispatch_call){ .fn = drain };
	dispatch_call(d, &d->life.drain_call);
}

static void quiet(struct dispatch *d, void *arg)
{
	if (!d->match.draining)
		last_save(d);
	d->match.draining = d->life.quiet = true;
	turn_flush(d);
	uv_sem_post(arg);
}

void dispatch_quiet(struct dispatch *d)
{
	struct dispatch_call call = { .fn = quiet };
	uv_sem_t done;

	if (!d || !d->life.started)
		return;
	must(uv_sem_init(&done, 0) == 0);
	call.arg = &done;
	dispatch_call(d, &call);
	uv_sem_wait(&done);
	uv_sem_destroy(&done);
}

/* All jobs posted before the fence are answered before it, and nothing is posted after it; nor is
 * mail announced after it. */
static void stop(struct dispatch *d, void *arg)
{
	if (!d->match.draining)
		last_save(d);
	turn_keep_history(d);
	d->match.draining = d->life.quiet = d->life.stopping = true;
	d->life.drained = NULL;
	queue_set_fresh(d->queue, NULL);
	d->life.fence = (struct queue_job){ .kind = QUEUE_FENCE };
	job_post(d, &d->life.fence, JOB_FENCE);
}

static void close_all(void *arg)
{
	struct dispatch *d = arg;

	uv_close((uv_handle_t *)&d->turn.timer, NULL);
	uv_close((uv_handle_t *)&d->turn.tick, NULL);
}

struct dispatch *dispatch_free(struct dispatch *d)
{
	if (!d)
		return NULL;
	if (d->life.started) {
		d->life.stop_call = (struct dispatch_call){ .fn = stop };
		dispatch_call(d, &d->life.stop_call);
		uv_sem_wait(&d->life.stopped);
		loop_stop(d->loop, close_all, d);
	}
	dispatch_free_memory(d);
	free(d);
	return NULL;
}
