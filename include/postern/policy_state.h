/* How a lane or a cluster stands, and what is held against somebody: one list for the policy, for
 * metrics and for the page. Decisions are made by the enum; the names are for people and programs
 * outside (log, control answers, JSON), and stay as they are. */
#pragma once

/* X(ID, name), from well to worst */
#define POLICY_STATES(X)                                                                           \
	X(HEALTHY, "healthy")                                                                      \
	X(THROTTLED, "throttled")     /* a window that was halved lately */                        \
	X(LIMITED, "limited")	      /* a pace or a limit that a receiver showed */               \
	X(SUSPECTED, "suspected")     /* nothing is decided yet */                                 \
	X(PROBING, "probing")	      /* one at a time finds out whether it is over */             \
	X(RESTING, "resting")	      /* no traffic until a time */                                \
	X(SUSPENDED, "suspended")     /* by the operator */                                        \
	X(HELD, "held")		      /* what one domain sends, at a receiver */                   \
	X(REFUSED, "refused")	      /* a source, by one receiver */                              \
	X(BLOCKED, "blocked")	      /* a source, by a whole provider */                          \
	X(UNAVAILABLE, "unavailable") /* the machine does not have the source's address */

enum policy_state {
#define X(id, name) POLICY_##id,
	POLICY_STATES(X)
#undef X
};
const char *policy_state_name(enum policy_state s);
