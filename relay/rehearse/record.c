/* What is remembered for the report: what waits and goes by hour, and what happened, EVENTS_MAX at
 * most. Called by rehearse.c, settle.c and traffic.c. */
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

#define HOUR	   3600000
#define EVENTS_MAX 2000u
#define APART	   (2 * 3600 * 1000) /* ms; rests of the same thing that are this near are one story */

const uint32_t rehearsal_delay_bounds[REHEARSAL_DELAYS] = { 1, 5, 30, 60, 300, 900, 3600, 4 * 3600,
	12 * 3600, 24 * 3600, 48 * 3600, UINT32_MAX };

static void queue_until_now(struct rehearsal *r)
{
	r->record.queue_area += (double)r->record.waiting * (double)(r->now - r->record.area_at);
	r->record.area_at = r->now;
}

double record_queue_mean(const struct rehearsal *r)
{
	double area = r->record.queue_area +
		      (double)r->record.waiting * (double)(r->now - r->record.area_at);

	return r->now > 0 ? area / (double)r->now : 0;
}

static void room_taken(struct rehearsal *r, const struct letter *g)
{
	struct rehearsal_hour *h = &r->record.hours[r->record.hour];

	r->record.stored += letter_volume(r, g, g->match.count).stored;
	if (r->record.stored > h->stored_max)
		h->stored_max = r->record.stored;
	if (r->record.stored > r->record.stored_max)
		r->record.stored_max = r->record.stored;
	if (!r->record.queue_room || r->record.stored <= r->record.queue_room)
		return;
	r->record.full_arrived += g->match.count;
	if (!r->record.full_from)
		r->record.full_from = wall_of(r);
}

void record_arrived(struct rehearsal *r, const struct letter *g)
{
	struct rehearsal_hour *h = &r->record.hours[r->record.hour];

	queue_until_now(r);
	room_taken(r, g);
	r->record.total.arrived += g->match.count;
	h->n.arrived += g->match.count;
	r->record.by_traffic[g->traffic].arrived += g->match.count;
	r->record.waiting += g->match.count;
	if (r->record.waiting > h->queue_max)
		h->queue_max = r->record.waiting;
	if (r->record.waiting > r->record.queue_max) {
		r->record.queue_max = r->record.waiting;
		r->record.queue_max_at = wall_of(r);
	}
}

void record_left(struct rehearsal *r, const struct letter *g)
{
	queue_until_now(r);
	r->record.waiting -= g->match.count;
	r->record.stored -= letter_volume(r, g, g->match.count).stored;
	r->record.last_out = wall_of(r);
}

static struct rehearsal_cell *path_cell(struct rehearsal *r, const struct link *k)
{
	return &r->record.by_path[((size_t)r->record.hour * r->nsubnets +
					  r->subnet_of[k->match.source]) *
					  r->s->nclusters +
				  k->cluster];
}

void record_delivered(struct rehearsal *r, const struct link *k, const struct letter *g)
{
	struct rehearsal_traffic *of = &r->record.by_traffic[g->traffic];
	struct rehearsal_hour *h = &r->record.hours[r->record.hour];
	ms_t age = r->now - g->arrived;
	unsigned b = 0;

	of->delivered += g->match.count;
	of->delay_sum += age * g->match.count;
	of->delay_max = age > of->delay_max ? age : of->delay_max;
	r->record.total.delivered += g->match.count;
	h->n.delivered += g->match.count;
	h->delay_sum += age * g->match.count;
	r->record.by_source[(size_t)r->record.hour * r->params->nsources + k->match.source]
		.delivered += g->match.count;
	path_cell(r, k)->delivered += g->match.count;
	while (b + 1 < REHEARSAL_DELAYS && age > (ms_t)rehearsal_delay_bounds[b] * 1000)
		b++;
	r->record.delays[b] += g->match.count;
	if (age > r->record.delay_max)
		r->record.delay_max = age;
	record_left(r, g);
}

void record_deferred(struct rehearsal *r, const struct link *k)
{
	r->record.total.deferred++;
	r->record.hours[r->record.hour].n.deferred++;
	r->record.by_source[(size_t)r->record.hour * r->params->nsources + k->match.source]
		.deferred++;
	path_cell(r, k)->deferred++;
}

/* ---- events ---- */

/* The relay may know a cluster by its network only; the scenario's name says more. */
static void name_cluster(const struct rehearsal *r, char out[40], const char *name)
{
	char text[ADDR_TEXT_MAX + 4];

	snprintf(out, 40, "%s", name);
	for (unsigned i = 0; i < r->s->nclusters; i++) {
		struct net n = net_of(&r->receivers[i].hosts[0].addr, 24, 48);

		net_format(text, &n);
		if (!strcmp(text, name) || !strcasecmp(r->s->clusters[i].name, name))
			snprintf(out, 40, "%.39s", r->s->clusters[i].name);
	}
}

static bool same_story(const struct rehearsal_event *a, const struct rehearsal_event *b)
{
	return a->kind == b->kind && !strcmp(a->provider, b->provider) &&
	       !strcmp(a->cluster, b->cluster) && !strcmp(a->source, b->source) &&
	       !strcmp(a->subnet, b->subnet) && !strcmp(a->domain, b->domain);
}

/* The kind that this one ends; itself: none. */
static enum policy_event_kind opposite(enum policy_event_kind k)
{
	switch ((int)k) {
	case POLICY_EVENT_SOURCE_UNBLOCKED:
		return POLICY_EVENT_SOURCE_BLOCKED;
	case POLICY_EVENT_CLUSTER_WELL:
		return POLICY_EVENT_CLUSTER_DEFERS;
	case POLICY_EVENT_PROVIDER_WELL:
		return POLICY_EVENT_PROVIDER_DEFERS;
	case POLICY_EVENT_DEFERRALS_NORMAL:
		return POLICY_EVENT_DEFERRALS_HIGH;
	case POLICY_EVENT_WARMUP_RESUMED:
		return POLICY_EVENT_WARMUP_PAUSED;
	case POLICY_EVENT_WARMUP_BACKLOG_OVER:
		return POLICY_EVENT_WARMUP_BACKLOG;
	default:
		return k;
	}
}

static struct rehearsal_event *story(struct rehearsal *r, const struct rehearsal_event *v)
{
	for (unsigned i = r->record.nevents; i-- > 0;) {
		struct rehearsal_event *e = &r->record.events[i];

		if (same_story(e, v) &&
			(e->open || v->first - (e->over ? e->over : e->last) < APART))
			return e;
	}
	return NULL;
}

static struct rehearsal_event *event_new(struct rehearsal *r)
{
	struct rehearsal_event *a;
	unsigned cap = r->record.events_cap ? r->record.events_cap * 2 : 64;

	if (r->record.nevents == r->record.events_cap) {
		a = r->record.nevents < EVENTS_MAX ? realloc(r->record.events, cap * sizeof(*a))
						   : NULL;
		if (!a) {
			r->record.events_lost++;
			return NULL;
		}
		r->record.events = a;
		r->record.events_cap = cap;
	}
	return &r->record.events[r->record.nevents++];
}

static bool over(const struct policy_event *e)
{
	return e->over || opposite(e->kind) != e->kind;
}

void record_event(void *rehearsal, const struct policy_event *e)
{
	struct rehearsal *r = rehearsal;
	struct rehearsal_event v = {
		.kind = opposite(e->kind), .first = e->wall, .last = e->wall, .times = 1
	};
	struct rehearsal_event *old;

	if (e->kind == POLICY_EVENT_CLUSTER_LEARNED || e->kind == POLICY_EVENT_WARMUP_DAY)
		return;
	name_cluster(r, v.cluster, e->cluster);
	snprintf(v.provider, sizeof(v.provider), "%s", e->provider);
	snprintf(v.source, sizeof(v.source), "%s", e->source);
	snprintf(v.subnet, sizeof(v.subnet), "%s", e->subnet);
	snprintf(v.domain, sizeof(v.domain), "%.63s", e->domain);
	snprintf(v.cause, sizeof(v.cause), "%s", e->cause);
	snprintf(v.text, sizeof(v.text), "%s", e->text);
	v.alarm = e->alarm;
	v.open = true;
	old = story(r, &v);
	if (over(e)) {
		if (old) {
			old->over = e->wall;
			old->open = false;
		}
		return;
	}
	if (old) {
		old->times++;
		old->last = e->wall;
		old->open = true;
		old->alarm |= v.alarm;
		return;
	}
	old = event_new(r);
	if (old)
		*old = v;
}

/* ---- the end of an hour, of a day ---- */

static void hour_ends(struct rehearsal *r)
{
	struct rehearsal_hour *h = &r->record.hours[r->record.hour];
	uint64_t told = 0;
	ms_t oldest = 0;

	h->queue_end = r->record.waiting;
	for (uint32_t i = 0; i < r->nflows; i++) {
		const struct flow *f = &r->flows[i];

		const struct waiter *w = &f->match.waiter;

		if (!f->match.nready)
			continue;
		if (w->waiting && w->reason < 16) {
			h->held[w->reason] += f->match.messages;
			told += f->match.messages;
		}
		if (r->now - letter_of(f->match.ready.next)->arrived > oldest)
			oldest = r->now - letter_of(f->match.ready.next)->arrived;
	}
	h->held[HOLD_NONE] = r->record.waiting - told;
	for (size_t i = 0; i < r->heap.n; i++) {
		const struct event *e = &r->heap.a[i];

		if (e->kind == EVENT_RETRY && r->now - letter_at(r, e->index)->arrived > oldest)
			oldest = r->now - letter_at(r, e->index)->arrived;
	}
	h->oldest = oldest;
}

static void keep_ramp(void *arg, const struct policy_warmup_info *i)
{
	struct rehearsal *r = arg;
	struct rehearsal_ramp *a, v = { .day = i->day,
		.at = wall_of(r),
		.rung = i->rung,
		.nrungs = i->nrungs,
		.allowance = i->allowance,
		.used = i->used,
		.share = i->share,
		.full = i->full,
		.full_volume = i->full_volume };

	if (r->record.nramps == r->record.ramps_cap) {
		unsigned cap = r->record.ramps_cap ? r->record.ramps_cap * 2 : 64;

		a = realloc(r->record.ramps, cap * sizeof(*a));
		if (!a) {
			r->no_memory = true;
			return;
		}
		r->record.ramps = a;
		r->record.ramps_cap = cap;
	}
	for (v.source = 0; v.source + 1 < r->params->nsources; v.source++)
		if (!strcmp(r->params->sources[v.source].name, i->source))
			break;
	for (v.provider = 0; v.provider + 1 < r->params->nproviders; v.provider++)
		if (!strcmp(r->params->providers[v.provider].name, i->provider))
			break;
	snprintf(v.state, sizeof(v.state), "%s", i->state ? i->state : "");
	snprintf(v.change, sizeof(v.change), "%s", i->change ? i->change : "");
	snprintf(v.why, sizeof(v.why), "%s", i->why ? i->why : "");
	r->record.ramps[r->record.nramps++] = v;
}

static void day_ends(struct rehearsal *r)
{
	policy_warmups(r->policy, policy_time(r), keep_ramp, r);
}

/* Called once a second. */
void record_tick(struct rehearsal *r)
{
	ms_t wall = wall_of(r);

	if (wall >= r->day.next - 1000 && !r->day_told) {
		r->day_told = true;
		day_ends(r);
	}
	if (wall >= r->day.next) {
		receiver_day(r);
		zone_day(r->params->zone, wall, &r->day);
		r->day_told = false;
	}
	if (r->now >= (ms_t)(r->record.hour + 1) * HOUR && r->record.hour + 1 < r->record.nhours) {
		hour_ends(r);
		r->record.hour++;
		r->record.hours[r->record.hour].queue_max = r->record.waiting;
		r->record.hours[r->record.hour].stored_max = r->record.stored;
	}
}

void record_end(struct rehearsal *r)
{
	hour_ends(r);
	/* at midnight the day has been told already */
	if (!r->day_told && wall_of(r) - r->day.start >= HOUR)
		day_ends(r);
}
