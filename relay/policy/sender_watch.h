/* Domains that send, watched since one of their messages was refused: does the sender explain it?
 * Bounded; times are mono. What finds no memory is not watched. */
#pragma once

#include "cause.h"

void sender_good(struct policy *p, unsigned provider, const char *sender, ms_t mono);
/* Does the domain that sends explain this refusal, better than something else that has this log
 * likelihood ratio? To be asked once a refusal. */

bool sender_explains(struct policy *p, struct policy_now now, const struct slot *s,
	const struct refusal *f, double otherwise);
void senders_sweep(struct policy *p, ms_t mono);
void senders_free(struct policy *p);
