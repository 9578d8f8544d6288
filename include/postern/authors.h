/* Domains of a From field's value: whose mail it is. Pure. */
#pragma once

#include "postern/buf.h"

#define AUTHOR_DOMAIN_MAX 254
#define AUTHORS_MAX	  8
struct authors {
	unsigned n;
	char domain[AUTHORS_MAX][AUTHOR_DOMAIN_MAX];
};
/* Domain with U-labels to A-labels, NUL-terminated: 0 or -errno. */
typedef int (*authors_to_ascii_fn)(struct slice in, char *out, size_t out_max);
/* Adds the domains; lower case, A-labels, each once. What is no domain name is left out. to_ascii
 * NULL: names that are not ASCII stay as they are. */
void authors_add(struct authors *a, struct slice value, authors_to_ascii_fn to_ascii);
