/* Ranks: who goes first where places are scarce. Mail of a higher rank goes first, by weight: a rank
 * gets four times the places of the next lower one while both have mail that could use them, so
 * that none waits for ever. Who had nothing for a while has no claim to the places of that time,
 * and who comes is next at once unless its rank has just had its share. Pure; one thread. */
#pragma once

#include <stdint.h>

#define RANKS	    5u /* 0 goes first */
#define RANK_NORMAL 2u /* of mail without a class */

/* Zero: nobody had a place yet. Counts of places times what one costs the rank; of the ranks that
 * want one, the lowest count is next. */
struct ranks {
	uint64_t count[RANKS];
	uint64_t now; /* count of who was next last, before it */
};
/* Who is next of those whose bits are set; of must not be 0. */
unsigned ranks_next(const struct ranks *r, unsigned of);
/* It wants places again, after it did not. */
void ranks_join(struct ranks *r, unsigned rank);
/* It has got one. */
void ranks_took(struct ranks *r, unsigned rank);
