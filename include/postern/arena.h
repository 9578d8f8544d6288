/* Bump allocation for things that live and die together (one envelope, one message). */
#pragma once

#include <stddef.h>

#include "postern/buf.h"

struct arena_block;
struct arena {
	struct arena_block *last;
	char *p, *end;
	size_t total, max; /* bytes handed out; bound, 0 for none */
};

void arena_init(struct arena *a, size_t max);
void arena_deinit(struct arena *a);
/* Zeroed, aligned for any type. NULL when memory is out or max is passed. */
void *arena_alloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, struct slice s); /* NUL-terminated */
