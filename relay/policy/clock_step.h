/* The wall clock was set back: rests end no later than one that begins now. */
#pragma once

#include "postern/policy.h"

void clock_bound(struct policy *p, ms_t wall);
void policy_clock_tick(struct policy *p, struct policy_now now);
