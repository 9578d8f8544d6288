/* One entry of what outlives a restart: how its key and value are written, and keys of entries that
 * are no more. Called by save.c, and by the modules that save or forget what they keep. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "persist.h"
#include "policy_impl.h"

int save_key(char *out, size_t max, const char *kind, const char *a, const char *b, const char *c)
{
	int n = snprintf(out, max, "policy/%s/%s|%s|%s", kind, a, b, c);

	return n > 0 && (size_t)n < max ? 0 : -ENAMETOOLONG;
}

void save_put(const struct saver *s, const struct save_record *e)
{
	char key[KEY_MAX], value[200];
	int v = snprintf(value, sizeof(value),
		"2 %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %.60s", e->n[0], e->n[1],
		e->n[2], e->n[3], e->name ? e->name : "");

	if (save_key(key, sizeof(key), e->kind, e->a, e->b, e->c))
		return;
	s->put(s->arg, slice_of(key),
		(struct slice){ e->gone ? NULL : value, e->gone ? 0 : (size_t)v });
}

void save_numbers(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, const int64_t n[4])
{
	save_put(s, &(struct save_record){ kind, a, b, c, .n = { n[0], n[1], n[2], n[3] } });
}

void save_entry(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, bool gone, const int64_t n[4])
{
	struct save_record e = { kind, a, b, c, .gone = gone, .n = { n[0], n[1], n[2], n[3] } };

	save_put(s, &e);
}

unsigned saved_numbers(const char *text, int64_t *n, unsigned max)
{
	unsigned k = 0;

	while (k < max) {
		char *end;

		errno = 0;
		n[k] = strtoll(text, &end, 10);
		if (end == text || errno || n[k] > NUMBER_MAX || n[k] < -NUMBER_MAX)
			break;
		text = end;
		k++;
	}
	return k;
}

/* That there was a process: lanes may have been used that are not saved yet. */
void save_mark(const struct saver *s)
{
	save_put(s, &(struct save_record){ "began", "", "", "" });
}

void forget_key(struct policy *p, const char *key)
{
	if (p->gone.n == p->gone.cap) {
		size_t cap = p->gone.cap ? p->gone.cap * 2 : 64;
		char **all = realloc(p->gone.keys, cap * sizeof(char *));

		if (!all)
			return; /* stays saved, and is forgotten again after the next start */
		p->gone.keys = all;
		p->gone.cap = cap;
	}
	p->gone.keys[p->gone.n] = slice_dup(slice_of(key));
	if (p->gone.keys[p->gone.n])
		p->gone.n++;
}
