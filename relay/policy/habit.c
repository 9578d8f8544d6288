/* See habit.h. Called by cause.c for each outcome that is a tenant's.
 *
 * That some tenants mind a subnet looks like a limit or like noise as long as each was met once: a
 * third is refused. What tells them apart is the second message, since a limit does not know who
 * was refused before. Counted by trials, not by the clock, so quiet paths find it as well. */
#include <math.h>

#include "contrast.h"
#include "habit.h"

#define KEPT	 256.0f /* outcomes; then all count half */
#define EXPLAINS 9.0	/* log likelihood ratio */
#define TENANTS	 4.0f	/* that refused twice in a row */
#define SURE	 14.0	/* minus log of a chance of one in a million */
#define ROW_MAX	 24u
#define OWED	 3.0f

void habit_note(struct habit *h, bool again, bool refused, bool after)
{
	if (!again && h->bad > 0) {
		h->owed += h->bad / (h->bad + h->good);
		if (h->owed > OWED)
			h->owed = OWED;
	}
	if (after)
		return;
	if (again)
		*(refused ? &h->again_bad : &h->again_good) += 1;
	else
		*(refused ? &h->bad : &h->good) += 1;
	if (h->good + h->bad + h->again_good + h->again_bad < KEPT)
		return;
	h->good /= 2;
	h->bad /= 2;
	h->again_good /= 2;
	h->again_bad /= 2;
}

bool habit_holds(const struct habit *h)
{
	struct tally again = { (double)h->again_good, (double)h->again_bad };
	struct tally all = { (double)(h->good + h->again_good), (double)(h->bad + h->again_bad) };

	return h->again_bad >= TENANTS && contrast(&again, &all) >= EXPLAINS;
}

unsigned habit_chance(const struct habit *h)
{
	double bad = (double)(h->bad + h->again_bad), n = (double)(h->good + h->again_good) + bad;
	unsigned row = (unsigned)(SURE / -log((bad + 0.5) / (n + 1))) + 1;

	return row < ROW_MAX ? row : ROW_MAX;
}

bool habit_explains(struct habit *h, bool again)
{
	if (!habit_holds(h))
		return false;
	if (again)
		return true;
	if (h->owed < 1)
		return false;
	h->owed -= 1;
	return true;
}
