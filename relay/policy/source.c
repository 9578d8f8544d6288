/* May a source be used at all: is there an address, did the operator suspend it, has the provider
 * blocked it, has the message been there? Asked by whatever compares or chooses sources; changes nothing. */
#include "source.h"
#include "policy_impl.h"
#include "times.h"

bool source_tried(const struct policy *p, const struct policy_tried *tried, unsigned source)
{
	if (!tried)
		return false;
	for (unsigned i = 0; i < tried->n; i++) {
		unsigned t = tried->source[i];

		if (t == source || (t < p->params->nsources &&
					   p->sources[t].subnet == p->sources[source].subnet))
			return true;
	}
	return false;
}

static bool in_force(const ms_t *until, unsigned source, ms_t wall, ms_t *ret)
{
	if (!until || until[source] <= wall)
		return false;
	*ret = until[source] == FOR_EVER ? 0 : until[source];
	return true;
}

/* What keeps a source from being used at a provider or cluster, whatever its health and the caps.
 */
enum hold_reason source_obstacle(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall)
{
	const struct provider_state *v = &p->providers[provider];

	*until_wall = 0;
	if (p->sources[source].unavailable_until > now.wall) {
		*until_wall = p->sources[source].unavailable_until;
		return HOLD_NO_SOURCE;
	}
	if (in_force(v->suspended, source, now.wall, until_wall) ||
		(c && in_force(c->suspended, source, now.wall, until_wall)))
		return HOLD_SUSPENDED;
	if (v->blocks[source].until > now.wall && !(c && pinned(p, c, source, now.wall))) {
		*until_wall = v->blocks[source].until;
		return HOLD_BLOCKED;
	}
	return HOLD_NONE;
}

bool pinned(const struct policy *p, const struct cluster *c, unsigned source, ms_t wall)
{
	const ms_t *here = c->pinned, *all = p->providers[c->provider].pinned;

	return (here && here[source] > wall) || (all && all[source] > wall);
}
