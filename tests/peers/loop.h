/* A loop over epoll with timers, for servers that tests run: the simulator has one for each of its
 * threads, a test's name server one. Everything of a loop is called on its own thread, but for
 * io_add, by which one loop hands a connection to another. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct io { /* what epoll hands back; embedded first */
	int fd;
	bool listener; /* served after everything else of a batch */
	void (*fn)(struct loop *lp, struct io *io, uint32_t events);
};

struct timer { /* embedded; at == SIZE_MAX: not set */
	uint64_t due;
	size_t at;
	void (*fn)(struct loop *lp, struct timer *t);
};

struct loop_ops {
	bool (*ended)(const struct loop *lp);	 /* asked before each round */
	int (*wait_most)(const struct loop *lp); /* ms; may be NULL */
	void (*round)(struct loop *lp);		 /* after each; may be NULL */
};

struct sim;
struct conns;
struct loop {
	const struct loop_ops *ops;
	/* the owner's: which simulator it belongs to, as which of its loops, with what connections; or
	 * anything else */
	void *owner;
	struct sim *sim;
	struct conns *conns;
	int index;
	pthread_t thread;
	/* its own */
	int epfd;
	uint64_t now; /* monotonic, microseconds; of this round */
	struct timer **heap;
	size_t nheap, heap_cap;
};

void loop_init(struct loop *lp, const struct loop_ops *ops); /* leaves what is the owner's */
void loop_deinit(struct loop *lp);
void loop_run(struct loop *lp);
void io_add(struct loop *lp, struct io *io, uint32_t events);
void io_mod(struct loop *lp, struct io *io, uint32_t events);
void timer_set(struct loop *lp, struct timer *t, uint64_t due);
void timer_stop(struct loop *lp, struct timer *t);

/* A loop in a thread of its own, for servers inside a test. The owner fills in loop.owner and opens
 * its sockets between init and start; after stop the thread is gone, and the owner closes them. */
struct loop_thread {
	struct loop loop;
	struct io stop;
	int stop_fd;
	bool ended;
};
void loop_thread_init(struct loop_thread *t, void *owner);
void loop_thread_start(struct loop_thread *t);
void loop_thread_stop(struct loop_thread *t);
void loop_thread_deinit(struct loop_thread *t);
