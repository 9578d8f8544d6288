/* Pools by name, as mail that waits knows them, and their numbers in the policy, which a reload
 * changes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher.h"
#include "postern/must.h"

struct pool *pool_get(struct dispatch *d, const char *name)
{
	struct pool **all, *p;

	for (unsigned i = 0; i < d->npools; i++)
		if (!strcmp(d->pools[i]->name, name))
			return d->pools[i];
	all = realloc(d->pools, (d->npools + 1) * sizeof(struct pool *));
	if (!all)
		return NULL;
	d->pools = all;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->name = slice_dup(slice_of(name));
	if (!p->name) {
		free(p);
		return NULL;
	}
	all[d->npools++] = p;
	if (pools_bind(d)) {
		free(p->name);
		free(p);
		d->npools--;
		return NULL;
	}
	return p;
}

static void add_members(struct dispatch *d, bool *has, unsigned pool)
{
	const struct pool_params *v = &d->params->pools[pool];

	for (unsigned k = 0; k < v->nmembers; k++)
		has[v->members[k].source] = true;
}

/* Mail over the allowance of its own sources may go from another pool's. */
static void add_overflow(struct dispatch *d, bool *has, unsigned pool)
{
	const struct pool_params *v = &d->params->pools[pool];

	for (unsigned i = 0; i < d->params->nwarmups; i++) {
		const struct warmup_params *w = &d->params->warmups[i];
		bool ours = false;

		for (unsigned k = 0; k < v->nmembers; k++)
			for (unsigned j = 0; j < w->nsources; j++)
				ours |= v->members[k].source == w->sources[j];
		if (ours && w->overflow == OVERFLOW_NAMED)
			add_members(d, has, w->overflow_pool);
	}
}

int pools_bind(struct dispatch *d)
{
	for (unsigned i = 0; i < d->npools; i++) {
		struct pool *p = d->pools[i];
		unsigned n = d->params->nsources;
		bool *has = calloc(n ? n : 1, sizeof(*has));

		if (!has)
			return -ENOMEM;
		free(p->has);
		p->has = has;
		p->index = policy_pool(d->policy, p->name);
		if (p->index < 0)
			continue;
		add_members(d, has, (unsigned)p->index);
		add_overflow(d, has, (unsigned)p->index);
	}
	return 0;
}
