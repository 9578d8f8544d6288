/* The first of the two walks over a configuration: which options and sections are given, and on
 * which lines. Called by parse.c before libconfuse sees the text, on the thread that loads the
 * configuration.
 *
 * Order: token → known name? → noted with its lines, else reported and blanked out of the text. At
 * bad syntax the walk stops (scan.stopped), since what follows has no certain place. */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>

#include "lex.h"

#define VALUES_MAX   65536u
#define SECTIONS_MAX 10000u

struct scanner {
	struct scan *s;
	const struct schema *schema;
	struct diag *d;
	struct lexer lexer;
	struct token t; /* the one looked at */
	char *text;
	const char *begin;
	unsigned counts[SCHEMA_SECTIONS_MAX];
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
	if (x->s->stopped)
		return;
	x->s->stopped = true;
	x->s->stop_line = line;
	x->s->stop_why = why;
	if (x->t.kind == TOKEN_OPEN_COMMENT || x->t.kind == TOKEN_OPEN_QUOTE ||
		x->t.kind == TOKEN_STRAY)
		x->s->stop_line = x->t.line;
	if (x->t.kind == TOKEN_OPEN_COMMENT)
		x->s->stop_why = "the comment that begins here is not closed: end it with */";
	else if (x->t.kind == TOKEN_OPEN_QUOTE)
		x->s->stop_why = "the text that begins here has no closing quote";
	else if (x->t.kind == TOKEN_STRAY)
		x->s->stop_why = "unexpected character: put values in double quotes";
}

static void *take(struct scanner *x, size_t n)
{
	void *p = arena_alloc(&x->s->arena, n);

	if (!p) {
		x->no_memory = true;
		stop(x, x->t.line, "out of memory");
	}
	return p;
}

/* Keeps the lines, so that libconfuse counts as we do. */
static void blank(struct scanner *x, const char *from, const char *to)
{
	for (char *p = x->text + (from - x->begin); p < x->text + (to - x->begin); p++) {
		if (*p != '\n')
			*p = ' ';
	}
}

static struct scan_section *add_section(
	struct scanner *x, const struct section *kind, unsigned line, struct slice title)
{
	struct scan_section *sec = take(x, sizeof(*sec));
	size_t id = (size_t)(kind - x->schema->sections);

	if (!sec)
		return NULL;
	if (kind->titled && x->counts[id] >= SECTIONS_MAX) {
		stop(x, line, "too many sections of one kind");
		return NULL;
	}
	*sec = (struct scan_section){ .kind = kind, .line = line, .index = x->counts[id]++ };
	if (title.p)
		sec->title = arena_strdup(&x->s->arena, title);
	if (x->s->last)
		x->s->last->next = sec;
	else
		x->s->first = sec;
	x->s->last = sec;
	return sec;
}

static const struct scan_section *find_titled(
	const struct scan *s, const struct section *kind, struct slice title)
{
	for (const struct scan_section *sec = s->first; sec; sec = sec->next) {
		if (sec->kind == kind && (!kind->titled || slice_eq(slice_of(sec->title), title)))
			return sec;
	}
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

static const struct section *find_kind(const struct scanner *x, struct slice name)
{
	for (unsigned i = 1; i < x->schema->n; i++) {
		if (slice_eq(slice_of(x->schema->sections[i].name), name))
			return &x->schema->sections[i];
	}
	return NULL;
}

/* Levenshtein distance of short words; at most `limit` matters. */
static unsigned distance(struct slice a, struct slice b)
{
	unsigned row[64];

	if (a.n >= 64 || b.n >= 64)
		return 64;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned change = diagonal + (a.p[i - 1] != b.p[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < change)
				change = row[j] + 1;
			if (row[j - 1] + 1 < change)
				change = row[j - 1] + 1;
			row[j] = change;
		}
	}
	return row[b.n];
}

struct guess {
	unsigned distance;
	const char *name;
};

static void guess_add(struct guess *g, struct slice name, const char *candidate)
{
	unsigned n = distance(name, slice_of(candidate));

	/* up to a third of the letters may differ */
	if (n < g->distance && (size_t)n * 3 <= name.n) {
		g->distance = n;
		g->name = candidate;
	}
}

/* Reports a name that is not known in kind, with the likeliest remedy. kind NULL: inside a section
 * that is not known itself. */
static void report_unknown(
	struct scanner *x, const struct section *kind, const struct token *name, bool section)
{
	int n = name->text.n < 60 ? (int)name->text.n : 60;
	const char *where = kind->name[0] ? kind->name : "the file";
	struct guess g = { .distance = 64 };

	if (section && option_find(kind, name->text)) {
		diag_error(x->d, name->line,
			"\"%.*s\" is an option, not a section: write %.*s = value", n, name->text.p,
			n, name->text.p);
		return;
	}
	if (!section && !kind->name[0] && find_kind(x, name->text)) {
		diag_error(x->d, name->line, "\"%.*s\" is a section: write %.*s { ... }", n,
			name->text.p, n, name->text.p);
		return;
	}
	for (unsigned i = 0; i < kind->noptions; i++)
		guess_add(&g, name->text, kind->options[i].name);
	for (unsigned i = 1; i < x->schema->n && !kind->name[0]; i++)
		guess_add(&g, name->text, x->schema->sections[i].name);
	for (unsigned i = 0; i < x->schema->n; i++) {
		if (g.distance == 0 || !option_find(&x->schema->sections[i], name->text))
			continue;
		diag_error(x->d, name->line, "unknown option \"%.*s\" in %s: it belongs %s%s%s", n,
			name->text.p, where, i ? "into " : "outside all sections",
			x->schema->sections[i].name, i ? " { }" : "");
		return;
	}
	if (section && find_kind(x, name->text)) {
		diag_error(x->d, name->line,
			"section \"%.*s\" inside %s: close that section before it", n, name->text.p,
			where);
		return;
	}
	diag_error(x->d, name->line, "unknown %s \"%.*s\" in %s: %s%s%s",
		section ? "section" : "option", n, name->text.p, where,
		g.name ? "did you mean \"" : "remove it, or look for its name in ",
		g.name ? g.name : x->schema->names, g.name ? "\"?" : "");
}

static void note_value(struct scanner *x, struct scan_option *o)
{
	unsigned *lines;

	if (!o || o->nvalues >= VALUES_MAX)
		return;
	/* the array doubles; its size is the power of two above nvalues */
	if ((o->nvalues & (o->nvalues + 1)) == 0) {
		lines = take(x, ((size_t)o->nvalues + 1) * 2 * sizeof(*lines));
		if (!lines)
			return;
		for (unsigned i = 0; i < o->nvalues; i++)
			lines[i] = o->value_lines[i];
		o->value_lines = lines;
	}
	o->value_lines[o->nvalues++] = x->t.line;
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
static void scan_value(struct scanner *x, struct scan_option *o, unsigned line)
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
	scan_value(x, o, name->line);
	if (x->s->stopped || (o && (!list || option_is_list(option))))
		return;
	if (o)
		diag_error(x->d, name->line, "%s takes one value, not a list: write %s = value",
			option->name, option->name);
	else if (known)
		diag_error(x->d, name->line,
			"%s is given again; it was given in line %u: remove one%s", option->name,
			known->line,
			option_is_list(option) ? ", or write += to add to the list" : "");
	else if (sec)
		report_unknown(x, sec->kind, name, false);
	blank(x, name->from, x->t.to);
}

/* From behind the opening brace, or the beginning of the file. sec NULL: inside something unknown.
 */
static void scan_items(struct scanner *x, struct scan_section *sec);

static void scan_section(struct scanner *x, struct scan_section *outer, const struct token *name)
{
	const struct section *kind =
		outer && !outer->kind->name[0] ? find_kind(x, name->text) : NULL;
	const struct scan_section *same;
	struct slice title = { 0 };
	struct token title_token = { 0 };
	struct scan_section *sec = NULL;

	if (x->t.kind == TOKEN_STRING) {
		title = x->t.text;
		title_token = x->t;
		next(x);
		if (x->t.kind != TOKEN_OPEN) {
			stop(x, name->line,
				"\"=\" is missing before the value, or \"{\" behind the title of a "
				"section");
			return;
		}
	}
	if (!kind && outer)
		report_unknown(x, outer->kind, name, true);
	if (kind && kind->titled != (title.p != NULL)) {
		if (kind->titled)
			diag_error(x->d, name->line, "%s has no title: write %s \"name\" { ... }",
				kind->name, kind->name);
		else
			diag_error(x->d, title_token.line, "%s takes no title: write %s { ... }",
				kind->name, kind->name);
		kind = NULL;
	}
	same = kind ? find_titled(x->s, kind, title) : NULL;
	if (same) {
		diag_error(x->d, name->line,
			"%s%s%.*s%s is given again; it was given in line %u: join the two%s",
			kind->name, kind->titled ? " \"" : "", (int)(title.n < 60 ? title.n : 60),
			title.p ? title.p : "", kind->titled ? "\"" : "", same->line,
			kind->titled ? ", or give one another name" : "");
		kind = NULL;
	}
	if (kind) {
		sec = add_section(x, kind, name->line, title);
		if (!sec)
			return;
	}
	/* nesting is as deep as the file says, this function's recursion is not */
	if (++x->depth > 16)
		stop(x, name->line, "sections are nested too deeply");
	else
		scan_items(x, sec);
	x->depth--;
	if (x->t.kind == TOKEN_END)
		stop(x, name->line, "the section that begins here has no closing brace");
	else if (x->t.kind != TOKEN_CLOSE)
		stop(x, x->t.line, "an option or a closing brace is expected here");
	if (!kind && !x->s->stopped)
		blank(x, name->from, x->t.to);
}

static void scan_items(struct scanner *x, struct scan_section *sec)
{
	for (next(x); x->t.kind == TOKEN_STRING && !x->s->stopped; next(x)) {
		struct token name = x->t;

		next(x);
		if (x->t.kind == TOKEN_EQUALS || x->t.kind == TOKEN_APPEND)
			scan_assignment(x, sec, &name);
		else if (x->t.kind == TOKEN_OPEN || x->t.kind == TOKEN_STRING)
			scan_section(x, sec, &name);
		else
			stop(x, name.line, "\"=\" is missing after the option's name");
		if (x->s->stopped)
			return;
	}
}

int scan_text(struct scan *s, const struct schema *schema, char *text, struct diag *d)
{
	struct scanner x = {
		.s = s, .schema = schema, .d = d, .lexer = { text, 1 }, .text = text, .begin = text
	};
	struct scan_section *root;

	*s = (struct scan){ 0 };
	arena_init(&s->arena, 0);
	root = add_section(&x, &schema->sections[0], 1, (struct slice){ 0 });
	if (!root)
		return -ENOMEM;
	scan_items(&x, root);
	if (!s->stopped && x.t.kind == TOKEN_CLOSE)
		stop(&x, x.t.line, "a closing brace too many");
	if (!s->stopped && x.t.kind != TOKEN_END)
		stop(&x, x.t.line, "an option or a section is expected here");
	return x.no_memory ? -ENOMEM : 0;
}

void scan_deinit(struct scan *s)
{
	arena_deinit(&s->arena);
}

const struct scan_section *scan_find(
	const struct scan *s, const struct section *kind, unsigned index)
{
	for (const struct scan_section *sec = s->first; sec; sec = sec->next) {
		if (sec->kind == kind && sec->index == index)
			return sec;
	}
	return NULL;
}

const struct scan_option *scan_given(const struct scan_section *sec, const char *option)
{
	return sec ? find_option(sec, slice_of(option)) : NULL;
}

unsigned scan_line(const struct scan_section *sec, const char *option)
{
	const struct scan_option *o = scan_given(sec, option);

	return o ? o->line : sec ? sec->line : 1;
}

unsigned scan_value_line(const struct scan_section *sec, const char *option, unsigned value)
{
	const struct scan_option *o = scan_given(sec, option);

	return o && value < o->nvalues ? o->value_lines[value] : scan_line(sec, option);
}
