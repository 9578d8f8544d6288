/* Domains that send and are refused everywhere at a provider: held, and tried by one message. */
#pragma once

#include "postern/policy.h"

struct slot;

/* What it sends is refused everywhere at the provider, by what was seen: it is held. How long, ms.
 */
ms_t sender_found(struct policy *p, struct policy_now now, const struct slot *s,
	const struct policy_tried *tried);
bool sender_held(const struct policy *p, unsigned provider, const char *domain);
/* It is held: *until wall. false: nothing can hold it. */
bool sender_refused(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct classification *c, const struct policy_tried *tried,
	ms_t *until);
bool sender_waits(struct policy *p, struct policy_now now, uint32_t slot,
	const struct policy_want *w, ms_t *until);
