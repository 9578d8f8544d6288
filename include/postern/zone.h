/* Time zones: on which day a moment falls, and when that day begins and ends. A zone is a table of
 * offsets read once (RFC 8536, TZif); asking it is pure, so that policy can. Immutable after it was
 * made: any thread. */
#pragma once

#include "postern/clock.h"
#include "postern/text.h"

struct zone;

/* From the bytes of a TZif file, version 1 to 4. 0; -EINVAL: it is none; -ENOMEM. After the last
 * transition the footer's rule holds (RFC 8536 section 3.3), where there is one. */
int zone_parse(struct zone **ret, struct slice tzif);
/* By name: "Europe/Berlin" (of the system's database), "UTC", or "system": what /etc/localtime says
 * (UTC without it). 0; -ENOENT: no such zone, or no zone's name; -EINVAL; -errno of reading;
 * -ENOMEM. */
int zone_load(struct zone **ret, const char *name);
struct zone *zone_free(struct zone *z); /* NULL-safe, returns NULL */

/* Seconds east of UTC at that moment. z NULL: UTC. */
int32_t zone_offset(const struct zone *z, ms_t wall);

struct zone_day {
	int32_t number;	  /* days since 1970-01-01, as the zone's calendar counts */
	ms_t start, next; /* wall: its first moment, and that of the day after */
};
/* The day in which the moment lies. A day has 23 to 25 hours where clocks are changed. z NULL: UTC.
 */
void zone_day(const struct zone *z, ms_t wall, struct zone_day *ret);
/* The moment at which the zone's clocks show that minute (0..1440) of the day; where they jump over
 * it, the moment of the jump; where they show it twice, the first. */
ms_t zone_minute(const struct zone *z, const struct zone_day *day, unsigned minute);

/* "2026-11-01" → its number; -EINVAL: no date of the years 2000..9999. */
int zone_date_parse(int32_t *ret, struct slice text);
#define ZONE_DATE_MAX 16
size_t zone_date_format(char *out, int32_t number); /* returns its length */
