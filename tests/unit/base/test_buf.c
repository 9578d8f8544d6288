/* Slices and buffers: growth, bounds, consumption, and the arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "postern/arena.h"
#include "postern/buf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_slice_case(void **state)
{
	static const struct {
		const char *a, *b;
		bool same, prefix; /* b is a prefix of a */
	} rows[] = {
		{ "", "", true, true },
		{ "EHLO", "ehlo", true, true },
		{ "EHLO x", "ehlo", false, true },
		{ "EHL", "ehlo", false, false },
		{ "a[", "a{", false,
			false }, /* 0x5b and 0x7b differ by the case bit, but are no letters */
		{ "\xc4", "\xe4", false, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice a = slice_of(rows[i].a), b = slice_of(rows[i].b);

		assert_int_equal(slice_case_eq(a, b), rows[i].same);
		assert_int_equal(slice_case_prefix(a, b), rows[i].prefix);
	}
	assert_true(slice_eq((struct slice){ 0 }, SLICE_LIT("")));
	assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("A")));
	assert_true(slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0b")));
	assert_false(slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")));
}

static void test_slice_trim_from_dup(void **state)
{
	struct slice s = slice_trim(SLICE_LIT(" \t a b\t "));
	char *copy;

	assert_true(slice_eq(s, SLICE_LIT("a b")));
	assert_int_equal(slice_trim(SLICE_LIT("\t \t")).n, 0);
	assert_int_equal(slice_trim((struct slice){ 0 }).n, 0);
	assert_true(slice_eq(slice_from(s, 2), SLICE_LIT("b")));
	assert_int_equal(slice_from(s, 3).n, 0);
	assert_int_equal(slice_from(s, 99).n, 0);
	assert_int_equal(slice_from((struct slice){ 0 }, 5).n, 0);
	copy = slice_dup(s);
	assert_string_equal(copy, "a b");
	free(copy);
	copy = slice_dup((struct slice){ 0 });
	assert_string_equal(copy, "");
	free(copy);
}

static void test_slice_u64(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} rows[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1x", -EINVAL, 0 },
		{ "99999999999999999999999x", -EINVAL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t v = 4711;

		assert_int_equal(slice_u64(slice_of(rows[i].text), &v), rows[i].r);
		assert_int_equal(v, rows[i].r ? 4711 : rows[i].v);
	}
}

static void test_buf_bound(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	for (int i = 0; i < 10; i++)
		assert_int_equal(buf_add(&b, "0123456789", 10), 0);
	assert_int_equal(buf_add(&b, "x", 1), -ENOBUFS);
	assert_int_equal(buf_size(&b), 100);
	assert_true(b.cap <= 100);
	/* what was consumed gives its room back, also at the bound */
	buf_consume(&b, 1);
	assert_int_equal(buf_add(&b, "x", 1), 0);
	assert_int_equal(buf_add(&b, "y", 1), -ENOBUFS);
	assert_int_equal(buf_slice(&b).p[0], '1');
	assert_int_equal(buf_slice(&b).p[99], 'x');
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
	buf_deinit(&b);
	assert_int_equal(b.max, 100);
	assert_int_equal(buf_add(&b, "again", 5), 0);
	buf_deinit(&b);
}

/* A pipe-like use keeps order and does not grow with the amount that passed. */
static void test_buf_stream(void **state)
{
	struct buf b;
	unsigned in = 0, out = 0;

	buf_init(&b, 0);
	while (out < 100000) {
		for (int i = 0; i < 37; i++) {
			unsigned char c = (unsigned char)(in++ * 7);

			assert_int_equal(buf_add(&b, &c, 1), 0);
		}
		while (buf_size(&b) > 20) {
			assert_int_equal(
				(unsigned char)buf_slice(&b).p[0], (unsigned char)(out++ * 7));
			buf_consume(&b, 1);
		}
	}
	assert_true(b.cap <= 256);
	buf_deinit(&b);
}

static void test_buf_printf(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	assert_int_equal(buf_printf(&b, "%d-%s", 42, "x"), 0);
	assert_int_equal(buf_printf(&b, "%0200d", 7), 0);
	assert_int_equal(buf_size(&b), 204);
	assert_memory_equal(buf_slice(&b).p, "42-x000", 7);
	assert_int_equal(buf_add_str(&b, "end"), 0);
	assert_memory_equal(buf_slice(&b).p + 200, "0007end", 7);
	buf_reset(&b);
	assert_int_equal(buf_size(&b), 0);
	buf_deinit(&b);

	buf_init(&b, 8);
	assert_int_equal(buf_printf(&b, "%s", "123456789"), -ENOBUFS);
	assert_int_equal(buf_size(&b), 0);
	assert_int_equal(buf_printf(&b, "%s", "1234567"), 0);
	assert_int_equal(buf_size(&b), 7);
	buf_deinit(&b);
}

static void test_buf_empty(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	assert_int_equal(buf_add_slice(&b, (struct slice){ 0 }), 0);
	assert_int_equal(buf_slice(&b).n, 0);
	buf_consume(&b, 0);
	assert_int_equal(buf_reserve(&b, 0), 0);
	buf_deinit(&b);
}

static void test_arena_alloc(void **state)
{
	struct arena a;
	char *seen[200];

	arena_init(&a, 0);
	for (size_t i = 0; i < COUNT(seen); i++) {
		size_t n = i * 13 % 301;
		char *p = arena_alloc(&a, n);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t j = 0; j < n; j++)
			assert_int_equal(p[j], 0);
		memset(p, (int)(i + 1),
			n); /* an overlap would show as a byte not zero, or not ours */
		seen[i] = p;
	}
	for (size_t i = 0; i < COUNT(seen); i++) {
		for (size_t j = 0; j < i * 13 % 301; j++)
			assert_int_equal((unsigned char)seen[i][j], i + 1);
	}
	assert_non_null(arena_alloc(&a, 3000000));
	assert_string_equal(arena_strdup(&a, SLICE_LIT("abc")), "abc");
	assert_string_equal(arena_strdup(&a, (struct slice){ 0 }), "");
	assert_int_equal((uintptr_t)arena_alloc(&a, 1) % _Alignof(max_align_t), 0);
	arena_deinit(&a);
	assert_int_equal(a.total, 0);
}

static void test_arena_bound(void **state)
{
	struct arena a;

	arena_init(&a, 100);
	assert_non_null(arena_alloc(&a, 60));
	assert_null(arena_alloc(&a, 41));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_strdup(&a, (struct slice){ "", SIZE_MAX }));
	assert_non_null(arena_alloc(&a, 40));
	assert_null(arena_alloc(&a, 1));
	assert_int_equal(a.total, 100);
	arena_deinit(&a);

	arena_init(&a, 0);
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_alloc(&a, SIZE_MAX - 8));
	assert_non_null(arena_alloc(&a, 1));
	arena_deinit(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slice_case),
		cmocka_unit_test(test_slice_trim_from_dup),
		cmocka_unit_test(test_slice_u64),
		cmocka_unit_test(test_buf_bound),
		cmocka_unit_test(test_buf_stream),
		cmocka_unit_test(test_buf_printf),
		cmocka_unit_test(test_buf_empty),
		cmocka_unit_test(test_arena_alloc),
		cmocka_unit_test(test_arena_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
