/* What is wrong with a configuration: collected while it is read and checked, printed in the order
 * of lines. Called by the readers and checkers of conf, on the thread that loads the configuration
 * (main thread, or the one that asked for a reload).
 *
 * Memory that is out is remembered and told by diag_print: a finding that is lost must not make a
 * bad file look good. */
#include "diag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file of many thousand wrong lines is not helped by all of them. */
#define DIAG_MAX 1000u

void diag_init(struct diag *d)
{
	*d = (struct diag){ 0 };
	arena_init(&d->arena, 0);
}

void diag_deinit(struct diag *d)
{
	arena_deinit(&d->arena);
}

/* Names from files may hold anything: one line each, and nothing for the terminal to obey. */
static void make_plain(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
			p[i] = '?';
	}
}

int diag_add_file(struct diag *d, const char *path, struct slice text, unsigned *base)
{
	struct diag_file *f = arena_alloc(&d->arena, sizeof(*f));

	if (!f)
		return -ENOMEM;
	*f = (struct diag_file){ .path = arena_strdup(&d->arena, slice_of(path)),
		.base = d->lines };
	if (!f->path)
		return -ENOMEM;
	make_plain(f->path, strlen(f->path));
	if (d->last)
		d->last->next = f;
	else
		d->files = f;
	d->last = f;
	*base = f->base;
	d->lines++; /* the last line needs no end */
	for (size_t i = 0; i < text.n; i++)
		d->lines += text.p[i] == '\n';
	return 0;
}

static const struct diag_file *file_of(const struct diag *d, unsigned line)
{
	const struct diag_file *f = d->files;

	while (f && f->next && f->next->base < line)
		f = f->next;
	return f;
}

const char *diag_where(const struct diag *d, unsigned line, unsigned from, char out[DIAG_WHERE_MAX])
{
	const struct diag_file *f = file_of(d, line);

	if (f == file_of(d, from))
		snprintf(out, DIAG_WHERE_MAX, "line %u", line - f->base);
	else
		snprintf(out, DIAG_WHERE_MAX, "line %u of %.360s", line - f->base, f->path);
	return out;
}

__attribute__((format(printf, 4, 0))) static void add(
	struct diag *d, bool warning, unsigned line, const char *fmt, va_list ap)
{
	struct diag_entry *e;
	struct buf text;

	if (!warning)
		d->errors++;
	if (d->count >= DIAG_MAX)
		return;
	buf_init(&text, 0);
	e = arena_alloc(&d->arena, sizeof(*e));
	if (!e || buf_vprintf(&text, fmt, ap)) {
		d->no_memory = true;
	} else {
		*e = (struct diag_entry){
			.next = d->first, .line = line, .number = d->count++, .warning = warning
		};
		make_plain(text.p, text.len);
		e->text = arena_strdup(&d->arena, buf_slice(&text));
		d->first = e;
		d->no_memory |= !e->text;
	}
	buf_deinit(&text);
}

void diag_error(struct diag *d, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(d, false, line, fmt, ap);
	va_end(ap);
}

void diag_warning(struct diag *d, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(d, true, line, fmt, ap);
	va_end(ap);
}

static int compare(const void *a, const void *b)
{
	const struct diag_entry *x = *(struct diag_entry *const *)a,
				*y = *(struct diag_entry *const *)b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

int diag_print(const struct diag *d, struct buf *out)
{
	const struct diag_entry **sorted;
	unsigned n = 0;
	int r = 0;

	if (d->no_memory)
		return -ENOMEM;
	if (d->count == 0)
		return 0;
	sorted = calloc(d->count, sizeof(const struct diag_entry *));
	if (!sorted)
		return -ENOMEM;
	for (const struct diag_entry *e = d->first; e; e = e->next)
		sorted[n++] = e;
	qsort(sorted, n, sizeof(const struct diag_entry *), compare);
	for (unsigned i = 0; i < n && !r; i++) {
		const struct diag_file *f = file_of(d, sorted[i]->line);

		r = buf_printf(out, "%s:%u: %s%s\n", f->path, sorted[i]->line - f->base,
			sorted[i]->warning ? "warning: " : "", sorted[i]->text);
	}
	free(sorted);
	return r;
}
