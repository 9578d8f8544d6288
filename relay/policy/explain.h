/* What explains a refusal better than the path to the cluster (see explain.c). Nothing can fail. */
#pragma once

#include "cause.h"

struct pair;
struct path;
struct tenant;

#define EXPLAINS 6.0 /* log likelihood ratio */

/* Whom one refusal counts for, within its tenant: 0 is nobody in particular. */
uint32_t accuser_of(const struct tenant *t, struct policy_now now, const struct refusal *f);
/* The tenant and the subnet, after one more refusal. NULL: no pair, by what it says. */
struct pair *note_pair(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
	const struct refusal *f);
/* An outcome of the path, as habit.h counts them. */
void note_habit(struct policy *p, struct policy_now now, struct path *h, bool again, bool refused,
	bool after);
/* Each: does it explain the refusal? */
bool explain_pair(struct policy *p, struct policy_now now, struct slot *s, struct tenant *t,
	const struct refusal *f, const struct pair *k);
bool explain_sender(struct policy *p, struct policy_now now, const struct slot *s,
	const struct tenant *t, const struct refusal *f);
bool explain_tenant(struct policy_now now, const struct slot *s, const struct tenant *t,
	const struct refusal *f);
