/* Writes what was found as a configuration, asks the reader of configurations about it, and takes out
 * what that has something against, with its own words as the reason: so what comes out passes `postern
 * check`, whatever went in. Each value has a line of its own, by which a finding is found again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"
#include "postern/config.h"

#define ROUNDS_MAX 50
#define NAME	   "import"

struct writer {
	struct buf *out;
	unsigned line; /* that comes next */
	int error;
};

static void put(struct writer *w, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		w->line += s.p[i] == '\n';
	if (!w->error)
		w->error = buf_add_slice(w->out, s);
}

static void put_str(struct writer *w, const char *s)
{
	put(w, slice_of(s));
}

static void put_quoted(struct writer *w, const char *text)
{
	struct buf b;
	int r;

	buf_init(&b, 0);
	r = value_quote(slice_of(text), &b);
	if (r && !w->error)
		w->error = r;
	put(w, buf_slice(&b));
	buf_deinit(&b);
}

static bool is_bare(const struct option *o, const char *text)
{
	return (o->type == OPTION_NUMBER || o->type == OPTION_PORT || o->type == OPTION_BOOL) &&
	       *text && strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz") == strlen(text);
}

static void put_value(struct writer *w, struct import_value *v)
{
	v->line = w->line;
	if (is_bare(v->option, v->text))
		put_str(w, v->text);
	else
		put_quoted(w, v->text);
}

static void put_origin(struct writer *w, const char *origin)
{
	if (*origin) {
		put_str(w, "  # ");
		put_str(w, origin);
	}
	put_str(w, "\n");
}

/* All values of a list, from the first one on. */
static void put_list(
	struct writer *w, struct import_value *from, const struct option *o, const char *indent)
{
	struct import_value *next;

	put_str(w, " = {\n");
	for (struct import_value *v = from; v; v = next) {
		for (next = v->next; next && (next->option != o || next->dropped);)
			next = next->next;
		put_str(w, indent);
		put_str(w, "    ");
		put_value(w, v);
		if (next)
			put_str(w, ",");
		put_origin(w, v->origin);
	}
	put_str(w, indent);
	put_str(w, "}\n");
}

static bool is_first(const struct import_section *s, const struct import_value *v)
{
	for (const struct import_value *x = s->first; x != v; x = x->next)
		if (x->option == v->option && !x->dropped)
			return false;
	return true;
}

static void put_section(struct writer *w, struct import_section *s)
{
	const char *indent = *s->kind->name ? "    " : "";

	if (s->dropped)
		return;
	put_str(w, "\n");
	s->line = w->line;
	if (*s->kind->name) {
		put_str(w, s->kind->name);
		if (s->title) {
			put_str(w, " ");
			put_quoted(w, s->title);
		}
		put_str(w, " {");
		put_origin(w, s->origin);
	}
	for (struct import_value *v = s->first; v; v = v->next) {
		bool list = option_is_list(v->option);

		if (v->dropped || (list && !is_first(s, v)))
			continue;
		put_str(w, indent);
		put_str(w, v->option->name);
		if (list) {
			put_list(w, v, v->option, indent);
			continue;
		}
		put_str(w, " = ");
		put_value(w, v);
		put_origin(w, v->origin);
	}
	if (*s->kind->name)
		put_str(w, "}\n");
}

static int put_all(struct import *im, const char *what, struct buf *out)
{
	struct writer w = { .out = out, .line = 1 };

	put_str(&w, "# Written by `postern import ");
	put_str(&w, what);
	put_str(&w,
		"`: each line with where it comes from.\n# What was not taken over stands at the "
		"end. Look through all of it before it is used.\n");
	for (unsigned id = 0; id < SECTION_COUNT; id++)
		for (struct import_section *s = im->first; s; s = s->next)
			if (s->kind == &sections[id])
				put_section(&w, s);
	return w.error;
}

static void note_dropped(struct import *im, const char *origin, struct slice why)
{
	import_note(im, NULL, "%s%snot taken over: %.*s", origin, *origin ? ": " : "", (int)why.n,
		why.p);
}

/* Takes out what stands at this line. False: nothing does. */
static bool drop(struct import *im, unsigned line, struct slice why)
{
	for (struct import_section *s = im->first; s; s = s->next) {
		for (struct import_value *v = s->first; v && !s->dropped; v = v->next) {
			if (v->dropped || v->line != line)
				continue;
			v->dropped = true;
			note_dropped(im, v->origin, why);
			return true;
		}
		if (s->dropped || s->line != line || !*s->kind->name)
			continue;
		s->dropped = true;
		note_dropped(im, s->origin, why);
		return true;
	}
	return false;
}

/* One finding, "import:12: text". True: something was taken out. */
static bool drop_finding(struct import *im, struct slice finding)
{
	static const char warning[] = "warning: ";
	char *end;
	unsigned long line;

	if (!slice_case_prefix(finding, SLICE_LIT(NAME ":")))
		return false;
	line = strtoul(finding.p + sizeof(NAME), &end, 10);
	if ((size_t)(end - finding.p) + 2 > finding.n)
		return false;
	finding = slice_from(finding, (size_t)(end - finding.p) + 2);
	if (slice_case_prefix(finding, slice_of(warning)))
		return false;
	return drop(im, (unsigned)line, finding);
}

/* One round. 0: nothing is wrong any more; 1: something was taken out; 2: what is wrong stands at no
 * line of ours, and errors tells it. */
static int check(struct import *im, struct slice text, struct buf *errors)
{
	struct config *c = NULL;
	bool dropped = false;
	int r = config_parse(&c, NAME, text, errors);
	struct slice left = buf_slice(errors);

	config_free(c);
	if (r != -EINVAL)
		return r;
	while (left.n) {
		const char *lf = memchr(left.p, '\n', left.n);
		size_t n = lf ? (size_t)(lf - left.p) : left.n;

		dropped |= drop_finding(im, (struct slice){ left.p, n });
		left = slice_from(left, n + 1);
	}
	return dropped ? 1 : 2;
}

static bool has(const struct import *im, enum section_id id)
{
	for (const struct import_section *s = im->first; s; s = s->next)
		if (!s->dropped && s->kind == &sections[id])
			return true;
	return false;
}

/* What mail cannot flow without, and the other relay did not say. */
static void complete(struct import *im)
{
	static const struct origin ours = { .file = "to be written by hand" };
	struct import_section *s;

	if (!has(im, SECTION_SOURCE)) {
		s = import_section(im, SECTION_SOURCE, "default", &ours);
		import_value(im, s, "address", SLICE_LIT("192.0.2.1"), &ours);
		import_note(im, &ours,
			"source \"default\": no address was found that mail leaves from: write one "
			"of this machine in place of 192.0.2.1");
	}
	if (!has(im, SECTION_POOL)) {
		s = import_section(im, SECTION_POOL, "main", &ours);
		for (const struct import_section *x = im->first; x; x = x->next)
			if (!x->dropped && x->kind == &sections[SECTION_SOURCE])
				import_value(im, s, "sources", slice_of(x->title), NULL);
	}
	if (!has(im, SECTION_LISTENER)) {
		s = import_section(im, SECTION_LISTENER, "smtp", &ours);
		import_value(im, s, "address", SLICE_LIT("127.0.0.1:2525"), &ours);
		import_value(im, s, "allow", SLICE_LIT("127.0.0.0/8"), &ours);
		import_note(im, &ours, "listener \"smtp\": no service was found that takes mail");
	}
}

/* The system's own name is the default, and no good one. True: it was not ours, and now is. */
static bool complete_name(struct import *im)
{
	static const struct origin ours = { .file = "to be written by hand" };
	struct import_section *root = import_section(im, SECTION_ROOT, NULL, NULL);

	if (!root || import_has(root, "hostname"))
		return false;
	import_value(im, root, "hostname", SLICE_LIT("relay.example.net"), &ours);
	import_note(im, &ours, "hostname: write this relay's own in place of relay.example.net");
	return true;
}

/* The notes, as comments. */
static int put_notes(struct import *im, struct buf *out)
{
	struct slice left = buf_slice(im->notes);
	int r = left.n ? buf_add_str(out, "\n# Not taken over, or to be looked at:\n") : 0;

	while (left.n && !r) {
		const char *lf = memchr(left.p, '\n', left.n);
		size_t n = lf ? (size_t)(lf - left.p) : left.n;

		r = buf_printf(out, "#   %.*s\n", (int)n, left.p);
		left = slice_from(left, n + 1);
	}
	return r;
}

int import_write(struct import *im, const char *what, struct buf *out)
{
	struct buf text, errors;
	int r = 1;

	buf_init(&text, 0);
	buf_init(&errors, 1 << 20);
	complete(im);
	for (unsigned round = 0; r == 1 && !im->error && round < ROUNDS_MAX; round++) {
		buf_reset(&text);
		buf_reset(&errors);
		r = put_all(im, what, &text);
		if (!r)
			r = check(im, buf_slice(&text), &errors);
		complete(im);
		if (r > 1 && complete_name(im))
			r = 1;
	}
	if (r > 0 && buf_size(&errors))
		import_note(im, NULL, "to be mended by hand: %.*s", (int)buf_size(&errors),
			buf_slice(&errors).p);
	if (r >= 0 && !im->error)
		im->error = buf_add_slice(out, buf_slice(&text));
	if (!im->error)
		im->error = put_notes(im, out);
	buf_deinit(&text);
	buf_deinit(&errors);
	return im->error ? im->error : r > 1 ? 1 : r;
}
