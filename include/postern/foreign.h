/* Text of others: replies, names, addresses, subjects. What it may hold is theirs to choose, so it
 * is never cut, printed or put into JSON but through here. Pure. */
#pragma once

#include "postern/buf.h"

/* The longest start of s of at most max bytes that does not end inside a character. */
struct slice foreign_cut(struct slice s, size_t max);
/* Shortens a text that some printf may have cut inside its last character. */
void foreign_end(char *text);
/* As valid UTF-8: each byte that is none, and NUL, becomes U+FFFD. 0, -ENOMEM/-ENOBUFS. */
int foreign_utf8(struct buf *out, struct slice s);

/* Characters that change what a terminal, or a reader, makes of what follows: C0, DEL, C1, line and
 * paragraph separators, marks and overrides of direction, invisible formats and tags. */
bool foreign_unsafe(uint32_t character);

enum foreign_form {
	/* Bytes that are no UTF-8 as \x9b, unsafe characters as \x1b and \u{202e}. */
	FOREIGN_TERMINAL,
	/* The same, but lines and tabs stay: text of several lines, such as a list of findings. */
	FOREIGN_LINES,
	/* Inside a JSON text: unsafe characters as \u202e, bytes that are no UTF-8 as U+FFFD. */
	FOREIGN_JSON,
};
/* 0, -ENOMEM/-ENOBUFS; out then has a part of it. */
int foreign_show(struct buf *out, struct slice s, enum foreign_form form);
