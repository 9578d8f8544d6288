/* epoll and timers. Within a round, connections come before listeners, and a listener takes one
 * connection a round: so a connection that its client closed before opening the next one is never
 * counted together with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conn.h"
#include "postern/clock.h"

#define BATCH 256

void loop_init(struct loop *lp, struct sim *s, int index)
{
	lp->sim = s;
	lp->index = index;
	lp->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (lp->epfd < 0)
		die("epoll: %s", strerror(errno));
	lp->rbuf = xcalloc(1, READ_MAX);
	lp->pbuf = xcalloc(1, READ_MAX);
	lp->now = clock_mono_us();
}

void loop_deinit(struct loop *lp)
{
	close(lp->epfd);
	free(lp->rbuf);
	free(lp->pbuf);
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
	uint64_t now = clock_mono_us(), ms;

	if (lp->index == 0 && lp->sim->nloops > 1 && control_waiting(lp->sim))
		return 2;
	if (!lp->nheap)
		return 500;
	if (lp->heap[0]->due <= now)
		return 0;
	ms = (lp->heap[0]->due - now + 999) / 1000;
	return ms > 500 ? 500 : (int)ms;
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

	while (!lp->sim->quit) {
		int n = epoll_wait(lp->epfd, ev, BATCH, wait_ms(lp));

		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		lp->now = clock_mono_us();
		serve(lp, ev, n < 0 ? 0 : n);
		run_timers(lp);
		if (lp->advance_seen != lp->sim->advances) {
			lp->advance_seen = lp->sim->advances;
			conn_rearm_all(lp);
		}
		if (lp->index == 0)
			control_tick(lp->sim);
		conn_reap(lp);
	}
}
