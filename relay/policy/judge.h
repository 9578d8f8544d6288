/* Whether a tenant, lane, path or cluster is to rest (see judge.c). Nothing can fail. */
#pragma once

#include "cause.h"

struct lane;
struct tenant;

/* Each: was it found sick by this refusal? Then it rests from now on, and the event was told. */
bool judge_tenant(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
	const struct refusal *f);
bool judge_lane(struct policy *p, struct policy_now now, struct lane *l, ms_t cooldown);
bool judge_path(struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f);
bool judge_cluster(
	struct policy *p, struct policy_now now, struct slot *s, const struct refusal *f);

/* A refusal of what was sent to probe something: what that is. CAUSE_NONE: nothing was probed. */
enum cause probe_failed(
	struct policy *p, struct policy_now now, struct slot *s, struct tenant *t, enum kind kind);
/* An acceptance while the cluster, path or lane rests: what was probed starts slowly. */
void well_again(struct policy *p, struct policy_now now, struct slot *s);
