/* Do the refusals of a path (subnet of ours × cluster) hang on whom the mail is for? One for each
 * path. No memory of its own, nothing can fail; the dispatcher's thread.
 *
 * unknown → tenants that refused are refused again at their next message, and much more often than
 * all others, while the path takes mail: it holds → they are taken again: unknown. */
#pragma once

#include <stdbool.h>

#include "postern/clock.h"

struct habit {
	/* outcomes, apart by what the path said just before, to whomever: [1] it refused. One that is
	 * throttled or sick refuses whoever comes next, so like is compared with like */
	float good[2], bad[2];		   /* of tenants of which nothing is known */
	float again_good[2], again_bad[2]; /* of those that had refused the path last */
	float owed;			   /* refusals that are to be expected of the former */
	bool holds;
	ms_t since; /* wall; the first refusal that is counted; 0: none */
};
/* again: the tenant's last message over this path was refused. after: the outcome before this one,
 * whoever's, was refused. True: from now on it holds. */
bool habit_note(struct habit *h, ms_t wall, bool again, bool refused, bool after);
/* So many refusals of one tenant in a row are no chance, as often as the path is refused at all. */
unsigned habit_chance(const struct habit *h);
/* Is this refusal such a tenant's? Of those that are not known yet, as many as is usual. */
bool habit_explains(struct habit *h, bool again);
