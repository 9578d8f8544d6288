/* Inside relay/ops: what waits and why, counted now and then by a thread of its own. (survey.c) */
#pragma once

#include "waits.h"

struct survey;
struct count;

/* One count of the queue: immutable, counted. */
struct surveyed {
	const struct waits *waits;
	ms_t began, ended;   /* wall */
	ms_t age;	     /* ms since it ended, when it was looked at */
	struct count *count; /* survey.c's */
};
/* The latest; any thread. A count that is older than a few seconds is begun anew, if the last one
 * was cheap enough, and is there for who looks next. False: there is none yet. survey_done gives it
 * back. */
bool survey_look(struct survey *s, struct surveyed *ret);
void survey_done(struct surveyed *s);
