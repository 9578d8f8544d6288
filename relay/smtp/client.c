/* The outbound session: greeting, capabilities, TLS, and the way into and out of transactions. Fed
 * by outbound.c with bytes and events; says what it wants next. Pure.
 *
 * States: client_state.h. A reply that no state expects ends the session; nothing of it is
 * believed. */
#include <errno.h>
#include <stdlib.h>

#include "client_state.h"
#include "postern/must.h"

#define BIT(state) (1u << STATE_##state)

/* From which states each may be entered; a failure may close from any. */
static const unsigned entered_from[] = {
	[STATE_BANNER] = 0,
	[STATE_EHLO] = BIT(BANNER) | BIT(TLS),
	[STATE_HELO] = BIT(EHLO),
	[STATE_STARTTLS] = BIT(EHLO),
	[STATE_TLS] = BIT(STARTTLS),
	[STATE_READY] = BIT(EHLO) | BIT(HELO) | BIT(STARTTLS) | BIT(TXN),
	[STATE_TXN] = BIT(READY),
	[STATE_QUIT] = BIT(READY) | BIT(TXN),
	[STATE_CLOSED] = ~0u,
};

static const enum client_phase phase_of[] = {
#define X(name, phase) [STATE_##name] = phase,
	CLIENT_STATES(X)
#undef X
};

const char *client_phase_name(enum client_phase p)
{
	static const char *const names[] = {
#define X(name, text) #text,
		CLIENT_PHASES(X)
#undef X
	};

	return (size_t)p < sizeof(names) / sizeof(names[0]) ? names[p] : "unknown";
}

const char *client_extension_name(unsigned bit)
{
	static const char *const names[] = {
#define X(name, text, n) [n] = text,
		EXTENSIONS(X)
#undef X
	};

	return bit < EXTENSIONS_COUNT ? names[bit] : "unknown";
}

void client_timeouts_default(struct client_timeouts *t)
{
	*t = (struct client_timeouts){
		.connect = 30000,
		.banner = 60000,
		.ehlo = 60000,
		.starttls = 60000,
		.tls = 60000,
		.mail = 300000,
		.rcpt = 300000,
		.data = 120000,
		.body = 180000,
		.eod = 600000,
		.rset = 20000,
		.quit = 5000,
	};
}

int smtp_client_new(struct smtp_client **ret, const struct smtp_client_params *p)
{
	struct smtp_client *c = malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	memset(c, 0, offsetof(struct smtp_client, parser));
	reply_parser_init(&c->parser);
	c->p = *p;
	c->state = STATE_BANNER;
	*ret = c;
	return 0;
}

struct smtp_client *smtp_client_free(struct smtp_client *c)
{
	free(c);
	return NULL;
}

void client_set_state(struct smtp_client *c, enum client_state to)
{
	must(entered_from[to] & (1u << c->state));
	c->state = to;
}

void client_fail(
	struct smtp_client *c, enum client_phase phase, const struct reply *reply, const char *why)
{
	if (c->state == STATE_CLOSED)
		return;
	client_set_state(c, STATE_CLOSED);
	c->info.failed_in = phase;
	if (reply)
		reply_copy(&c->info.failure, reply);
	else
		reply_make(&c->info.failure, 0, "");
	strncpy(c->info.why, why, sizeof(c->info.why) - 1);
}

/* A host that is still listening is told that we leave; who closes by itself (421) is not. */
static int leave(struct smtp_client *c, enum client_phase phase, const struct reply *reply,
	const char *why, struct buf *out, enum smtp_client_want *want)
{
	client_fail(c, phase, reply, why);
	*want = CLIENT_CLOSE;
	if (reply && reply->code == 421)
		return 0;
	return buf_add_slice(out, SLICE_LIT("QUIT\r\n"));
}

static int hello(struct smtp_client *c, struct buf *out)
{
	client_set_state(c, STATE_EHLO);
	memset(&c->info.ehlo, 0, sizeof(c->info.ehlo));
	c->parser.ehlo = &c->info.ehlo;
	return cmd_hello(out, true, c->p.ehlo_name);
}

static void ready(struct smtp_client *c)
{
	struct ehlo *e = &c->info.ehlo;
	unsigned without = c->p.without;

	/* what is known not to work is as good as not offered */
	e->pipelining &= !(without & EXT_PIPELINING);
	e->chunking &= !(without & EXT_CHUNKING);
	e->smtputf8 &= !(without & EXT_SMTPUTF8);
	if (without & EXT_PARAMS)
		e->size_given = e->eightbit = e->dsn = false;
	c->pipelining = c->p.pipelining && e->pipelining;
	c->chunking = c->p.chunking && e->chunking;
	client_set_state(c, STATE_READY);
}

/* The host has greeted us: on to TLS, to work, or away. */
static int hello_done(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	enum tls_mode mode = c->p.tls;

	if (mode == TLS_OPPORTUNISTIC && c->p.tls_given_up)
		mode = TLS_NONE;
	if (c->info.tls || mode == TLS_NONE) {
		ready(c);
		return 0;
	}
	if (c->info.ehlo.starttls) {
		client_set_state(c, STATE_STARTTLS);
		return buf_add_slice(out, SLICE_LIT("STARTTLS\r\n"));
	}
	if (mode == TLS_OPPORTUNISTIC) {
		ready(c);
		return 0;
	}
	return leave(c, PHASE_STARTTLS, NULL, "TLS required but not offered", out, want);
}

static void banner_keep(struct smtp_client *c, const struct reply *r)
{
	const char *lf = memchr(r->text, '\n', r->n);
	size_t n = lf ? (size_t)(lf - r->text) : r->n;

	if (n > sizeof(c->info.banner) - 1)
		n = sizeof(c->info.banner) - 1;
	memcpy(c->info.banner, r->text, n);
	c->info.banner[n] = '\0';
}

static int on_banner(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;

	if (r->code / 100 != 2)
		return leave(c, PHASE_BANNER, r, "session refused", out, want);
	banner_keep(c, r);
	return hello(c, out);
}

/* Replies by which old hosts, and some middle boxes, say that they know HELO only. */
static bool asks_for_helo(uint16_t code)
{
	return code == 500 || code == 501 || code == 502 || code == 504 || code == 550;
}

static int on_ehlo(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;

	c->parser.ehlo = NULL;
	if (r->code / 100 == 2)
		return hello_done(c, out, want);
	if (!asks_for_helo(r->code))
		return leave(c, PHASE_EHLO, r, "EHLO refused", out, want);
	if (c->info.tls) { /* it took EHLO before TLS */
		c->info.suspect = EXT_TLS;
		return leave(c, PHASE_EHLO, r, "EHLO refused after TLS", out, want);
	}
	client_set_state(c, STATE_HELO);
	return cmd_hello(out, false, c->p.ehlo_name);
}

static int on_helo(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;

	if (r->code / 100 != 2)
		return leave(c, PHASE_EHLO, r, "HELO refused", out, want);
	memset(&c->info.ehlo, 0, sizeof(c->info.ehlo)); /* HELO offers nothing */
	return hello_done(c, out, want);
}

static int on_starttls(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;

	if (r->code / 100 == 2) {
		client_set_state(c, STATE_TLS);
		*want = CLIENT_STARTTLS;
		return 0;
	}
	if (c->p.tls != TLS_OPPORTUNISTIC || r->code == 421 || r->code / 100 == 3) {
		c->info.suspect = EXT_TLS;
		return leave(c, PHASE_STARTTLS, r, "STARTTLS refused", out, want);
	}
	ready(c);
	return 0;
}

static int on_unsolicited(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;

	(void)out;
	client_fail(
		c, PHASE_READY, r, r->code == 421 ? "receiver closes" : "reply without a command");
	*want = CLIENT_CLOSE;
	return 0;
}

static int on_quit(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	(void)out;
	client_set_state(c, STATE_CLOSED);
	*want = CLIENT_CLOSE;
	return 0;
}

/* What a reply means in each state. A handler leaves *want alone to go on with the input. */
static int (*const on_reply[])(struct smtp_client *, struct buf *, enum smtp_client_want *) = {
	[STATE_BANNER] = on_banner,
	[STATE_EHLO] = on_ehlo,
	[STATE_HELO] = on_helo,
	[STATE_STARTTLS] = on_starttls,
	[STATE_READY] = on_unsolicited,
	[STATE_TXN] = txn_reply,
	[STATE_QUIT] = on_quit,
};

/* The host ends the session, or makes no sense, at a moment when TLS is new to it. */
static void suspect_tls(struct smtp_client *c)
{
	if (c->ours)
		return;
	if (c->state == STATE_STARTTLS || c->state == STATE_TLS ||
		(c->state == STATE_EHLO && c->info.tls))
		c->info.suspect = EXT_TLS;
}

/* What the host says from here on cannot be credited to any command. */
static void sense_lost(struct smtp_client *c, const char *why, enum smtp_client_want *want)
{
	enum client_phase phase = smtp_client_phase(c);
	bool told = *want == CLIENT_DONE; /* the reply before has settled the transaction */

	suspect_tls(c);
	if (c->t.txn) {
		txn_abandon(c, why);
		told = true;
	}
	if (c->state == STATE_QUIT) /* whatever it says: the session is over */
		client_set_state(c, STATE_CLOSED);
	else
		client_fail(c, phase, NULL, why);
	*want = told ? CLIENT_DONE : CLIENT_CLOSE;
}

/* Before input is looked at. Leaves *want at AGAIN when there is input to be taken. */
static int before_input(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	if (c->done_due) {
		c->done_due = false;
		*want = CLIENT_DONE;
	} else if (c->state == STATE_CLOSED) {
		*want = CLIENT_CLOSE;
	} else if (c->hello_due) {
		c->hello_due = false;
		*want = CLIENT_READ;
		return hello(c, out);
	} else if (c->state == STATE_TLS) {
		*want = CLIENT_STARTTLS;
	}
	return 0;
}

int smtp_client_feed(struct smtp_client *c, struct slice in, size_t *used, struct buf *out,
	enum smtp_client_want *want)
{
	int r;

	*used = 0;
	*want = CLIENT_AGAIN;
	r = before_input(c, out, want);
	while (!r && *want == CLIENT_AGAIN) {
		size_t n;

		if (*used == in.n) {
			*want = c->state == STATE_READY ? CLIENT_IDLE : CLIENT_READ;
			break;
		}
		switch (reply_feed(&c->parser, slice_from(in, *used), &n)) {
		case REPLY_DONE:
			*used += n;
			c->info.replies++;
			r = on_reply[c->state](c, out, want);
			break;
		case REPLY_CUT:
			*used += n;
			c->info.replies++;
			r = on_reply[c->state](c, out, want);
			if (!r)
				sense_lost(c, "answer without an end", want);
			break;
		case REPLY_BAD:
			*used += n;
			sense_lost(c, "answer is not SMTP", want);
			break;
		case REPLY_MORE:
		default:
			*used += n;
			break;
		}
	}
	if (!r && *want == CLIENT_CLOSE)
		*used = in.n;
	return r;
}

void smtp_client_tls_started(struct smtp_client *c, const char *description, bool verified)
{
	if (c->state != STATE_TLS) /* the session ended meanwhile */
		return;
	strncpy(c->tls, description, sizeof(c->tls) - 1);
	c->info.tls = c->tls;
	c->info.tls_verified = verified;
	if (c->p.tls == TLS_VERIFY && !verified) {
		client_fail(c, PHASE_TLS, NULL, "certificate cannot be verified");
		return;
	}
	memset(&c->info.ehlo, 0, sizeof(c->info.ehlo));
	reply_parser_init(&c->parser);
	c->hello_due = true;
}

void smtp_client_tls_failed(struct smtp_client *c, const char *why)
{
	c->info.tls_failed = true;
	c->info.suspect = EXT_TLS;
	client_fail(c, PHASE_TLS, NULL, why);
}

int smtp_client_begin(struct smtp_client *c, struct smtp_client_txn *t, struct buf *out,
	enum smtp_client_want *want)
{
	if (c->state != STATE_READY || c->done_due)
		return -EBUSY;
	return txn_begin(c, t, out, want);
}

void smtp_client_body_sent(struct smtp_client *c)
{
	if (!c->t.txn || !c->t.body_open)
		return;
	c->t.body_open = false;
	c->t.body_sent = true;
}

void smtp_client_body_held(struct smtp_client *c)
{
	c->t.body_sent = false;
}

static bool all_sent(const struct smtp_client *c)
{
	return c->state == STATE_TXN && c->t.txn && c->t.send.step == STEP_END && c->t.body_sent;
}

int smtp_client_quit(struct smtp_client *c, struct buf *out)
{
	if (c->state == STATE_READY)
		client_set_state(c, STATE_QUIT);
	else if (all_sent(c) && c->pipelining && !c->quit_sent)
		c->quit_sent = true;
	else
		return -EBUSY;
	return buf_add_slice(out, SLICE_LIT("QUIT\r\n"));
}

void smtp_client_lost(struct smtp_client *c, const char *why)
{
	enum client_phase phase = smtp_client_phase(c);

	suspect_tls(c);
	if (c->t.txn) {
		txn_abandon(c, why);
		c->done_due = true;
	}
	if (c->state == STATE_QUIT)
		client_set_state(c, STATE_CLOSED);
	else
		client_fail(c, phase, NULL, why);
}

void smtp_client_stop(struct smtp_client *c, const char *why)
{
	c->ours = true;
	smtp_client_lost(c, why);
}

enum client_phase smtp_client_phase(const struct smtp_client *c)
{
	if (c->state == STATE_CLOSED)
		return c->info.failed_in;
	if (c->state == STATE_TXN && c->t.txn)
		return txn_phase(c);
	return c->hello_due ? PHASE_EHLO : phase_of[c->state];
}

ms_t smtp_client_timeout(const struct smtp_client *c)
{
	const struct client_timeouts *t = &c->p.timeouts;

	if (c->state == STATE_CLOSED)
		return 0;
	switch (smtp_client_phase(c)) {
	case PHASE_CONNECT:
		return t->connect;
	case PHASE_BANNER:
		return t->banner;
	case PHASE_EHLO:
		return t->ehlo;
	case PHASE_STARTTLS:
		return t->starttls;
	case PHASE_TLS:
		return t->tls;
	case PHASE_MAIL:
		return t->mail;
	case PHASE_RCPT:
		return t->rcpt;
	case PHASE_DATA:
		return t->data;
	case PHASE_EOD:
		return c->t.body_open ? t->body : t->eod;
	case PHASE_RSET:
		return t->rset;
	case PHASE_QUIT:
		return t->quit;
	case PHASE_READY:
	default:
		return 0;
	}
}

const struct smtp_client_info *smtp_client_info(const struct smtp_client *c)
{
	return &c->info;
}
