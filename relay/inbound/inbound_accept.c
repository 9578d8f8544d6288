/* Inbound sessions: the way in, from the accepted socket to the first word, and the limits of
 * time. Runs on the worker's thread.
 *
 * Places: strangers, whose network had no message accepted of late, get nine in ten and no more.
 * Who comes when there is none, or a stranger when only the places of others are left, takes the
 * place of the stranger that has been silent longest (inbound_stress.c); if nobody is silent, it
 * is refused. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "inbound.h"

#define COMMAND_TIMEOUT	   300000
#define DATA_TIMEOUT	   180000
#define PREFACE_TIMEOUT	   10000
#define TLS_TIMEOUT	   30000
#define RATE_INTERVAL	   60000
#define STRANGER_CHECK	   5000 /* so soon is seen that places have become short */
#define REFUSALS_TOLD	   10000
#define STRANGERS_SHARE	   900 /* thousandths of the places … */
#define STRANGERS_SHARE_OF 20  /* … where there are so many */
#define LINGER		   5000

static const char reply_total[] = "421 4.3.2 Too many sessions here, try again later\r\n";
static const char reply_client[] =
	"421 4.7.0 Too many sessions from your address, try again later\r\n";

/* ---- time ---- */

static ms_t or_default(ms_t v, ms_t standard)
{
	return v > 0 ? v : standard;
}

static ms_t lesser(ms_t a, ms_t b)
{
	return a < b ? a : b;
}

static ms_t rate_interval(const struct listener_params *p)
{
	return lesser(RATE_INTERVAL, or_default(p->data_timeout, DATA_TIMEOUT));
}

struct due {
	ms_t at; /* mono; 0: never */
	const char *reply;
	enum smtp_reject why;
};

static void due_earlier(struct due *d, ms_t at, enum smtp_reject why, const char *reply)
{
	if (d->at == 0 || at < d->at)
		*d = (struct due){ at, reply, why };
}

/* The client's silence, by what is waited for. */
static void silence_due(const struct session *s, struct due *d)
{
	const struct listener_params *p = s->ln->p;
	ms_t command = or_default(p->command_timeout, COMMAND_TIMEOUT);

	if (s->waits & WAIT_PREFACE)
		due_earlier(d, s->since + lesser(command, PREFACE_TIMEOUT), REJECT_TIMEOUT,
			"421 4.4.2 Timeout waiting for the PROXY preface");
	else if (s->waits & WAIT_TLS)
		due_earlier(d, s->since + lesser(command, TLS_TIMEOUT), REJECT_TIMEOUT,
			"421 4.4.2 Timeout in the TLS handshake");
	else if (s->content.begun)
		due_earlier(d, s->since + or_default(p->data_timeout, DATA_TIMEOUT), REJECT_TIMEOUT,
			"421 4.4.2 Timeout waiting for message content");
	else
		due_earlier(d, s->since + command, REJECT_TIMEOUT,
			"421 4.4.2 Timeout waiting for a command");
}

/* When the session's patience ends, and the reply that says so. */
static struct due session_due(const struct session *s)
{
	const struct listener_params *p = s->ln->p;
	ms_t patience = stress_patience(s);
	struct due d = { 0 };

	if (p->session_max > 0)
		due_earlier(&d, s->started + p->session_max, REJECT_TIMEOUT,
			"421 4.4.2 Session lasted too long");
	if (s->waits & WAIT_FOR_US)
		return d;
	silence_due(s, &d);
	if (patience > 0)
		due_earlier(&d, s->since + patience, REJECT_SILENT,
			"421 4.3.2 Silent for too long while many want to be served");
	return d;
}

static bool too_slow(struct session *s, ms_t now)
{
	const struct listener_params *p = s->ln->p;
	ms_t interval = rate_interval(p);
	bool slow;

	if (p->rate_min == 0 || !s->content.begun || (s->waits & WAIT_FOR_US) ||
		now - s->interval_start < interval)
		return false;
	slow = s->interval_bytes < p->rate_min * (uint64_t)interval / 1000;
	s->interval_start = now;
	s->interval_bytes = 0;
	return slow;
}

/* The timer fires at least as often as the shortest of the limits, so that a limit that starts
 * later than it was armed is still met in time; nothing is armed per command or message. */
void session_arm(struct session *s)
{
	const struct listener_params *p = s->ln->p;
	ms_t now = loop_mono(s->ib->loop), delay;
	struct due d = session_due(s);

	delay = lesser(or_default(p->command_timeout, COMMAND_TIMEOUT),
		or_default(p->data_timeout, DATA_TIMEOUT));
	if (p->rate_min > 0)
		delay = lesser(delay, rate_interval(p));
	if (p->rate_min > 0 && s->content.begun)
		delay = lesser(delay, s->interval_start + rate_interval(p) - now);
	if (s->stranger)
		delay = lesser(delay, STRANGER_CHECK);
	if (d.at)
		delay = lesser(delay, d.at - now);
	loop_timer_arm(s->ib->loop, &s->timer, delay > 0 ? delay : 0);
}

static void on_timer(void *arg)
{
	static const char slow[] = "421 4.4.2 Content comes in too slowly";
	struct session *s = arg;
	ms_t now = loop_mono(s->ib->loop);
	struct due d = session_due(s);

	if (d.at && d.at <= now) {
		session_rejected_for(s, d.why, d.reply);
		session_end(s, d.reply);
	} else if (too_slow(s, now)) {
		session_rejected_for(s, REJECT_SLOW, slow);
		session_end(s, slow);
	} else {
		session_arm(s);
	}
}

/* ---- the way in ---- */

/* A client that has no session: told in the log once in a while. */
static void reject(struct inbound_listener *ln, const struct addr *client, const char *reply)
{
	struct inbound *ib = ln->ib;
	ms_t now = loop_mono(ib->loop);
	char text[ADDR_TEXT_MAX];

	count_add(&ib->count.sessions_refused, 1);
	reject_count(ln->rejects, REJECT_SESSIONS);
	ib->refusals++;
	if (!ib->p.log || (ib->refusals_told && now - ib->refusals_told < REFUSALS_TOLD))
		return;
	addr_format(text, client);
	log_line_begin(&ib->line, loop_wall(ib->loop), log_event_name(EVENT_REJECTED));
	log_line_cstr(&ib->line, "reason", smtp_reject_name(REJECT_SESSIONS));
	log_line_cstr(&ib->line, "client", text);
	log_line_str(&ib->line, "reply", (struct slice){ reply, strcspn(reply, "\r") });
	log_line_cstr(&ib->line, "listener", ln->p->name);
	log_line_int(&ib->line, "untold", (int64_t)ib->refusals - 1);
	log_emit(ib->p.log, &ib->line);
	ib->refusals_told = now;
	ib->refusals = 0;
}

/* The client's address is the true one now. */
static bool meet_client(struct session *s)
{
	struct inbound *ib = s->ib;

	s->known = client_enter(ib->p.limits, &s->client);
	if (!s->known) {
		session_close(s, 0, "out of memory");
		return false;
	}
	stress_leave(s);
	stress_begin(s);
	if (limits_enter_client(ib->p.limits, s->ln->p, &s->client) != LIMITS_OK) {
		count_add(&ib->count.sessions_refused, 1);
		session_rejected_for(s, REJECT_CLIENT_SESSIONS, reply_client);
		/* a TLS client would not understand it */
		if (!s->ln->p->implicit_tls)
			stream_write(s->stream, SLICE_LIT(reply_client));
		session_close(s, LINGER, NULL);
		return false;
	}
	s->counted_client = true;
	return true;
}

void session_open(struct session *s, int fd)
{
	struct inbound *ib = s->ib;
	int r = stream_accept(&s->stream, ib->loop, fd, &session_stream_ops, s);

	if (r) {
		close(fd);
		session_close(s, 0, "the socket cannot be used");
		return;
	}
	if (!meet_client(s))
		return;
	count_add(&ib->count.sessions, 1);
	session_start(s);
}

/* In one system call and without a session: refusing must be cheaper than being asked. */
static void refuse(struct inbound_listener *ln, int fd, const struct addr *peer)
{
	ssize_t n = 0;

	reject(ln, peer, reply_total);
	if (!ln->p->implicit_tls)
		n = send(fd, reply_total, sizeof(reply_total) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n; /* whether it arrives or not, the socket is closed */
	close(fd);
}

/* A place for a connection from peer. */
static bool find_place(struct inbound_listener *ln, const struct addr *peer)
{
	struct session_limits *l = ln->ib->p.limits;
	const struct listener_params *p = ln->p;
	unsigned in_use;

	if (limits_enter(l, p, &in_use) != LIMITS_OK)
		return stress_make_room(ln->ib) && limits_enter(l, p, &in_use) == LIMITS_OK;
	if (in_use <= STRANGERS_SHARE || p->sessions_max < STRANGERS_SHARE_OF || p->proxy ||
		client_was_proven(l, peer, loop_mono(ln->ib->loop)) || stress_make_room(ln->ib))
		return true;
	limits_leave(l, p, NULL);
	return false;
}

static struct session *session_new(
	struct inbound_listener *ln, const struct addr *peer, uint16_t port)
{
	struct session *s = calloc(1, sizeof(*s));
	struct inbound *ib = ln->ib;

	if (!s)
		return NULL;
	s->refs = 1;
	s->ib = ib;
	s->ln = ln;
	s->number = ((uint64_t)ib->p.index << 40) | ++ib->session_count;
	s->client = *peer;
	s->client_port = port;
	s->started = s->since = loop_mono(ib->loop);
	buf_init(&s->in, 4 * INPUT_WAITING_MAX);
	loop_timer_init(&s->timer, on_timer, s);
	DL_APPEND(ib->sessions, s);
	ib->live++;
	ln->sessions++;
	atomic_fetch_add_explicit(&ib->count.open, 1, memory_order_relaxed);
	return s;
}

void inbound_accepted(void *arg, int fd, const struct addr *peer, uint16_t port)
{
	struct inbound_listener *ln = arg;
	struct inbound *ib = ln->ib;
	struct session *s;

	if (!find_place(ln, peer)) {
		refuse(ln, fd, peer);
		return;
	}
	s = session_new(ln, peer, port);
	if (!s) {
		limits_leave(ib->p.limits, ln->p, NULL);
		refuse(ln, fd, peer);
		return;
	}
	inbound_auth_init(s);
	session_hold(s);
	if (!ln->p->proxy) {
		session_open(s, fd);
	} else {
		static const char unbelieved[] = "not a peer whose PROXY preface is believed";

		s->waits |= WAIT_PREFACE;
		stress_begin(s);
		if (preface_start(s, fd)) {
			session_rejected_for(s, REJECT_PROXY, unbelieved);
			session_close(s, 0, unbelieved);
		} else {
			session_arm(s);
		}
	}
	session_release(s);
}
