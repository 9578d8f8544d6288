/* Postfix's files as texts: logical lines, parameters of main.cf with their variables put in (postconf(5)),
 * services of master.cf (master(5)), tables (postmap(1)). Called by postfix.c. Knows no parameter. */
#include <string.h>

#include "postfix.h"

#define DEPTH_MAX  8u
#define VALUE_MAX  (64u << 10)
#define PARAMS_MAX 4000u

/* A line with those that continue it (they begin with a blank), without comments and empty lines. */
bool cf_line(struct slice *left, unsigned *number, struct buf *line, unsigned *first)
{
	*first = 0;
	buf_reset(line);
	while (left->n) {
		const char *lf = memchr(left->p, '\n', left->n);
		struct slice one = { left->p, lf ? (size_t)(lf - left->p) : left->n };
		struct slice text = slice_trim(one);
		bool goes_on = one.n && (one.p[0] == ' ' || one.p[0] == '\t');

		while (text.n && text.p[text.n - 1] == '\r')
			text.n--;
		if (text.n && text.p[0] != '#') {
			if (buf_size(line) && !goes_on)
				return true;
			if (!buf_size(line))
				*first = *number;
			if (buf_add_slice(line, text) || buf_add_str(line, " "))
				return false;
		}
		*left = slice_from(*left, one.n + 1);
		++*number;
	}
	return buf_size(line) > 0;
}

static struct cf_param *find(struct cf *cf, struct slice name)
{
	for (struct cf_param *p = cf->first; p; p = p->next)
		if (slice_eq(slice_of(p->name), name))
			return p;
	return NULL;
}

const struct cf_param *cf_find(struct cf *cf, const char *name)
{
	return find(cf, slice_of(name));
}

/* "name = value"; the last one of a name is in force. */
void cf_set(struct cf *cf, struct slice line, const struct origin *at)
{
	const char *eq = line.n ? memchr(line.p, '=', line.n) : NULL;
	struct slice name, value;
	struct cf_param *p;

	if (!eq) {
		import_note(cf->im, at, "not understood: %.*s", (int)line.n, line.p);
		return;
	}
	name = slice_trim((struct slice){ line.p, (size_t)(eq - line.p) });
	value = slice_trim(slice_from(line, (size_t)(eq - line.p) + 1));
	p = find(cf, name);
	if (!p && cf->n++ < PARAMS_MAX) {
		p = arena_alloc(&cf->im->memory, sizeof(*p));
		if (!p)
			return;
		p->name = import_dup(cf->im, name);
		if (!p->name)
			return;
		if (cf->last)
			cf->last->next = p;
		else
			cf->first = p;
		cf->last = p;
	}
	if (!p)
		return;
	p->raw = import_dup(cf->im, value);
	p->at = (struct origin){ at->file, at->line, p->name };
}

void cf_read(struct cf *cf, const char *file, struct slice text)
{
	struct origin at = { .file = file };
	unsigned number = 1;
	struct buf line;

	buf_init(&line, VALUE_MAX);
	while (cf_line(&text, &number, &line, &at.line))
		cf_set(cf, slice_trim(buf_slice(&line)), &at);
	buf_deinit(&line);
}

static void expand(struct cf *cf, const char *text, struct buf *out, unsigned depth);

/* ${name?text} and ${name:text}: text if it is set, or if it is not. */
static void expand_name(struct cf *cf, struct slice s, struct buf *out, unsigned depth)
{
	size_t n = 0;
	struct cf_param *p;
	char *other;

	while (n < s.n && s.p[n] != '?' && s.p[n] != ':')
		n++;
	p = find(cf, (struct slice){ s.p, n });
	if (n == s.n) {
		if (p && p->raw)
			expand(cf, p->raw, out, depth + 1);
		return;
	}
	if ((p && p->raw && *p->raw) != (s.p[n] == '?'))
		return;
	other = import_dup(cf->im, slice_from(s, n + 1));
	if (other)
		expand(cf, other, out, depth + 1);
}

static size_t name_length(const char *p)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	return strspn(p, good);
}

static void expand(struct cf *cf, const char *text, struct buf *out, unsigned depth)
{
	const char *p = text;

	if (depth > DEPTH_MAX)
		return;
	while (*p) {
		const char *dollar = strchrnul(p, '$'), *close;
		size_t n;

		if (buf_add(out, p, (size_t)(dollar - p)) || !*dollar)
			return;
		p = dollar + 1;
		if (*p == '{' || *p == '(') {
			close = strchr(p, *p == '{' ? '}' : ')');
			if (!close)
				return;
			expand_name(
				cf, (struct slice){ p + 1, (size_t)(close - p - 1) }, out, depth);
			p = close + 1;
			continue;
		}
		n = name_length(p);
		expand_name(cf, (struct slice){ p, n }, out, depth);
		p += n ? n : *p == '$';
	}
}

const char *cf_expand(struct cf *cf, const char *text)
{
	struct buf b;
	char *ret;

	buf_init(&b, VALUE_MAX);
	expand(cf, text ? text : "", &b, 0);
	ret = import_dup(cf->im, slice_trim(buf_slice(&b)));
	buf_deinit(&b);
	return ret ? ret : "";
}

const char *cf_value(struct cf *cf, const char *name)
{
	const struct cf_param *p = cf_find(cf, name);

	return p ? cf_expand(cf, p->raw) : NULL;
}

/* "8 columns, then the command with -o name=value". False: not a service. */
bool cf_service(struct import *im, struct slice line, struct cf_service *ret)
{
	struct slice word;

	*ret = (struct cf_service){ 0 };
	ret->name = import_dup(im, import_word(&line, false));
	ret->type = import_dup(im, import_word(&line, false));
	for (unsigned i = 0; i < 5; i++)
		import_word(&line, false); /* private, unprivileged, chroot, wake-up, processes */
	ret->command = import_dup(im, import_word(&line, false));
	if (!ret->name || !ret->type || !ret->command || !*ret->command)
		return false;
	while ((word = import_word(&line, false)).n) {
		struct slice option = slice_eq(word, SLICE_LIT("-o")) ? import_word(&line, false)
				      : word.n > 2 && !memcmp(word.p, "-o", 2)
					      ? slice_from(word, 2)
					      : (struct slice){ 0 };
		const char *eq = option.n ? memchr(option.p, '=', option.n) : NULL;

		if (!eq || ret->n == CF_OVERRIDES_MAX)
			continue;
		ret->names[ret->n] =
			import_dup(im, (struct slice){ option.p, (size_t)(eq - option.p) });
		ret->values[ret->n] =
			import_dup(im, slice_from(option, (size_t)(eq - option.p) + 1));
		if (!ret->names[ret->n] || !ret->values[ret->n])
			return false;
		ret->n++;
	}
	return true;
}

const char *cf_service_value(struct cf *cf, const struct cf_service *s, const char *name)
{
	for (unsigned i = 0; s && i < s->n; i++)
		if (!strcmp(s->names[i], name))
			return cf_expand(cf, s->values[i]);
	return cf_value(cf, name);
}

/* "type:path" of a table whose source is a text, or "inline:{…}". */
void cf_table(struct cf *cf, const char *table, const struct origin *from,
	void (*each)(void *arg, struct slice key, struct slice value, const struct origin *at),
	void *arg)
{
	static const char *const texts[] = {
		"hash:", "btree:", "lmdb:", "texthash:", "cdb:", "dbm:"
	};
	struct origin at = { .name = from->name };
	struct slice text, key, left;
	unsigned number = 1;
	struct buf line;
	const char *path = NULL;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (!strncmp(table, texts[i], strlen(texts[i])))
			path = table + strlen(texts[i]);
	if (!path) {
		import_note(cf->im, from, "%s: only tables whose source is a text are read", table);
		return;
	}
	at.file = path;
	text = import_file(cf->im, path, from);
	buf_init(&line, VALUE_MAX);
	while (text.p && cf_line(&text, &number, &line, &at.line)) {
		left = buf_slice(&line);
		key = import_word(&left, false);
		each(arg, key, slice_trim(left), &at);
	}
	buf_deinit(&line);
}
