/* The loop thread. One iteration: timers, then the end-of-iteration work (hooks, gathered writes)
 * just before blocking, the poll with its I/O callbacks, then the mailboxes. Whatever any of them
 * leaves to be done once a batch is so done before the loop sleeps. */
#include "postern/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loop_private.h"
#include "postern/must.h"

#define END_ROUNDS_MAX 8 /* then I/O gets its turn before more end-of-iteration work */

static bool mail_waits(const struct loop *l)
{
	for (const struct loop_mailbox *m = l->mailboxes; m; m = m->next) {
		if (!mpsc_empty(&m->mpsc))
			return true;
	}
	return false;
}

static void deliver_mail(struct loop *l)
{
	for (struct loop_mailbox *m = l->mailboxes; m; m = m->next) {
		struct mpsc_node *first = mpsc_take_all(&m->mpsc);

		if (first)
			m->deliver(m->arg, first);
	}
}

static void run_hooks(struct loop *l)
{
	for (struct loop_hook *h = l->hooks; h; h = h->next)
		h->fn(h->arg);
}

/* An active idle handle makes the next poll return at once. */
static void on_spin(uv_idle_t *h)
{
}

/* Before the poll. Callbacks of streams may give the hooks new work and the other way round, so
 * both run until nothing is left, within a bound that keeps I/O from starving. */
static void on_prepare(uv_prepare_t *h)
{
	struct loop *l = h->data;
	bool more = true;

	for (int round = 0; more && round < END_ROUNDS_MAX; round++) {
		run_hooks(l);
		more = streams_run(l) || l->ndirty > 0;
	}
	/* A post that found us awake sent no wake-up: look again after having said that we sleep.
	 * Both sides exchange the same flag, so whoever comes second sees what the first did
	 * before. */
	atomic_exchange_explicit(&l->sleeping, true, memory_order_acq_rel);
	if (more || mail_waits(l))
		uv_idle_start(&l->spin, on_spin);
}

static void wake(void *arg)
{
	struct loop *l = arg;

	if (atomic_exchange_explicit(&l->sleeping, false, memory_order_acq_rel))
		uv_async_send(&l->async);
}

/* The posts themselves are taken in on_check, which follows each poll. */
static void on_async(uv_async_t *h)
{
}

static void on_check(uv_check_t *h)
{
	struct loop *l = h->data;

	atomic_store_explicit(&l->sleeping, false, memory_order_relaxed);
	uv_idle_stop(&l->spin);
	deliver_mail(l);
	if (!l->stop_seen && atomic_load_explicit(&l->stop_asked, memory_order_acquire)) {
		l->stop_seen = true;
		if (l->on_stopping)
			l->on_stopping(l->stopping_arg);
		/* from here on only what others opened keeps the loop running */
		uv_unref((uv_handle_t *)&l->async);
	}
}

/* libuv ends the process when there is no memory for its table of descriptors. Waiting for some is
 * better: then only this loop stands still. */
static void *memory_realloc(void *p, size_t n)
{
	const struct timespec moment = { .tv_nsec = 10 * 1000000 };
	void *grown;

	while (!(grown = realloc(p, n)) && n > 0)
		nanosleep(&moment, NULL);
	return grown;
}

static void *memory_malloc(size_t n)
{
	return memory_realloc(NULL, n ? n : 1);
}

static void *memory_calloc(size_t n, size_t size)
{
	void *p;

	if (size && n > SIZE_MAX / size)
		return NULL;
	p = memory_malloc(n * size);
	memset(p, 0, n * size);
	return p;
}

static void set_allocator(void)
{
	uv_replace_allocator(memory_malloc, memory_realloc, memory_calloc, free);
}

int loop_new(struct loop **ret, const char *thread_name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	pthread_once(&once, set_allocator);
	r = uv_loop_init(&l->uv);
	if (r) {
		free(l);
		return r;
	}
	r = uv_async_init(&l->uv, &l->async, on_async);
	if (r) {
		uv_loop_close(&l->uv);
		free(l);
		return r;
	}
	snprintf(l->name, sizeof(l->name), "%s", thread_name);
	l->clock = &l->clock_store;
	uv_prepare_init(&l->uv, &l->prepare);
	uv_check_init(&l->uv, &l->check);
	uv_idle_init(&l->uv, &l->spin);
	l->prepare.data = l->check.data = l->async.data = l;
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->check);
	wheel_init(l);
	*ret = l;
	return 0;
}

static void close_own_handles(struct loop *l)
{
	uv_close((uv_handle_t *)&l->async, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->spin, NULL);
	uv_close((uv_handle_t *)&l->wheel.timer, NULL);
}

static void thread_main(void *arg)
{
	struct loop *l = arg;
	sigset_t pipe_signal;

	/* libuv writes without MSG_NOSIGNAL; a peer that went away is an error code, not a signal
	 */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
	pthread_setname_np(pthread_self(), l->name);
	uv_update_time(&l->uv);
	if (l->on_started)
		l->on_started(l->started_arg);
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

int loop_start(struct loop *l, void (*started)(void *arg), void *arg)
{
	int r;

	must(!l->started);
	l->on_started = started;
	l->started_arg = arg;
	r = uv_thread_create(&l->thread, thread_main, l);
	l->started = r == 0;
	return r;
}

void loop_stop(struct loop *l, void (*stopping)(void *arg), void *arg)
{
	if (!l->started)
		return;
	l->on_stopping = stopping;
	l->stopping_arg = arg;
	atomic_store_explicit(&l->stop_asked, true, memory_order_release);
	uv_async_send(&l->async);
	uv_thread_join(&l->thread);
	l->started = false;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	must(!l->started);
	close_own_handles(l);
	/* also ends what was closed on a loop that never ran */
	uv_run(&l->uv, UV_RUN_DEFAULT);
	must(uv_loop_close(&l->uv) == 0);
	out_pool_deinit(&l->pool);
	free(l);
	return NULL;
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

ms_t loop_mono(const struct loop *l)
{
	return (ms_t)uv_now(&l->uv);
}

ms_t loop_wall(const struct loop *l)
{
	ms_t mono = loop_mono(l);

	if (l->clock->mono != mono)
		*l->clock = (struct loop_clock){ .mono = mono, .wall = clock_wall_ms() };
	return l->clock->wall;
}

void loop_mailbox_add(struct loop *l, struct loop_mailbox *m,
	void (*deliver)(void *arg, struct mpsc_node *first), void *arg)
{
	must(!l->started);
	*m = (struct loop_mailbox){ .deliver = deliver, .arg = arg, .loop = l };
	mpsc_init(&m->mpsc, wake, l);
	m->next = l->mailboxes;
	l->mailboxes = m;
}

void loop_at_end(struct loop *l, struct loop_hook *h, void (*fn)(void *arg), void *arg)
{
	struct loop_hook **last = &l->hooks;

	*h = (struct loop_hook){ .fn = fn, .arg = arg };
	while (*last)
		last = &(*last)->next;
	*last = h;
}
