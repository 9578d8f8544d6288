/* One setting read out of a configuration file that may be wrong everywhere else: what a command
 * needs to find the running relay, or its queue. No checks, no defaults, no other files; the file's
 * first such setting counts. Called by commands, one thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define FILE_MAX (4 << 20)

struct scan {
	const char *p, *end;
};

/* Behind white space and comments. */
static void skip(struct scan *s)
{
	while (s->p < s->end) {
		size_t left = (size_t)(s->end - s->p);
		const char *to;

		if (strchr(" \t\r\n,;+", *s->p) && *s->p) {
			s->p++;
		} else if (*s->p == '#' || (left > 1 && !memcmp(s->p, "//", 2))) {
			to = memchr(s->p, '\n', left);
			s->p = to ? to : s->end;
		} else if (left > 1 && !memcmp(s->p, "/*", 2)) {
			to = memmem(s->p + 2, left - 2, "*/", 2);
			s->p = to ? to + 2 : s->end;
		} else {
			return;
		}
	}
}

/* A word, a text in quotes (which may be a word, too) or one byte. quoted: says which. */
static struct slice next(struct scan *s, bool *quoted)
{
	const char *from;

	skip(s);
	from = s->p;
	*quoted = false;
	if (s->p == s->end)
		return (struct slice){ NULL, 0 };
	if (*s->p == '"' || *s->p == '\'') {
		for (s->p++; s->p < s->end && *s->p != *from; s->p++)
			s->p += *s->p == '\\' && s->p + 1 < s->end;
		*quoted = true;
		from++;
		s->p += s->p < s->end;
		return (struct slice){ from, (size_t)(s->p - from) - 1 };
	}
	while (s->p < s->end && *s->p && !strchr(" \t\r\n,;+={}\"'#", *s->p))
		s->p++;
	s->p += s->p == from;
	return (struct slice){ from, (size_t)(s->p - from) };
}

static bool is(struct slice s, const char *word)
{
	return slice_eq(s, slice_of(word));
}

static bool keep(struct slice v, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < v.n; i++) {
		i += v.p[i] == '\\' && i + 1 < v.n;
		if (n + 1 >= max || !v.p[i])
			return false;
		out[n++] = v.p[i];
	}
	out[n] = '\0';
	return n > 0;
}

bool cli_setting_in(struct slice text, const char *section, const char *name, char *out, size_t max)
{
	struct scan s = { text.p, text.p + text.n };
	struct slice before = { NULL, 0 }, last = { NULL, 0 }, t;
	bool quoted, inside = false;
	unsigned depth = 0;

	for (t = next(&s, &quoted); t.p; before = last, last = t, t = next(&s, &quoted)) {
		if (!quoted && is(t, "{")) {
			inside |= depth++ == 0 && is(last, section);
		} else if (!quoted && is(t, "}")) {
			depth -= depth > 0;
			inside &= depth > 0;
		} else if (inside && depth == 1 && is(last, "=") && is(before, name)) {
			return keep(t, out, max);
		}
	}
	return false;
}

/* errno 0: the file was read and has no such setting */
int cli_setting(const char *file, const char *section, const char *name, char *out, size_t max)
{
	FILE *f = fopen(file, "re");
	struct buf b;
	int r = -1;

	if (!f)
		return -1;
	errno = 0;
	buf_init(&b, FILE_MAX);
	while (!buf_reserve(&b, 4096)) {
		size_t n = fread(b.p + b.len, 1, b.cap - b.len, f);

		b.len += n;
		if (!n)
			break;
	}
	if (!ferror(f))
		errno = 0;
	if (b.len && cli_setting_in(buf_slice(&b), section, name, out, max))
		r = 0;
	buf_deinit(&b);
	fclose(f);
	return r;
}
