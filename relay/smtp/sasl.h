/* SASL exchanges of AUTH (RFC 4954): PLAIN (RFC 4616) and LOGIN, server side. Pure; room-internal.
 */
#pragma once

#include "postern/buf.h"

#define SASL_USER_MAX	  255 /* RFC 4616 section 2 */
#define SASL_PASSWORD_MAX 255

enum sasl_mechanism { SASL_NONE, SASL_PLAIN, SASL_LOGIN };
enum sasl_status {
	SASL_CHALLENGE, /* send sasl_challenge, feed the next line */
	SASL_DONE,	/* user and password are there: to be checked */
	SASL_CANCELLED, /* "*" */
	SASL_BAD,	/* not base64, or not what the mechanism says; too long */
	SASL_REFUSED,	/* well-formed, but can never be right: another authorization identity, no
			   user */
	SASL_UNKNOWN,	/* no such mechanism here */
};

struct sasl {
	enum sasl_mechanism mechanism;
	bool have_user; /* LOGIN: the password is next */
	char user[SASL_USER_MAX + 1], password[SASL_PASSWORD_MAX + 1];
};

/* initial: as on the AUTH line ("=" is an empty response), p NULL for none. */
enum sasl_status sasl_start(struct sasl *s, struct slice mechanism, struct slice initial);
enum sasl_status sasl_feed(struct sasl *s, struct slice line);
const char *sasl_challenge(const struct sasl *s); /* base64, "" for PLAIN */
void sasl_wipe(struct sasl *s); /* forgets the exchange; the compiler may not leave it out */
