/* Text of others made harmless for terminals, logs and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "postern/foreign.h"
#include "postern/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s)                                                                                   \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

struct row {
	struct slice in;
	const char *terminal, *json;
};

static const struct row rows[] = {
	{ BYTES(""), "", "" },
	{ BYTES("plain 'text' \\n"), "plain 'text' \\n", "plain 'text' \\n" },
	{ BYTES("Gr\xc3\xbc\xc3\x9f"
		"e \xe4\xbd\xa0 \xf0\x9f\x93\xac"),
		"Gr\xc3\xbc\xc3\x9f"
		"e \xe4\xbd\xa0 \xf0\x9f\x93\xac",
		"Gr\xc3\xbc\xc3\x9f"
		"e \xe4\xbd\xa0 \xf0\x9f\x93\xac" },
	{ BYTES("\x1b[2J\a\b\x7f"), "\\x1b[2J\\x07\\x08\\x7f", "\\u001b[2J\\u0007\\u0008\\u007f" },
	{ BYTES("a\nb\tc\rd"), "a\\x0ab\\x09c\\x0dd", "a\\u000ab\\u0009c\\u000dd" },
	{ BYTES("a\0b"), "a\\x00b", "a\\u0000b" },
	{ BYTES("\xc2\x9b"
		"31m \xc2\x80\xc2\x9f\xc2\xa0"),
		"\\u{9b}31m \\u{80}\\u{9f}\xc2\xa0", "\\u009b31m \\u0080\\u009f\xc2\xa0" },
	{ BYTES("\x9b\x80"), "\\x9b\\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ BYTES("\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9"),
		"\\u{202a}\\u{202e}\\u{2066}\\u{2069}", "\\u202a\\u202e\\u2066\\u2069" },
	{ BYTES("\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf"),
		"\\u{200e}\\u{200f}\\u{61c}\\u{2028}\\u{2029}\\u{feff}",
		"\\u200e\\u200f\\u061c\\u2028\\u2029\\ufeff" },
	/* joiners are letters */
	{ BYTES("\xe2\x80\x8d\xe2\x80\x8c"), "\xe2\x80\x8d\xe2\x80\x8c",
		"\xe2\x80\x8d\xe2\x80\x8c" },
	{ BYTES("\xf3\xa0\x80\x81"), "\\u{e0001}", "\\udb40\\udc01" }, /* a tag */
	/* lone surrogates, overlong, too high, cut */
	{ BYTES("\xed\xa0\x80"), "\\xed\\xa0\\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ BYTES("\xc0\x9b"), "\\xc0\\x9b", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ BYTES("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ BYTES("x\xe4\xbd"), "x\\xe4\\xbd", "x\xef\xbf\xbd\xef\xbf\xbd" },
	{ BYTES("\xd3\xca\xcf\xe4"), "\\xd3\\xca\\xcf\\xe4",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* GBK */
};

static void check_show(struct slice in, enum foreign_form form, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	assert_int_equal(foreign_show(&b, in, form), 0);
	assert_int_equal(buf_size(&b), strlen(want));
	assert_memory_equal(buf_size(&b) ? b.p : "", want, strlen(want));
	assert_true(utf8_valid(buf_slice(&b)));
	buf_deinit(&b);
}

static void test_show(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		check_show(rows[i].in, FOREIGN_TERMINAL, rows[i].terminal);
		check_show(rows[i].in, FOREIGN_JSON, rows[i].json);
	}
	check_show(SLICE_LIT("a\n\tb\r\n\x1b"), FOREIGN_LINES, "a\n\tb\\x0d\n\\x1b");
}

/* All strings of up to three bytes out of those that matter: what is shown can be read, and holds
 * nothing that a terminal obeys. */
static void test_show_all(void **state)
{
	static const unsigned char some[] = { 0, 7, 0x1b, 0x20, 'a', 0x7f, 0x80, 0x8e, 0x9b, 0xa0,
		0xa8, 0xaa, 0xbd, 0xbf, 0xc0, 0xc2, 0xd8, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf3, 0xf4,
		0xff };
	const size_t n = COUNT(some);

	for (size_t k = 0; k < n * n * n; k++) {
		const char in[3] = { (char)some[k / n / n], (char)some[k / n % n],
			(char)some[k % n] };
		struct buf b, again;

		buf_init(&b, 0);
		buf_init(&again, 0);
		assert_int_equal(foreign_show(&b, (struct slice){ in, 3 }, FOREIGN_TERMINAL), 0);
		assert_true(utf8_valid(buf_slice(&b)));
		/* nothing is left to be shown otherwise */
		assert_int_equal(foreign_show(&again, buf_slice(&b), FOREIGN_TERMINAL), 0);
		assert_true(slice_eq(buf_slice(&b), buf_slice(&again)));
		buf_reset(&b);
		assert_int_equal(foreign_utf8(&b, (struct slice){ in, 3 }), 0);
		assert_true(utf8_valid(buf_slice(&b)));
		assert_null(memchr(b.p, 0, buf_size(&b)));
		buf_deinit(&again);
		buf_deinit(&b);
	}
}

static void test_cut(void **state)
{
	static const struct {
		struct slice in;
		size_t max, n;
	} cuts[] = {
		{ BYTES("abc"), 3, 3 }, { BYTES("abc"), 2, 2 }, { BYTES("abc"), 0, 0 },
		{ BYTES("a\xc3\xbc"), 2, 1 }, { BYTES("a\xc3\xbc"), 3, 3 },
		{ BYTES("\xe4\xbd\xa0\xe4\xbd\xa0"), 3, 3 },
		{ BYTES("\xe4\xbd\xa0\xe4\xbd\xa0"), 4, 3 },
		{ BYTES("\xe4\xbd\xa0\xe4\xbd\xa0"), 5, 3 }, { BYTES("\xf0\x9f\x93\xac!"), 3, 0 },
		{ BYTES("\xf0\x9f\x93\xac!"), 4, 4 },
		{ BYTES("\x80\x80\x80\x80\x80\x80\x80"), 5, 5 }, /* no characters at all */
	};

	for (size_t i = 0; i < COUNT(cuts); i++) {
		struct slice s = foreign_cut(cuts[i].in, cuts[i].max);

		assert_int_equal(s.n, cuts[i].n);
		assert_ptr_equal(s.p, cuts[i].in.p);
	}
}

static void test_end(void **state)
{
	static const char *const ends[][2] = {
		{ "", "" }, { "abc", "abc" }, { "a\xc3\xbc", "a\xc3\xbc" }, { "a\xc3", "a" },
		{ "a\xe4\xbd", "a" }, { "\xf0\x9f\x93", "" },
		{ "\xf0\x9f\x93\xac", "\xf0\x9f\x93\xac" },
		{ "a\x80\x80\x80\x80", "a\x80\x80\x80\x80" }, /* not cut: never was a character */
	};

	for (size_t i = 0; i < COUNT(ends); i++) {
		char text[16];

		strcpy(text, ends[i][0]);
		foreign_end(text);
		assert_string_equal(text, ends[i][1]);
	}
}

static void test_bounds(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	assert_int_equal(foreign_utf8(&b, SLICE_LIT("abc\xff")), -ENOBUFS);
	buf_reset(&b);
	assert_int_equal(foreign_show(&b, SLICE_LIT("\x1b"), FOREIGN_TERMINAL), 0);
	assert_int_equal(foreign_show(&b, SLICE_LIT("\x1b"), FOREIGN_TERMINAL), -ENOBUFS);
	buf_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_show_all),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("foreign", tests, NULL, NULL);
}
