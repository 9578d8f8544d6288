/* What the operator suspends, and the contrary. until: wall; 0: for ever. suspension_add: -ENOMEM, or
 * -ENOSPC when there are too many. */
#pragma once

#include "postern/policy.h"

struct cluster;

#define SUSPENSIONS_MAX 1000u

struct order_time {
	ms_t until;  /* wall; 0: for ever */
	ms_t length; /* as it was ordered; 0: not known */
};

struct suspension {
	char *source, *where; /* NULL: all */
	struct order_time t;
	bool pin;	  /* the contrary: no rests of our own */
	bool dirty, gone; /* gone: resumed or over, kept until the deletion is saved */
};

int suspension_add(struct policy *p, const char *source, const char *where, struct order_time t,
	bool pin, bool dirty);
void suspensions_apply(struct policy *p, ms_t wall); /* into the tables that are asked */
void suspensions_apply_cluster(struct policy *p, struct cluster *c, ms_t wall);

/* Does that name mean the cluster: its own, a network it lies in, its geography? */
bool place_at_cluster(const struct policy *p, const char *where, const struct cluster *c);
/* Until a time that has not come, and not taken back. */
bool suspension_in_force(const struct suspension *s, ms_t wall);
/* Ends those of that source and place (NULL: all) and kind: how many. */
unsigned suspension_end(
	struct policy *p, ms_t wall, const char *source, const char *where, bool pin);
