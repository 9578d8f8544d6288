/* Wall and mono time beside each other. Rests, blocks and suspensions are kept in wall time, because
 * they are saved over restarts; pacing and evidence in mono time. */
#pragma once

#include "postern/policy.h"

#define FOR_EVER INT64_MAX

/* The monotonic time of a wall time that is to come; now, when it has come. */
static inline ms_t mono_at(struct policy_now now, ms_t wall)
{
	return wall > now.wall ? now.mono + (wall - now.wall) : now.mono;
}
