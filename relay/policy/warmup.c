/* Ramps in the policy: who asks them, what is told to them, and who is excused. Called by choose.c
 * and admit.c (may this source?), verdict.c (what came of it) and tick.c. Pure; the ramps
 * themselves: ramp.c, ramp_judge.c. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "events.h"
#include "health.h"
#include "policy_impl.h"
#include "postern/hash.h"
#include "postern/must.h"
#include "ramp.h"
#include "slot.h"
#include "times.h"
#include "warmup.h"
#include "warmup_control.h"

#define CHECK_EVERY 10000   /* ms between two checks of all clusters */
#define EXCUSE_SPAN 1800000 /* ms for which a deferral may turn out to be another's fault */

/* ---- one for each source × provider that a plan names ---- */

static int ramp_new(struct ramp **at, const struct warmup_params *plan)
{
	struct ramp *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->plan = plan;
	ramp_set_rung(r, 0);
	*at = r;
	return 0;
}

int ramps_new(struct tables *t, const struct policy_params *p)
{
	for (unsigned i = 0; i < p->nwarmups; i++) {
		const struct warmup_params *w = &p->warmups[i];

		must(w->ndaily > 0 && w->provider < p->nproviders);
		for (unsigned k = 0; k < w->nsources; k++) {
			struct ramp **at = &t->providers[w->provider].ramps[w->sources[k]];

			if (!*at && ramp_new(at, w))
				return -ENOMEM;
		}
	}
	return 0;
}

void ramps_free(struct provider_state *v, unsigned nsources)
{
	for (unsigned i = 0; v->ramps && i < nsources; i++)
		free(v->ramps[i]);
	free(v->ramps);
}

/* The state under the new plan. */
static void ramp_move(struct ramp *to, const struct ramp *from)
{
	const struct warmup_params *plan = to->plan;
	unsigned rung = ramp_rung_of(plan, from->rung, from->volume, ramp_warm(from));
	bool same = plan->ndaily == from->plan->ndaily && from->rung == rung &&
		    ramp_volume(plan, rung) == ramp_volume(from->plan, from->rung);

	*to = *from;
	to->plan = plan;
	/* looked at anew with the next turn: hours and time zone may be others */
	to->day.start = to->day.next = 0;
	if (same)
		return;
	to->judged.change = RAMP_PLAN_CHANGED;
	to->judged.from = (uint8_t)from->rung;
	ramp_set_rung(to, rung);
}

void ramps_move(struct provider_state *to, struct provider_state *from, const int *source,
	unsigned nsources)
{
	for (unsigned i = 0; i < nsources; i++)
		if (source[i] >= 0 && from->ramps[i] && to->ramps[source[i]])
			ramp_move(to->ramps[source[i]], from->ramps[i]);
}

void ramps_recount(struct policy *p)
{
	p->nramps = 0;
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct ramp *r = p->providers[k].ramps[i];

			if (!r)
				continue;
			p->nramps++;
			r->reserved = r->expected = 0;
		}
	for (uint32_t i = 0; i < p->nslots; i++) {
		struct slot *s = &p->slots[i];
		struct ramp *r = s->used ? ramp_of(p, s->provider, s->source) : NULL;

		if (r) {
			r->reserved += s->reserved;
			r->expected += s->expects;
		} else {
			s->reserved = 0;
			s->expects = false;
		}
	}
}

/* ---- days ---- */

static struct policy_event *event_ramp(struct policy *p, enum policy_event_kind kind,
	struct policy_now now, unsigned provider, unsigned source)
{
	struct policy_event *e = event_add(p, kind, now);

	snprintf(e->provider, sizeof(e->provider), "%.31s", p->params->providers[provider].name);
	snprintf(e->source, sizeof(e->source), "%.63s", p->params->sources[source].name);
	return e;
}

static void tell_day(struct policy *p, struct policy_now now, unsigned provider, unsigned source,
	const struct ramp *r)
{
	struct policy_event *e;

	if (r->judged.change == RAMP_IDLE || (r->judged.change == RAMP_NEW && ramp_warm(r)))
		return;
	e = event_ramp(p, POLICY_EVENT_WARMUP_DAY, now, provider, source);
	e->good = r->judged.seen.good;
	e->bad = r->judged.seen.bad;
	ramp_why(r, e->text, sizeof(e->text));
}

static bool in_day(const struct ramp *r, ms_t wall)
{
	return wall >= r->day.start && wall < r->day.next;
}

static void turn(struct policy *p, struct policy_now now, bool stepped)
{
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct ramp *r = p->providers[k].ramps[i];

			if (!r)
				continue;
			if (r->hold && r->hold_until && r->hold_until <= now.wall) {
				r->hold = false;
				r->hold_until = 0;
				r->dirty = r->want = true;
			}
			control_settle(p, now.mono, k, i, r, !in_day(r, now.wall));
			if (!in_day(r, now.wall))
				control_count(p, k, i, r);
			if (ramp_roll(r, p->params->zone, now, stepped))
				tell_day(p, now, k, i, r);
			ramp_prepare(r, now);
		}
}

void warmup_tick(struct policy *p, struct policy_now now)
{
	p->ramps_wait = false;
	if (p->nramps)
		turn(p, now, ramp_clock_stepped(&p->ramp_clock, now));
}

/* ---- asking ---- */

enum hold_reason warmup_gate(struct policy *p, struct policy_now now, unsigned provider,
	unsigned source, uint32_t n, bool opening, uint32_t *count, ms_t *until)
{
	struct ramp *r = ramp_of(p, provider, source);
	ms_t wall = 0;

	*count = n;
	*until = 0;
	if (!r)
		return HOLD_NONE;
	if (!in_day(r, now.wall))
		turn(p, now, ramp_clock_stepped(&p->ramp_clock, now));
	if (sick(&r->pause)) {
		const struct block *b = &p->providers[provider].blocks[source];

		if (health_gate(&r->pause, now.wall,
			    b->uses.outstanding > 0 || (opening && r->expected > 0),
			    &wall) != HOLD_NONE) {
			*count = 0;
			if (wall)
				*until = mono_at(now, wall);
			return HOLD_WARMUP;
		}
		*count = n = 1;
	}
	*count = ramp_ready(r, p->params->zone, now, n, opening ? r->expected : 0, until);
	return *count ? HOLD_NONE : HOLD_WARMUP;
}

bool warmup_may(const struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	struct ramp *r = ramp_of(p, provider, source);
	ms_t until;

	return !r || (in_day(r, now.wall) && !sick(&r->pause) &&
			     ramp_ready(r, p->params->zone, now, 1, r->expected, &until) > 0);
}

bool warmup_first(const struct policy *p, unsigned provider, unsigned source)
{
	const struct ramp *r = ramp_of(p, provider, source);

	/* a day's allowance that may go at once goes by weight: warm sources are to be compared
	 * with */
	return r && !ramp_warm(r) && !sick(&r->pause) && r->plan->pace != PACE_NONE;
}

bool warmup_waits(const struct policy *p, unsigned provider, unsigned source)
{
	const struct ramp *r = ramp_of(p, provider, source);

	return r && r->plan->overflow == OVERFLOW_WAIT && !ramp_warm(r);
}

bool warmup_saving(
	const struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	const struct ramp *r = ramp_of(p, provider, source);

	return r && r->unsaved && !p->ramps_wait && now.mono - r->unsaved < RAMP_PATIENCE;
}

int warmup_overflow(const struct policy *p, unsigned provider, unsigned source)
{
	const struct ramp *r = ramp_of(p, provider, source);

	if (!r || r->plan->overflow != OVERFLOW_NAMED || ramp_warm(r))
		return -1;
	return (int)r->plan->overflow_pool;
}

static uint64_t mix(uint64_t h, const char *text)
{
	h = hash_text(h, text);
	h ^= h >> 29;
	return h * 0xbf58476d1ce4e5b9u;
}

/* Weighted rendezvous: stays where it is while the pool and its weights do. */
int warmup_owner(const struct policy *p, unsigned provider, unsigned pool, const char *domain)
{
	const struct pool_params *v = &p->params->pools[pool];
	double best = 0;
	int owner = -1;
	bool any = false;

	for (unsigned i = 0; p->nramps && i < v->nmembers && !any; i++)
		any = warmup_waits(p, provider, v->members[i].source);
	for (unsigned i = 0; any && i < v->nmembers; i++) {
		const char *name = p->params->sources[v->members[i].source].name;
		uint64_t h = mix(mix(HASH_START, domain), name);
		double unit = ((double)(h >> 11) + 0.5) / 9007199254740992.0, score;

		/* the least of exponential times with the weights as rates */
		score = -log(unit) / v->members[i].weight;
		if (owner < 0 || score < best) {
			best = score;
			owner = (int)v->members[i].source;
		}
	}
	return owner;
}

/* ---- what happens to a slot ---- */

void warmup_expect(struct policy *p, struct slot *s)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);

	if (!r)
		return;
	s->expects = true;
	ramp_expect(r);
}

static void expect_over(struct slot *s, struct ramp *r)
{
	if (!s->expects)
		return;
	s->expects = false;
	must(r && r->expected > 0);
	r->expected--;
}

void warmup_admitted(struct policy *p, struct policy_now now, struct slot *s, uint32_t n)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);

	if (!r)
		return;
	expect_over(s, r);
	if (sick(&r->pause))
		health_probe(&r->pause, now);
	s->reserved += n;
	ramp_take(r, n);
}

static void end(struct policy *p, struct slot *s, uint32_t n, bool seen)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);

	if (n > s->reserved)
		n = s->reserved; /* admitted before there was a plan */
	s->reserved -= n;
	if (r && n)
		ramp_done(r, n, seen);
}

void warmup_not_begun(struct policy *p, struct slot *s, uint32_t n)
{
	end(p, s, n, false);
}

void warmup_ended(struct policy *p, struct slot *s, uint32_t n, bool reached)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);
	bool judged = s->told.accepted || s->told.refused;

	if (r && reached && !judged) {
		r->seen.other += n;
		r->recent_seen += n;
	}
	end(p, s, n, reached || judged);
}

/* What is under way there may be seen yet. */
void warmup_slot_gone(struct policy *p, struct slot *s)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);

	if (r)
		expect_over(s, r);
	end(p, s, s->reserved, true);
	s->expects = false;
	s->reserved = 0;
}

/* ---- how it goes ---- */

static void recent(struct ramp *r, uint32_t n, bool bad)
{
	r->recent_seen += n;
	if (bad)
		r->recent_bad += n;
	if (r->recent_seen <= RAMP_RECENT)
		return;
	r->recent_seen -= r->recent_seen / 2;
	r->recent_bad -= r->recent_bad / 2;
	r->recent_expected /= 2;
}

static bool too_bad(const struct ramp *r)
{
	return r->recent_bad >= RAMP_PAUSE_MIN &&
	       r->recent_bad - r->recent_expected >= r->plan->pause_at * r->recent_seen;
}

static void resume(
	struct policy *p, struct policy_now now, unsigned provider, unsigned source, struct ramp *r)
{
	struct policy_event *e = event_ramp(p, POLICY_EVENT_WARMUP_RESUMED, now, provider, source);

	e->over = true;
	r->recent_seen = r->recent_bad = 0;
	r->recent_expected = 0;
	r->dirty = r->want = true;
	snprintf(e->text, sizeof(e->text), "the ramp goes on");
}

/* Only when most clusters refuse it: else the parts that go there are held, and no more. */
static bool is_to_pause(
	struct policy *p, struct policy_now now, unsigned provider, unsigned source, struct ramp *r)
{
	bool most = r->most_refuse;

	r->most_refuse = false;
	if (sick(&r->pause))
		return false;
	if (most)
		return true;
	if (!too_bad(r) || (r->looked && now.mono - r->looked < CHECK_EVERY))
		return false;
	r->looked = now.mono;
	return control_most_refuse(p, provider, source);
}

static void watch_pause(
	struct policy *p, struct policy_now now, unsigned provider, unsigned source, struct ramp *r)
{
	struct policy_event *e;

	if (!is_to_pause(p, now, provider, source, r))
		return;
	health_rest(p, &r->pause, &health_ramp, now, 0);
	r->paused_today = true;
	r->dirty = r->want = true;
	e = event_ramp(p, POLICY_EVENT_WARMUP_PAUSED, now, provider, source);
	e->alarm = true;
	e->good = r->recent_seen - r->recent_bad;
	e->bad = r->recent_bad;
	e->until = r->pause.until;
	snprintf(e->text, sizeof(e->text),
		"%u of its last %u messages were deferred, by most clusters: the ramp pauses",
		r->recent_bad, r->recent_seen);
}

void warmup_accepted(struct policy *p, struct policy_now now, struct slot *s)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);

	if (!p->nramps || s->told.accepted)
		return;
	s->told.accepted = true;
	control_note(s->lane, now.mono, s->weight, false);
	if (!r)
		return;
	share_good(p, now, s->lane);
	control_outcome(p, now, s, r, false);
	recent(r, s->weight, false);
	if (health_probed(p, &r->pause, &health_ramp, true, now))
		resume(p, now, s->provider, s->source, r);
}

static uint64_t tenant_key(const char *domain)
{
	return domain ? mix(HASH_START, domain) | 1 : 0;
}

static void note_excuse(
	struct ramp *r, struct policy_now now, const struct slot *s, uint64_t tenant)
{
	struct ramp_excuse *oldest = &r->excuses[0], *e = NULL;
	uint64_t cluster = s->cluster ? s->cluster->id : 0;

	for (unsigned i = 0; i < RAMP_EXCUSES && !e; i++) {
		struct ramp_excuse *x = &r->excuses[i];

		if (x->n && x->cluster == cluster && x->tenant == tenant &&
			x->day == r->day.number && now.mono - x->at <= EXCUSE_SPAN)
			e = x;
		else if (x->at < oldest->at || !x->n)
			oldest = x;
	}
	if (!e) {
		e = oldest;
		*e = (struct ramp_excuse){
			.cluster = cluster, .tenant = tenant, .day = r->day.number
		};
	}
	e->n += s->weight;
	e->at = now.mono;
}

void warmup_refused(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	enum cause guilty)
{
	struct ramp *r = ramp_of(p, s->provider, s->source);
	bool own = guilty == CAUSE_NONE || guilty == CAUSE_SOURCE || guilty == CAUSE_SUBNET;

	if (guilty == CAUSE_CLUSTER || guilty == CAUSE_PROVIDER)
		warmup_excuse(p, now, s->cluster, NULL);
	else if (guilty == CAUSE_DOMAIN)
		warmup_excuse(p, now, NULL, domain);
	if (!p->nramps || s->told.refused)
		return;
	s->told.refused = true; /* seen, whoever is to blame */
	if (own)
		control_note(s->lane, now.mono, s->weight, true);
	if (!r)
		return;
	if (!own) {
		r->seen.other += s->weight;
		return;
	}
	r->dirty = true;
	/* what a lane that rests is refused is known: a probe says nothing of the ramp */
	if (sick(&s->path->health) || sick(&s->lane->health) || sick(&s->lane->ramp.share)) {
		r->seen.other += s->weight;
		control_lane_failed(p, now, s, r);
		watch_pause(p, now, s->provider, s->source, r);
		return;
	}
	control_outcome(p, now, s, r, true);
	note_excuse(r, now, s, tenant_key(domain));
	if (sick(&r->pause))
		health_probed(p, &r->pause, &health_ramp, false, now);
	recent(r, s->weight, true);
	watch_pause(p, now, s->provider, s->source, r);
}

static void excuse(struct policy *p, struct policy_now now, unsigned provider, unsigned source,
	struct ramp *r, uint64_t cluster, uint64_t tenant)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < RAMP_EXCUSES; i++) {
		struct ramp_excuse *x = &r->excuses[i];

		if (!x->n || now.mono - x->at > EXCUSE_SPAN || x->day != r->day.number ||
			(cluster ? x->cluster != cluster : x->tenant != tenant))
			continue;
		n += x->n;
		x->n = 0;
	}
	if (!n)
		return;
	if (n > r->seen.bad)
		n = r->seen.bad;
	r->seen.bad -= n;
	r->seen.other += n;
	r->recent_bad -= n < r->recent_bad ? n : r->recent_bad;
	r->dirty = true;
	if (r->pause.state == RESTING && !too_bad(r)) {
		health_well(&r->pause, now);
		r->pause.length = 0;
		r->paused_today = false;
		resume(p, now, provider, source, r);
	}
}

void warmup_excuse(
	struct policy *p, struct policy_now now, const struct cluster *c, const char *domain)
{
	uint64_t tenant = tenant_key(domain);

	for (unsigned k = 0; p->nramps && k < p->params->nproviders; k++) {
		if (c && c->provider != k)
			continue;
		for (unsigned i = 0; i < p->params->nsources; i++)
			if (p->providers[k].ramps[i] && p->providers[k].ramps[i]->seen.bad)
				excuse(p, now, k, i, p->providers[k].ramps[i], c ? c->id : 0,
					tenant);
	}
}
