/* Tokens of the configuration's syntax, one at a time, with their lines. Called by scan.c and
 * setting.c; asks the environment for variables and nothing else.
 *
 * Nothing is refused here: what cannot be a token is one of the kinds TOKEN_STRAY and
 * TOKEN_OPEN_*, and scan.c says what is wrong with it.
 *
 *   "text"   \n \t \b \r \f \a \e \v, \ooo octal, \xhh, \ before a line end: goes on, \ before any
 *            other character: that one; ${NAME} and ${NAME:-otherwise} from the environment
 *   'text'   \\ and \' only, and \ before a line end
 *   text     as it is, up to a space or a sign; or one ${NAME} */
#include "lex.h"

#include <stdlib.h>
#include <string.h>

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

/* "${NAME:-otherwise}" is in one line and has no double quotes inside; else it is nothing special */
static const char *variable_end(const char *p)
{
	const char *end = p[0] == '$' && p[1] == '{' ? p + strcspn(p, "}\"\n") : NULL;

	return end && *end == '}' ? end + 1 : NULL;
}

static void lex_quoted(struct lexer *x, struct token *t)
{
	char quote = *x->p++;

	t->quote = quote;
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
	if (end)
		x->p = end;
	while (!end && !ends_bare(*x->p))
		x->p++;
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

	*ret = (struct token){ .kind = TOKEN_END, .line = x->line };
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
}

/* ---- what a token stands for ---- */

/* One token being decoded: from p to end into out. */
struct decoder {
	const char *p, *end;
	struct buf out;
	struct token_text *ret;
	bool failed;
};

static void put(struct decoder *d, const char *p, size_t n)
{
	d->failed |= buf_add(&d->out, p, n) != 0;
}

static void refuse(struct decoder *d, const char *wrong)
{
	d->ret->wrong = wrong;
	d->failed = true;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static void put_number(struct decoder *d, unsigned v)
{
	char c = (char)v;

	if (v == 0)
		refuse(d, "a NUL byte cannot be part of a text");
	else if (v > 255)
		refuse(d, "an octal escape is \\377 at most");
	else
		put(d, &c, 1);
}

/* Behind the backslash, inside double quotes. */
static void decode_escape(struct decoder *d)
{
	static const char letters[] = "ntbrfaev", means[] = "\n\t\b\r\f\a\033\v";
	const char *letter = strchr(letters, *d->p);
	unsigned v = 0;

	if (*d->p == '\n') {
		d->p++;
	} else if (is_octal(*d->p)) {
		for (unsigned i = 0; i < 3 && d->p < d->end && is_octal(*d->p); i++)
			v = v * 8 + (unsigned)(*d->p++ - '0');
		put_number(d, v);
	} else if (*d->p == '8' || *d->p == '9') {
		refuse(d, "\\8 and \\9 begin no escape: a backslash is written twice");
	} else if (*d->p == 'x' && d->p + 1 < d->end && hex(d->p[1]) >= 0) {
		d->p++;
		for (unsigned i = 0; i < 2 && d->p < d->end && hex(*d->p) >= 0; i++)
			v = v * 16 + (unsigned)hex(*d->p++);
		put_number(d, v);
	} else {
		put(d, letter ? &means[letter - letters] : d->p, 1);
		d->p++;
	}
}

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], lower = (char)(c | 0x20);

		if (!(lower >= 'a' && lower <= 'z') && c != '_' && !(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return s.n > 0;
}

/* "${NAME}", "${NAME:-otherwise}"; p stands before the '$', close behind the brace */
static void decode_variable(struct decoder *d, const char *close)
{
	struct slice name = { d->p + 2, (size_t)(close - d->p) - 3 }, otherwise = { NULL, 0 };
	const char *colon = name.n ? memmem(name.p, name.n, ":-", 2) : NULL, *value;
	char *copy;

	d->p = close;
	if (colon) {
		otherwise = slice_from(name, (size_t)(colon - name.p) + 2);
		name.n = (size_t)(colon - name.p);
	}
	if (!is_name(name)) {
		refuse(d, "\"${\" begins a variable of the environment, such as ${HOME}; for the "
			  "two characters themselves write \\${");
		return;
	}
	copy = slice_dup(name);
	value = copy ? getenv(copy) : NULL;
	d->failed |= !copy;
	if (value)
		put(d, value, strlen(value));
	else if (colon)
		put(d, otherwise.p, otherwise.n);
	else
		d->ret->unset = name;
	free(copy);
}

static void decode_one(struct decoder *d, char quote)
{
	const char *close = quote == '\'' ? NULL : variable_end(d->p);
	bool more = d->p + 1 < d->end;

	if (close && close <= d->end) {
		decode_variable(d, close);
	} else if (quote == '"' && *d->p == '\\' && more) {
		d->p++;
		decode_escape(d);
	} else if (quote == '\'' && *d->p == '\\' && more && strchr("\\'\n", d->p[1])) {
		if (d->p[1] != '\n')
			put(d, d->p + 1, 1);
		d->p += 2;
	} else {
		put(d, d->p++, 1);
	}
}

void token_text(const struct token *t, struct arena *a, struct token_text *ret)
{
	struct decoder d = { .p = t->text.p, .end = t->text.p + t->text.n, .ret = ret };

	*ret = (struct token_text){ 0 };
	buf_init(&d.out, 0);
	while (d.p < d.end && !d.failed)
		decode_one(&d, t->quote);
	if (!d.failed)
		ret->text = arena_strdup(a, buf_slice(&d.out));
	buf_deinit(&d.out);
}
