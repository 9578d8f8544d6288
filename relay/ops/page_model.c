/* What the pages show, as JSON: now, what waits, ramps, delays. Called on HTTP's thread; the
 * dispatcher is asked for what it has in memory, which is copied there and made to JSON here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "control.h"
#include "history.h"
#include "page.h"
#include "postern/text.h"
#include "postern/zone.h"
#include "survey.h"

#define WHY_MAX		60u
#define RAMPS_MAX	400u
#define MINUTES		60u
#define HOURS		48u
#define RAMP_DAYS	4000u
#define PROVIDERS_SHOWN 12u

/* ---- of the history and the policy ---- */

struct rows {
	const struct history_answer *a;
	json_t *array;
	size_t max;
};

static bool add_row(void *arg, ms_t start, const struct history_cell *c)
{
	struct rows *r = arg;

	if (json_array_size(r->array) >= r->max)
		json_array_remove(r->array, 0);
	answers_add(r->array, history_row(r->a, start, c));
	return true;
}

json_t *page_history(const struct ops_context *ctx, const struct history_asked *asked, size_t max)
{
	struct history_answer a;
	struct rows r = { &a, json_array(), max };
	char error[200];

	if (!r.array || history_ask(&a, ctx, asked, error, sizeof(error)))
		return r.array;
	history_view_each(a.view, add_row, &r);
	history_answer_free(&a);
	return r.array;
}

/* A limit that was found, or a suspicion, asks nothing of anybody. */
static bool is_alarm(enum policy_state s)
{
	return s != POLICY_LIMITED && s != POLICY_SUSPECTED;
}

/* What to do, by whom it is held against and how it stands. */
static const char *remedy(const struct policy_why *w)
{
	if (w->state == POLICY_SUSPENDED)
		return "An operator's doing: postern resume ends it.";
	if (!is_alarm(w->state))
		return "";
	if (w->state == POLICY_BLOCKED)
		return "Ask for delisting where the reply says; it is tried again by itself.";
	if (!strcmp(w->kind, "subnet"))
		return "Mail goes by other subnets. If it lasts: volume and reverse names first, then the "
		       "receiver's support, with a session of this subnet beside one of another.";
	if (!strcmp(w->kind, "source"))
		return "Mail goes by other sources. Look at its reverse name, lists and ramp.";
	if (!strcmp(w->kind, "cluster"))
		return "It is theirs: mail waits and is tried; look at the receiver's health page.";
	if (!strcmp(w->kind, "sender"))
		return "SPF, DKIM, DMARC or the standing of the domain that sends.";
	if (!strcmp(w->kind, "domain"))
		return "One tenant's: if it lasts, its administrator can say why.";
	if (!strcmp(w->kind, "recipient"))
		return "It gets more than it takes: send it less.";
	return "postern why tells more.";
}

struct whys {
	struct policy_why_filter f;
	const char *subnet;
	struct policy_why *a;
	unsigned n;
	bool more;
};

static void add_why(void *arg, const struct policy_why *w)
{
	struct whys *all = arg;

	if (all->subnet && w->subnet[0] && strcmp(w->subnet, all->subnet) != 0)
		return;
	if (all->n < WHY_MAX)
		all->a[all->n++] = *w;
	else
		all->more = true;
}

static void gather_why(struct dispatch *d, void *arg)
{
	struct whys *all = arg;

	all->more |= policy_why(dispatch_policy(d), dispatch_now(d), &all->f, add_why, all);
}

static json_t *why_rows(const struct policy_why *w)
{
	json_t *rows = json_array();

	for (unsigned k = 0; rows && k < w->nrows; k++)
		answers_add(rows,
			json_pack("{so sf sf}", "what", json_text(w->rows[k].what), "accepted",
				w->rows[k].accepted, "refused", w->rows[k].refused));
	return rows;
}

json_t *page_why(const struct ops_context *ctx, const char *at, const char *subnet)
{
	struct whys all = { .f = { .at = at }, .subnet = subnet };
	json_t *array = json_array();

	all.a = calloc(WHY_MAX, sizeof(*all.a));
	if (array && all.a)
		ask(ctx->dispatch, gather_why, &all);
	for (unsigned i = 0; i < all.n; i++) {
		const struct policy_why *w = &all.a[i];

		answers_add(array,
			json_pack("{so so sb so so so so so so so so so so so}", "kind",
				json_text(w->kind), "state", json_text(policy_state_name(w->state)),
				"alarm", is_alarm(w->state), "source", json_text(w->source),
				"subnet", json_text(w->subnet), "cluster", json_text(w->cluster),
				"provider", json_text(w->provider), "domain", json_text(w->domain),
				"sender", json_text(w->sender), "since", json_time(w->since),
				"until", json_time(w->until), "text", json_text(w->text), "remedy",
				json_text(remedy(w)), "figures", why_rows(w)));
	}
	free(all.a);
	return array;
}

/* ---- what waits ---- */

static json_t *oldest_json(ms_t oldest, const struct surveyed *s)
{
	return oldest && s->ended > oldest ? json_integer((s->ended - oldest + s->age) / 1000)
					   : json_integer(0);
}

static ms_t oldest_of(const struct waits *w)
{
	ms_t oldest = 0;

	for (size_t i = 0; i < w->nsums; i++)
		if (w->sums[i].oldest && (!oldest || w->sums[i].oldest < oldest))
			oldest = w->sums[i].oldest;
	return oldest;
}

/* One sentence or two, in words. */
static void say(char *out, size_t max, const struct surveyed *s)
{
	const struct waits *w = s->waits;
	const struct waits_group *most = NULL;
	ms_t oldest = oldest_of(w);
	char age[32] = "";

	for (size_t i = 0; i < w->ngroups; i++)
		if (!most || w->groups[i].recipients > most->recipients)
			most = &w->groups[i];
	if (!most) {
		snprintf(out, max, "Nothing waits: all that was accepted has gone.");
		return;
	}
	duration_format(age, oldest ? (s->ended - oldest) / 1000 * 1000 : 0);
	snprintf(out, max, "%llu %s, the oldest for %s. %s%llu: %s.",
		(unsigned long long)w->recipients,
		w->recipients == 1 ? "recipient waits" : "recipients wait", age,
		most->recipients == w->recipients ? "All " : "For one reason the most, ",
		(unsigned long long)most->recipients, most->text);
}

static json_t *sums_json(const struct surveyed *s)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < s->waits->nsums; i++) {
		const struct waits_sum *w = &s->waits->sums[i];

		answers_add(
			array, json_pack("{so so so sI so}", "pool", json_text(w->pool), "provider",
				       json_text(w->provider), "reason", json_text(w->reason),
				       "recipients", (json_int_t)w->recipients, "oldest_s",
				       oldest_json(w->oldest, s)));
	}
	return array;
}

static json_t *groups_json(const struct waits *w)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < w->ngroups; i++)
		answers_add(array, waits_group_json(&w->groups[i]));
	return array;
}

static json_t *domains_json(const struct surveyed *s)
{
	json_t *array = json_array();

	for (unsigned i = 0; array && i < s->waits->ndomains; i++) {
		const struct waits_domain *w = &s->waits->domains[i];

		answers_add(array,
			json_pack("{so so so so sI so}", "domain", json_text(w->name), "pool",
				json_text(w->pool), "provider", json_text(w->provider), "reason",
				json_text(w->reason), "recipients", (json_int_t)w->recipients,
				"oldest_s", oldest_json(w->oldest, s)));
	}
	return array;
}

static json_t *ages_json(const struct waits *w)
{
	json_t *array = json_array();

	for (unsigned i = 0; array && i < WAITS_AGES; i++)
		answers_add(array,
			json_pack("{so sI}", "younger_than_s",
				waits_age(i) ? json_integer(waits_age(i) / 1000) : json_null(),
				"recipients", (json_int_t)w->ages[i]));
	return array;
}

json_t *page_model_waits(const struct ops_context *ctx, const struct page_asked *asked)
{
	struct surveyed s;
	json_t *m;
	char text[1100];

	(void)asked;
	if (!survey_look(ctx->survey, &s))
		return json_pack("{so so}", "sentence",
			json_text("The queue has not been counted yet: a moment."), "counted",
			json_false());
	say(text, sizeof(text), &s);
	m = json_pack("{so so sf sI so so so so}", "sentence", json_text(text), "counted",
		json_true(), "counted_ago_s", (double)s.age / 1000, "recipients",
		(json_int_t)s.waits->recipients, "by_reason", sums_json(&s), "bottlenecks",
		groups_json(s.waits), "domains", domains_json(&s), "ages", ages_json(s.waits));
	survey_done(&s);
	return m;
}

/* ---- now ---- */

static json_t *counts_json(const struct ops_context *ctx)
{
	struct queue_stats q;
	struct dispatch_stats d;

	queue_stats(ctx->queue, &q);
	dispatch_stats(ctx->dispatch, &d);
	return json_pack("{sI sI sI sI si si si sI sI sI sI si si}", "messages",
		(json_int_t)q.messages, "recipients", (json_int_t)q.recipients, "queue_used_bytes",
		(json_int_t)q.bytes_used, "queue_max_bytes", (json_int_t)q.bytes_max, "connections",
		(int)d.connections, "connections_idle", (int)d.connections_idle, "in_flight",
		(int)d.in_flight, "delivered", (json_int_t)d.delivered, "deferred",
		(json_int_t)d.deferred, "bounced", (json_int_t)d.bounced, "expired",
		(json_int_t)d.expired, "deferrals_high", (int)d.policy.deferrals_high,
		"unknown_recipients_high", (int)d.policy.unknown_high);
}

json_t *page_model_now(const struct ops_context *ctx, const struct page_asked *asked)
{
	static const struct history_asked minutes = { "total", "minute", "60m", NULL, false };
	struct surveyed s;
	char text[1100] = "The queue has not been counted yet: a moment.";
	json_int_t oldest = 0;
	double age = 0;

	(void)asked;
	if (survey_look(ctx->survey, &s)) {
		ms_t o = oldest_of(s.waits);

		say(text, sizeof(text), &s);
		age = (double)s.age / 1000;
		oldest = o && s.ended > o ? (s.ended - o + s.age) / 1000 : 0;
		survey_done(&s);
	}
	return json_pack("{so sf sI so so so}", "sentence", json_text(text), "counted_ago_s", age,
		"oldest_s", oldest, "counts", counts_json(ctx), "alarms", page_why(ctx, NULL, NULL),
		"minutes", page_history(ctx, &minutes, MINUTES + 1));
}

/* ---- ramps ---- */

struct ramps {
	struct ramp {
		char source[64], provider[64], state[16], change[24], why[200];
		struct policy_warmup_info info; /* its texts are not used */
	} * a;
	size_t n;
	bool failed;
};

static void add_ramp(void *arg, const struct policy_warmup_info *i)
{
	struct ramps *all = arg;
	struct ramp *a, *r;

	if (all->n == RAMPS_MAX)
		return;
	a = realloc(all->a, (all->n + 1) * sizeof(*a));
	if (!a) {
		all->failed = true;
		return;
	}
	all->a = a;
	r = &a[all->n++];
	r->info = *i;
	snprintf(r->source, sizeof(r->source), "%s", i->source);
	snprintf(r->provider, sizeof(r->provider), "%s", i->provider);
	snprintf(r->state, sizeof(r->state), "%s", i->state);
	snprintf(r->change, sizeof(r->change), "%s", i->change ? i->change : "");
	snprintf(r->why, sizeof(r->why), "%.199s", i->why ? i->why : "");
}

static void gather_ramps(struct dispatch *d, void *arg)
{
	policy_warmups(dispatch_policy(d), dispatch_now(d), add_ramp, arg);
}

static json_t *day_json(int32_t day)
{
	char text[ZONE_DATE_MAX];

	if (day <= 0)
		return json_null();
	zone_date_format(text, day);
	return json_text(text);
}

static json_t *days_of(json_t *days, const struct ramp *r)
{
	json_t *array = json_array(), *row;
	size_t i;

	json_array_foreach(days, i, row) if (array &&
					     !strcmp(page_text(row, "source"), r->source) &&
					     !strcmp(page_text(row, "provider"), r->provider))
		answers_add(array, json_incref(row));
	return array;
}

static json_t *ramp_json(const struct ramp *r, json_t *days)
{
	const struct policy_warmup_info *i = &r->info;

	return json_pack("{so so so si si so sI sf so so so so so so so}", "source",
		json_text(r->source), "provider", json_text(r->provider), "state",
		json_text(r->state), "rung", (int)i->rung, "rungs", (int)i->nrungs, "allowance",
		i->allowance == UINT32_MAX ? json_null() : json_integer(i->allowance), "used",
		(json_int_t)i->used, "deferral_share", i->share, "last_day", json_text(r->change),
		"why", json_text(r->why), "until", json_time(i->until), "held",
		json_boolean(i->operator_hold), "warm_on", day_json(i->full), "warm_volume",
		json_integer(i->full_volume), "days", days_of(days, r));
}

json_t *page_model_ramps(const struct ops_context *ctx, const struct page_asked *asked)
{
	static const struct history_asked lately = { "ramp", "day", "60d", NULL, false };
	struct ramps all = { 0 };
	json_t *array = json_array(), *days = page_history(ctx, &lately, RAMP_DAYS);

	(void)asked;
	ask(ctx->dispatch, gather_ramps, &all);
	for (size_t i = 0; array && i < all.n; i++)
		answers_add(array, ramp_json(&all.a[i], days));
	free(all.a);
	json_decref(days);
	return json_pack("{so}", "ramps", array);
}

/* ---- delays ---- */

json_t *page_model_delays(const struct ops_context *ctx, const struct page_asked *asked)
{
	static const struct history_asked day = { "provider", "day", "24h", NULL, true };
	static const struct history_asked hours = { "provider", "hour", "24h", NULL, false };

	(void)asked;
	return json_pack("{so so}", "day", page_history(ctx, &day, PROVIDERS_SHOWN), "hours",
		page_history(ctx, &hours, HOURS * PROVIDERS_SHOWN));
}
