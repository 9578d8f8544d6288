/* Random numbers for jitter and choice (xoshiro256**, seeded by splitmix64); never for secrets.
 * One owner a generator. */
#include "postern/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "postern/clock.h"
#include "postern/must.h"

__extension__ typedef unsigned __int128 u128;

/* splitmix64: spreads a small seed over the whole state, never all zero */
static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void rng_seed(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t rng_next(struct rng *r)
{
	uint64_t result = rotl(r->s[1] * 5, 7) * 9;
	uint64_t t = r->s[1] << 17;

	r->s[2] ^= r->s[0];
	r->s[3] ^= r->s[1];
	r->s[1] ^= r->s[2];
	r->s[0] ^= r->s[3];
	r->s[2] ^= t;
	r->s[3] = rotl(r->s[3], 45);
	return result;
}

/* Multiply-shift; the values of the low half below 2^64 mod n are drawn again, they are the bias.
 */
uint64_t rng_below(struct rng *r, uint64_t n)
{
	uint64_t reject;
	u128 m;

	must(n > 0);
	reject = -n % n;
	do
		m = (u128)rng_next(r) * n;
	while ((uint64_t)m < reject);
	return (uint64_t)(m >> 64);
}

double rng_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1.0p-53;
}

uint64_t rng_entropy(void)
{
	uint64_t v;
	ssize_t n;

	do
		n = getrandom(&v, sizeof(v), 0);
	while (n < 0 && errno == EINTR);
	/* no system call by that name (a strict sandbox): jitter is still better seeded by time */
	if (n != (ssize_t)sizeof(v))
		v = clock_mono_us() ^ ((uint64_t)clock_wall_ms() << 20);
	return v;
}
