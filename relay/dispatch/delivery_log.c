/* The delivery log: one JSON object per attempt or event; fields as the README names them.
 *
 * delays: seconds, [waiting in the queue, connecting, TLS and greeting, transaction]; the second
 * and third are 0 on a connection that carried a message before. */
#include "delivery_log.h"

#include <stdio.h>

#include "past.h"

/* What the policy found or decided, with what it rests on. */
void policy_log(void *dispatch, const struct policy_event *e)
{
	struct dispatch *d = dispatch;
	enum log_level level = e->alarm ? LOG_WARN : LOG_NOTICE;

	if (e->kind == POLICY_EVENT_CLUSTER_LEARNED)
		level = LOG_INFO;
	if (!log_wants(d->log, level))
		return;
	log_line_begin(&d->line, e->wall, policy_event_name(e->kind));
	log_line_cstr(&d->line, "level",
		level == LOG_WARN     ? "warning"
		: level == LOG_NOTICE ? "notice"
				      : "info");
	d->line.level = level;
	log_line_cstr(&d->line, "message", e->text);
	log_line_bool(&d->line, "alarm", e->alarm);
	log_line_cstr(&d->line, "provider", e->provider[0] ? e->provider : NULL);
	log_line_cstr(&d->line, "cluster", e->cluster[0] ? e->cluster : NULL);
	log_line_cstr(&d->line, "subnet", e->subnet[0] ? e->subnet : NULL);
	log_line_cstr(&d->line, "source", e->source[0] ? e->source : NULL);
	log_line_cstr(&d->line, "domain", e->domain[0] ? e->domain : NULL);
	log_line_cstr(&d->line, "sender", e->sender[0] ? e->sender : NULL);
	log_line_cstr(&d->line, "client", e->client[0] ? e->client : NULL);
	log_line_cstr(&d->line, "health", e->health[0] ? e->health : NULL);
	log_line_cstr(&d->line, "cause", e->cause[0] ? e->cause : NULL);
	if (e->good > 0 || e->bad > 0) {
		log_line_int(&d->line, "accepted", (int64_t)(e->good + 0.5));
		log_line_int(&d->line, "refused", (int64_t)(e->bad + 0.5));
	}
	if (e->until)
		log_line_time(&d->line, "until", e->until);
	log_emit(d->log, &d->line);
}

static char *put_seconds(char *p, ms_t ms)
{
	char digits[24];
	unsigned n = 0;
	uint64_t s;

	if (ms < 0)
		ms = 0;
	s = (uint64_t)ms / 1000;
	do
		digits[n++] = (char)('0' + s % 10);
	while (s /= 10);
	while (n)
		*p++ = digits[--n];
	*p++ = '.';
	*p++ = (char)('0' + ms / 100 % 10);
	*p++ = (char)('0' + ms / 10 % 10);
	*p++ = (char)('0' + ms % 10);
	return p;
}

static void put_delays(struct dispatch *d, const struct log_attempt *a)
{
	const struct connection *c = a->connection;
	const struct outbound_transact *t = a->transact;
	struct policy_now now = now_of(d);
	ms_t done = t->at.done ? t->at.done : now.mono;
	ms_t begun = t->at.begun ? t->at.begun : t->at.queued;
	ms_t connect = c->told ? 0 : c->connect_ms, tls = c->told ? 0 : c->tls_ms;
	ms_t waited = now.wall - a->message->arrived - (now.mono - begun);
	char text[128], *p = text;

	*p++ = '[';
	p = put_seconds(p, waited - connect - tls);
	*p++ = ',';
	p = put_seconds(p, connect);
	*p++ = ',';
	p = put_seconds(p, tls);
	*p++ = ',';
	p = put_seconds(p, done - begun);
	*p++ = ']';
	log_line_raw(&d->line, "delays", (struct slice){ text, (size_t)(p - text) });
}

/* A connection is shared by the domains whose MX names lead there: mx is what this one calls it. */
static void put_connection(struct dispatch *d, const struct connection *c, const char *mx)
{
	struct policy_slot_info info;
	char host[320];
	struct slice name = slice_of(mx), address = slice_of(c->host->text);
	size_t n = name.n < 256 ? name.n : 255; /* no name of DNS is longer */

	policy_slot(d->policy, c->match.slot, &info);
	if (info.cluster && info.cluster[0])
		log_line_cstr(&d->line, "cluster", info.cluster);
	log_line_cstr(&d->line, "source", c->source_name);
	log_line_cstr(&d->line, "source_address", c->source_address);
	memcpy(host, name.p, n);
	host[n++] = '[';
	memcpy(host + n, address.p, address.n);
	n += address.n;
	host[n++] = ']';
	log_line_str(&d->line, "host", (struct slice){ host, n });
	if (c->tls[0])
		log_line_cstr(&d->line, "tls", c->tls);
}

static void put_reply(struct dispatch *d, const struct reply *r)
{
	char dsn[16];

	log_line_int(&d->line, "code", r->code);
	reply_enhanced_format(dsn, r);
	if (dsn[0])
		log_line_cstr(&d->line, "dsn", dsn);
	log_line_str(&d->line, "reply", (struct slice){ r->text, r->n });
}

static const char *or_null(const char *s)
{
	return s && s[0] ? s : NULL;
}

/* Whose message it is: with these a log is joined with what the sending application knows. */
static void put_message(struct log_line *ln, const struct message *m)
{
	log_line_cstr(ln, "pool", or_null(m->pool));
	log_line_cstr(ln, "client", or_null(m->client));
	log_line_cstr(ln, "user", or_null(m->user));
	log_line_cstr(ln, "class", m->class);
	log_line_cstr(ln, "tag", m->tag);
	log_line_int(ln, "size", (int64_t)m->size);
	log_line_cstr(ln, "message_id", or_null(m->message_id));
	log_line_cstr(ln, "envelope_id", or_null(m->envid));
	log_line_cstr(ln, "about", m->about);
	log_line_cstr(ln, "about_message_id", or_null(m->about_message_id));
	if (m->headers)
		log_line_fields(ln, "headers", slice_of(m->headers));
}

void delivery_log(struct dispatch *d, const struct log_attempt *a)
{
	const struct item *i = a->item;
	struct log_line *ln = &d->line;
	char id[QUEUE_ID_TEXT + 1];

	chronicle_attempt(d, a);
	if (!d->log)
		return;
	queue_id_format(id, a->message->id);
	log_line_begin(ln, loop_wall(d->loop), log_event_name(a->event));
	if (a->event == EVENT_BOUNCED || a->event == EVENT_EXPIRED)
		ln->level = LOG_NOTICE;
	log_line_str(ln, "id", (struct slice){ id, QUEUE_ID_TEXT });
	log_line_cstr(ln, "from", a->message->sender);
	log_line_cstr(ln, "to", i->recipient->address);
	log_line_cstr(ln, "domain", i->domain->name);
	put_message(ln, a->message);
	if (i->domain->route && i->domain->nhosts)
		log_line_cstr(ln, "provider", provider_of(d, i->domain->provider)->name);
	if (a->connection)
		put_connection(d, a->connection, a->mx ? a->mx : a->connection->host_name);
	if (a->reply && a->reply->code)
		put_reply(d, a->reply);
	else
		log_line_cstr(ln, "dsn", or_null(a->status));
	log_line_cstr(ln, "verdict", or_null(a->verdict));
	log_line_cstr(ln, "cause", or_null(a->cause));
	log_line_int(ln, "attempt", i->attempts + (a->attempted ? 1 : 0));
	if (a->next)
		log_line_time(ln, "next", a->next);
	log_line_cstr(ln, "reason", or_null(a->reason));
	if (a->transact)
		put_delays(d, a);
	if (a->connection)
		log_line_cstr(ln, "session", a->connection->session);
	log_emit(d->log, ln);
}
