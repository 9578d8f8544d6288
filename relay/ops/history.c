/* The history's answers, and the control command of that name. Called on the threads of control
 * clients and of HTTP: the dispatcher's is asked for a view only, which is read here. */
#include "history.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"

#define SINCE_DEFAULT 86400000
#define SINCE_MAX     (400ll * 86400000)

/* What the names of a kind are called, in their order; the other kinds have the first ones. */
static const char *const names[HISTORY_KIND_COUNT][HISTORY_NAMES] = {
	[HISTORY_LANE] = { "source", "cluster", "subnet", "provider" },
	[HISTORY_SOURCE] = { "source" },
	[HISTORY_SUBNET] = { "subnet" },
	[HISTORY_CLUSTER] = { "cluster", "provider" },
	[HISTORY_PROVIDER] = { "provider" },
	[HISTORY_POOL] = { "pool" },
	[HISTORY_QUEUE] = { "pool", "provider", "reason" },
	[HISTORY_RAMP] = { "source", "provider", "change", "why" },
	[HISTORY_PATH] = { "subnet", "cluster" },
};

/* ---- the question ---- */

static int read_level(const char *step, enum history_level *ret)
{
	for (unsigned l = 0; l < HISTORY_LEVELS; l++)
		if (!strcmp(step, history_level_name((enum history_level)l))) {
			*ret = (enum history_level)l;
			return 0;
		}
	return -EINVAL;
}

static int read_asked(
	struct history_question *q, const struct history_asked *a, char *error, size_t error_max)
{
	int by = history_kind_parse(a->by ? a->by : "total");
	ms_t since = SINCE_DEFAULT;

	if (by < 0) {
		snprintf(error, error_max,
			"'%.40s' is none of lane, source, subnet, cluster, provider, pool, path, "
			"total, queue, ramp",
			a->by);
		return -EINVAL;
	}
	if (read_level(a->step ? a->step : "hour", &q->level)) {
		snprintf(error, error_max, "'%.40s' is none of minute, hour, day", a->step);
		return -EINVAL;
	}
	if (a->since &&
		(duration_parse(&since, slice_of(a->since)) || since <= 0 || since > SINCE_MAX)) {
		snprintf(error, error_max,
			"'%.40s' is not a duration such as \"90m\", \"24h\" or \"30d\", of 400 days "
			"at most",
			a->since);
		return -EINVAL;
	}
	q->by = (enum history_kind)by;
	if (q->by == HISTORY_RAMP)
		q->level = HISTORY_DAY;
	q->to = since;
	q->name = a->of && *a->of ? a->of : NULL;
	q->sum = a->sum;
	return 0;
}

/* On the dispatcher's thread, whose time it is. The present period belongs to it, and the day that
 * it is somewhere already. */
static void look(struct dispatch *d, void *arg)
{
	struct history_answer *a = arg;
	ms_t wall = dispatch_now(d).wall, length = history_length(a->q.level);
	ms_t since = a->q.to;

	a->q.to = (wall / length + 1) * length;
	if (a->q.by == HISTORY_RAMP)
		a->q.to += length;
	a->q.from = wall > since ? (wall - since) / length * length : 0;
	a->view = history_look(dispatch_history(d), &a->q);
}

int history_ask(struct history_answer *a, const struct ops_context *ctx,
	const struct history_asked *asked, char *error, size_t error_max)
{
	int r;

	*a = (struct history_answer){ 0 };
	r = read_asked(&a->q, asked, error, error_max);
	if (r)
		return r;
	ask(ctx->dispatch, look, a);
	return a->view ? 0 : -ENOMEM;
}

void history_answer_free(struct history_answer *a)
{
	a->view = history_view_free(a->view);
}

/* ---- the answer ---- */

json_t *history_about(const struct history_answer *a)
{
	return json_pack("{so so so so so}", "by", json_text(history_kind_name(a->q.by)), "step",
		json_text(a->q.sum ? "all" : history_level_name(a->q.level)), "from",
		json_time(a->q.from), "to", json_time(a->q.to), "complete_since",
		json_time(history_view_since(a->view)));
}

static void put(json_t *row, const char *key, uint64_t n)
{
	json_object_set_new(row, key, json_integer((json_int_t)n));
}

static json_t *seconds(const struct history_cell *c, double q)
{
	return c->n[HISTORY_DELIVERED] ? json_real((double)history_quantile(c->delay, q) / 1000)
				       : json_null();
}

static void put_counts(json_t *row, const struct history_cell *c)
{
	json_t *verdicts = json_object();

	put(row, "attempts", c->n[HISTORY_ATTEMPTS]);
	put(row, "delivered", c->n[HISTORY_DELIVERED]);
	put(row, "deferred", history_deferred(c));
	put(row, "bounced", c->n[HISTORY_BOUNCED]);
	put(row, "connections", c->n[HISTORY_CONNECTIONS]);
	put(row, "connect_failures", c->n[HISTORY_CONNECT_FAILURES]);
	put(row, "bytes", c->n[HISTORY_BYTES]);
	for (unsigned v = 0; v < VERDICT_COUNT; v++)
		if (c->n[HISTORY_DEFERRED + v])
			put(verdicts, verdict_name((enum verdict)v), c->n[HISTORY_DEFERRED + v]);
	json_object_set_new(row, "deferred_by_verdict", verdicts);
	json_object_set_new(row, "delay_p50", seconds(c, 0.5));
	json_object_set_new(row, "delay_p95", seconds(c, 0.95));
	json_object_set_new(row, "delay_p99", seconds(c, 0.99));
}

static void put_ramp(json_t *row, const struct history_cell *c)
{
	uint64_t all = c->n[HISTORY_RAMP_DELIVERED] + c->n[HISTORY_RAMP_DEFERRED];

	put(row, "rung", c->n[HISTORY_RAMP_RUNG]);
	put(row, "rungs", c->n[HISTORY_RAMP_RUNGS]);
	if (c->n[HISTORY_RAMP_ALLOWANCE] == UINT32_MAX)
		json_object_set_new(row, "allowance", json_null());
	else
		put(row, "allowance", c->n[HISTORY_RAMP_ALLOWANCE]);
	put(row, "used", c->n[HISTORY_RAMP_USED]);
	put(row, "delivered", c->n[HISTORY_RAMP_DELIVERED]);
	put(row, "deferred", c->n[HISTORY_RAMP_DEFERRED]);
	json_object_set_new(row, "deferral_share",
		json_real(all ? (double)c->n[HISTORY_RAMP_DEFERRED] / (double)all : 0));
}

static json_t *start_json(const struct history_answer *a, ms_t start)
{
	char text[ZONE_DATE_MAX];

	if (a->q.by != HISTORY_RAMP)
		return json_time(start);
	zone_date_format(text, (int32_t)start);
	return start ? json_text(text) : json_null();
}

json_t *history_row(const struct history_answer *a, ms_t start, const struct history_cell *c)
{
	json_t *row = json_object();

	json_object_set_new(row, "start", start_json(a, start));
	for (unsigned i = 0; i < HISTORY_NAMES && names[a->q.by][i]; i++)
		json_object_set_new(row, names[a->q.by][i], json_slice(c->name[i]));
	if (a->q.by == HISTORY_RAMP) {
		put_ramp(row, c);
	} else if (a->q.by == HISTORY_QUEUE) {
		put(row, "recipients", c->n[HISTORY_WAITING]);
		put(row, "oldest_s", c->n[HISTORY_OLDEST]);
	} else {
		put_counts(row, c);
	}
	return row;
}

/* ---- the command ---- */

struct telling {
	struct control_client *c;
	const struct history_answer *a;
};

static bool tell(void *arg, ms_t start, const struct history_cell *cell)
{
	struct telling *t = arg;

	return control_say(t->c, history_row(t->a, start, cell));
}

static void run_history(struct control_client *c, const json_t *request)
{
	const struct history_asked asked = { request_str(request, "by"),
		request_str(request, "step"), request_str(request, "since"),
		request_str(request, "of"), request_bool(request, "sum") };
	struct history_answer a;
	struct telling t = { c, &a };
	char error[200] = "out of memory";
	int r = history_ask(&a, c->ctx, &asked, error, sizeof(error));

	if (r) {
		control_fail(c, r == -EINVAL ? EX_USAGE : EX_TEMPFAIL, "%s", error);
		return;
	}
	if (control_say(c, history_about(&a)))
		r = history_view_each(a.view, tell, &t);
	if (r)
		control_fail(c, EX_TEMPFAIL, "not all of the history is shown: %s",
			r == -E2BIG ? "there is too much: ask with --of" : strerror(-r));
	history_answer_free(&a);
}

const struct control_command commands_history[] = {
	{ "history", run_history },
	{ 0 },
};
