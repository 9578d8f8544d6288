/* One worker: its loop thread, the mailboxes by which others reach it, and its orderly end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "outbound.h"
#include "postern/must.h"
#include "worker_impl.h"

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
	return (struct control *)(void *)((char *)n - offsetof(struct control, node));
}

/* ---- listeners ---- */

void worker_delete_listener(struct inbound_listener *ln)
{
	void (*release)(void *arg) = ln->release;
	void *arg = ln->arg;

	DL_DELETE(ln->w->listeners, ln);
	tls_context_unref(ln->tls);
	users_unref(ln->users);
	free(ln);
	if (release)
		release(arg);
}

void worker_close_listener(struct inbound_listener *ln)
{
	if (ln->socket)
		listener_stop(ln->socket);
	ln->socket = NULL;
}

void inbound_listener_unref(struct inbound_listener *ln)
{
	must(ln->sessions > 0);
	if (--ln->sessions == 0 && ln->removed)
		worker_delete_listener(ln);
}

static void on_listen(struct worker *w, struct control *c)
{
	struct inbound_listener *ln = calloc(1, sizeof(*ln));
	int r = -ENOMEM;

	if (!ln)
		goto out;
	ln->w = w;
	ln->p = c->p;
	ln->tls = c->tls;
	ln->users = c->users;
	ln->rejects = reject_counts_of(w->p.limits, c->p->name);
	c->tls = NULL;
	c->users = NULL;
	DL_APPEND(w->listeners, ln);
	if (w->draining || w->stopping) {
		ln->removed = true;
		worker_delete_listener(ln);
		control_free(c);
		return;
	}
	r = listener_new(&ln->socket, w->loop, c->fd, inbound_accepted, ln);
	if (r) {
		worker_delete_listener(ln);
	} else {
		ln->fd = c->fd;
		listener_accept(ln->socket);
		c->fd = -1;
	}
out:
	if (r)
		log_event(w->p.log, LOG_ERR, "listen-failed", "listener %s: %s", c->p->name,
			strerror(-r));
	control_free(c);
}

/* ---- the end ---- */

static void stop_listening(struct worker *w)
{
	struct inbound_listener *ln;

	DL_FOREACH (w->listeners, ln)
		worker_close_listener(ln);
}

void worker_session_gone(struct worker *w)
{
	struct control *c = w->drain;

	must(w->live > 0);
	if (--w->live > 0)
		return;
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
	w->draining = true;
	stop_listening(w);
	if (w->live == 0) {
		control_done(c);
		return;
	}
	w->drain = c;
	loop_timer_arm(w->loop, &w->drain_timer, c->deadline);
	inbound_drain(w);
}

static void on_drain_deadline(void *arg)
{
	inbound_end_all(arg, "421 4.3.2 Service is shutting down, try again later");
}

static void on_stop(struct worker *w, struct control *c)
{
	control_free(c);
	w->draining = true;
	stop_listening(w);
	loop_timer_disarm(w->loop, &w->drain_timer);
	outbound_end_all(w);
	/* one more, so that ending the last session inside the call is no special case */
	w->live++;
	w->stopping = true;
	inbound_end_all(w, "421 4.3.2 Service is shutting down, try again later");
	worker_session_gone(w);
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

	if (w->jobs.first)
		queue_post_batch(w->p.queue, &w->jobs);
	mpsc_batch_post(&w->events, w->p.events);
}

void worker_post_job(struct worker *w, struct queue_job *job)
{
	mpsc_batch_add(&w->jobs, &job->node);
}

void worker_post_event(struct worker *w, struct outbound_event *e)
{
	mpsc_batch_add(&w->events, &e->node);
}

void worker_post(struct worker *w, struct mpsc_batch *orders)
{
	mpsc_batch_post(orders, &w->orders.mpsc);
}

/* ---- birth and death ---- */

int worker_new(struct worker **ret, const struct worker_params *p)
{
	struct worker *w = calloc(1, sizeof(*w));
	char name[16];
	int r = -ENOMEM;

	if (!w)
		return r;
	w->p = *p;
	must(sem_init(&w->stopped, 0, 0) == 0);
	buf_init(&w->out, 0);
	log_line_init(&w->line);
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
	loop_mailbox_add(w->loop, &w->answers, inbound_answers, w);
	loop_mailbox_add(w->loop, &w->orders, outbound_orders, w);
	loop_at_end(w->loop, &w->at_end, on_end_of_iteration, w);
	ahead_init(w);
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

	must(uv_timer_init(loop_uv(w->loop), &w->starved_timer) == 0);
	w->starved_timer.data = w;
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
	uv_close((uv_handle_t *)&w->starved_timer, NULL);
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
	struct inbound_listener *ln, *next;

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
	DL_FOREACH_SAFE (w->listeners, ln, next)
		worker_delete_listener(ln);
	loop_free(w->loop);
	session_limits_free(w->own_limits);
	log_line_deinit(&w->line);
	buf_deinit(&w->out);
	sem_destroy(&w->stopped);
	free(w);
	return NULL;
}

void worker_inbound_stats(struct worker *w, struct inbound_stats *ret)
{
	const struct inbound_counters *c = &w->count;

	*ret = (struct inbound_stats){
		.sessions = atomic_load_explicit(&c->sessions, memory_order_relaxed),
		.sessions_refused =
			atomic_load_explicit(&c->sessions_refused, memory_order_relaxed),
		.messages = atomic_load_explicit(&c->messages, memory_order_relaxed),
		.recipients = atomic_load_explicit(&c->recipients, memory_order_relaxed),
		.bytes = atomic_load_explicit(&c->bytes, memory_order_relaxed),
		.rejected_messages =
			atomic_load_explicit(&c->rejected_messages, memory_order_relaxed),
		.auth_failures = atomic_load_explicit(&c->auth_failures, memory_order_relaxed),
		.tls_sessions = atomic_load_explicit(&c->tls_sessions, memory_order_relaxed),
		.open = atomic_load_explicit(&c->open, memory_order_relaxed),
	};
}
