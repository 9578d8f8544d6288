/* How much the outcomes say. A score that rises with refusals and falls with acceptances (the
 * cumulative sum of log likelihood ratios): it answers a change within a few outcomes, and at the
 * few per cent of deferrals that every receiver has it practically never gets far. The last
 * outcomes with their times are kept to compare units in the same window of time. */
#include <math.h>

#include "evidence.h"

#define HALVES 600000.0 /* ms, at the least: */
#define HALVES_GAPS                                                                                \
	16.0 /* as long as so many outcomes take, so that a quiet lane can be judged as well */
#define HALVES_MOST 21600000.0 /* ms */
#define GAP_MOST    3600000    /* ms; a night without mail is no measure */
#define COUNTED_MAX 2u
#define Z	    1.645 /* one in twenty */

static double halved(double v, ms_t age, double half_life)
{
	return age <= 0 || v <= 0 ? v : v * exp(-0.6931471805599453 * (double)age / half_life);
}

static double half_life(const struct evidence *e)
{
	double t = (double)e->gap * HALVES_GAPS;

	return t < HALVES ? HALVES : t > HALVES_MOST ? HALVES_MOST : t;
}

double evidence_score(const struct evidence *e, ms_t mono)
{
	return halved(e->score, mono - e->at, half_life(e));
}

static void decay(struct evidence *e, ms_t mono)
{
	ms_t age = mono - e->at;
	double half;

	/* the exponential is not worth its price below a second */
	if (age < 1000)
		return;
	if (e->at)
		e->gap += ((float)(age < GAP_MOST ? age : GAP_MOST) - e->gap) / 8;
	half = half_life(e);
	e->score = halved(e->score, age, half);
	e->good = halved(e->good, age, half);
	e->bad = halved(e->bad, age, half);
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

void evidence_forgive(struct evidence *e)
{
	e->score = 0;
	e->onset = 0;
	e->naccusers = 0;
}

void evidence_bad(struct evidence *e, ms_t mono, uint32_t accuser, bool alibi, double weight)
{
	decay(e, mono);
	if (e->score <= 0) {
		e->onset = mono;
		e->naccusers = 0;
	}
	if (counts(e, accuser, alibi))
		e->score += weight;
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

unsigned evidence_last(const struct evidence *e, unsigned n)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < e->n && i < n; i++)
		bad += e->bads >> ((e->next + RING - 1 - i) % RING) & 1;
	return bad;
}

ms_t evidence_reach(const struct evidence *e, unsigned n, ms_t mono)
{
	unsigned at = (e->next + RING - (n < e->n ? n : e->n)) % RING;
	ms_t since = mono - (uint32_t)((uint32_t)mono - e->when[at]);

	return e->n && since > e->onset ? since : e->onset;
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
	*good = halved(e->good, mono - e->at, half_life(e));
	*bad = halved(e->bad, mono - e->at, half_life(e));
}
