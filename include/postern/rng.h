/* Seedable pseudo-random numbers for jitter and choice: never for secrets. Pure. */
#pragma once

#include <stdint.h>

struct rng {
	uint64_t s[4]; /* xoshiro256** state */
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n-1 without bias; n > 0 */
double rng_unit(struct rng *r);		       /* [0, 1) */
uint64_t rng_entropy(void);		       /* a seed from the system (getrandom); not pure */
