/* What a day of a ramp has earned, and why, in words. Asked by ramp.c when a day ends. What hits
 * warm sources at the same clusters in the same hours says nothing against the new one: only what
 * it is deferred more than they counts, and only as far as that is no chance. */
#include <math.h>
#include <stdio.h>

#include "health.h"
#include "ramp.h"

#define Z 1.645 /* nineteen in twenty, to one side */

double ramp_share(const struct ramp_day *d)
{
	uint64_t n = (uint64_t)d->good + d->bad + d->other;

	return n ? (double)d->bad / (double)n : 0;
}

/* Half the width of Wilson's interval is not the same on both sides of the share: side -1 is the
 * lower end, 1 the upper one. */
static double wilson(double share, double n, int side)
{
	double zz = Z * Z,
	       half = Z * sqrt(share * (1 - share) / n + zz / (4 * n * n)) / (1 + zz / n);

	return (share + zz / (2 * n)) / (1 + zz / n) + side * half;
}

/* The difference of two shares by Newcombe: each end of the interval by what the own lower and the
 * peers' upper end are away. */
void ramp_compare(const struct ramp_day *d, struct ramp_excess *ret)
{
	double n = (double)d->good + d->bad + d->other, low, high;

	*ret = (struct ramp_excess){ .own = ramp_share(d) };
	if (n <= 0)
		return;
	low = ret->own - wilson(ret->own, n, -1);
	/* half of it at least, so that the one half tells of the other */
	ret->compared = d->peers > 0 && d->matched * 2.0 >= n;
	if (ret->compared) {
		ret->peers = d->expected / d->matched;
		if (ret->peers > 1)
			ret->peers = 1;
		high = wilson(ret->peers, d->peers, 1) - ret->peers;
		low = sqrt(low * low + high * high);
	}
	ret->excess = ret->own - ret->peers;
	ret->sure = ret->excess - low;
}

/* A day earns the next rung only by being used and by going well. */
enum ramp_change ramp_judge(const struct ramp *r)
{
	struct ramp_excess x;
	bool more;

	if (!r->used)
		return RAMP_IDLE;
	if (r->hold)
		return RAMP_HELD_OPERATOR;
	ramp_compare(&r->seen, &x);
	more = r->seen.bad && x.sure >= r->plan->hold_at;
	if (more && r->seen.bad >= RAMP_STEP_MIN && x.excess >= r->plan->step_back_at)
		return RAMP_STEPPED_BACK;
	if (r->paused_today || r->pause.state != HEALTHY)
		return RAMP_HELD_PAUSE;
	if (more)
		return RAMP_HELD_DEFERRALS;
	if (r->aside * 2 >= r->clusters && r->aside)
		return RAMP_HELD_CLUSTERS;
	if (!ramp_warm(r) && r->used < r->plan->advance_at * r->allowance)
		return RAMP_HELD_VOLUME;
	return ramp_warm(r) ? RAMP_NEW : RAMP_ADVANCED;
}

/* ---- words ---- */

const char *ramp_change_name(const struct ramp *r)
{
	static const char *const names[RAMP_CHANGES] = {
		[RAMP_NEW] = "",
		[RAMP_ADVANCED] = "advanced",
		[RAMP_HELD_VOLUME] = "held",
		[RAMP_HELD_DEFERRALS] = "held",
		[RAMP_HELD_PAUSE] = "held",
		[RAMP_HELD_CLUSTERS] = "held",
		[RAMP_HELD_OPERATOR] = "held",
		[RAMP_STEPPED_BACK] = "stepped back",
		[RAMP_IDLE] = "idle",
		[RAMP_IDLE_RESET] = "lowered",
		[RAMP_CLOCK_SET] = "clock set",
		[RAMP_BY_OPERATOR] = "set",
		[RAMP_PLAN_CHANGED] = "plan changed",
	};

	return names[r->judged.change < RAMP_CHANGES ? r->judged.change : RAMP_NEW];
}

static const char *reason_of(const struct ramp *r)
{
	switch ((enum ramp_change)r->judged.change) {
	case RAMP_HELD_VOLUME:
		return "too little of the allowance was used";
	case RAMP_HELD_DEFERRALS:
		return "too many deferrals";
	case RAMP_HELD_PAUSE:
		return "it was paused";
	case RAMP_HELD_CLUSTERS:
		return "half of the clusters refuse it";
	case RAMP_HELD_OPERATOR:
		return "held by operator";
	case RAMP_STEPPED_BACK:
		return "deferrals";
	case RAMP_IDLE:
		return "no mail";
	case RAMP_IDLE_RESET:
		return "long without mail";
	case RAMP_CLOCK_SET:
		return "the day began anew by a clock that was set: what was used stays used";
	case RAMP_BY_OPERATOR:
		return "by operator";
	case RAMP_PLAN_CHANGED:
		return "the ladder was changed";
	case RAMP_NEW:
	case RAMP_ADVANCED:
	case RAMP_CHANGES:
		break;
	}
	return "";
}

/* " (warm peers 0.50 %, excess at least 0.10 %); left out 1 of 3 clusters" */
static void say_basis(const struct ramp *r, char *out, size_t max)
{
	struct ramp_excess x;
	int n = 0;

	*out = '\0';
	ramp_compare(&r->judged.seen, &x);
	if (x.compared)
		n = snprintf(out, max, " (warm peers %.2f %%", x.peers * 100);
	if (r->judged.seen.bad && n >= 0 && (size_t)n < max)
		n += snprintf(out + n, max - (size_t)n, "%s at least %.2f %%",
			x.compared ? ", excess" : " (surely", x.sure > 0 ? x.sure * 100 : 0);
	if (n > 0 && (size_t)n < max)
		n += snprintf(out + n, max - (size_t)n, ")");
	if (r->judged.aside && n >= 0 && (size_t)n < max)
		snprintf(out + n, max - (size_t)n, "; left out %u of %u clusters", r->judged.aside,
			r->judged.clusters);
}

void ramp_why(const struct ramp *r, char *out, size_t max)
{
	const char *why = reason_of(r);
	char of[32] = "", to[48] = "", basis[112];

	if (r->judged.change == RAMP_NEW ||
		(r->judged.change >= RAMP_IDLE && r->judged.change != RAMP_HELD_CLUSTERS)) {
		snprintf(out, max, "%s", why);
		return;
	}
	if (r->judged.allowance != RAMP_UNLIMITED)
		snprintf(of, sizeof(of), " of %u", r->judged.allowance);
	if (r->judged.change == RAMP_ADVANCED && ramp_warm(r))
		snprintf(to, sizeof(to), "; warm now");
	else if (r->allowance != r->judged.allowance)
		snprintf(to, sizeof(to), "; %u a day now", r->allowance);
	say_basis(r, basis, sizeof(basis));
	snprintf(out, max, "%s%s%s: %u%s used, %.2f %% deferred%s%s", ramp_change_name(r),
		*why ? ": " : "", why, r->judged.used, of, ramp_share(&r->judged.seen) * 100, basis,
		to);
}
