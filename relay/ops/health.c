/* Is the service well? By what was really answered lately, not by what should have been. Called by
 * HTTP, the control socket and the page, on their threads. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "postern/ops.h"

#define LATELY_MS 10000u
#define READER_MS 5000u /* one that lasts longer is named as a cause */

static void say_full(const struct queue_stats *s, char *why, size_t max)
{
	if (s->reader_ms > READER_MS)
		snprintf(why, max,
			"new mail is refused with 452: process %d has been reading the queue's "
			"file for "
			"%llu s and keeps the space that was freed since (%llu of %llu bytes are "
			"in "
			"use): continue it or end it",
			s->reader_pid, (unsigned long long)s->reader_ms / 1000,
			(unsigned long long)s->bytes_used, (unsigned long long)s->bytes_max);
	else
		snprintf(why, max,
			"the queue is full (%llu of %llu bytes): new mail is refused with 452; "
			"free disk space or raise queue max_size",
			(unsigned long long)s->bytes_used, (unsigned long long)s->bytes_max);
}

bool health_full(const struct queue_stats *s)
{
	return s->full || (s->refused_error == -ENOSPC && s->refused_ago_ms < LATELY_MS);
}

int health_check(const struct ops_context *ctx, char *why, size_t why_max)
{
	struct queue_stats s;

	queue_stats(ctx->queue, &s);
	if (health_full(&s)) {
		say_full(&s, why, why_max);
		return 1;
	}
	if (s.refused_error && s.refused_ago_ms < LATELY_MS) {
		snprintf(why, why_max,
			"new mail could not be stored %llu s ago and was refused for now: %s; the "
			"log "
			"and the disk tell more",
			(unsigned long long)s.refused_ago_ms / 1000, strerror(-s.refused_error));
		return 1;
	}
	return 0;
}
