/* Control commands about the service itself: stats, health, reload, and what is in force. On a
 * control client's thread. */
#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "control.h"
#include "totals.h"

static json_t *inbound_json(const struct ops_context *ctx)
{
	struct inbound_stats sum;

	inbound_totals(ctx, &sum);
	return json_pack("{si sI sI sI sI sI sI sI sI}", "open", (int)sum.open, "sessions",
		(json_int_t)sum.sessions, "sessions_refused", (json_int_t)sum.sessions_refused,
		"messages", (json_int_t)sum.messages, "recipients", (json_int_t)sum.recipients,
		"bytes", (json_int_t)sum.bytes, "rejected_messages",
		(json_int_t)sum.rejected_messages, "auth_failures", (json_int_t)sum.auth_failures,
		"tls_sessions", (json_int_t)sum.tls_sessions);
}

static json_t *queue_json(const struct ops_context *ctx)
{
	struct queue_stats s;

	queue_stats(ctx->queue, &s);
	return json_pack("{sI sI sI sI sI sI sI sI sI sI sb}", "messages", (json_int_t)s.messages,
		"recipients", (json_int_t)s.recipients, "bytes", (json_int_t)s.content_bytes,
		"accepted", (json_int_t)s.accepted, "settled", (json_int_t)s.settled, "commits",
		(json_int_t)s.commits, "syncs", (json_int_t)s.syncs, "failed_commits",
		(json_int_t)s.failed_commits, "used", (json_int_t)s.bytes_used, "max",
		(json_int_t)s.bytes_max, "full", s.full);
}

static json_t *outbound_json(const struct ops_context *ctx)
{
	struct dispatch_stats s;
	json_t *verdicts = json_object();
	json_t *out;

	dispatch_stats(ctx->dispatch, &s);
	for (int v = 0; v < VERDICT_COUNT; v++)
		json_object_set_new(verdicts, verdict_name((enum verdict)v),
			json_integer((json_int_t)s.by_verdict[v]));
	out = json_pack("{sI sI sI sI sI sI sI sI sI sI si si si si si so}", "attempts",
		(json_int_t)s.attempts, "delivered", (json_int_t)s.delivered, "deferred",
		(json_int_t)s.deferred, "bounced", (json_int_t)s.bounced, "expired",
		(json_int_t)s.expired, "held", (json_int_t)s.held, "in_doubt",
		(json_int_t)s.in_doubt, "dsns", (json_int_t)s.dsns, "connects",
		(json_int_t)s.connects, "connect_failures", (json_int_t)s.connect_failures,
		"domains", (int)s.domains, "work", (int)s.work, "in_flight", (int)s.in_flight,
		"connections", (int)s.connections, "connections_idle", (int)s.connections_idle,
		"verdicts", verdicts);
	return out;
}

static json_t *rules_json(const struct ops_context *ctx)
{
	json_t *j = NULL;
	struct buf b;

	buf_init(&b, 4096);
	if (ctx->rules && !ctx->rules(ctx->arg, &b))
		j = json_slice(buf_slice(&b));
	buf_deinit(&b);
	return j ? j : json_text("");
}

static void run_stats(struct control_client *c, const json_t *request)
{
	char hostname[256];

	(void)request;
	c->ctx->hostname(c->ctx->arg, hostname);
	control_say(c, json_pack("{so so so si sI so so so so}", "hostname", json_text(hostname),
			       "version", json_text(POSTERN_VERSION), "started",
			       json_time(c->ctx->started), "pid", (int)getpid(), "log_dropped",
			       (json_int_t)log_dropped(c->ctx->log), "inbound",
			       inbound_json(c->ctx), "queue", queue_json(c->ctx), "outbound",
			       outbound_json(c->ctx), "reply_rules", rules_json(c->ctx)));
}

static void run_health(struct control_client *c, const json_t *request)
{
	char why[400] = "";
	int r = health_check(c->ctx, why, sizeof(why));

	(void)request;
	if (r)
		control_fail(c, EX_UNAVAILABLE, "%s", why);
	else
		control_say(c, json_pack("{so}", "health", json_text("ok")));
}

static void run_reload(struct control_client *c, const json_t *request)
{
	struct buf why, restart;
	int r;

	(void)request;
	buf_init(&why, 64 * 1024);
	buf_init(&restart, 64 * 1024);
	r = c->ctx->reload(c->ctx->arg, &why, &restart);
	if (r)
		control_fail(c, EX_CONFIG, "the old configuration stays:\n%.*s",
			(int)buf_size(&why), buf_slice(&why).p);
	else
		control_say(c, json_pack("{so so so}", "result", json_text("reloaded"), "restart",
				       json_slice(buf_slice(&restart)), "notes",
				       json_slice(buf_slice(&why))));
	buf_deinit(&restart);
	buf_deinit(&why);
}

static void run_running(struct control_client *c, const json_t *request)
{
	struct buf text;

	(void)request;
	buf_init(&text, 0);
	if (c->ctx->running(c->ctx->arg, &text))
		control_fail(c, EX_OSERR, "out of memory");
	else
		control_say(c, json_pack("{so}", "configuration", json_slice(buf_slice(&text))));
	buf_deinit(&text);
}

const struct control_command commands_service[] = {
	{ "stats", run_stats },
	{ "health", run_health },
	{ "reload", run_reload },
	{ "running", run_running },
	{ 0 },
};
