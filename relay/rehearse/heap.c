/* Events in virtual time, the next one first; those of one moment in the order in which they were
 * posted, so that a seed gives the same run. Called by rehearse.c, link.c, settle.c and
 * traffic.c. */
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
