/* The arithmetic of a ramp: which day it is, how today's amount is spread over its hours, what is
 * granted, taken and given back. Called by warmup.c, and by warmup_save.c when it is loaded. Pure:
 * clock, zone and peers are arguments. */
#include "ramp.h"
#include "health.h"
#include "postern/must.h"

/* ---- rungs ---- */

uint32_t ramp_volume(const struct warmup_params *plan, unsigned rung)
{
	return rung < plan->ndaily ? plan->daily[rung] : RAMP_UNLIMITED;
}

/* The highest whose volume was earned already; at least the first. */
static unsigned rung_below(const struct warmup_params *plan, uint32_t volume)
{
	unsigned rung = 0;

	for (unsigned i = 1; i < plan->ndaily; i++)
		if (plan->daily[i] <= volume && plan->daily[i] >= plan->daily[rung])
			rung = i;
	return rung;
}

/* A ladder that was changed: what counts is the volume that the source has come to. */
unsigned ramp_rung_of(const struct warmup_params *plan, unsigned rung, uint32_t volume, bool warm)
{
	uint32_t top = plan->daily[plan->ndaily - 1];

	if (warm ? volume >= top : volume > top)
		return plan->ndaily;
	if (!warm && rung < plan->ndaily && plan->daily[rung] == volume)
		return rung;
	return rung_below(plan, volume);
}

void ramp_set_rung(struct ramp *r, unsigned rung)
{
	r->rung = rung < r->plan->ndaily ? rung : r->plan->ndaily;
	/* a warm source is remembered with the last volume: a longer ladder takes it up there */
	r->volume = r->plan->daily[r->rung < r->plan->ndaily ? r->rung : r->plan->ndaily - 1];
	r->allowance = ramp_volume(r->plan, r->rung);
	r->want = r->dirty = true;
}

/* ---- days ---- */

bool ramp_clock_stepped(struct ramp_clock *c, struct policy_now now)
{
	bool r = c->mono && now.wall - c->wall > now.mono - c->mono + RAMP_CLOCK_STEP;

	c->mono = now.mono ? now.mono : 1;
	c->wall = now.wall;
	return r;
}

static void apply(struct ramp *r, enum ramp_change c)
{
	r->judged.change = (uint8_t)c;
	r->judged.from = (uint8_t)(r->rung < 255 ? r->rung : 255);
	r->judged.used = r->used;
	r->judged.allowance = r->allowance;
	r->judged.seen = r->seen;
	r->judged.clusters = r->clusters;
	r->judged.aside = r->aside;
	if (c == RAMP_ADVANCED)
		ramp_set_rung(r, r->rung + 1);
	else if (c == RAMP_STEPPED_BACK && r->rung > 0)
		ramp_set_rung(r, r->rung - 1);
}

/* Long without mail: the receiver has forgotten it. Half of the volume for each such time. */
static void apply_idle(struct ramp *r, int32_t today)
{
	uint32_t steps, volume = r->volume;
	unsigned rung;

	if (!r->plan->idle_reset || !r->last || today - r->last <= r->plan->idle_reset)
		return;
	steps = (uint32_t)((today - r->last - 1) / r->plan->idle_reset);
	if (steps <= r->idle_steps)
		return;
	for (uint32_t i = r->idle_steps; i < steps && volume; i++)
		volume /= 2;
	r->idle_steps = steps;
	rung = rung_below(r->plan, volume);
	if (rung >= r->rung && !ramp_warm(r))
		return;
	apply(r, RAMP_IDLE_RESET);
	ramp_set_rung(r, rung);
}

static void find_active(struct ramp *r, const struct zone *z)
{
	const struct warmup_params *w = r->plan;
	ms_t from, to;

	r->nactive = 1;
	r->active[0] = r->day;
	if (w->pace != PACE_HOURS || w->hours_from == w->hours_to)
		return;
	from = zone_minute(z, &r->day, w->hours_from);
	to = zone_minute(z, &r->day, w->hours_to);
	if (from < to) {
		r->active[0].start = from;
		r->active[0].next = to;
		return;
	}
	r->active[0].next = to;
	r->active[1] = r->day;
	r->active[1].start = from;
	r->nactive = 2;
}

static void enter(struct ramp *r, const struct zone *z, const struct zone_day *d)
{
	r->day = *d;
	find_active(r, z);
	r->dirty = r->want = true;
}

static double at_first(const struct ramp *r)
{
	double first = r->allowance > RAMP_BEGIN ? (double)r->allowance / RAMP_BEGIN : 1;

	return first + (double)r->allowance * r->pacing.lead / 24;
}

/* Mail that comes in few bursts, each third hour or once a day, leaves most of a day's allowance
 * unused if each hour has its part: then parts may go ahead of their time. It is taken back when
 * there is mail for it all day long. */
static void learn_shape(struct ramp *r, enum ramp_change c)
{
	struct ramp_pacing *a = &r->pacing;
	unsigned lead = a->lead * 2u;

	if (c == RAMP_HELD_VOLUME && a->kept) {
		if (!lead && a->odd) /* one such day may be any */
			lead = a->busy ? 2 * RAMP_LEAD_MOST / a->busy : RAMP_LEAD_MOST;
		a->lead = (uint8_t)(lead < RAMP_LEAD_MOST ? lead : RAMP_LEAD_MOST);
		a->odd = true;
	} else if (r->used) {
		if (a->busy >= RAMP_STEADY)
			a->lead = 0;
		a->odd = false;
	}
	a->kept = false;
	a->busy = 0;
}

static void begin_afresh(struct ramp *r, struct policy_now now)
{
	r->fresh = r->day.number;
	r->fresh_at = now.mono ? now.mono : 1;
	/* what is under way is counted where it ends */
	r->used = r->granted = r->asked = 0;
	r->seen = (struct ramp_day){ 0 };
	r->paused_today = r->pause.state != HEALTHY;
	r->pacing.tokens = at_first(r);
	r->pacing.hour_used = 0;
	if (r->pacing.left && r->pacing.left < r->day.start)
		r->pacing.left = r->day.start;
}

bool ramp_roll(struct ramp *r, const struct zone *z, struct policy_now now, bool stepped)
{
	struct zone_day today;
	bool first = !r->day.number;
	enum ramp_change c;

	if (!first && now.wall >= r->day.start && now.wall < r->day.next)
		return false;
	zone_day(z, now.wall, &today);
	if (first) {
		enter(r, z, &today);
		begin_afresh(r, now);
		return false;
	}
	if (today.number == r->day.number) { /* the zone was changed */
		enter(r, z, &today);
		return false;
	}
	/* wildly ahead was wrong; a day ahead may be today's allowance, used already */
	if (r->fresh - today.number >= 2)
		r->fresh = today.number;
	/* a day that is over too soon is a clock that was set, however it was done */
	stepped |= r->fresh_at && now.mono - r->fresh_at < RAMP_DAY_MIN;
	if (stepped || today.number <= r->fresh) {
		if (stepped && r->fresh < today.number)
			r->fresh = today.number;
		r->judged.change = RAMP_CLOCK_SET;
		enter(r, z, &today);
		/* what was due by the other clock is not due by this one */
		if (r->pacing.tokens > at_first(r))
			r->pacing.tokens = at_first(r);
		return false;
	}
	if (r->used)
		r->last = r->day.number;
	c = ramp_judge(r);
	learn_shape(r, c);
	apply(r, c);
	enter(r, z, &today);
	apply_idle(r, today.number);
	begin_afresh(r, now);
	return true;
}

/* ---- pace ---- */

static ms_t active_total(const struct ramp *r)
{
	ms_t t = 0;

	for (unsigned i = 0; i < r->nactive; i++)
		t += r->active[i].next - r->active[i].start;
	return t > 0 ? t : 1;
}

/* What is left of it today; *in: whether it is now. */
static ms_t active_left(const struct ramp *r, ms_t wall, bool *in)
{
	ms_t t = 0;

	*in = false;
	for (unsigned i = 0; i < r->nactive; i++) {
		const struct zone_day *a = &r->active[i];

		if (wall < a->start)
			t += a->next - a->start;
		else if (wall < a->next)
			t += a->next - wall;
		*in |= wall >= a->start && wall < a->next;
	}
	return t;
}

static uint32_t left_today(const struct ramp *r)
{
	uint64_t gone = (uint64_t)r->used + r->reserved;

	return gone < r->allowance ? r->allowance - (uint32_t)gone : 0;
}

/* Messages a millisecond. What an hour left over is caught up with, but at a bounded pace: it is
 * not all dumped on the last. 0: not at this hour. */
static double pace(const struct ramp *r, ms_t wall)
{
	double even = (double)r->allowance / (double)active_total(r), wanted;
	ms_t left;
	bool in;

	left = active_left(r, wall, &in);
	if (!in || left <= 0)
		return 0;
	wanted = (double)left_today(r) / (double)left;
	return wanted < even * RAMP_CATCH_UP ? wanted : even * RAMP_CATCH_UP;
}

/* An hour's part of the allowance. */
static double hourly(const struct ramp *r)
{
	return (double)r->allowance * 3600000 / (double)active_total(r);
}

/* The most in an hour: what earlier ones left is taken up, not all at once. */
static double hour_most(const struct ramp *r)
{
	double hours = r->pacing.lead > RAMP_CATCH_UP ? r->pacing.lead : RAMP_CATCH_UP,
	       most = hourly(r) * hours;

	return most > RAMP_HOUR_MIN ? most : RAMP_HOUR_MIN;
}

/* The less often mail comes, the more of it goes while it does. */
static double faster(const struct ramp *r)
{
	return r->pacing.lead > RAMP_LEAD_SLOW ? (double)r->pacing.lead / RAMP_LEAD_SLOW : 1;
}

/* What goes in one moment: few in any case, and of a large amount a part. */
static double spout_most(const struct ramp *r)
{
	double part = hourly(r) / 4;

	return part > RAMP_MOMENT ? part : RAMP_MOMENT;
}

static double spout_rate(const struct ramp *r)
{
	double rate = hourly(r) / RAMP_SPREAD;

	return (rate > 0.001 ? rate : 0.001) * faster(r);
}

/* How long what is due was not counted: also while no process ran, on the same day. */
static double uncounted(const struct ramp *r, struct policy_now now)
{
	ms_t ms = 0;

	if (r->pacing.at)
		ms = now.mono - r->pacing.at;
	else if (r->pacing.left >= r->day.start)
		ms = now.wall - r->pacing.left;
	return ms > 0 ? (double)ms : 0;
}

static void refill(struct ramp *r, struct policy_now now)
{
	ms_t hour = now.wall / 3600000;
	double most = spout_most(r);

	if (r->pacing.hour != hour)
		r->pacing.hour_used = r->pacing.waited = 0;
	r->pacing.hour = hour;
	if (r->pacing.at || r->pacing.left) {
		double ms = uncounted(r, now);

		r->pacing.tokens += ms * pace(r, now.wall);
		r->pacing.spout += ms * spout_rate(r);
	} else {
		r->pacing.spout = most;
	}
	if (r->pacing.tokens > hour_most(r))
		r->pacing.tokens = hour_most(r);
	if (r->pacing.spout > most)
		r->pacing.spout = most;
	r->pacing.at = now.mono ? now.mono : 1;
}

/* Of the day's, what its hours and a receiver's patience let go now. */
static uint32_t due(const struct ramp *r)
{
	double n = hour_most(r) - r->pacing.hour_used;

	if (n > r->pacing.tokens)
		n = r->pacing.tokens;
	if (n > r->pacing.spout)
		n = r->pacing.spout;
	return n >= 1 ? (uint32_t)n : 0;
}

/* The next moment at which an hour of sending begins, tomorrow's first if there is none today. */
static ms_t next_active(const struct ramp *r, const struct zone *z, ms_t wall)
{
	struct zone_day tomorrow;

	for (unsigned i = 0; i < r->nactive; i++)
		if (wall < r->active[i].start)
			return r->active[i].start;
	if (r->plan->pace != PACE_HOURS || r->plan->hours_from > r->plan->hours_to)
		return r->day.next;
	zone_day(z, r->day.next, &tomorrow);
	return zone_minute(z, &tomorrow, r->plan->hours_from);
}

static bool begun(const struct ramp *r)
{
	return r->day.number >= r->plan->start;
}

static ms_t first_moment(const struct ramp *r, const struct zone *z)
{
	/* from today's first moment by days, then to the day's own */
	ms_t guess = r->day.start + (ms_t)(r->plan->start - r->day.number) * 86400000 + 43200000;
	struct zone_day d;

	zone_day(z, guess, &d);
	return d.start;
}

ms_t ramp_until(const struct ramp *r, const struct zone *z, struct policy_now now)
{
	double rate;
	bool in;

	if (r->pause.state == RESTING && r->pause.until > now.wall)
		return r->pause.until;
	if (ramp_warm(r))
		return 0;
	if (!begun(r))
		return first_moment(r, z);
	if (!left_today(r))
		return r->plan->pace == PACE_HOURS && r->plan->hours_from < r->plan->hours_to
			       ? next_active(r, z, r->day.next - 1)
			       : r->day.next;
	if (r->plan->pace == PACE_NONE)
		return 0;
	active_left(r, now.wall, &in);
	if (!in)
		return next_active(r, z, now.wall);
	if (due(r))
		return 0;
	if (hour_most(r) - r->pacing.hour_used < 1)
		return (r->pacing.hour + 1) * 3600000;
	if (r->pacing.tokens >= 1)
		return now.wall + (ms_t)((1 - r->pacing.spout) / spout_rate(r)) + 1;
	rate = pace(r, now.wall);
	return rate > 0 ? now.wall + (ms_t)((1 - r->pacing.tokens) / rate) + 1 : r->day.next;
}

/* Mail is there, in an hour in which it may go, and nothing is due or left. */
static void note_shape(struct ramp *r, bool in, uint32_t left, uint32_t expected)
{
	uint32_t n = due(r) < left ? due(r) : left;

	if (!in || !begun(r) || n > expected || r->pacing.waited == UINT8_MAX)
		return;
	r->pacing.kept |= left > expected;
	if (++r->pacing.waited == RAMP_BUSY)
		r->pacing.busy++;
}

uint32_t ramp_ready(struct ramp *r, const struct zone *z, struct policy_now now, uint32_t n,
	uint32_t expected, ms_t *until)
{
	uint32_t left, granted;
	bool in = true;

	if (ramp_warm(r)) {
		r->unsaved = 0;
		return n;
	}
	left = begun(r) ? left_today(r) : 0;
	if (r->plan->pace != PACE_NONE) {
		refill(r, now);
		active_left(r, now.wall, &in);
		note_shape(r, in, left, expected);
		if (!in)
			left = 0;
		else if (due(r) < left)
			left = due(r);
	}
	if (left <= expected) {
		ms_t wall = ramp_until(r, z, now);

		r->unsaved = 0;
		*until = wall > now.wall ? now.mono + (wall - now.wall) : now.mono + 200;
		return 0;
	}
	granted = r->granted > r->used + r->reserved ? r->granted - r->used - r->reserved : 0;
	if (granted <= expected) {
		if (!r->unsaved)
			r->unsaved = now.mono ? now.mono : 1;
		r->want = true;
		*until = now.mono + 20; /* as soon as it is saved */
		return 0;
	}
	r->unsaved = 0;
	left = (left < granted ? left : granted) - expected;
	return n < left ? n : left;
}

static uint32_t grant_step(const struct ramp *r)
{
	uint32_t step = r->allowance / RAMP_GRANTS;

	return step < 1 ? 1 : step > RAMP_GRANT_MAX ? RAMP_GRANT_MAX : step;
}

/* Messages that are granted ahead. What is due may come all at once, and is lost at a kill: no more
 * than an hour's part. */
static uint32_t ahead(const struct ramp *r)
{
	uint32_t step = grant_step(r), n, hour;

	if (ramp_warm(r) || r->plan->pace == PACE_NONE)
		return step;
	n = due(r);
	hour = (uint32_t)hourly(r) + 1;
	n = n < hour ? n : hour;
	return n > step ? n : step;
}

static bool granted_within(const struct ramp *r, uint32_t n)
{
	return !ramp_warm(r) && r->granted < r->allowance &&
	       r->granted <= (uint64_t)r->used + r->reserved + r->expected + n;
}

/* While there is some left: nothing is to wait for the disk. */
static void ask_ahead(struct ramp *r)
{
	if (granted_within(r, grant_step(r)))
		r->want = true;
}

void ramp_prepare(struct ramp *r, struct policy_now now)
{
	if (ramp_warm(r) || r->plan->pace == PACE_NONE || r->day.number < r->plan->start)
		return;
	refill(r, now);
	if (granted_within(r, ahead(r) / 2))
		r->want = true;
}

void ramp_expect(struct ramp *r)
{
	r->expected++;
	ask_ahead(r);
}

void ramp_take(struct ramp *r, uint32_t n)
{
	r->reserved += n;
	if (ramp_warm(r))
		return;
	if (r->plan->pace != PACE_NONE) {
		r->pacing.tokens -= n;
		r->pacing.spout -= n;
		r->pacing.hour_used += n;
	}
	ask_ahead(r);
}

void ramp_done(struct ramp *r, uint32_t n, bool seen)
{
	must(r->reserved >= n);
	r->reserved -= n;
	if (seen) {
		if (!r->used && n) { /* a day with mail */
			r->dirty = r->want = true;
			if (!r->first)
				r->first = r->day.number;
			r->idle_steps = 0;
		}
		r->used += n;
		r->dirty = true;
	} else if (!ramp_warm(r) && r->plan->pace != PACE_NONE) {
		r->pacing.tokens += n;
		r->pacing.spout += n;
		r->pacing.hour_used -= n < r->pacing.hour_used ? n : r->pacing.hour_used;
	}
}

void ramp_grant(struct ramp *r)
{
	uint64_t next = (uint64_t)r->used + r->reserved;

	if (!ramp_warm(r)) {
		next += r->expected + (ahead(r) > 2 * grant_step(r) ? ahead(r) : 2 * grant_step(r));
		if (next > r->allowance)
			next = r->allowance;
	}
	/* never less than what is out already: the allowance may have been lowered */
	r->asked = next > r->granted ? (uint32_t)next : r->granted;
}

void ramp_give_back(struct ramp *r)
{
	uint64_t gone = (uint64_t)r->used + r->reserved;

	if (gone < r->granted)
		r->granted = (uint32_t)gone;
	/* a save that is under way grants nothing any more: this one comes after it */
	r->asked = 0;
	r->ticket = 0;
	r->dirty = true;
}
