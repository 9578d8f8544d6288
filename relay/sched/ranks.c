/* Ranks: see the header. Called by turns.c (who is next at a host) and places.c (who looks for a
 * place first); the drivers only say which rank work has. */
#include "postern/ranks.h"

#include "postern/must.h"

/* Of one place; four times as much for each lower rank. */
static uint64_t cost(unsigned rank)
{
	return (uint64_t)1 << (2 * rank);
}

unsigned ranks_next(const struct ranks *r, unsigned of)
{
	unsigned best = RANKS;

	must(of && of < 1u << RANKS);
	for (unsigned i = 0; i < RANKS; i++)
		if ((of & 1u << i) && (best == RANKS || r->count[i] < r->count[best]))
			best = i;
	return best;
}

void ranks_join(struct ranks *r, unsigned rank)
{
	if (r->count[rank] < r->now)
		r->count[rank] = r->now;
}

void ranks_took(struct ranks *r, unsigned rank)
{
	if (r->now < r->count[rank])
		r->now = r->count[rank];
	r->count[rank] += cost(rank);
}
