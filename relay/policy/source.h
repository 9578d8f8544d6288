/* May a source be used at all, whatever its health and the caps? */
#pragma once

#include "postern/policy.h"

struct cluster;

enum hold_reason source_obstacle(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall);
bool source_tried(const struct policy *p, const struct policy_tried *tried, unsigned source);
/* The operator keeps it in service. */
bool pinned(const struct policy *p, const struct cluster *c, unsigned source, ms_t wall);
