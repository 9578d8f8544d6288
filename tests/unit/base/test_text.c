/* Small codecs: base64, xtext, UTF-8, patterns, queue ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "postern/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s)                                                                                   \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

struct codec_row {
	struct slice encoded, plain;
	int r; /* of decoding */
};

typedef int (*codec)(struct buf *out, struct slice in);

static void check_codec(const struct codec_row *rows, size_t n, codec decode, codec encode)
{
	for (size_t i = 0; i < n; i++) {
		struct buf b;

		buf_init(&b, 0);
		assert_int_equal(buf_add_str(&b, "<"), 0);
		assert_int_equal(decode(&b, rows[i].encoded), rows[i].r);
		/* what failed has added nothing */
		assert_int_equal(buf_size(&b), rows[i].r ? 1 : rows[i].plain.n + 1);
		if (rows[i].r == 0) {
			assert_true(slice_eq(slice_from(buf_slice(&b), 1), rows[i].plain));
			buf_reset(&b);
			assert_int_equal(encode(&b, rows[i].plain), 0);
			assert_true(slice_eq(buf_slice(&b), rows[i].encoded));
		}
		buf_deinit(&b);
	}
}

static void test_base64(void **state)
{
	static const struct codec_row rows[] = {
		{ BYTES(""), BYTES(""), 0 },
		{ BYTES("Zg=="), BYTES("f"), 0 },
		{ BYTES("Zm8="), BYTES("fo"), 0 },
		{ BYTES("Zm9v"), BYTES("foo"), 0 },
		{ BYTES("AHRlc3QAcGFzcw=="), BYTES("\0test\0pass"), 0 },
		{ BYTES("//79+w=="), BYTES("\xff\xfe\xfd\xfb"), 0 },
		{ BYTES("Zg"), BYTES(""), -EINVAL },
		{ BYTES("Zg="), BYTES(""), -EINVAL },
		{ BYTES("Z==="), BYTES(""), -EINVAL },
		{ BYTES("===="), BYTES(""), -EINVAL },
		{ BYTES("=Zg="), BYTES(""), -EINVAL },
		{ BYTES("Zg==Zg=="), BYTES(""), -EINVAL },
		{ BYTES("Zh=="), BYTES(""), -EINVAL }, /* bits left over */
		{ BYTES("Zm9="), BYTES(""), -EINVAL },
		{ BYTES("Zm9v\r\n=="), BYTES(""), -EINVAL },
		{ BYTES("Zm 9"), BYTES(""), -EINVAL },
		{ BYTES("Zm-_"), BYTES(""), -EINVAL },
		{ BYTES("Zm9\0"), BYTES(""), -EINVAL },
	};
	struct buf small;

	check_codec(rows, COUNT(rows), base64_decode, base64_encode);
	buf_init(&small, 4);
	assert_int_equal(base64_encode(&small, SLICE_LIT("four")), -ENOBUFS);
	assert_int_equal(base64_decode(&small, SLICE_LIT("Zm9vZm9v")), -ENOBUFS);
	assert_int_equal(base64_encode(&small, SLICE_LIT("foo")), 0);
	buf_deinit(&small);
}

static void test_xtext(void **state)
{
	static const struct codec_row rows[] = {
		{ BYTES(""), BYTES(""), 0 },
		{ BYTES("QQ314159"), BYTES("QQ314159"), 0 },
		{ BYTES("a+2Bb+3Dc+20d"), BYTES("a+b=c d"), 0 },
		{ BYTES("J+C3+BCrgen"), BYTES("J\xc3\xbcrgen"), 0 },
		{ BYTES("a=b"), BYTES(""), -EINVAL },
		{ BYTES("a b"), BYTES(""), -EINVAL },
		{ BYTES("a+"), BYTES(""), -EINVAL },
		{ BYTES("a+2"), BYTES(""), -EINVAL },
		{ BYTES("a+2G"), BYTES(""), -EINVAL },
		{ BYTES("+0D+0ABcc:x"), BYTES(""), -EINVAL }, /* no line ends into header fields */
		{ BYTES("+00"), BYTES(""), -EINVAL },
		{ BYTES("+7F"), BYTES(""), -EINVAL },
		{ BYTES("\x80"), BYTES(""), -EINVAL },
	};
	struct buf b;

	check_codec(rows, COUNT(rows), xtext_decode, xtext_encode);
	buf_init(&b, 0);
	assert_int_equal(xtext_decode(&b, SLICE_LIT("+2b+3d")), 0); /* lower case is understood */
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("+=")));
	buf_deinit(&b);
}

static void test_utf8(void **state)
{
	static const struct {
		struct slice text;
		bool valid;
	} rows[] = {
		{ BYTES(""), true },
		{ BYTES("ascii\0too"), true },
		{ BYTES("\xc3\xbc"), true },
		{ BYTES("\xe2\x82\xac"), true },
		{ BYTES("\xf0\x9f\x93\xa8"), true },
		{ BYTES("\xf4\x8f\xbf\xbf"), true },
		{ BYTES("\xee\x80\x80\xef\xbf\xbf"), true },
		{ BYTES("\xf4\x90\x80\x80"), false }, /* over U+10FFFF */
		{ BYTES("\xed\xa0\x80"), false },     /* surrogate */
		{ BYTES("\xed\x9f\xbf"), true },
		{ BYTES("\xc0\x80"), false }, /* overlong */
		{ BYTES("\xc1\xbf"), false },
		{ BYTES("\xe0\x9f\xbf"), false },
		{ BYTES("\xf0\x8f\xbf\xbf"), false },
		{ BYTES("\xf5\x80\x80\x80"), false },
		{ BYTES("\x80"), false },
		{ BYTES("a\xc3"), false },
		{ BYTES("\xe2\x82"), false },
		{ BYTES("\xe2\x28\xa1"), false },
		{ BYTES("\xf0\x9f\x93z"), false },
		{ BYTES("\xff"), false },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(utf8_valid(rows[i].text), rows[i].valid);
}

static void test_glob(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} rows[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "*", "anything.at.all", true },
		{ "*.mail.protection.outlook.com", "contoso-com.mail.protection.outlook.com",
			true },
		{ "*.mail.protection.outlook.com", "CONTOSO-COM.MAIL.Protection.Outlook.COM",
			true },
		{ "*.mail.protection.outlook.com", "mail.protection.outlook.com", false },
		{ "*.mail.protection.outlook.com", "x.mail.protection.outlook.com.evil.example",
			false },
		{ "*.mx.microsoft", "contoso-com.d-v1.mx.microsoft", true },
		{ "*.mx.microsoft", "contoso-com.d-v1.mxmicrosoft", false }, /* a dot is a dot */
		{ "a*b*c", "a-b-b-c", true },
		{ "a*b*c", "a-c-b", false },
		{ "a**c", "ac", true },
		{ "*aab", "aaaab", true },
		{ "ab", "abc", false },
		{ "abc", "ab", false },
		{ "*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		bool match = glob_match(slice_of(rows[i].pattern), slice_of(rows[i].text));

		assert_int_equal(match, rows[i].match);
	}
}

static void test_queue_id(void **state)
{
	static const struct {
		uint64_t id;
		const char *text;
	} rows[] = {
		{ 0, "0000000000000" },
		{ 1, "0000000000001" },
		{ 31, "000000000000z" },
		{ 32, "0000000000010" },
		{ UINT64_MAX, "fzzzzzzzzzzzz" },
	};
	static const char *const bad[] = { "", "0", "00000000000000", "g000000000000",
		"000000000000i", "000000000000l", "000000000000o", "000000000000u", "000000000000-",
		"000000000000 " };
	char before[QUEUE_ID_TEXT + 1] = "";

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[QUEUE_ID_TEXT + 1];
		uint64_t id = 7;

		queue_id_format(text, rows[i].id);
		assert_string_equal(text, rows[i].text);
		assert_true(strcmp(before, text) < 0); /* text order is id order */
		strcpy(before, text);
		assert_int_equal(queue_id_parse(&id, slice_of(text)), 0);
		assert_true(id == rows[i].id);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t id = 7;

		assert_int_equal(queue_id_parse(&id, slice_of(bad[i])), -EINVAL);
		assert_int_equal(id, 7);
	}
	for (uint64_t id = 1; id != 0; id <<= 1) {
		char text[QUEUE_ID_TEXT + 1];
		uint64_t again;

		queue_id_format(text, id - 1);
		assert_int_equal(queue_id_parse(&again, slice_of(text)), 0);
		assert_true(again == id - 1);
	}
}

static void test_queue_id_capitals(void **state)
{
	uint64_t id = 0;

	assert_int_equal(queue_id_parse(&id, SLICE_LIT("00000000000AZ")), 0);
	assert_int_equal(id, 10 * 32 + 31);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_xtext),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_glob),
		cmocka_unit_test(test_queue_id),
		cmocka_unit_test(test_queue_id_capitals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
