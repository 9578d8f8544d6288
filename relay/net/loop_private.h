/* The inside of a loop, shared by the files of this room. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "postern/loop.h"

#define WHEEL_SLOT_MS 250
#define WHEEL_SLOTS   1024u /* 256 s a turn; timers further off are passed over once a turn */
#define LOOP_READ_MAX 65536u

/* Circular lists with a loop_timer as head, so that a timer unlinks itself wherever it is: in a
 * slot or among those about to fire. */
struct wheel {
	struct loop_timer slots[WHEEL_SLOTS];
	uint64_t tick; /* slots up to this one have fired */
	unsigned armed;
	uv_timer_t timer;
};

/* Free pieces of output queues (stream_out.c), so that writing does not allocate. Bounded. */
struct out_pool {
	struct out_piece *chunks, *refs;
	unsigned nchunks, nrefs;
};

struct loop_clock {
	ms_t mono, wall;
};

struct loop {
	uv_loop_t uv;
	uv_async_t async;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t spin; /* active: the next poll does not block */
	struct wheel wheel;
	struct loop_clock *clock;
	struct loop_clock clock_store;
	struct loop_mailbox *mailboxes;
	struct loop_hook *hooks;
	atomic_bool sleeping; /* about to block or blocked: a post must wake us */
	atomic_bool stop_asked;
	bool started, stop_seen;
	void (*on_started)(void *arg);
	void *started_arg;
	void (*on_stopping)(void *arg);
	void *stopping_arg;
	uv_thread_t thread;
	char name[16];
	/* streams with something to do at the end of the iteration */
	struct stream *dirty;
	unsigned ndirty;
	struct out_pool pool;
	char read_buf[LOOP_READ_MAX];  /* what the socket gave */
	char plain_buf[LOOP_READ_MAX]; /* the same decrypted */
};

void wheel_init(struct loop *l);

/* Handles streams marked dirty before the call. True when callbacks of owners ran. */
bool streams_run(struct loop *l);
void out_pool_deinit(struct out_pool *p);
