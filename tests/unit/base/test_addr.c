/* Addresses and networks: text, masks, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "postern/addr.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_parse(void **state)
{
	static const struct {
		const char *text, *again; /* again NULL: refused */
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "10.20.100.9", "10.20.100.9" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "2001:DB8:0:0:0:0:0:1", "2001:db8::1" },
		{ "::", "::" },
		{ "::ffff:192.0.2.1", "192.0.2.1" }, /* mapped: the same host, one spelling */
		{ "::ffff:c000:201", "192.0.2.1" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "", NULL },
		{ "192.0.2", NULL },
		{ "192.0.2.256", NULL },
		{ "192.0.2.01", NULL },
		{ "192.0.2.1 ", NULL },
		{ "192.0.2.1.5", NULL },
		{ "0x7f.0.0.1", NULL },
		{ "fe80::1%lo", NULL },
		{ "[::1]", NULL },
		{ "1:2:3:4:5:6:7:8:9", NULL },
		{ "2001:db8::1::2", NULL },
		{ "localhost", NULL },
		{ "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr a = { 0 };
		int r = addr_parse(&a, slice_of(rows[i].text));

		assert_int_equal(r, rows[i].again ? 0 : -EINVAL);
		if (r)
			continue;
		assert_int_equal(addr_format(text, &a), strlen(rows[i].again));
		assert_string_equal(text, rows[i].again);
	}
	assert_int_equal(addr_parse(&(struct addr){ 0 }, SLICE_LIT("1.2.3.4\0")), -EINVAL);
}

static void test_parse_port(void **state)
{
	static const struct {
		const char *text, *addr;
		uint16_t port;
	} rows[] = {
		{ "127.0.0.1:25", "127.0.0.1", 25 },
		{ "0.0.0.0:0", "0.0.0.0", 0 },
		{ "[::1]:65535", "::1", 65535 },
		{ "[::ffff:192.0.2.1]:25", "192.0.2.1", 25 },
		{ "", NULL, 0 },
		{ "127.0.0.1", NULL, 0 },
		{ "127.0.0.1:", NULL, 0 },
		{ "127.0.0.1:65536", NULL, 0 },
		{ "127.0.0.1:000025", NULL, 0 },
		{ "127.0.0.1:-1", NULL, 0 },
		{ "127.0.0.1: 25", NULL, 0 },
		{ ":25", NULL, 0 },
		{ "::1", NULL, 0 }, /* not address "::" with port 1 */
		{ "::1:25", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "[::1]25", NULL, 0 },
		{ "[::1:25", NULL, 0 },
		{ "[]:25", NULL, 0 },
		{ "[:25", NULL, 0 },
		{ "[192.0.2.1]:25", NULL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr a = { 0 };
		uint16_t port = 9;
		int r = addr_parse_port(&a, &port, slice_of(rows[i].text));

		assert_int_equal(r, rows[i].addr ? 0 : -EINVAL);
		assert_int_equal(port, rows[i].addr ? rows[i].port : 9);
		if (r == 0) {
			addr_format(text, &a);
			assert_string_equal(text, rows[i].addr);
		}
	}
}

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_of(text)), 0);
	return a;
}

static void test_net(void **state)
{
	static const struct {
		const char *net, *again, *in, *out;
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0" },
		{ "192.0.2.128/25", "192.0.2.128/25", "192.0.2.129", "192.0.2.127" },
		{ "192.0.2.1", "192.0.2.1/32", "192.0.2.1", "192.0.2.2" },
		{ "0.0.0.0/0", "0.0.0.0/0", "255.1.1.1", "::1" },
		{ "::/0", "::/0", "2001:db8::1", "192.0.2.1" },
		{ "2001:db8::/33", "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
		{ "2001:db8::1", "2001:db8::1/128", "2001:db8::1", "2001:db8::2" },
		{ "::ffff:192.0.2.0/120", "192.0.2.0/24", "192.0.2.7", "192.0.3.7" },
		{ "10.0.0.1/8", NULL, NULL, NULL },
		{ "10.0.0.0/33", NULL, NULL, NULL },
		{ "10.0.0.0/", NULL, NULL, NULL },
		{ "10.0.0.0/-1", NULL, NULL, NULL },
		{ "10.0.0.0/0008", NULL, NULL, NULL },
		{ "10.0.0.0/8/8", NULL, NULL, NULL },
		{ "2001:db8::/129", NULL, NULL, NULL },
		{ "::ffff:192.0.2.0/24", NULL, NULL, NULL },
		{ "/8", NULL, NULL, NULL },
		{ "", NULL, NULL, NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[ADDR_TEXT_MAX + 4];
		struct net n;
		struct addr in, out;
		int r = net_parse(&n, slice_of(rows[i].net));

		assert_int_equal(r, rows[i].again ? 0 : -EINVAL);
		if (r)
			continue;
		in = addr(rows[i].in);
		out = addr(rows[i].out);
		assert_int_equal(net_format(text, &n), strlen(rows[i].again));
		assert_string_equal(text, rows[i].again);
		assert_true(net_contains(&n, &in));
		assert_false(net_contains(&n, &out));
	}
}

static void test_net_of(void **state)
{
	static const struct {
		const char *addr;
		uint8_t v4, v6;
		const char *net;
	} rows[] = {
		{ "198.51.100.77", 24, 64, "198.51.100.0/24" },
		{ "198.51.100.77", 0, 64, "0.0.0.0/0" },
		{ "198.51.100.77", 32, 64, "198.51.100.77/32" },
		{ "198.51.100.77", 99, 64, "198.51.100.77/32" },
		{ "198.51.100.77", 26, 64, "198.51.100.64/26" },
		{ "2001:db8:1:2:3::4", 24, 64, "2001:db8:1:2::/64" },
		{ "2001:db8:1:2:3::4", 24, 61, "2001:db8:1::/61" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[ADDR_TEXT_MAX + 4];
		struct addr a = addr(rows[i].addr);
		struct net n = net_of(&a, rows[i].v4, rows[i].v6);

		net_format(text, &n);
		assert_string_equal(text, rows[i].net);
	}
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "192.0.2.1", "2001:db8::7" };
	struct sockaddr_un_like {
		sa_family_t family;
		char path[14];
	} other = { .family = AF_UNIX };
	struct sockaddr_storage ss;
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(25) };
	struct addr a, b;
	uint16_t port = 0;

	for (size_t i = 0; i < COUNT(texts); i++) {
		a = addr(texts[i]);
		addr_to_sockaddr(&ss, &a, 2525);
		assert_int_equal(addr_from_sockaddr(&b, &port, (const struct sockaddr *)&ss), 0);
		assert_true(addr_eq(&a, &b));
		assert_int_equal(port, 2525);
		assert_int_equal(addr_from_sockaddr(&b, NULL, (const struct sockaddr *)&ss), 0);
	}
	/* what a dual-stack socket gives for an IPv4 peer */
	memcpy(mapped.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
	assert_int_equal(addr_from_sockaddr(&b, &port, (const struct sockaddr *)&mapped), 0);
	a = addr("192.0.2.1");
	assert_true(addr_eq(&a, &b));
	assert_int_equal(addr_hash(&a), addr_hash(&b));
	assert_int_equal(
		addr_from_sockaddr(&b, &port, (const struct sockaddr *)&other), -EAFNOSUPPORT);
}

static void test_eq_hash_loopback(void **state)
{
	struct addr v4 = addr("1.2.3.4"), v6 = addr("102:304::"); /* the same first bytes */
	struct addr loop4 = addr("127.9.8.7"), loop6 = addr("::1"), none = { 0 };
	char text[ADDR_TEXT_MAX];
	uint32_t hashes[256];
	unsigned equal = 0;

	assert_false(addr_eq(&v4, &v6));
	assert_true(addr_is_loopback(&loop4));
	assert_true(addr_is_loopback(&loop6));
	assert_false(addr_is_loopback(&v4));
	assert_false(addr_is_loopback(&v6));
	assert_false(addr_is_loopback(&none));
	assert_int_equal(addr_format(text, &none), 0);
	assert_string_equal(text, "");
	for (unsigned i = 0; i < COUNT(hashes); i++) {
		v4.ip[3] = (uint8_t)i;
		hashes[i] = addr_hash(&v4) & 1023;
		for (unsigned j = 0; j < i; j++)
			equal += hashes[i] == hashes[j];
	}
	/* neighbours must spread: random values would meet about 32 times */
	assert_true(equal < 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_port),
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_net_of),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_eq_hash_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
