/* How much the outcomes say. A score that rises with refusals and falls with acceptances (the
 * cumulative sum of log likelihood ratios): it answers a change within a few outcomes, and at the
 * few per cent of deferrals that every receiver has it practically never gets far. The last
 * outcomes with their times are kept to compare units in the same window of time. */
#include <math.h>

#include "state.h"

#define SCORE_HALVES 600000.0
#define COUNT_HALVES 600000.0
#define COUNTED_MAX  2u
#define Z	     1.645 /* one in twenty */

static double halved(double v, ms_t age, double half_life)
{
	return age <= 0 || v <= 0 ? v : v * exp(-0.6931471805599453 * (double)age / half_life);
}

double evidence_score(const struct evidence *e, ms_t mono)
{
	return halved(e->score, mono - e->at, SCORE_HALVES);
}

static void decay(struct evidence *e, ms_t mono)
{
	ms_t age = mono - e->at;

	/* the exponential is not worth its price below a second */
	if (age < 1000)
		return;
	e->score = halved(e->score, age, SCORE_HALVES);
	e->good = halved(e->good, age, COUNT_HALVES);
	e->bad = halved(e->bad, age, COUNT_HALVES);
	e->at = mono;
}

void evidence_note(struct evidence *e, ms_t mono, bool bad)
{
	decay(e, mono);
	e->when[e->next] = (uint32_t)mono;
	e->bads = (uint16_t)(bad ? e->bads | 1u << e->next : e->bads & ~(1u << e->next));
	e->next = (uint8_t)((e->next + 1) % RING);
	if (e->n < RING)
		e->n++;
	*(bad ? &e->bad : &e->good) += 1;
}

static bool counts(struct evidence *e, uint32_t accuser, bool alibi)
{
	if (!accuser)
		return true;
	for (unsigned i = 0; i < e->naccusers; i++)
		if (e->accuser[i] == accuser)
			return e->counted[i]++ < COUNTED_MAX || alibi;
	if (e->naccusers < ACCUSERS) {
		e->accuser[e->naccusers] = accuser;
		e->counted[e->naccusers++] = 1;
	}
	return true;
}

static void evidence_forgive(struct evidence *e)
{
	e->score = 0;
	e->onset = 0;
	e->naccusers = 0;
}

void evidence_bad(struct evidence *e, ms_t mono, uint32_t accuser, bool alibi)
{
	evidence_note(e, mono, true);
	if (e->score <= 0) {
		e->onset = mono;
		e->naccusers = 0;
	}
	if (counts(e, accuser, alibi))
		e->score += SCORE_BAD;
	if (e->score > SCORE_MAX)
		e->score = SCORE_MAX;
}

void evidence_take_back(struct evidence *e)
{
	if (e->score > SCORE_BAD)
		e->score -= SCORE_BAD;
	else
		evidence_forgive(e);
}

void evidence_good(struct evidence *e, ms_t mono)
{
	evidence_note(e, mono, false);
	if (e->score > SCORE_GOOD) {
		e->score -= SCORE_GOOD;
		return;
	}
	evidence_forgive(e);
}

void evidence_clear(struct evidence *e)
{
	evidence_forgive(e);
	e->n = 0;
}

void evidence_since(const struct evidence *e, ms_t since, unsigned *good, unsigned *bad)
{
	*good = *bad = 0;
	for (unsigned i = 0; i < e->n; i++) {
		unsigned at = (e->next + RING - 1 - i) % RING;

		if ((int32_t)(e->when[at] - (uint32_t)since) < 0)
			break;
		*(e->bads >> at & 1 ? bad : good) += 1;
	}
}

static void wilson(unsigned part, unsigned n, double *low, double *high)
{
	double share = n ? (double)part / n : 0, zz = Z * Z, middle, half;

	if (!n) {
		*low = 0;
		*high = 1;
		return;
	}
	middle = (share + zz / (2 * n)) / (1 + zz / n);
	half = Z * sqrt(share * (1 - share) / n + zz / (4.0 * n * n)) / (1 + zz / n);
	*low = middle - half;
	*high = middle + half;
}

double wilson_low(unsigned part, unsigned n)
{
	double low, high;

	wilson(part, n, &low, &high);
	return low;
}

double wilson_high(unsigned part, unsigned n)
{
	double low, high;

	wilson(part, n, &low, &high);
	return high;
}

void evidence_decayed(const struct evidence *e, ms_t mono, double *good, double *bad)
{
	*good = halved(e->good, mono - e->at, COUNT_HALVES);
	*bad = halved(e->bad, mono - e->at, COUNT_HALVES);
}
