/* Alarms about a provider: the share of deferrals, and how many of its clusters defer. mono: ms. */
#pragma once

#include "postern/policy.h"

void provider_outcome(struct policy *p, unsigned provider, bool deferred, uint32_t n, ms_t mono);
void alarms_watch(struct policy *p, struct policy_now now);
