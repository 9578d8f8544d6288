/* A rehearsal for programs: all figures by hour, and the findings. Called by rehearse.c. */
#include <stdlib.h>

#include "rehearse.h"

static json_t *time_of(ms_t wall)
{
	char text[CLOCK_RFC3339_MAX];

	if (!wall)
		return json_null();
	clock_rfc3339(text, wall);
	return json_text(text);
}

static json_t *count_of(const struct rehearsal_count *n)
{
	return json_pack("{sI sI sI sI sI sI}", "arrived", (json_int_t)n->arrived, "delivered",
		(json_int_t)n->delivered, "deferred", (json_int_t)n->deferred, "diverted",
		(json_int_t)n->diverted, "bounced", (json_int_t)n->bounced, "expired",
		(json_int_t)n->expired);
}

static json_t *sources_of(const struct view *v, unsigned row)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < v->r->nsources; i++) {
		struct rehearsal_cell c = view_source(v, row, i);

		json_object_set_new(all, v->r->policy->sources[i].name,
			json_pack("{sI sI}", "delivered", (json_int_t)c.delivered, "deferred",
				(json_int_t)c.deferred));
	}
	return all;
}

static json_t *paths_of(const struct view *v, unsigned row)
{
	json_t *all = json_array();
	char subnet[ADDR_TEXT_MAX + 4];

	for (unsigned i = 0; i < v->r->nsubnets; i++)
		for (unsigned k = 0; k < v->r->nclusters; k++) {
			struct rehearsal_cell c = view_path(v, row, i, k);

			net_format(subnet, &v->r->subnets[i]);
			answers_add(
				all, json_pack("{so so sI sI}", "subnet", json_text(subnet),
					     "cluster", json_text(v->r->scenario->clusters[k].name),
					     "delivered", (json_int_t)c.delivered, "deferred",
					     (json_int_t)c.deferred));
		}
	return all;
}

static json_t *rows_of(const struct view *v)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < v->nrows; i++) {
		struct rehearsal_hour h;
		json_t *row, *held = json_object();

		view_row(v, i, &h);
		for (unsigned k = 1; k < 16; k++)
			if (h.held[k])
				json_object_set_new(held, hold_reason_text((enum hold_reason)k),
					json_integer((json_int_t)h.held[k]));
		row = count_of(&h.n);
		json_object_set_new(row, "start", time_of(h.start));
		json_object_set_new(row, "queue", json_integer((json_int_t)h.queue_end));
		json_object_set_new(row, "queue_max", json_integer((json_int_t)h.queue_max));
		json_object_set_new(
			row, "queue_stored_max", json_integer((json_int_t)h.stored_max));
		json_object_set_new(row, "oldest_seconds", json_integer(h.oldest / 1000));
		json_object_set_new(row, "held", held);
		json_object_set_new(row, "sources", sources_of(v, i));
		json_object_set_new(row, "paths", paths_of(v, i));
		answers_add(all, row);
	}
	return all;
}

static json_t *waits_of(const struct rehearsal_result *r)
{
	ms_t all_time = r->now - r->scenario->start;
	json_t *all = json_array();

	for (unsigned pool = 0; pool < r->policy->npools; pool++)
		for (unsigned k = 0; k < REHEARSAL_WAITS; k++) {
			const struct rehearsal_wait *w =
				&r->waits[(size_t)pool * REHEARSAL_WAITS + k];

			if (!w->time)
				continue;
			answers_add(all, json_pack("{so so sI sf so so sI}", "pool",
						 json_text(r->policy->pools[pool].name), "reason",
						 json_text(rehearsal_wait_text(k)), "seconds",
						 (json_int_t)(w->time / 1000), "share",
						 (double)w->time / (double)all_time, "first",
						 time_of(w->first), "last", time_of(w->last),
						 "messages_most", (json_int_t)w->most));
		}
	return all;
}

static json_t *events_of(const struct rehearsal_result *r)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < r->nevents; i++) {
		const struct rehearsal_event *e = &r->events[i];

		answers_add(
			all, json_pack("{so sb so so so so so so so so so so si}", "event",
				     json_text(policy_event_name(e->kind)), "alarm", e->alarm,
				     "provider", json_text(e->provider), "cluster",
				     json_text(e->cluster), "source", json_text(e->source),
				     "subnet", json_text(e->subnet), "domain", json_text(e->domain),
				     "cause", json_text(e->cause), "text", json_text(e->text),
				     "first", time_of(e->first), "last", time_of(e->last), "over",
				     time_of(e->over), "times", (int)e->times));
	}
	return all;
}

static json_t *ramps_of(const struct rehearsal_result *r)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < r->nramps; i++) {
		const struct rehearsal_ramp *w = &r->ramps[i];
		char date[ZONE_DATE_MAX];

		zone_date_format(date, w->day);
		answers_add(
			all, json_pack("{so so so si si so sI sf so so so}", "day", json_text(date),
				     "source", json_text(r->policy->sources[w->source].name),
				     "provider", json_text(r->policy->providers[w->provider].name),
				     "rung", (int)w->rung, "rungs", (int)w->nrungs, "allowance",
				     w->allowance == UINT32_MAX ? json_null()
								: json_integer(w->allowance),
				     "used", (json_int_t)w->used, "share", w->share, "state",
				     json_text(w->state), "change", json_text(w->change), "why",
				     json_text(w->why)));
	}
	return all;
}

static void add_finding(void *arg, enum finding_level level, const char *text)
{
	static const char *const names[] = { "well", "look", "act" };

	answers_add(arg,
		json_pack("{so so}", "level", json_text(names[level]), "text", json_text(text)));
}

static json_t *traffic_of(const struct rehearsal_result *r)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < r->scenario->ntraffic; i++) {
		const struct scenario_traffic *t = &r->scenario->traffic[i];
		const struct rehearsal_traffic *of = &r->by_traffic[i];

		answers_add(all,
			json_pack("{so so sI sI sI sf sI}", "traffic", json_text(t->name), "class",
				json_text(t->class), "arrived", (json_int_t)of->arrived,
				"delivered", (json_int_t)of->delivered, "expired",
				(json_int_t)of->expired, "delay_mean_seconds",
				of->delivered ? (double)of->delay_sum / 1000 / (double)of->delivered
					      : 0.0,
				"delay_max_seconds", (json_int_t)(of->delay_max / 1000)));
	}
	return all;
}

int rehearse_json(const struct view *v)
{
	const struct rehearsal_result *r = v->r;
	json_t *all = count_of(&r->total), *findings = json_array();
	char *text;

	rehearsal_findings(r, add_finding, findings);
	json_object_set_new(all, "start", time_of(r->scenario->start));
	json_object_set_new(all, "end", time_of(r->now));
	json_object_set_new(all, "attempts", json_integer((json_int_t)r->total.attempts));
	json_object_set_new(all, "connections", json_integer((json_int_t)r->connects));
	json_object_set_new(all, "most_connections", json_integer(r->most_connections));
	json_object_set_new(all, "waiting", json_integer((json_int_t)r->waiting));
	json_object_set_new(all, "queue_max", json_integer((json_int_t)r->queue_max));
	json_object_set_new(all, "queue_mean", json_real(r->queue_mean));
	json_object_set_new(all, "queue_max_at", time_of(r->queue_max_at));
	json_object_set_new(all, "queue_stored_max", json_integer((json_int_t)r->stored_max));
	json_object_set_new(all, "queue_room", json_integer((json_int_t)r->queue_room));
	json_object_set_new(all, "queue_full_from", time_of(r->full_from));
	json_object_set_new(all, "queue_full_arrived", json_integer((json_int_t)r->full_arrived));
	json_object_set_new(all, "last_out", time_of(r->last_out));
	json_object_set_new(all, "delay_max_seconds", json_integer(r->delay_max / 1000));
	json_object_set_new(all, "messages_per_step", json_integer((json_int_t)r->batch));
	json_object_set_new(all, "steps", json_integer((json_int_t)r->steps));
	json_object_set_new(all, "rows", rows_of(v));
	json_object_set_new(all, "traffic", traffic_of(r));
	json_object_set_new(all, "waits", waits_of(r));
	json_object_set_new(all, "events", events_of(r));
	json_object_set_new(all, "warmup", ramps_of(r));
	json_object_set_new(all, "findings", findings);
	text = json_dumps(all, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	json_decref(all);
	if (!text)
		return -1;
	print("%s\n", text);
	free(text);
	return 0;
}
