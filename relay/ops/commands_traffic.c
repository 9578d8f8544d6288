/* Control commands about lanes and clusters, and suspensions of them. On a control client's
 * thread; what the policy knows is read on the dispatcher's, in between two of its turns. */
#include <errno.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"

struct gather {
	json_t *array;
	struct dispatch *dispatch; /* while on its thread */
};

/* What the relay believes of the receiver's limit, in a sentence. */
static void believed(char *out, size_t max, const struct policy_lane_info *i)
{
	json_t *f = json_time(i->takes_found), *t = json_time(i->takes_tested);
	const char *found = json_string_value(f), *tested = json_string_value(t);

	snprintf(out, max,
		"takes about %.0f a minute of %s: found %.19s, met again %.19s; %.0f a minute go "
		"now",
		i->takes, i->takes_of_subnet ? i->subnet : i->source, found ? found : "",
		tested ? tested : "", i->pace);
	json_decref(f);
	json_decref(t);
}

static void add_lane(void *arg, const struct policy_lane_info *i)
{
	struct gather *g = arg;
	char rate[48] = "", belief[200] = "";
	char per[32];

	if (i->rate.count) {
		duration_format(per, i->rate.per);
		snprintf(rate, sizeof(rate), "%u/%s", i->rate.count, per);
	}
	if (i->takes > 0)
		believed(belief, sizeof(belief), i);
	answers_add(g->array,
		json_pack("{so so so so so so si si si so so so si si sf sI sI sI sf sf so so so}",
			"source", json_text(i->source), "subnet", json_text(i->subnet), "cluster",
			json_text(i->cluster), "provider", json_text(i->provider), "health",
			json_text(policy_state_name(i->health)), "cause",
			json_text(i->cause ? i->cause : ""), "window", (int)i->window, "in_use",
			(int)i->in_use, "idle", (int)i->idle, "rate", json_text(rate), "since",
			json_time(i->since), "until", json_time(i->until), "accepted_lately",
			(int)(i->recent_good + 0.5), "refused_lately", (int)(i->recent_bad + 0.5),
			"suspicion", i->score, "delivered", (json_int_t)i->delivered, "deferred",
			(json_int_t)i->deferred, "rejected", (json_int_t)i->rejected,
			"takes_a_minute", i->takes, "pace", i->pace, "limit_found",
			json_time(i->takes_found), "limit_tested", json_time(i->takes_tested),
			"belief", json_text(belief)));
}

/* What one receiver refuses, in the form of a lane, with a sentence. */
static void add_ban(void *arg, const struct policy_ban_info *i)
{
	struct gather *g = arg;
	const char *who = i->sender[0] ? i->sender : i->source;
	const char *where = i->domain[0] ? i->domain : i->cluster[0] ? i->cluster : i->provider;
	char text[800];

	snprintf(text, sizeof(text), "%s%s is refused by %s (%s): %s",
		i->sender[0] ? "mail from " : "", who, where, i->provider,
		i->probing ? "one message is to find out whether it still is"
			   : "nothing goes there until one message is to find out again");
	answers_add(g->array,
		json_pack("{so so so so so so si si si so so so si si sf sI sI sI so so so}",
			"source", json_text(i->source), "subnet", json_text(""), "cluster",
			json_text(i->cluster), "provider", json_text(i->provider), "health",
			json_text("refused"), "cause",
			json_text(i->sender[0] ? "sender" : "source"), "window", 0, "in_use", 0,
			"idle", 0, "rate", json_text(""), "since", json_time(i->since), "until",
			json_time(i->until), "accepted_lately", 0, "refused_lately", 0, "suspicion",
			0.0, "delivered", (json_int_t)0, "deferred", (json_int_t)0, "rejected",
			(json_int_t)0, "domain", json_text(i->domain), "sender",
			json_text(i->sender), "text", json_text(text)));
}

static void gather_lanes(struct dispatch *d, void *arg)
{
	policy_lanes(dispatch_policy(d), dispatch_now(d), add_lane, arg);
	policy_bans(dispatch_policy(d), dispatch_now(d), add_ban, arg);
}

static void run_lanes(struct control_client *c, const json_t *request)
{
	struct gather g = { .array = json_array() };

	(void)request;
	ask(c->ctx->dispatch, gather_lanes, &g);
	control_say_all(c, g.array);
}

static void add_cluster(void *arg, const struct policy_cluster_info *i)
{
	struct gather *g = arg;
	char host[ADDR_TEXT_MAX], without[160];

	addr_format(host, &i->host);
	dispatch_host_without(g->dispatch, &i->host, without, sizeof(without));
	answers_add(g->array,
		json_pack("{so so so so so so si si si si so so so}", "host", json_text(host),
			"cluster", json_text(i->cluster), "provider", json_text(i->provider),
			"geography", json_text(i->geography ? i->geography : ""), "how",
			json_text(i->how), "learned", json_time(i->learned), "connections",
			(int)i->connections, "cap", (int)i->cap, "session_max", (int)i->messages,
			"transaction_max", (int)i->recipients, "health",
			json_text(policy_state_name(i->health)), "until", json_time(i->until),
			"without", json_text(without)));
}

static void gather_clusters(struct dispatch *d, void *arg)
{
	struct gather *g = arg;

	g->dispatch = d;
	policy_clusters(dispatch_policy(d), dispatch_now(d), add_cluster, arg);
}

static void run_clusters(struct control_client *c, const json_t *request)
{
	struct gather g = { .array = json_array() };

	(void)request;
	ask(c->ctx->dispatch, gather_clusters, &g);
	control_say_all(c, g.array);
}

struct suspension {
	const char *source, *where;
	ms_t expires_in; /* 0: for ever */
	bool resume;
	int result;
};

static void run_suspension(struct dispatch *d, void *arg)
{
	struct suspension *s = arg;
	struct policy_now now = dispatch_now(d);

	if (s->resume && s->expires_in)
		s->result = policy_keep(
			dispatch_policy(d), now, s->source, s->where, now.wall + s->expires_in);
	else if (s->resume)
		s->result = policy_resume(dispatch_policy(d), now, s->source, s->where);
	else
		s->result = policy_suspend(dispatch_policy(d), now, s->source, s->where,
			s->expires_in ? now.wall + s->expires_in : 0);
	if (s->result >= 0)
		dispatch_relieved(d); /* what waits for something else waits for this now */
}

void control_record(struct control_client *c, const char *what)
{
	uint64_t changed;
	int r = ask_operate(c->ctx->dispatch, &(struct dispatch_task){ .op = DISPATCH_SAVE },
		&changed, NULL, NULL);

	if (r)
		control_fail(c, EX_TEMPFAIL, "%s, but that could not be recorded: %s", what,
			strerror(-r));
	else
		control_say(c, json_pack("{so}", "result", json_text(what)));
}

static void suspend_or_resume(struct control_client *c, const json_t *request, bool resume)
{
	const char *expires = request_str(request, "for");
	struct suspension s = { .source = request_str(request, "source"),
		.where = request_str(request, "at"),
		.resume = resume };

	if (!s.source && !s.where) {
		control_fail(
			c, EX_USAGE, "say what: --source NAME, --at CLUSTER-OR-PROVIDER, or both");
		return;
	}
	if (expires && (duration_parse(&s.expires_in, slice_of(expires)) || s.expires_in <= 0)) {
		control_fail(c, EX_USAGE,
			"--for '%s' is not a duration such as \"90s\", \"4h\" or \"2d\"", expires);
		return;
	}
	ask(c->ctx->dispatch, run_suspension, &s);
	if (s.result == -ENXIO)
		control_fail(c, EX_DATAERR,
			"no such place: --at names a provider, a geography (EUR), a cluster (EUR01, "
			"eurprd05) or a network of at most /24 (IPv6: /48); mail for a domain is "
			"held by: postern hold --domain NAME");
	else if (s.result == -ENOENT)
		control_fail(c, EX_DATAERR,
			resume && !expires ? "nothing like that is suspended" : "no such source");
	else if (s.result < 0)
		control_fail(c, EX_SOFTWARE, "not done: %s", strerror(-s.result));
	else if (s.result == POLICY_NOT_MET)
		control_record(c, resume ? "resumed; no mail has come to a place of that name yet"
					 : "suspended; no mail has come to a place of that name "
					   "yet");
	else
		control_record(c, resume ? "resumed" : "suspended");
}

static void run_suspend(struct control_client *c, const json_t *request)
{
	suspend_or_resume(c, request, false);
}

static void run_resume(struct control_client *c, const json_t *request)
{
	suspend_or_resume(c, request, true);
}

const struct control_command commands_traffic[] = {
	{ "lanes", run_lanes },
	{ "clusters", run_clusters },
	{ "suspend", run_suspend },
	{ "resume", run_resume },
	{ 0 },
};
