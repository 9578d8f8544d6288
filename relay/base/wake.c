/* Points in time: see the header. The dispatcher has a heap of all that it waits for, the scheduler
 * (relay/sched) one of its wait classes. */
#include "postern/wake.h"

#include <stdlib.h>

#include "postern/must.h"

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

bool wake_reserve(struct wake_heap *h, uint32_t n)
{
	uint32_t cap = h->cap ? h->cap : 16;
	struct wake **a;

	while (cap <= n) /* places are counted from 1 */
		cap *= 2;
	if (cap == h->cap)
		return true;
	a = realloc(h->a, cap * sizeof(struct wake *));
	if (!a)
		return false;
	h->a = a;
	h->cap = cap;
	return true;
}

void wake_put(struct wake_heap *h, struct wake *w, ms_t at)
{
	ms_t before = w->at;

	w->at = at;
	if (!w->pos) {
		must(h->n + 1 < h->cap);
		up(h, ++h->n, w);
	} else if (at < before) {
		up(h, w->pos, w);
	} else {
		down(h, w->pos, w);
	}
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

void wake_heap_deinit(struct wake_heap *h)
{
	free(h->a);
	*h = (struct wake_heap){ 0 };
}
