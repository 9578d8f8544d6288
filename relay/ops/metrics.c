/* Prometheus text: one table row a metric, so that name, type and help cannot part. Called on
 * HTTP's thread, from a snapshot that is taken first; families with labels have files of their own
 * (metrics_*.c). */
#include <stddef.h>
#include <unistd.h>

#include "metrics_causes.h"
#include "metrics_files.h"
#include "metrics_history.h"
#include "metrics_queue.h"
#include "metrics_rejected.h"
#include "metrics_warmup.h"
#include "totals.h"

struct snapshot {
	struct queue_stats queue;
	struct dispatch_stats dispatch;
	struct inbound_stats inbound;
	struct outbound_stats outbound;
	uint64_t log_dropped, body_memory;
	double uptime, reader_seconds;
};

/* name, type, help, member of the snapshot */
#define METRICS(X)                                                                                 \
	X(inbound_sessions_total, counter, "Inbound SMTP sessions.", inbound.sessions)             \
	X(inbound_sessions_refused_total, counter, "Inbound sessions refused for a limit.",        \
		inbound.sessions_refused)                                                          \
	X(inbound_sessions_open, gauge, "Inbound sessions open now.", inbound.open)                \
	X(inbound_tls_sessions_total, counter, "Inbound sessions that used TLS.",                  \
		inbound.tls_sessions)                                                              \
	X(inbound_auth_failures_total, counter, "Failed AUTH exchanges.", inbound.auth_failures)   \
	X(accepted_messages_total, counter, "Messages answered 250.", inbound.messages)            \
	X(accepted_recipients_total, counter, "Recipients of accepted messages.",                  \
		inbound.recipients)                                                                \
	X(accepted_bytes_total, counter, "Content bytes accepted.", inbound.bytes)                 \
	X(rejected_messages_total, counter, "Messages refused at the end of content.",             \
		inbound.rejected_messages)                                                         \
	X(queue_messages, gauge, "Messages waiting.", queue.messages)                              \
	X(queue_recipients_waiting, gauge, "Recipients waiting.", queue.recipients)                \
	X(queue_content_bytes, gauge, "Content of waiting messages.", queue.content_bytes)         \
	X(queue_used_bytes, gauge, "Part of the queue file in use.", queue.bytes_used)             \
	X(queue_max_bytes, gauge, "Size that the queue file may reach.", queue.bytes_max)          \
	X(queue_full, gauge, "1 while new mail is refused for lack of space.", queue.full)         \
	X(queue_refused_total, counter, "New mail that could not be stored, for any reason.",      \
		queue.refused)                                                                     \
	X(queue_oldest_reader_seconds, gauge,                                                      \
		"How long one reader has kept the space that was freed since.", reader_seconds)    \
	X(queue_commits_total, counter, "Transactions on disk.", queue.commits)                    \
	X(queue_syncs_total, counter, "Syncs of the queue file.", queue.syncs)                     \
	X(queue_failed_commits_total, counter,                                                     \
		"Transactions that failed; nothing of them was acknowledged.",                     \
		queue.failed_commits)                                                              \
	X(queue_jobs_waiting, gauge, "Jobs in the writer's mailbox.", queue.waiting_jobs)          \
	X(attempts_total, counter, "Delivery attempts, one a recipient.", dispatch.attempts)       \
	X(delivered_total, counter, "Recipients delivered.", dispatch.delivered)                   \
	X(deferred_total, counter, "Recipients put off by the receiver.", dispatch.deferred)       \
	X(held_total, counter, "Recipients put off by ourselves.", dispatch.held)                  \
	X(bounced_total, counter, "Recipients returned as undeliverable.", dispatch.bounced)       \
	X(expired_total, counter, "Recipients given up for age.", dispatch.expired)                \
	X(in_doubt_total, counter,                                                                 \
		"Recipients whose final reply was not seen: possible duplicates.",                 \
		dispatch.in_doubt)                                                                 \
	X(in_doubt_ended_total, counter,                                                           \
		"Recipients returned because their final reply was missing too often.",            \
		dispatch.in_doubt_ended)                                                           \
	X(dsns_total, counter, "Delivery status notifications made.", dispatch.dsns)               \
	X(connects_total, counter, "Outbound connections opened.", dispatch.connects)              \
	X(connect_failures_total, counter, "Outbound connections that failed.",                    \
		dispatch.connect_failures)                                                         \
	X(connections, gauge, "Outbound connections open now.", dispatch.connections)              \
	X(connections_idle, gauge, "Outbound connections without a transaction.",                  \
		dispatch.connections_idle)                                                         \
	X(domains, gauge, "Recipient domains known to the dispatcher.", dispatch.domains)          \
	X(work, gauge, "Recipients in the dispatcher's memory.", dispatch.work)                    \
	X(in_flight, gauge, "Recipients in running transactions.", dispatch.in_flight)             \
	X(policy_clusters, gauge, "Clusters known.", dispatch.policy.clusters)                     \
	X(policy_clusters_deferring, gauge, "Clusters that are rested or probed.",                 \
		dispatch.policy.clusters_deferring)                                                \
	X(policy_hosts, gauge, "Receiving hosts known.", dispatch.policy.hosts)                    \
	X(policy_hosts_named, gauge, "Receiving hosts whose cluster was learned.",                 \
		dispatch.policy.hosts_known)                                                       \
	X(policy_unknown_recipients_high, gauge,                                                   \
		"Recipient domains and clients with many recipients that do not exist.",           \
		dispatch.policy.unknown_high)                                                      \
	X(policy_recipients_waiting, gauge, "Recipients that get too much, and wait.",             \
		dispatch.policy.recipients_waiting)                                                \
	X(policy_sources_unwelcome, gauge, "Sources that one receiver refuses, one a receiver.",   \
		dispatch.policy.unwelcome)                                                         \
	X(policy_senders_held, gauge, "Domains that send and are refused, one a place.",           \
		dispatch.policy.senders_held)                                                      \
	X(policy_sources_blocked, gauge, "Sources blocked, one a provider.",                       \
		dispatch.policy.blocked)                                                           \
	X(policy_domains_backing_off, gauge, "Recipient domains that are backed off from.",        \
		dispatch.policy.domains_backing_off)                                               \
	X(policy_deferrals_high, gauge, "Providers that defer more than a tenth, sustained.",      \
		dispatch.policy.deferrals_high)                                                    \
	X(policy_health_changes_total, counter, "Rests begun and ended.",                          \
		dispatch.policy.health_changes)                                                    \
	X(policy_events_lost_total, counter, "Policy events dropped.",                             \
		dispatch.policy.events_lost)                                                       \
	X(dns_queries_total, counter, "DNS queries sent.", dispatch.dns.queries)                   \
	X(dns_cached_total, counter, "DNS look-ups answered from the cache.",                      \
		dispatch.dns.answers_cached)                                                       \
	X(dns_failures_total, counter, "DNS look-ups that failed.", dispatch.dns.failures)         \
	X(dns_running, gauge, "DNS look-ups running.", dispatch.dns.running)                       \
	X(log_dropped_total, counter, "Log lines dropped because the log could not keep up.",      \
		log_dropped)                                                                       \
	X(outbound_content_bytes, gauge, "Reserved for content on its way to receivers.",          \
		outbound.content)                                                                  \
	X(outbound_content_waiting, gauge, "Connections that wait for such room.",                 \
		outbound.waiting)                                                                  \
	X(body_memory_bytes, gauge, "Message content held in memory.", body_memory)                \
	X(uptime_seconds, gauge, "Seconds since start.", uptime)

static void take_snapshot(struct snapshot *s, const struct ops_context *ctx)
{
	*s = (struct snapshot){ 0 };
	queue_stats(ctx->queue, &s->queue);
	dispatch_stats(ctx->dispatch, &s->dispatch);
	inbound_totals(ctx, &s->inbound);
	outbound_totals(ctx, &s->outbound);
	s->queue.full = health_full(&s->queue);
	s->reader_seconds = (double)s->queue.reader_ms / 1000;
	s->log_dropped = log_dropped(ctx->log);
	s->body_memory = body_memory();
	s->uptime = (double)(clock_wall_ms() - ctx->started) / 1000;
}

static int head(struct buf *out, const char *name, const char *type, const char *help)
{
	return buf_printf(
		out, "# HELP postern_%s %s\n# TYPE postern_%s %s\n", name, help, name, type);
}

static int render_verdicts(struct buf *out, const struct dispatch_stats *s)
{
	int r = head(out, "verdicts_total", "counter", "Attempts by the class of their verdict.");

	for (int v = 0; !r && v < VERDICT_COUNT; v++)
		r = buf_printf(out, "postern_verdicts_total{verdict=\"%s\"} %llu\n",
			verdict_name((enum verdict)v), (unsigned long long)s->by_verdict[v]);
	return r;
}

static int render_extensions(struct buf *out, const struct dispatch_stats *s)
{
	int r = head(out, "extensions_off_total", "counter",
		"Hosts found to offer what they cannot do, by what it is.");

	for (unsigned n = 0; !r && n < EXTENSIONS_COUNT; n++)
		r = buf_printf(out, "postern_extensions_off_total{extension=\"%s\"} %llu\n",
			client_extension_name(n), (unsigned long long)s->extensions_off[n]);
	return r;
}

static int render_policy(struct buf *out, const struct dispatch_stats *s)
{
	const struct policy_summary *p = &s->policy;
	const struct {
		const char *health;
		uint32_t n;
	} lanes[] = {
		{ "throttled", p->throttled },
		{ "resting", p->resting },
		{ "probing", p->probing },
		{ "suspended", p->suspended },
		{ "other", p->lanes - p->throttled - p->resting - p->probing - p->suspended },
	};
	int r = head(out, "lanes", "gauge", "Lanes (source and cluster) by their health.");

	for (size_t i = 0; !r && i < sizeof(lanes) / sizeof(*lanes); i++)
		r = buf_printf(
			out, "postern_lanes{health=\"%s\"} %u\n", lanes[i].health, lanes[i].n);
	if (!r)
		r = head(out, "policy_events_total", "counter",
			"Findings and decisions of the policy, by the name of their log event.");
	for (int k = 0; !r && k < POLICY_EVENT_COUNT; k++)
		r = buf_printf(out, "postern_policy_events_total{event=\"%s\"} %llu\n",
			policy_event_name((enum policy_event_kind)k),
			(unsigned long long)s->policy_events[k]);
	return r;
}

int metrics_render(struct buf *out, const struct ops_context *ctx)
{
	struct snapshot s;
	int r = 0;

	take_snapshot(&s, ctx);
#define X(name, type, help, member)                                                                \
	if (!r)                                                                                    \
		r = head(out, #name, #type, help);                                                 \
	if (!r)                                                                                    \
		r = buf_printf(out, "postern_" #name " %.17g\n", (double)s.member);
	METRICS(X)
#undef X
	if (!r)
		r = head(out, "build_info", "gauge", "Version.");
	if (!r)
		r = buf_printf(out, "postern_build_info{version=\"%s\"} 1\n", POSTERN_VERSION);
	if (!r)
		r = render_verdicts(out, &s.dispatch);
	if (!r)
		r = render_extensions(out, &s.dispatch);
	if (!r)
		r = render_policy(out, &s.dispatch);
	if (!r)
		r = metrics_causes(out, ctx);
	if (!r)
		r = metrics_warmup(out, ctx);
	if (!r)
		r = metrics_rejected(out, ctx);
	if (!r)
		r = metrics_queue(out, ctx);
	if (!r)
		r = metrics_files(out, ctx);
	if (!r)
		r = metrics_history(out, ctx);
	if (!r)
		r = metrics_process(out, ctx);
	return r;
}
