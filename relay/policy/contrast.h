/* What is refused, beside what is not: a source beside the other subnets of its pool, a tenant's
 * one subnet beside its others. Figures only; who is to blame is said by cause.c. Nothing can fail
 * but pair_bad. */
#pragma once

#include "postern/policy.h"

struct evidence;
struct slot;

struct tally {
	double good, bad; /* decayed counts */
};
struct tally tally_of(const struct evidence *e, ms_t mono);
/* How much better "these are refused at a share of their own" explains it than "like all
 * else". Log likelihood ratio; 0: no worse than all else. */
double contrast(const struct tally *v, const struct tally *all);
/* A tenant that refuses one of our subnets and takes mail from another. */
#define PAIRS 4u
struct pair {
	uint16_t subnet;
	uint8_t bad; /* refused in a row; 0: no pair */
	uint8_t rests;
	uint64_t recipient; /* a hash; that was refused last: one alone is no tenant */
	ms_t last, before;  /* mono of the last refusal, and of the one before it */
};
/* True: it had refused mail from there. */
bool pair_good(struct pair *pairs, unsigned subnet);
/* NULL: too many subnets. */
struct pair *pair_bad(struct pair *pairs, unsigned subnet, uint64_t recipient, ms_t mono);
/* Subnets other than the slot's own, in its pool: each of their sources once in next(). */
struct others {
	unsigned count;	  /* usable sources of other subnets */
	unsigned tested;  /* of them: with outcomes since the onset, counted by source */
	unsigned well;	  /* accepted, clearly better than what is asked about */
	unsigned ill;	  /* refused */
	unsigned resting; /* found sick */
	unsigned asked;	  /* of the usable: with transactions under way */
	unsigned taken;	  /* accepted from those that were refused nothing, in all */
};

void look_at_others(struct policy *p, struct policy_now now, const struct slot *s, ms_t onset,
	double worse_than, struct others *ret);
