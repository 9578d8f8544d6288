/* With whom a ramp is compared, and at which clusters it goes on. Called by warmup.c for each
 * outcome, on the dispatcher's thread.
 *
 * Each lane counts what it was answered in this half hour and the one before. A half hour of a new
 * source is set beside that of the warm ones of the pool at the same cluster: what they were refused
 * is expected of it as well. A cluster that refuses it more, while the warm ones or other clusters do
 * well, gets no part of the ramp until probes are taken there: held → probing → well. Its refusals
 * are left out of the day, as long as no more than half of the clusters refuse. */
#include <math.h>

#include "change.h"
#include "evidence.h"
#include "health.h"
#include "policy_impl.h"
#include "ramp.h"
#include "warmup_control.h"

#define SPAN	    1800000 /* ms */
#define LANE_RECENT 40u	    /* outcomes of one lane */
#define SICK_SHARE  0.6	    /* a lane that refuses, refuses that much */
#define NOISE	    0.05

/* ---- what warm sources are answered ---- */

static uint32_t span_of(ms_t mono)
{
	return (uint32_t)(mono / SPAN);
}

static void seen_turn(struct lane_seen *n, uint32_t span)
{
	if (n->span == span)
		return;
	n->good_before = n->span + 1 == span ? n->good : 0;
	n->bad_before = n->span + 1 == span ? n->bad : 0;
	n->good = n->bad = 0;
	n->span = span;
}

void control_note(struct lane *l, ms_t mono, uint32_t n, bool bad)
{
	seen_turn(&l->seen, span_of(mono));
	*(bad ? &l->seen.bad : &l->seen.good) += n;
}

struct control {
	double n, share; /* n 0: nobody */
};

static void add(struct control *c, uint32_t good, uint32_t bad)
{
	c->n += (double)good + bad;
	c->share += bad;
}

/* What the warm ones of the pool were answered there in that half hour, which is the present one or
 * the last; with the one before it where that is too little. */
static struct control control_of(
	const struct policy *p, ms_t mono, const struct lane *own, uint32_t pool, uint32_t span)
{
	const struct pool_params *v = pool < p->params->npools ? &p->params->pools[pool] : NULL;
	struct control in = { 0 }, both = { 0 }, *c = &in;

	for (unsigned i = 0; v && i < v->nmembers; i++) {
		unsigned source = v->members[i].source;
		const struct ramp *r = ramp_of(p, own->cluster->provider, source);
		struct lane *l = own->cluster->lanes[source];

		if (!l || l == own || (r && !ramp_warm(r)))
			continue;
		seen_turn(&l->seen, span_of(mono));
		if (l->seen.span == span)
			add(&in, l->seen.good, l->seen.bad);
		else if (l->seen.span == span + 1)
			add(&in, l->seen.good_before, l->seen.bad_before);
		add(&both, l->seen.good, l->seen.bad);
		add(&both, l->seen.good_before, l->seen.bad_before);
	}
	if (in.n < RAMP_MATCHED)
		c = &both;
	if (c->n < RAMP_MATCHED)
		return (struct control){ 0 };
	c->share /= c->n;
	return *c;
}

static struct control control_now(const struct policy *p, ms_t mono, const struct slot *s)
{
	return control_of(p, mono, s->lane, s->pool, span_of(mono));
}

/* What came of a half hour is set beside what came of it elsewhere, when it is over or the day is. */
static void settle(const struct policy *p, ms_t mono, struct ramp *r, struct lane *l)
{
	struct lane_ramp *v = &l->ramp;
	uint32_t n = v->pending;
	struct control c;

	v->pending = 0;
	if (!n || v->pending_span + 1 < span_of(mono))
		return;
	c = control_of(p, mono, l, v->pending_pool, v->pending_span);
	if (c.n <= 0)
		return;
	r->seen.matched += n;
	r->seen.expected += n * c.share;
	r->seen.peers += c.n < RAMP_PEERS_MOST * (double)n ? (uint32_t)c.n : RAMP_PEERS_MOST * n;
	r->dirty = true;
}

/* An outcome; s->lane's. */
static void pend(const struct policy *p, ms_t mono, struct ramp *r, const struct slot *s)
{
	struct lane_ramp *v = &s->lane->ramp;

	if (v->pending && (v->pending_span != span_of(mono) || v->pending_pool != s->pool))
		settle(p, mono, r, s->lane);
	v->pending_span = span_of(mono);
	v->pending_pool = s->pool;
	v->pending += s->weight;
}

void control_settle(const struct policy *p, ms_t mono, unsigned provider, unsigned source,
	struct ramp *r, bool all)
{
	if (!all && r->settled == span_of(mono))
		return;
	r->settled = span_of(mono);
	for (struct cluster *c = p->providers[provider].clusters; c; c = c->next) {
		struct lane *l = c->lanes[source];

		if (l && l->ramp.pending && (all || l->ramp.pending_span != span_of(mono)))
			settle(p, mono, r, l);
	}
}

/* ---- a cluster's part of the ramp ---- */

bool share_sick(const struct policy *p, const struct lane *l)
{
	return sick(&l->ramp.share) && ramp_of(p, l->cluster->provider, l->source) != NULL;
}

static bool lane_refuses(const struct ramp *r, const struct lane *l)
{
	const struct lane_ramp *v = &l->ramp;

	if (sick(&v->share) || sick(&l->health) || sick(&l->path->health) ||
		v->score >= SCORE_SUSPECT)
		return true;
	return v->bad >= 2 && v->bad - v->expected >= r->plan->pause_at * v->seen;
}

/* Clusters that have answered the source lately, and those of them that refuse it. */
static void count_clusters(
	const struct policy *p, unsigned provider, unsigned source, unsigned *all, unsigned *refuse)
{
	const struct ramp *r = ramp_of(p, provider, source);

	*all = *refuse = 0;
	for (const struct cluster *c = p->providers[provider].clusters; c; c = c->next) {
		const struct lane *l = c->lanes[source];

		if (!l || !l->ramp.day || l->ramp.day + 1 < r->day.number)
			continue;
		*all += 1;
		*refuse += lane_refuses(r, l);
	}
}

bool control_most_refuse(const struct policy *p, unsigned provider, unsigned source)
{
	unsigned all, refuse;

	count_clusters(p, provider, source, &all, &refuse);
	return refuse * 2 > all;
}

/* For the day's end. */
void control_count(const struct policy *p, unsigned provider, unsigned source, struct ramp *r)
{
	r->clusters = r->aside = 0;
	for (const struct cluster *c = p->providers[provider].clusters; c; c = c->next) {
		const struct lane *l = c->lanes[source];
		bool aside = l && l->ramp.aside_day == r->day.number;

		if (!l || !r->day.number)
			continue;
		r->clusters += aside || l->ramp.day == r->day.number;
		r->aside += aside;
	}
}

static void leave_out(struct ramp *r, struct lane_ramp *v)
{
	uint32_t n = v->rise_day == r->day.number ? v->rise : 0;

	v->aside_day = r->day.number;
	v->rise = 0;
	v->dirty = true;
	n = n < r->seen.bad ? n : r->seen.bad;
	r->seen.bad -= n;
	r->seen.other += n;
	r->recent_bad -= n < r->recent_bad ? n : r->recent_bad;
	r->dirty = true;
}

static void tell(struct policy *p, struct policy_now now, const struct lane *l)
{
	event_health(p, now, l->cluster, l->source, p->sources[l->source].subnet, &l->ramp.share,
		CAUSE_SOURCE, &l->evidence, NULL);
}

/* Only where there is something to compare with: other clusters, or warm sources there. */
static void hold_share(struct policy *p, struct policy_now now, struct slot *s, struct ramp *r)
{
	struct control c = control_now(p, now.mono, s);
	struct lane *l = s->lane;
	unsigned all, refuse;

	count_clusters(p, s->provider, s->source, &all, &refuse);
	if (refuse * 2 > all && !(c.n > 0 && c.share < SICK_SHARE / 2))
		return;
	if (refuse * 2 <= all)
		leave_out(r, &l->ramp);
	r->most_refuse = refuse * 2 > all && all > 1;
	health_rest(p, &l->ramp.share, &health_share, now, 0);
	l->ramp.score = 0;
	tell(p, now, l);
}

void control_lane_failed(struct policy *p, struct policy_now now, struct slot *s, struct ramp *r)
{
	struct lane *l = s->lane;

	l->ramp.day = r->day.number;
	l->ramp.dirty = true;
	if (l->ramp.aside_day && sick(&l->ramp.share))
		l->ramp.aside_day = r->day.number;
	if (!sick(&l->ramp.share))
		hold_share(p, now, s, r);
	else
		health_probed(p, &l->ramp.share, &health_share, false, now);
}

void share_good(struct policy *p, struct policy_now now, struct lane *l)
{
	if (sick(&l->ramp.share) && health_probed(p, &l->ramp.share, &health_share, true, now))
		tell(p, now, l);
}

void shares_release(struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	for (struct cluster *c = p->providers[provider].clusters; c; c = c->next) {
		struct lane *l = c->lanes[source];

		if (!l || !sick(&l->ramp.share))
			continue;
		health_well(&l->ramp.share, now);
		l->ramp.share.length = 0;
		tell(p, now, l);
	}
}

/* ---- an outcome ---- */

static void score(struct lane_ramp *v, const struct ramp *r, double expected, uint32_t n, bool bad)
{
	double usual = expected > NOISE ? expected : NOISE;

	if (usual >= SICK_SHARE)
		return;
	v->score += bad ? log(SICK_SHARE / usual) : n * log((1 - SICK_SHARE) / (1 - usual));
	if (v->score > SCORE_MAX)
		v->score = SCORE_MAX;
	if (v->score <= 0 || v->rise_day != r->day.number)
		v->rise = 0;
	if (v->score < 0)
		v->score = 0;
	v->rise_day = r->day.number;
	v->rise += bad ? n : 0;
}

void control_outcome(
	struct policy *p, struct policy_now now, struct slot *s, struct ramp *r, bool bad)
{
	struct control c = control_now(p, now.mono, s);
	struct lane_ramp *v = &s->lane->ramp;
	uint32_t n = s->weight;

	pend(p, now.mono, r, s);
	*(bad ? &r->seen.bad : &r->seen.good) += n;
	if (c.n > 0) {
		r->recent_expected += n * c.share;
		v->expected += n * c.share;
	}
	v->dirty |= bad || v->bad || v->score > 0 || v->day != r->day.number;
	v->day = r->day.number;
	v->seen += n;
	v->bad += bad ? n : 0;
	if (v->seen > LANE_RECENT) {
		v->seen -= v->seen / 2;
		v->bad -= v->bad / 2;
		v->expected /= 2;
	}
	score(v, r, c.share, n, bad);
	if (v->score >= SCORE_BLAME && !sick(&v->share))
		hold_share(p, now, s, r);
}
