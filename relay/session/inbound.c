/* Inbound sessions: from the accepted socket to the state machine and back, with their limits in
 * time. */
#include "inbound.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "postern/must.h"

#define COMMAND_TIMEOUT	   300000
#define DATA_TIMEOUT	   180000
#define PREFACE_TIMEOUT	   10000
#define TLS_TIMEOUT	   30000
#define RATE_WINDOW	   60000
#define REFUSALS_TOLD	   10000
#define LINGER		   5000
#define LINGER_STOPPING	   200
#define OUTPUT_PENDING_MAX (256u * 1024u)

static const char reply_total[] = "421 4.3.2 Too many sessions here, try again later\r\n";
static const char reply_client[] =
	"421 4.7.0 Too many sessions from your address, try again later\r\n";
static const char reply_stopping[] = "421 4.3.2 Service is shutting down, try again later";

/* ---- life ---- */

void session_hold(struct session *s)
{
	s->refs++;
}

void session_release(struct session *s)
{
	struct inbound_listener *ln = s->ln;
	struct worker *w = s->w;

	must(s->refs > 0);
	if (--s->refs > 0)
		return;
	must(s->closed && !s->server && !s->stream);
	buf_deinit(&s->in);
	free(s);
	inbound_listener_unref(ln);
	worker_session_gone(w);
}

static void log_end(struct session *s, const char *why)
{
	char client[ADDR_TEXT_MAX];

	if (!log_wants(s->w->p.log, LOG_INFO))
		return;
	addr_format(client, &s->client);
	log_event(s->w->p.log, LOG_INFO, "session-ended",
		"session %" PRIx64 " listener %s client %s: %s", s->number, s->ln->p->name, client,
		why);
}

void session_close(struct session *s, ms_t linger, const char *why)
{
	struct worker *w = s->w;

	if (s->closed)
		return;
	s->closed = true;
	if (why)
		log_end(s, why);
	loop_timer_disarm(w->loop, &s->timer);
	DL_DELETE(w->sessions, s);
	if (s->waits & WAIT_MEMORY)
		inbound_unstarve(s);
	preface_stop(s);
	if (s->stream)
		stream_close(s->stream,
			w->stopping && linger > LINGER_STOPPING ? LINGER_STOPPING : linger);
	s->stream = NULL;
	if (s->begun)
		count_add(&w->count.rejected_messages, 1);
	s->begun = false;
	if (s->appended)
		inbound_discard(s);
	s->server = smtp_server_free(s->server);
	limits_leave(w->p.limits, s->ln->p, s->counted_client ? &s->client : NULL);
	atomic_fetch_sub_explicit(&w->count.open, 1, memory_order_relaxed);
	session_release(s);
}

void session_end(struct session *s, const char *reply)
{
	if (s->closed)
		return;
	if (s->waits & WAIT_COMMIT) {
		s->end_with = reply;
		return;
	}
	session_hold(s);
	/* in a handshake no text would be understood */
	if (s->server && !(s->waits & WAIT_TLS)) {
		if (smtp_server_shutdown(s->server, reply, &s->w->out) == 0)
			session_send(s);
		else
			buf_reset(&s->w->out);
	}
	session_close(s, LINGER, reply);
	session_release(s);
}

/* ---- time ---- */

static ms_t or_default(ms_t v, ms_t standard)
{
	return v > 0 ? v : standard;
}

static ms_t lesser(ms_t a, ms_t b)
{
	return a < b ? a : b;
}

static ms_t rate_window(const struct listener_params *p)
{
	return lesser(RATE_WINDOW, or_default(p->data_timeout, DATA_TIMEOUT));
}

struct due {
	ms_t at; /* mono; 0: never */
	const char *reply;
};

static void due_earlier(struct due *d, ms_t at, const char *reply)
{
	if (d->at == 0 || at < d->at)
		*d = (struct due){ at, reply };
}

/* When the session's patience ends, and the reply that says so. */
static struct due session_due(const struct session *s)
{
	const struct listener_params *p = s->ln->p;
	ms_t command = or_default(p->command_timeout, COMMAND_TIMEOUT);
	struct due d = { 0 };

	if (p->session_max > 0)
		due_earlier(&d, s->started + p->session_max, "421 4.4.2 Session lasted too long");
	if (s->waits & WAIT_PREFACE)
		due_earlier(&d, s->since + lesser(command, PREFACE_TIMEOUT),
			"421 4.4.2 Timeout waiting for the PROXY preface");
	else if (s->waits & WAIT_TLS)
		due_earlier(&d, s->since + lesser(command, TLS_TIMEOUT),
			"421 4.4.2 Timeout in the TLS handshake");
	else if (s->waits & WAIT_FOR_US)
		return d;
	else if (s->begun)
		due_earlier(&d, s->since + or_default(p->data_timeout, DATA_TIMEOUT),
			"421 4.4.2 Timeout waiting for message content");
	else
		due_earlier(&d, s->since + command, "421 4.4.2 Timeout waiting for a command");
	return d;
}

static bool too_slow(struct session *s, ms_t now)
{
	const struct listener_params *p = s->ln->p;
	ms_t window = rate_window(p);
	bool slow;

	if (p->rate_min == 0 || !s->begun || (s->waits & WAIT_FOR_US) ||
		now - s->window_start < window)
		return false;
	slow = s->window_bytes < p->rate_min * (uint64_t)window / 1000;
	s->window_start = now;
	s->window_bytes = 0;
	return slow;
}

/* The timer looks at least as often as the shortest of the limits, so that a limit that starts
 * later than it was armed is still met in time; nothing is armed per command or message. */
static void arm(struct session *s)
{
	const struct listener_params *p = s->ln->p;
	ms_t now = loop_mono(s->w->loop), delay;
	struct due d = session_due(s);

	delay = lesser(or_default(p->command_timeout, COMMAND_TIMEOUT),
		or_default(p->data_timeout, DATA_TIMEOUT));
	if (p->rate_min > 0)
		delay = lesser(delay, rate_window(p));
	if (p->rate_min > 0 && s->begun)
		delay = lesser(delay, s->window_start + rate_window(p) - now);
	if (d.at)
		delay = lesser(delay, d.at - now);
	loop_timer_arm(s->w->loop, &s->timer, delay > 0 ? delay : 0);
}

static void on_timer(void *arg)
{
	struct session *s = arg;
	ms_t now = loop_mono(s->w->loop);
	struct due d = session_due(s);

	if (d.at && d.at <= now)
		session_end(s, d.reply);
	else if (too_slow(s, now))
		session_end(s, "421 4.4.2 Content comes in too slowly");
	else
		arm(s);
}

static void progress(struct session *s)
{
	s->since = loop_mono(s->w->loop);
}

/* ---- between stream and state machine ---- */

void session_send(struct session *s)
{
	struct buf *out = &s->w->out;
	int r;

	if (buf_size(out) == 0 || !s->stream) {
		buf_reset(out);
		return;
	}
	r = stream_write(s->stream, buf_slice(out));
	buf_reset(out);
	progress(s);
	if (r)
		session_close(s, 0, "out of memory for replies");
	else if (stream_pending(s->stream) > OUTPUT_PENDING_MAX)
		s->waits |= WAIT_OUTPUT;
}

static void start_tls(struct session *s)
{
	int r;

	stream_flush(s->stream);
	s->waits |= WAIT_TLS;
	progress(s);
	r = stream_start_tls(s->stream, s->ln->tls, NULL, NULL);
	if (r)
		session_close(s, 0, "TLS cannot be started");
	else
		arm(s);
}

/* The transaction that was begun has ended without a commit. */
static void content_ended(struct session *s)
{
	s->begun = false;
	count_add(&s->w->count.rejected_messages, 1);
	if (s->appended)
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
		if (!s->closed)
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
	struct worker *w = s->w;
	enum smtp_server_want want = SERVER_AGAIN;

	while (!s->closed && !s->waits && want != SERVER_READ) {
		size_t used = 0;
		int r = smtp_server_feed(s->server, *in, &used, &w->out, loop_wall(w->loop), &want);

		*in = slice_from(*in, used);
		if (r)
			session_close(s, 0, "out of memory");
		else
			act(s, want, in);
	}
	if (!s->closed)
		session_send(s);
	else
		buf_reset(&w->out);
	if (!s->closed && s->begun && smtp_server_idle(s->server))
		content_ended(s);
	if (!s->closed && !s->waits && w->draining && in->n == 0 && smtp_server_idle(s->server))
		session_end(s, reply_stopping);
}

static void pause_reading(struct session *s)
{
	if (s->paused || !s->stream)
		return;
	s->paused = true;
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
	if (!s->closed)
		buf_consume(&s->in, before - in.n);
	if (!s->closed && s->waits && buf_size(&s->in) > INPUT_WAITING_MAX)
		pause_reading(s);
}

void session_ready(struct session *s, enum session_wait what)
{
	if (s->waits & WAIT_FOR_US & what) {
		progress(s);
		s->window_start = s->since;
		s->window_bytes = 0;
	}
	s->waits &= ~(unsigned)what;
	if (s->closed || s->waits)
		return;
	if (s->end_with) {
		session_end(s, s->end_with);
		return;
	}
	feed_kept(s);
	if (!s->closed && !s->waits && s->paused) {
		s->paused = false;
		stream_resume(s->stream);
	}
}

static void on_data(void *arg, struct slice in)
{
	struct session *s = arg;

	session_hold(s);
	if (s->begun) {
		progress(s);
		s->window_bytes += in.n;
		if (!s->waits && inbound_over_budget(s))
			inbound_starve(s);
	}
	if (s->waits || buf_size(&s->in) > 0) {
		keep_input(s, in);
		if (!s->closed && !s->waits)
			feed_kept(s);
	} else {
		feed(s, &in);
		if (!s->closed && in.n > 0)
			keep_input(s, in);
	}
	session_release(s);
}

static void on_drained(void *arg)
{
	struct session *s = arg;

	if (!(s->waits & WAIT_OUTPUT))
		return;
	session_hold(s);
	progress(s);
	session_ready(s, WAIT_OUTPUT);
	session_release(s);
}

static void on_closed(void *arg, int error, const char *why)
{
	struct session *s = arg;

	/* a client that leaves between messages is nothing to report */
	session_close(s, 0, error || s->begun || s->accepting ? why : NULL);
}

static int start_smtp(struct session *s)
{
	const struct listener_params *p = s->ln->p;
	struct smtp_server_peer peer = { .client = s->client,
		.tls = s->tls[0] != '\0',
		.tls_available = s->ln->tls && !p->implicit_tls,
		.auth_available = s->ln->users != NULL };
	int r;

	addr_format(peer.client_text, &s->client);
	for (unsigned i = 0; i < p->nallow && !peer.trusted; i++)
		peer.trusted = net_contains(&p->allow[i], &s->client);
	r = smtp_server_new(&s->server, &p->smtp, &peer, s->number);
	if (r)
		return r;
	if (peer.tls)
		smtp_server_tls_started(s->server, s->tls);
	r = smtp_server_greet(s->server, &s->w->out);
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
	count_add(&s->w->count.tls_sessions, 1);
	snprintf(s->tls, sizeof(s->tls), "%s", stream_tls_description(s->stream));
	progress(s);
	if (s->server)
		smtp_server_tls_started(s->server, s->tls);
	else if (start_smtp(s))
		session_close(s, 0, "out of memory");
	if (!s->closed)
		session_ready(s, WAIT_TLS);
out:
	session_release(s);
}

static const struct stream_ops session_ops = {
	.on_data = on_data,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_tls = on_tls,
};

/* ---- the way in ---- */

static void count_refusal(struct inbound_listener *ln, const struct addr *client, const char *why)
{
	struct worker *w = ln->w;
	ms_t now = loop_mono(w->loop);
	char text[ADDR_TEXT_MAX];

	count_add(&w->count.sessions_refused, 1);
	w->refusals++;
	if (w->refusals_told && now - w->refusals_told < REFUSALS_TOLD)
		return;
	addr_format(text, client);
	log_event(w->p.log, LOG_WARN, "sessions-refused",
		"listener %s: %s; %" PRIu64 " refused since the last such line, the latest from %s",
		ln->p->name, why, w->refusals, text);
	w->refusals_told = now;
	w->refusals = 0;
}

void session_open(struct session *s, int fd)
{
	struct worker *w = s->w;
	int r = stream_accept(&s->stream, w->loop, fd, &session_ops, s);

	if (r) {
		close(fd);
		session_close(s, 0, "the socket cannot be used");
		return;
	}
	if (limits_enter_client(w->p.limits, s->ln->p, &s->client) != LIMITS_OK) {
		count_refusal(s->ln, &s->client, "too many sessions from one address");
		/* a TLS client would not understand it */
		if (!s->ln->p->implicit_tls)
			stream_write(s->stream, SLICE_LIT(reply_client));
		session_close(s, LINGER, NULL);
		return;
	}
	s->counted_client = true;
	count_add(&w->count.sessions, 1);
	if (s->ln->p->implicit_tls)
		start_tls(s);
	else if (start_smtp(s))
		session_close(s, 0, "out of memory");
	else
		arm(s);
}

/* In one system call and without a session: refusing must be cheaper than being asked. */
static void refuse(struct inbound_listener *ln, int fd, const struct addr *peer)
{
	ssize_t n = 0;

	count_refusal(ln, peer, "too many sessions in all");
	if (!ln->p->implicit_tls)
		n = send(fd, reply_total, sizeof(reply_total) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n; /* whether it arrives or not, the socket is closed */
	close(fd);
}

void inbound_accepted(void *arg, int fd, const struct addr *peer, uint16_t port)
{
	struct inbound_listener *ln = arg;
	struct worker *w = ln->w;
	struct session *s;

	if (limits_enter(w->p.limits, ln->p) != LIMITS_OK) {
		refuse(ln, fd, peer);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		limits_leave(w->p.limits, ln->p, NULL);
		refuse(ln, fd, peer);
		return;
	}
	s->refs = 1;
	s->w = w;
	s->ln = ln;
	s->number = ((uint64_t)w->p.index << 40) | ++w->session_count;
	s->client = *peer;
	s->client_port = port;
	s->started = s->since = loop_mono(w->loop);
	buf_init(&s->in, 4 * INPUT_WAITING_MAX);
	loop_timer_init(&s->timer, on_timer, s);
	DL_APPEND(w->sessions, s);
	w->live++;
	ln->sessions++;
	atomic_fetch_add_explicit(&w->count.open, 1, memory_order_relaxed);

	session_hold(s);
	if (!ln->p->proxy) {
		session_open(s, fd);
	} else {
		s->waits |= WAIT_PREFACE;
		if (preface_start(s, fd))
			session_close(s, 0, "not a peer whose PROXY preface is believed");
		else
			arm(s);
	}
	session_release(s);
}

void inbound_drain(struct worker *w)
{
	struct session *s, *next;

	DL_FOREACH_SAFE (w->sessions, s, next) {
		if (!s->server ||
			(!s->waits && buf_size(&s->in) == 0 && smtp_server_idle(s->server)))
			session_end(s, reply_stopping);
	}
}

void inbound_end_all(struct worker *w, const char *reply)
{
	struct session *s, *next;

	DL_FOREACH_SAFE (w->sessions, s, next)
		session_end(s, reply);
}
