/* Token buckets. Times are mono. No memory of its own, nothing can fail. */
#pragma once

#include "postern/policy.h"

struct bucket {
	double tokens;
	ms_t at; /* mono of the last refill; 0: never used, full; -1: empty at the first use */
};
/* Takes one token of the rate. false: none; *until (mono) says when there is one. */
bool bucket_take(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until);
bool bucket_ready(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until);
/* The same, when some of what there is, is kept for others. */
bool bucket_spare(struct bucket *b, const struct rate *r, uint32_t kept, ms_t mono, ms_t *until);
/* What was used of one counts against the other, and no longer here. */
void bucket_pour(struct bucket *from, struct bucket *to, const struct rate *r, ms_t mono);
/* n more were used; may make it owe some. */
void bucket_charge(struct bucket *b, const struct rate *r, uint32_t n, ms_t mono);
/* After bucket_ready: as many of n as there are; at least one. */
uint32_t bucket_take_some(struct bucket *b, const struct rate *r, uint32_t n);
void bucket_give_back(struct bucket *b, const struct rate *r, uint32_t n);
