/* Receivers count by source or by subnet. Called for each message by admit.c, candidate.c, txn.c and
 * cause.c.
 *
 * Of sources of one subnet that send at the same time all are refused alike where the subnet is
 * counted, each a part of the time, so that none of them finds a rate that holds: then it is the sum
 * that is learned. One that is refused clearly more than its siblings has a limit of its own. Where
 * each has its own and all are alike, the sum is as good. */
#include "paces.h"
#include "contrast.h"
#include "explain.h"
#include "policy_impl.h"

#define MORE	 1.5
#define LATELY	 6u /* outcomes */
#define TOGETHER 10 /* accepted in the last minute */

bool paces_ready(struct lane *l, ms_t mono, ms_t *until)
{
	ms_t own = 0, all = 0;
	bool ready = pace_ready(&l->pace, mono, l->uses.outstanding, &own);

	ready &= pace_ready(&l->path->pace, mono, l->path->uses.outstanding, &all);
	if (!ready)
		*until = own > all ? own : all;
	return ready;
}

void paces_take(struct lane *l, ms_t mono, uint32_t n)
{
	pace_take(&l->pace, mono, n);
	pace_take(&l->path->pace, mono, n);
}

void paces_give_back(struct lane *l, uint32_t n)
{
	pace_give_back(&l->pace, n);
	pace_give_back(&l->path->pace, n);
}

void paces_accepted(struct lane *l, ms_t mono, uint32_t n)
{
	pace_accepted(&l->pace, mono, n);
	pace_accepted(&l->path->pace, mono, n);
}

/* Does another source of its subnet send as well? */
static bool has_sibling(const struct policy *p, ms_t mono, const struct lane *l)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *k = l->cluster->lanes[i];

		if (k && k != l && k->path == l->path && pace_minute(&k->pace, mono) >= 1)
			return true;
	}
	return false;
}

/* It took clearly more than each of its siblings, and none of these was refused lately. */
static bool alone(const struct policy *p, ms_t mono, struct lane *l)
{
	double most = 0;

	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *k = l->cluster->lanes[i];
		double minute;

		if (!k || k == l || k->path != l->path)
			continue;
		if (evidence_last(&k->evidence, LATELY))
			return false;
		minute = pace_minute(&k->pace, mono);
		most = minute > most ? minute : most;
	}
	return pace_minute(&l->pace, mono) > MORE * most;
}

/* Are they refused as often? What was learned of the subnet holds for whoever sends alone now. */
static bool shared(const struct policy *p, ms_t mono, struct lane *l)
{
	struct tally lane, path;

	if (!has_sibling(p, mono, l))
		return l->path->pace.rate > 0;
	if (alone(p, mono, l))
		return false;
	lane = tally_of(&l->evidence, mono);
	path = tally_of(&l->path->evidence, mono);
	return contrast(&lane, &path) < EXPLAINS;
}

enum pace_finding paces_refused(
	struct policy *p, struct policy_now now, struct lane *l, ms_t sent, const struct pace **of)
{
	bool known = l->pace.rate > 0;
	enum pace_finding r;

	/* what a few of each got in is no measure of what they share */
	if (!known && shared(p, now.mono, l) && pace_minute(&l->path->pace, now.mono) >= TOGETHER) {
		*of = &l->path->pace;
		return pace_refused(&l->path->pace, now, sent);
	}
	*of = &l->pace;
	r = pace_refused(&l->pace, now, sent);
	if (!known && l->pace.rate > 0) /* what had been put down to the subnet is the source's */
		pace_retract(&l->path->pace, 0);
	return r;
}

void paces_suspect(struct policy *p, struct policy_now now, struct path *h)
{
	bool several = false;

	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = h->cluster->lanes[i];

		if (!l || l->path != h)
			continue;
		if (has_sibling(p, now.mono, l)) {
			several = true;
			pace_excuse(&l->pace);
		} else {
			pace_suspect(&l->pace, now);
		}
	}
	if (several)
		pace_suspect(&h->pace, now);
}

const struct pace *paces_of(const struct lane *l)
{
	return l->pace.rate > 0 || l->path->pace.rate <= 0 ? &l->pace : &l->path->pace;
}
