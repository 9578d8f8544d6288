/* Rows that grow while the policy tells of its things, one after the other. Called by metrics_*.c: on
 * the dispatcher's thread while it is asked, on HTTP's before and behind it. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One more row of that size, all zeros, behind *n others in *all, which the caller frees. NULL: no
 * memory, and *failed is set. */
static inline void *rows_more(void *all, size_t *n, size_t size, bool *failed)
{
	void **place = all, *more = realloc(*place, (*n + 1) * size);

	if (!more) {
		*failed = true;
		return NULL;
	}
	*place = more;
	return memset((char *)more + (*n)++ * size, 0, size);
}
