/* The reader of configurations and scenarios: text → tokens → options and sections with their values.
 * Called on the thread that loads the configuration; bind.c makes parameters of what is found here.
 *
 * One walk. Names are looked up in the tables as they come; a value is decoded as it is met, and kept
 * with its line; what is unknown, given twice or of the wrong form is told and passed over. At bad
 * syntax the walk of that file ends, since what follows has no certain place; what led to it, and the
 * files that include it, are read on. */
#include "scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include.h"

#define VALUES_MAX   65536u
#define SECTIONS_MAX 10000u
#define NESTING_MAX  16u

struct scanner {
	struct scan *s;
	struct diag *d;
	struct lexer lexer;
	struct token t;		   /* the one looked at */
	struct include_file *file; /* NULL: no file, which includes nothing */
	bool stopped;		   /* this file, at bad syntax */
	unsigned files;
	size_t bytes;	/* of all files */
	unsigned depth; /* of sections that are not known */
	bool no_memory;
};

static void next(struct scanner *x)
{
	lexer_next(&x->lexer, &x->t);
}

/* line: of the cause, which may lie before the token that does not fit */
static void stop(struct scanner *x, unsigned line, const char *why)
{
	if (x->stopped)
		return;
	x->stopped = x->s->broken = true;
	if (x->t.kind == TOKEN_OPEN_COMMENT || x->t.kind == TOKEN_OPEN_QUOTE ||
		x->t.kind == TOKEN_STRAY)
		line = x->t.line;
	if (x->t.kind == TOKEN_OPEN_COMMENT)
		why = "the comment that begins here is not closed: end it with */";
	else if (x->t.kind == TOKEN_OPEN_QUOTE)
		why = "the text that begins here has no closing quote";
	else if (x->t.kind == TOKEN_STRAY)
		why = "unexpected character: put values in double quotes";
	diag_error(x->d, line, "syntax: %s", why);
}

static void no_memory(struct scanner *x)
{
	x->no_memory = x->stopped = x->s->broken = true;
}

static void *take(struct scanner *x, size_t n)
{
	void *p = arena_alloc(&x->s->arena, n);

	if (!p)
		no_memory(x);
	return p;
}

/* Room for one more in an array of the arena that has n; it doubles. NULL when memory is out. */
static void *grown(struct scanner *x, void *array, unsigned n, size_t size)
{
	void *p;

	if (n & (n + 1))
		return array; /* its size is the power of two above n */
	p = take(x, ((size_t)n + 1) * 2 * size);
	if (p && n)
		memcpy(p, array, n * size);
	return p;
}

/* What the token stands for; NULL (told) when it stands for nothing. */
static const char *text_of(struct scanner *x)
{
	struct token_text t;

	token_text(&x->t, &x->s->arena, &t);
	if (t.unset.n)
		diag_warning(x->d, x->t.line,
			"${%.*s}: the environment has no such variable: it is left out; "
			"${%.*s:-value} says what to take then",
			(int)(t.unset.n < 60 ? t.unset.n : 60), t.unset.p,
			(int)(t.unset.n < 60 ? t.unset.n : 60), t.unset.p);
	if (t.wrong)
		diag_error(x->d, x->t.line, "syntax: %s", t.wrong);
	else if (!t.text)
		no_memory(x);
	return t.text;
}

static struct scan_section *add_section(
	struct scanner *x, const struct section *kind, unsigned line, const char *title)
{
	struct scan_section *sec = take(x, sizeof(*sec)), **all;
	struct scan_kind *k = &x->s->kinds[kind - x->s->schema->sections];

	if (!sec)
		return NULL;
	if (k->n >= SECTIONS_MAX) {
		stop(x, line, "too many sections of one kind");
		return NULL;
	}
	all = grown(x, k->sections, k->n, sizeof(*all));
	if (!all)
		return NULL;
	*sec = (struct scan_section){ .kind = kind, .line = line, .title = title };
	k->sections = all;
	k->sections[k->n++] = sec;
	return sec;
}

static const struct scan_section *find_titled(
	const struct scan *s, const struct section *kind, const char *title)
{
	const struct scan_kind *k = &s->kinds[kind - s->schema->sections];

	for (unsigned i = 0; i < k->n; i++)
		if (!kind->titled || strcmp(k->sections[i]->title, title) == 0)
			return k->sections[i];
	return NULL;
}

static struct scan_option *find_option(const struct scan_section *sec, struct slice name)
{
	for (struct scan_option *o = sec->options; o; o = o->next) {
		if (slice_eq(slice_of(o->option->name), name))
			return o;
	}
	return NULL;
}

/* o NULL: of something that is passed over. */
static void note_value(struct scanner *x, struct scan_option *o)
{
	struct scan_value *values;
	const char *text;

	if (!o || o->nvalues >= VALUES_MAX)
		return;
	text = text_of(x);
	values = text ? grown(x, o->values, o->nvalues, sizeof(*values)) : NULL;
	if (!values)
		return;
	o->values = values;
	o->values[o->nvalues++] = (struct scan_value){ text, x->t.line };
}

/* "{" value, value "}" with an optional comma at the end */
static void scan_list(struct scanner *x, struct scan_option *o, unsigned line)
{
	next(x);
	while (x->t.kind == TOKEN_STRING) {
		note_value(x, o);
		next(x);
		if (x->t.kind != TOKEN_COMMA)
			break;
		next(x);
	}
	if (x->t.kind != TOKEN_CLOSE)
		stop(x, x->t.kind == TOKEN_END ? line : x->t.line,
			"a list has its values in braces, with commas between: {\"a\", \"b\"}");
}

/* Leaves the last token of the value as the one looked at. */
static void scan_assigned(struct scanner *x, struct scan_option *o, unsigned line)
{
	if (x->t.kind == TOKEN_OPEN)
		scan_list(x, o, line);
	else if (x->t.kind == TOKEN_STRING)
		note_value(x, o);
	else
		stop(x, line, "a value is missing after \"=\"");
}

/* name = value, known or not */
static void scan_assignment(struct scanner *x, struct scan_section *sec, const struct token *name)
{
	const struct option *option = sec ? option_find(sec->kind, name->text) : NULL;
	struct scan_option *known = option ? find_option(sec, name->text) : NULL, *o = NULL;
	bool append = x->t.kind == TOKEN_APPEND, list;
	char where[DIAG_WHERE_MAX];

	if (option && append && known) {
		o = known;
	} else if (option && !known) {
		o = take(x, sizeof(*o));
		if (!o)
			return;
		*o = (struct scan_option){
			.next = sec->options, .option = option, .line = name->line
		};
		sec->options = o;
	}
	next(x);
	list = x->t.kind == TOKEN_OPEN;
	scan_assigned(x, list && o && !option_is_list(option) ? NULL : o, name->line);
	if (x->stopped || (o && (!list || option_is_list(option))))
		return;
	if (o)
		diag_error(x->d, name->line, "%s takes one value, not a list: write %s = value",
			option->name, option->name);
	else if (known)
		diag_error(x->d, name->line, "%s is given again; it was given in %s: remove one%s",
			option->name, diag_where(x->d, known->line, name->line, where),
			option_is_list(option) ? ", or write += to add to the list" : "");
	else if (sec)
		scan_tell_unknown(x->s, x->d, sec->kind, name, false);
}

/* ---- sections ---- */

/* From behind the opening brace, or the beginning of the file. sec NULL: inside something unknown.
 */
static void scan_items(struct scanner *x, struct scan_section *sec);

/* May a section of this kind begin here? Else that is told. */
static bool is_welcome(struct scanner *x, const struct section *kind, const struct token *name,
	const char *title, unsigned title_line)
{
	const struct scan_section *same;
	char where[DIAG_WHERE_MAX];

	if (kind->titled != (title != NULL)) {
		if (kind->titled)
			diag_error(x->d, name->line, "%s has no title: write %s \"name\" { ... }",
				kind->name, kind->name);
		else
			diag_error(x->d, title_line, "%s takes no title: write %s { ... }",
				kind->name, kind->name);
		return false;
	}
	same = kind->repeats ? NULL : find_titled(x->s, kind, title);
	if (same)
		diag_error(x->d, name->line,
			"%s%s%.60s%s is given again; it was given in %s: join the two%s",
			kind->name, kind->titled ? " \"" : "", title ? title : "",
			kind->titled ? "\"" : "", diag_where(x->d, same->line, name->line, where),
			kind->titled ? ", or give one another name" : "");
	return !same;
}

/* Between its braces; the opening one is the token looked at. */
static void scan_body(struct scanner *x, struct scan_section *sec, unsigned line)
{
	/* nesting is as deep as the file says, this function's recursion is not */
	if (++x->depth > NESTING_MAX)
		stop(x, line, "sections are nested too deeply");
	else
		scan_items(x, sec);
	x->depth--;
	if (x->t.kind == TOKEN_END)
		stop(x, line, "the section that begins here has no closing brace");
	else if (x->t.kind != TOKEN_CLOSE)
		stop(x, x->t.line, "an option or a closing brace is expected here");
}

/* name [title] {; the token behind the name is looked at */
static void scan_section(struct scanner *x, struct scan_section *outer, const struct token *name)
{
	const struct section *kind =
		outer && !outer->kind->name[0] ? scan_kind_named(x->s->schema, name->text) : NULL;
	struct scan_section *sec = NULL;
	const char *title = NULL;
	unsigned title_line = x->t.line;
	bool bad = false;

	if (x->t.kind == TOKEN_STRING) {
		title = text_of(x);
		bad = !title;
		next(x);
		if (x->t.kind != TOKEN_OPEN) {
			stop(x, name->line,
				"\"=\" is missing before the value, or \"{\" behind the title of a "
				"section");
			return;
		}
	}
	if (!kind && outer)
		scan_tell_unknown(x->s, x->d, outer->kind, name, true);
	if (kind && !bad && is_welcome(x, kind, name, title, title_line)) {
		sec = add_section(x, kind, name->line, title);
		if (!sec)
			return;
	}
	scan_body(x, sec, name->line);
}

/* ---- files ---- */

/* All of a file; root: what stands outside all sections, of the first file and of all others. */
static void scan_file(
	struct scanner *x, struct scan_section *root, const char *path, struct slice text)
{
	const char *nul = text.n ? memchr(text.p, '\0', text.n) : NULL;
	unsigned base;

	x->stopped = false;
	if (diag_add_file(x->d, path, text, &base)) {
		no_memory(x);
		return;
	}
	x->lexer = (struct lexer){ text.p ? text.p : "", base + 1 };
	if (nul) {
		for (const char *p = text.p; p < nul; p++)
			base += *p == '\n';
		diag_error(x->d, base + 1, "a NUL byte: this is not a text file");
		x->stopped = x->s->broken = true;
		return;
	}
	scan_items(x, root);
	if (!x->stopped && x->t.kind == TOKEN_CLOSE)
		stop(x, x->t.line, "a closing brace too many");
	if (!x->stopped && x->t.kind != TOKEN_END)
		stop(x, x->t.line, "an option or a section is expected here");
}

static void tell_include(struct scanner *x, unsigned line, const char *path, int r)
{
	const char *why = strerror(-r);

	x->s->broken = true;
	if (r == -EINVAL)
		why = "it is not a regular file";
	else if (r == -EFBIG)
		why = "all files together are larger than 16 MiB";
	if (r == -ENOMEM)
		no_memory(x);
	else if (r == -ELOOP)
		diag_error(x->d, line,
			"include: %.200s is being read already, and led here: a circle", path);
	else
		diag_error(x->d, line, "include: %.200s cannot be read: %s", path, why);
}

static void include_file(
	struct scanner *x, struct scan_section *root, unsigned line, const char *path)
{
	struct scanner outer = *x;
	struct include_file file;
	struct buf text;
	int r;

	buf_init(&text, 0);
	r = include_open(&file, path, x->file, &text);
	if (!r && (x->bytes += buf_size(&text)) > CONFIG_BYTES)
		r = -EFBIG;
	if (!r)
		r = buf_add(&text, "", 1);
	if (r) {
		tell_include(x, line, path, r);
	} else {
		x->file = &file;
		x->depth = 0;
		scan_file(x, root, path, (struct slice){ text.p, buf_size(&text) - 1 });
		x->file = outer.file;
		x->lexer = outer.lexer;
		x->t = outer.t;
		x->depth = outer.depth;
		x->stopped = outer.stopped || x->no_memory;
	}
	buf_deinit(&text);
}

/* include "pattern"; the pattern is the token looked at */
static void scan_include(struct scanner *x, struct scan_section *root)
{
	struct include_list found;
	unsigned line = x->t.line;
	const char *pattern = text_of(x);
	int r;

	if (!pattern)
		return;
	if (root->kind->name[0]) {
		diag_error(x->d, line, "include: it stands outside all sections");
		return;
	}
	if (!x->file) {
		diag_error(x->d, line, "include: only a configuration in a file includes others");
		return;
	}
	if (x->file->depth + 1 > INCLUDE_DEPTH) {
		diag_error(x->d, line, "include: files include one another more than %u deep",
			INCLUDE_DEPTH);
		x->s->broken = true;
		return;
	}
	r = include_find(&found, x->file->path, pattern);
	if (r)
		tell_include(x, line, pattern, r);
	for (unsigned i = 0; i < found.n && !x->stopped; i++) {
		if (++x->files > INCLUDE_FILES) {
			diag_error(x->d, line, "include: more than %u files in all", INCLUDE_FILES);
			x->s->broken = true;
			break;
		}
		include_file(x, root, line, found.found.gl_pathv[i]);
	}
	include_list_free(&found);
}

static bool is_include(
	const struct scanner *x, const struct scan_section *sec, const struct token *name)
{
	return sec && !name->quote && x->t.kind == TOKEN_STRING &&
	       slice_eq(name->text, SLICE_LIT("include"));
}

static void scan_items(struct scanner *x, struct scan_section *sec)
{
	for (next(x); x->t.kind == TOKEN_STRING && !x->stopped; next(x)) {
		struct token name = x->t;

		next(x);
		if (x->t.kind == TOKEN_EQUALS || x->t.kind == TOKEN_APPEND)
			scan_assignment(x, sec, &name);
		else if (is_include(x, sec, &name))
			scan_include(x, sec);
		else if (x->t.kind == TOKEN_OPEN || x->t.kind == TOKEN_STRING)
			scan_section(x, sec, &name);
		else
			stop(x, name.line, "\"=\" is missing after the option's name");
		if (x->stopped)
			return;
	}
}

int scan_text(
	struct scan *s, const struct schema *schema, const struct scan_input *in, struct diag *d)
{
	struct scanner x = { .s = s, .d = d, .bytes = in->text.n };
	struct include_file file;
	struct scan_section *root;

	*s = (struct scan){ .schema = schema };
	arena_init(&s->arena, 0);
	if (in->includes) {
		include_is(&file, in->path);
		x.file = &file;
	}
	root = add_section(&x, &schema->sections[0], 1, NULL);
	if (root)
		scan_file(&x, root, in->path, in->text);
	return x.no_memory ? -ENOMEM : 0;
}

void scan_deinit(struct scan *s)
{
	arena_deinit(&s->arena);
}

/* ---- what was found ---- */

const struct scan_section *scan_find(
	const struct scan *s, const struct section *kind, unsigned index)
{
	const struct scan_kind *k = &s->kinds[kind - s->schema->sections];

	return index < k->n ? k->sections[index] : NULL;
}

unsigned scan_count(const struct scan *s, const struct section *kind)
{
	return s->kinds[kind - s->schema->sections].n;
}

const struct scan_option *scan_given(const struct scan_section *sec, const char *option)
{
	return sec ? find_option(sec, slice_of(option)) : NULL;
}

unsigned scan_values(const struct scan_section *sec, const char *option)
{
	const struct scan_option *o = scan_given(sec, option);

	return o ? o->nvalues : 0;
}

const char *scan_value(const struct scan_section *sec, const char *option, unsigned i)
{
	const struct scan_option *o = scan_given(sec, option);

	return o && i < o->nvalues ? o->values[i].text : "";
}

unsigned scan_line(const struct scan_section *sec, const char *option)
{
	const struct scan_option *o = scan_given(sec, option);

	return o ? o->line : sec ? sec->line : 1;
}

unsigned scan_value_line(const struct scan_section *sec, const char *option, unsigned value)
{
	const struct scan_option *o = scan_given(sec, option);

	return o && value < o->nvalues ? o->values[value].line : scan_line(sec, option);
}
