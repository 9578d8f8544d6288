/* Recipients that are not there: waves at one recipient domain, and shares of one client's mail.
 * Owned by the policy; bounded. */
#pragma once

#include "postern/policy.h"

/* One recipient's outcome: taken, or not known there. */
void unknown_note(struct policy *p, struct policy_now now, unsigned provider, const char *domain,
	const char *client, bool unknown);
/* Once a minute: alarms end, and what was quiet for long is forgotten. */
void unknown_sweep(struct policy *p, struct policy_now now);
/* Domains and clients with that alarm. */
uint32_t unknown_high(const struct policy *p);
void unknown_free(struct policy *p);
