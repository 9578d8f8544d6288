/* The health of a lane, a path, a cluster or a tenant: healthy → resting (no traffic) → probing
 * (one transaction at a time) → healthy, with a slow start. */
#include "health.h"
#include "policy_impl.h"

#define RELAPSE 600000 /* ms after coming back in which the next rest is longer than the last */
#define PROBES	2u     /* that must succeed */

/* A rest is a share of how long the trouble lasts already: what was short is back soon, and a long
 * incident is asked after seldom. While a cluster rests nobody else can carry its mail, so it is
 * asked after more often than a subnet that has others beside it. */
const struct health_kind health_lane = { CAUSE_SOURCE, 60000, 600000, 0.5, 1.5 };
const struct health_kind health_path = { CAUSE_SUBNET, 60000, 600000, 0.5, 1.5 };
const struct health_kind health_cluster = { CAUSE_CLUSTER, 5000, 300000, 0.05, 1 };
const struct health_kind health_tenant = { CAUSE_DOMAIN, 30000, 1800000, 0.5, 1.5 };
/* 4 to 12 hours are what senders found to work after a rate limit */
const struct health_kind health_ramp = { CAUSE_SOURCE, 4 * 3600000, 12 * 3600000, 0, 1.5 };
/* others carry the mail: few messages of a small allowance are worth a probe */
const struct health_kind health_share = { CAUSE_SOURCE, 15 * 60000, 4 * 3600000, 0, 2 };

const char *cause_name(enum cause c)
{
	static const char *const names[] = { "", "message", "domain", "source", "subnet", "cluster",
		"provider", "operator" };

	return names[c];
}

const char *policy_state_name(enum policy_state s)
{
	static const char *const names[] = {
#define X(id, name) name,
		POLICY_STATES(X)
#undef X
	};

	return names[s];
}

enum policy_state health_shown(const struct health *h, ms_t wall)
{
	if (h->state == HEALTHY)
		return POLICY_HEALTHY;
	return h->state == RESTING && h->until > wall ? POLICY_RESTING : POLICY_PROBING;
}

enum hold_reason health_gate(const struct health *h, ms_t wall, bool busy, ms_t *until)
{
	if (h->state == HEALTHY)
		return HOLD_NONE;
	if (h->state == RESTING && h->until > wall) {
		*until = h->until;
		return HOLD_RESTING;
	}
	if (!busy)
		return HOLD_NONE;
	*until = 0;
	return HOLD_RESTING;
}

void health_probe(struct health *h, struct policy_now now)
{
	if (h->state != RESTING || h->until > now.wall)
		return; /* kept in service by the operator */
	h->state = PROBING;
	h->probes_good = 0;
	h->since = now.wall;
	h->dirty = true;
}

void health_rest(struct policy *p, struct health *h, const struct health_kind *k,
	struct policy_now now, ms_t cooldown)
{
	bool relapse = h->state == HEALTHY && h->recovered && now.wall - h->recovered < RELAPSE;
	bool again = h->state != HEALTHY || relapse;
	ms_t length = k->first;

	if (!again)
		h->onset = now.wall;
	else if (!h->onset || h->onset > now.wall) /* an earlier process saw it begin */
		h->onset = now.wall - (k->share > 0 ? (ms_t)((double)h->length / k->share) : 0);
	if (again && h->length && (relapse || k->share <= 0))
		length = (ms_t)((double)h->length * k->relapse);
	if (length < (ms_t)((double)(now.wall - h->onset) * k->share))
		length = (ms_t)((double)(now.wall - h->onset) * k->share);
	if (length > k->longest)
		length = k->longest;
	if (length < cooldown)
		length = cooldown;
	h->length = length;
	if (h->state == HEALTHY)
		h->since = now.wall;
	h->state = RESTING;
	h->probes_good = 0;
	/* rests that begin together must not end together */
	h->until = now.wall + length + (ms_t)(rng_unit(&p->rng) * (double)length / 10);
	h->dirty = true;
	p->urgent = true;
}

void health_well(struct health *h, struct policy_now now)
{
	h->state = HEALTHY;
	h->probes_good = 0;
	h->since = h->recovered = now.wall;
	h->until = 0;
	h->dirty = true;
}

bool health_probed(struct policy *p, struct health *h, const struct health_kind *k, bool good,
	struct policy_now now)
{
	if (h->state == HEALTHY)
		return false;
	if (!good) {
		/* what was under way when its rest began says nothing new */
		if (h->state == PROBING)
			health_rest(p, h, k, now, 0);
		return false;
	}
	if (h->state == RESTING && h->until > now.wall)
		return false;
	h->state = PROBING;
	if (++h->probes_good < PROBES)
		return false;
	health_well(h, now);
	p->urgent = true;
	return true;
}
