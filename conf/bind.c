/* Values into the parameters: each section by its table, with defaults for what is not given. Called
 * by config.c and scenario.c after scan.c, on the thread that loads the configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"
#include "source.h"

unsigned section_count(const struct section *s, const void *base)
{
	return *(const unsigned *)((const char *)base + s->count_at);
}

void *section_element(const struct section *s, const void *base, unsigned i)
{
	char *array;

	memcpy(&array, (const char *)base + s->array_at, sizeof(array));
	return i ? array + i * s->size : array;
}

bool source_flag(const struct scan_section *sec, const char *option)
{
	static const struct option flag = { .type = OPTION_BOOL };
	const char *text;
	struct buf why;
	bool on = false;

	if (scan_values(sec, option) == 0)
		return false;
	text = scan_value(sec, option, 0);
	buf_init(&why, 0);
	/* what is not a flag at all was told when it was bound */
	if (value_set_text(&flag, &on, text, &why))
		on = false;
	buf_deinit(&why);
	return on;
}

const char *section_label(char out[96], const struct section *kind, const char *title)
{
	if (!kind->name[0])
		out[0] = '\0';
	else if (kind->titled)
		snprintf(out, 96, "%s \"%.63s\": ", kind->name, title ? title : "");
	else
		snprintf(out, 96, "%s: ", kind->name);
	return out;
}

/* One section being bound. */
struct binding {
	struct source *s;
	const struct section *kind;
	const struct scan_section *given; /* NULL: it is not */
	void *base;
	const char *title;
};

static void tell_bad(
	const struct binding *b, const struct option *o, unsigned value, const struct buf *why)
{
	unsigned line = option_is_list(o) ? scan_value_line(b->given, o->name, value)
					  : scan_line(b->given, o->name);
	char label[96];

	diag_error(b->s->diag, line, "%s%s: %.*s", section_label(label, b->kind, b->title), o->name,
		(int)buf_size(why), buf_slice(why).p);
}

/* A bad value of the file is told and left out, so that the others are looked at as well; -ENOMEM
 * is the only error. */
static int bind_given(const struct binding *b, const struct option *o)
{
	unsigned n = scan_values(b->given, o->name), bad = 0, skipped = 0;
	const char **values = calloc(n, sizeof(*values));
	bool scratch[8] = { 0 }; /* for what has no place: judged all the same */
	struct buf why;
	int r = -EINVAL;

	if (!values)
		return -ENOMEM;
	buf_init(&why, 0);
	for (unsigned i = 0; i < n; i++)
		values[i] = scan_value(b->given, o->name, i);
	if ((o->flags & OPTION_UNBOUND) && option_is_list(o))
		r = 0; /* its reader judges it */
	while (r == -EINVAL) {
		r = value_set(o, o->flags & OPTION_UNBOUND ? (void *)scratch : b->base, values, n,
			&bad, &why);
		if (r != -EINVAL)
			break;
		tell_bad(b, o, bad + skipped, &why);
		buf_reset(&why);
		if (!option_is_list(o) || n > (unsigned)o->max) {
			r = 0;
			break;
		}
		/* those before it were right, and are so again: no further skip comes before this
		 * one */
		skipped++;
		n--;
		memmove(values + bad, values + bad + 1, (n - bad) * sizeof(*values));
	}
	buf_deinit(&why);
	free(values);
	return r;
}

static int bind_default(const struct binding *b, const struct option *o)
{
	const char *text = o->fallback;
	struct buf why;
	int r = 0;

	if (b->kind == &sections[SECTION_PROVIDER] && option_builtin(b->title, o->name))
		text = option_builtin(b->title, o->name);
	if (!text || (o->flags & OPTION_UNBOUND))
		return 0;
	buf_init(&why, 0);
	r = value_set_text(o, b->base, text, &why);
	buf_deinit(&why);
	must(r != -EINVAL); /* our own table */
	return r;
}

static int bind_section(const struct binding *b)
{
	char label[96];
	int r = 0;

	for (unsigned i = 0; i < b->kind->noptions && !r; i++) {
		const struct option *o = &b->kind->options[i];
		bool given = scan_given(b->given, o->name) != NULL;

		r = bind_default(b, o);
		if (!r && scan_values(b->given, o->name) > 0)
			r = bind_given(b, o);
		else if (!r && given && option_is_list(o))
			value_free(o, b->base); /* "= {}": an empty list is a value too */
		if (!given && (o->flags & OPTION_REQUIRED) && !b->s->scan.broken)
			diag_error(b->s->diag, scan_line(b->given, ""), "%s%s is missing: %s",
				section_label(label, b->kind, b->title), o->name, o->help);
	}
	return r;
}

/* Makes room for n elements of a titled section. */
static int make_array(const struct section *kind, void *base, unsigned n)
{
	void *array = NULL;

	if (n > 0) {
		array = calloc(n, kind->size);
		if (!array)
			return -ENOMEM;
	}
	memcpy((char *)base + kind->array_at, &array, sizeof(array));
	*(unsigned *)((char *)base + kind->count_at) = n;
	return 0;
}

static int bind_element(struct source *s, unsigned id, unsigned i, const char *title, int given)
{
	const struct section *kind = &s->schema->sections[id];
	struct binding b = {
		.s = s, .kind = kind, .base = section_element(kind, s->base, i), .title = title
	};
	char *name = strdup(title);

	if (!name)
		return -ENOMEM;
	memcpy((char *)b.base + kind->name_at, &name, sizeof(name));
	if (given >= 0)
		b.given = scan_find(&s->scan, kind, (unsigned)given);
	return bind_section(&b);
}

static const char *title_of(const struct source *s, unsigned id, unsigned i)
{
	const struct scan_section *sec = scan_find(&s->scan, &s->schema->sections[id], i);

	return sec && sec->title ? sec->title : "";
}

static void check_title(struct source *s, unsigned id, unsigned i)
{
	const char *title = title_of(s, id, i);
	const struct section *kind = &s->schema->sections[id];
	const struct scan_section *lines = scan_find(&s->scan, &s->schema->sections[id], i);

	if (kind == &sections[SECTION_DKIM]) {
		if (!host_name_valid(slice_of(title)))
			diag_error(s->diag, scan_line(lines, ""),
				"dkim \"%.63s\": the title is a domain, such as \"example.com\"",
				title);
		return;
	}
	/* a sender's title is a pattern, not a name */
	if (kind != &sections[SECTION_SENDER] && !name_valid(slice_of(title)))
		diag_error(s->diag, scan_line(lines, ""),
			"%s \"%.63s\": not a name: use letters, digits, \"-\", \"_\" and \".\" (at "
			"most 63)",
			kind->name, title);
	else if (kind == &sections[SECTION_SENDER] && title[0] == '\0')
		diag_error(s->diag, scan_line(lines, ""),
			"sender \"\": the title is a domain or a pattern");
}

static bool is_builtin(const char *name)
{
	for (unsigned i = 0; i < BUILTIN_PROVIDERS; i++) {
		if (strcmp(builtin_providers[i], name) == 0)
			return true;
	}
	return false;
}

/* The operator's own first, as given, so that they may carve something out of the built-in ones. */
static int bind_providers(struct source *s)
{
	unsigned n = scan_count(&s->scan, &sections[SECTION_PROVIDER]), own = 0, at = 0;
	int r;

	for (unsigned i = 0; i < n; i++)
		own += !is_builtin(title_of(s, SECTION_PROVIDER, i));
	r = make_array(&sections[SECTION_PROVIDER], s->config, own + BUILTIN_PROVIDERS);
	for (unsigned i = 0; i < n && !r; i++) {
		check_title(s, SECTION_PROVIDER, i);
		if (!is_builtin(title_of(s, SECTION_PROVIDER, i)))
			r = bind_element(s, SECTION_PROVIDER, at++,
				title_of(s, SECTION_PROVIDER, i), (int)i);
	}
	for (unsigned k = 0; k < BUILTIN_PROVIDERS && !r; k++) {
		int given = -1;

		for (unsigned i = 0; i < n; i++) {
			if (strcmp(title_of(s, SECTION_PROVIDER, i), builtin_providers[k]) == 0)
				given = (int)i;
		}
		r = bind_element(s, SECTION_PROVIDER, at++, builtin_providers[k], given);
	}
	return r;
}

static int bind_titled(struct source *s, unsigned id)
{
	unsigned n = scan_count(&s->scan, &s->schema->sections[id]);
	int r = make_array(&s->schema->sections[id], s->base, n);

	for (unsigned i = 0; i < n && !r; i++) {
		check_title(s, id, i);
		r = bind_element(s, id, i, title_of(s, id, i), (int)i);
	}
	return r;
}

int source_bind(struct source *s)
{
	int r = 0;

	for (unsigned id = 0; id < s->schema->n && !r; id++) {
		const struct section *kind = &s->schema->sections[id];

		if (kind == &sections[SECTION_PROVIDER]) {
			r = bind_providers(s);
		} else if (kind->titled) {
			r = bind_titled(s, id);
		} else {
			struct binding b = { .s = s, .kind = kind, .base = s->base };

			b.given = scan_find(&s->scan, kind, 0);
			r = bind_section(&b);
		}
	}
	return r;
}
