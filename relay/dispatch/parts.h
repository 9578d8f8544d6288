/* What struct dispatch is made of, part by part, each with the file whose it is: other files ask that
 * file's functions. All belong to the dispatcher's one thread but where it is said. */
#pragma once

#include <pthread.h>
#include <uv.h>

#include "postern/dispatch.h"
#include "postern/list.h"
#include "postern/loop.h"

struct connection;
struct gathering;
struct party;
struct pool;
struct reader;

struct dispatch_out { /* orders to workers: connection.c */
	struct worker **workers;
	unsigned nworkers;
	struct mpsc_batch *orders; /* by worker; flushed once an iteration */
	uint32_t *load;		   /* connections by worker */
};
struct dispatch_boxes {
	struct mpsc_batch jobs; /* for the queue's writer */
	struct loop_mailbox fresh, answers, events, calls, readings_in;
};
struct dispatch_turn {
	struct loop_hook at_end;
	uv_timer_t timer, tick;
	ms_t timer_at; /* mono; 0: not armed */
	bool more;     /* the turn's slice is used up */
};
struct dispatch_fair { /* pool.c, party.c */
	struct pool **pools;
	unsigned npools, busy;	      /* busy: with mail in memory */
	struct party *parties, *last; /* all; the one asked for last */
	uint32_t charged;	      /* recipients that a party has */
};
struct dispatch_table { /* connections by number: connection.c */
	struct connection **all;
	uint32_t cap;
	uint32_t *unused, nunused;
	uint64_t seq;
};
struct dispatch_reads { /* of the due index: domain.c, intake.c, reader.c, ahead.c */
	struct reader *reader;
	struct list due, due_new;    /* domains to be read; without mail in memory */
	unsigned due_turn;	     /* which of both comes next */
	struct list due_first;	     /* the same, of domains that never had a route */
	uint32_t readings, reserved; /* under way; recipients that they may bring */
	uint32_t reserved_first;     /* of them, of domains that never had a route */
	struct list ahead;	     /* domains that wait to be looked ahead in */
	bool ahead_reading;
	ms_t ahead_at; /* mono; the next not before */
	bool missed;   /* a domain of the index is not known for lack of memory */
};
struct dispatch_routes {   /* route.c, unrouted.c, hostname.c */
	struct list asked; /* domains whose look-up is under way, the oldest first */
	uint32_t unrouted; /* recipients in memory of domains that never had a route */
	uint32_t nput_off;
	bool newest_first;
	uint32_t renewing;    /* renewals under way */
	uint32_t names_asked; /* PTR look-ups under way */
};
struct dispatch_told {	       /* notifications that wait for company: notify.c */
	struct gathering *all; /* by message */
	struct list by_age;
	uint32_t n; /* recipients in them */
};
struct dispatch_held { /* recipients in memory, and what is under way */
	uint32_t work, in_flight, jobs_out, stalled;
	uint32_t peak; /* of work, since memory was given back last */
};
struct dispatch_life {		       /* drain and stop: dispatch.c */
	bool started, quiet, stopping; /* quiet: no more orders */
	void (*drained)(void *arg),
		(*drain_asked)(void *arg); /* the second: from the asking thread */
	void *drained_arg;
	ms_t by; /* mono; the drain ends */
	struct queue_job fence;
	struct dispatch_call drain_call, stop_call;
	bool stop_told;
	uv_sem_t stopped;
};
struct dispatch_shown {	      /* counts, for other threads */
	pthread_mutex_t lock; /* of the snapshot */
	struct dispatch_stats snapshot;
	ms_t at;
};
struct dispatch_clock { /* clock_step.c, watch.c */
	ms_t recall_at; /* wall; an operator's retry of all, while it matters: recall.c; 0: none */
	uint64_t recall_most; /* recipients that waited then */
	ms_t saved_at, swept_at;
	ms_t mono, wall;  /* at the last tick */
	ms_t due_longest; /* nothing is deferred for longer */
	ms_t up_since;	  /* wall */
	bool reader_told; /* watch.c */
};
struct dispatch_backlog { /* the round of counting under way: backlog.c */
	uint64_t *counts; /* by provider, then pool; NULL: none */
	uint32_t round;
	ms_t at;
};
