/* Names in the parameters: which source or provider is meant, and how a subnet or geography is called.
 * Look-ups of a few names; nothing is kept. */
#include <errno.h>

#include "params.h"
#include "policy_impl.h"

int source_by_name(const struct policy_params *params, const char *name)
{
	for (unsigned i = 0; i < params->nsources; i++)
		if (!strcmp(params->sources[i].name, name))
			return (int)i;
	return -ENOENT;
}

int provider_by_name(const struct policy_params *params, const char *name)
{
	for (unsigned i = 0; i < params->nproviders; i++)
		if (!strcmp(params->providers[i].name, name))
			return (int)i;
	return -ENOENT;
}

unsigned policy_provider(const struct policy *p, struct slice mx_host)
{
	unsigned last = p->params->nproviders - 1;

	if (mx_host.n && mx_host.p[mx_host.n - 1] == '.')
		mx_host.n--;
	for (unsigned i = 0; i < last; i++) {
		const struct provider_params *v = &p->params->providers[i];

		for (unsigned k = 0; k < v->nmx; k++)
			if (glob_match(slice_of(v->mx[k]), mx_host))
				return i;
	}
	return last;
}

int policy_pool(const struct policy *p, const char *name)
{
	for (unsigned i = 0; i < p->params->npools; i++)
		if (!strcmp(p->params->pools[i].name, name))
			return (int)i;
	return -ENOENT;
}

const struct class_params *policy_class(const struct policy_params *p, const char *name)
{
	for (unsigned i = 0; name && i < p->nclasses; i++)
		if (!strcmp(p->classes[i].name, name))
			return &p->classes[i];
	return NULL;
}

void path_subnet_text(const struct policy *p, unsigned subnet, char out[ADDR_TEXT_MAX + 4])
{
	out[0] = '\0';
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (p->sources[i].subnet == subnet) {
			net_format(out, &p->params->sources[i].subnet);
			return;
		}
}

const char *geography_name(const struct policy *p, const struct cluster *c)
{
	return p->providers[c->provider].geographies[c->geography].name;
}
