/* The disk of the history tests; see store.h. On the one thread of a test. */
#include "store.h"

#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"

static struct entry *find(struct store *s, struct slice key)
{
	for (unsigned i = 0; i < s->n; i++)
		if (slice_eq(slice_of(s->a[i].key), key))
			return &s->a[i];
	return NULL;
}

void store_put(void *arg, struct slice key, struct slice value)
{
	struct store *s = arg;
	struct entry *e = find(s, key);

	must(key.n < sizeof(e->key));
	if (e) {
		s->bytes -= e->n;
		free(e->value);
	}
	if (!value.p) {
		s->deletes++;
		if (e)
			*e = s->a[--s->n];
		return;
	}
	s->puts++;
	if (!e) {
		must(s->n < sizeof(s->a) / sizeof(*s->a));
		e = &s->a[s->n++];
		memset(e->key, 0, sizeof(e->key));
		memcpy(e->key, key.p, key.n);
	}
	e->value = malloc(value.n ? value.n : 1);
	must(e->value != NULL);
	memcpy(e->value, value.p, value.n);
	e->n = value.n;
	s->bytes += e->n;
}

unsigned store_load(struct store *s, struct history *h)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < s->n; i++) {
		int r = history_load(
			h, slice_of(s->a[i].key), (struct slice){ s->a[i].value, s->a[i].n });

		must(r == 0 || r == -EINVAL);
		refused += r != 0;
	}
	return refused;
}

void store_clear(struct store *s)
{
	for (unsigned i = 0; i < s->n; i++)
		free(s->a[i].value);
	memset(s, 0, sizeof(*s));
}
