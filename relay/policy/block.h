/* Source × provider: refused by the provider itself. Times are wall where not said otherwise. */
#pragma once

#include "postern/policy.h"
#include "uses.h"
#include "witness.h"

struct slot;

struct block {			   /* source × provider */
	ms_t until, since, length; /* wall */
	bool told;		   /* it is a block, not a suspicion */
	struct witnesses said_by;
	uint8_t probes_good;
	ms_t good_at; /* mono; last delivery from there */
	uint32_t good_lately;
	struct uses uses; /* of the source at the provider, blocked or not */
	bool dirty, saved;
};

enum hold_reason block_gate(const struct block *b, ms_t wall, bool busy, ms_t *until);

/* A receiver refuses this source; domain NULL: a host, before it knew for whom. Blocks the source
 * at the provider when there are enough that do. */
void block_said(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, const char *domain);
bool block_good_lately(const struct block *b, ms_t mono);
void block_good(struct policy *p, struct policy_now now, struct slot *s);
/* By the operator. false: there was none. */
bool block_end(struct policy *p, struct policy_now now, unsigned provider, unsigned source);
