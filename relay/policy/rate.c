/* Rates as token buckets. */
#include "state.h"

/* A burst of a twentieth, and the rest refilled evenly: together never more than the count in any
 * period, as the receiver would count it. */
static double burst_of(const struct rate *r)
{
	return r->count >= 40 ? r->count / 20 : 1;
}

bool bucket_ready(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until)
{
	double burst, per_ms;

	if (!r->count || r->per <= 0)
		return true;
	burst = burst_of(r);
	per_ms = (r->count - burst + 1) / (double)r->per;
	if (b->at == 0)
		b->tokens = burst;
	else if (b->at < 0 && !b->charged) /* what was used before a restart is not known */
		b->tokens = 0;
	else if (b->at > 0 && !b->charged && mono > b->at)
		b->tokens += (double)(mono - b->at) * per_ms;
	b->charged = false;
	b->at = mono > 0 ? mono : 1;
	if (b->tokens > burst)
		b->tokens = burst;
	if (b->tokens >= 1)
		return true;
	*until = mono + (ms_t)((1 - b->tokens) / per_ms) + 1;
	return false;
}

bool bucket_take(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until)
{
	if (!bucket_ready(b, r, mono, until))
		return false;
	if (r->count)
		b->tokens -= 1;
	return true;
}

uint32_t bucket_take_some(struct bucket *b, const struct rate *r, uint32_t n)
{
	if (!r->count)
		return n;
	if (b->tokens < n)
		n = b->tokens >= 1 ? (uint32_t)b->tokens : 1;
	b->tokens -= n;
	return n;
}

void bucket_give_back(struct bucket *b, const struct rate *r, uint32_t n)
{
	if (r->count)
		b->tokens += n;
}

void bucket_charge(struct bucket *b, const struct rate *r, uint32_t n)
{
	if (!r->count || !n)
		return;
	if (b->at == 0) {
		b->tokens = burst_of(r);
		b->at = 1; /* the first use sees a full bucket, less this */
		b->charged = true;
	} else if (b->at < 0 && !b->charged) {
		b->tokens = 0; /* an empty one, less this */
		b->charged = true;
	}
	b->tokens -= n < r->count ? n : r->count;
}
