/* Connections that a receiver takes of one source or subnet, as its refusals at the door showed.
 * Times are mono. No memory of its own, nothing can fail. */
#pragma once

#include "postern/policy.h"

struct slot;

struct door {
	uint32_t limit; /* 0: none known */
	uint8_t confirmed;
	bool dirty, saved;
	ms_t at; /* mono; it was met last */
};

/* Connections allowed now; 0: no limit known. */
uint32_t door_limit(const struct door *d, ms_t mono);
/* This connection, which is not up, was refused: is it because so many of its source or subnet are
 * inside? */
bool door_counts(const struct policy *p, const struct slot *s);
/* The same, and remembers it. */
bool door_refused(struct policy *p, struct policy_now now, struct slot *s);
