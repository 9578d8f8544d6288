/* Ramps over restarts. What is granted is saved before it is used, so that no kill lets an
 * allowance be passed: after it, all that was granted counts as used. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "health.h"
#include "persist.h"
#include "policy_impl.h"
#include "ramp.h"
#include "warmup_control.h"
#include "warmup_save.h"

#define NUMBERS 21u
#define MORE	36u /* with what is told of warm peers, and pacing; older versions wrote fewer */

static uint64_t millionths(double v)
{
	return v > 0 && v < 1e12 ? (uint64_t)(v * 1e6) : 0;
}

/* As if all that is granted went at once: so it counts after a restart. */
static struct ramp_pacing pacing_after(
	const struct policy *p, const struct ramp *r, uint32_t granted)
{
	struct ramp_pacing a = r->pacing;
	uint32_t goes = granted - r->used - r->reserved;

	if (a.at) {
		a.left = p->clock.wall - (p->clock.mono - a.at);
		a.hour_used += goes;
		a.tokens -= goes;
		a.spout -= goes;
	}
	return a;
}

static void save(const struct policy *p, const struct saver *s, unsigned provider, unsigned source,
	struct ramp *r)
{
	char key[KEY_MAX], value[VALUE_MAX];
	uint32_t granted = r->asked > r->granted ? r->asked : r->granted;
	struct ramp_pacing pacing;
	int n;

	if (granted < r->used + r->reserved)
		granted = r->used + r->reserved;
	pacing = pacing_after(p, r, granted);
	n = snprintf(value, sizeof(value),
		"2 %d %u %u %d %u %d %u %u %u %d %d %u %" PRId64 " %d %" PRId64 " %" PRId64
		" %u %u %d %d %u %u %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %" PRIu64
		" %" PRIu64 " %u %u %" PRIu64 " %" PRIu64 " %" PRId64 " %u %u %u",
		(int)r->day.number, r->rung, granted,
		(r->hold ? 1 : 0) | (r->paused_today ? 2 : 0) | (ramp_warm(r) ? 4 : 0), r->volume,
		(int)r->fresh, r->seen.good, r->seen.bad, r->seen.other, (int)r->first,
		(int)r->last, r->idle_steps, r->hold_until, (int)r->pause.state, r->pause.until,
		r->pause.length, r->recent_seen, r->recent_bad, (int)r->judged.change,
		(int)r->judged.from, r->judged.used, r->judged.allowance, r->judged.seen.good,
		r->judged.seen.bad, r->judged.seen.other, r->seen.matched,
		millionths(r->seen.expected), (uint64_t)r->seen.peers,
		millionths(r->recent_expected), r->judged.seen.matched,
		millionths(r->judged.seen.expected), (uint64_t)r->judged.seen.peers,
		r->judged.aside, r->judged.clusters, millionths(pacing.tokens),
		millionths(pacing.spout), pacing.left, pacing.hour_used, pacing.lead,
		pacing.busy | (pacing.kept ? 256u : 0u) | (pacing.odd ? 512u : 0u));
	if (n < 0 || (size_t)n >= sizeof(value) ||
		save_key(key, sizeof(key), "ramp", p->params->sources[source].name, "",
			p->params->providers[provider].name))
		return;
	s->put(s->arg, slice_of(key), (struct slice){ value, (size_t)n });
	r->dirty = r->pause.dirty = false;
}

void ramps_save(struct policy *p, const struct saver *s)
{
	for (unsigned k = 0; p->nramps && k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct ramp *r = p->providers[k].ramps[i];

			if (r && (r->dirty || r->pause.dirty) && r->day.number)
				save(p, s, k, i, r);
		}
}

bool policy_warmup_wants(const struct policy *p)
{
	if ((!p->nramps && !p->start.unmarked) || p->ramps_saving || p->ramps_wait)
		return false;
	if (p->start.unmarked)
		return true;
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++)
			if (p->providers[k].ramps[i] && p->providers[k].ramps[i]->want &&
				p->providers[k].ramps[i]->day.number)
				return true;
	return false;
}

void policy_save_warmup(struct policy *p, struct policy_now now,
	void (*put)(void *arg, struct slice key, struct slice value), void *arg, uint64_t *ticket)
{
	struct saver s = { put, arg };

	(void)now;
	*ticket = ++p->ramp_ticket;
	p->ramps_saving = true;
	if (p->start.unmarked) {
		save_mark(&(struct saver){ put, arg });
		p->start.mark_ticket = *ticket;
	}
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct ramp *r = p->providers[k].ramps[i];

			if (!r || !r->want || !r->day.number)
				continue;
			ramp_grant(r);
			r->ticket = *ticket;
			r->want = false;
			save(p, &s, k, i, r);
		}
}

void policy_warmup_saved(struct policy *p, struct policy_now now, uint64_t ticket, bool saved)
{
	(void)now;
	if (ticket == p->ramp_ticket)
		p->ramps_saving = false;
	p->ramps_wait |= !saved;
	if (saved && ticket == p->start.mark_ticket)
		p->start.unmarked = false;
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct ramp *r = p->providers[k].ramps[i];

			if (!r || r->ticket != ticket)
				continue;
			if (!saved)
				r->want = true;
			else if (r->asked > r->granted)
				r->granted = r->asked;
			r->asked = 0;
			r->unsaved = 0;
		}
}

void policy_end(struct policy *p, struct policy_now now)
{
	for (unsigned k = 0; p->nramps && k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct ramp *r = p->providers[k].ramps[i];

			if (!r || !r->day.number)
				continue;
			control_settle(p, now.mono, k, i, r, true);
			ramp_give_back(r);
		}
}

/* ---- back ---- */

static double share_sum(int64_t v)
{
	return v > 0 ? (double)v / 1e6 : 0;
}

/* Of warm peers. */
static void load_more(struct ramp *r, const int64_t v[MORE])
{
	r->seen.matched = saved_count(v[21]);
	r->seen.expected = share_sum(v[22]);
	r->seen.peers = saved_count(v[23]);
	r->recent_expected = share_sum(v[24]);
	r->judged.seen.matched = saved_count(v[25]);
	r->judged.seen.expected = share_sum(v[26]);
	r->judged.seen.peers = saved_count(v[27]);
	r->judged.aside = saved_count(v[28]);
	r->judged.clusters = saved_count(v[29]);
}

static void load_pacing(struct ramp *r, const int64_t v[MORE])
{
	if (v[32] <= 0)
		return;
	r->pacing = (struct ramp_pacing){ .tokens = share_sum(v[30]),
		.spout = share_sum(v[31]),
		.left = v[32],
		.hour = v[32] / 3600000,
		.hour_used = saved_count(v[33]),
		.lead = (uint8_t)(v[34] >= 0 && v[34] <= RAMP_LEAD_MOST ? v[34] : 0),
		.busy = (uint8_t)(saved_count(v[35]) & 255),
		.kept = saved_count(v[35]) & 256,
		.odd = saved_count(v[35]) & 512 };
}

int ramp_load(
	struct policy *p, unsigned provider, unsigned source, const int64_t n[4], const char *rest)
{
	struct ramp *r = ramp_of(p, provider, source);
	int64_t v[MORE] = { 0 };

	if (saved_numbers(rest, v, MORE) < NUMBERS || !saved_day(n[0]) || n[1] < 0 ||
		v[9] < HEALTHY || v[9] > PROBING || v[14] < 0 || v[14] >= RAMP_CHANGES)
		return -EINVAL;
	if (!r)
		return 0;
	ramp_set_rung(r, ramp_rung_of(r->plan, saved_count(n[1]), saved_count(v[0]), n[3] & 4));
	r->day.number = (int32_t)n[0];
	r->used = r->granted = saved_count(n[2]);
	r->hold = n[3] & 1;
	r->paused_today = n[3] & 2;
	r->fresh = saved_day(v[1]);
	r->seen = (struct ramp_day){
		.good = saved_count(v[2]), .bad = saved_count(v[3]), .other = saved_count(v[4])
	};
	r->first = saved_day(v[5]);
	r->last = saved_day(v[6]);
	r->idle_steps = saved_count(v[7]);
	r->hold_until = v[8];
	r->pause.state = v[9] == HEALTHY ? HEALTHY : RESTING;
	r->pause.until = v[10];
	r->pause.length = v[11];
	r->pause.since = v[10] - v[11];
	r->recent_seen = saved_count(v[12]);
	r->recent_bad = saved_count(v[13]);
	r->judged.change = (uint8_t)v[14];
	r->judged.from = (uint8_t)saved_count(v[15]);
	r->judged.used = saved_count(v[16]);
	r->judged.allowance = saved_count(v[17]);
	r->judged.seen = (struct ramp_day){
		.good = saved_count(v[18]), .bad = saved_count(v[19]), .other = saved_count(v[20])
	};
	load_more(r, v);
	load_pacing(r, v);
	r->dirty = r->want = false;
	return 0;
}
