/* The parts of a notification (RFC 3462). */
#pragma once

#include "postern/dsn.h"

/* Text of others goes through these: no control bytes, no line ends, and ASCII unless utf8 is set
 * (then valid UTF-8, else '?' for what is beyond ASCII). Long text is folded at blanks, or cut
 * where there are none. */
struct dsn_out {
	struct buf *b;
	int err;
	bool utf8;
};
void dsn_put(struct dsn_out *o, const char *s);
void dsn_put_text(struct dsn_out *o, const char *s);
/* "Name: text", folded, with CRLF; nothing when s is NULL. */
void dsn_put_field(struct dsn_out *o, const char *name, const char *type, const char *s);
void dsn_put_date(
	struct dsn_out *o, const char *name, ms_t wall, int zone_minutes); /* nothing when 0 */

/* The status code to report: s when it is one, else what fits the action. */
const char *dsn_status(const char *s, enum dsn_action action);
/* The section for people. */
void dsn_put_explanation(struct dsn_out *o, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct dsn_params *p);
/* message/delivery-status */
void dsn_put_status(struct dsn_out *o, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct dsn_params *p);
