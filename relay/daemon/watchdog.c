/* Says to the service manager that the relay is alive (systemd's WatchdogSec, by its documented
 * protocol: WATCHDOG_USEC, WATCHDOG_PID, and WATCHDOG=1 to the notify socket). Main thread.
 *
 * Alive is not that this thread runs, which does nothing else: a third of the time that is given,
 * each of the threads by which mail moves is asked (dispatcher, workers, the queue's writer by a
 * fence). Only when all have answered is it said, and they are asked again:
 *
 *   asked → all answered → said, asked …
 *
 * One that answers no more is so ended by the manager, and started again: the queue is on disk. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "service_private.h"

#define ROUNDS 3 /* in the time that the manager gives */

struct watchdog {
	struct service *service;
	ms_t every, next;
	atomic_uint pending; /* threads that have not answered yet */
	struct dispatch_call dispatcher;
	struct queue_job writer;
	struct mpsc box; /* for the writer's answer */
};

/* Milliseconds that the manager gives; 0: it does not ask, or asks another process. */
static ms_t given(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long v;

	if (!usec || (pid && strtoull(pid, NULL, 10) != (unsigned long long)getpid()))
		return 0;
	v = *usec >= '0' && *usec <= '9' ? strtoull(usec, NULL, 10) : 0;
	return v > 0 && v < (unsigned long long)INT64_MAX ? (ms_t)(v / 1000) : 0;
}

static void answered(void *arg)
{
	struct watchdog *w = arg;

	atomic_fetch_sub(&w->pending, 1);
}

static void on_dispatcher(struct dispatch *d, void *arg)
{
	(void)d;
	answered(arg);
}

static void ask(struct watchdog *w)
{
	struct service *s = w->service;

	mpsc_take_all(&w->box); /* empty again: so its next answer wakes */
	atomic_store(&w->pending, 2 + s->nworkers);
	w->dispatcher = (struct dispatch_call){ .fn = on_dispatcher, .arg = w };
	dispatch_call(s->dispatch, &w->dispatcher);
	for (unsigned i = 0; i < s->nworkers; i++)
		worker_ask_alive(s->workers[i], answered, w);
	w->writer = (struct queue_job){ .kind = QUEUE_FENCE, .reply_to = &w->box };
	queue_post(s->queue, &w->writer);
}

struct watchdog *watchdog_new(struct service *s)
{
	ms_t every = given() / ROUNDS;
	struct watchdog *w = every > 0 ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return NULL;
	w->service = s;
	w->every = every;
	mpsc_init(&w->box, answered, w);
	ask(w);
	w->next = clock_mono_ms() + every;
	return w;
}

int watchdog_wait(const struct watchdog *w)
{
	ms_t left;

	if (!w)
		return -1;
	left = w->next - clock_mono_ms();
	return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

void watchdog_tick(struct watchdog *w)
{
	ms_t now = clock_mono_ms();

	if (!w || now < w->next)
		return;
	w->next = now + w->every;
	if (atomic_load(&w->pending))
		return;
	notify_manager("WATCHDOG=1");
	ask(w);
}

struct watchdog *watchdog_free(struct watchdog *w)
{
	free(w);
	return NULL;
}
