/* The wall clock, when it is set: clock_step.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void due_longest_set(struct dispatch *d); /* of the parameters */
struct feed_place far_begin(const struct dispatch *d);
void clock_begin(struct dispatch *d);
void clock_tick(struct dispatch *d); /* once a second */
/* Of a message that comes into memory: it came at a time that is, by this clock. */
void clock_restamp(struct dispatch *d, struct message *m);
