/* A rehearsal's life: made from a configuration and a scenario, run event after event in virtual
 * time, asked for its result, freed. Called by `postern rehearse`, and by tests. Pure: it reads no
 * clock and no file. */
#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"
#include "state.h"

#define SECOND	      1000
#define BACKLOG_EVERY 60 /* seconds */

int rehearsal_new(struct rehearsal **ret, const struct rehearsal_params *p)
{
	struct rehearsal *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->s = p->scenario;
	r->params = p->policy;
	r->record.queue_room = p->queue_room;
	if (setup(r, p->rules) || policy_new(&r->policy, p->policy, r->s->seed + 1)) {
		rehearsal_free(r);
		return -ENOMEM;
	}
	r->match.policy = r->policy;
	traffic_start(r);
	post(r, SECOND, EVENT_TICK, 0, 0);
	*ret = r;
	return 0;
}

struct rehearsal *rehearsal_free(struct rehearsal *r)
{
	if (!r)
		return NULL;
	policy_free(r->policy);
	teardown(r);
	free(r);
	return NULL;
}

/* ---- once a second ---- */

static void on_policy_event(void *arg, const struct policy_event *e)
{
	struct rehearsal *r = arg;

	r->relieved |= e->over;
	record_event(r, e);
}

static void wake_all(struct rehearsal *r)
{
	for (uint32_t i = 0; i < r->nflows; i++) {
		struct waiter *w = &r->flows[i].match.waiter;

		if (w->reason != HOLD_CAP && w->reason != HOLD_RATE)
			waiter_over(&r->match.places, w);
	}
	for (uint32_t i = 0; i < r->nlinks; i++)
		if (r->links[i]->match.paused)
			match_resume(&r->match, policy_time(r), &r->links[i]->match);
}

static void nowhere(void *arg, struct slice key, struct slice value)
{
}

/* What is to be saved is on disk at once here. */
static void save(struct rehearsal *r)
{
	uint64_t ticket;

	policy_save_warmup(r->policy, policy_time(r), nowhere, NULL, &ticket);
	policy_warmup_saved(r->policy, policy_time(r), ticket, true);
}

static void tell_backlog(struct rehearsal *r)
{
	for (unsigned v = 0; r->params->nwarmups && v < r->params->nproviders; v++)
		for (unsigned k = 0; k < r->params->npools; k++) {
			uint64_t n = 0;

			for (uint32_t i = 0; i < r->nflows; i++) {
				const struct flow *f = &r->flows[i];

				if (f->pool == k && f->match.waiter.waiting &&
					f->match.waiter.reason == HOLD_WARMUP &&
					r->s->clusters[f->cluster].provider_index == v)
					n += f->match.messages;
			}
			policy_warmup_backlog(r->policy, policy_time(r), v, k, n);
		}
}

static void on_tick(struct rehearsal *r)
{
	match_tick(&r->match, policy_time(r).mono);
	policy_tick(r->policy, policy_time(r));
	policy_events(r->policy, on_policy_event, r);
	if (r->relieved) {
		r->relieved = false;
		wake_all(r);
	}
	if (policy_urgent(r->policy))
		policy_save(r->policy, nowhere, NULL);
	if (r->now / SECOND % BACKLOG_EVERY == 0)
		tell_backlog(r);
	if (r->now / SECOND % BOTTLENECKS_EVERY == 0)
		bottlenecks_look(r);
	match_freed(&r->match, NULL, NULL, 256);
	if (r->now >= r->next_edge)
		receiver_edges(r);
	record_tick(r);
	post(r, r->now + SECOND, EVENT_TICK, 0, 0);
}

/* ---- events ---- */

static void on_retry(struct rehearsal *r, struct letter *g)
{
	if (end_expired(r, g))
		end_expire(r, g);
	else
		mail_push(r, &r->flows[g->flow], g, false);
}

static bool current(const struct rehearsal *r, const struct event *e)
{
	switch ((enum event_kind)e->kind) {
	case EVENT_UP:
	case EVENT_DONE:
	case EVENT_CLOSED:
		return r->links[e->index]->generation == e->generation;
	case EVENT_LINK:
		return r->links[e->index]->generation == e->generation &&
		       r->links[e->index]->match.paused;
	case EVENT_TRAFFIC:
	case EVENT_RETRY:
	case EVENT_TICK:
		break;
	}
	return true;
}

static void handle(struct rehearsal *r, const struct event *e)
{
	switch ((enum event_kind)e->kind) {
	case EVENT_TRAFFIC:
		on_traffic(r, e->index);
		break;
	case EVENT_RETRY:
		on_retry(r, letter_at(r, e->index));
		break;
	case EVENT_UP:
		on_up(r, r->links[e->index]);
		break;
	case EVENT_DONE:
		on_done(r, r->links[e->index]);
		break;
	case EVENT_CLOSED:
		on_closed(r, r->links[e->index]);
		break;
	case EVENT_LINK:
		match_resume(&r->match, policy_time(r), &r->links[e->index]->match);
		break;
	case EVENT_TICK:
		on_tick(r);
		break;
	}
}

static ms_t next_at(const struct rehearsal *r)
{
	ms_t wait = places_at(&r->match.places), at = r->heap.n ? r->heap.a[0].at : INT64_MAX;

	return wait && wait - MONO < at ? wait - MONO : at;
}

static void step(struct rehearsal *r)
{
	struct event e;

	if (r->heap.n && r->heap.a[0].at == r->now) {
		e = heap_take(&r->heap);
		if (current(r, &e))
			handle(r, &e);
	} else {
		mail_due(r);
	}
	mail_asked(r);
	if (policy_warmup_wants(r->policy))
		save(r);
}

int rehearsal_run(struct rehearsal *r, ms_t until)
{
	ms_t end = until - r->s->start < r->s->duration ? until - r->s->start : r->s->duration;

	while (next_at(r) <= end && !r->no_memory && !r->ended) {
		ms_t at = next_at(r);

		must(at >= r->now);
		r->now = at;
		step(r);
	}
	if (r->no_memory)
		return -ENOMEM;
	if (end > r->now)
		r->now = end;
	if (end == r->s->duration && !r->ended) {
		r->ended = true;
		policy_events(r->policy, on_policy_event, r);
		record_end(r);
	}
	return 0;
}

void rehearsal_result(const struct rehearsal *r, struct rehearsal_result *ret)
{
	*ret = (struct rehearsal_result){
		.scenario = r->s,
		.policy = r->params,
		.nhours = r->record.nhours,
		.nsources = r->params->nsources,
		.nsubnets = r->nsubnets,
		.nclusters = r->s->nclusters,
		.hours = r->record.hours,
		.by_source = r->record.by_source,
		.by_path = r->record.by_path,
		.subnets = r->subnets,
		.subnet_of = r->subnet_of,
		.events = r->record.events,
		.nevents = r->record.nevents,
		.events_lost = r->record.events_lost,
		.by_traffic = r->record.by_traffic,
		.waits = r->record.waits,
		.ramps = r->record.ramps,
		.nramps = r->record.nramps,
		.total = r->record.total,
		.waiting = r->record.waiting,
		.queue_max = r->record.queue_max,
		.stored_max = r->record.stored_max,
		.queue_room = r->record.queue_room,
		.full_arrived = r->record.full_arrived,
		.full_from = r->record.full_from,
		.queue_mean = record_queue_mean(r),
		.connects = r->record.connects,
		.batch = r->match.batch,
		.steps = r->record.steps,
		.queue_max_at = r->record.queue_max_at,
		.last_out = r->record.last_out,
		.delay_max = r->record.delay_max,
		.now = wall_of(r),
		.most_connections = r->record.most_connections,
	};
	memcpy(ret->delays, r->record.delays, sizeof(ret->delays));
	for (uint32_t i = 0; i < r->nflows; i++)
		if (r->flows[i].match.waiter.waiting &&
			r->flows[i].match.waiter.reason == HOLD_WARMUP)
			ret->waiting_for_warmup += r->flows[i].match.messages;
}
