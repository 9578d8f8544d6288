/* Asking the dispatcher from another thread. Called by the threads of control clients and of HTTP;
 * they wait here, while the question runs on the dispatcher's thread between two of its turns.
 *
 * What is asked must be short: all mail waits for it. Long work is an operation (ask_operate),
 * which the dispatcher does in slices. */
#include "ask.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#define TELL_EVERY 1 /* s */

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void waiter_init(struct waiter *w)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
	w->done = false;
}

static void waiter_finish(struct waiter *w)
{
	/* signalled under the lock: the waiter's memory ends as soon as it sees done */
	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void waiter_end(struct waiter *w)
{
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
}

static void waiter_wait(struct waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	waiter_end(w);
}

/* Until then at the latest; whether it is done. */
static bool waiter_wait_until(struct waiter *w, const struct timespec *until)
{
	bool done;

	pthread_mutex_lock(&w->lock);
	while (!w->done && pthread_cond_timedwait(&w->cond, &w->lock, until) != ETIMEDOUT)
		;
	done = w->done;
	pthread_mutex_unlock(&w->lock);
	return done;
}

struct ask {
	struct dispatch_call call;
	struct waiter waiter;
	void (*fn)(struct dispatch *d, void *arg);
	void *arg;
};

static void run_ask(struct dispatch *d, void *arg)
{
	struct ask *a = arg;

	a->fn(d, a->arg);
	waiter_finish(&a->waiter);
}

void ask(struct dispatch *d, void (*fn)(struct dispatch *d, void *arg), void *arg)
{
	struct ask a = { .call = { .fn = run_ask, .arg = &a }, .fn = fn, .arg = arg };

	waiter_init(&a.waiter);
	dispatch_call(d, &a.call);
	waiter_wait(&a.waiter);
}

struct operation {
	struct dispatch_call call;
	struct waiter waiter;
	const struct dispatch_task *task;
	uint64_t changed;
	_Atomic uint64_t so_far;
	int result;
};

static void operation_done(void *arg, int result, uint64_t changed)
{
	struct operation *o = arg;

	o->result = result;
	o->changed = changed;
	waiter_finish(&o->waiter);
}

static void run_operation(struct dispatch *d, void *arg)
{
	struct operation *o = arg;
	int r;

	r = dispatch_operate(d, o->task, operation_done, o, &o->so_far);
	if (r) /* not begun: done will not be called */
		operation_done(o, r, 0);
}

int ask_operate(struct dispatch *d, const struct dispatch_task *t, uint64_t *changed,
	void (*tell)(void *arg, uint64_t so_far), void *arg)
{
	struct operation o = { .call = { .fn = run_operation, .arg = &o }, .task = t };
	struct timespec next;

	waiter_init(&o.waiter);
	dispatch_call(d, &o.call);
	clock_gettime(CLOCK_MONOTONIC, &next);
	next.tv_sec += TELL_EVERY;
	while (!waiter_wait_until(&o.waiter, &next)) {
		if (tell)
			tell(arg, atomic_load(&o.so_far));
		next.tv_sec += TELL_EVERY;
	}
	waiter_end(&o.waiter);
	*changed = o.changed;
	return o.result;
}
