/* Points in time at which something is looked at again: a binary heap of embedded nodes. Pure; one
 * thread. A node is in one heap at most, and must be cleared before its memory goes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/clock.h"

struct wake {
	ms_t at;      /* mono */
	uint32_t pos; /* in the heap, from 1; 0: not set */
	uint8_t kind; /* the owner's */
};
struct wake_heap {
	struct wake **a;
	uint32_t n, cap;
};
/* Room for n nodes in all. False: no memory. */
bool wake_reserve(struct wake_heap *h, uint32_t n);
/* Sets or moves it. There must be room. */
void wake_put(struct wake_heap *h, struct wake *w, ms_t at);
void wake_clear(struct wake_heap *h, struct wake *w); /* set or not */
struct wake *wake_first(const struct wake_heap *h);   /* NULL when empty */
void wake_heap_deinit(struct wake_heap *h);	      /* nodes stay their owners' */
