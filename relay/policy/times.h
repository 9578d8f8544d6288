/* Wall and mono time beside each other. Rests, blocks and suspensions are kept in wall time, because
 * they are saved over restarts; pacing and evidence in mono time. */
#pragma once

#include "postern/policy.h"

#define FOR_EVER INT64_MAX

/* The end of a rest of that length, no later than one that begins now: one may be drawn up to a tenth
 * longer than its length. */
static inline ms_t clock_bounded(ms_t until, ms_t length, ms_t wall)
{
	return until - wall > length + length / 10 ? wall + length : until;
}
/* The monotonic time of a wall time that is to come; now, when it has come. */
static inline ms_t mono_at(struct policy_now now, ms_t wall)
{
	return wall > now.wall ? now.mono + (wall - now.wall) : now.mono;
}
/* The same of a time that may be none. */
static inline ms_t mono_if(struct policy_now now, ms_t wall)
{
	return wall ? mono_at(now, wall) : 0;
}
