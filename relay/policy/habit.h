/* Do the refusals of a path (subnet of ours × cluster) hang on whom the mail is for? One for each
 * path. No memory of its own, nothing can fail; the dispatcher's thread.
 *
 * unknown → tenants that refused are refused again at their next message, and much more often than
 * all others, while the path takes mail: it holds → they are taken again: unknown. */
#pragma once

#include <stdbool.h>

struct habit {
	/* outcomes right after one that was accepted: a path that is throttled or sick refuses
	 * whoever comes next, and these are to say what hangs on the tenant alone */
	float good, bad;	     /* of tenants of which nothing is known */
	float again_good, again_bad; /* of those that had refused the path last */
	float owed;		     /* refusals that are to be expected of the former */
};
/* again: the tenant's last message over this path was refused. after: the outcome before this one,
 * whoever's, was refused. */
void habit_note(struct habit *h, bool again, bool refused, bool after);
bool habit_holds(const struct habit *h);
/* So many refusals of one tenant in a row are no chance, as often as the path is refused at all. */
unsigned habit_chance(const struct habit *h);
/* Is this refusal such a tenant's? Of those that are not known yet, as many as is usual. */
bool habit_explains(struct habit *h, bool again);
