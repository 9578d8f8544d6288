/* What happened, for the log: a ring of EVENTS_MAX; those beyond it are counted as lost. */
#pragma once

#include "health.h"
#include "postern/policy.h"

struct cluster;
struct evidence;
struct tenant;

#define EVENTS_MAX 256u

struct policy_event *event_add(
	struct policy *p, enum policy_event_kind kind, struct policy_now now);
void count_change(struct policy *p, unsigned provider, enum cause c, bool rests);
