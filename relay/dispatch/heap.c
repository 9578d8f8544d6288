/* Points in time at which something is looked at again: a binary heap of embedded nodes. */
#include <stdlib.h>
#include <time.h>

#include "dispatcher.h"

static void put(struct wake_heap *h, uint32_t pos, struct wake *w)
{
	h->a[pos] = w;
	w->pos = pos;
}

static void up(struct wake_heap *h, uint32_t pos, struct wake *w)
{
	for (; pos > 1 && h->a[pos / 2]->at > w->at; pos /= 2)
		put(h, pos, h->a[pos / 2]);
	put(h, pos, w);
}

static void down(struct wake_heap *h, uint32_t pos, struct wake *w)
{
	for (;;) {
		uint32_t child = pos * 2;

		if (child > h->n)
			break;
		if (child < h->n && h->a[child + 1]->at < h->a[child]->at)
			child++;
		if (h->a[child]->at >= w->at)
			break;
		put(h, pos, h->a[child]);
		pos = child;
	}
	put(h, pos, w);
}

int wake_set(struct wake_heap *h, struct wake *w, ms_t at)
{
	ms_t before = w->at;

	if (w->pos) {
		w->at = at;
		if (at < before)
			up(h, w->pos, w);
		else
			down(h, w->pos, w);
		return 0;
	}
	if (h->n + 1 >= h->cap) {
		uint32_t cap = h->cap ? h->cap * 2 : 256;
		struct wake **a;

		/* who is not woken would wait for ever: rather wait for memory */
		while (!(a = realloc(h->a, cap * sizeof(struct wake *))))
			nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000000 }, NULL);
		h->a = a;
		h->cap = cap;
	}
	w->at = at;
	up(h, ++h->n, w);
	return 0;
}

void wake_clear(struct wake_heap *h, struct wake *w)
{
	uint32_t pos = w->pos;
	struct wake *last;

	if (!pos)
		return;
	w->pos = 0;
	last = h->a[h->n--];
	if (last == w)
		return;
	if (pos > 1 && h->a[pos / 2]->at > last->at)
		up(h, pos, last);
	else
		down(h, pos, last);
}

struct wake *wake_first(const struct wake_heap *h)
{
	return h->n ? h->a[1] : NULL;
}
