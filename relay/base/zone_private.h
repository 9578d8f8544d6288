/* Between zone.c (the calendar) and zone_parse.c (the file). Times are seconds since 1970 UTC. */
#pragma once

#include <stdbool.h>

#include "postern/zone.h"

/* RFC 8536 section 3.2: offsets from -24:59:59 to 25:59:59 */
#define ZONE_OFFSET_MIN (-89999)
#define ZONE_OFFSET_MAX 93599

/* When the clocks are changed in each year (POSIX TZ, with the extension of RFC 8536 section
 * 3.3.1). */
struct zone_change {
	enum { CHANGE_JULIAN, CHANGE_DAY, CHANGE_WEEKDAY } form;
	int day;	 /* JULIAN: 1..365, never 29 February; DAY: 0..365 */
	int month, week; /* WEEKDAY: 1..12; 1..5, 5 is the last */
	int weekday;	 /* 0 is Sunday */
	int32_t time;	 /* seconds of the clock as it is before the change; -167 h … 167 h */
};
struct zone_rule {
	int32_t standard, summer; /* offsets */
	bool changes;		  /* there is a summer time */
	struct zone_change start, end;
};

struct zone {
	int32_t first; /* offset before the first transition */
	bool ruled;    /* rule holds from the last transition on */
	struct zone_rule rule;
	unsigned n;
	struct zone_transition {
		int64_t at;
		int32_t offset; /* from then on */
	} transitions[];
};

/* A POSIX TZ text without the newlines around it. 0, -EINVAL. */
int zone_rule_parse(struct zone_rule *ret, struct slice text);
