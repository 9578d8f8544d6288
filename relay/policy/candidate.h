/* Candidates of one decision: candidate.c, for choose.c. */
#pragma once

#include "cluster.h"
#include "host.h"
#include "postern/policy.h"

#define HOSTS_SEEN 32u /* candidates looked at */

/* Why nothing could be chosen. */
struct refusals {
	enum hold_reason reason;
	enum policy_limit limit;
	int rank;
	unsigned source;
	const struct cluster *cluster;
	ms_t until; /* mono; 0: none known */
	bool slot;  /* somewhere all it needs is a slot that becomes free, at any time */
};

/* What is over soonest or needs least comes first. */
int hold_rank(enum hold_reason r);
void refuse(struct refusals *f, enum hold_reason why, enum policy_limit limit, unsigned source,
	const struct cluster *c, ms_t until);
/* One source's answer among those of all. */
void refuse_as(struct refusals *f, const struct refusals *own);

/* A host that may be connected to, and what its cluster allows. */
struct candidate {
	uint8_t host;
	bool known;
	bool guessed; /* host_guessed */
	struct cluster *cluster;
	enum hold_reason gate;
	enum policy_limit limit;
	ms_t until; /* mono */
};
/* Those of the best tier, for a source of that family; for that subnet, where hosts have marks. */
struct candidates {
	uint8_t family;
	unsigned subnet;
	struct host_tier tier;
	unsigned n, start;
	struct candidate a[HOSTS_SEEN];
};

void candidates_find(struct policy *p, struct policy_now now, const struct policy_want *w,
	struct candidates *ret);
/* One that this source may connect to; -1 when none. *probe: it would be one. */
int candidates_pick(struct policy *p, struct policy_now now, const struct candidates *all,
	unsigned source, struct refusals *f, bool *probe);
