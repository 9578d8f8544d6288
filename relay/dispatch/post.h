/* Jobs for the queue's writer, and points in time to come back at: post.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* queue_job.tag. JOB_ASIDE: nobody waits for its answer */
enum job_tag { JOB_SETTLE = 1, JOB_OPERATION, JOB_STATE, JOB_FENCE, JOB_ASIDE };
void job_post(struct dispatch *d, struct queue_job *j,
	enum job_tag tag); /* posted at the end of the iteration */
/* As wake_put, and waits for memory if there is none: who is not woken would wait for ever. */
void wake_set(struct wake_heap *h, struct wake *w, ms_t at);
