/* Who is who in a configuration: an option of a section, a source, a pool, by name. Called while it
 * is loaded, by whichever part needs it, on the loading thread; calls none of them. */
#include <string.h>

#include "source.h"

const struct option *option_find(const struct section *s, struct slice name)
{
	for (unsigned i = 0; i < s->noptions; i++) {
		if (slice_eq(slice_of(s->options[i].name), name))
			return &s->options[i];
	}
	return NULL;
}

int config_find_source(const struct config *c, struct slice name)
{
	for (unsigned i = 0; i < c->policy.nsources; i++) {
		if (slice_eq(slice_of(c->policy.sources[i].name), name))
			return (int)i;
	}
	return -1;
}

bool config_has_pool(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->policy.npools; i++) {
		if (strcmp(c->policy.pools[i].name, name) == 0)
			return true;
	}
	return false;
}
