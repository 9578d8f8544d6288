/* PTR names of hosts whose cluster nothing better tells: asked once the host is up, and learned from
 * when the answer comes; no mail waits for it. On the dispatcher's thread. */
#include "hostname.h"

#include <stdlib.h>

#define ASKED_MAX 64u /* under way; others are asked with a later connection */

struct hostname {
	const struct policy_params
		*params; /* of then: numbers of providers mean something else after
					       a reload */
	unsigned provider;
	struct addr addr;
};

void hostname_want(struct dispatch *d, const struct connection *c)
{
	struct hostname *h;

	if (d->routes.names_asked >= ASKED_MAX ||
		!policy_wants_ptr(d->policy, now_of(d), c->match.slot))
		return;
	h = malloc(sizeof(*h));
	if (!h)
		return;
	*h = (struct hostname){ d->params, c->match.provider, c->host->addr };
	if (resolver_name(d->resolver, &h->addr, h))
		free(h);
	else
		d->routes.names_asked++;
}

/* name NULL: there is none, or none that can be had. */
void hostname_answer(void *dispatch, void *of, const char *name)
{
	struct dispatch *d = dispatch;
	struct hostname *h = of;

	d->routes.names_asked--;
	if (name && h->params == d->params)
		policy_ptr(d->policy, now_of(d), h->provider, &h->addr, slice_of(name));
	free(h);
}
