/* Time zones against the system's database: days, changes of clocks, rules after the last change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "postern/rng.h"
#include "postern/zone.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HOUR	 3600000
#define DATABASE "/usr/share/zoneinfo/"

static int32_t number(const char *date)
{
	int32_t n = 0;

	assert_int_equal(zone_date_parse(&n, slice_of(date)), 0);
	return n;
}

static struct zone *load(const char *name)
{
	struct zone *z = NULL;

	assert_int_equal(zone_load(&z, name), 0);
	assert_non_null(z);
	return z;
}

/* ---- against the C library's reading of the same files ---- */

static void use_zone(const char *name)
{
	char tz[128];

	snprintf(tz, sizeof(tz), ":%s", name);
	assert_int_equal(setenv("TZ", tz, 1), 0);
	tzset();
}

static int32_t day_shown(time_t t)
{
	struct tm tm;
	char date[40];

	assert_non_null(localtime_r(&t, &tm));
	snprintf(
		date, sizeof(date), "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	if (tm.tm_year + 1900 < 2000) /* not a date of ours */
		return (int32_t)((t + tm.tm_gmtoff) / 86400 - ((t + tm.tm_gmtoff) % 86400 < 0));
	return number(date);
}

static void compare_moment(const char *name, const struct zone *z, time_t t)
{
	ms_t wall = (ms_t)t * 1000;
	struct zone_day d = { 0 };
	struct tm tm;

	assert_non_null(localtime_r(&t, &tm));
	if (zone_offset(z, wall) != tm.tm_gmtoff)
		fail_msg("%s at %lld: %d, not %ld", name, (long long)t, zone_offset(z, wall),
			tm.tm_gmtoff);
	zone_day(z, wall, &d);
	assert_true(d.start <= wall && wall < d.next);
	/* its first moment shows it, and nothing before did; so with the next */
	if (day_shown(d.start / 1000) != d.number || day_shown(d.start / 1000 - 1) >= d.number ||
		day_shown(d.next / 1000) <= d.number || day_shown(d.next / 1000 - 1) > d.number)
		fail_msg("%s at %lld: day %d is %lld..%lld", name, (long long)t, d.number,
			(long long)d.start, (long long)d.next);
}

/* Random moments, and those beside each change of clocks, which random ones would not meet. */
static void compare_zone(const char *name, struct rng *rng)
{
	struct zone *z = load(name);
	const time_t end = 4102444800; /* 2100-01-01 */
	struct tm tm;
	long before;

	use_zone(name);
	for (unsigned i = 0; i < 300; i++)
		compare_moment(name, z, (time_t)(rng_next(rng) % (uint64_t)end));
	assert_non_null(localtime_r(&(time_t){ 0 }, &tm));
	before = tm.tm_gmtoff;
	for (time_t t = 0; t < end; t += 86400 * 5) {
		time_t low = t - 86400 * 5, high = t;

		assert_non_null(localtime_r(&t, &tm));
		if (tm.tm_gmtoff == before)
			continue;
		while (high - low > 1) {
			time_t middle = low + (high - low) / 2;

			assert_non_null(localtime_r(&middle, &tm));
			*(tm.tm_gmtoff == before ? &low : &high) = middle;
		}
		for (int k = -2; k <= 1; k++)
			compare_moment(name, z, high + k);
		compare_moment(name, z, high - 3600);
		compare_moment(name, z, high + 3600);
		assert_non_null(localtime_r(&t, &tm));
		before = tm.tm_gmtoff;
	}
	zone_free(z);
}

static void test_database(void **state)
{
	FILE *f = fopen(DATABASE "zone1970.tab", "r");
	char text[512], name[128];
	unsigned n = 0;
	struct rng rng;

	rng_seed(&rng, 8536);
	assert_non_null(f);
	while (fgets(text, sizeof(text), f)) {
		if (text[0] == '#' || sscanf(text, "%*s %*s %127s", name) != 1)
			continue;
		compare_zone(name, &rng);
		n++;
	}
	fclose(f);
	compare_zone("EST5EDT", &rng);
	compare_zone("Etc/GMT+12", &rng);
	unsetenv("TZ");
	assert_true(n > 250);
}

/* ---- days that are not like others ---- */

static void test_days(void **state)
{
	static const struct {
		const char *zone, *day;
		ms_t length; /* minutes */
	} rows[] = {
		{ "Europe/Berlin", "2026-03-28", 1440 }, { "Europe/Berlin", "2026-03-29", 1380 },
		{ "Europe/Berlin", "2026-10-25", 1500 },
		{ "Europe/Berlin", "2099-03-29", 1380 }, /* by the footer's rule */
		{ "America/New_York", "2026-11-01", 1500 },
		{ "Australia/Lord_Howe", "2026-10-04", 1410 },
		{ "Australia/Lord_Howe", "2026-04-05", 1470 },
		{ "Asia/Kathmandu", "2026-03-29", 1440 }, { "Pacific/Apia", "2011-12-29", 1440 },
		{ "Pacific/Apia", "2011-12-31", 1440 },
		/* clocks go from 0:00 to 1:00: the day begins at 1:00 */
		{ "America/Sao_Paulo", "2018-11-04", 1380 },
		/* and from 0:00 back to 23:00 of the day before, which gets longer */
		{ "America/Sao_Paulo", "2018-02-17", 1500 },
		{ "America/Sao_Paulo", "2018-02-18", 1440 }, { "Asia/Beirut", "2026-03-29", 1380 },
		{ "Asia/Beirut", "2026-10-24", 1500 },
		/* one minute past midnight back to 23:01: the day has begun, and goes on */
		{ "America/St_Johns", "2006-10-28", 1440 },
		{ "America/St_Johns", "2006-10-29", 1500 }, { "Europe/Berlin", "2028-02-29", 1440 },
		{ "UTC", "2028-02-29", 1440 }, { "Africa/Casablanca", "2026-02-15", 1500 },
		{ "Europe/Dublin", "2027-03-28", 1380 }, /* its winter time is the exception */
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct zone *z = load(rows[i].zone);
		int32_t n = number(rows[i].day);
		struct zone_day d = { 0 }, again = { 0 };

		zone_day(z,
			(ms_t)n * 86400000 - zone_offset(z, (ms_t)n * 86400000) * 1000 + 12 * HOUR,
			&d);
		assert_int_equal(d.number, n);
		if (d.next - d.start != rows[i].length * 60000)
			fail_msg("%s %s: %lld minutes", rows[i].zone, rows[i].day,
				(long long)(d.next - d.start) / 60000);
		zone_day(z, d.start, &again);
		assert_memory_equal(&d, &again, sizeof(d));
		zone_day(z, d.next - 1, &again);
		assert_memory_equal(&d, &again, sizeof(d));
		assert_int_equal(zone_minute(z, &d, 0), d.start);
		assert_int_equal(zone_minute(z, &d, 1440), d.next);
		zone_free(z);
	}
}

/* The day that the calendar left out. */
static void test_skipped(void **state)
{
	struct zone *z = load("Pacific/Apia");
	struct zone_day d = { 0 }, next = { 0 };

	zone_day(z, 1325239200000 - 1, &d); /* 2011-12-30T10:00Z */
	assert_int_equal(d.number, number("2011-12-29"));
	zone_day(z, d.next, &next);
	assert_int_equal(next.number, number("2011-12-31"));
	assert_int_equal(next.start, d.next);
	zone_free(z);
}

static void test_minutes(void **state)
{
	static const struct {
		const char *zone, *day;
		unsigned minute;
		ms_t after; /* minutes after the day's start */
	} rows[] = {
		{ "UTC", "2026-11-25", 480, 480 },
		{ "Europe/Berlin", "2026-07-01", 480, 480 },
		{ "Europe/Berlin", "2026-03-29", 119, 119 },
		{ "Europe/Berlin", "2026-03-29", 120, 120 },
		{ "Europe/Berlin", "2026-03-29", 150, 120 }, /* 2:30 is jumped over */
		{ "Europe/Berlin", "2026-03-29", 180, 120 },
		{ "Europe/Berlin", "2026-03-29", 181, 121 },
		{ "Europe/Berlin", "2026-10-25", 150, 150 }, /* the first of two */
		{ "Europe/Berlin", "2026-10-25", 179, 179 },
		{ "Europe/Berlin", "2026-10-25", 180, 240 },
		{ "America/Sao_Paulo", "2018-11-04", 30, 0 },
		{ "Australia/Lord_Howe", "2026-10-04", 180, 150 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct zone *z = load(rows[i].zone);
		int32_t n = number(rows[i].day);
		struct zone_day d = { 0 };
		ms_t m;

		zone_day(z,
			(ms_t)n * 86400000 - zone_offset(z, (ms_t)n * 86400000) * 1000 + 12 * HOUR,
			&d);
		assert_int_equal(d.number, n);
		m = zone_minute(z, &d, rows[i].minute);
		if (m - d.start != rows[i].after * 60000)
			fail_msg("%s %s %u: %lld", rows[i].zone, rows[i].day, rows[i].minute,
				(long long)(m - d.start) / 60000);
		zone_free(z);
	}
}

static void test_none_is_utc(void **state)
{
	struct zone_day d = { 0 };

	zone_day(NULL, 1764028800000 - 1, &d); /* 2025-11-25 */
	assert_int_equal(d.number, number("2025-11-24"));
	assert_int_equal(d.next, 1764028800000);
	assert_int_equal(d.next - d.start, 24 * HOUR);
	assert_int_equal(zone_offset(NULL, 0), 0);
	zone_day(NULL, -1, &d);
	assert_int_equal(d.number, -1);
	zone_day(NULL, INT64_MIN, &d); /* wild, but no harm */
	zone_day(NULL, INT64_MAX, &d);
	assert_true(d.next > d.start);
}

/* ---- dates ---- */

static void test_dates(void **state)
{
	static const struct {
		const char *text;
		int32_t number; /* -1: refused */
	} rows[] = {
		{ "2000-01-01", 10957 },
		{ "2000-02-29", 11016 },
		{ "2026-11-25", 20782 },
		{ "2028-02-29", 21243 },
		{ "9999-12-31", 2932896 },
		{ "1999-12-31", -1 },
		{ "2026-02-29", -1 },
		{ "2100-02-29", -1 },
		{ "2026-13-01", -1 },
		{ "2026-00-01", -1 },
		{ "2026-01-00", -1 },
		{ "2026-04-31", -1 },
		{ "2026-1-01", -1 },
		{ "2026-01-1", -1 },
		{ "2026/01/01", -1 },
		{ "+026-01-01", -1 },
		{ "2026-01-01 ", -1 },
		{ "", -1 },
	};
	char text[ZONE_DATE_MAX];

	for (size_t i = 0; i < COUNT(rows); i++) {
		int32_t n = -1;

		assert_int_equal(zone_date_parse(&n, slice_of(rows[i].text)),
			rows[i].number < 0 ? -EINVAL : 0);
		assert_int_equal(n, rows[i].number);
		if (n < 0)
			continue;
		assert_int_equal(zone_date_format(text, n), 10);
		assert_string_equal(text, rows[i].text);
	}
	for (int32_t n = number("2000-01-01"), last = number("2401-03-01"); n <= last; n++) {
		int32_t again;

		zone_date_format(text, n);
		assert_int_equal(zone_date_parse(&again, slice_of(text)), 0);
		assert_int_equal(again, n);
	}
	zone_date_format(text, INT32_MIN);
	zone_date_format(text, INT32_MAX);
	assert_string_equal(text, "5881580-07-11");
}

/* ---- files ---- */

static void test_names(void **state)
{
	static const struct {
		const char *name;
		int result;
	} rows[] = {
		{ "UTC", 0 },
		{ "system", 0 },
		{ "Etc/GMT-14", 0 },
		{ "America/Argentina/Buenos_Aires", 0 },
		{ "Europe/Nowhere", -ENOENT },
		{ "Europe", -ENOENT },
		{ "Europe/", -ENOENT },
		{ "UTC/x", -ENOENT },
		{ "", -ENOENT },
		{ "/usr/share/zoneinfo/UTC", -ENOENT },
		{ "../zoneinfo/UTC", -ENOENT },
		{ "Europe/../UTC", -ENOENT },
		{ "Europe/Berlin\n", -ENOENT },
		{ "zone.tab", -ENOENT },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			-ENOENT },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct zone *z = NULL;

		assert_int_equal(zone_load(&z, rows[i].name), rows[i].result);
		assert_int_equal(z != NULL, rows[i].result == 0);
		zone_free(z);
	}
}

struct file {
	char bytes[512];
	size_t n;
};

static void add(struct file *f, const void *p, size_t n)
{
	assert_true(f->n + n <= sizeof(f->bytes));
	memcpy(f->bytes + f->n, p, n);
	f->n += n;
}

static void add_header(struct file *f, char version, unsigned times, unsigned types, unsigned leaps)
{
	unsigned counts[] = { 0, 0, leaps, times, types, 4 };

	add(f, "TZif", 4);
	add(f, &version, 1);
	add(f, (char[15]){ 0 }, 15);
	for (unsigned i = 0; i < 6; i++)
		add(f, (char[4]){ 0, 0, (char)(counts[i] >> 8), (char)counts[i] }, 4);
}

/* A zone of one type, an hour east, that ends with this rule. */
static void make_ruled(struct file *f, const char *rule)
{
	f->n = 0;
	add_header(f, '2', 0, 1, 0);
	add(f, "\0\0\0\0\0\0ABC", 10);
	add_header(f, '2', 0, 1, 0);
	add(f, "\0\0\x0e\x10\0\0ABC", 10);
	add(f, "\n", 1);
	add(f, rule, strlen(rule));
	add(f, "\n", 1);
}

static void test_rules(void **state)
{
	static const struct {
		const char *rule;
		int32_t winter,
			summer; /* offsets in minutes on 2030-01-15 and 2030-07-15; 1: bad */
	} rows[] = {
		{ "", 60, 60 },
		{ "XYZ-3", 180, 180 },
		{ "<+0545>-5:45", 345, 345 },
		{ "<-03>3", -180, -180 },
		{ "CET-1CEST,M3.5.0,M10.5.0/3", 60, 120 },
		{ "IST-1GMT0,M10.5.0,M3.5.0/1", 0, 60 },
		{ "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 660, 630 },
		{ "AAA0BBB,J60/0,J300/0", 0, 60 },
		{ "AAA0BBB,59/-167,299/167", 0, 60 },
		{ "EST5EDT,0/0,J365/25", -240, -240 }, /* summer all year */
		{ "AAA-25", 1, 1 },
		{ "AA-1", 1, 1 },
		{ "AAA", 1, 1 },
		{ "AAA-1BBB", 1, 1 },
		{ "AAA-1BBB,M3.5.0", 1, 1 },
		{ "AAA-1BBB,M13.5.0,M10.5.0", 1, 1 },
		{ "AAA-1BBB,M3.6.0,M10.5.0", 1, 1 },
		{ "AAA-1BBB,M3.5.7,M10.5.0", 1, 1 },
		{ "AAA-1BBB,M3.5.0,M10.5.0/168", 1, 1 },
		{ "AAA-1BBB,J0,J366", 1, 1 },
		{ "AAA-1BBB,M3.5.0,M10.5.0/3 ", 1, 1 },
		{ "AAA-1:", 1, 1 },
		{ "AAA-1:60", 1, 1 },
		{ "<AAA-1", 1, 1 },
	};
	struct file f;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct zone *z = NULL;
		int r;

		make_ruled(&f, rows[i].rule);
		r = zone_parse(&z, (struct slice){ f.bytes, f.n });
		if (r != (rows[i].winter == 1 ? -EINVAL : 0))
			fail_msg("%s: %d", rows[i].rule, r);
		if (!r) {
			assert_int_equal(zone_offset(z, 1894665600000), rows[i].winter * 60);
			assert_int_equal(zone_offset(z, 1910304000000), rows[i].summer * 60);
		}
		zone_free(z);
	}
}

static void test_first_version(void **state)
{
	struct zone *z = NULL;
	struct file f = { .n = 0 };

	add_header(&f, '\0', 2, 2, 0);
	add(&f, "\0\0\0\x0a\0\0\0\x14", 8); /* at 10 and 20 */
	add(&f, "\1\0", 2);
	add(&f, "\0\0\0\0\0\0\xff\xff\xf1\xf0\0\0ABC", 16);
	assert_int_equal(zone_parse(&z, (struct slice){ f.bytes, f.n }), 0);
	assert_int_equal(zone_offset(z, 9999), 0);
	assert_int_equal(zone_offset(z, 10000), -3600);
	assert_int_equal(zone_offset(z, 19999), -3600);
	assert_int_equal(zone_offset(z, 20000), 0);
	assert_int_equal(zone_offset(z, 4102444800000), 0);
	zone_free(z);
}

/* Every file cut short anywhere, and with each byte changed: understood or refused, and never a day
 * that is none. */
static void test_garbage(void **state)
{
	static const struct {
		const char *what;
		unsigned times, types, leaps;
	} rows[] = {
		{ "no types", 0, 0, 0 },
		{ "more types than a byte can name", 0, 257, 0 },
		{ "leap seconds", 0, 1, 27 },
		{ "times that are not there", 60000, 1, 0 },
	};
	char bytes[8192];
	size_t n;
	FILE *in = fopen(DATABASE "Australia/Lord_Howe", "rb");
	struct zone *z = NULL;

	assert_non_null(in);
	n = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	assert_int_equal(zone_parse(&z, (struct slice){ bytes, n }), 0);
	z = zone_free(z);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(zone_parse(&z, (struct slice){ bytes, cut }), -EINVAL);
	for (size_t at = 0; at < n; at++) {
		char was = bytes[at];
		struct zone_day d = { 0 };
		ms_t now = 1795651200000;

		bytes[at] = (char)(was ^ 0xff);
		if (zone_parse(&z, (struct slice){ bytes, n }) == 0) {
			zone_day(z, now, &d);
			assert_true(d.start <= now && now < d.next);
			z = zone_free(z);
		}
		bytes[at] = was;
	}
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct file f = { .n = 0 };

		add_header(&f, '\0', rows[i].times, rows[i].types, rows[i].leaps);
		f.n = sizeof(f.bytes);
		assert_int_equal(zone_parse(&z, (struct slice){ f.bytes, f.n }), -EINVAL);
	}
	assert_int_equal(zone_parse(&z, (struct slice){ NULL, 0 }), -EINVAL);
	assert_int_equal(
		zone_parse(&z, SLICE_LIT("not a zone, but a text of some length ....")), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_database),
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_skipped),
		cmocka_unit_test(test_minutes),
		cmocka_unit_test(test_none_is_utc),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_first_version),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
