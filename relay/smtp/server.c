/* The inbound state machine: input, lines, the table of states, and the count of errors. Called by
 * the inbound session on its worker's thread; pure. What runs a command is in server_mail.c,
 * server_content.c and server_auth.c. */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/text.h"

/* Replies made in one call before the caller is asked to send them: what a client pipelines, and
 * how large its answers are, must not decide how much memory they take. */
#define REPLIES_MAX 8192
/* An overlong line is thrown away up to its end, but not for ever. */
#define SKIP_MAX     65536u
#define LINE_DEFAULT 4096u
/* Errors: one is forgotten in so many ms, so that a session of hours may make one now and then; but
 * not more than so many times errors_max without a message, however slowly they come. */
#define ERROR_FORGOTTEN 30000
#define ERRORS_IN_ALL	10u

/* ---- replies ---- */

int server_say(struct buf *out, const char *line)
{
	int r = buf_add_str(out, line);

	return r ? r : buf_add(out, "\r\n", 2);
}

int server_close(struct smtp_server *s, struct buf *out, const char *line)
{
	server_reset(s);
	s->pending = SERVER_CLOSE;
	return server_say(out, line);
}

const char *smtp_reject_name(enum smtp_reject r)
{
	static const char *const names[] = {
#define X(name, text) text,
		SMTP_REJECTS(X)
#undef X
	};

	return names[r];
}

static void report(struct smtp_server *s, enum smtp_reject why, const char *line)
{
	const struct smtp_command *c = s->command;
	struct smtp_rejection rej = { .reason = why, .reply = line };

	if (!s->peer.rejected || why == REJECT_NONE)
		return;
	rej.user = s->user[0] ? s->user : s->sasl.user[0] ? s->sasl.user : NULL;
	if (s->message)
		rej.sender = slice_of(s->message->sender);
	else if (c && c->verb == SMTP_MAIL)
		rej.sender = c->path.address;
	if (c && c->verb == SMTP_RCPT)
		rej.recipient = c->path.address;
	s->peer.rejected(s->peer.arg, &rej);
}

int server_defer(struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line)
{
	report(s, why, line);
	return server_say(out, line);
}

int server_end(struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line)
{
	report(s, why, line);
	return server_close(s, out, line);
}

static bool too_many_errors(struct smtp_server *s)
{
	ms_t passed = s->wall - s->errors_since;
	uint64_t forgotten = passed > 0 ? (uint64_t)passed / ERROR_FORGOTTEN : 0;

	if (s->errors == 0 || passed < 0 || forgotten >= s->errors) {
		s->errors = 0;
		s->errors_since = s->wall;
	} else {
		s->errors -= (uint32_t)forgotten;
		s->errors_since += (ms_t)forgotten * ERROR_FORGOTTEN;
	}
	s->errors++;
	s->errors_all++;
	return s->p->errors_max &&
	       (s->errors >= s->p->errors_max || s->errors_all / ERRORS_IN_ALL >= s->p->errors_max);
}

int server_refuse(struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line)
{
	int r = server_defer(s, out, why, line);

	if (!r && too_many_errors(s))
		r = server_end(s, out, REJECT_ERRORS, "421 4.7.0 Too many errors; closing");
	return r;
}

int server_refuse_recipient(struct smtp_server *s, struct buf *out, const char *line)
{
	/* a list of thousands has its bad ones, and whoever may relay did not come to guess */
	if (server_may_relay(s) && s->bad_recipients < s->p->recipients_max) {
		s->bad_recipients++;
		return server_defer(s, out, REJECT_RECIPIENT, line);
	}
	return server_refuse(s, out, REJECT_RECIPIENT, line);
}

void server_drop_message(struct smtp_server *s)
{
	if (s->message && s->message->body && s->message->body->taken > 0) {
		must(!s->aborting);
		s->aborting = s->message;
		s->abort_told = false;
		s->message = NULL;
	}
	s->message = message_unref(s->message);
}

void server_reset(struct smtp_server *s)
{
	server_drop_message(s);
	s->set = (struct recipient_set){ 0 };
	if (s->state != STATE_HELLO)
		s->state = STATE_READY;
	s->refused = s->swallow = s->by_chunks = false;
	s->input = INPUT_COMMAND;
}

/* ---- commands that need no more than a reply ---- */

/* Letters beyond ASCII as A-labels, or else as '?': the name goes into a header field. */
static void keep_helo(struct smtp_server *s, struct slice name)
{
	bool high = false;

	must(name.n < sizeof(s->helo));
	memcpy(s->helo, name.p, name.n);
	s->helo[name.n] = '\0';
	for (size_t i = 0; i < name.n; i++)
		high |= (unsigned char)name.p[i] >= 0x80;
	if (!high || (s->p->domain_to_ascii && utf8_valid(name) &&
			     s->p->domain_to_ascii(name, s->helo, sizeof(s->helo)) == 0))
		return;
	for (size_t i = 0; i < name.n; i++)
		s->helo[i] = (unsigned char)name.p[i] >= 0x80 ? '?' : name.p[i];
	s->helo[name.n] = '\0';
}

static int run_ehlo(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	int r;

	server_reset(s); /* RFC 5321 section 4.1.4 */
	keep_helo(s, c->argument);
	s->esmtp = c->verb == SMTP_EHLO;
	s->state = STATE_READY;
	r = buf_add_str(out, s->esmtp ? "250-" : "250 ");
	if (!r)
		r = server_say(out, s->p->hostname);
	if (r || !s->esmtp)
		return r;
	if (s->p->size_max)
		r = buf_printf(out, "250-SIZE %llu\r\n", (unsigned long long)s->p->size_max);
	else
		r = server_say(out, "250-SIZE");
	if (!r && s->peer.tls_available && !s->peer.tls)
		r = server_say(out, "250-STARTTLS");
	if (!r && server_offers_auth(s) && !server_has_logged_in(s))
		r = server_say(out, "250-AUTH PLAIN LOGIN");
	return r ? r
		 : buf_add_str(out,
			   "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
			   "250-ENHANCEDSTATUSCODES\r\n250-BINARYMIME\r\n250 CHUNKING\r\n");
}

static int run_rset(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	server_reset(s);
	return server_say(out, "250 2.0.0 Ok");
}

static int run_noop(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	return server_say(out, "250 2.0.0 Ok");
}

static int run_quit(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	return server_close(s, out, "221 2.0.0 Bye");
}

static int run_vrfy(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	return server_say(out, "252 2.0.0 Addresses are not verified here; send a message");
}

static int run_expn(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	return server_refuse(s, out, REJECT_ORDER, "502 5.5.1 EXPN is not available");
}

static int run_help(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	return server_say(out, "214 2.0.0 EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT");
}

static int run_unknown(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	return server_refuse(s, out, REJECT_SYNTAX, "500 5.5.2 Command not recognized");
}

/* ---- the table of states ----
 * A state moves on only by the command that the table allows in it, and back to READY by EHLO,
 * RSET, the end of content, or a refusal that ends the transaction. */

#define IN(name)       (1u << STATE_##name)
#define IN_ANY	       (IN(HELLO) | IN_GREETED)
#define IN_GREETED     (IN(READY) | IN_TRANSACTION)
#define IN_TRANSACTION (IN(MAIL) | IN(RCPT) | IN(CHUNKS))

static const struct verb_rule {
	unsigned states;
	int (*run)(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
} rules[] = {
	[SMTP_HELO] = { IN_ANY, run_ehlo },
	[SMTP_EHLO] = { IN_ANY, run_ehlo },
	[SMTP_MAIL] = { IN(READY), server_mail },
	[SMTP_RCPT] = { IN(MAIL) | IN(RCPT), server_rcpt },
	[SMTP_DATA] = { IN(RCPT), server_data },
	[SMTP_BDAT] = { IN(RCPT) | IN(CHUNKS), server_bdat },
	[SMTP_RSET] = { IN_ANY, run_rset },
	[SMTP_NOOP] = { IN_ANY, run_noop },
	[SMTP_QUIT] = { IN_ANY, run_quit },
	[SMTP_VRFY] = { IN_ANY, run_vrfy },
	[SMTP_EXPN] = { IN_ANY, run_expn },
	[SMTP_HELP] = { IN_ANY, run_help },
	[SMTP_STARTTLS] = { IN(READY), server_starttls },
	[SMTP_AUTH] = { IN(READY), server_auth },
	[SMTP_UNKNOWN] = { IN_ANY, run_unknown },
};

static const char *out_of_order(const struct smtp_server *s, enum smtp_verb verb)
{
	switch (s->state) {
	case STATE_HELLO:
		return "503 5.5.1 Send EHLO first";
	case STATE_READY:
		return "503 5.5.1 Send MAIL first";
	case STATE_MAIL:
		if (verb == SMTP_DATA)
			return "554 5.5.1 No valid recipients";
		if (verb == SMTP_BDAT)
			return "503 5.5.1 No valid recipients";
		break;
	case STATE_CHUNKS:
		if (verb == SMTP_DATA || verb == SMTP_RCPT)
			return "503 5.5.1 BDAT has begun; go on with BDAT or send RSET";
		break;
	case STATE_RCPT:
		break;
	}
	if (verb == SMTP_MAIL)
		return "503 5.5.1 Sender already given; send RSET to begin anew";
	return "503 5.5.1 Not during a mail transaction; send RSET first";
}

/* Commands that were pipelined behind a refused MAIL, or behind refused recipients, come without
 * fault. */
static bool is_echo(const struct smtp_server *s, enum smtp_verb verb)
{
	if (s->state == STATE_MAIL)
		return verb == SMTP_DATA || verb == SMTP_BDAT;
	return s->state == STATE_READY && s->refused &&
	       (verb == SMTP_RCPT || verb == SMTP_DATA || verb == SMTP_BDAT);
}

/* A web page may have a browser within the allowed networks send a request whose body is commands;
 * no client of ours speaks like that (RFC 9110 section 9.3). */
static bool is_http(struct slice line)
{
	static const char *const methods[] = { "GET ", "POST ", "PUT ", "HEAD ", "DELETE ",
		"OPTIONS ", "PATCH ", "TRACE ", "CONNECT ", "PRI " };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (line.n >= strlen(methods[i]) && !memcmp(line.p, methods[i], strlen(methods[i])))
			return true;
	}
	return false;
}

static int refuse_order(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	const char *line = out_of_order(s, c->verb);
	bool echo = is_echo(s, c->verb);

	if (c->verb == SMTP_BDAT)
		return server_bdat_refuse(s, c, out, line, echo ? REJECT_NONE : REJECT_ORDER);
	return echo ? server_say(out, line) : server_refuse(s, out, REJECT_ORDER, line);
}

static int refuse_syntax(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	const char *line = smtp_command_reply(c);
	bool address = c->syntax == SMTP_SYNTAX_ADDRESS || c->syntax == SMTP_SYNTAX_NON_ASCII;

	if (c->verb == SMTP_MAIL)
		s->refused = true;
	if (c->verb == SMTP_RCPT && address)
		return server_refuse_recipient(s, out, line);
	return server_refuse(s, out, address ? REJECT_SENDER : REJECT_SYNTAX, line);
}

/* The address is one only for those that are not particular about it. */
static bool too_lax(const struct smtp_server *s, const struct smtp_command *c)
{
	return s->p->strict_addresses && (c->verb == SMTP_MAIL || c->verb == SMTP_RCPT) &&
	       c->path.lax;
}

static int judge_command(
	struct smtp_server *s, struct smtp_command *c, struct slice line, struct buf *out)
{
	if (c->verb == SMTP_BDAT && c->syntax != SMTP_SYNTAX_OK)
		return server_end(s, out, REJECT_SYNTAX, smtp_command_reply(c));
	if (c->verb == SMTP_UNKNOWN && is_http(line))
		return server_end(
			s, out, REJECT_SYNTAX, "521 5.5.1 This is SMTP, not HTTP; closing");
	if (c->syntax == SMTP_SYNTAX_CONTROL && memchr(line.p, '\r', line.n))
		return server_refuse(
			s, out, REJECT_SYNTAX, "500 5.5.2 Bare CR; end lines with CR LF");
	if (!(rules[c->verb].states & 1u << s->state))
		return refuse_order(s, c, out);
	if (c->syntax == SMTP_SYNTAX_OK && too_lax(s, c))
		c->syntax = SMTP_SYNTAX_ADDRESS;
	if (c->syntax != SMTP_SYNTAX_OK)
		return refuse_syntax(s, c, out);
	return rules[c->verb].run(s, c, out);
}

static int run_command(struct smtp_server *s, struct slice line, struct buf *out)
{
	struct smtp_command c;
	int r;

	smtp_command_parse(&c, line);
	s->command = &c;
	r = judge_command(s, &c, line, out);
	s->command = NULL;
	return r;
}

/* ---- input ---- */

enum step { STEP_GO_ON, STEP_MORE };

/* The first real line end in in: its CR. */
static const char *find_crlf(struct slice in)
{
	const char *p = in.p, *end = in.p + in.n, *lf;

	while ((lf = memchr(p, '\n', (size_t)(end - p)))) {
		if (lf > in.p && lf[-1] == '\r')
			return lf - 1;
		p = lf + 1;
	}
	return NULL;
}

/* Its first LF is no line end. Such a client would wait for an answer for ever, and what follows
 * may be meant for another reader than us: not one more command is taken from it. */
static bool has_bare_lf(struct slice in)
{
	const char *lf = memchr(in.p, '\n', in.n);

	return lf && (lf == in.p || lf[-1] != '\r');
}

static int end_of_long_line(struct smtp_server *s, struct buf *out)
{
	s->skipping = false;
	if (s->input == INPUT_SASL)
		return server_sasl_refuse(s, out, REJECT_SYNTAX, "500 5.5.6 Line too long");
	return server_refuse(s, out, REJECT_SYNTAX, "500 5.5.2 Line too long");
}

/* Bytes of in without a CR at its end, which may begin the line end. */
static size_t without_cr(struct slice in)
{
	return in.p[in.n - 1] == '\r' ? in.n - 1 : in.n;
}

static int skip_line(
	struct smtp_server *s, struct slice in, size_t *used, struct buf *out, enum step *step)
{
	size_t most = SKIP_MAX + 2 - s->skipped;
	struct slice look = { in.p, in.n < most ? in.n : most };
	const char *cr = find_crlf(look);

	if (cr) {
		*used = (size_t)(cr - in.p) + 2;
		return end_of_long_line(s, out);
	}
	*used = without_cr(look);
	s->skipped += (uint32_t)*used;
	if (s->skipped > SKIP_MAX)
		return server_end(s, out, REJECT_SYNTAX, "421 4.7.0 Line without end; closing");
	*step = STEP_MORE;
	return 0;
}

static int take_line(
	struct smtp_server *s, struct slice in, size_t *used, struct buf *out, enum step *step)
{
	size_t most = (s->p->line_max ? s->p->line_max : LINE_DEFAULT) + 2u;
	struct slice look = { in.p, in.n < most ? in.n : most };
	struct slice line;
	const char *cr;

	if (s->skipping)
		return skip_line(s, in, used, out, step);
	if (has_bare_lf(look)) {
		*used = in.n;
		return server_end(
			s, out, REJECT_SYNTAX, "521 5.5.2 Bare LF; end lines with CR LF; closing");
	}
	cr = find_crlf(look);
	if (!cr && in.n < most) {
		*step = STEP_MORE;
		return 0;
	}
	if (!cr) {
		*used = without_cr(look);
		s->skipping = true;
		s->skipped = 0;
		return 0;
	}
	line = (struct slice){ in.p, (size_t)(cr - in.p) };
	*used = line.n + 2;
	if (s->input == INPUT_SASL)
		return server_sasl_line(s, line, out);
	return run_command(s, line, out);
}

static int take_input(
	struct smtp_server *s, struct slice in, size_t *used, struct buf *out, enum step *step)
{
	*used = 0;
	*step = STEP_GO_ON;
	if (in.n == 0) {
		*step = STEP_MORE;
		return 0;
	}
	if (s->input == INPUT_COMMAND || s->input == INPUT_SASL)
		return take_line(s, in, used, out, step);
	return server_content(s, in, used, out);
}

/* What the caller has to do before more input is taken; SERVER_READ: nothing. */
static enum smtp_server_want wanted(struct smtp_server *s)
{
	if (s->aborting) {
		s->abort_told = true;
		return SERVER_ABORT;
	}
	if (s->pending == SERVER_READ && server_must_flush(s))
		return SERVER_FLUSH;
	return s->pending;
}

int smtp_server_feed(struct smtp_server *s, struct slice in, size_t *used, struct buf *out,
	ms_t wall, enum smtp_server_want *want)
{
	size_t before = buf_size(out), n;
	enum step step;
	int r;

	*used = 0;
	s->wall = wall;
	if (s->abort_told)
		s->aborting = message_unref(s->aborting);
	for (;;) {
		*want = wanted(s);
		if (*want != SERVER_READ)
			return 0;
		r = take_input(s, slice_from(in, *used), &n, out, &step);
		*used += n;
		if (r || step == STEP_MORE)
			return r;
		if (buf_size(out) - before > REPLIES_MAX && s->pending == SERVER_READ) {
			*want = SERVER_AGAIN;
			return 0;
		}
	}
}

/* ---- life ---- */

int smtp_server_new(struct smtp_server **ret, const struct smtp_server_params *p,
	const struct smtp_server_peer *peer, uint64_t session)
{
	struct smtp_server *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->p = p;
	s->peer = *peer;
	s->session = session;
	s->state = STATE_HELLO;
	s->pending = SERVER_READ;
	buf_init(&s->scratch, 0);
	buf_init(&s->kept, 0);
	*ret = s;
	return 0;
}

struct smtp_server *smtp_server_free(struct smtp_server *s)
{
	if (!s)
		return NULL;
	message_unref(s->message);
	message_unref(s->aborting);
	buf_deinit(&s->scratch);
	buf_deinit(&s->kept);
	sasl_wipe(&s->sasl);
	free(s);
	return NULL;
}

int smtp_server_greet(struct smtp_server *s, struct buf *out)
{
	int r = buf_add_str(out, "220 ");

	if (!r)
		r = buf_add_str(out, s->p->hostname);
	return r ? r : server_say(out, " ESMTP Postern");
}

void smtp_server_held(const struct smtp_server *s, size_t *envelope, size_t *content)
{
	const struct message *m = s->message;

	*envelope = m ? m->arena.total : 0;
	*content = m && m->body ? (size_t)(m->body->size - m->body->taken) : 0;
}

struct message *smtp_server_message(struct smtp_server *s)
{
	return s->aborting ? s->aborting : s->message;
}

int smtp_server_shutdown(struct smtp_server *s, const char *reply_line, struct buf *out)
{
	if (s->pending == SERVER_CLOSE)
		return 0; /* the last word was said */
	return server_close(s, out, reply_line);
}

bool smtp_server_idle(const struct smtp_server *s)
{
	return (s->state == STATE_HELLO || s->state == STATE_READY) && s->input == INPUT_COMMAND &&
	       s->pending == SERVER_READ && !s->aborting && !s->skipping;
}

void smtp_server_stats(const struct smtp_server *s, struct smtp_server_stats *ret)
{
	*ret = (struct smtp_server_stats){
		.helo = s->helo[0] ? s->helo : NULL,
		.user = s->user[0] ? s->user : NULL,
		.messages = s->messages,
		.errors = s->errors,
		.bytes = s->bytes,
		.tls = s->peer.tls,
	};
}
