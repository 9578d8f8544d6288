/* Ramps as people see and set them, and mail that waits for them. Called between two turns of the
 * dispatcher, by control commands and metrics. */
#include <errno.h>
#include <stdio.h>

#include "events.h"
#include "health.h"
#include "params.h"
#include "policy_impl.h"
#include "ramp.h"
#include "warmup.h"
#include "warmup_control.h"

#define DAY 86400000

static const char *state_of(const struct ramp *r, ms_t wall)
{
	if (r->pause.state == RESTING && r->pause.until > wall)
		return "paused";
	if (sick(&r->pause))
		return "probing";
	if (r->day.number && r->day.number < r->plan->start && !ramp_warm(r))
		return "before start";
	if (r->hold)
		return "held";
	return ramp_warm(r) ? "warm" : "ramping";
}

static int32_t day_of_warmth(const struct policy *p, const struct ramp *r)
{
	int32_t from = r->day.number > r->plan->start ? r->day.number : r->plan->start;
	struct zone_day d;

	if (ramp_warm(r))
		return r->day.number;
	if (r->hold && !r->hold_until)
		return 0;
	if (r->hold) {
		zone_day(p->params->zone, r->hold_until, &d);
		if (d.number > from)
			from = d.number;
	}
	return from + (int32_t)(r->plan->ndaily - r->rung);
}

/* ---- what there is ---- */

static uint32_t goes_now(const struct policy *p, struct policy_now now, struct ramp *r)
{
	struct ramp copy = *r;
	ms_t until;

	if (ramp_warm(r))
		return RAMP_UNLIMITED;
	if (sick(&r->pause))
		return 0;
	copy.granted = RAMP_UNLIMITED; /* a save away */
	return ramp_ready(&copy, p->params->zone, now, RAMP_UNLIMITED, 0, &until);
}

static void ramp_info(const struct policy *p, struct policy_now now, unsigned provider,
	unsigned source, struct ramp *r, struct policy_warmup_info *ret)
{
	*ret = (struct policy_warmup_info){
		.plan = r->plan->name,
		.source = p->params->sources[source].name,
		.provider = p->params->providers[provider].name,
		.day = r->day.number,
		.since = r->first,
		.rung = r->rung + 1,
		.nrungs = r->plan->ndaily,
		.allowance = r->allowance,
		.used = r->used + r->reserved,
		.left_now = goes_now(p, now, r),
		.delivered = r->seen.good,
		.deferred = r->seen.bad,
		.share = ramp_share(&r->seen),
		.state = state_of(r, now.wall),
		.paused = sick(&r->pause),
		.change = ramp_change_name(r),
		.until = ramp_until(r, p->params->zone, now),
		.operator_hold = r->hold,
		.hold_until = r->hold_until,
		.full = day_of_warmth(p, r),
		.full_volume = r->plan->daily[r->plan->ndaily - 1],
	};
}

void policy_warmups(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_warmup_info *i), void *arg)
{
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct policy_warmup_info info;
			struct ramp *r = ramp_of(p, k, i);
			char why[160];

			if (!r)
				continue;
			ramp_info(p, now, k, i, r, &info);
			ramp_why(r, why, sizeof(why));
			info.why = why;
			fn(arg, &info);
		}
}

/* ---- what operators set ---- */

static int operate(
	struct policy_now now, enum policy_warmup_op op, struct ramp *r, unsigned rung, ms_t until)
{
	switch (op) {
	case WARMUP_HOLD:
		r->hold = true;
		r->hold_until = until;
		r->dirty = r->want = true;
		return 0;
	case WARMUP_RELEASE:
		r->hold = false;
		r->hold_until = 0;
		if (sick(&r->pause)) {
			health_well(&r->pause, now);
			r->pause.length = 0;
			r->recent_seen = r->recent_bad = 0;
			r->recent_expected = 0;
		}
		r->dirty = r->want = true;
		return 0;
	case WARMUP_SKIP:
		rung = r->rung + 2;
		break;
	case WARMUP_RESET:
		rung = 1;
		break;
	case WARMUP_SET:
		break;
	}
	if (rung < 1 || rung > r->plan->ndaily + 1)
		return -ERANGE;
	r->judged.change = RAMP_BY_OPERATOR;
	r->judged.from = (uint8_t)(r->rung < 255 ? r->rung : 255);
	ramp_set_rung(r, rung - 1);
	return 0;
}

int policy_warmup_operate(struct policy *p, struct policy_now now, enum policy_warmup_op op,
	const char *source, const char *provider, unsigned rung, ms_t until)
{
	int number = source_by_name(p->params, source), result = -ENOENT;

	for (unsigned k = 0; number >= 0 && k < p->params->nproviders; k++) {
		struct ramp *r = ramp_of(p, k, (unsigned)number);
		int done;

		if (!r || (provider && strcmp(provider, p->params->providers[k].name)))
			continue;
		if (op == WARMUP_RELEASE)
			shares_release(p, now, k, (unsigned)number);
		done = operate(now, op, r, rung, until);
		if (done)
			return done;
		result = 0;
	}
	return result;
}

/* ---- mail that waits ---- */

/* What its ramps let go today and on each day; false: the pool is not limited by them. */
static bool capacity(const struct policy *p, struct policy_now now, unsigned provider,
	unsigned pool, uint64_t *left, uint64_t *daily, ms_t *next)
{
	const struct pool_params *v = &p->params->pools[pool];

	*left = *daily = 0;
	*next = now.wall + DAY;
	for (unsigned i = 0; i < v->nmembers; i++) {
		const struct ramp *r = ramp_of(p, provider, v->members[i].source);

		if (!r || ramp_warm(r)) {
			/* others wait for their own source beside a warm one */
			bool waits = false;

			for (unsigned k = 0; k < v->nmembers && !waits; k++)
				waits = warmup_waits(p, provider, v->members[k].source);
			if (!waits)
				return false;
			continue;
		}
		*next = r->day.next;
		*daily += r->allowance;
		if (r->day.number >= r->plan->start && !sick(&r->pause) &&
			r->allowance > r->used + r->reserved)
			*left += r->allowance - r->used - r->reserved;
	}
	return true;
}

static void tell_backlog(struct policy *p, struct policy_now now, unsigned provider, unsigned pool,
	uint64_t waiting, uint64_t daily, ms_t finish)
{
	struct policy_event *e = event_add(p, POLICY_EVENT_WARMUP_BACKLOG, now);
	char date[CLOCK_RFC3339_MAX];

	e->alarm = true;
	snprintf(e->provider, sizeof(e->provider), "%.31s", p->params->providers[provider].name);
	e->until = finish;
	if (!finish) {
		snprintf(e->text, sizeof(e->text),
			"%llu wait in pool %.40s and no source may send today: they expire",
			(unsigned long long)waiting, p->params->pools[pool].name);
		return;
	}
	clock_rfc3339(date, finish);
	snprintf(e->text, sizeof(e->text),
		"%llu wait in pool %.40s; at %llu a day the last goes on %.10s, after it expires",
		(unsigned long long)waiting, p->params->pools[pool].name, (unsigned long long)daily,
		date);
}

void policy_warmup_backlog(
	struct policy *p, struct policy_now now, unsigned provider, unsigned pool, uint64_t waiting)
{
	bool *alarmed = &p->pools[pool].backlog[provider], late = false;
	uint64_t left, daily, days;
	ms_t next, finish = 0;

	if (waiting && capacity(p, now, provider, pool, &left, &daily, &next) && waiting > left) {
		days = daily ? (waiting - left + daily - 1) / daily : 0;
		/* a number of days that no clock holds is late enough */
		finish = days && days < 100000 ? next + (ms_t)(days * DAY) : 0;
		late = !finish || finish - now.wall > p->params->retry.expire;
	}
	if (late == *alarmed)
		return;
	*alarmed = late;
	if (late) {
		tell_backlog(p, now, provider, pool, waiting, daily, finish);
	} else {
		struct policy_event *e = event_add(p, POLICY_EVENT_WARMUP_BACKLOG_OVER, now);

		snprintf(e->provider, sizeof(e->provider), "%.31s",
			p->params->providers[provider].name);
		snprintf(e->text, sizeof(e->text), "what waits in pool %.40s can go in time",
			p->params->pools[pool].name);
	}
}
