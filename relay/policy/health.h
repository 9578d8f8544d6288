/* Healthy, resting, probing: what lanes, paths, clusters, tenants and ramps have alike. Times are
 * wall; lengths ms. No memory of its own, nothing can fail. */
#pragma once

#include "postern/policy.h"

enum health_state { HEALTHY, RESTING, PROBING };
enum cause {
	CAUSE_NONE,
	CAUSE_MESSAGE,
	CAUSE_DOMAIN,
	CAUSE_SOURCE,
	CAUSE_SUBNET,
	CAUSE_CLUSTER,
	CAUSE_PROVIDER,
	CAUSE_OPERATOR /* a suspension */
};
#define CAUSES (CAUSE_OPERATOR + 1u)
const char *cause_name(enum cause c);

struct health {
	uint8_t state;
	uint8_t probes_good;
	bool dirty, saved;
	ms_t since, until; /* wall */
	ms_t length;	   /* of the last rest */
	ms_t onset;	   /* wall; when the trouble began; 0: not known */
	ms_t recovered;	   /* wall; when it came back last; 0: never */
};
struct health_kind {
	enum cause cause;
	ms_t first, longest;
	double share;	/* a rest lasts so much of the time since the onset; 0: */
	double relapse; /* so many times the last one, as after a relapse */
};
extern const struct health_kind health_lane, health_path, health_cluster, health_tenant,
	health_ramp, health_share;

/* May traffic go now? HOLD_NONE, or HOLD_RESTING with *until (wall; 0: when the probe under way has
 * ended). busy: what a probe may not be beside. */
enum hold_reason health_gate(const struct health *h, ms_t wall, bool busy, ms_t *until);
void health_probe(
	struct health *h, struct policy_now now); /* traffic goes: a due rest becomes a probe */
void health_rest(struct policy *p, struct health *h, const struct health_kind *k,
	struct policy_now now, ms_t cooldown);
/* An outcome while probing. true: it came back by this. */
bool health_probed(struct policy *p, struct health *h, const struct health_kind *k, bool good,
	struct policy_now now);
void health_well(struct health *h, struct policy_now now);
/* For people: HEALTHY, RESTING or PROBING; a rest whose time is over is about to be probed. */
enum policy_state health_shown(const struct health *h, ms_t wall);
static inline bool sick(const struct health *h)
{
	return h->state != HEALTHY;
}
