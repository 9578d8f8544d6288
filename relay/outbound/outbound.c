/* Outbound connections: from the dispatcher's order through connecting, TLS and greeting to
 * transactions and the end, with a time limit for each phase. On the worker's thread: called by
 * the stream (bytes, ends), the timer and the orders.
 *
 * connecting → (TLS) → greeting, EHLO → (STARTTLS → TLS → EHLO) → idle ⇄ transaction → QUIT → gone
 *
 * The dispatcher is told UP once or never, and DOWN exactly once, after all its transactions went
 * back. */
#include "outbound.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/list.h"
#include "postern/must.h"

#define LINGER 2000 /* for a QUIT that is still to be sent */
/* Bytes a second that a receiver of content takes at least, over one time limit. One that takes a
 * byte now and then would otherwise hold its connection for as long as it likes. */
#define BODY_RATE_MIN 256

static void connection_release(struct connection *c)
{
	must(c->refs > 0);
	if (--c->refs > 0)
		return;
	must(c->closed);
	free(c->replies);
	recording_end(c);
	free(c);
}

/* ---- events ---- */

/* With the text that it points to in the same piece of memory. NULL: none to be had. */
static struct smtp_client_info *info_dup(const struct smtp_client *client)
{
	const struct smtp_client_info *from;
	struct smtp_client_info *info;
	size_t n;

	if (!client)
		return NULL;
	from = smtp_client_info(client);
	n = from->tls ? strlen(from->tls) + 1 : 0;
	info = malloc(sizeof(*info) + n);
	if (!info)
		return NULL;
	*info = *from;
	if (n > 0)
		info->tls = memcpy(info + 1, from->tls, n);
	return info;
}

_Static_assert(sizeof(struct outbound_event) <= sizeof(struct outbound_connect),
	"the end of a connection takes the memory of its order");

/* The end of a connection must be told even when memory is out: its order becomes the event. */
static struct outbound_event *down_event(struct outbound_connect *o, int error, const char *why)
{
	struct outbound_event *e = (struct outbound_event *)(void *)o;
	uint64_t number = o->order.connection;

	tls_context_unref(o->tls_context);
	memset(e, 0, sizeof(*e));
	e->kind = OUTBOUND_DOWN;
	e->connection = number;
	e->error = error;
	snprintf(e->why, sizeof(e->why), "%s", why);
	return e;
}

static void post_up(struct connection *c)
{
	struct outbound_event *e = calloc(1, sizeof(*e));

	if (!e) {
		connection_fail(c, -ENOMEM, "out of memory");
		return;
	}
	c->up = true;
	e->kind = OUTBOUND_UP;
	e->connection = c->number;
	e->was_up = true;
	e->info = info_dup(c->client);
	e->connect_ms = c->connect_ms;
	e->tls_ms = c->tls_ms;
	outbound_post_event(c->ob, e);
}

/* ---- the end ---- */

/* 0 when the session ended as sessions do. */
static int down_error(const struct connection *c)
{
	const struct smtp_client_info *info = c->client ? smtp_client_info(c->client) : NULL;

	if (c->error || c->failed || !info || !info->why[0])
		return c->error;
	if (info->tls_failed)
		return STREAM_E_TLS;
	/* closed by the receiver while nothing was under way */
	if (info->failed_in == PHASE_READY && info->failure.code == 421)
		return 0;
	return -EPROTO;
}

static void connection_down(struct connection *c)
{
	struct outbound *ob = c->ob;
	struct outbound_event *e;

	if (c->closed)
		return;
	c->closed = true;
	must(!c->running);
	txn_return_waiting(c);
	ahead_leave_line(c);
	loop_timer_disarm(ob->loop, &c->timer);
	HASH_DEL(ob->connections, c);
	ob->nconnections--;
	if (c->stream)
		stream_close(c->stream, c->failed || ob->stopping ? 0 : LINGER);
	c->stream = NULL;
	if (!c->why[0] && c->client)
		snprintf(c->why, sizeof(c->why), "%s", smtp_client_info(c->client)->why);
	e = down_event(c->order, down_error(c), c->why);
	c->order = NULL;
	e->was_up = c->up;
	e->timed_out = c->timed_out;
	e->connect_ms = c->connect_ms;
	e->tls_ms = c->tls_ms;
	e->info = info_dup(c->client);
	if (e->error)
		e->transcript = recording_failed(c);
	outbound_post_event(ob, e);
	c->client = smtp_client_free(c->client);
	connection_release(c);
}

/* ---- time ---- */

static ms_t timeout_now(const struct connection *c)
{
	if (!c->client)
		return c->order->timeouts.connect;
	if (c->body.open)
		return c->order->timeouts.body;
	return smtp_client_timeout(c->client);
}

/* A time limit is that of one reply: it counts from the beginning of its phase, or from the whole
 * reply before it. A part of a reply is no progress: a peer could dribble for ever. The timer is
 * left to fire early rather than armed again for each phase, unless the new limit ends before that.
 */
static void retime(struct connection *c)
{
	enum client_phase phase = c->client ? smtp_client_phase(c->client) : PHASE_CONNECT;
	uint32_t replies = c->client ? smtp_client_info(c->client)->replies : 0;
	struct loop *l = c->ob->loop;
	ms_t limit = timeout_now(c), delay;

	if (c->closed)
		return;
	if (phase != c->phase || (replies != c->replies_seen && !c->body.open)) {
		c->phase = phase;
		c->replies_seen = replies;
		c->since = loop_mono(l);
	}
	if (limit <= 0)
		return;
	delay = c->body.open ? limit / 4 : c->since + limit - loop_mono(l);
	if (delay < 0)
		delay = 0;
	if (c->timer.at == 0 || c->timer.at > loop_mono(l) + delay)
		loop_timer_arm(l, &c->timer, delay);
}

/* While content is sent: a limit that began earlier begins anew once enough was taken in it. */
static void body_look(struct connection *c, ms_t now, ms_t limit)
{
	uint64_t progress = body_progress(c);

	if (progress < c->progress_seen + (uint64_t)limit * BODY_RATE_MIN / 1000)
		return;
	c->progress_seen = progress;
	c->since = now;
}

static void on_timer(void *arg)
{
	struct connection *c = arg;
	ms_t now = loop_mono(c->ob->loop), limit = timeout_now(c);
	char why[96];

	if (c->body.open)
		body_look(c, now, limit);
	if (limit <= 0)
		return; /* idle: armed again with the next phase */
	if (now - c->since < limit) {
		retime(c);
		return;
	}
	c->timed_out = true;
	snprintf(why, sizeof(why), "timed out: %s", client_phase_name(c->phase));
	if (c->phase == PHASE_TLS) {
		smtp_client_tls_failed(c->client, why);
		connection_fail(c, STREAM_E_TLS, why);
	} else {
		connection_fail(c, -ETIMEDOUT, why);
	}
}

/* ---- between stream and state machine ---- */

void connection_send(struct connection *c)
{
	struct buf *out = &c->ob->out;
	int r = 0;

	recording_said(c, TRANSCRIPT_US, buf_slice(out));
	if (buf_size(out) > 0 && c->stream)
		r = stream_write(c->stream, buf_slice(out));
	buf_reset(out);
	if (r)
		connection_fail(c, r, "commands cannot be sent: out of memory");
}

static void start_tls(struct connection *c)
{
	const struct outbound_connect *o = c->order;
	char source[ADDR_TEXT_MAX] = "", key[sizeof(o->host) + ADDR_TEXT_MAX + 1];
	int r;

	if (!o->tls_context) {
		smtp_client_tls_failed(c->client, "no TLS context was given");
		connection_fail(c, STREAM_E_TLS, "no TLS context was given");
		return;
	}
	if (o->source.family != ADDR_NONE)
		addr_format(source, &o->source);
	snprintf(key, sizeof(key), "%s|%s", o->host, source);
	c->tls_started = loop_mono(c->ob->loop);
	r = stream_start_tls(c->stream, o->tls_context, o->host[0] ? o->host : NULL, key);
	if (r) {
		smtp_client_tls_failed(c->client, "TLS cannot be started");
		connection_fail(c, STREAM_E_TLS, "TLS cannot be started");
	}
}

/* Ready for work: the next transaction, a wished-for end, or idleness. */
static void on_idle(struct connection *c, enum smtp_client_want *want)
{
	int r;

	if (!c->up)
		post_up(c);
	*want = CLIENT_READ;
	if (c->closed || txn_next(c, want) || !c->quit_wanted || c->nwaiting > 0)
		return;
	r = smtp_client_quit(c->client, &c->ob->out);
	if (r)
		connection_fail(c, r, "out of memory");
}

/* One step; *want is what the machine wants after it, CLIENT_READ when there is nothing more to do
 * now. */
static void step(struct connection *c, struct slice *in, enum smtp_client_want *want)
{
	size_t used = 0;
	int r = 0;

	switch (*want) {
	case CLIENT_AGAIN:
		r = smtp_client_feed(c->client, *in, &used, &c->ob->out, want);
		recording_said(c, TRANSCRIPT_THEM, (struct slice){ in->p, used });
		*in = slice_from(*in, used);
		break;
	case CLIENT_READ:
		break;
	case CLIENT_STARTTLS:
		*in = (struct slice){ NULL, 0 };
		*want = CLIENT_READ;
		connection_send(c);
		if (!c->closed)
			start_tls(c);
		break;
	case CLIENT_IDLE:
		on_idle(c, want);
		break;
	case CLIENT_BODY_RAW:
	case CLIENT_BODY_DOTS:
		connection_send(c);
		if (!c->closed)
			r = body_begin(c, *want == CLIENT_BODY_DOTS);
		*want = CLIENT_AGAIN;
		break;
	case CLIENT_DONE:
		txn_done(c);
		*want = CLIENT_AGAIN;
		break;
	case CLIENT_CLOSE:
		connection_send(c);
		connection_down(c);
		break;
	}
	if (r)
		connection_fail(c, r,
			c->content_gone ? "content cannot be read from the queue"
					: "out of memory");
}

static void run_want(struct connection *c, struct slice in, enum smtp_client_want want)
{
	c->refs++;
	while (!c->closed && want != CLIENT_READ)
		step(c, &in, &want);
	if (!c->closed)
		connection_send(c);
	else
		buf_reset(&c->ob->out);
	if (!c->closed)
		retime(c);
	connection_release(c);
}

/* The other side's doing, as far as one can tell; a network that is gone is not. */
static bool by_peer(int error)
{
	return error == -ECONNRESET || error == -ECONNABORTED || error == -EPIPE ||
	       error == -ETIMEDOUT || error == STREAM_E_TLS;
}

void connection_fail(struct connection *c, int error, const char *why)
{
	if (c->closed || c->failed)
		return;
	c->failed = true;
	/* the other side may end a session that we are ending or that has nothing to do */
	if (c->client && (c->phase == PHASE_QUIT || (c->phase == PHASE_READY && !c->running)) &&
		(error == -ECONNRESET || c->phase == PHASE_QUIT)) {
		error = 0;
		c->timed_out = false;
	}
	c->error = error;
	snprintf(c->why, sizeof(c->why), "%s", why);
	buf_reset(&c->ob->out);
	if (!c->client) {
		connection_down(c);
		return;
	}
	/* what the other side's host has not acknowledged it cannot have read to the end */
	if (error == -ETIMEDOUT && c->running && c->stream && stream_unacknowledged(c->stream) > 0)
		smtp_client_body_held(c->client);
	if (by_peer(error))
		smtp_client_lost(c->client, why);
	else
		smtp_client_stop(c->client, why);
	run_want(c, (struct slice){ NULL, 0 }, CLIENT_AGAIN);
}

static void on_data(void *arg, struct slice in)
{
	struct connection *c = arg;

	c->refs++;
	run_want(c, in, CLIENT_AGAIN);
	connection_release(c);
}

static void on_drained(void *arg)
{
	struct connection *c = arg;
	int r;

	if (!c->body.open)
		return;
	c->refs++;
	r = body_drained(c);
	if (!c->body.open) /* all is with the kernel: the answer is waited for from now on */
		c->since = loop_mono(c->ob->loop);
	if (r)
		connection_fail(c, r,
			c->content_gone ? "content cannot be read from the queue"
					: "out of memory");
	else
		retime(c);
	connection_release(c);
}

static void on_closed(void *arg, int error, const char *why)
{
	struct connection *c = arg;

	c->refs++;
	connection_fail(c, error ? error : -ECONNRESET, why);
	connection_release(c);
}

static void on_connected(void *arg, int error, const char *why)
{
	struct connection *c = arg;
	const struct outbound_connect *o = c->order;
	struct smtp_client_params p = { .ehlo_name = o->ehlo,
		.tls = o->tls,
		.tls_given_up = o->tls_given_up,
		.pipelining = o->pipelining,
		.chunking = o->chunking,
		.without = o->without,
		.timeouts = o->timeouts };
	ms_t now = loop_mono(c->ob->loop);

	c->refs++;
	c->connect_ms = now - c->since;
	c->since = now;
	if (error)
		connection_fail(c, error, why);
	else if (smtp_client_new(&c->client, &p))
		connection_fail(c, -ENOMEM, "out of memory");
	else
		retime(c);
	connection_release(c);
}

static void on_tls(void *arg, int error, const char *why)
{
	struct connection *c = arg;

	c->refs++;
	c->tls_ms = loop_mono(c->ob->loop) - c->tls_started;
	if (error) {
		smtp_client_tls_failed(c->client, why);
		connection_fail(c, STREAM_E_TLS, why);
	} else {
		smtp_client_tls_started(c->client, stream_tls_description(c->stream),
			stream_tls_verified(c->stream));
		recording_tls(c);
		run_want(c, (struct slice){ NULL, 0 }, CLIENT_AGAIN);
	}
	connection_release(c);
}

static const struct stream_ops connection_ops = {
	.on_data = on_data,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_connected = on_connected,
	.on_tls = on_tls,
};

/* ---- orders ---- */

static struct connection *find(struct outbound *ob, uint64_t number)
{
	struct connection *c;

	HASH_FIND(hh, ob->connections, &number, sizeof(number), c);
	return c;
}

/* NULL when memory is out; else not yet connecting, and ob owns o through it. */
static struct connection *connection_new(struct outbound *ob, struct outbound_connect *o)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->refs = 1;
	c->ob = ob;
	c->number = o->order.connection;
	c->order = o;
	c->since = loop_mono(ob->loop);
	if (o->timeouts.connect <= 0)
		client_timeouts_default(&o->timeouts);
	loop_timer_init(&c->timer, on_timer, c);
	must(!find(ob, c->number));
	HASH_ADD(hh, ob->connections, number, sizeof(c->number), c);
	if (!c->hh.tbl) {
		free(c);
		return NULL;
	}
	ob->nconnections++;
	return c;
}

static void on_connect_order(struct outbound *ob, struct outbound_connect *o)
{
	bool room = ob->p.connections_max == 0 || ob->nconnections < ob->p.connections_max;
	struct connection *c = room && !ob->stopping ? connection_new(ob, o) : NULL;
	int r;

	if (!c) {
		outbound_post_event(
			ob, room ? down_event(o, -ENOMEM, "out of memory")
				 : down_event(o, -ENOBUFS,
					   "this worker has all the connections it may have"));
		return;
	}
	recording_begin(c);
	r = stream_connect(&c->stream, ob->loop, o->source.family == ADDR_NONE ? NULL : &o->source,
		&o->to, o->port, &connection_ops, c);
	if (r)
		connection_fail(c, r, "the connection cannot be begun");
	else
		retime(c);
}

void connection_resume(struct connection *c)
{
	enum smtp_client_want want;

	c->refs++;
	if (!c->running && c->up && txn_next(c, &want))
		run_want(c, (struct slice){ NULL, 0 }, want);
	connection_release(c);
}

static void on_transact_order(struct outbound *ob, struct outbound_transact *t)
{
	struct connection *c = find(ob, t->order.connection);

	must(t->n > 0 && t->results && t->recipients && t->message);
	t->at.queued = loop_mono(ob->loop);
	if (!c) {
		/* crossed with DOWN on its way */
		txn_return(ob, t);
		return;
	}
	txn_add(c, t);
	connection_resume(c);
}

static void on_quit_order(struct outbound *ob, struct outbound_order *o)
{
	struct connection *c = find(ob, o->connection);
	int r;

	free(o);
	if (!c || c->quit_wanted)
		return;
	c->quit_wanted = true;
	c->refs++;
	if (!c->up)
		connection_fail(c, 0, "not wanted any more");
	else if (!c->running)
		run_want(c, (struct slice){ NULL, 0 }, CLIENT_AGAIN);
	else if ((r = txn_quit_behind(c)))
		connection_fail(c, r, "out of memory");
	connection_release(c);
}

void outbound_orders(void *arg, struct mpsc_node *first)
{
	struct outbound *ob = arg;

	while (first) {
		struct outbound_order *o = container(first, struct outbound_order, node);

		first = first->next;
		switch (o->kind) {
		case OUTBOUND_CONNECT:
			on_connect_order(ob, (struct outbound_connect *)(void *)o);
			break;
		case OUTBOUND_TRANSACT:
			on_transact_order(ob, (struct outbound_transact *)(void *)o);
			break;
		case OUTBOUND_QUIT:
			on_quit_order(ob, o);
			break;
		}
	}
}

void outbound_stop(struct outbound *ob)
{
	struct connection *c, *next;

	ob->stopping = true;
	HASH_ITER (hh, ob->connections, c, next)
		connection_fail(c, -ECANCELED, "the relay stops");
}
