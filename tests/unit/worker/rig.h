/* What the tests of the workers share: a worker with a real queue in a directory of its own, a
 * client that speaks by hand, and waiting with a deadline. */
#pragma once

#include <semaphore.h>

#include "../wait.h"
#include "peer.h"
#include "postern/worker.h"

struct rig {
	char dir[200], log_path[256];
	struct queue *queue;
	struct log *log;
	struct worker *worker;
	struct worker_params wp;
	struct queue_params qp;
	struct listener_params lp;
	struct tls_context *tls;
	struct users *users;
	uint16_t port;
	struct mpsc events;
	sem_t events_there;
	struct mpsc_node *events_taken;
};
/* Sensible parameters: tests change them before rig_start. */
void rig_init(struct rig *r);
void rig_start(struct rig *r);
void rig_stop(struct rig *r); /* also after a start; removes the directory */
/* Ends worker and log, keeps directory and queue. */
void rig_stop_worker(struct rig *r);
/* The text of the log; the caller frees. Only after rig_stop_worker. */
char *rig_log(struct rig *r);
struct inbound_stats rig_stats(struct rig *r);
uint64_t rig_waiting(struct rig *r); /* messages in the queue */
/* The content of the only message, or of the one with this id; heap. */
struct slice rig_content(struct rig *r, uint64_t id);
struct message *rig_message(struct rig *r); /* the first; a reference */
bool rig_no_loose(struct rig *r);	    /* no parts of unfinished messages; closes the queue */
