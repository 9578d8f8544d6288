/* Tokens of libconfuse's syntax. */
#pragma once

#include "postern/buf.h"

enum token_kind {
	TOKEN_END,
	TOKEN_STRING, /* quoted or not: a name, a title or a value */
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_EQUALS,
	TOKEN_APPEND, /* += */
	TOKEN_COMMA,
	TOKEN_STRAY, /* a character that has no meaning here: libconfuse drops some of them silently
		      */
	TOKEN_OPEN_QUOTE,
	TOKEN_OPEN_COMMENT, /* not closed before the end */
};

struct token {
	enum token_kind kind;
	struct slice text; /* without quotes; escapes as written */
	const char *from, *to;
	unsigned line; /* where it begins */
	bool bare;     /* not quoted */
};

struct lexer {
	const char *p; /* NUL-terminated */
	unsigned line;
};

void lexer_next(struct lexer *x, struct token *ret);
