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
#include "warmup_save.h"

#define NUMBERS 20u
#define MORE	30u /* with what is told of warm peers; older versions wrote NUMBERS + 1 */

static uint64_t millionths(double v)
{
	return v > 0 && v < 1e12 ? (uint64_t)(v * 1e6) : 0;
}

static void save(const struct policy *p, const struct saver *s, unsigned provider, unsigned source,
	struct ramp *r)
{
	char key[480], value[480];
	uint32_t granted = r->asked > r->granted ? r->asked : r->granted;
	int n;

	if (granted < r->used + r->reserved)
		granted = r->used + r->reserved;
	n = snprintf(value, sizeof(value),
		"2 %d %u %u %d %u %d %u %u %u %d %d %u %" PRId64 " %d %" PRId64 " %" PRId64
		" %u %u %d %d %u %u %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %" PRIu64
		" %" PRIu64 " %u %u",
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
		r->judged.aside, r->judged.clusters);
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

/* ---- back ---- */

static unsigned numbers(const char *text, int64_t n[MORE])
{
	unsigned k = 0;

	while (k < MORE) {
		char *end;

		errno = 0;
		n[k] = strtoll(text, &end, 10);
		if (end == text || errno)
			break;
		text = end;
		k++;
	}
	return k;
}

static uint32_t count_of(int64_t v)
{
	return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static double share_sum(int64_t v)
{
	return v > 0 ? (double)v / 1e6 : 0;
}

/* Of warm peers. */
static void load_more(struct ramp *r, const int64_t v[MORE])
{
	r->seen.matched = count_of(v[21]);
	r->seen.expected = share_sum(v[22]);
	r->seen.peers = count_of(v[23]);
	r->recent_expected = share_sum(v[24]);
	r->judged.seen.matched = count_of(v[25]);
	r->judged.seen.expected = share_sum(v[26]);
	r->judged.seen.peers = count_of(v[27]);
	r->judged.aside = count_of(v[28]);
	r->judged.clusters = count_of(v[29]);
}

int ramp_load(
	struct policy *p, unsigned provider, unsigned source, const int64_t n[4], const char *rest)
{
	struct ramp *r = ramp_of(p, provider, source);
	int64_t v[MORE] = { 0 };

	if (numbers(rest, v) < NUMBERS + 1 || n[0] < 1 || n[0] > INT32_MAX || n[1] < 0 ||
		v[9] < HEALTHY || v[9] > PROBING || v[14] < 0 || v[14] >= RAMP_CHANGES)
		return -EINVAL;
	if (!r)
		return 0;
	ramp_set_rung(r, ramp_rung_of(r->plan, count_of(n[1]), count_of(v[0]), n[3] & 4));
	r->day.number = (int32_t)n[0];
	r->used = r->granted = count_of(n[2]);
	r->hold = n[3] & 1;
	r->paused_today = n[3] & 2;
	r->fresh = (int32_t)v[1];
	r->seen = (struct ramp_day){
		.good = count_of(v[2]), .bad = count_of(v[3]), .other = count_of(v[4])
	};
	r->first = (int32_t)v[5];
	r->last = (int32_t)v[6];
	r->idle_steps = count_of(v[7]);
	r->hold_until = v[8];
	r->pause.state = v[9] == HEALTHY ? HEALTHY : RESTING;
	r->pause.until = v[10];
	r->pause.length = v[11];
	r->pause.since = v[10] - v[11];
	r->recent_seen = count_of(v[12]);
	r->recent_bad = count_of(v[13]);
	r->judged.change = (uint8_t)v[14];
	r->judged.from = (uint8_t)count_of(v[15]);
	r->judged.used = count_of(v[16]);
	r->judged.allowance = count_of(v[17]);
	r->judged.seen = (struct ramp_day){
		.good = count_of(v[18]), .bad = count_of(v[19]), .other = count_of(v[20])
	};
	load_more(r, v);
	r->dirty = r->want = false;
	return 0;
}
