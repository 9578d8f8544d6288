/* Points in time, and turns. */
#include <stdlib.h>

#include "state.h"

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

bool heap_post(struct heap *h, ms_t at, enum event_kind kind, uint32_t index, uint32_t generation)
{
	struct event e = { at, ++h->order, index, generation, (uint8_t)kind };
	size_t i;

	if (h->n == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 1024;
		struct event *a = realloc(h->a, cap * sizeof(*a));

		if (!a)
			return false;
		h->a = a;
		h->cap = cap;
	}
	for (i = h->n++; i && before(&e, &h->a[(i - 1) / 2]); i = (i - 1) / 2)
		h->a[i] = h->a[(i - 1) / 2];
	h->a[i] = e;
	return true;
}

struct event heap_take(struct heap *h)
{
	struct event top = h->a[0], last = h->a[--h->n];
	size_t i = 0, k;

	for (k = 1; k < h->n; k = 2 * i + 1) {
		if (k + 1 < h->n && before(&h->a[k + 1], &h->a[k]))
			k++;
		if (!before(&h->a[k], &last))
			break;
		h->a[i] = h->a[k];
		i = k;
	}
	h->a[i] = last;
	return top;
}

bool ring_push(struct ring *r, uint32_t v)
{
	if (r->n == r->cap) {
		uint32_t cap = r->cap ? r->cap * 2 : 16;
		uint32_t *a = malloc(cap * sizeof(*a));

		if (!a)
			return false;
		for (uint32_t i = 0; i < r->n; i++)
			a[i] = r->a[(r->head + i) % r->cap];
		free(r->a);
		*r = (struct ring){ a, 0, r->n, cap };
	}
	r->a[(r->head + r->n++) % r->cap] = v;
	return true;
}

bool ring_pop(struct ring *r, uint32_t *v)
{
	if (!r->n)
		return false;
	*v = r->a[r->head];
	r->head = (r->head + 1) % r->cap;
	r->n--;
	return true;
}
