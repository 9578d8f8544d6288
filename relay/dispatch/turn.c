/* One turn of the dispatcher's loop, after the mailboxes were emptied, and its tick once a second.
 * Called by the loop, as dispatch.c sets it up, on the dispatcher's thread.
 *
 * A turn: points in time that have come → flows that ask → domains that may be read → a slice of
 * an operation → orders, jobs and questions posted → timer set. Each stops after a bounded number
 * and goes on in the next turn. */
#include "turn.h"

#include <malloc.h>

#include "ahead.h"
#include "assign.h"
#include "backlog.h"
#include "clock_step.h"
#include "connection.h"
#include "delivery_log.h"
#include "domain.h"
#include "flow.h"
#include "host_memory.h"
#include "intake.h"
#include "learned.h"
#include "notify.h"
#include "operate.h"
#include "park.h"
#include "past.h"
#include "reader.h"
#include "recall.h"
#include "settle.h"
#include "state.h"
#include "waiting.h"
#include "watch.h"

#define ASK_A_TURN   512u /* flows looked at in one iteration */
#define WAKES_A_TURN 1024u
#define SAVE_EVERY   30000
#define FREE_MAX     (4u << 20) /* bytes */
#define WAVE_MIN     100u	/* recipients in memory */
#define SWEEP_EVERY  2000
#define SNAPSHOT     100 /* ms; statistics are at most that old while anything happens */

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

/* ---- what has come ---- */

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

/* ---- the end of a turn ---- */

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

void turn_flush(struct dispatch *d)
{
	for (unsigned i = 0; i < d->out.nworkers; i++)
		if (d->out.orders[i].first)
			worker_post(d->out.workers[i], &d->out.orders[i]);
	if (d->boxes.jobs.first)
		queue_post_batch(d->queue, &d->boxes.jobs);
	resolver_flush(d->resolver);
	reader_flush(d->reads.reader);
}

void turn_end(void *arg)
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
	turn_flush(d);
	check_drained(d);
	check_stopped(d);
	if (loop_mono(d->loop) - d->shown.at >= SNAPSHOT)
		snapshot(d);
	if (!d->life.quiet)
		arm(d);
}

/* ---- once a second ---- */

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

void turn_keep_history(struct dispatch *d)
{
	struct saving *s = saving_new();

	if (!s)
		return; /* the minute goes on */
	chronicle_keep(d, saving_add, s);
	saving_post(d, s);
}

void turn_tick(uv_timer_t *t)
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
		turn_keep_history(d);
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
