/* epoll and timers; called by every server of the tests, on the thread of its loop. Within a round, connections come before listeners, and a listener takes one
 * connection a round: so a connection that its client closed before opening the next one is never
 * counted together with it. */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "postern/clock.h"
#include "util.h"

#define BATCH	     256
#define WAIT_MOST_MS 500

void loop_init(struct loop *lp, const struct loop_ops *ops)
{
	lp->ops = ops;
	lp->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (lp->epfd < 0)
		die("epoll: %s", strerror(errno));
	lp->now = clock_mono_us();
}

void loop_deinit(struct loop *lp)
{
	close(lp->epfd);
	free(lp->heap);
}

static void io_ctl(struct loop *lp, int op, struct io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	if (epoll_ctl(lp->epfd, op, io->fd, &ev))
		die("epoll_ctl: %s", strerror(errno));
}

void io_add(struct loop *lp, struct io *io, uint32_t events)
{
	io_ctl(lp, EPOLL_CTL_ADD, io, events);
}

void io_mod(struct loop *lp, struct io *io, uint32_t events)
{
	io_ctl(lp, EPOLL_CTL_MOD, io, events);
}

static void heap_put(struct loop *lp, size_t i, struct timer *t)
{
	lp->heap[i] = t;
	t->at = i;
}

static void heap_up(struct loop *lp, size_t i, struct timer *t)
{
	for (; i > 0 && lp->heap[(i - 1) / 2]->due > t->due; i = (i - 1) / 2)
		heap_put(lp, i, lp->heap[(i - 1) / 2]);
	heap_put(lp, i, t);
}

static void heap_down(struct loop *lp, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= lp->nheap)
			break;
		if (child + 1 < lp->nheap && lp->heap[child + 1]->due < lp->heap[child]->due)
			child++;
		if (lp->heap[child]->due >= t->due)
			break;
		heap_put(lp, i, lp->heap[child]);
		i = child;
	}
	heap_put(lp, i, t);
}

void timer_stop(struct loop *lp, struct timer *t)
{
	struct timer *last;
	size_t i = t->at;

	if (i == SIZE_MAX)
		return;
	t->at = SIZE_MAX;
	last = lp->heap[--lp->nheap];
	if (last == t)
		return;
	if (i > 0 && lp->heap[(i - 1) / 2]->due > last->due)
		heap_up(lp, i, last);
	else
		heap_down(lp, i, last);
}

void timer_set(struct loop *lp, struct timer *t, uint64_t due)
{
	if (t->at != SIZE_MAX) {
		uint64_t old = t->due;

		t->due = due;
		if (due < old)
			heap_up(lp, t->at, t);
		else if (due > old)
			heap_down(lp, t->at, t);
		return;
	}
	if (lp->nheap == lp->heap_cap) {
		lp->heap_cap = lp->heap_cap ? lp->heap_cap * 2 : 256;
		lp->heap = xrealloc(lp->heap, lp->heap_cap * sizeof(*lp->heap));
	}
	t->due = due;
	heap_up(lp, lp->nheap++, t);
}

static int wait_ms(const struct loop *lp)
{
	int most = lp->ops->wait_most ? lp->ops->wait_most(lp) : WAIT_MOST_MS;
	uint64_t now = clock_mono_us(), ms;

	if (!lp->nheap)
		return most;
	if (lp->heap[0]->due <= now)
		return 0;
	ms = (lp->heap[0]->due - now + 999) / 1000;
	return ms > (uint64_t)most ? most : (int)ms;
}

static void run_timers(struct loop *lp)
{
	/* only what is due now: a timer that sets itself anew waits for the next round */
	for (size_t n = lp->nheap; n && lp->nheap && lp->heap[0]->due <= lp->now; n--) {
		struct timer *t = lp->heap[0];

		timer_stop(lp, t);
		t->fn(lp, t);
	}
}

/* What is no listener frees itself at most, and only listeners are looked at again. */
static void serve(struct loop *lp, struct epoll_event *ev, int n)
{
	int listeners = 0;

	for (int i = 0; i < n; i++) {
		struct io *io = ev[i].data.ptr;

		if (io->listener)
			ev[listeners++] = ev[i];
		else if (io->fd >= 0)
			io->fn(lp, io, ev[i].events);
	}
	for (int i = 0; i < listeners; i++) {
		struct io *io = ev[i].data.ptr;

		if (io->fd >= 0)
			io->fn(lp, io, ev[i].events);
	}
}

void loop_run(struct loop *lp)
{
	struct epoll_event ev[BATCH];

	while (!lp->ops->ended(lp)) {
		int n = epoll_wait(lp->epfd, ev, BATCH, wait_ms(lp));

		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		lp->now = clock_mono_us();
		serve(lp, ev, n < 0 ? 0 : n);
		run_timers(lp);
		if (lp->ops->round)
			lp->ops->round(lp);
	}
}

static struct loop_thread *thread_of(const struct loop *lp)
{
	return (struct loop_thread *)(uintptr_t)lp; /* its first member */
}

static void on_stop(struct loop *lp, struct io *io, uint32_t events)
{
	thread_of(lp)->ended = true;
}

static bool thread_ended(const struct loop *lp)
{
	return thread_of(lp)->ended;
}

void loop_thread_init(struct loop_thread *t, void *owner)
{
	static const struct loop_ops ops = { .ended = thread_ended };
	int fds[2];

	*t = (struct loop_thread){ .loop.owner = owner };
	loop_init(&t->loop, &ops);
	if (pipe(fds))
		die("pipe: %s", strerror(errno));
	t->stop = (struct io){ .fd = fds[0], .fn = on_stop };
	t->stop_fd = fds[1];
	io_add(&t->loop, &t->stop, EPOLLIN);
}

static void *thread_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

void loop_thread_start(struct loop_thread *t)
{
	if (pthread_create(&t->loop.thread, NULL, thread_main, &t->loop))
		die("cannot start a thread");
}

void loop_thread_stop(struct loop_thread *t)
{
	close(t->stop_fd);
	pthread_join(t->loop.thread, NULL);
}

void loop_thread_deinit(struct loop_thread *t)
{
	close(t->stop.fd);
	loop_deinit(&t->loop);
}
