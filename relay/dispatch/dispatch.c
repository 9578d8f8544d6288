/* The dispatcher's thread: mailboxes, one turn of its loop, start, drain and stop, calls from
 * other threads. Made and ended by the main thread.
 *
 * A turn: points in time that have come → flows that ask → domains that may be read → a slice of
 * an operation → orders, jobs and questions posted → timer set. Each stops after a bounded number
 * and goes on in the next turn. */
#include "postern/dispatch.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ahead.h"
#include "assign.h"
#include "backlog.h"
#include "clock_step.h"
#include "connection.h"
#include "delivery_log.h"
#include "domain.h"
#include "fair.h"
#include "flow.h"
#include "host_memory.h"
#include "hostname.h"
#include "intake.h"
#include "learned.h"
#include "notify.h"
#include "operate.h"
#include "own.h"
#include "park.h"
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
#include "waiting.h"
#include "watch.h"

#define ASK_A_TURN   512u /* flows looked at in one iteration */
#define WAKES_A_TURN 1024u
#define TICK	     1000
#define SAVE_EVERY   30000
#define FREE_MAX     (4u << 20) /* bytes */
#define WAVE_MIN     100u	/* recipients in memory */
#define SWEEP_EVERY  2000
#define SNAPSHOT     100 /* ms; statistics are at most that old while anything happens */

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

static void snapshot(struct dispatch *d)
{
	struct dispatch_stats *s = &d->stats;
	uint32_t idle = 0;

	for (const struct list *l = d->match.idle.next; l != &d->match.idle; l = l->next)
		idle++;
	s->domains = HASH_COUNT(d->domains);
	s->work = d->held.work;
	s->in_flight = d->held.in_flight;
	s->connections = d->match.nconnections;
	s->connections_idle = idle;
	resolver_stats(d->resolver, &s->dns);
	pthread_mutex_lock(&d->shown.lock);
	d->shown.snapshot = *s;
	pthread_mutex_unlock(&d->shown.lock);
	d->shown.at = loop_mono(d->loop);
}

void dispatch_stats(struct dispatch *d, struct dispatch_stats *ret)
{
	pthread_mutex_lock(&d->shown.lock);
	*ret = d->shown.snapshot;
	pthread_mutex_unlock(&d->shown.lock);
}

/* ---- a turn ---- */

static void wake_up(struct dispatch *d, struct wake *w)
{
	switch ((enum wake_kind)w->kind) {
	case WAKE_DOMAIN:
		domain_feed(d, container(w, struct domain, wake), FEED_ON_LOOK, NULL);
		break;
	case WAKE_ROUTE: {
		struct domain *m = container(w, struct domain, route_wake);

		/* renewed only for who has work; else with the next work */
		for (struct flow *f = m->flows; f; f = f->next)
			if (f->match.nready)
				flow_ask(d, f);
		break;
	}
	case WAKE_CONNECTION:
		connection_woken(d, container(w, struct connection, wake));
		break;
	case WAKE_SETTLE:
		settle_again(d, container(w, struct settle, wake));
		break;
	}
}

static struct wake *wake_due(struct dispatch *d, ms_t now)
{
	struct wake *w = wake_first(&d->wakes);

	return w && w->at <= now ? w : NULL;
}

/* A wait is over, or is to be looked at. */
static bool flow_woken(struct dispatch *d, ms_t now)
{
	struct waiter *w = places_due(&d->match.places, now);
	struct flow *f;

	if (!w)
		return false;
	f = container(w, struct flow, match.waiter);
	flow_age(d, f);
	flow_wait_over(d, f);
	return true;
}

static void wakes_run(struct dispatch *d)
{
	ms_t now = loop_mono(d->loop);
	struct wake *w;
	unsigned n = 0;

	park_over(d);
	while (n < WAKES_A_TURN && (w = wake_due(d, now))) {
		n++;
		wake_clear(&d->wakes, w);
		wake_up(d, w);
	}
	while (n < WAKES_A_TURN && flow_woken(d, now))
		n++;
	if (n == WAKES_A_TURN)
		d->turn.more = true;
}

static void ask_flows(struct dispatch *d)
{
	struct waiter *w;

	for (unsigned n = 0; n < ASK_A_TURN && (w = places_asking(&d->match.places)); n++)
		assign_flow(d, container(w, struct flow, match.waiter));
	d->turn.more |= places_any_asking(&d->match.places);
}

static void on_timer(uv_timer_t *t)
{
	struct dispatch *d = t->data;

	d->turn.timer_at = 0;
}

static void sooner(ms_t *at, ms_t other)
{
	if (other && (!*at || other < *at))
		*at = other;
}

static void arm(struct dispatch *d)
{
	const struct wake *w = wake_first(&d->wakes);
	ms_t now = loop_mono(d->loop), at = w ? w->at : 0;

	sooner(&at, places_at(&d->match.places));
	sooner(&at, waits_at(&d->waits));
	sooner(&at, ahead_next(d));
	if (d->turn.more)
		at = now;
	else if (!at)
		return;
	else if (at <= now)
		at = now + 1;
	if (d->turn.timer_at && d->turn.timer_at <= at && d->turn.timer_at > now)
		return;
	d->turn.timer_at = at ? at : 1;
	uv_timer_start(&d->turn.timer, on_timer, (uint64_t)(at - now), 0);
}

static void check_drained(struct dispatch *d)
{
	bool empty =
		!d->held.in_flight && !d->held.jobs_out && !d->operations && !d->boxes.jobs.first;
	void (*done)(void *arg) = d->life.drained;

	if (!d->match.draining || !done || (!empty && loop_mono(d->loop) < d->life.by))
		return;
	d->life.drained = NULL;
	d->life.quiet = true;
	done(d->life.drained_arg);
}

static void check_stopped(struct dispatch *d)
{
	if (!d->life.stopping || d->life.stop_told || d->held.jobs_out || d->reads.readings)
		return;
	d->life.stop_told = true;
	uv_sem_post(&d->life.stopped);
}

static void flush(struct dispatch *d)
{
	for (unsigned i = 0; i < d->out.nworkers; i++)
		if (d->out.orders[i].first)
			worker_post(d->out.workers[i], &d->out.orders[i]);
	if (d->boxes.jobs.first)
		queue_post_batch(d->queue, &d->boxes.jobs);
	resolver_flush(d->resolver);
	reader_flush(d->reads.reader);
}

static void at_end(void *arg)
{
	struct dispatch *d = arg;

	d->turn.more = false;
	if (!d->life.quiet) {
		wakes_run(d);
		/* first: who is put back to wait is not read */
		ask_flows(d);
		intake_due(d);
		ahead_turn(d);
		if (operate_step(d))
			d->turn.more = true;
		if (policy_warmup_wants(d->policy))
			warmup_save(d);
		flows_sweep(d);
	}
	flush(d);
	check_drained(d);
	check_stopped(d);
	if (loop_mono(d->loop) - d->shown.at >= SNAPSHOT)
		snapshot(d);
	if (!d->life.quiet)
		arm(d);
}

static void on_policy_event(void *arg, const struct policy_event *e)
{
	struct dispatch *d = arg;

	policy_log(d, e);
	d->relieved |= e->over;
	if (e->kind < DISPATCH_POLICY_EVENTS)
		d->stats.policy_events[e->kind]++;
}

static void policy_turn(struct dispatch *d)
{
	if (d->life.quiet)
		return;
	policy_tick(d->policy, now_of(d));
	backlog_tick(d);
	policy_events(d->policy, on_policy_event, d);
	policy_summary(d->policy, now_of(d), &d->stats.policy);
	if (d->relieved) {
		d->relieved = false;
		flows_wake(d);
		connections_wake(d);
	}
	if (policy_urgent(d->policy))
		state_save(d);
}

/* After a wave of work the memory is free, and the process's still: given back when it is much.
 * Only then: to look costs a walk through all free blocks of all threads. */
static void give_back(struct dispatch *d)
{
	if (d->held.work > d->held.peak)
		d->held.peak = d->held.work;
	if (d->held.peak < WAVE_MIN || d->held.work > d->held.peak / 2)
		return;
	d->held.peak = d->held.work;
	if (mallinfo2().fordblks > FREE_MAX)
		malloc_trim(FREE_MAX / 2);
}

static void keep_history(struct dispatch *d)
{
	struct saving *s = saving_new();

	if (!s)
		return; /* the minute goes on */
	chronicle_keep(d, saving_add, s);
	saving_post(d, s);
}

static void on_tick(uv_timer_t *t)
{
	struct dispatch *d = t->data;
	ms_t now = loop_mono(d->loop);

	clock_tick(d);
	if (!d->life.quiet)
		match_tick(&d->match, loop_mono(d->loop));
	watch_tick(d);
	orders_tick(d);
	if (recall_over(d) && !state_put(d, RECALL_KEY, (struct slice){ NULL, 0 }))
		d->clock.recall_at = 0;
	if (chronicle_due(d))
		keep_history(d);
	policy_turn(d);
	flows_make_room(d); /* before they are asked again */
	match_freed(&d->match, NULL, NULL, 256);
	if (now - d->clock.swept_at >= SWEEP_EVERY) {
		d->clock.swept_at = now;
		domain_sweep(d);
		host_memory_sweep(d);
		notify_sweep(d);
		give_back(d);
		if (d->reads.missed)
			d->reads.missed = intake_start(d) != 0;
	}
	if (now - d->clock.saved_at >= SAVE_EVERY)
		state_save(d);
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
	loop_mailbox_add(d->loop, &d->boxes.fresh, intake_fresh, d);
	loop_mailbox_add(d->loop, &d->boxes.answers, on_answers, d);
	loop_mailbox_add(d->loop, &d->boxes.events, on_events, d);
	loop_mailbox_add(d->loop, &d->boxes.calls, on_calls, d);
	loop_mailbox_add(d->loop, &d->boxes.readings_in, intake_readings, d);
	loop_at_end(d->loop, &d->turn.at_end, at_end, d);
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
	uv_timer_start(&d->turn.tick, on_tick, TICK, TICK);
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
	flush(d);
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
	keep_history(d);
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
