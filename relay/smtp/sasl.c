/* AUTH PLAIN and LOGIN, the server's side; see sasl.h. Pure; called by server_auth.c, which wipes
 * the exchange when the password was looked at. */
#include "sasl.h"

#include <errno.h>
#include <string.h>

#include "postern/text.h"

/* authorization identity, NUL, user, NUL, password; in base64 */
#define RESPONSE_MAX (3 * 255 + 2)
#define BASE64_MAX   ((RESPONSE_MAX + 2) / 3 * 4)

void sasl_wipe(struct sasl *s)
{
	explicit_bzero(s, sizeof(*s));
}

/* What goes on to the password check as a C string. */
static bool copy_text(char *out, size_t max, struct slice s)
{
	if (s.n >= max || (s.n > 0 && memchr(s.p, '\0', s.n)) || !utf8_valid(s))
		return false;
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

static enum sasl_status plain_response(struct sasl *s, struct slice message)
{
	const char *first = message.n ? memchr(message.p, '\0', message.n) : NULL;
	struct slice authzid, user, rest;
	const char *second;

	if (!first)
		return SASL_BAD;
	authzid = (struct slice){ message.p, (size_t)(first - message.p) };
	rest = slice_from(message, authzid.n + 1);
	second = rest.n ? memchr(rest.p, '\0', rest.n) : NULL;
	if (!second)
		return SASL_BAD;
	user = (struct slice){ rest.p, (size_t)(second - rest.p) };
	if (!copy_text(s->user, sizeof(s->user), user) ||
		!copy_text(s->password, sizeof(s->password), slice_from(rest, user.n + 1)))
		return SASL_BAD;
	/* nobody may act for somebody else here */
	if (user.n == 0 || (authzid.n > 0 && !slice_eq(authzid, user)))
		return SASL_REFUSED;
	return SASL_DONE;
}

static enum sasl_status login_response(struct sasl *s, struct slice message)
{
	if (!s->have_user) {
		if (!copy_text(s->user, sizeof(s->user), message))
			return SASL_BAD;
		s->have_user = true;
		return SASL_CHALLENGE;
	}
	if (!copy_text(s->password, sizeof(s->password), message))
		return SASL_BAD;
	return s->user[0] ? SASL_DONE : SASL_REFUSED;
}

static enum sasl_status respond(struct sasl *s, struct slice base64)
{
	char text[RESPONSE_MAX + 2];
	struct buf out = { .p = text, .cap = sizeof(text), .max = sizeof(text) };
	enum sasl_status status = SASL_BAD;

	/* within BASE64_MAX what is decoded fits, so the buffer never grows */
	if (base64.n <= BASE64_MAX && !base64_decode(&out, base64)) {
		if (s->mechanism == SASL_PLAIN)
			status = plain_response(s, buf_slice(&out));
		else
			status = login_response(s, buf_slice(&out));
	}
	explicit_bzero(text, sizeof(text));
	return status;
}

enum sasl_status sasl_start(struct sasl *s, struct slice mechanism, struct slice initial)
{
	*s = (struct sasl){ .mechanism = SASL_NONE };
	if (slice_case_eq(mechanism, SLICE_LIT("PLAIN")))
		s->mechanism = SASL_PLAIN;
	else if (slice_case_eq(mechanism, SLICE_LIT("LOGIN")))
		s->mechanism = SASL_LOGIN;
	else
		return SASL_UNKNOWN;
	if (!initial.p)
		return SASL_CHALLENGE;
	if (slice_eq(initial, SLICE_LIT("=")))
		initial = (struct slice){ "", 0 };
	return respond(s, initial);
}

enum sasl_status sasl_feed(struct sasl *s, struct slice line)
{
	if (slice_eq(line, SLICE_LIT("*")))
		return SASL_CANCELLED;
	return respond(s, line);
}

const char *sasl_challenge(const struct sasl *s)
{
	if (s->mechanism == SASL_PLAIN)
		return "";
	return s->have_user ? "UGFzc3dvcmQ6" : "VXNlcm5hbWU6";
}
