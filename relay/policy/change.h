/* Something rests or is back. */
#pragma once

#include "health.h"

struct cluster;
struct evidence;

/* What began to rest, or came back. c NULL: not known where. */
void event_health(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, const struct health *h, enum cause cause, const struct evidence *e,
	const char *domain);
