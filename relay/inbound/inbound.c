/* Inbound sessions: between the stream and the state machine, and their end. Runs on the worker's
 * thread. The way in and the limits of time are in inbound_accept.c. */
#include "inbound.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "postern/must.h"
#include "postern/text.h"

#define LINGER		   5000
#define LINGER_SHORT	   200
#define CLOSINGS_LONG	   16 /* in a second */
#define OUTPUT_PENDING_MAX (256u * 1024u)

static const char reply_stopping[] = "421 4.3.2 Service is shutting down, try again later";

/* ---- life ---- */

void session_hold(struct session *s)
{
	s->refs++;
}

void session_release(struct session *s)
{
	struct inbound_listener *ln = s->ln;
	struct inbound *ib = s->ib;

	must(s->refs > 0);
	if (--s->refs > 0)
		return;
	must(session_is_closed(s) && !s->server && !s->stream);
	client_leave(ib->p.limits, s->known, loop_mono(ib->loop));
	buf_deinit(&s->in);
	free(s);
	inbound_listener_unref(ln);
	inbound_session_gone(ib);
}

static void log_end(struct session *s, const char *why)
{
	char client[ADDR_TEXT_MAX];

	if (!log_wants(s->ib->p.log, LOG_INFO))
		return;
	addr_format(client, &s->client);
	log_event(s->ib->p.log, LOG_INFO, EVENT_SESSION_ENDED,
		"session %" PRIx64 " listener %s client %s: %s", s->number, s->ln->p->name, client,
		why);
}

/* A socket that lingers is a descriptor that nobody counts: with many closing, they may not for
 * long. */
static ms_t linger_of(struct inbound *ib, ms_t linger)
{
	ms_t now = loop_mono(ib->loop);

	if (now - ib->closings_since >= 1000) {
		ib->closings_since = now;
		ib->closings = 0;
	}
	if (linger <= LINGER_SHORT)
		return linger;
	return ib->stopping || ++ib->closings > CLOSINGS_LONG ? LINGER_SHORT : linger;
}

void session_close(struct session *s, ms_t linger, const char *why)
{
	struct inbound *ib = s->ib;

	if (session_is_closed(s))
		return;
	session_input_to(s, SESSION_CLOSED);
	if (why)
		log_end(s, why);
	loop_timer_disarm(ib->loop, &s->timer);
	DL_DELETE(ib->sessions, s);
	if (s->waits & WAIT_MEMORY)
		inbound_unstarve(s);
	stress_leave(s);
	inbound_auth_stop(s);
	preface_stop(s);
	if (s->stream)
		stream_close(s->stream, linger_of(ib, linger));
	s->stream = NULL;
	if (s->content.begun)
		count_add(&ib->count.rejected_messages, 1);
	s->content.begun = false;
	if (s->content.appended)
		inbound_discard(s);
	sign_drop(s);
	s->server = smtp_server_free(s->server);
	budget_charge(s);
	limits_leave(ib->p.limits, s->ln->p, s->counted_client ? &s->client : NULL);
	atomic_fetch_sub_explicit(&ib->count.open, 1, memory_order_relaxed);
	session_release(s);
}

void session_end(struct session *s, const char *reply)
{
	if (session_is_closed(s))
		return;
	if (s->waits & WAIT_COMMIT) {
		s->end_with = reply;
		return;
	}
	session_hold(s);
	/* in a handshake no text would be understood */
	if (s->server && !(s->waits & WAIT_TLS)) {
		if (smtp_server_shutdown(s->server, reply, &s->ib->out) == 0)
			session_send(s);
		else
			buf_reset(&s->ib->out);
	}
	session_close(s, LINGER, reply);
	session_release(s);
}

/* ---- between stream and state machine ---- */

void session_send(struct session *s)
{
	struct buf *out = &s->ib->out;
	int r;

	if (buf_size(out) == 0 || !s->stream) {
		buf_reset(out);
		return;
	}
	r = stream_write(s->stream, buf_slice(out));
	buf_reset(out);
	session_progress(s);
	if (r)
		session_close(s, 0, "out of memory for replies");
	else if (stream_pending(s->stream) > OUTPUT_PENDING_MAX && s->input != SESSION_ENDED)
		s->waits |= WAIT_OUTPUT;
}

static void start_tls(struct session *s)
{
	int r;

	if (s->input == SESSION_ENDED) {
		session_close(s, LINGER, NULL);
		return;
	}
	stream_flush(s->stream);
	s->waits |= WAIT_TLS;
	session_progress(s);
	r = stream_start_tls(s->stream, s->ln->tls, NULL, NULL);
	if (r)
		session_close(s, 0, "TLS cannot be started");
	else
		session_arm(s);
}

void session_progress(struct session *s)
{
	s->since = loop_mono(s->ib->loop);
	stress_progress(s);
}

/* The transaction that was begun has ended without a commit. */
static void content_ended(struct session *s)
{
	s->content.begun = false;
	sign_drop(s);
	count_add(&s->ib->count.rejected_messages, 1);
	if (s->content.appended)
		inbound_discard(s);
}

static void act(struct session *s, enum smtp_server_want want, struct slice *in)
{
	switch (want) {
	case SERVER_AGAIN:
		session_send(s);
		break;
	case SERVER_READ:
		break;
	case SERVER_BEGIN:
		inbound_begin(s);
		break;
	case SERVER_FLUSH:
		inbound_flush(s);
		break;
	case SERVER_COMMIT:
		inbound_commit(s);
		break;
	case SERVER_ABORT:
		content_ended(s);
		break;
	case SERVER_AUTH:
		inbound_auth(s);
		break;
	case SERVER_STARTTLS:
		/* what came in clear behind the command is not to be believed (RFC 3207 section 6)
		 */
		*in = (struct slice){ NULL, 0 };
		session_send(s);
		if (!session_is_closed(s))
			start_tls(s);
		break;
	case SERVER_CLOSE:
		session_send(s);
		session_close(s, LINGER, NULL);
		break;
	}
}

/* Feeds what it can; leaves in *in what could not be fed now. */
static void feed(struct session *s, struct slice *in)
{
	struct inbound *ib = s->ib;
	enum smtp_server_want want = SERVER_AGAIN;

	while (!session_is_closed(s) && !s->waits && want != SERVER_READ) {
		size_t used = 0;
		int r = smtp_server_feed(
			s->server, *in, &used, &ib->out, loop_wall(ib->loop), &want);

		*in = slice_from(*in, used);
		if (r)
			session_close(s, 0, "out of memory");
		else
			act(s, want, in);
	}
	if (!session_is_closed(s))
		session_send(s);
	else
		buf_reset(&ib->out);
	if (!session_is_closed(s) && s->content.begun && smtp_server_idle(s->server))
		content_ended(s);
	if (!session_is_closed(s) && !s->waits && ib->draining && in->n == 0 &&
		smtp_server_idle(s->server))
		session_end(s, reply_stopping);
}

static void pause_reading(struct session *s)
{
	if (s->input != SESSION_FLOWS || !s->stream)
		return;
	session_input_to(s, SESSION_PAUSED);
	stream_pause(s->stream);
}

static void keep_input(struct session *s, struct slice in)
{
	int r = buf_add_slice(&s->in, in);

	if (r)
		session_close(s, 0, r == -ENOBUFS ? "too much input waits" : "out of memory");
	else if (s->waits && (buf_size(&s->in) > INPUT_WAITING_MAX || (s->waits & WAIT_MEMORY)))
		pause_reading(s);
}

static void feed_kept(struct session *s)
{
	struct slice in = buf_slice(&s->in);
	size_t before = in.n;

	feed(s, &in);
	if (!session_is_closed(s))
		buf_consume(&s->in, before - in.n);
	if (!session_is_closed(s) && s->waits && buf_size(&s->in) > INPUT_WAITING_MAX)
		pause_reading(s);
}

void session_ready(struct session *s, enum session_wait what)
{
	if (s->waits & WAIT_FOR_US & what) {
		session_progress(s);
		s->interval_start = s->since;
		s->interval_bytes = 0;
	}
	s->waits &= ~(unsigned)what;
	if (session_is_closed(s) || s->waits)
		return;
	if (s->end_with) {
		session_end(s, s->end_with);
		return;
	}
	feed_kept(s);
	if (session_is_closed(s))
		return;
	budget_charge(s);
	if (s->input == SESSION_ENDED) {
		if (!s->waits)
			session_close(s, LINGER,
				s->content.begun ? "the client left within a message" : NULL);
	} else if (!s->waits && s->input == SESSION_PAUSED) {
		session_input_to(s, SESSION_FLOWS);
		stream_resume(s->stream);
	}
}

static void on_data(void *arg, struct slice in)
{
	struct session *s = arg;

	session_hold(s);
	if (s->content.begun) {
		session_progress(s);
		s->interval_bytes += in.n;
		if (!s->waits && inbound_over_budget(s) && !budget_may_go_on(s))
			inbound_starve(s);
	}
	if (s->waits || buf_size(&s->in) > 0) {
		keep_input(s, in);
		if (!session_is_closed(s) && !s->waits)
			feed_kept(s);
	} else {
		feed(s, &in);
		if (!session_is_closed(s) && in.n > 0)
			keep_input(s, in);
	}
	if (!session_is_closed(s))
		budget_charge(s);
	session_release(s);
}

static void on_drained(void *arg)
{
	struct session *s = arg;

	if (!(s->waits & WAIT_OUTPUT))
		return;
	session_hold(s);
	session_progress(s);
	session_ready(s, WAIT_OUTPUT);
	session_release(s);
}

static void on_closed(void *arg, int error, const char *why)
{
	struct session *s = arg;

	/* It may have closed its half alone, behind QUIT or the end of a message: what came is seen
	 * to, and answered, before we close ours. */
	if (error == 0 && s->server && (s->waits & (WAIT_FOR_US | WAIT_OUTPUT))) {
		session_input_to(s, SESSION_ENDED);
		session_hold(s);
		session_ready(s, WAIT_OUTPUT);
		session_release(s);
		return;
	}
	/* a client that leaves between messages is nothing to report */
	session_close(
		s, error ? 0 : LINGER, error || s->content.begun || s->accept.message ? why : NULL);
}

static void on_rejected(void *arg, const struct smtp_rejection *r)
{
	session_rejected(arg, r);
}

static bool is_client_name(const void *arg, const char *name)
{
	const struct listener_params *p = arg;

	for (unsigned i = 0; i < p->nclient_names; i++)
		if (glob_match(slice_of(p->client_names[i]), slice_of(name)))
			return true;
	return false;
}

static void tell_tls(struct session *s)
{
	const struct listener_params *p = s->ln->p;
	char name[TLS_NAME_MAX + 1];

	smtp_server_tls_started(s->server, s->tls);
	if (p->client_ca && stream_tls_client_name(s->stream, is_client_name, p, name))
		smtp_server_certified(s->server, name);
}

static int start_smtp(struct session *s)
{
	const struct listener_params *p = s->ln->p;
	struct smtp_server_peer peer = { .client = s->client,
		.tls = s->tls[0] != '\0',
		.tls_available = s->ln->tls && !p->implicit_tls,
		.auth_available = s->ln->users != NULL,
		.rejected = on_rejected,
		.envelope_room = budget_envelope_room,
		.arg = s };
	int r;

	addr_format(peer.client_text, &s->client);
	for (unsigned i = 0; i < p->nallow && !peer.trusted; i++)
		peer.trusted = net_contains(&p->allow[i], &s->client);
	r = smtp_server_new(&s->server, &p->smtp, &peer, s->number);
	if (r)
		return r;
	if (peer.tls)
		tell_tls(s);
	r = smtp_server_greet(s->server, &s->ib->out);
	if (r)
		return r;
	session_send(s);
	return 0;
}

static void on_tls(void *arg, int error, const char *why)
{
	struct session *s = arg;

	session_hold(s);
	if (error) {
		session_close(s, 0, why);
		goto out;
	}
	count_add(&s->ib->count.tls_sessions, 1);
	snprintf(s->tls, sizeof(s->tls), "%s", stream_tls_description(s->stream));
	session_progress(s);
	if (s->server)
		tell_tls(s);
	else if (start_smtp(s))
		session_close(s, 0, "out of memory");
	if (!session_is_closed(s))
		session_ready(s, WAIT_TLS);
out:
	session_release(s);
}

void session_start(struct session *s)
{
	if (s->ln->p->implicit_tls)
		start_tls(s);
	else if (start_smtp(s))
		session_close(s, 0, "out of memory");
	else
		session_arm(s);
}

const struct stream_ops session_stream_ops = {
	.on_data = on_data,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_tls = on_tls,
};

void inbound_end_idle(struct inbound *ib)
{
	struct session *s, *next;

	DL_FOREACH_SAFE (ib->sessions, s, next) {
		if (!s->server ||
			(!s->waits && buf_size(&s->in) == 0 && smtp_server_idle(s->server)))
			session_end(s, reply_stopping);
	}
}

void inbound_end_all(struct inbound *ib, const char *reply)
{
	struct session *s, *next;

	DL_FOREACH_SAFE (ib->sessions, s, next)
		session_end(s, reply);
}
