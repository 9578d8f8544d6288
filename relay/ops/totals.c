/* Counters of all workers together. Any thread: each worker's counters are atomic, so the sum is
 * of about one moment. */
#include "totals.h"

void inbound_totals(const struct ops_context *ctx, struct inbound_stats *ret)
{
	struct inbound_stats s;

	*ret = (struct inbound_stats){ 0 };
	for (unsigned i = 0; i < ctx->nworkers; i++) {
		worker_inbound_stats(ctx->workers[i], &s);
		ret->open += s.open;
		ret->sessions += s.sessions;
		ret->sessions_refused += s.sessions_refused;
		ret->messages += s.messages;
		ret->recipients += s.recipients;
		ret->bytes += s.bytes;
		ret->rejected_messages += s.rejected_messages;
		ret->auth_failures += s.auth_failures;
		ret->tls_sessions += s.tls_sessions;
	}
}

void outbound_totals(const struct ops_context *ctx, struct outbound_stats *ret)
{
	struct outbound_stats s;

	*ret = (struct outbound_stats){ 0 };
	for (unsigned i = 0; i < ctx->nworkers; i++) {
		worker_outbound_stats(ctx->workers[i], &s);
		ret->content += s.content;
		ret->waiting += s.waiting;
	}
}
