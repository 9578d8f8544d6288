/* A disk for histories: what was put, by key. */
#pragma once

#include "postern/history.h"

struct store {
	struct entry {
		char key[64];
		char *value;
		size_t n;
	} a[4000];
	unsigned n;
	uint64_t puts, deletes, bytes;
};
void store_put(void *arg, struct slice key, struct slice value);
/* A new history with all of it; how many entries were refused. */
unsigned store_load(struct store *s, struct history *h);
void store_clear(struct store *s);
