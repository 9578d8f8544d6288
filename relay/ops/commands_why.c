/* The control command "why": what the policy believes, with the figures behind it, and what the
 * waiting mail of each pool waits for. Called on a control client's thread. */
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"
#include "waits.h"

struct why {
	struct policy_why_filter f;
	json_t *array;
	bool known_source, known_pool, more;
};

static json_t *row_json(const struct policy_why_row *r)
{
	return json_pack("{so sf sf sf}", "what", json_text(r->what), "accepted", r->accepted,
		"refused", r->refused, "ratio", r->ratio);
}

static void add_why(void *arg, const struct policy_why *i)
{
	struct why *w = arg;
	json_t *rows = json_array();

	for (unsigned k = 0; rows && k < i->nrows; k++)
		answers_add(rows, row_json(&i->rows[k]));
	answers_add(w->array,
		json_pack("{so so so so so so so so so so so so sf sf so so}", "row",
			json_text("diagnosis"), "kind", json_text(i->kind), "state",
			json_text(policy_state_name(i->state)), "source", json_text(i->source),
			"subnet", json_text(i->subnet), "cluster", json_text(i->cluster),
			"provider", json_text(i->provider), "domain", json_text(i->domain),
			"sender", json_text(i->sender), "since", json_time(i->since), "until",
			json_time(i->until), "counted", json_time(i->found), "score", i->score,
			"needed", i->needed, "text", json_text(i->text), "contrast", rows));
}

static void gather_why(struct dispatch *d, void *arg)
{
	struct why *w = arg;
	struct policy *p = dispatch_policy(d);

	w->known_pool = !w->f.pool || policy_pool(p, w->f.pool) >= 0;
	w->known_source = !w->f.source || policy_has_source(p, w->f.source);
	if (w->known_pool && w->known_source)
		w->more = policy_why(p, dispatch_now(d), &w->f, add_why, w);
}

static bool still_wanted(void *client)
{
	const struct control_client *c = client;

	return !c->broken;
}

static int gather_waits(struct control_client *c, struct why *w)
{
	const struct waits_asked a = { .queue = c->ctx->queue,
		.dispatch = c->ctx->dispatch,
		.pool = w->f.pool,
		.at = w->f.at,
		.go_on = still_wanted,
		.arg = c };
	struct waits *waits = NULL;
	int r = waits_take(&waits, &a);

	for (size_t i = 0; !r && i < waits->ngroups; i++)
		answers_add(w->array, waits_group_json(&waits->groups[i]));
	waits_free(waits);
	return r;
}

static void run_why(struct control_client *c, const json_t *request)
{
	struct why w = { .f = { request_str(request, "source"), request_str(request, "at"),
				 request_str(request, "pool") },
		.array = json_array() };
	int r = 0;

	ask(c->ctx->dispatch, gather_why, &w);
	if (!w.known_source || !w.known_pool) {
		json_decref(w.array);
		control_fail(c, EX_DATAERR, "there is no %s '%s'",
			w.known_source ? "pool" : "source", w.known_source ? w.f.pool : w.f.source);
		return;
	}
	/* one source's own waiting mail is no number: its pool's is */
	if (!w.f.source)
		r = gather_waits(c, &w);
	if (w.more)
		answers_add(
			w.array, json_pack("{so so}", "row", json_text("more"), "text",
					 json_text("there are more: ask with --at or --source")));
	control_say_all(c, w.array);
	if (r)
		control_fail(c, EX_TEMPFAIL, "the queue could not be counted: %s", strerror(-r));
}

const struct control_command commands_why[] = {
	{ "why", run_why },
	{ 0 },
};
