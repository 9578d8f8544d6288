/* Classes of mail: what goes first where places are scarce, with a life and a schedule of its own.
 * Filled in by conf/ from the class sections; immutable. */
#pragma once

#include <stdint.h>

#include "postern/clock.h"

struct selector;
#define CLASS_NAME_MAX 63u
struct class_params {
	char *name;
	/* which mail, as written; all that are given must fit, of each any of the values */
	char **from, **user, **client, **listener, **pool, **tag;
	unsigned nfrom, nuser, nclient, nlistener, npool, ntag;
	struct selector *which; /* made of these; NULL: only what names the class itself */
	uint32_t priority;	/* 1 goes first; 1 + rank of ranks.h */
	/* as those of retry_params, whose values they have where they were not given */
	ms_t *schedule;
	unsigned nschedule;
	ms_t expire, delay_notice;
};
