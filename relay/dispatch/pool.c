/* Pools by name, as mail that waits knows them, and their numbers in the policy, which a reload
 * changes. Called by party.c, intake.c and reload.c, on the dispatcher's thread. */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"

/* For each pool an array by source. */
int pools_reserve(struct dispatch *d, unsigned nsources, bool ***ret)
{
	bool **all = calloc(d->fair.npools + 1, sizeof(bool *));

	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < d->fair.npools; i++) {
		all[i] = calloc(nsources ? nsources : 1, sizeof(bool));
		if (!all[i]) {
			pools_unreserve(d, all);
			return -ENOMEM;
		}
	}
	*ret = all;
	return 0;
}

void pools_unreserve(struct dispatch *d, bool **has)
{
	for (unsigned i = 0; has && i < d->fair.npools; i++)
		free(has[i]);
	free(has);
}

static void pool_bind(struct dispatch *d, struct pool *p, bool *has)
{
	free(p->has);
	p->has = has;
	p->index = policy_pool(d->policy, p->name);
	if (p->index >= 0)
		match_sources(d->params, (unsigned)p->index, has);
}

void pools_adopt(struct dispatch *d, bool **has)
{
	for (unsigned i = 0; i < d->fair.npools; i++)
		pool_bind(d, d->fair.pools[i], has[i]);
	free(has);
}

struct pool *pool_get(struct dispatch *d, const char *name)
{
	struct pool **all, *p;
	bool *has;

	for (unsigned i = 0; i < d->fair.npools; i++)
		if (!strcmp(d->fair.pools[i]->name, name))
			return d->fair.pools[i];
	all = realloc(d->fair.pools, (d->fair.npools + 1) * sizeof(struct pool *));
	if (!all)
		return NULL;
	d->fair.pools = all;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->name = slice_dup(slice_of(name));
	if (!p->name) {
		free(p);
		return NULL;
	}
	has = calloc(d->params->nsources ? d->params->nsources : 1, sizeof(*has));
	if (!has) {
		free(p->name);
		free(p);
		return NULL;
	}
	pool_bind(d, p, has);
	all[d->fair.npools++] = p;
	return p;
}
