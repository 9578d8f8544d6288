/* Is there room for one more connection? By the caps of the parameters and what receivers showed.
 * Times are mono. */
#pragma once

#include "postern/policy.h"

struct cluster;
struct slot;

/* LIMIT_NONE: a connection more may be opened there. */
enum policy_limit cluster_room(const struct policy *p, const struct cluster *c, ms_t mono);
enum policy_limit lane_room(
	const struct policy *p, const struct cluster *c, unsigned source, ms_t mono);
/* *until: LIMIT_CONNECTS. */
enum policy_limit unknown_room(
	struct policy *p, const struct cluster *at, unsigned source, ms_t mono, ms_t *until);
/* Connections' worth of a lane's rate that is kept for hosts that are not known yet. */
uint32_t connects_kept(const struct policy *p, unsigned provider, unsigned source, ms_t mono);
bool cluster_over(const struct policy *p, const struct slot *s);
/* A host not known yet has asked in vain, and would ending this connection help? */
bool in_the_way(const struct policy *p, const struct slot *s, ms_t mono);
uint32_t cluster_limit(const struct cluster *c, ms_t mono);
uint32_t cluster_slow_start(struct policy *p, struct cluster *c, ms_t mono);
