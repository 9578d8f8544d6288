/* The wall clock was set back: rests end no later than one that begins now. */
#pragma once

#include "postern/policy.h"

/* The end of a rest of that length, no later than one that begins now. */
ms_t clock_bounded(ms_t until, ms_t length, ms_t wall);
void clock_bound(struct policy *p, ms_t wall);
void policy_clock_tick(struct policy *p, struct policy_now now);
