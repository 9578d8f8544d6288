/* Workers: loop threads that run inbound sessions (inbound.h) and outbound connections (outbound.h).
 * Inbound messages go to the queue; outbound connections are told what to do by posts and answer
 * with events to a mailbox. */
#pragma once

#include "postern/inbound.h"
#include "postern/outbound.h"

struct worker_params {
	unsigned index;
	struct session_limits *limits; /* NULL: the worker counts for itself */
	struct queue *queue;
	struct log *log;
	struct mpsc *events;   /* outbound events go here (struct outbound_event); must outlive the
				  worker */
	uint32_t outbound_max; /* connections of this worker */
	uint64_t ahead_max;    /* bytes of content of this worker on its way to receivers, in
				* the process and the kernel; 0: no limit */
	uint64_t body_memory_max; /* bytes of content in memory in the whole process: over it a
				   * finished message's body is dropped and read back; inbound
				   * sessions pause */
};

struct worker;
int worker_new(struct worker **ret, const struct worker_params *p);
struct loop *worker_loop(struct worker *w);
/* Before start: accepts on fd (taken over) with p, which must live until the worker is freed. The
 * worker takes references of its own to tls and users. */
int worker_listen(struct worker *w, const struct listener_params *p, int fd,
	struct tls_context *tls, struct users *users);

/* A change of what a running worker listens to, in two steps, so that all workers change or none.
 */
struct worker_change;
/* Takes all that it may need, and nothing changes yet: clients of an added socket wait. The fds
 * that are added are the worker's from now on, also when this fails (-ENOMEM, -ESHUTDOWN …). Waits
 * for the worker, so not on its thread. */
int worker_change_new(struct worker_change **ret, struct worker *w,
	const struct inbound_socket *sockets, unsigned n);
/* Takes c; cannot fail. When it returns, new sessions begin under what was changed to. */
void worker_change_commit(struct worker_change *c);
struct worker_change *worker_change_free(
	struct worker_change *c); /* nothing has changed; NULL-safe */
int worker_start(struct worker *w);
/* Stops accepting; ends idle sessions with 421 4.3.2; lets transactions finish until the deadline
 * (ms from now). Any thread; answers by done on the worker's thread when no inbound session is
 * left. Outbound ones are the dispatcher's to end. Once in a worker's life. */
void worker_drain(struct worker *w, ms_t deadline, void (*done)(void *arg), void *arg);
/* Any thread; answered by done on the worker's thread. One at a time. */
void worker_ask_alive(struct worker *w, void (*done)(void *arg), void *arg);
/* Drops all sessions and connections, waits for the jobs they have with the queue (so the queue
 * must still be open) and stops the thread. The last events are in the mailbox then. Nobody may
 * post to the worker any more. */
struct worker *worker_free(struct worker *w);
void worker_inbound_stats(struct worker *w, struct inbound_stats *ret);	  /* any thread */
void worker_outbound_stats(struct worker *w, struct outbound_stats *ret); /* any thread */
void worker_post(struct worker *w, struct mpsc_batch *orders);		  /* any thread */
