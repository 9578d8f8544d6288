/* The mailboxes in which threads meet: many producers, one consumer, drained in batches, one
 * wake-up per batch. Nodes are embedded in the messages; posting moves ownership to the consumer.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct mpsc_node {
	struct mpsc_node *next;
};

struct mpsc {
	_Atomic(struct mpsc_node *) head; /* newest first */
	void (*wake)(void *arg); /* called by the producer that found it empty; any thread */
	void *arg;
};

void mpsc_init(struct mpsc *q, void (*wake)(void *arg), void *arg);
void mpsc_post(struct mpsc *q, struct mpsc_node *n);
/* first..last already linked by next, in order; one wake at most. */
void mpsc_post_chain(struct mpsc *q, struct mpsc_node *first, struct mpsc_node *last);
/* Consumer only: everything that waits, oldest first, linked by next; NULL if empty. */
struct mpsc_node *mpsc_take_all(struct mpsc *q);
bool mpsc_empty(const struct mpsc *q);

/* Collects nodes for one mailbox and posts them at once. */
struct mpsc_batch {
	struct mpsc_node *first, *last;
};
void mpsc_batch_add(struct mpsc_batch *b, struct mpsc_node *n);
void mpsc_batch_post(struct mpsc_batch *b, struct mpsc *q); /* leaves the batch empty */
