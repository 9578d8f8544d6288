/* Tokens of the configuration's syntax, one at a time, with their lines. Called by scan.c alone;
 * pure.
 *
 * Nothing is refused here: what cannot be a token is one of the kinds TOKEN_STRAY and
 * TOKEN_OPEN_*, and scan.c says what is wrong with it. */
#include "lex.h"

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool ends_bare(char c)
{
	return c == '\0' || is_space(c) || strchr("\"'={}()+,#*", c);
}

static void skip_line(struct lexer *x)
{
	x->p += strcspn(x->p, "\n");
}

/* false: it is not closed */
static bool skip_comment(struct lexer *x)
{
	for (x->p += 2; *x->p; x->p++) {
		if (x->p[0] == '*' && x->p[1] == '/') {
			x->p += 2;
			return true;
		}
		x->line += *x->p == '\n';
	}
	return false;
}

/* *line: where the last comment began */
static bool skip_space(struct lexer *x, unsigned *line)
{
	for (;;) {
		*line = x->line;
		if (is_space(*x->p)) {
			x->line += *x->p++ == '\n';
		} else if (*x->p == '#' || (x->p[0] == '/' && x->p[1] == '/')) {
			skip_line(x);
		} else if (x->p[0] == '/' && x->p[1] == '*') {
			if (!skip_comment(x))
				return false;
		} else {
			return true;
		}
	}
}

/* "${NAME}" inside double quotes may hold anything but its brace */
static const char *variable_end(const char *p)
{
	const char *end = p[0] == '$' && p[1] == '{' ? strchr(p, '}') : NULL;

	return end ? end + 1 : NULL;
}

static void lex_quoted(struct lexer *x, struct token *t)
{
	char quote = *x->p++;

	t->text.p = x->p;
	while (*x->p && *x->p != quote) {
		const char *end = quote == '"' ? variable_end(x->p) : NULL;

		if (!end)
			end = x->p + (x->p[0] == '\\' && x->p[1] ? 2 : 1);
		for (; x->p < end; x->p++)
			x->line += *x->p == '\n';
	}
	t->text.n = (size_t)(x->p - t->text.p);
	if (*x->p)
		x->p++;
	else
		t->kind = TOKEN_OPEN_QUOTE;
}

static void lex_bare(struct lexer *x, struct token *t)
{
	const char *end = variable_end(x->p);

	t->text.p = x->p;
	t->bare = true;
	if (end) {
		for (; x->p < end; x->p++)
			x->line += *x->p == '\n';
	} else {
		while (!ends_bare(*x->p))
			x->p++;
	}
	t->text.n = (size_t)(x->p - t->text.p);
}

static enum token_kind sign(const char *p, size_t *len)
{
	*len = 1;
	switch (*p) {
	case '{':
		return TOKEN_OPEN;
	case '}':
		return TOKEN_CLOSE;
	case '=':
		return TOKEN_EQUALS;
	case ',':
		return TOKEN_COMMA;
	case '+':
		*len = p[1] == '=' ? 2 : 1;
		return p[1] == '=' ? TOKEN_APPEND : TOKEN_STRAY;
	case '(':
	case ')':
	case '*':
		return TOKEN_STRAY;
	default:
		return TOKEN_STRING;
	}
}

void lexer_next(struct lexer *x, struct token *ret)
{
	unsigned line;
	bool closed = skip_space(x, &line);
	size_t len;

	*ret = (struct token){ .kind = TOKEN_END, .from = x->p, .line = x->line };
	if (!closed) {
		ret->kind = TOKEN_OPEN_COMMENT;
		ret->line = line;
	} else if (*x->p == '"' || *x->p == '\'') {
		ret->kind = TOKEN_STRING;
		lex_quoted(x, ret);
	} else if (*x->p) {
		ret->kind = sign(x->p, &len);
		if (ret->kind == TOKEN_STRING) {
			lex_bare(x, ret);
		} else {
			ret->text = (struct slice){ x->p, len };
			x->p += len;
		}
	}
	ret->to = x->p;
}
