/* Rates as token buckets: messages or connections in a time. Called by choose.c (may it?), slot.c
 * and txn.c (it did). Pure. */
#include "rate.h"

#define KEPT 250 /* ms until what is kept may be free again */

/* A burst of a twentieth, and all else refilled evenly: together never more than the count in any
 * period, as the receiver would count it. */
static double burst_of(const struct rate *r)
{
	return r->count >= 40 ? r->count / 20 : 1;
}

static double per_ms(const struct rate *r)
{
	return (r->count - burst_of(r) + 1) / (double)r->per;
}

static void refill(struct bucket *b, const struct rate *r, ms_t mono)
{
	double burst = burst_of(r);

	if (b->at == 0)
		b->tokens = burst;
	else if (b->at < 0) /* what was used before a restart is not known */
		b->tokens = 0;
	else if (mono > b->at)
		b->tokens += (double)(mono - b->at) * per_ms(r);
	b->at = mono > 0 ? mono : 1;
	if (b->tokens > burst)
		b->tokens = burst;
}

bool bucket_ready(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until)
{
	if (!r->count || r->per <= 0)
		return true;
	refill(b, r, mono);
	if (b->tokens >= 1)
		return true;
	*until = mono + (ms_t)((1 - b->tokens) / per_ms(r)) + 1;
	return false;
}

bool bucket_spare(struct bucket *b, const struct rate *r, uint32_t kept, ms_t mono, ms_t *until)
{
	if (!bucket_ready(b, r, mono, until))
		return false;
	if (!r->count || r->per <= 0 || b->tokens >= 1 + (double)kept)
		return true;
	*until = mono + KEPT;
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

void bucket_charge(struct bucket *b, const struct rate *r, uint32_t n, ms_t mono)
{
	if (!r->count || r->per <= 0 || !n)
		return;
	refill(b, r, mono);
	b->tokens -= n < r->count ? n : r->count;
}

void bucket_pour(struct bucket *from, struct bucket *to, const struct rate *r, ms_t mono)
{
	double used;

	if (!r->count || r->per <= 0)
		return;
	refill(from, r, mono);
	refill(to, r, mono);
	used = burst_of(r) - from->tokens;
	to->tokens -= used < r->count ? used : r->count;
	from->tokens = burst_of(r);
}
