/* The parser of DNS answers, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../../relay/dns/dns_wire.h"

#define HEAD(count)    "\x12\x34\x81\x80\0\1\0" count "\0\0\0\0"
#define QUESTION(type) "\1a\4test\0\0" type "\0\1"
#define OWNER	       "\xc0\x0c"
#define IN_60	       "\0\1\0\0\0\x3c"
#define X(s)                                                                                       \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

static const struct {
	const char *label;
	struct slice in;
	enum dns_type type;
	int r;
	const char *what; /* "ttl: 10 mx.a.test 192.0.2.1 ptr" */
} rows[] = {
	{ "address", X(HEAD("\1") QUESTION("\1") OWNER "\0\1" IN_60 "\0\4\xc0\0\2\1"), DNS_TYPE_A,
		0, "60: 192.0.2.1" },
	{ "address twice",
		X(HEAD("\2") QUESTION("\1") OWNER "\0\1" IN_60 "\0\4\xc0\0\2\1" OWNER
						  "\0\1\0\1\0\0\0\5\0\4\xc0\0\2\1"),
		DNS_TYPE_A, 0, "5: 192.0.2.1" },
	{ "address of IPv6",
		X(HEAD("\1") QUESTION("\x1c") OWNER "\0\x1c" IN_60
						    "\0\x10\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"),
		DNS_TYPE_AAAA, 0, "60: 2001:db8::1" },
	{ "mx, compressed",
		X(HEAD("\1") QUESTION("\x0f") OWNER "\0\x0f" IN_60 "\0\7\0\x0a\2MX\xc0\x0c"),
		DNS_TYPE_MX, 0, "60: 10 mx.a.test" },
	{ "mx of the root", X(HEAD("\1") QUESTION("\x0f") OWNER "\0\x0f" IN_60 "\0\3\0\0\0"),
		DNS_TYPE_MX, 0, "60: 0 ." },
	{ "mx with a space",
		X(HEAD("\1") QUESTION("\x0f") OWNER "\0\x0f" IN_60 "\0\7\0\x0a\2m \xc0\x0c"),
		DNS_TYPE_MX, 0, "60: skipped 1" },
	{ "mx, bytes left over", X(HEAD("\1") QUESTION("\x0f") OWNER "\0\x0f" IN_60 "\0\4\0\0\0\0"),
		DNS_TYPE_MX, -EBADMSG, NULL },
	{ "mx without a name", X(HEAD("\1") QUESTION("\x0f") OWNER "\0\x0f" IN_60 "\0\2\0\0"),
		DNS_TYPE_MX, -EBADMSG, NULL },
	{ "pointer to itself", X(HEAD("\1") QUESTION("\x0f") "\xc0\x18\0\x0f" IN_60 "\0\3\0\0\0"),
		DNS_TYPE_MX, -EBADMSG, NULL },
	{ "pointer forward",
		X(HEAD("\1") QUESTION("\x0f") OWNER "\0\x0f" IN_60 "\0\4\0\0\xc0\x30\1x\0"),
		DNS_TYPE_MX, -EBADMSG, NULL },
	{ "label of a reserved kind",
		X(HEAD("\1") QUESTION("\1") "\x80\0\0\1" IN_60 "\0\4\xc0\0\2\1"), DNS_TYPE_A,
		-EBADMSG, NULL },
	{ "address of five bytes",
		X(HEAD("\1") QUESTION("\1") OWNER "\0\1" IN_60 "\0\5\xc0\0\2\1\1"), DNS_TYPE_A,
		-EBADMSG, NULL },
	{ "record cut short", X(HEAD("\1") QUESTION("\1") OWNER "\0\1" IN_60 "\0\4\xc0\0\2"),
		DNS_TYPE_A, -EBADMSG, NULL },
	{ "count too high", X(HEAD("\2") QUESTION("\1") OWNER "\0\1" IN_60 "\0\4\xc0\0\2\1"),
		DNS_TYPE_A, -EBADMSG, NULL },
	{ "of another name", X(HEAD("\1") QUESTION("\1") "\1b\4test\0\0\1" IN_60 "\0\4\xc0\0\2\1"),
		DNS_TYPE_A, 0, "0:" },
	{ "of another class", X(HEAD("\1") QUESTION("\1") OWNER "\0\1\0\3\0\0\0\x3c\0\4\xc0\0\2\1"),
		DNS_TYPE_A, 0, "0:" },
	{ "name in other case",
		X(HEAD("\1") QUESTION("\1") "\1A\4TEST\0\0\1" IN_60 "\0\4\xc0\0\2\1"), DNS_TYPE_A,
		0, "60: 192.0.2.1" },
	{ "alias behind its target",
		X(HEAD("\2") QUESTION("\1") "\1b\xc0\x0e\0\1" IN_60 "\0\4\xc0\0\2\1" OWNER
					    "\0\5\0\1\0\0\0\7\0\4\1b\xc0\x0e"),
		DNS_TYPE_A, 0, "7: 192.0.2.1" },
	{ "alias in a circle", X(HEAD("\1") QUESTION("\1") OWNER "\0\5" IN_60 "\0\2\xc0\x0c"),
		DNS_TYPE_A, -EBADMSG, NULL },
	{ "time beyond 31 bits",
		X(HEAD("\1") QUESTION("\1") OWNER "\0\1\0\1\xff\xff\xff\xff\0\4\xc0\0\2\1"),
		DNS_TYPE_A, 0, "0: 192.0.2.1" },
	{ "name of an address",
		X(HEAD("\1") QUESTION("\x0c") OWNER "\0\x0c" IN_60 "\0\5\2mx\xc0\x0e"),
		DNS_TYPE_PTR, 0, "60: mx.test" },
	{ "no answer", X(HEAD("\0") QUESTION("\1")), DNS_TYPE_A, 0, "0:" },
	{ "no question", X("\x12\x34\x81\x80\0\0\0\0\0\0\0\0"), DNS_TYPE_A, -EBADMSG, NULL },
	{ "header only", X("\x12\x34\x81\x80\0\1\0\0\0\0\0"), DNS_TYPE_A, -EBADMSG, NULL },
	{ "nothing", X(""), DNS_TYPE_A, -EBADMSG, NULL },
};

static void describe(const struct dns_answer *a, char *out, size_t max)
{
	size_t n = (size_t)snprintf(out, max, "%u:", a->ttl);
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < a->nmx; i++)
		n += (size_t)snprintf(out + n, max - n, " %u %s", a->mx[i].preference,
			a->mx[i].name[0] ? a->mx[i].name : ".");
	for (unsigned i = 0; i < a->naddrs; i++) {
		addr_format(text, &a->addrs[i]);
		n += (size_t)snprintf(out + n, max - n, " %s", text);
	}
	if (a->ptr[0])
		n += (size_t)snprintf(out + n, max - n, " %s", a->ptr);
	if (a->skipped)
		snprintf(out + n, max - n, " skipped %u", a->skipped);
}

static void parses(void **state)
{
	static struct dns_answer a;
	char got[1024];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = dns_wire_parse(
			&a, (const uint8_t *)rows[i].in.p, rows[i].in.n, rows[i].type);

		if (r != rows[i].r)
			fail_msg("%s: %d, not %d", rows[i].label, r, rows[i].r);
		if (r)
			continue;
		describe(&a, got, sizeof(got));
		if (strcmp(got, rows[i].what) != 0)
			fail_msg("%s: %s, not %s", rows[i].label, got, rows[i].what);
	}
}

/* More hosts than are kept, in falling order of preference: the best stay. */
static void best_hosts_are_kept(void **state)
{
	static struct dns_answer a;
	uint8_t m[2048] = HEAD("\x28") QUESTION("\x0f");
	size_t n = sizeof(HEAD("\x28") QUESTION("\x0f")) - 1;

	for (unsigned i = 0; i < 40; i++) {
		static const char begin[] = OWNER "\0\x0f" IN_60 "\0\7\0";

		memcpy(m + n, begin, sizeof(begin) - 1);
		n += sizeof(begin) - 1;
		m[n++] = (uint8_t)(100 - i);
		m[n++] = 2;
		m[n++] = (uint8_t)('a' + i / 10);
		m[n++] = (uint8_t)('0' + i % 10);
		m[n++] = 0xc0;
		m[n++] = 0x0c;
	}
	assert_int_equal(dns_wire_parse(&a, m, n, DNS_TYPE_MX), 0);
	assert_int_equal(a.nmx, DNS_MX_MAX);
	for (unsigned i = 0; i < DNS_MX_MAX; i++)
		assert_int_equal(a.mx[i].preference, 61 + i);
	assert_string_equal(a.mx[0].name, "d9.a.test");
	/* no byte less is an answer */
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(dns_wire_parse(&a, m, cut, DNS_TYPE_MX), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(best_hosts_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
