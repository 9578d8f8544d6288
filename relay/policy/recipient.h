/* What single recipients are sent, and what they take. Owned by the policy; bounded. Times are
 * mono. What finds no memory is not counted. */
#pragma once

#include "postern/policy.h"

/* A recipient took a message. */
void recipient_took(
	struct policy *p, struct policy_now now, unsigned provider, const struct policy_tried *t);
/* It, or its receiver in its name, has had too much: of this sender alone, or of everybody. */
void recipient_refused(struct policy *p, struct policy_now now, unsigned provider,
	const struct policy_tried *t, ms_t cooldown, bool of_sender);
void recipients_sweep(struct policy *p, ms_t mono);
void recipients_free(struct policy *p);
/* Recipients for which mail waits. */
uint32_t recipients_waiting(const struct policy *p, ms_t mono);
