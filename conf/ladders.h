/* Built-in warm-up plans. */
#pragma once

#include <stdint.h>

struct ladder {
	const char *name;
	const char *help;      /* for people: whose plan it is, and its shape */
	const uint32_t *daily; /* messages a day, rung by rung */
	unsigned ndaily;
};
#define LADDERS 4
extern const struct ladder ladders[LADDERS]; /* the first one is the default */

/* NULL: there is none of this name. */
const struct ladder *ladder_find(const char *name);
