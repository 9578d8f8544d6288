/* The session: greeting, lines, commands. Strict: what RFC 5321 and the extensions forbid is noted
 * in the ledger as a violation, and answered as a real server would. */
#include "smtp.h"

#include <string.h>
#include <strings.h>

#include "postern/text.h"

void violation(struct conn *c, const char *kind, const char *text, size_t n)
{
	ledger_violation(&c->loop->sim->ledger, c, kind, text, n);
}

void smtp_echo(struct conn *c, const char *text)
{
	ledger_echo(&c->loop->sim->ledger, c);
	reply_tail(c, text);
}

/* A command that must be the last of its group (RFC 2920): nothing may follow before its reply. */
void smtp_sync_point(struct conn *c)
{
	c->sync_wait = true;
	c->early_noted = false;
}

void smtp_early_check(struct conn *c, const char *p, size_t n)
{
	if (!c->sync_wait || c->early_noted)
		return;
	c->early_noted = true;
	violation(c, "early-input", p, n < 80 ? n : 80);
}

static bool over(uint32_t cap, const struct gauge *g)
{
	return cap && g->now > cap;
}

void smtp_connect(struct conn *c)
{
	struct cluster *cl = c->cluster;

	c->state = ST_COMMAND;
	if (rules_apply(c, PH_CONNECT, NULL)) {
		if (c->hold_until)
			c->resume = RESUME_CONNECT;
		return;
	}
	if (over(cl->cap_cluster, c->gauges[G_CLUSTER])) {
		refuse(c, PH_CONNECT, "#cluster-cap", cl->cap_reply, NULL);
		return;
	}
	if (over(cl->cap_forest, c->gauges[G_FOREST])) {
		refuse(c, PH_CONNECT, "#forest-cap", cl->cap_reply, NULL);
		return;
	}
	c->over_cap = over(cl->cap_source, c->gauges[G_LANE]) ||
		      over(cl->cap_subnet, c->gauges[G_SUBNET]);
	reply_banner(c);
	smtp_sync_point(c);
}

void smtp_end(struct conn *c)
{
	if (c->mail && (c->has_body || c->state == ST_BDAT || c->state == ST_DATA))
		c->loop->sim->ledger.half_messages++;
	limits_closed(c);
	ledger_closed(&c->loop->sim->ledger, c);
}

void smtp_tls_started(struct conn *c)
{
	for (int i = 0; i < G_N; i++) {
		c->gauges[i]->tls++;
		if (SSL_session_reused(c->ssl))
			c->gauges[i]->resumed++;
	}
	c->esmtp = false;
	c->ehlo[0] = '\0';
	smtp_reset(c);
}

void smtp_timeout(struct conn *c, const char *text)
{
	reply_template(c, text, NULL);
	c->closing = true;
}

static bool ehlo_valid(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > 255)
		return false;
	if (s[0] == '[')
		return s[n - 1] == ']';
	for (size_t i = 0; i < n; i++) {
		unsigned char b = (unsigned char)s[i];

		if (!(b >= 0x80 || strchr("-._", b) || (b >= '0' && b <= '9') ||
			    ((b | 32) >= 'a' && (b | 32) <= 'z')))
			return false;
	}
	return true;
}

static void do_hello(struct conn *c, char *args, bool ehlo)
{
	smtp_sync_point(c);
	if (rules_apply(c, PH_EHLO, NULL))
		return;
	if (!ehlo_valid(args)) {
		violation(c, "ehlo-name", args, strlen(args));
		reply_tail(c, "501 5.5.4 Invalid domain name");
		return;
	}
	smtp_reset(c);
	c->esmtp = ehlo;
	c->ehlo[0] = '\0';
	strncat(c->ehlo, args, sizeof(c->ehlo) - 1);
	reply_ehlo(c, ehlo);
}

static void do_ehlo(struct conn *c, char *args)
{
	do_hello(c, args, true);
}

static void do_helo(struct conn *c, char *args)
{
	do_hello(c, args, false);
}

/* A rule for the handshake itself: the 220 has been given. */
static void tls_phase(struct conn *c)
{
	struct buf ready = c->reply;

	buf_init(&c->reply, 0);
	if (rules_apply(c, PH_TLS, NULL)) {
		c->tls_next = c->stalled ? TLS_STALL : TLS_GARBAGE;
		if (c->closing) { /* dropped after the 220 */
			c->tls_begin = false;
		} else if (c->abort) {
			c->abort = false;
			c->tls_drop = true;
			c->tls_begin = false;
		}
		c->stalled = false;
		c->hold_until = 0;
	}
	buf_deinit(&c->reply);
	c->reply = ready;
}

static void do_starttls(struct conn *c, char *args)
{
	smtp_sync_point(c);
	if (c->ssl || !c->esmtp || !(c->cluster->features & F_STARTTLS)) {
		violation(c, "starttls-not-offered", args, 0);
		reply_tail(c, c->ssl ? "503 5.5.2 Only one STARTTLS allowed"
				     : "502 5.5.1 Command not implemented");
		return;
	}
	if (*args) {
		violation(c, "syntax", args, strlen(args));
		reply_tail(c, "501 5.5.4 Invalid arguments");
		return;
	}
	if (rules_apply(c, PH_STARTTLS, NULL))
		return;
	if (c->cluster->tls == TLS_REFUSED) {
		refuse(c, PH_STARTTLS, "#tls-refused",
			"454 4.7.0 TLS not available due to local problem {tail}", NULL);
		return;
	}
	REPLY_LIT(c, "220 2.0.0 SMTP server ready\r\n");
	c->tls_begin = true;
	c->tls_next = c->cluster->tls;
	tls_phase(c);
}

static bool auth_check(struct conn *c, const char *user, const char *password)
{
	const char *want = c->cluster->auth ? c->cluster->auth : "", *colon = strchr(want, ':');

	return colon && strlen(user) == (size_t)(colon - want) &&
	       strncmp(user, want, strlen(user)) == 0 && strcmp(password, colon + 1) == 0;
}

static void auth_done(struct conn *c, bool ok)
{
	c->state = ST_COMMAND;
	c->authenticated = ok;
	if (ok)
		REPLY_LIT(c, "235 2.7.0 Authentication successful\r\n");
	else
		reply_tail(c, "535 5.7.3 Authentication unsuccessful");
}

static void auth_plain(struct conn *c, const char *text)
{
	struct buf b;
	const char *user, *password;
	bool ok = false;

	buf_init(&b, 4096);
	if (base64_decode(&b, slice_of(text)) == 0 && buf_add(&b, "", 1) == 0) {
		/* authzid NUL authcid NUL password NUL(ours) */
		user = memchr(b.p, '\0', b.len);
		password = user && user + 1 < b.p + b.len
				   ? memchr(user + 1, '\0', (size_t)(b.p + b.len - user - 1))
				   : NULL;
		if (password && password + 1 < b.p + b.len)
			ok = auth_check(c, user + 1, password + 1);
	}
	buf_deinit(&b);
	auth_done(c, ok);
}

static void auth_login(struct conn *c, const char *text, bool user)
{
	struct buf b;

	buf_init(&b, 256);
	if (base64_decode(&b, slice_of(text)) || buf_add(&b, "", 1)) {
		auth_done(c, false);
	} else if (user) {
		c->auth_user[0] = '\0';
		strncat(c->auth_user, b.p, sizeof(c->auth_user) - 1);
		c->state = ST_AUTH_PASS;
		REPLY_LIT(c, "334 UGFzc3dvcmQ6\r\n");
	} else {
		auth_done(c, auth_check(c, c->auth_user, b.p));
	}
	buf_deinit(&b);
}

static void do_auth(struct conn *c, char *args)
{
	char *initial = strchr(args, ' ');

	smtp_sync_point(c);
	if (initial)
		*initial++ = '\0';
	if (!c->esmtp || !(c->cluster->features & F_AUTH) || c->authenticated || c->mail) {
		violation(c, "auth-not-offered", args, strlen(args));
		reply_tail(c, "503 5.5.2 AUTH not available");
		return;
	}
	if (rules_apply(c, PH_AUTH, NULL))
		return;
	if (strcasecmp(args, "PLAIN") == 0 && initial) {
		auth_plain(c, initial);
	} else if (strcasecmp(args, "PLAIN") == 0) {
		c->state = ST_AUTH_PLAIN;
		REPLY_LIT(c, "334 \r\n");
	} else if (strcasecmp(args, "LOGIN") == 0 && initial) {
		auth_login(c, initial, true);
	} else if (strcasecmp(args, "LOGIN") == 0) {
		c->state = ST_AUTH_LOGIN;
		REPLY_LIT(c, "334 VXNlcm5hbWU6\r\n");
	} else {
		reply_tail(c, "504 5.7.4 Unrecognized authentication type");
	}
}

static void auth_line(struct conn *c, const char *line)
{
	smtp_sync_point(c);
	if (strcmp(line, "*") == 0) {
		c->state = ST_COMMAND;
		reply_tail(c, "501 5.7.0 Authentication cancelled");
	} else if (c->state == ST_AUTH_PLAIN) {
		auth_plain(c, line);
	} else {
		auth_login(c, line, c->state == ST_AUTH_LOGIN);
	}
}

static void do_rset(struct conn *c, char *args)
{
	if (rules_apply(c, PH_RSET, NULL))
		return;
	smtp_reset(c);
	REPLY_LIT(c, "250 2.0.0 Resetting\r\n");
}

static void do_noop(struct conn *c, char *args)
{
	smtp_sync_point(c);
	REPLY_LIT(c, "250 2.0.0 OK\r\n");
}

static void do_vrfy(struct conn *c, char *args)
{
	smtp_sync_point(c);
	reply_tail(c, "252 2.1.5 Cannot VRFY user");
}

static void do_quit(struct conn *c, char *args)
{
	smtp_sync_point(c);
	if (rules_apply(c, PH_QUIT, NULL))
		return;
	smtp_reset(c);
	REPLY_LIT(c, "221 2.0.0 Service closing transmission channel\r\n");
	c->closing = true;
}

static void do_data(struct conn *c, char *args)
{
	smtp_sync_point(c);
	smtp_data(c, args);
}

static const struct command {
	char verb[12];
	void (*fn)(struct conn *c, char *args);
} commands[] = {
	{ "MAIL", smtp_mail },
	{ "RCPT", smtp_rcpt },
	{ "BDAT", smtp_bdat },
	{ "DATA", do_data },
	{ "RSET", do_rset },
	{ "EHLO", do_ehlo },
	{ "HELO", do_helo },
	{ "STARTTLS", do_starttls },
	{ "AUTH", do_auth },
	{ "QUIT", do_quit },
	{ "NOOP", do_noop },
	{ "VRFY", do_vrfy },
};

static void bad_command(struct conn *c, const char *line)
{
	violation(c, "unknown-command", line, strlen(line));
	reply_tail(c, "500 5.3.3 Unrecognized command");
	c->errors++;
	if (c->sc->violations_close && c->errors >= c->sc->violations_close) {
		reply_tail(c, "421 4.7.0 Too many errors on this connection, closing transmission "
			      "channel");
		c->closing = true;
	}
}

/* Works on a copy: after a delay the line is looked at a second time. */
static void run_line(struct conn *c)
{
	char copy[LINE_MAX_BYTES], *args = copy;
	size_t verb;

	memcpy(copy, c->line, c->line_n + 1);
	if (c->state != ST_COMMAND) {
		auth_line(c, copy);
		return;
	}
	verb = strcspn(copy, " ");
	args = copy + verb;
	if (*args)
		*args++ = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcasecmp(commands[i].verb, copy) != 0)
			continue;
		commands[i].fn(c, args);
		if (c->hold_until && c->resume == RESUME_NONE && c->skip_rules)
			c->resume = RESUME_LINE;
		else if (!(c->cluster->features & F_PIPELINING && c->esmtp) && c->state != ST_BDAT)
			smtp_sync_point(c);
		return;
	}
	bad_command(c, c->line);
}

static void end_of_line(struct conn *c, bool bare)
{
	if (bare)
		violation(c, "bare-lf-command", c->line, c->line_n);
	if (memchr(c->line, '\r', c->line_n))
		violation(c, "bare-cr-command", c->line, c->line_n);
	if (memchr(c->line, '\0', c->line_n))
		violation(c, "nul-command", c->line, c->line_n);
	c->line[c->line_n] = '\0';
	run_line(c);
	if (c->resume != RESUME_LINE)
		c->line_n = 0;
}

static size_t line_feed(struct conn *c, const char *p, size_t n)
{
	const char *nl = memchr(p, '\n', n);
	size_t k = nl ? (size_t)(nl - p) : n;

	if (!c->line_n && !c->line_skip)
		smtp_early_check(c, p, n);
	if (c->line_n + k >= LINE_MAX_BYTES - 1) {
		if (!c->line_skip)
			violation(c, "long-line", p, 80);
		c->line_skip = true;
	} else if (!c->line_skip) {
		memcpy(c->line + c->line_n, p, k);
		c->line_n += k;
	}
	if (!nl)
		return n;
	if (c->line_skip) {
		c->line_skip = false;
		c->line_n = 0;
		reply_tail(c, "500 5.5.2 Line too long");
	} else {
		bool bare = !c->line_n || c->line[c->line_n - 1] != '\r';

		if (!bare)
			c->line_n--;
		if (c->line_n > 2046 && c->state == ST_COMMAND)
			violation(c, "long-command", c->line, 80);
		end_of_line(c, bare);
	}
	return k + 1;
}

size_t smtp_input(struct conn *c, const char *p, size_t n)
{
	size_t used = 0;

	ledger_flights(c);
	while (used < n && !c->hold_until && !c->stalled && !c->closing && !c->abort &&
		!c->tls_begin) {
		if (c->state == ST_DATA)
			used += data_feed(c, p + used, n - used);
		else if (c->state == ST_BDAT)
			used += bdat_feed(c, p + used, n - used);
		else
			used += line_feed(c, p + used, n - used);
		if (c->trickle_us && !c->hold_until)
			c->hold_until = c->loop->now + c->trickle_us * (buf_size(&c->reply) + 2);
	}
	if (c->tls_begin && used < n)
		violation(c, "starttls-injection", p + used, n - used < 80 ? n - used : 80);
	return used;
}

void smtp_resume(struct conn *c)
{
	enum resume r = c->resume;

	c->resume = RESUME_NONE;
	switch (r) {
	case RESUME_CONNECT:
		smtp_connect(c);
		break;
	case RESUME_LINE:
		run_line(c);
		if (c->resume != RESUME_LINE)
			c->line_n = 0;
		break;
	case RESUME_EOD:
		smtp_eod(c);
		break;
	case RESUME_NONE:
		break;
	}
}
