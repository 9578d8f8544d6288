/* Who we are, and what of a route is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../../../relay/dispatch/own.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MX_MAX	 4

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_of(text)), 0);
	return a;
}

/* Relay "out.example", listening on 192.0.2.10:25, [::1]:2525 and, when wanted, 0.0.0.0:2626;
 * sources 192.0.2.20 as "Src.Example" and 127.0.0.1; 10.0.0.0/8 is never connected to. */
static struct own *relay(bool wildcard)
{
	struct dispatch_endpoint at[] = { { address("192.0.2.10"), 25 }, { address("::1"), 2525 },
		{ address("0.0.0.0"), 2626 } };
	struct source_params sources[] = {
		{ .address = address("192.0.2.20"), .ehlo = (char *)(uintptr_t) "Src.Example" },
		{ .address = address("127.0.0.1"), .ehlo = (char *)(uintptr_t) "b.example" },
	};
	struct net never[] = { { .addr = address("10.0.0.0"), .bits = 8 } };
	struct policy_params p = {
		.sources = sources, .nsources = 2, .never_connect = never, .nnever_connect = 1
	};
	struct own *o = NULL;

	assert_int_equal(own_new(&o, "Out.Example", at, wildcard ? 3 : 2, &p), 0);
	own_refresh(o, 1);
	return o;
}

static void addresses(void **state)
{
	static const struct {
		const char *addr;
		uint16_t port;
		bool wildcard, ours;
	} rows[] = {
		{ "192.0.2.10", 25, false, true },
		{ "192.0.2.10", 26, false, false },
		{ "192.0.2.11", 25, false, false },
		{ "::1", 2525, false, true },
		{ "127.0.0.1", 2525, false, false },
		{ "192.0.2.20", 25, false, true },
		{ "192.0.2.20", 2525, false, true },
		{ "127.0.0.1", 25, false, false },
		{ "127.0.0.1", 2626, true, true },
		{ "127.9.8.7", 2626, true, true },
		{ "127.0.0.1", 2627, true, false },
		{ "198.51.100.1", 2626, true, false },
		{ "::ffff:192.0.2.10", 25, false, true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct own *o = relay(rows[i].wildcard);
		struct addr a = address(rows[i].addr);

		if (own_address(o, &a, rows[i].port) != rows[i].ours)
			fail_msg("%s port %u", rows[i].addr, rows[i].port);
		own_free(o);
	}
}

static void never(void **state)
{
	static const struct {
		const char *addr;
		bool never;
	} rows[] = {
		{ "0.0.0.0", true },
		{ "0.1.2.3", true },
		{ "::", true },
		{ "::ffff:0.0.0.0", true },
		{ "::ffff:10.1.2.3", true },
		{ "::1.2.3.4", true },
		{ "224.0.0.1", true },
		{ "239.255.255.255", true },
		{ "255.255.255.255", true },
		{ "240.0.0.1", true },
		{ "ff02::1", true },
		{ "fe80::1", true },
		{ "febf::1", true },
		{ "10.1.2.3", true },
		{ "11.0.0.1", false },
		{ "127.0.0.1", false },
		{ "::1", false },
		{ "192.168.1.1", false },
		{ "2001:db8::1", false },
		{ "fd00::1", false },
		{ "223.255.255.255", false },
	};
	struct own *o = relay(false);

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr a = address(rows[i].addr);

		if (own_never(o, &a) != rows[i].never)
			fail_msg("%s", rows[i].addr);
	}
	own_free(o);
}

struct mx {
	uint16_t preference;
	const char *name, *addr; /* addr NULL: lost */
	enum dns_status lost;
};

static void views(void **state)
{
	static const struct {
		const char *what;
		struct mx mx[MX_MAX];
		uint32_t cut;
		unsigned usable;
		const char *ours, *refused;
		bool lost, lost_temp;
	} rows[] = {
		{ "not ours", { { 10, "a", "198.51.100.1", 0 }, { 20, "b", "198.51.100.2", 0 } },
			OWN_NO_CUT, 2, NULL, NULL, false, false },
		{ "ours alone, by name", { { 10, "out.example", "198.51.100.1", 0 } }, 10, 0,
			"out.example", NULL, false, false },
		{ "by a source's name", { { 0, "src.example", "198.51.100.1", 0 } }, 0, 0,
			"src.example", NULL, false, false },
		{ "by address", { { 10, "a", "192.0.2.10", 0 } }, 10, 0, "a", NULL, false, false },
		{ "backup MX: only what comes before us",
			{ { 10, "a", "198.51.100.1", 0 }, { 20, "out.example", "198.51.100.2", 0 },
				{ 20, "c", "198.51.100.3", 0 }, { 30, "d", "198.51.100.4", 0 } },
			20, 1, "out.example", NULL, false, false },
		{ "equal preference behind and before us",
			{ { 10, "a", "198.51.100.1", 0 }, { 10, "b", "192.0.2.10", 0 } }, 10, 0,
			"b", NULL, false, false },
		{ "ours is first: nothing is left",
			{ { 5, "b", "192.0.2.10", 0 }, { 10, "a", "198.51.100.1", 0 } }, 5, 0, "b",
			NULL, false, false },
		{ "ours by a name without address",
			{ { 10, "out.example", NULL, DNS_TEMPORARY },
				{ 20, "a", "198.51.100.1", 0 } },
			10, 0, "out.example", NULL, false, false },
		{ "one before us fails for now",
			{ { 10, "a", NULL, DNS_TEMPORARY }, { 20, "b", "192.0.2.10", 0 } }, 20, 0,
			"b", NULL, true, true },
		{ "one before us is gone",
			{ { 10, "a", NULL, DNS_NXDOMAIN }, { 20, "b", "192.0.2.10", 0 } }, 20, 0,
			"b", NULL, true, false },
		{ "never connected to", { { 10, "a", "0.0.0.0", 0 }, { 20, "b", "10.0.0.1", 0 } },
			OWN_NO_CUT, 0, NULL, "b", false, false },
		{ "the other one may be",
			{ { 10, "a", "10.0.0.1", 0 }, { 20, "b", "198.51.100.1", 0 } }, OWN_NO_CUT,
			1, NULL, "a", false, false },
	};
	struct own *o = relay(false);

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct dns_host hosts[MX_MAX];
		struct dns_lost_host lost[MX_MAX];
		struct addr addrs[MX_MAX];
		struct dns_route r = { .hosts = hosts, .lost = lost };
		struct own_view v;

		for (size_t k = 0; k < MX_MAX && rows[i].mx[k].name; k++) {
			const struct mx *m = &rows[i].mx[k];
			char *name = (char *)(uintptr_t)m->name;

			if (!m->addr) {
				lost[r.nlost++] =
					(struct dns_lost_host){ name, m->preference, m->lost };
				continue;
			}
			addrs[k] = address(m->addr);
			hosts[r.nhosts++] =
				(struct dns_host){ name, m->preference, &addrs[k], 1, 1 };
		}
		v = own_look(o, &r, 25);
		if (v.cut != rows[i].cut || v.usable != rows[i].usable || v.lost != rows[i].lost ||
			v.lost_temp != rows[i].lost_temp)
			fail_msg("%s: cut %u usable %u lost %d %d", rows[i].what, v.cut, v.usable,
				v.lost, v.lost_temp);
		if (!v.ours != !rows[i].ours || (v.ours && strcmp(v.ours, rows[i].ours)))
			fail_msg("%s: ours %s", rows[i].what, v.ours);
		if (!v.refused != !rows[i].refused ||
			(v.refused && strcmp(v.refused, rows[i].refused)))
			fail_msg("%s: refused %s", rows[i].what, v.refused);
	}
	own_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(never),
		cmocka_unit_test(views),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
