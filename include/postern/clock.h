/* Time. Two clocks that are never mixed: `mono` for time-outs and pacing inside one run, `wall`
 * (Unix time) for whatever is stored or shown. Both in milliseconds. Pure rooms take them as
 * arguments and never call these. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int64_t ms_t;

ms_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
ms_t clock_wall_ms(void);
/* RFC 5322 section 3.3 date-time in the given zone offset, e.g. "Sun, 22 Nov 2026 00:46:00 +0000".
 * Pure. Returns its length; out must have CLOCK_RFC5322_MAX bytes. */
#define CLOCK_RFC5322_MAX 40
size_t clock_rfc5322(char *out, ms_t wall, int offset_minutes);
/* RFC 3339 in UTC with milliseconds, "2026-11-22T00:46:00.123Z". Pure. */
#define CLOCK_RFC3339_MAX 32
size_t clock_rfc3339(char *out, ms_t wall);
