/* The two clocks, and dates as mail and log write them. Reading the clocks is for the impure
 * rooms; the formatting is pure. */
#include "postern/clock.h"

#include <string.h>
#include <time.h>

#define DAY_MS 86400000

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

ms_t clock_mono_ms(void)
{
	return (ms_t)(clock_us(CLOCK_MONOTONIC) / 1000u);
}

uint64_t clock_mono_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

ms_t clock_wall_ms(void)
{
	return (ms_t)(clock_us(CLOCK_REALTIME) / 1000u);
}

struct civil {
	unsigned year, month, day, weekday; /* month from 1, weekday 0 is Sunday */
	unsigned hour, minute, second, ms;
};

/* Proleptic Gregorian date of a Unix time. Clamped to the years 1970..9999, which is what the text
 * forms can hold: no caller has a date outside, and a wild one must not overflow the text. */
static struct civil civil_of(ms_t wall)
{
	const ms_t last = 253402300799999; /* end of the year 9999 */
	struct civil c = { 0 };
	uint32_t days, rest, era_day, year_of_era, day_of_year, shifted;

	if (wall < 0)
		wall = 0;
	if (wall > last)
		wall = last;
	days = (uint32_t)(wall / DAY_MS);
	rest = (uint32_t)(wall % DAY_MS);
	c.weekday = (days + 4) % 7; /* 1970-01-01 was a Thursday */
	c.ms = rest % 1000;
	c.second = rest / 1000 % 60;
	c.minute = rest / 60000 % 60;
	c.hour = rest / 3600000;
	/* years counted from 1 March, so that the leap day is the last: 146097 days in 400 years */
	days += 719468;
	era_day = days % 146097;
	year_of_era = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
	day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	shifted = (5 * day_of_year + 2) / 153;
	c.day = day_of_year - (153 * shifted + 2) / 5 + 1;
	c.month = shifted < 10 ? shifted + 3 : shifted - 9;
	c.year = days / 146097 * 400 + year_of_era + (c.month <= 2);
	return c;
}

static char *put_digits(char *p, unsigned v, unsigned width)
{
	for (unsigned i = width; i > 0; i--) {
		p[i - 1] = (char)('0' + v % 10);
		v /= 10;
	}
	return p + width;
}

static char *put_text(char *p, const char *s, size_t n)
{
	memcpy(p, s, n);
	return p + n;
}

static char *put_hms(char *p, const struct civil *c)
{
	p = put_digits(p, c->hour, 2);
	*p++ = ':';
	p = put_digits(p, c->minute, 2);
	*p++ = ':';
	return put_digits(p, c->second, 2);
}

size_t clock_rfc5322(char *out, ms_t wall, int offset_minutes)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	unsigned zone = (unsigned)(offset_minutes < 0 ? -offset_minutes : offset_minutes);
	struct civil c;
	char *p = out;

	if (zone > 24 * 60) /* not a zone; RFC 5322 would not read it */
		zone = 0, offset_minutes = 0;
	if (wall < 0)
		wall = 0;
	if (wall > INT64_MAX / 2)
		wall = INT64_MAX / 2;
	c = civil_of(wall + (ms_t)offset_minutes * 60000);
	p = put_text(p, days + 3 * c.weekday, 3);
	p = put_text(p, ", ", 2);
	p = c.day < 10 ? put_digits(p, c.day, 1) : put_digits(p, c.day, 2);
	*p++ = ' ';
	p = put_text(p, months + 3 * (c.month - 1), 3);
	*p++ = ' ';
	p = put_digits(p, c.year, 4);
	*p++ = ' ';
	p = put_hms(p, &c);
	*p++ = ' ';
	*p++ = offset_minutes < 0 ? '-' : '+';
	p = put_digits(p, zone / 60, 2);
	p = put_digits(p, zone % 60, 2);
	*p = '\0';
	return (size_t)(p - out);
}

size_t clock_rfc3339(char *out, ms_t wall)
{
	struct civil c = civil_of(wall);
	char *p = out;

	p = put_digits(p, c.year, 4);
	*p++ = '-';
	p = put_digits(p, c.month, 2);
	*p++ = '-';
	p = put_digits(p, c.day, 2);
	*p++ = 'T';
	p = put_hms(p, &c);
	*p++ = '.';
	p = put_digits(p, c.ms, 3);
	*p++ = 'Z';
	*p = '\0';
	return (size_t)(p - out);
}
