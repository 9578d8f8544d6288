/* What follows from the policy's no: see the header. Called by relay/dispatch/assign.c,
 * relay/rehearse and the tests' model. */
#include "postern/match.h"

enum match_no match_refused(const struct policy_choice *why, bool diverted, ms_t mono)
{
	if (why->reason == HOLD_SENDER)
		return MATCH_ASIDE;
	if (diverted && why->reason == HOLD_BLOCKED)
		return MATCH_REJOIN;
	if (diverted && policy_impatient(why, mono))
		return MATCH_GIVE_UP;
	if (why->reason == HOLD_CAP || why->reason == HOLD_WINDOW)
		return MATCH_WAIT_PLACE;
	return MATCH_WAIT;
}

enum match_declined match_declined(const struct policy_choice *why, bool retire)
{
	if (retire)
		return MATCH_RETIRE;
	if (why->reason == HOLD_SENDER)
		return MATCH_SET_ASIDE;
	if (hold_is_domains(why->reason))
		return MATCH_DOMAIN_WAITS;
	if (why->reason == HOLD_NO_SOURCE || why->reason == HOLD_NO_HOST)
		return MATCH_OTHER_FLOW;
	return why->until ? MATCH_PAUSE : MATCH_STAY;
}
