/* What sets a refusal apart from what was accepted at the same cluster in the same time. Called by
 * cause.c for each refusal, on the dispatcher's thread; changes nothing.
 *
 * A refusal has several dimensions: the tenant it was for, the host that spoke, the subnet and the
 * source it came from. Each has counts of what was accepted and refused lately. The dimension whose
 * value differs most from all else at the cluster explains the refusal best: a log likelihood ratio
 * of "this value is refused at its own share" against "it is refused like all else". Words say only
 * what is asked first. */

#include <math.h>

#include "contrast.h"
#include "evidence.h"
#include "health.h"
#include "policy_impl.h"
#include "source.h"

#define OTHERS_TESTED 2u
#define OTHERS_ILL    0.3

static double share(double bad, double n)
{
	return (bad + 0.5) / (n + 1);
}

double contrast(const struct tally *v, const struct tally *all)
{
	double good = all->good > v->good ? all->good - v->good : 0;
	double bad = all->bad > v->bad ? all->bad - v->bad : 0;
	double here = share(v->bad, v->bad + v->good), rest = share(bad, bad + good);

	if (here <= rest)
		return 0;
	return v->bad * log(here / rest) + v->good * log((1 - here) / (1 - rest));
}

struct tally tally_of(const struct evidence *e, ms_t mono)
{
	struct tally t;

	evidence_decayed(e, mono, &t.good, &t.bad);
	return t;
}

static bool usable(
	const struct policy *p, struct policy_now now, const struct cluster *c, unsigned source)
{
	const struct path *h = c->paths[p->sources[source].subnet];
	ms_t until;

	if (h && sick(&h->health))
		return false;
	return source_obstacle(p, now, source, c, c->provider, &until) == HOLD_NONE;
}

static unsigned guessed_since(const struct path *h, ms_t onset)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GUESSED_KEPT; i++)
		n += h->guessed_good[i] > 0 && h->guessed_good[i] >= onset;
	return n;
}

void look_at_others(struct policy *p, struct policy_now now, const struct slot *s, ms_t onset,
	double worse_than, struct others *ret)
{
	const struct pool_params *pool = &p->params->pools[s->pool];
	uint8_t family = p->params->sources[s->source].address.family;

	*ret = (struct others){ 0 };
	for (unsigned i = 0; i < pool->nmembers; i++) {
		unsigned source = pool->members[i].source, subnet = p->sources[source].subnet, good,
			 bad;
		const struct path *h = s->cluster->paths[subnet];

		if (subnet == p->sources[s->source].subnet ||
			p->params->sources[source].address.family != family)
			continue;
		if (h && sick(&h->health)) {
			ret->resting++;
			continue;
		}
		if (!usable(p, now, s->cluster, source))
			continue;
		ret->count++;
		if (!h)
			continue;
		evidence_since(&h->evidence, onset, &good, &bad);
		ret->asked += h->uses.outstanding > 0;
		ret->taken += bad ? 0 : good + guessed_since(h, onset);
		if (good + bad < OTHERS_TESTED)
			continue;
		ret->tested++;
		if (wilson_high(bad, good + bad) < worse_than)
			ret->well++;
		else if (!good || wilson_low(bad, good + bad) > OTHERS_ILL)
			ret->ill++;
	}
}

/* ---- a tenant and one subnet ---- */

static struct pair *pair_find(struct pair *pairs, unsigned subnet)
{
	for (unsigned i = 0; i < PAIRS; i++)
		if (pairs[i].bad && pairs[i].subnet == subnet)
			return &pairs[i];
	return NULL;
}

bool pair_good(struct pair *pairs, unsigned subnet)
{
	struct pair *k = pair_find(pairs, subnet);

	if (!k)
		return false;
	*k = (struct pair){ 0 };
	return true;
}

struct pair *pair_bad(struct pair *pairs, unsigned subnet, uint64_t recipient, ms_t mono)
{
	struct pair *k = pair_find(pairs, subnet);

	for (unsigned i = 0; i < PAIRS && !k; i++)
		if (!pairs[i].bad)
			k = &pairs[i];
	if (!k)
		return NULL; /* refused from more subnets than that: it is no pair */
	k->subnet = (uint16_t)subnet;
	if (k->bad && recipient && k->recipient == recipient)
		return k;
	k->recipient = recipient;
	k->before = k->last;
	k->last = mono;
	if (k->bad < UINT8_MAX)
		k->bad++;
	return k;
}
