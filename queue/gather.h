/* How long the writer lets a batch grow, and how it sleeps meanwhile: producers count what they
 * post, and whoever posts the last job that a full batch wants wakes the writer, so a batch costs
 * one sleep and one wake-up however many bring it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct queue;

struct gather {
	/* any thread: jobs posted since the queue was opened, counted after they are in the inbox;
	 * and at which count the writer wants to be woken, UINT64_MAX: it does not sleep here */
	atomic_uint_least64_t posted, wake_at;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken; /* under lock */

	/* the writer's own */
	uint64_t taken;			/* jobs out of the inbox */
	uint32_t active, senders;	/* who is at work: with any job, with mail */
	uint32_t last_batch, last_mail; /* jobs of the last batch, and mails among them */
	uint32_t in_vain;		/* batches for which nothing is waited on a slow disk */
	uint32_t until_probe;
	bool probing; /* this batch waits its time out */
};

void gather_init(struct gather *g, const pthread_condattr_t *monotonic);
void gather_deinit(struct gather *g);
/* Any thread, right after n jobs went into the inbox. */
void gather_posted(struct gather *g, uint64_t n);
/* The writer. Right after a commit: who is at work. Then, before the next batch, gather_batch. */
void gather_count(struct queue *q);
void gather_batch(struct queue *q);
