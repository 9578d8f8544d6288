/* Whose mail it is: the domains of a From field (RFC 5322 section 3.6.2), by which keys are chosen
 * and mail is selected. Called for each message on its way in; pure.
 *
 * The field is a stranger's text. Comments, quoted strings and names are passed over; each mailbox
 * ends at a comma, a group's colon or semicolon, or its closing bracket, and its domain is what
 * stands behind the last @ of the address. A reader of mail may see any of several authors, so all
 * of them count. */
#include "postern/authors.h"

#include <string.h>

struct from_reader {
	struct slice in;
	size_t at;
	bool angle;  /* inside <> */
	bool domain; /* behind an @ */
	bool bad;    /* the text behind the @ is no domain name */
	bool gap;    /* white space or a comment stands behind a part of the domain */
	bool done;   /* <> has been: what follows it is no address */
	size_t n;
	char text[4 * AUTHOR_DOMAIN_MAX];
};

static void skip_comment(struct from_reader *r)
{
	unsigned depth = 0;

	for (; r->at < r->in.n; r->at++) {
		char c = r->in.p[r->at];

		if (c == '\\')
			r->at++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			return;
	}
}

static void skip_quoted(struct from_reader *r)
{
	for (r->at++; r->at < r->in.n; r->at++) {
		char c = r->in.p[r->at];

		if (c == '\\')
			r->at++;
		else if (c == '"')
			return;
	}
}

static void take(struct from_reader *r, struct authors *a, authors_to_ascii_fn to_ascii)
{
	char name[AUTHOR_DOMAIN_MAX];
	struct slice text = { r->text, r->n };
	bool wanted = r->domain && !r->bad && r->n > 0 && a->n < AUTHORS_MAX;

	r->domain = r->bad = r->gap = false;
	r->n = 0;
	if (!wanted)
		return;
	if (text.p[text.n - 1] == '.') /* the root's name, of a caller who is exact */
		text.n--;
	if (to_ascii ? to_ascii(text, name, sizeof(name)) : text.n >= sizeof(name))
		return;
	if (!to_ascii) {
		memcpy(name, text.p, text.n);
		name[text.n] = '\0';
	}
	for (unsigned i = 0; i < a->n; i++)
		if (slice_case_eq(slice_of(a->domain[i]), slice_of(name)))
			return;
	for (size_t i = 0; i <= strlen(name); i++)
		a->domain[a->n][i] =
			(char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
	a->n++;
}

static bool is_domain_byte(char c)
{
	unsigned char u = (unsigned char)c;

	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || u >= 0x80;
}

static void domain_byte(struct from_reader *r, char c)
{
	/* "a . b" is one name in the obsolete syntax, "a b" is none */
	if (r->gap && c != '.' && r->n > 0 && r->text[r->n - 1] != '.')
		r->bad = true;
	r->gap = false;
	if (!is_domain_byte(c) || r->n >= sizeof(r->text))
		r->bad = true;
	else
		r->text[r->n++] = c;
}

static void from_byte(
	struct from_reader *r, struct authors *a, authors_to_ascii_fn to_ascii, char c)
{
	bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';

	if (c == '<') {
		/* what stood before it was a name, though it may have looked like an address */
		r->domain = false;
		r->n = 0;
		r->bad = r->gap = false;
		r->angle = true;
	} else if (c == '>' && r->angle) {
		take(r, a, to_ascii);
		r->angle = false;
		r->done = true;
	} else if ((c == ',' || c == ';' || c == ':') && !r->angle) {
		if (c == ':' || r->done)
			r->domain = false;
		take(r, a, to_ascii);
		r->done = false;
	} else if (c == '@') {
		/* the last one counts; inside <> a route may stand before it */
		r->domain = true;
		r->bad = r->gap = false;
		r->n = 0;
	} else if (r->domain && blank) {
		r->gap = true;
	} else if (r->domain) {
		domain_byte(r, c);
	}
}

void authors_add(struct authors *a, struct slice value, authors_to_ascii_fn to_ascii)
{
	struct from_reader r = { .in = value };

	for (; r.at < r.in.n; r.at++) {
		char c = r.in.p[r.at];

		if (c == '(') {
			r.gap = true;
			skip_comment(&r);
		} else if (c == '"') {
			r.bad = r.bad || r.domain;
			skip_quoted(&r);
		} else {
			from_byte(&r, a, to_ascii, c);
		}
	}
	if (r.done)
		r.domain = false;
	take(&r, a, to_ascii);
}
