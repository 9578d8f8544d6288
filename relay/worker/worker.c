/* One worker: its loop thread with the inbound and the outbound half, the mailboxes by which
 * others reach it, and its orderly end. Made, asked and freed by the main thread or whoever
 * reloads; what begins with on_ runs on its own thread.
 *
 * new → started → (drain: idle sessions end, others finish) → stopped → freed. Before it is freed
 * the queue's writer is asked to be past its last answer (queue_fence). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "postern/list.h"
#include "postern/must.h"
#include "worker_impl.h"

static const char reply_stopping[] = "421 4.3.2 Service is shutting down, try again later";

static struct control *control_new(enum control_kind kind)
{
	struct control *c = calloc(1, sizeof(*c));

	if (c) {
		c->kind = kind;
		c->fd = -1;
	}
	return c;
}

static struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	if (c->fd >= 0)
		close(c->fd);
	tls_context_unref(c->tls);
	users_unref(c->users);
	if (!c->embedded)
		free(c);
	return NULL;
}

/* Says that what was asked is done; takes c. */
static void control_done(struct control *c)
{
	if (c && c->done)
		c->done(c->arg);
	control_free(c);
}

static struct control *control_of(struct mpsc_node *n)
{
	return container(n, struct control, node);
}

static void on_listen(struct worker *w, struct control *c)
{
	if (inbound_listen(w->inbound, c->p, c->fd, c->tls, c->users) == 0)
		c->fd = -1;
	control_free(c);
}

/* ---- the end ---- */

/* No inbound session is left. */
static void on_empty(void *arg)
{
	struct worker *w = arg;
	struct control *c = w->drain;

	if (c) {
		w->drain = NULL;
		loop_timer_disarm(w->loop, &w->drain_timer);
		control_done(c);
	}
	if (w->stopping)
		sem_post(&w->stopped);
}

static void on_drain(struct worker *w, struct control *c)
{
	w->drain = c;
	loop_timer_arm(w->loop, &w->drain_timer, c->deadline);
	inbound_drain(w->inbound);
}

static void on_drain_deadline(void *arg)
{
	struct worker *w = arg;

	inbound_end_all(w->inbound, reply_stopping);
}

static void on_stop(struct worker *w, struct control *c)
{
	control_free(c);
	loop_timer_disarm(w->loop, &w->drain_timer);
	outbound_stop(w->outbound);
	w->stopping = true;
	inbound_stop(w->inbound, reply_stopping);
}

static void on_control(void *arg, struct mpsc_node *first)
{
	struct worker *w = arg;

	while (first) {
		struct control *c = control_of(first);

		first = first->next;
		switch (c->kind) {
		case CONTROL_LISTEN:
			on_listen(w, c);
			break;
		case CONTROL_PREPARE:
		case CONTROL_COMMIT:
		case CONTROL_ABANDON:
			change_on_worker(w, c);
			break;
		case CONTROL_ALIVE:
			c->done(c->arg); /* who may ask again from now on: c is not ours */
			break;
		case CONTROL_DRAIN:
			on_drain(w, c);
			break;
		case CONTROL_STOP:
			on_stop(w, c);
			break;
		}
	}
}

/* ---- what goes out once an iteration ---- */

static void on_end_of_iteration(void *arg)
{
	struct worker *w = arg;

	inbound_post(w->inbound);
	outbound_post(w->outbound);
}

void worker_post(struct worker *w, struct mpsc_batch *orders)
{
	outbound_post_orders(w->outbound, orders);
}

/* ---- birth and death ---- */

static int halves_new(struct worker *w, const struct worker_params *p)
{
	struct inbound_params in = { .index = p->index,
		.loop = w->loop,
		.limits = w->p.limits,
		.queue = p->queue,
		.log = p->log,
		.body_memory_max = p->body_memory_max,
		.empty = on_empty,
		.arg = w };
	struct outbound_params out = { .loop = w->loop,
		.queue = p->queue,
		.events = p->events,
		.connections_max = p->outbound_max,
		.ahead_max = p->ahead_max };
	int r = inbound_new(&w->inbound, &in);

	return r ? r : outbound_new(&w->outbound, &out);
}

int worker_new(struct worker **ret, const struct worker_params *p)
{
	struct worker *w = calloc(1, sizeof(*w));
	char name[16];
	int r = -ENOMEM;

	if (!w)
		return r;
	w->p = *p;
	must(sem_init(&w->stopped, 0, 0) == 0);
	if (!p->limits) {
		w->own_limits = w->p.limits = session_limits_new();
		if (!w->own_limits)
			goto out;
	}
	snprintf(name, sizeof(name), "worker-%u", p->index);
	r = loop_new(&w->loop, name);
	if (r)
		goto out;
	loop_mailbox_add(w->loop, &w->control, on_control, w);
	r = halves_new(w, p);
	if (r)
		goto out;
	loop_at_end(w->loop, &w->at_end, on_end_of_iteration, w);
	loop_timer_init(&w->drain_timer, on_drain_deadline, w);
	*ret = w;
	w = NULL;
out:
	worker_free(w);
	return r;
}

struct loop *worker_loop(struct worker *w)
{
	return w->loop;
}

static void on_started(void *arg)
{
	struct worker *w = arg;

	inbound_started(w->inbound);
}

int worker_start(struct worker *w)
{
	int r = loop_start(w->loop, on_started, w);

	w->started = r == 0;
	return r;
}

int worker_listen(struct worker *w, const struct listener_params *p, int fd,
	struct tls_context *tls, struct users *users)
{
	struct control *c = control_new(CONTROL_LISTEN);

	if (!c)
		return -ENOMEM;
	c->fd = fd;
	c->p = p;
	c->tls = tls ? tls_context_ref(tls) : NULL;
	c->users = users_ref(users);
	mpsc_post(&w->control.mpsc, &c->node);
	return 0;
}

void worker_ask(struct worker *w, struct control *c)
{
	mpsc_post(&w->control.mpsc, &c->node);
}

void worker_drain(struct worker *w, ms_t deadline, void (*done)(void *arg), void *arg)
{
	struct control *c = &w->drain_request;

	must(!c->embedded);
	*c = (struct control){ .kind = CONTROL_DRAIN,
		.embedded = true,
		.fd = -1,
		.deadline = deadline,
		.done = done,
		.arg = arg };
	mpsc_post(&w->control.mpsc, &c->node);
}

void worker_ask_alive(struct worker *w, void (*done)(void *arg), void *arg)
{
	struct control *c = &w->alive_request;

	*c = (struct control){
		.kind = CONTROL_ALIVE, .embedded = true, .fd = -1, .done = done, .arg = arg
	};
	mpsc_post(&w->control.mpsc, &c->node);
}

static void on_woken(void *arg)
{
	sem_post(arg);
}

/* The writer posts an answer, then wakes us: it may still be about to do the second when we have
 * long taken the first. Behind a fence's wake-up it is through with all earlier ones. */
static void queue_fence(struct worker *w)
{
	struct queue_job fence = { .kind = QUEUE_FENCE };
	struct mpsc box;
	sem_t woken;

	if (!w->p.queue)
		return;
	must(sem_init(&woken, 0, 0) == 0);
	mpsc_init(&box, on_woken, &woken);
	fence.reply_to = &box;
	queue_post(w->p.queue, &fence);
	while (sem_wait(&woken) < 0)
		must(errno == EINTR);
	sem_destroy(&woken);
}

static void on_stopping(void *arg)
{
	struct worker *w = arg;

	on_end_of_iteration(w);
	inbound_stopping(w->inbound);
}

static void stop_thread(struct worker *w)
{
	struct control *c = &w->stop_request;

	*c = (struct control){ .kind = CONTROL_STOP, .embedded = true, .fd = -1 };
	mpsc_post(&w->control.mpsc, &c->node);
	while (sem_wait(&w->stopped) < 0)
		must(errno == EINTR);
	queue_fence(w);
	loop_stop(w->loop, on_stopping, w);
	w->started = false;
}

struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	if (w->started) {
		stop_thread(w);
	} else if (w->loop) {
		/* never ran: what was posted has had no reader */
		for (struct mpsc_node *n = mpsc_take_all(&w->control.mpsc), *after; n; n = after) {
			after = n->next;
			control_free(control_of(n));
		}
	}
	inbound_free(w->inbound);
	outbound_free(w->outbound);
	loop_free(w->loop);
	session_limits_free(w->own_limits);
	sem_destroy(&w->stopped);
	free(w);
	return NULL;
}

void worker_inbound_stats(struct worker *w, struct inbound_stats *ret)
{
	inbound_stats(w->inbound, ret);
}

void worker_outbound_stats(struct worker *w, struct outbound_stats *ret)
{
	outbound_stats(w->outbound, ret);
}
