/* Control commands about ramps: their state, and what operators set. On a control client's thread;
 * both are read and made on the dispatcher's, in between two of its turns. */
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"

struct gather {
	json_t *array;
	const struct zone *zone;
};

static json_t *date(int32_t day)
{
	char text[ZONE_DATE_MAX];

	zone_date_format(text, day);
	return day ? json_text(text) : json_null();
}

static json_t *limit(uint32_t n)
{
	return n == UINT32_MAX ? json_null() : json_integer(n);
}

static void add(void *arg, const struct policy_warmup_info *i)
{
	struct gather *g = arg;
	json_t *j = json_pack("{so so so so so si si so sI so sI sI sf so so so so sb so so sI}",
		"source", json_text(i->source), "provider", json_text(i->provider), "plan",
		json_text(i->plan), "day", date(i->day), "since", date(i->since), "rung",
		(int)i->rung, "rungs", (int)i->nrungs, "allowance", limit(i->allowance), "used",
		(json_int_t)i->used, "left_now", limit(i->left_now), "delivered",
		(json_int_t)i->delivered, "deferred", (json_int_t)i->deferred, "deferral_share",
		i->share, "state", json_text(i->state), "change", json_text(i->change), "why",
		json_text(i->why), "until", json_time(i->until), "operator_hold", i->operator_hold,
		"hold_until", json_time(i->hold_until), "full", date(i->full), "full_volume",
		(json_int_t)i->full_volume);

	answers_add(g->array, j);
}

static void gather(struct dispatch *d, void *arg)
{
	policy_warmups(dispatch_policy(d), dispatch_now(d), add, arg);
}

static void list(struct control_client *c)
{
	struct gather g = { .array = json_array() };

	ask(c->ctx->dispatch, gather, &g);
	control_say_all(c, g.array);
}

/* ---- what operators set ---- */

static const struct {
	const char *name, *done;
	enum policy_warmup_op op;
} actions[] = {
	{ "set", "set", WARMUP_SET },
	{ "hold", "held", WARMUP_HOLD },
	{ "release", "released", WARMUP_RELEASE },
	{ "skip", "one rung higher", WARMUP_SKIP },
	{ "reset", "back to the first rung", WARMUP_RESET },
};

struct operation {
	enum policy_warmup_op op;
	const char *source, *provider;
	unsigned rung;
	ms_t hold_for; /* 0: until released */
	int result;
};

static void operate(struct dispatch *d, void *arg)
{
	struct operation *o = arg;
	struct policy_now now = dispatch_now(d);

	o->result = policy_warmup_operate(dispatch_policy(d), now, o->op, o->source, o->provider,
		o->rung, o->hold_for ? now.wall + o->hold_for : 0);
	if (!o->result)
		dispatch_relieved(d);
}

static bool read_operation(
	struct control_client *c, const json_t *request, const char *action, struct operation *o)
{
	const char *expires = request_str(request, "for");
	json_int_t rung = json_integer_value(json_object_get(request, "rung"));

	o->source = request_str(request, "source");
	o->provider = request_str(request, "provider");
	if (!o->source) {
		control_fail(c, EX_USAGE, "say which source: warmup %s NAME", action);
		return false;
	}
	if (o->op == WARMUP_SET && (rung < 1 || rung > UINT16_MAX)) {
		control_fail(
			c, EX_USAGE, "say which rung, from 1: warmup set %s --rung N", o->source);
		return false;
	}
	o->rung = (unsigned)rung;
	if (expires && (duration_parse(&o->hold_for, slice_of(expires)) || o->hold_for <= 0)) {
		control_fail(c, EX_USAGE,
			"--for '%s' is not a duration such as \"90m\", \"4h\" or \"4d\"", expires);
		return false;
	}
	return true;
}

static void run_warmup(struct control_client *c, const json_t *request)
{
	const char *action = request_str(request, "action");
	struct operation o = { 0 };
	size_t k = 0;

	if (!action) {
		list(c);
		return;
	}
	while (k < sizeof(actions) / sizeof(*actions) && strcmp(actions[k].name, action) != 0)
		k++;
	if (k == sizeof(actions) / sizeof(*actions)) {
		control_fail(c, EX_USAGE, "there is no '%s': say set, hold, release, skip or reset",
			action);
		return;
	}
	o.op = actions[k].op;
	if (!read_operation(c, request, action, &o))
		return;
	ask(c->ctx->dispatch, operate, &o);
	if (o.result == -ENOENT)
		control_fail(c, EX_DATAERR, "source '%s' has no warm-up plan%s%s", o.source,
			o.provider ? " at provider " : "", o.provider ? o.provider : "");
	else if (o.result == -ERANGE)
		control_fail(c, EX_DATAERR, "its plan has no such rung: see postern warmup");
	else if (o.result)
		control_fail(c, EX_SOFTWARE, "not done: %s", strerror(-o.result));
	else
		control_record(c, actions[k].done);
}

const struct control_command commands_warmup[] = {
	{ "warmup", run_warmup },
	{ 0 },
};
