/* Days and minutes of a time zone, for warm-ups that count by local days. Pure once loaded; called
 * by the policy. Everything is asked of one function, the span of time around a moment in which
 * the offset stays the same. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "postern/zone.h"
#include "zone_private.h"

#define DAY 86400

struct span {
	int64_t from, to; /* to: exclusive */
	int32_t offset;
};

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar; years are counted from 1
 * March, so that the leap day is the last of them. */
static int64_t days_of(int64_t year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1, era = floor_div(y, 400), of_era = y - era * 400;
	int shifted = month > 2 ? month - 3 : month + 9;
	int64_t of_year = (153 * shifted + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct date {
	int64_t year;
	int month, day;
};

static struct date date_of(int64_t days)
{
	int64_t since = days + 719468, era = floor_div(since, 146097),
		of_era = since - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int shifted = (int)((5 * of_year + 2) / 153);
	struct date d = { .day = (int)of_year - (153 * shifted + 2) / 5 + 1 };

	d.month = shifted < 10 ? shifted + 3 : shifted - 9;
	d.year = era * 400 + year + (d.month <= 2);
	return d;
}

static int days_in(int64_t year, int month)
{
	static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* ---- the rule after the last transition ---- */

static int64_t change_day(const struct zone_change *c, int64_t year)
{
	int64_t first;
	int weekday, day;

	if (c->form == CHANGE_JULIAN)
		return days_of(year, 1, 1) + c->day - 1 + (is_leap(year) && c->day >= 60);
	if (c->form == CHANGE_DAY)
		return days_of(year, 1, 1) + c->day;
	first = days_of(year, c->month, 1);
	weekday = (int)(first + 4 - floor_div(first + 4, 7) * 7); /* 1970-01-01 was a Thursday */
	day = (c->weekday - weekday + 7) % 7 + 7 * (c->week - 1);
	if (day >= days_in(year, c->month))
		day -= 7;
	return first + day;
}

/* Those of the years around the moment: a time of a change may lie a week off its day, so in the
 * year before or after. */
#define RULE_EVENTS 8
static void rule_events(const struct zone_rule *r, int64_t t, struct zone_transition *events)
{
	int64_t year = date_of(floor_div(t + r->standard, DAY)).year - 1;
	unsigned n = 0;

	for (; n < RULE_EVENTS; year++) {
		/* the end before the start: where summer time lasts all year, a year's end is the
		 * moment of the next one's start, and the later in this order holds */
		events[n++] = (struct zone_transition){
			change_day(&r->end, year) * DAY + r->end.time - r->summer, r->standard
		};
		events[n++] = (struct zone_transition){
			change_day(&r->start, year) * DAY + r->start.time - r->standard, r->summer
		};
	}
	for (unsigned i = 1; i < n; i++) {
		struct zone_transition e = events[i];
		unsigned k = i;

		for (; k > 0 && events[k - 1].at > e.at; k--)
			events[k] = events[k - 1];
		events[k] = e;
	}
}

static struct span rule_span(const struct zone_rule *r, int64_t t)
{
	struct span s = { INT64_MIN, INT64_MAX, r->standard };
	struct zone_transition events[RULE_EVENTS];

	if (!r->changes)
		return s;
	rule_events(r, t, events);
	for (unsigned i = 0; i < RULE_EVENTS; i++) {
		if (events[i].at > t) {
			s.to = events[i].at;
			break;
		}
		s.from = events[i].at;
		s.offset = events[i].offset;
	}
	return s;
}

static struct span span_at(const struct zone *z, int64_t t)
{
	struct span s = { INT64_MIN, INT64_MAX, z->first };
	unsigned low = 0, high = z->n; /* transitions at or before t */

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (z->transitions[middle].at <= t)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0) {
		s.from = z->transitions[low - 1].at;
		s.offset = z->transitions[low - 1].offset;
	}
	if (low < z->n) {
		s.to = z->transitions[low].at;
	} else if (z->ruled) {
		int64_t last = s.from;

		s = rule_span(&z->rule, t);
		if (s.from < last)
			s.from = last;
	}
	return s;
}

/* ---- days ---- */

static const struct zone utc;

/* Moments outside the years 1..9999 count as their ends: no caller has one, and no sum below
 * overflows. */
static int64_t seconds_of(ms_t wall)
{
	int64_t t = floor_div(wall, 1000);

	if (t < -62135596800)
		return -62135596800;
	return t > 253402300799 ? 253402300799 : t;
}

int32_t zone_offset(const struct zone *z, ms_t wall)
{
	return span_at(z ? z : &utc, seconds_of(wall)).offset;
}

/* The first moment at which the zone's clocks show that local time, or a later one. */
static int64_t first_at(const struct zone *z, int64_t local)
{
	int64_t t = local - ZONE_OFFSET_MAX;

	for (;;) {
		struct span s = span_at(z, t);
		int64_t at = local - s.offset > t ? local - s.offset : t;

		if (at < s.to)
			return at;
		t = s.to;
	}
}

void zone_day(const struct zone *z, ms_t wall, struct zone_day *ret)
{
	int64_t t = seconds_of(wall), number, start, next;

	if (!z)
		z = &utc;
	number = floor_div(t + span_at(z, t).offset, DAY);
	start = first_at(z, number * DAY);
	/* clocks that were put back over midnight show the day before once more: it stays over */
	while ((next = first_at(z, (number + 1) * DAY)) <= t) {
		number++;
		start = next;
	}
	ret->number = (int32_t)number;
	ret->start = start * 1000;
	ret->next = next * 1000;
}

ms_t zone_minute(const struct zone *z, const struct zone_day *day, unsigned minute)
{
	return first_at(z ? z : &utc, (int64_t)day->number * DAY + (int64_t)minute * 60) * 1000;
}

/* ---- dates as text ---- */

static int number_of(struct slice text, size_t at, size_t n, int max)
{
	uint64_t v;

	if (slice_u64((struct slice){ text.p + at, n }, &v) || v < 1 || v > (uint64_t)max)
		return -1;
	return (int)v;
}

int zone_date_parse(int32_t *ret, struct slice text)
{
	int year, month, day;

	if (text.n != 10 || text.p[4] != '-' || text.p[7] != '-')
		return -EINVAL;
	year = number_of(text, 0, 4, 9999);
	month = number_of(text, 5, 2, 12);
	day = number_of(text, 8, 2, 31);
	if (year < 2000 || month < 0 || day < 0 || day > days_in(year, month))
		return -EINVAL;
	*ret = (int32_t)days_of(year, month, day);
	return 0;
}

size_t zone_date_format(char *out, int32_t number)
{
	struct date d = date_of(number);

	return (size_t)snprintf(out, ZONE_DATE_MAX, "%04d-%02d-%02d", (int)d.year, d.month, d.day);
}
