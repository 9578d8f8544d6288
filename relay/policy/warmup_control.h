/* With whom a new source is compared: the outcomes of all sources at the same cluster, in the same
 * half hour. Times are mono. */
#pragma once

#include "lane.h"
#include "ramp.h"

struct slot;

/* The outcomes of all sources are counted, to compare with. */
void control_note(struct lane *l, ms_t mono, uint32_t n, bool bad);
/* Is the ramp's part at that cluster held? */
bool share_sick(const struct policy *p, const struct lane *l);
void share_good(struct policy *p, struct policy_now now, struct lane *l);
/* Nothing is held any more: the source's, at all clusters of the provider. */
void shares_release(struct policy *p, struct policy_now now, unsigned provider, unsigned source);

/* A message's outcome, in the terms of ramps; the source has one there. */
void control_outcome(
	struct policy *p, struct policy_now now, struct slot *s, struct ramp *r, bool bad);
/* Refused while its lane rests, or the lane was put to rest for it. */
void control_lane_failed(struct policy *p, struct policy_now now, struct slot *s, struct ramp *r);
/* Do most clusters refuse it, that have answered it lately? */
bool control_most_refuse(const struct policy *p, unsigned provider, unsigned source);
/* Half hours that are over; all: the present one, too. */
void control_settle(const struct policy *p, ms_t mono, unsigned provider, unsigned source,
	struct ramp *r, bool all);
/* For the day's end. */
void control_count(const struct policy *p, unsigned provider, unsigned source, struct ramp *r);
