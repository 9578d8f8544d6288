/* What a worker's two files share: how others reach it. All of it belongs to the worker's own
 * thread, but for the mailbox. */
#pragma once

#include <semaphore.h>

#include "postern/worker.h"

enum control_kind {
	CONTROL_LISTEN,
	CONTROL_PREPARE,
	CONTROL_COMMIT,
	CONTROL_ABANDON,
	CONTROL_ALIVE,
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

struct worker {
	struct worker_params p;
	struct loop *loop;
	bool started;
	struct inbound *inbound;
	struct outbound *outbound;
	struct loop_mailbox control;
	struct loop_hook at_end; /* what is posted once an iteration */
	struct session_limits *own_limits;

	struct loop_timer drain_timer;
	struct control *drain;			    /* waits for the last session */
	struct control drain_request, stop_request; /* ending must not depend on memory */
	struct control alive_request;
	bool stopping;
	sem_t stopped;
};

void worker_ask(struct worker *w, struct control *c); /* any thread */

/* ---- worker_change.c ---- */
void change_on_worker(struct worker *w, struct control *c);
