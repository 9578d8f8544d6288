/* PROXY protocol prefaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "postern/smtp_proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define ROW(text, status, client, port)                                                            \
	{                                                                                          \
		SLICE_LIT(text), status, client, port                                              \
	}

static const struct {
	struct slice in;
	enum proxy_status status;
	const char *client; /* NULL: local */
	uint16_t port;
} rows[] = {
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", PROXY_DONE, "192.0.2.1", 56324),
	ROW("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", PROXY_DONE, "2001:db8::1", 1),
	ROW("PROXY UNKNOWN\r\n", PROXY_DONE, NULL, 0),
	ROW("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", PROXY_DONE, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25 \r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25 1\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4  192.0.2.1 198.51.100.2 56324 25\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 198.51.100.2 025 25\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 192.0.2.300 198.51.100.2 1 2\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY \r\n", PROXY_BAD, NULL, 0),
	ROW("PROXX", PROXY_BAD, NULL, 0),
	ROW("EHLO x\r\n", PROXY_BAD, NULL, 0),
	ROW("PROXY TCP4 "
	    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
	    "0000000000000000000000000000",
		PROXY_BAD, NULL, 0),
	ROW(SIG "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\0\x19", PROXY_DONE,
		"192.0.2.1", 56324),
	ROW(SIG "\x21\x11\0\x10\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\0\x19\x04\0\x01x", PROXY_DONE,
		"192.0.2.1", 56324),
	ROW(SIG "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x07\0\x19",
		PROXY_DONE, "2001:db8::1", 7),
	ROW(SIG "\x20\0\0\0", PROXY_DONE, NULL, 0),
	ROW(SIG "\x20\x11\0\x02xx", PROXY_DONE, NULL, 0),
	ROW(SIG "\x21\0\0\0", PROXY_DONE, NULL, 0),
	ROW(SIG "\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\0", PROXY_BAD, NULL, 0),
	ROW(SIG "\x21\x12\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\0\x19", PROXY_BAD, NULL, 0),
	ROW(SIG "\x31\x11\0\0", PROXY_BAD, NULL, 0),
	ROW(SIG "\x22\x11\0\0", PROXY_BAD, NULL, 0),
	ROW(SIG "\x21\x11\x08\x01", PROXY_BAD, NULL, 0),
	ROW("\r\n\r\n\0\r\nQUIX", PROXY_BAD, NULL, 0),
};

static void check_row(size_t i)
{
	struct slice in = rows[i].in;
	struct proxy_header h = { 0 };
	char text[ADDR_TEXT_MAX];
	size_t used = 7;

	assert_int_equal(proxy_parse(&h, in, &used), rows[i].status);
	assert_int_equal(used, rows[i].status == PROXY_DONE ? in.n : 0);
	if (rows[i].status != PROXY_DONE)
		return;
	assert_int_equal(h.local, !rows[i].client);
	if (rows[i].client) {
		addr_format(text, &h.client);
		assert_string_equal(text, rows[i].client);
		assert_int_equal(h.client_port, rows[i].port);
	}
	/* each shorter one is unfinished, and what follows is left alone */
	for (size_t n = 0; n < in.n; n++)
		assert_int_equal(proxy_parse(&h, (struct slice){ in.p, n }, &used), PROXY_MORE);
}

static void test_rows(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(i);
}

static void test_rest_is_left(void **state)
{
	struct slice in = SLICE_LIT("PROXY UNKNOWN\r\nEHLO x\r\n");
	struct proxy_header h;
	size_t used;

	assert_int_equal(proxy_parse(&h, in, &used), PROXY_DONE);
	assert_int_equal(used, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_rest_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
