/* AUTH and STARTTLS of the inbound state machine. Called from its table of states; pure: the
 * password is checked by the caller. */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "postern/must.h"

#define REPLY_LIMITED	  "421 4.7.0 Too many failed authentications; try again later"
#define REPLY_UNAVAILABLE "454 4.7.0 Authentication cannot be checked now; try again later"

/* PLAIN and LOGIN show the password to whoever reads along. */
bool server_offers_auth(const struct smtp_server *s)
{
	return s->peer.auth_available &&
	       (s->peer.tls || s->p->offer_auth_plain_text || addr_is_loopback(&s->peer.client));
}

int server_sasl_refuse(
	struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line)
{
	int r;

	s->input = INPUT_COMMAND;
	r = server_refuse(s, out, why, line); /* tells who it was */
	sasl_wipe(&s->sasl);
	return r;
}

static int go_on(struct smtp_server *s, enum sasl_status status, struct buf *out)
{
	int r;

	switch (status) {
	case SASL_CHALLENGE:
		s->input = INPUT_SASL;
		r = buf_add_str(out, "334 ");
		return r ? r : server_say(out, sasl_challenge(&s->sasl));
	case SASL_DONE:
		s->input = INPUT_COMMAND;
		s->pending = SERVER_AUTH;
		return 0;
	case SASL_CANCELLED:
		return server_sasl_refuse(
			s, out, REJECT_SYNTAX, "501 5.7.0 Authentication cancelled");
	case SASL_BAD:
		return server_sasl_refuse(
			s, out, REJECT_SYNTAX, "501 5.5.2 Response cannot be decoded");
	case SASL_REFUSED:
		return server_sasl_refuse(
			s, out, REJECT_AUTH_FAILED, "535 5.7.8 Authentication failed");
	case SASL_UNKNOWN:
		break;
	}
	return server_sasl_refuse(
		s, out, REJECT_SYNTAX, "504 5.5.4 Mechanism not known; use PLAIN or LOGIN");
}

int server_sasl_line(struct smtp_server *s, struct slice line, struct buf *out)
{
	return go_on(s, sasl_feed(&s->sasl, line), out);
}

int server_auth(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	if (!s->esmtp)
		return server_refuse(s, out, REJECT_ORDER, "503 5.5.1 Send EHLO first");
	if (server_has_logged_in(s))
		return server_refuse(s, out, REJECT_ORDER, "503 5.5.1 Already authenticated");
	if (!s->peer.auth_available)
		return server_refuse(s, out, REJECT_ORDER, "502 5.5.1 AUTH is not available");
	if (!server_offers_auth(s))
		return server_refuse(s, out, REJECT_TLS_REQUIRED,
			"538 5.7.11 Encryption needed; send STARTTLS first");
	return go_on(s, sasl_start(&s->sasl, c->argument, c->initial), out);
}

void smtp_server_credentials(const struct smtp_server *s, struct smtp_credentials *ret)
{
	must(s->pending == SERVER_AUTH);
	*ret = (struct smtp_credentials){ .user = s->sasl.user, .password = s->sasl.password };
}

int smtp_server_authenticated(
	struct smtp_server *s, enum smtp_auth_result r, const char *pool, struct buf *out)
{
	size_t n = pool ? strlen(pool) : 0;

	if (s->pending == SERVER_CLOSE)
		return 0; /* it was shut down meanwhile */
	must(s->pending == SERVER_AUTH);
	s->pending = SERVER_READ;
	if (r == AUTH_TEMPORARY || r == AUTH_LIMITED || n >= sizeof(s->user_pool)) {
		int e = r == AUTH_LIMITED
				? server_end(s, out, REJECT_AUTH_LIMIT, REPLY_LIMITED)
				: server_defer(s, out, REJECT_AUTH_UNAVAILABLE, REPLY_UNAVAILABLE);

		sasl_wipe(&s->sasl);
		return e;
	}
	if (r == AUTH_BAD)
		return server_sasl_refuse(
			s, out, REJECT_AUTH_FAILED, "535 5.7.8 Authentication failed");
	memcpy(s->user, s->sasl.user, sizeof(s->user));
	s->peer.certified = false;
	if (n > 0)
		memcpy(s->user_pool, pool, n);
	s->user_pool[n] = '\0';
	sasl_wipe(&s->sasl);
	return server_say(out, "235 2.7.0 Authenticated");
}

int server_starttls(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	if (!s->esmtp)
		return server_refuse(s, out, REJECT_ORDER, "503 5.5.1 Send EHLO first");
	if (s->peer.tls)
		return server_refuse(s, out, REJECT_ORDER, "503 5.5.1 TLS is on already");
	if (!s->peer.tls_available)
		return server_refuse(s, out, REJECT_ORDER, "502 5.5.1 STARTTLS is not available");
	s->pending = SERVER_STARTTLS;
	return server_say(out, "220 2.0.0 Ready to start TLS");
}

/* RFC 3207 section 4.2: what was said in clear text is forgotten. With implicit TLS this comes
 * before the greeting. */
void smtp_server_tls_started(struct smtp_server *s, const char *description)
{
	size_t n = description ? strlen(description) : 0;

	server_reset(s);
	s->state = STATE_HELLO;
	if (s->pending == SERVER_STARTTLS)
		s->pending = SERVER_READ;
	s->peer.tls = true;
	s->esmtp = false;
	s->helo[0] = s->user[0] = s->user_pool[0] = '\0';
	s->peer.certified = false;
	if (n >= sizeof(s->tls))
		n = sizeof(s->tls) - 1;
	if (n > 0)
		memcpy(s->tls, description, n);
	s->tls[n] = '\0';
}

void smtp_server_certified(struct smtp_server *s, const char *name)
{
	must(s->peer.tls && !s->user[0]);
	snprintf(s->user, sizeof(s->user), "%s", name);
	s->peer.certified = s->user[0] != '\0';
}
