/* Tokens of the configuration's syntax, and the text that a token stands for. */
#pragma once

#include "postern/arena.h"
#include "postern/buf.h"

enum token_kind {
	TOKEN_END,
	TOKEN_STRING, /* quoted or not: a name, a title or a value */
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_EQUALS,
	TOKEN_APPEND, /* += */
	TOKEN_COMMA,
	TOKEN_STRAY, /* a character that has no meaning here */
	TOKEN_OPEN_QUOTE,
	TOKEN_OPEN_COMMENT, /* not closed before the end */
};

struct token {
	enum token_kind kind;
	struct slice text; /* without quotes; escapes as written */
	unsigned line;	   /* where it begins */
	char quote;	   /* '"', '\'' or 0 */
};

struct lexer {
	const char *p; /* NUL-terminated */
	unsigned line;
};

void lexer_next(struct lexer *x, struct token *ret);

/* What a TOKEN_STRING stands for. */
struct token_text {
	const char *text;   /* NUL-terminated, in the arena; NULL: see `wrong` */
	const char *wrong;  /* static; NULL: memory is out */
	struct slice unset; /* a variable of the environment that is not set and was left out */
};
void token_text(const struct token *t, struct arena *a, struct token_text *ret);
