/* Bump allocation; see arena.h. Blocks double in size up to a bound; all of them go together. One
 * owner at a time. */
#include "postern/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define ARENA_FIRST	1024u
#define ARENA_BLOCK_MAX (256u * 1024u)

struct arena_block {
	struct arena_block *prev;
	size_t size;
	alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
	*a = (struct arena){ .max = max };
}

void arena_deinit(struct arena *a)
{
	struct arena_block *b = a->last;

	while (b) {
		struct arena_block *prev = b->prev;

		free(b);
		b = prev;
	}
	arena_init(a, a->max);
}

static int arena_grow(struct arena *a, size_t n)
{
	size_t size = a->last ? a->last->size * 2 : ARENA_FIRST - sizeof(struct arena_block);
	struct arena_block *b;

	if (size > ARENA_BLOCK_MAX)
		size = ARENA_BLOCK_MAX;
	if (size < n)
		size = n;
	if (size > SIZE_MAX - sizeof(*b))
		return -ENOMEM;
	b = calloc(1, sizeof(*b) + size);
	if (!b)
		return -ENOMEM;
	/* the sequence of sizes goes on from here, but not from a single oversized block */
	b->size = size < ARENA_BLOCK_MAX ? size : ARENA_BLOCK_MAX;
	b->prev = a->last;
	a->last = b;
	a->p = b->data;
	a->end = b->data + size;
	return 0;
}

static void *arena_take(struct arena *a, size_t n, size_t align)
{
	size_t skip = (size_t)(-(uintptr_t)a->p & (align - 1));
	char *p;

	if (a->max && (n > a->max || a->total > a->max - n))
		return NULL;
	if (!a->p || (size_t)(a->end - a->p) < skip || (size_t)(a->end - a->p) - skip < n) {
		if (arena_grow(a, n))
			return NULL;
		skip = 0;
	}
	p = a->p + skip;
	a->p = p + n;
	a->total += n;
	return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
	return arena_take(a, n, alignof(max_align_t));
}

char *arena_strdup(struct arena *a, struct slice s)
{
	char *copy = s.n < SIZE_MAX ? arena_take(a, s.n + 1, 1) : NULL;

	if (copy && s.n > 0)
		memcpy(copy, s.p, s.n);
	return copy;
}
