/* See pace.h. Called for each message by admit.c, choose.c and cause.c, on the dispatcher's thread.
 *
 * The receiver is taken to count what it accepted in a minute that slides. So after a refusal
 * nothing goes until less than the rate was accepted in the last minute, and then in even steps.
 * The rate is a little under what was accepted in the minute before the refusal; it stays there for
 * a minute, for two when the next test ends at the same ceiling, then four, and so on: a limit that
 * is well known is met seldom. Growth is slow up to the ceiling and grows itself beyond it, because
 * a limit that no longer holds should be left soon. */

#include <math.h>

#include "pace.h"
#include "policy_impl.h"
#include "postern/policy.h"

#define SLOT	    2500
#define MINUTE	    60000
#define UNDER	    0.94 /* of what was accepted */
#define ENOUGH	    3	 /* accepted in the last minute: fewer are no measure of a rate */
#define NEAR	    0.8	 /* of the ceiling */
#define SAME	    0.2	 /* ceilings this close are one */
#define HOLD	    60000
#define UNSURE_HOLD 15000 /* after the first refusal */
#define HOLD_STEPS  5u
#define GROWTH	    0.0012 /* a second, below the ceiling */
#define BEYOND	    0.01   /* above it, where nobody refused, and while it was met once only */
#define FORGET	    3.0	   /* times the ceiling: it is none */
#define FRESH	    15000  /* ms for which having kept mail waiting counts as being used */
#define BURST	    1500   /* ms worth of messages that may go at once */
#define DEAF	    300000
#define DISPROVED   30000
#define NOISY	    3u	/* times that make it longer */
#define LEAST	    0.5 /* messages a minute */
#define MET_FIRST   4u	/* of the last eight: a limit is found; */
#define MET_LONG    7	/* of the last 32, as well */
#define FEW_LONG    14u /* refusals of the last 32 that may be noise; */
#define MET_AGAIN   2u	/* of the last eight: it is met again */
#define IN_A_ROW    2u	/* refusals without anything accepted: it is far less */
#define OVER	    2u	/* accepted beyond a rate: it is no limit */
#define FAILED	    4u	/* refused beyond it: it is one */
#define FIRST_TEST  2000
#define FEW_DEAF    5u /* and where it was noise before */

/* Refusals of the last n outcomes. */
static unsigned refusals_of(const struct pace *p, unsigned n)
{
	unsigned sum = 0;

	for (uint32_t r = n < 32 ? p->ring & ((1u << n) - 1) : p->ring; r; r &= r - 1)
		sum++;
	return sum;
}

static unsigned refusals(const struct pace *p)
{
	return refusals_of(p, 8);
}

/* Are these more than now and then? Near a limit that is known, two are. */
static bool many(const struct pace *p, double accepted)
{
	if (p->rate > 0 && accepted >= NEAR * p->ceiling && refusals(p) >= MET_AGAIN)
		return true;
	return refusals(p) >= MET_FIRST || refusals_of(p, 32) >= MET_LONG;
}

static void remember(struct pace *p, bool refused)
{
	p->ring = p->ring << 1 | refused;
}

static void slide(struct pace *p, ms_t mono)
{
	int64_t slot = mono / SLOT;

	if (slot <= p->newest)
		return;
	if (slot - p->newest >= (int64_t)PACE_SLOTS)
		for (unsigned i = 0; i < PACE_SLOTS; i++)
			p->taken[i] = 0;
	else
		while (p->newest < slot)
			p->taken[++p->newest % PACE_SLOTS] = 0;
	p->newest = slot;
}

double pace_minute(struct pace *p, ms_t mono)
{
	double sum = 0, part;

	slide(p, mono);
	for (unsigned i = 0; i < PACE_SLOTS; i++)
		sum += p->taken[i];
	/* the oldest slot lies in the last minute in part */
	part = (double)(mono - p->newest * SLOT) / SLOT;
	return sum - part * p->taken[(p->newest + 1) % PACE_SLOTS];
}

/* How long until the oldest that was accepted leaves the last minute. */
static ms_t oldest_leaves(const struct pace *p, ms_t mono)
{
	for (unsigned i = 1; i <= PACE_SLOTS; i++) {
		int64_t slot = p->newest + i;

		if (p->taken[slot % PACE_SLOTS])
			return (slot - PACE_SLOTS + 1) * SLOT + MINUTE - mono;
	}
	return 0;
}

static void forget(struct pace *p)
{
	p->rate = p->ceiling = p->last = 0;
	p->confirmed = p->lower = p->runs = p->over = 0;
	p->dirty = true;
}

/* Refusals come at any rate: for a while it takes more of them to be believed again. */
static void call_it_noise(struct pace *p, ms_t mono, ms_t first)
{
	p->deaf = mono + (first << p->noise);
	if (p->noise < NOISY)
		p->noise++;
	forget(p);
}

void pace_accepted(struct pace *p, ms_t mono, uint32_t n)
{
	uint16_t *now;

	if (p->testing && ++p->over >= OVER)
		call_it_noise(p, mono, DISPROVED);
	/* of a limit that is met each one is refused: the next says whether this was luck */
	if (p->testing)
		p->test = mono;
	p->testing = false;
	slide(p, mono);
	now = &p->taken[p->newest % PACE_SLOTS];
	*now = (uint16_t)(n + *now < UINT16_MAX ? n + *now : UINT16_MAX);
	p->runs = 0;
	remember(p, false);
}

/* ---- growth ---- */

static void grow(struct pace *p, ms_t mono)
{
	double seconds = (double)(mono - p->grown) / 1000, growth;

	if (mono <= p->grown)
		return;
	p->grown = mono;
	/* a rate that nobody needs proves nothing */
	if (mono < p->hold || mono - p->bound > FRESH)
		return;
	if (seconds > 5)
		seconds = 5;
	growth = p->rate > p->ceiling || !p->confirmed ? BEYOND : GROWTH;
	p->rate *= (float)(1 + seconds * growth);
	if (p->rate > p->ceiling * (1 + SAME) && pace_minute(p, mono) > p->ceiling * (1 + SAME)) {
		p->ceiling = (float)pace_minute(p, mono);
		p->confirmed = 0;
		p->test = mono + MINUTE;
		p->gap = MINUTE;
	}
	if (p->last > 0 && p->rate > p->last * FORGET)
		forget(p);
}

/* A limit that was met once, and all that was accepted before is still in the receiver's minute:
 * one more that is accepted shows that it was none. */
static bool may_test(struct pace *p, ms_t mono)
{
	return !p->confirmed && pace_minute(p, mono) > p->ceiling - 0.5;
}

bool pace_ready(struct pace *p, ms_t mono, uint32_t pending, ms_t *until)
{
	double most;

	if (p->rate <= 0)
		return true;
	grow(p, mono);
	most = p->rate < 1 ? 1 : p->rate;
	if (pace_minute(p, mono) + pending + 1 > most + 0.5) {
		ms_t wait = pending ? 0 : oldest_leaves(p, mono);

		p->bound = mono;
		if (!pending && may_test(p, mono)) {
			if (p->test <= mono)
				return true;
			if (wait > p->test - mono)
				wait = p->test - mono;
		}
		*until = mono + (wait > 100 ? wait : 100);
		return false;
	}
	if (p->next <= mono)
		return true;
	p->bound = mono;
	*until = p->next;
	return false;
}

void pace_take(struct pace *p, ms_t mono, uint32_t n)
{
	double step;

	if (p->rate <= 0)
		return;
	if (p->test <= mono && may_test(p, mono)) {
		p->testing = true;
		p->test = mono + p->gap;
		p->gap *= 2;
	}
	if (p->testing)
		return;
	step = MINUTE / (double)p->rate;
	if (p->next < mono - BURST)
		p->next = mono - BURST;
	p->next += (ms_t)(step * n);
	/* one at a time, however long a step is */
	if (p->next < mono && step > BURST)
		p->next = mono + (ms_t)step;
}

void pace_give_back(struct pace *p, uint32_t n)
{
	if (p->rate > 0 && !p->testing)
		p->next -= (ms_t)(MINUTE / (double)p->rate * n);
	p->testing = false;
}

/* ---- refusals ---- */

static void believe(struct pace *p, struct policy_now now, double accepted)
{
	bool same = p->ceiling > 0 && fabs(accepted - p->ceiling) <= SAME * p->ceiling;

	if (same) {
		p->ceiling = (float)(0.7 * p->ceiling + 0.3 * accepted);
		if (p->confirmed < UINT8_MAX)
			p->confirmed++;
	} else {
		p->ceiling = (float)accepted;
		p->confirmed = 0;
		p->found = now.wall;
	}
	p->tested = now.wall;
	p->dirty = true;
}

static void hold(struct pace *p, ms_t mono)
{
	unsigned steps = p->confirmed < HOLD_STEPS ? p->confirmed : HOLD_STEPS;

	p->hold = mono + (p->confirmed ? (ms_t)HOLD << (steps - 1) : UNSURE_HOLD);
	p->grown = mono;
	p->bound = mono;
	p->next = mono;
	p->over = p->failed = 0;
	p->test = mono + FIRST_TEST;
	p->gap = 2 * FIRST_TEST;
}

/* Refused again and again, less each time, and hardly ever: it does not hang on the rate. */
static bool is_noise(struct pace *p, ms_t mono, double accepted)
{
	if (p->deaf > mono && refusals(p) <= FEW_DEAF)
		return true;
	p->lower = p->last > 0 && accepted < p->last * (UNDER + 0.02) ? (uint8_t)(p->lower + 1) : 0;
	if (p->lower < 2 || refusals_of(p, 32) > FEW_LONG)
		return false;
	call_it_noise(p, mono, DEAF);
	return true;
}

static void cut(struct pace *p, struct policy_now now, double accepted)
{
	double rate = UNDER * accepted;

	if (!p->runs)
		believe(p, now, accepted);
	else if (p->runs >= IN_A_ROW &&
		 p->rate > 0) /* what was accepted before that is no measure */
		rate = 0.6 * (p->rate < accepted ? (double)p->rate : accepted);
	if (p->runs < UINT8_MAX)
		p->runs++;
	p->rate = (float)(rate < LEAST ? LEAST : rate);
	p->last = (float)accepted;
	hold(p, now.mono);
}

enum pace_finding pace_refused(struct pace *p, struct policy_now now, ms_t sent)
{
	double accepted = pace_minute(p, now.mono);

	remember(p, true);
	if (p->testing) {
		p->testing = false;
		p->confirmed = ++p->failed >= FAILED;
		return PACE_SAME;
	}
	if (p->cut && sent <= p->cut)
		return p->rate > 0 ? PACE_SAME : PACE_UNRELATED;
	/* one alone is no limit, nor its end */
	if (!many(p, accepted))
		return p->rate > 0 ? PACE_SAME : PACE_UNRELATED;
	if (accepted < ENOUGH) {
		if (p->rate > 0 && p->runs++) {
			p->rate = (float)(p->rate / 2 > LEAST ? p->rate / 2 : LEAST);
			p->cut = now.mono;
		}
		return PACE_UNRELATED;
	}
	if (is_noise(p, now.mono, accepted))
		return PACE_NOISE;
	cut(p, now, accepted);
	p->cut = now.mono;
	return PACE_LIMIT;
}

void pace_excuse(struct pace *p)
{
	if (p->confirmed) {
		p->rate = (float)(UNDER * p->ceiling);
		p->runs = 0;
	} else if (p->rate > 0) {
		forget(p);
	}
	p->cut = 0;
}

void pace_suspect(struct pace *p, struct policy_now now)
{
	double accepted = pace_minute(p, now.mono);

	pace_excuse(p);
	if (p->rate > 0 || accepted < ENOUGH)
		return;
	p->ceiling = p->last = (float)accepted;
	p->rate = (float)(UNDER * accepted);
	p->found = p->tested = now.wall;
	p->dirty = true;
	hold(p, now.mono);
}

void pace_retract(struct pace *p, ms_t since)
{
	if (p->rate > 0 && p->found >= since)
		forget(p);
	else
		pace_excuse(p);
	p->cut = 0;
}

void pace_load(struct pace *p, double rate, double ceiling, ms_t found, ms_t tested)
{
	if (!(rate > 0) || !(ceiling > 0) || rate > 1e6 || ceiling > 1e6)
		return;
	p->rate = (float)(rate < LEAST ? LEAST : rate);
	p->ceiling = (float)ceiling;
	p->last = (float)ceiling;
	p->confirmed = 1;
	p->found = found;
	p->tested = tested;
}
