/* Durations, sizes and rates: what is read and how it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "postern/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define S	 1000ll
#define M	 (60 * S)
#define H	 (60 * M)
#define D	 (24 * H)

static void test_duration_parse(void **state)
{
	static const struct {
		const char *text;
		int r;
		ms_t v;
	} rows[] = {
		{ "0", 0, 0 },
		{ "0s", 0, 0 },
		{ "90s", 0, 90 * S },
		{ "5m", 0, 5 * M },
		{ "4h", 0, 4 * H },
		{ "2d", 0, 2 * D },
		{ "250ms", 0, 250 },
		{ "1h30m", 0, 90 * M },
		{ "1d2h3m4s5ms", 0, D + 2 * H + 3 * M + 4 * S + 5 },
		{ "5M", 0, 5 * M },
		{ "", -EINVAL, 0 },
		{ "5", -EINVAL, 0 }, /* of what? */
		{ "00", -EINVAL, 0 },
		{ "m", -EINVAL, 0 },
		{ "-5m", -EINVAL, 0 },
		{ "5 m", -EINVAL, 0 },
		{ "5m ", -EINVAL, 0 },
		{ "1.5h", -EINVAL, 0 },
		{ "5x", -EINVAL, 0 },
		{ "1h30", -EINVAL, 0 },
		{ "30m1h", -EINVAL, 0 },
		{ "1m1m", -EINVAL, 0 },
		{ "5min", -EINVAL, 0 },
		{ "106751991167d", 0, 106751991167 * D },
		{ "106751991168d", -ERANGE, 0 },
		{ "99999999999999999999s", -ERANGE, 0 },
		{ "106751991167d24h", -ERANGE, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		ms_t v = 4711;

		assert_int_equal(duration_parse(&v, slice_of(rows[i].text)), rows[i].r);
		assert_true(v == (rows[i].r ? 4711 : rows[i].v));
	}
}

static void test_duration_format(void **state)
{
	static const struct {
		ms_t v;
		const char *text;
	} rows[] = {
		{ 0, "0s" },
		{ 1, "1ms" },
		{ 90 * S, "1m30s" },
		{ 5 * M, "5m" },
		{ 90 * M, "1h30m" },
		{ H + 5 * S, "1h" },
		{ 2 * D + 3 * H + 59 * M, "2d3h" },
		{ 1500, "1s500ms" },
		{ -90 * S, "-1m30s" },
		{ INT64_MAX, "106751991167d7h" },
		{ INT64_MIN, "-106751991167d7h" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[32];

		assert_int_equal(duration_format(text, rows[i].v), strlen(rows[i].text));
		assert_string_equal(text, rows[i].text);
	}
}

static void test_size_parse(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} rows[] = {
		{ "0", 0, 0 },
		{ "1024", 0, 1024 },
		{ "10KiB", 0, 10240 },
		{ "64MiB", 0, 64ull << 20 },
		{ "3GiB", 0, 3ull << 30 },
		{ "2TiB", 0, 2ull << 40 },
		{ "512B", 0, 512 },
		{ "1kib", 0, 1024 },
		{ "16777216TiB", -ERANGE, 0 },
		{ "16777215TiB", 0, 16777215ull << 40 },
		{ "", -EINVAL, 0 },
		{ "MiB", -EINVAL, 0 },
		{ "10MB", -EINVAL, 0 }, /* 1000 or 1024? */
		{ "10M", -EINVAL, 0 },
		{ "1.5MiB", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1MiB5KiB", -EINVAL, 0 },
		{ "10 MiB", -EINVAL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t v = 4711;

		assert_int_equal(size_parse(&v, slice_of(rows[i].text)), rows[i].r);
		assert_true(v == (rows[i].r ? 4711 : rows[i].v));
	}
}

static void test_rate_parse(void **state)
{
	static const struct {
		const char *text;
		int r;
		struct rate v;
	} rows[] = {
		{ "30/1m", 0, { 30, M } },
		{ "1/250ms", 0, { 1, 250 } },
		{ "4294967295/1d", 0, { UINT32_MAX, D } },
		{ "4294967296/1d", -ERANGE, { 0 } },
		{ "0/1m", -EINVAL, { 0 } },
		{ "30/0", -EINVAL, { 0 } },
		{ "30/m", -EINVAL, { 0 } },
		{ "30", -EINVAL, { 0 } },
		{ "/1m", -EINVAL, { 0 } },
		{ "30/", -EINVAL, { 0 } },
		{ "30/1m/1h", -EINVAL, { 0 } },
		{ "", -EINVAL, { 0 } },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rate v = { 4711, 4711 };

		assert_int_equal(rate_parse(&v, slice_of(rows[i].text)), rows[i].r);
		assert_int_equal(v.count, rows[i].r ? 4711 : rows[i].v.count);
		assert_int_equal(v.per, rows[i].r ? 4711 : rows[i].v.per);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_duration_format),
		cmocka_unit_test(test_size_parse),
		cmocka_unit_test(test_rate_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
