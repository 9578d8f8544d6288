/* What the resolver says of each kind of domain. */
#include "dns_world.h"

#include <stdio.h>
#include <stdlib.h>

struct status_row {
	const char *domain;
	bool ipv4, ipv6;
	const char *route, *detail;
};

static const struct status_row status_rows[] = {
	{ "ok.test", 1, 0, "ok 10 a.test 192.0.2.1 192.0.2.11, 20 b.test 192.0.2.2", "" },
	{ "OK.Test", 1, 0, "ok 10 a.test 192.0.2.1 192.0.2.11, 20 b.test 192.0.2.2", "" },
	{ "ok.test", 1, 1, "ok 10 a.test 192.0.2.1 192.0.2.11, 20 b.test 192.0.2.2 2001:db8::2",
		"" },
	{ "ok.test", 0, 1, "ok 20 b.test 2001:db8::2", "" },
	{ "null.test", 1, 0, "null-mx", "null.test" },
	{ "nullplus.test", 1, 0, "ok 10 b.test 192.0.2.2", "" },
	{ "implicit.test", 1, 0, "ok implicit 0 implicit.test 192.0.2.3", "" },
	{ "implicit6.test", 1, 1, "ok implicit 0 implicit6.test 2001:db8::7", "" },
	{ "implicit6.test", 1, 0, "other-family", "only IPv6" },
	{ "empty.test", 1, 0, "no-address", "neither MX nor address" },
	{ "empty.test", 1, 1, "no-address", "neither MX nor address" },
	{ "nx.test", 1, 0, "nxdomain", "nx.test" },
	{ "servfail.test", 1, 0, "temporary", "SERVFAIL from 127.0.0.1:" },
	{ "refused.test", 1, 0, "temporary", "REFUSED from 127.0.0.1:" },
	{ "drop.test", 1, 0, "temporary", "no answer in time" },
	{ "wrong.test", 1, 0, "temporary", "for MX wrong.test" },
	{ "garbage.test", 1, 0, "bad", "malformed answer" },
	{ "v6only.test", 1, 0, "other-family", "only IPv6" },
	{ "v6only.test", 1, 1, "ok 10 six.test 2001:db8::6", "" },
	{ "mixed6.test", 1, 0, "other-family", "only IPv6" },
	{ "implicit.test", 0, 1, "other-family", "only IPv4" },
	{ "noaddr.test", 1, 0, "no-address", "no MX host has an address" },
	{ "alias.test", 1, 0, "ok 10 cn.test 192.0.2.5", "" },
	{ "mxalias.test", 1, 0, "ok 10 b.test 192.0.2.2", "" },
	{ "stray.test", 1, 0, "ok 10 b.test 192.0.2.2", "" },
	{ "half.test", 1, 0, "ok 20 b.test 192.0.2.2", "" },
	{ "allfail.test", 1, 0, "temporary", "SERVFAIL from 127.0.0.1:" },
	{ "gone.test", 1, 0, "ok 20 b.test 192.0.2.2", "" },
	{ "allgone.test", 1, 0, "no-address", "allgone.test" },
	{ "trunc.test", 1, 0, "ok 10 b.test 192.0.2.2", "" },
	{ "dup.test", 1, 0, "ok 10 b.test 192.0.2.2, 30 a.test 192.0.2.1 192.0.2.11", "" },
	{ "equal.test", 1, 0, "ok 10 b.test 192.0.2.2, 10 a.test 192.0.2.1 192.0.2.11", "" },
	{ "odd.test", 1, 0, "ok 20 b.test 192.0.2.2", "" },
	{ "allodd.test", 1, 0, "no-address", "allodd.test" },
	{ "[192.0.2.9]", 1, 0, "ok implicit 0 [192.0.2.9] 192.0.2.9", "" },
	{ "[IPv6:2001:db8::9]", 1, 1, "ok implicit 0 [IPv6:2001:db8::9] 2001:db8::9", "" },
	{ "[IPv6:2001:db8::9]", 1, 0, "other-family", "[IPv6:2001:db8::9]" },
	{ "[192.0.2.9", 1, 0, "nxdomain", "not a domain" },
	{ "[]", 1, 0, "nxdomain", "not a domain" },
	{ "[x.test]", 1, 0, "nxdomain", "not a domain" },
	{ "a..test", 1, 0, "nxdomain", "not a domain" },
	{ ".", 1, 0, "nxdomain", "not a domain" },
	{ "", 1, 0, "nxdomain", "not a domain" },
	{ "exa mple.test", 1, 0, "nxdomain", "not a domain" },
};

static void outcomes(void **state)
{
	struct buf got;

	buf_init(&got, 0);
	for (size_t i = 0; i < COUNT_OF(status_rows); i++) {
		const struct status_row *row = &status_rows[i];
		struct dns_params p = world_params();
		char detail[128], again[128];
		struct world w;
		unsigned n;

		p.ipv4 = row->ipv4;
		p.ipv6 = row->ipv6;
		p.ttl_min = 5000;
		world_begin(&w, p);
		world_resolve(&w, row->domain, &got, detail);
		if (strcmp(buf_slice(&got).p, row->route) != 0)
			fail_msg("%s: %s, not %s (%s)", row->domain, buf_slice(&got).p, row->route,
				detail);
		if (!strstr(detail, row->detail) || (!row->detail[0] && detail[0]))
			fail_msg("%s: detail: %s", row->domain, detail);
		/* the same from memory */
		n = world_asked(&w);
		assert_true(world_resolve(&w, row->domain, &got, again));
		assert_string_equal(buf_slice(&got).p, row->route);
		assert_string_equal(detail, again);
		assert_int_equal(world_asked(&w), n);
		world_end(&w);
	}
	buf_deinit(&got);
}

static void truncated_answers_come_by_tcp(void **state)
{
	struct world w;
	struct buf got;

	buf_init(&got, 0);
	world_begin(&w, world_params());
	world_resolve(&w, "trunc.test", &got, NULL);
	assert_int_equal(world_asked_for(&w, "trunc.test", MX, false), 1);
	assert_int_equal(world_asked_for(&w, "trunc.test", MX, true), 1);
	world_end(&w);
	buf_deinit(&got);
}

static void bad_parameters(void **state)
{
	static const char *const nonsense[] = { "not an address" };
	struct dns_params rows[] = {
		{ .ipv4 = false, .ipv6 = false },
		{ .ipv4 = true, .servers = nonsense, .nservers = 1 },
	};
	struct loop *l;
	struct dns *d = NULL;
	char error[200];

	assert_int_equal(loop_new(&l, "bad"), 0);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		error[0] = '\0';
		assert_true(dns_new(&d, l, &rows[i], error, sizeof(error)) < 0);
		assert_true(error[0] != '\0');
		assert_null(d);
	}
	loop_free(l);
}

static void international_names(void **state)
{
	static const char long_label[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test";
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {
		{ "example.com", "example.com" },
		{ "Example.COM", "example.com" },
		{ "b\xc3\xbc"
		  "cher.example",
			"xn--bcher-kva.example" },
		{ "B\xc3\x9c"
		  "CHER.example",
			"xn--bcher-kva.example" },
		{ "fa\xc3\x9f.de", "xn--fa-hia.de" },
		{ "xn--bcher-kva.example", "xn--bcher-kva.example" },
		{ "_dmarc.example", "_dmarc.example" },
		{ "\xe4\xbe\x8b\xe3\x81\x88.jp", "xn--r8jz45g.jp" },
		{ "", NULL },
		{ ".", NULL },
		{ "example.com.", NULL },
		{ "a..b", NULL },
		{ "a b", NULL },
		{ long_label, NULL },
		{ "b\xfc"
		  "cher.example",
			NULL },
		{ "\xe2\x80\xae.example", NULL },
	};
	char out[256], small[8];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int r = domain_to_ascii(slice_of(rows[i].in), out, sizeof(out));

		if (!rows[i].out)
			assert_true(r < 0);
		else if (r)
			fail_msg("%s: %d", rows[i].in, r);
		else
			assert_string_equal(out, rows[i].out);
	}
	assert_true(domain_to_ascii(slice_of("example.com"), small, sizeof(small)) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outcomes),
		cmocka_unit_test(truncated_answers_come_by_tcp),
		cmocka_unit_test(bad_parameters),
		cmocka_unit_test(international_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
