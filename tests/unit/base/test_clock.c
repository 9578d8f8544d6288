/* Dates as mail and log write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "postern/clock.h"
#include "postern/rng.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_formats(void **state)
{
	static const struct {
		ms_t wall;
		int offset;
		const char *mail, *iso;
	} rows[] = {
		{ 0, 0, "Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00.000Z" },
		{ 1795308360123, 0, "Sun, 22 Nov 2026 00:46:00 +0000", "2026-11-22T00:46:00.123Z" },
		{ 1795308360123, 330, "Sun, 22 Nov 2026 06:16:00 +0530",
			"2026-11-22T00:46:00.123Z" },
		{ 1795308360123, -60, "Sat, 21 Nov 2026 23:46:00 -0100",
			"2026-11-22T00:46:00.123Z" },
		{ 951782399999, 0, "Mon, 28 Feb 2000 23:59:59 +0000", "2000-02-28T23:59:59.999Z" },
		{ 951868799000, 0, "Tue, 29 Feb 2000 23:59:59 +0000", "2000-02-29T23:59:59.000Z" },
		{ 4107542400000, 0, "Mon, 1 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00.000Z" },
		{ 253402300799999, 0, "Fri, 31 Dec 9999 23:59:59 +0000",
			"9999-12-31T23:59:59.999Z" },
		{ INT64_MAX, 60, "Fri, 31 Dec 9999 23:59:59 +0100", "9999-12-31T23:59:59.999Z" },
		{ INT64_MIN, -60, "Thu, 1 Jan 1970 00:00:00 -0100", "1970-01-01T00:00:00.000Z" },
		{ 0, 100000, "Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00.000Z" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char mail[CLOCK_RFC5322_MAX], iso[CLOCK_RFC3339_MAX];

		assert_int_equal(
			clock_rfc5322(mail, rows[i].wall, rows[i].offset), strlen(rows[i].mail));
		assert_string_equal(mail, rows[i].mail);
		assert_int_equal(clock_rfc3339(iso, rows[i].wall), strlen(rows[i].iso));
		assert_string_equal(iso, rows[i].iso);
	}
}

/* Every day from 1970 to 2170 against the C library. */
static void test_calendar(void **state)
{
	for (time_t t = 0; t < 200ll * 366 * 86400; t += 86400 - 1) {
		char ours[CLOCK_RFC3339_MAX], theirs[64];
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		clock_rfc3339(ours, (ms_t)t * 1000);
		assert_string_equal(ours, theirs);
	}
}

static void test_clocks(void **state)
{
	ms_t before = clock_mono_ms();
	uint64_t us = clock_mono_us();

	assert_true(us / 1000 >= (uint64_t)before);
	assert_true(clock_mono_ms() >= before);
	assert_in_range(clock_wall_ms() / 1000, time(NULL) - 1, time(NULL) + 1);
}

static void test_rng(void **state)
{
	struct rng a, b, c;
	unsigned counts[6] = { 0 };
	double sum = 0;

	rng_seed(&a, 1);
	rng_seed(&b, 1);
	rng_seed(&c, 2);
	assert_true(rng_next(&a) == rng_next(&b));
	assert_true(rng_next(&a) != rng_next(&c));
	for (int i = 0; i < 60000; i++) {
		double u = rng_unit(&a);

		assert_true(u >= 0 && u < 1);
		sum += u;
		counts[rng_below(&a, 6)]++;
		assert_int_equal(rng_below(&b, 1), 0);
	}
	assert_true(sum > 29500 && sum < 30500);
	for (size_t i = 0; i < COUNT(counts); i++)
		assert_in_range(counts[i], 9500, 10500);
	/* a range that is no power of two and nearly all of 2^64: half of the draws are drawn again
	 */
	for (int i = 0; i < 1000; i++)
		assert_true(rng_below(&a, (1ull << 63) + 1) <= 1ull << 63);
	assert_true(rng_entropy() != rng_entropy());
}

/* The published reference output for state {1, 2, 3, 4}. */
static void test_rng_reference(void **state)
{
	struct rng r = { { 1, 2, 3, 4 } };

	assert_true(rng_next(&r) == 11520);
	assert_true(rng_next(&r) == 0);
	assert_true(rng_next(&r) == 1509978240);
	assert_true(rng_next(&r) == 1215971899390074240);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_rng),
		cmocka_unit_test(test_rng_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
