/* An operator's retry of all that waits for its time: recall.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

#define RECALL_KEY SLICE_LIT("recall/all") /* of its record in the queue's state: "1 wall" */
/* By the record; false: there is none, or it cannot be read. */
bool recall_recorded(struct dispatch *d, ms_t *at, uint64_t *most);
bool recall_over(const struct dispatch *d); /* all has come due by itself: the record may go */
/* The domain's entries are gone through from the first on. */
static inline void recall_begin(const struct dispatch *d, struct domain *m)
{
	m->recalled = d->clock.recall_at;
	m->recall_left = d->clock.recall_most;
	m->recall_again = false;
	m->feed.far = (struct feed_place){ .due = INT64_MIN, .id = 1 };
}
/* It waits for its time, which is now for the operator. */
static inline bool recall_concerns(const struct domain *m, ms_t last_attempt)
{
	return m->recalled && last_attempt < m->recalled;
}
/* ---- operate.c ---- */
void recall_load(struct dispatch *d); /* after the domains */
