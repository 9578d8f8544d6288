/* What a worker's parts share. All of it belongs to the worker's own thread, but for the mailboxes
 * and what is atomic. */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>

#include "limits.h"
#include "postern/log.h"
#include "postern/worker.h"

struct session;
struct connection;

enum control_kind {
	CONTROL_LISTEN,
	CONTROL_PREPARE,
	CONTROL_COMMIT,
	CONTROL_ABANDON,
	CONTROL_DRAIN,
	CONTROL_STOP
};
struct worker_change;

/* What other threads ask of a worker. */
struct control {
	struct mpsc_node node;
	enum control_kind kind;
	bool embedded; /* in the worker: not to be freed */
	int fd;	       /* LISTEN */
	const struct listener_params *p;
	struct tls_context *tls;
	struct users *users;
	struct worker_change *change; /* PREPARE, COMMIT, ABANDON */
	ms_t deadline;		      /* DRAIN */
	void (*done)(void *arg);
	void *arg;
};

/* A listening socket (or several) with one set of parameters, and the sessions that came in by it.
 */
struct inbound_listener {
	struct inbound_listener *prev, *next;
	struct worker *w;
	const struct listener_params *p;
	struct tls_context *tls;
	struct users *users;
	struct reject_counts *rejects; /* of the limits; NULL: too many listeners to count */
	struct listener *socket;       /* NULL: stopped, or another has it now */
	int fd;			       /* its descriptor: tells it apart */
	uint32_t sessions;	    /* alive, also those that wait for an answer after their end */
	bool removed;		    /* freed with its last session */
	void (*release)(void *arg); /* then: p may go; NULL: nobody wants to know */
	void *arg;
};

/* Each is written by the worker's thread alone, read by any. */
struct inbound_counters {
	atomic_uint_least64_t sessions, sessions_refused, messages, recipients, bytes,
		rejected_messages, auth_failures, tls_sessions;
	atomic_uint open;
};

enum { BODY_READ = 16 * BODY_CHUNK };

struct worker {
	struct worker_params p;
	struct loop *loop;
	bool started;
	struct loop_mailbox control, answers, orders;
	struct session_limits *own_limits;

	/* What is posted once an iteration. */
	struct loop_hook at_end;
	struct mpsc_batch jobs, events;
	struct buf out; /* replies and commands under construction; empty between callbacks */
	struct log_line line;

	struct inbound_listener *listeners;
	struct session *sessions;
	uint32_t live;		      /* sessions, also those that only wait for answers */
	uint64_t session_count;	      /* numbers given out */
	struct session *starved;      /* sessions that wait for body memory, the longest first */
	ms_t closings_since;	      /* mono */
	uint32_t closings;	      /* since then, that linger */
	struct session *strangers;    /* not proven, the longest silent first */
	struct session *auth_waiting; /* passwords that wait to be looked at */
	ms_t relieved;		      /* mono: the last look for silent holders of content */
	uv_timer_t starved_timer;
	unsigned starved_ticks;
	struct inbound_counters count;
	/* Refused sessions are told in the log once in a while, with their number. */
	ms_t refusals_told;
	uint64_t refusals;

	bool draining;
	struct loop_timer drain_timer;
	struct control *drain;			    /* waits for the last session */
	struct control drain_request, stop_request; /* ending must not depend on memory */
	bool stopping;
	sem_t stopped;

	struct connection *connections; /* uthash by number */
	struct {
		atomic_uint_least64_t reserved, waiting;
		struct connection *line; /* wait for room, the longest first */
		struct loop_timer timer;
	} ahead; /* outbound_ahead.c */
	uint32_t nconnections;
	/* The content bytes read last from the queue, so that a look before MAIL is not repeated
	 * for the body. */
	struct {
		uint64_t id, offset;
		size_t n;
		bool valid;
		char bytes[BODY_READ];
	} read;
};

/* Single writer: no locked instruction needed. */
static inline void count_add(atomic_uint_least64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ---- worker.c ---- */
void worker_post_job(struct worker *w, struct queue_job *job); /* with the iteration's others */
void worker_post_event(struct worker *w, struct outbound_event *e);
void worker_session_gone(struct worker *w); /* a session was freed: may complete drain and stop */

void worker_ask(struct worker *w, struct control *c);	  /* any thread */
void worker_close_listener(struct inbound_listener *ln);  /* accepts no more */
void worker_delete_listener(struct inbound_listener *ln); /* without sessions */

/* ---- worker_change.c ---- */
void change_on_worker(struct worker *w, struct control *c);

/* ---- inbound.c ---- */
void inbound_accepted(void *arg, int fd, const struct addr *peer, uint16_t port);
void inbound_answers(void *arg, struct mpsc_node *first);
void inbound_drain(struct worker *w);			   /* ends idle sessions */
void inbound_end_all(struct worker *w, const char *reply); /* ends all */
void inbound_listener_unref(struct inbound_listener *ln);  /* a session of it is gone */

/* ---- outbound.c ---- */
void outbound_orders(void *arg, struct mpsc_node *first);
void outbound_end_all(struct worker *w);
