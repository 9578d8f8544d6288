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
#define DOUBTED	 4.5	/* it holds until less than this says so */
#define TENANTS	 4.0f	/* that refused twice in a row */
#define SURE	 14.0	/* minus log of a chance of one in a million */
#define ROW_MAX	 24u
#define OWED	 3.0f

static double again_of(const struct habit *h)
{
	return (double)(h->again_bad[0] + h->again_bad[1]);
}

static bool judged(const struct habit *h)
{
	double sum = 0;

	if (again_of(h) < (double)TENANTS)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		struct tally again = { (double)h->again_good[i], (double)h->again_bad[i] };
		struct tally all = { (double)(h->good[i] + h->again_good[i]),
			(double)(h->bad[i] + h->again_bad[i]) };

		sum += contrast(&again, &all);
	}
	return sum >= (h->holds ? DOUBTED : EXPLAINS);
}

static void halve(struct habit *h)
{
	float sum = 0;

	for (unsigned i = 0; i < 2; i++)
		sum += h->good[i] + h->bad[i] + h->again_good[i] + h->again_bad[i];
	for (unsigned i = 0; sum >= KEPT && i < 2; i++) {
		h->good[i] /= 2;
		h->bad[i] /= 2;
		h->again_good[i] /= 2;
		h->again_bad[i] /= 2;
	}
}

/* Share of the refused among those of which nothing is known. */
static float usual(const struct habit *h)
{
	float bad = h->bad[0] + h->bad[1];

	return bad > 0 ? bad / (bad + h->good[0] + h->good[1]) : 0;
}

bool habit_note(struct habit *h, ms_t wall, bool again, bool refused, bool after)
{
	bool held = h->holds;

	if (!again) {
		h->owed += usual(h);
		if (h->owed > OWED)
			h->owed = OWED;
	}
	if (refused && !h->since)
		h->since = wall;
	if (again)
		*(refused ? &h->again_bad[after] : &h->again_good[after]) += 1;
	else
		*(refused ? &h->bad[after] : &h->good[after]) += 1;
	halve(h);
	h->holds = judged(h);
	return h->holds && !held;
}

unsigned habit_chance(const struct habit *h)
{
	double bad = again_of(h) + (double)(h->bad[0] + h->bad[1]);
	double n = bad + (double)(h->good[0] + h->good[1] + h->again_good[0] + h->again_good[1]);
	unsigned row = (unsigned)(SURE / -log((bad + 0.5) / (n + 1))) + 1;

	return row < ROW_MAX ? row : ROW_MAX;
}

bool habit_explains(struct habit *h, bool again)
{
	if (!h->holds)
		return false;
	if (again)
		return true;
	if (h->owed < 1)
		return false;
	h->owed -= 1;
	return true;
}
