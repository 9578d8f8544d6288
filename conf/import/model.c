/* What was found in another relay's configuration: sections and values in the words of the option
 * tables, with where each comes from. Called by the readers; memory is one arena, and the first error
 * stays, so that readers need not ask after each call. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "import.h"
#include "postern/foreign.h"

void import_init(struct import *im, struct buf *notes, import_read_fn *read, void *arg)
{
	*im = (struct import){ .notes = notes, .read = read, .arg = arg };
	im->end = &im->first;
	arena_init(&im->memory, IMPORT_MEMORY_MAX);
}

void import_deinit(struct import *im)
{
	arena_deinit(&im->memory);
}

static void *keep(struct import *im, size_t n)
{
	void *p = im->error ? NULL : arena_alloc(&im->memory, n);

	if (!p && !im->error)
		im->error = -ENOMEM;
	return p;
}

char *import_dup(struct import *im, struct slice s)
{
	char *p = keep(im, s.n + 1);

	if (p && s.n)
		memcpy(p, s.p, s.n);
	return p;
}

char *import_printf(struct import *im, const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;
	struct buf b;

	buf_init(&b, 0);
	va_start(ap, fmt);
	if (buf_vprintf(&b, fmt, ap))
		im->error = im->error ? im->error : -ENOMEM;
	else
		p = import_dup(im, buf_slice(&b));
	va_end(ap);
	buf_deinit(&b);
	return p;
}

struct slice import_file(struct import *im, const char *path, const struct origin *from)
{
	struct slice none = { 0 };
	struct buf b;
	char *text;
	int r;

	if (im->nfiles++ >= IMPORT_FILES_MAX) {
		import_note(im, from, "%s is not read: more than %u files", path, IMPORT_FILES_MAX);
		return none;
	}
	buf_init(&b, 0);
	r = im->read(im->arg, path, &b);
	if (r)
		import_note(im, from, "%s cannot be read: %s", path, strerror(-r));
	text = r ? NULL : import_dup(im, buf_slice(&b));
	none = (struct slice){ text, text ? buf_size(&b) : 0 };
	buf_deinit(&b);
	return none;
}

/* "main.cf:12 myhostname", in characters that a comment may have. */
static char *origin_text(struct import *im, const struct origin *from)
{
	char line[24] = "";
	char *text;

	if (!from)
		return import_dup(im, SLICE_LIT(""));
	if (from->line)
		snprintf(line, sizeof(line), ":%u", from->line);
	text = import_printf(im, "%s%s%s%s", from->file, line, from->name ? " " : "",
		from->name ? from->name : "");
	for (char *p = text; p && *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return text;
}

struct import_section *import_find(struct import *im, enum section_id id, const char *title)
{
	for (struct import_section *s = im->first; s; s = s->next)
		if (!s->dropped && s->kind == &sections[id] &&
			(!s->kind->titled || (title && !strcmp(s->title, title))))
			return s;
	return NULL;
}

struct import_section *import_section(
	struct import *im, enum section_id id, const char *title, const struct origin *from)
{
	struct import_section *s = im->error ? NULL : import_find(im, id, title);

	if (s || im->error)
		return s;
	if (im->n++ >= IMPORT_SECTIONS_MAX) {
		im->error = -EFBIG;
		return NULL;
	}
	s = keep(im, sizeof(*s));
	if (!s)
		return NULL;
	s->kind = &sections[id];
	s->title = title ? import_dup(im, slice_of(title)) : NULL;
	s->origin = origin_text(im, from);
	s->end = &s->first;
	if (im->error)
		return NULL;
	*im->end = s;
	im->end = &s->next;
	return s;
}

bool import_has(const struct import_section *sec, const char *option)
{
	for (const struct import_value *v = sec ? sec->first : NULL; v; v = v->next)
		if (!strcmp(v->option->name, option) && !v->dropped)
			return true;
	return false;
}

static bool has_value(const struct import_section *sec, const struct option *o, struct slice text)
{
	for (const struct import_value *v = sec->first; v; v = v->next)
		if (v->option == o && slice_eq(slice_of(v->text), text))
			return true;
	return false;
}

void import_value(struct import *im, struct import_section *sec, const char *option,
	struct slice text, const struct origin *from)
{
	const struct option *o = sec ? option_find(sec->kind, slice_of(option)) : NULL;
	struct import_value *v;

	if (!o || im->error || memchr(text.p ? text.p : "", '\0', text.n))
		return;
	if (option_is_list(o) && has_value(sec, o, text))
		return;
	for (v = sec->first; v && !option_is_list(o); v = v->next)
		if (v->option == o)
			v->dropped = true;
	if (sec->n++ >= IMPORT_VALUES_MAX) {
		im->error = -EFBIG;
		return;
	}
	v = keep(im, sizeof(*v));
	if (!v)
		return;
	v->option = o;
	v->text = import_dup(im, text);
	v->origin = origin_text(im, from);
	if (im->error)
		return;
	*sec->end = v;
	sec->end = &v->next;
}

void import_note(struct import *im, const struct origin *from, const char *fmt, ...)
{
	char *where = origin_text(im, from);
	struct buf text, shown;
	va_list ap;
	int r;

	buf_init(&text, 0);
	buf_init(&shown, 0);
	va_start(ap, fmt);
	r = buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (!r)
		r = foreign_show(&shown, buf_slice(&text), FOREIGN_TERMINAL);
	if (!r && where)
		r = buf_printf(im->notes, "%s%s%.*s\n", where, *where ? ": " : "",
			(int)buf_size(&shown), buf_slice(&shown).p);
	if (r && !im->error)
		im->error = r == -ENOBUFS ? -EFBIG : r;
	buf_deinit(&text);
	buf_deinit(&shown);
}

char *import_name(struct import *im, struct slice s)
{
	char *name;

	if (s.n > 60)
		s.n = 60;
	name = import_dup(im, s.n ? s : SLICE_LIT("unnamed"));
	for (char *p = name; p && *p; p++)
		if (!name_valid((struct slice){ p, 1 }))
			*p = '-';
	return name;
}

struct slice import_word(struct slice *left, bool commas)
{
	static const char blanks[] = " \t\r\n,";
	size_t nblanks = commas ? 5 : 4, i = 0, n;
	struct slice word;

	while (i < left->n && left->p[i] && memchr(blanks, left->p[i], nblanks))
		i++;
	for (n = i; n < left->n && !memchr(blanks, left->p[n], nblanks); n++)
		;
	word = (struct slice){ left->p ? left->p + i : NULL, n - i };
	*left = slice_from(*left, n);
	return word;
}
