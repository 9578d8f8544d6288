/* Refusals: a counter by listener and reason, and a line in the log. Counters are made when a
 * listener starts and live until the end; the line is bounded by client, and what was not told is
 * counted in the next that is. Called on the workers' threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inbound.h"
#include "limits.h"
#include "postern/foreign.h"

#define LISTENERS_MAX 256u
#define TEXT_CUT      320u /* of what a client said */

struct reject_counts {
	struct reject_counts *next;
	char name[128];
	atomic_uint_least64_t n[REJECT_COUNT];
};

struct reject_counts *reject_counts_of(struct session_limits *l, const char *listener)
{
	struct reject_counts *c;
	unsigned n = 0;

	pthread_mutex_lock(&l->lock);
	for (c = l->rejects; c && strcmp(c->name, listener) != 0; c = c->next)
		n++;
	if (!c && n < LISTENERS_MAX)
		c = calloc(1, sizeof(*c));
	if (c && !c->name[0]) {
		snprintf(c->name, sizeof(c->name), "%s", listener);
		c->next = l->rejects;
		l->rejects = c;
	}
	pthread_mutex_unlock(&l->lock);
	return c;
}

void reject_counts_free(struct session_limits *l)
{
	struct reject_counts *c = l->rejects, *next;

	for (; c; c = next) {
		next = c->next;
		free(c);
	}
	l->rejects = NULL;
}

void reject_count(struct reject_counts *c, enum smtp_reject why)
{
	if (c)
		atomic_fetch_add_explicit(&c->n[why], 1, memory_order_relaxed);
}

void session_limits_rejected(struct session_limits *l,
	void (*each)(void *arg, const char *listener, enum smtp_reject why, uint64_t n), void *arg)
{
	const struct reject_counts *c;

	pthread_mutex_lock(&l->lock);
	c = l->rejects;
	pthread_mutex_unlock(&l->lock);
	/* entries are added in front and never change */
	for (; c; c = c->next) {
		for (enum smtp_reject why = REJECT_NONE + 1; why < REJECT_COUNT; why++) {
			uint64_t n = atomic_load_explicit(&c->n[why], memory_order_relaxed);

			if (n > 0)
				each(arg, c->name, why, n);
		}
	}
}

/* A client that may not relay, where certificates would let it: what is wrong with its own. */
static void tell_certificate(struct session *s, struct log_line *ln)
{
	char text[300];

	if (!s->ln->p->client_ca || !s->stream || !stream_is_tls(s->stream))
		return;
	if (stream_tls_proven(s->stream))
		stream_tls_peer(s->stream, text, sizeof(text));
	else
		stream_tls_doubt(s->stream, text, sizeof(text));
	log_line_cstr(ln, "certificate", text);
}

static void tell(struct session *s, const struct smtp_rejection *r, uint64_t untold)
{
	struct log_line *ln = &s->ib->line;
	char client[ADDR_TEXT_MAX], number[20];
	struct slice reply = slice_of(r->reply);

	if (reply.n > 0 && reply.p[reply.n - 1] == '\n')
		reply.n -= 2;
	addr_format(client, &s->client);
	snprintf(number, sizeof(number), "%llx", (unsigned long long)s->number);
	log_line_begin(ln, loop_wall(s->ib->loop), log_event_name(EVENT_REJECTED));
	log_line_cstr(ln, "reason", smtp_reject_name(r->reason));
	log_line_cstr(ln, "client", client);
	if (r->user)
		log_line_str(ln, "user", foreign_cut(slice_of(r->user), TEXT_CUT));
	log_line_str(ln, "from", foreign_cut(r->sender, TEXT_CUT));
	log_line_str(ln, "to", foreign_cut(r->recipient, TEXT_CUT));
	log_line_str(ln, "reply", reply);
	log_line_cstr(ln, "listener", s->ln->p->name);
	log_line_cstr(ln, "session", number);
	if (r->reason == REJECT_RELAY || r->reason == REJECT_AUTH_REQUIRED)
		tell_certificate(s, ln);
	if (untold > 0)
		log_line_int(ln, "untold", (int64_t)untold);
	log_emit(s->ib->p.log, ln);
}

void session_rejected(struct session *s, const struct smtp_rejection *r)
{
	uint64_t untold = 0;

	reject_count(s->ln->rejects, r->reason);
	if (!s->ib->p.log || !log_wants(s->ib->p.log, LOG_WARN))
		return;
	if (client_may_tell(s->ib->p.limits, &s->client, loop_mono(s->ib->loop), &untold))
		tell(s, r, untold);
}

void session_rejected_for(struct session *s, enum smtp_reject why, const char *reply)
{
	struct smtp_rejection r = { .reason = why, .reply = reply };
	struct smtp_server_stats stats;

	if (s->server) {
		smtp_server_stats(s->server, &stats);
		r.user = stats.user;
	}
	session_rejected(s, &r);
}
