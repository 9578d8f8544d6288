/* What is handed on from a turn: jobs for the queue's writer, and points in time to come back at.
 * Called by everything of this room, on the dispatcher's thread; calls nothing of it. Jobs gather,
 * and are posted once at the end of the turn (turn.c). */
#include "post.h"

#include <time.h>

void job_post(struct dispatch *d, struct queue_job *j, enum job_tag tag)
{
	j->tag = tag;
	j->reply_to = &d->boxes.answers.mpsc;
	d->held.jobs_out++;
	mpsc_batch_add(&d->boxes.jobs, &j->node);
}

void wake_set(struct wake_heap *h, struct wake *w, ms_t at)
{
	while (!w->pos && !wake_reserve(h, h->n + 1))
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000000 }, NULL);
	wake_put(h, w, at);
}
