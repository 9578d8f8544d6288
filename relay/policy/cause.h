/* Who is to blame for a refusal: the smallest thing that explains the evidence. */
#pragma once

#include "health.h"

struct cluster;
struct slot;

enum kind {
	KIND_THROTTLE, /* words about the address we come from */
	KIND_BUSY,     /* about the receiver's load */
	KIND_DOMAIN,   /* about the recipient's domain */
	KIND_UNKNOWN,  /* for a while, and no rule knows why */
	KIND_DEAD      /* no words: the connection never came up */
};
struct refusal {
	enum kind kind;
	const char *domain;
	uint64_t message, recipient;
	const struct policy_tried *tried; /* sources that refused the message before; NULL: none */
	ms_t cooldown;
	const char *sender; /* domain of the envelope sender; NULL: none */
	enum found {
		FOUND_NONE,
		FOUND_PAIR,  /* the tenant does not want this subnet, and others do */
		FOUND_SENDER /* what this domain sends is refused, and other mail is not */
	} found;
};
enum cause blame(struct policy *p, struct policy_now now, struct slot *s, struct refusal *f);
void acquit(struct policy *p, struct policy_now now, struct slot *s, const char *domain);
