/* Work meets connections: what follows from what the policy says, for whoever drives it. Two loops
 * are alike in all drivers: a flow that has more work than connections opens some (match_open), and
 * a connection that can take work is offered that of flows, in turn (match_offer). Pure; the policy
 * is asked by the driver, which knows the work. */
#pragma once

#include "postern/policy.h"

#define MATCH_TRIES 8u	/* flows offered to one connection before it stays idle */
#define MATCH_OPENS 16u /* connections opened for one flow in one turn; then others come first */

/* policy_choose said no. */
enum match_no {
	MATCH_ASIDE, /* this work is its sender's to wait with, until then; the next one is tried */
	MATCH_REJOIN,	  /* diverted, and no other source may take it: waits with the others */
	MATCH_GIVE_UP,	  /* diverted, and it would take long: deferred; the next one is tried */
	MATCH_WAIT_PLACE, /* waits; an idle connection that holds a place may be given up for it */
	MATCH_WAIT,	  /* waits, until then or for what the policy named */
};
enum match_no match_refused(const struct policy_choice *why, bool diverted, ms_t mono);

/* policy_admit said no; retire as it said. */
enum match_declined {
	MATCH_RETIRE,	 /* the connection has carried enough: it ends */
	MATCH_SET_ASIDE, /* the work is its sender's to wait with; the flow's next one is offered */
	MATCH_DOMAIN_WAITS, /* the flow waits: no connection is to offer its work until then */
	MATCH_OTHER_FLOW,   /* this connection cannot take it: another flow's may do */
	MATCH_PAUSE,	    /* the connection takes nothing before why.until */
	MATCH_STAY	    /* nor any other: it stays idle */
};
enum match_declined match_declined(const struct policy_choice *why, bool retire);
