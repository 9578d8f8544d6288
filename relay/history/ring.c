/* The periods of one level and class that are kept, in order. Called by keep.c, on the owner's
 * thread. */
#include <errno.h>

#include "inner.h"

uint32_t ring_place(const struct ring *r, int64_t period)
{
	uint32_t low = 0, high = r->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (r->a[mid]->period < period)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct segment *ring_find(const struct ring *r, int64_t period)
{
	uint32_t i = ring_place(r, period);

	return i < r->n && r->a[i]->period == period ? r->a[i] : NULL;
}

int ring_put(struct ring *r, struct segment *s)
{
	uint32_t i = ring_place(r, s->period);

	if (i < r->n && r->a[i]->period == s->period) {
		r->bytes -= r->a[i]->n;
		segment_unref(r->a[i]);
	} else {
		if (r->n == r->cap) {
			uint32_t cap = r->cap ? r->cap * 2 : 16;
			struct segment **a = realloc(r->a, cap * sizeof(struct segment *));

			if (!a)
				return -ENOMEM;
			r->a = a;
			r->cap = cap;
		}
		memmove(&r->a[i + 1], &r->a[i], (r->n - i) * sizeof(struct segment *));
		r->n++;
	}
	r->a[i] = s;
	r->bytes += s->n;
	return 0;
}

struct segment *ring_take_first(struct ring *r)
{
	struct segment *s = r->a[0];

	memmove(&r->a[0], &r->a[1], --r->n * sizeof(struct segment *));
	r->bytes -= s->n;
	return s;
}

struct segment *ring_take_last(struct ring *r)
{
	struct segment *s = r->a[--r->n];

	r->bytes -= s->n;
	return s;
}

void ring_free(struct ring *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		segment_unref(r->a[i]);
	free(r->a);
}
