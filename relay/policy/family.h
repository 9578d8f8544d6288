/* A domain that refuses IPv6, and takes mail over IPv4. */
#pragma once

#include "postern/policy.h"

struct slot;

/* family.c. True: it was for IPv6, and goes over IPv4 now. */
bool family_refused(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct classification *c, struct policy_tried *tried);
