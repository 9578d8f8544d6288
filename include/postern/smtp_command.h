/* SMTP command lines (RFC 5321 section 4.1, ESMTP parameters of RFCs 1870, 3030, 3461, 6152, 6531,
 * 4954, 3207) into values. Pure: one line in, one struct out, slices point into the line. */
#pragma once

#include "postern/addr.h"
#include "postern/buf.h"
#include "postern/message.h"

#define SMTP_VERBS(X)                                                                              \
	X(HELO)                                                                                    \
	X(EHLO)                                                                                    \
	X(MAIL)                                                                                    \
	X(RCPT)                                                                                    \
	X(DATA)                                                                                    \
	X(BDAT) X(RSET) X(NOOP) X(QUIT) X(VRFY) X(EXPN) X(HELP) X(STARTTLS) X(AUTH) X(UNKNOWN)
enum smtp_verb {
#define X(name) SMTP_##name,
	SMTP_VERBS(X)
#undef X
};

/* Why a line is refused: gives reply code and text (smtp_command_reply). */
enum smtp_syntax {
	SMTP_SYNTAX_OK = 0,
	SMTP_SYNTAX_UNKNOWN,   /* 500 5.5.2 */
	SMTP_SYNTAX_ARGUMENT,  /* 501 5.5.4 */
	SMTP_SYNTAX_ADDRESS,   /* 501 5.1.3 / 5.1.7 */
	SMTP_SYNTAX_PARAMETER, /* 555 5.5.4: not known here */
	SMTP_SYNTAX_DUPLICATE, /* 501 5.5.4: the same parameter twice */
	SMTP_SYNTAX_NON_ASCII, /* 553 5.6.7: address needs SMTPUTF8, RFC 6531 section 3.5 */
	SMTP_SYNTAX_CONTROL,   /* 501 5.5.2: control or NUL bytes in the line */
};

struct smtp_path {
	struct slice address; /* without <> and source route; empty for <> */
	struct slice local, domain;
	bool utf8; /* has bytes over 127 */
	bool lax;  /* no address of RFC 5321, but one that is in use: see smtp_mailbox_parse; or
		    * given without <>, or with blanks inside them */
};

struct smtp_command {
	enum smtp_verb verb;
	enum smtp_syntax syntax;
	struct slice argument; /* HELO/EHLO name; AUTH mechanism; VRFY text */
	struct slice initial;  /* AUTH initial response; p NULL when there was none */
	struct smtp_path path; /* MAIL, RCPT */
	uint64_t size;	       /* MAIL SIZE=; BDAT chunk size */
	bool size_given, last; /* BDAT LAST */
	enum body_type body;
	bool smtputf8;
	enum dsn_ret ret;
	struct slice envid, orcpt; /* still xtext; p NULL when not given */
	uint8_t notify;
	bool auth_param; /* MAIL AUTH= was given (ignored, RFC 4954 section 5) */
};

/* Parses one line without its line end. Never fails in another way than c->syntax. Blanks, which
 * may be tabs, are tolerated at its end, in any number between words, and round the colon of FROM
 * and TO (RFC 5321 section 4.1.1 asks for the first of these; programs do the others). */
void smtp_command_parse(struct smtp_command *c, struct slice line);
/* The reply to a line whose syntax is not SMTP_SYNTAX_OK, without line end. */
const char *smtp_command_reply(const struct smtp_command *c);
const char *smtp_verb_name(enum smtp_verb v);

/* Section 4.5.3.1 gives 64, 255 and 256 as what everybody must take, and asks to take more: return
 * paths that carry the recipient's address (VERP) are longer than 64 every day. */
#define SMTP_LOCAL_MAX	 255
#define SMTP_DOMAIN_MAX	 255
#define SMTP_MAILBOX_MAX 320
/* Mailbox of RFC 5321 section 4.1.2 / RFC 6531 section 3.3 (Dot-string or Quoted-string, domain or
 * address literal; "postmaster" alone is allowed where postmaster_ok, and then has no domain).
 * Dots of the local part may stand anywhere ("a..b", "a."): some providers gave such names to
 * their users, and lax tells. A dot at the end of the domain is left out of address and domain.
 * 0 or -EINVAL. */
int smtp_mailbox_parse(struct smtp_path *ret, struct slice s, bool postmaster_ok);
/* Labels of letters, digits, hyphens inside (underscores too: they occur), or UTF-8 labels; not a
 * literal, no dot at the end, and the last label is not a number: "192.0.2.1" is an address, not a
 * domain. */
bool smtp_domain_valid(struct slice s);
/* Without the dot at its end that says "complete" in DNS and nothing in mail. */
struct slice smtp_domain_trim(struct slice s);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]". 0 or -EINVAL. */
int smtp_literal_parse(struct addr *ret, struct slice s);
