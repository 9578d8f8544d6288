/* A loop thread: a libuv loop with mailboxes and a cached clock. All other functions of relay/net
 * are called on the loop's own thread unless they say otherwise. */
#pragma once

#include <uv.h>

#include "postern/clock.h"
#include "postern/mpsc.h"

struct loop;
int loop_new(struct loop **ret, const char *thread_name);
/* Starts the thread. started (may be NULL) runs on it first. */
int loop_start(struct loop *l, void (*started)(void *arg), void *arg);
/* Asks the loop to end once its handles are closed, and waits for the thread. stopping (may be
 * NULL) runs on the loop's thread and must close what its rooms opened. Not on the loop's own
 * thread. */
void loop_stop(struct loop *l, void (*stopping)(void *arg), void *arg);
struct loop *loop_free(struct loop *l);
uv_loop_t *loop_uv(struct loop *l);
ms_t loop_mono(const struct loop *l); /* cached by iteration */
ms_t loop_wall(const struct loop *l); /* the same, Unix time */

/* A mailbox that wakes this loop: deliver runs on the loop's thread with everything that waits
 * (oldest first, linked by next). One uv_async for all mailboxes of a loop. Before loop_start. */
struct loop_mailbox {
	struct mpsc mpsc;
	struct loop_mailbox *next;
	void (*deliver)(void *arg, struct mpsc_node *first);
	void *arg;
	struct loop *loop;
};
void loop_mailbox_add(struct loop *l, struct loop_mailbox *m,
	void (*deliver)(void *arg, struct mpsc_node *first), void *arg);

/* Runs at the end of each loop iteration (after I/O callbacks), for what is done once a batch.
 * Before loop_start or on the loop's thread. */
struct loop_hook {
	struct loop_hook *next;
	void (*fn)(void *arg);
	void *arg;
};
void loop_at_end(struct loop *l, struct loop_hook *h, void (*fn)(void *arg), void *arg);

/* Coarse timers for sessions: a wheel with 250 ms slots, so that arming one per phase costs no heap
 * work and no system call. Fires within one slot after its time. */
struct loop_timer {
	struct loop_timer *prev, *next;
	ms_t at; /* mono; 0 when not armed */
	void (*fn)(void *arg);
	void *arg;
};
void loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg);
void loop_timer_arm(struct loop *l, struct loop_timer *t, ms_t delay);
void loop_timer_disarm(struct loop *l, struct loop_timer *t);
