/* What a receiver offers, line by line out of its reply to EHLO. Pure; called by reply.c while the
 * reply comes in, since keywords may stand behind more text than is kept. */
#include "postern/smtp_reply.h"

static struct slice word_take(struct slice *line)
{
	struct slice s = slice_trim(*line);
	size_t n = 0;

	/* "SIZE=1000" and "AUTH=LOGIN" are older than the registered form and still met */
	while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t' && s.p[n] != '=')
		n++;
	*line = slice_from(s, n + (n < s.n));
	return (struct slice){ s.p, n };
}

static void size_take(struct ehlo *e, struct slice rest)
{
	uint64_t v = 0;
	int r = slice_u64(word_take(&rest), &v);

	e->size_given = true;
	/* a number too large to hold, like none at all, limits nothing */
	e->size = r ? 0 : v;
}

static void keyword_take(struct ehlo *e, struct slice line)
{
	static const struct {
		const char *name;
		size_t at;
	} flags[] = {
		{ "PIPELINING", offsetof(struct ehlo, pipelining) },
		{ "CHUNKING", offsetof(struct ehlo, chunking) },
		{ "BINARYMIME", offsetof(struct ehlo, binarymime) },
		{ "8BITMIME", offsetof(struct ehlo, eightbit) },
		{ "SMTPUTF8", offsetof(struct ehlo, smtputf8) },
		{ "DSN", offsetof(struct ehlo, dsn) },
		{ "ENHANCEDSTATUSCODES", offsetof(struct ehlo, enhanced) },
		{ "STARTTLS", offsetof(struct ehlo, starttls) },
	};
	struct slice word = word_take(&line);

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (slice_case_eq(word, slice_of(flags[i].name))) {
			*(bool *)((char *)e + flags[i].at) = true;
			return;
		}
	}
	if (slice_case_eq(word, SLICE_LIT("SIZE")))
		size_take(e, line);
}

static void name_take(struct ehlo *e, struct slice line)
{
	struct slice name = word_take(&line);
	size_t n = name.n < sizeof(e->name) - 1 ? name.n : sizeof(e->name) - 1;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		e->name[i] = c < 0x20 || c == 0x7f ? '?' : name.p[i];
	}
	e->name[n] = '\0';
}

void ehlo_line(struct ehlo *e, struct slice line, bool first)
{
	if (!first) {
		keyword_take(e, line);
		return;
	}
	memset(e, 0, sizeof(*e));
	e->esmtp = true;
	name_take(e, line);
}

void ehlo_parse(struct ehlo *e, const struct reply *r)
{
	struct slice rest = { r->text, r->n };
	bool first = true;

	do {
		const char *lf = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
		struct slice line = { rest.p, lf ? (size_t)(lf - rest.p) : rest.n };

		rest = slice_from(rest, line.n + (lf != NULL));
		ehlo_line(e, line, first);
		first = false;
	} while (rest.n > 0);
}
