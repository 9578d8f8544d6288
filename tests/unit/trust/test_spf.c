/* SPF: the examples of RFC 7208 (appendix A, section 7.4), and what its limits and syntax say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "postern/spf.h"
#include "spf_private.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	const char *name;
	enum spf_type type;
	const char *text;
};
struct zone {
	const struct row *rows;
	size_t n;
	unsigned asked;
};

static int look(void *arg, enum spf_type type, const char *name, struct spf_records *ret)
{
	struct zone *z = arg;
	int r = -ENOENT;

	z->asked++;
	if (!strcasecmp(name, "silent.example"))
		return -EIO;
	for (size_t i = 0; i < z->n; i++) {
		if (strcasecmp(z->rows[i].name, name))
			continue;
		r = 0;
		if (z->rows[i].type != type || ret->n == SPF_RECORDS_MAX)
			continue;
		buf_init(&ret->text[ret->n], 0);
		assert_int_equal(buf_add_str(&ret->text[ret->n++], z->rows[i].text), 0);
	}
	return r;
}

static struct spf_outcome check(
	struct zone *z, const char *ip, const char *local, const char *domain, bool all)
{
	struct spf_question q = { .local = local,
		.domain = domain,
		.helo = "mta.example.com",
		.look = look,
		.arg = z,
		.all = all };
	struct spf_outcome o;

	assert_int_equal(addr_parse(&q.ip, slice_of(ip)), 0);
	spf_check(&q, &o);
	return o;
}

/* Appendix A */
static const struct row base[] = {
	{ "example.com", SPF_MX, "10 mail-a.example.com" },
	{ "example.com", SPF_MX, "20 mail-b.example.com" },
	{ "example.com", SPF_A, "192.0.2.10" },
	{ "example.com", SPF_A, "192.0.2.11" },
	{ "amy.example.com", SPF_A, "192.0.2.65" },
	{ "bob.example.com", SPF_A, "192.0.2.66" },
	{ "mail-a.example.com", SPF_A, "192.0.2.129" },
	{ "mail-b.example.com", SPF_A, "192.0.2.130" },
	{ "example.org", SPF_MX, "10 mail-c.example.org" },
	{ "mail-c.example.org", SPF_A, "192.0.2.140" },
	{ "10.2.0.192.in-addr.arpa", SPF_PTR, "example.com" },
	{ "65.2.0.192.in-addr.arpa", SPF_PTR, "amy.example.com" },
	{ "140.2.0.192.in-addr.arpa", SPF_PTR, "mail-c.example.org" },
	{ "4.0.0.10.in-addr.arpa", SPF_PTR, "bob.example.com" },
	{ "_spf.example.com", SPF_TXT, "v=spf1 mx:example.com -all" },
	{ "mobile-users._spf.example.com", SPF_A, "127.0.0.1" },
	{ "mary.mobile-users._spf.example.com", SPF_A, "127.0.0.2" },
	{ "none.example", SPF_TXT, "v=spf10 +all" },
	{ "two.example", SPF_TXT, "v=spf1 +all" },
	{ "two.example", SPF_TXT, "v=spf1" },
	{ "ten.example", SPF_TXT, "v=spf1 a a a a a a a a a a -all" },
	{ "ten.example", SPF_A, "192.0.2.1" },
	{ "loop.example", SPF_TXT, "v=spf1 include:loop.example -all" },
	{ "v6.example", SPF_AAAA, "2001:db8::cb01" },
};

struct vector {
	const char *record, *ip;
	enum spf_result want;
};

static void run(const struct vector *v, size_t n, const char *domain)
{
	for (size_t i = 0; i < n; i++) {
		struct row rows[COUNT(base) + 1];
		struct zone z = { rows, COUNT(rows), 0 };
		struct spf_outcome o;

		memcpy(rows, base, sizeof(base));
		rows[COUNT(base)] = (struct row){ domain, SPF_TXT, v[i].record };
		o = check(&z, v[i].ip, "mary", domain, false);
		if (o.result != v[i].want)
			fail_msg("%s from %s: %s (%s)", v[i].record, v[i].ip,
				spf_result_name(o.result), o.what);
	}
}

static void test_examples(void **state)
{
	static const struct vector v[] = {
		{ "v=spf1 +all", "198.51.100.1", SPF_PASS },
		{ "v=spf1 a -all", "192.0.2.10", SPF_PASS },
		{ "v=spf1 a -all", "192.0.2.12", SPF_FAIL },
		{ "v=spf1 a:example.org -all", "192.0.2.10", SPF_FAIL },
		{ "v=spf1 mx -all", "192.0.2.129", SPF_PASS },
		{ "v=spf1 mx -all", "192.0.2.131", SPF_FAIL },
		{ "v=spf1 mx:example.org -all", "192.0.2.140", SPF_PASS },
		{ "v=spf1 mx mx:example.org -all", "192.0.2.140", SPF_PASS },
		{ "v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", SPF_PASS },
		{ "v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", SPF_PASS },
		{ "v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.144", SPF_FAIL },
		{ "v=spf1 ptr -all", "192.0.2.65", SPF_PASS },
		{ "v=spf1 ptr -all", "192.0.2.140", SPF_FAIL },
		{ "v=spf1 ptr -all", "10.0.0.4", SPF_FAIL },
		{ "v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", SPF_FAIL },
		{ "v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", SPF_PASS },
		{ "v=spf1 include:_spf.example.com ~all", "192.0.2.129", SPF_PASS },
		{ "v=spf1 include:_spf.example.com ~all", "192.0.2.1", SPF_SOFTFAIL },
		{ "v=spf1 redirect=_spf.example.com", "192.0.2.1", SPF_FAIL },
		{ "v=spf1 mx -all redirect=_spf.example.org", "192.0.2.129", SPF_PASS },
		{ "v=spf1 exists:%{l1r-}.mobile-users._spf.%{d} -all", "198.51.100.1", SPF_PASS },
		{ "V=SPF1 ?ALL", "198.51.100.1", SPF_NEUTRAL },
		{ "v=spf1", "198.51.100.1", SPF_NEUTRAL },
		{ "v=spf1  ip4:198.51.100.1   -all ", "198.51.100.1", SPF_PASS },
		{ "v=spf1 a:v6.example//64 -all", "2001:db8::1", SPF_PASS },
		{ "v=spf1 a:v6.example/8//65 -all", "2001:db8::8000:0:0:1", SPF_FAIL },
		{ "v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", SPF_PASS },
		{ "v=spf1 ip4:0.0.0.0/0 -all", "198.51.100.1", SPF_PASS },
		{ "v=spf1 ip4:0.0.0.0/0 -all", "2001:db8::1", SPF_FAIL },
	};

	run(v, COUNT(v), "example.com");
}

static void test_errors(void **state)
{
	static const struct vector v[] = {
		{ "v=spf1 -all foo", "192.0.2.1", SPF_PERMERROR }, /* also behind what matches */
		{ "v=spf1 all:x.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 include -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a: -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a/33 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a/032 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a//129 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a:localhost -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a:x.123 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 ip4:192.0.2 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 ip4:2001:db8::1 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 ip6:192.0.2.1 -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 exists:%{q}.x.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 exists:%{d0}.x.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 exists:%x.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 redirect=a.example redirect=b.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 exp=a.example exp=b.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 unknown=%{d} +all", "192.0.2.1", SPF_PASS },
		{ "v=spf1 unknown=%d +all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 include:none.example +all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 include:two.example +all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 redirect=none.example", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 include:silent.example +all", "192.0.2.1", SPF_TEMPERROR },
		{ "v=spf1 a:silent.example +all", "192.0.2.1", SPF_TEMPERROR },
		{ "v=spf1 include:loop.example +all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 a:1.example a:2.example -all", "192.0.2.1", SPF_FAIL },
		{ "v=spf1 a:1.example a:2.example a:3.example -all", "192.0.2.1", SPF_PERMERROR },
		{ "v=spf1 include:ten.example +all", "192.0.2.200", SPF_PERMERROR },
		{ "v=spf1 redirect=ten.example", "192.0.2.1", SPF_PASS },
	};
	struct zone z = { base, COUNT(base), 0 };

	run(v, COUNT(v), "example.com");
	assert_int_equal(check(&z, "192.0.2.1", "a", "none.example", false).result, SPF_NONE);
	assert_int_equal(check(&z, "192.0.2.1", "a", "nowhere.example", false).result, SPF_NONE);
	assert_int_equal(
		check(&z, "192.0.2.1", "a", "silent.example", false).result, SPF_TEMPERROR);
	assert_int_equal(check(&z, "192.0.2.1", "a", "localhost", false).result, SPF_NONE);
	assert_int_equal(check(&z, "192.0.2.1", "a", "a..example", false).result, SPF_NONE);
	assert_int_equal(check(&z, "192.0.2.200", "a", "ten.example", false).result, SPF_FAIL);
}

/* What the whole record takes, also behind terms that match, and beyond the limit. */
static void test_look_ups_are_counted(void **state)
{
	static const struct row rows[] = {
		{ "a.example", SPF_TXT,
			"v=spf1 ip4:192.0.2.1 include:b.example mx redirect=c.example" },
		{ "b.example", SPF_TXT, "v=spf1 a a a a a a -all a" },
		{ "c.example", SPF_TXT, "v=spf1 include:b.example" },
		{ "b.example", SPF_A, "192.0.2.7" },
		{ "a.example", SPF_MX, "10 b.example" },
	};
	struct zone z = { rows, COUNT(rows), 0 };
	struct spf_outcome o = check(&z, "192.0.2.1", "a", "a.example", true);

	assert_int_equal(o.look_ups, 1 + 6 + 1 + 1 + 1 + 6);
	assert_int_equal(check(&z, "192.0.2.1", "a", "a.example", false).look_ups, 0);
	z = (struct zone){ base, COUNT(base), 0 };
	o = check(&z, "192.0.2.1", "a", "loop.example", true);
	assert_int_equal(o.result, SPF_PERMERROR);
	assert_true(z.asked < 100);
}

/* Section 7.4 */
static void test_macros(void **state)
{
	static const struct {
		const char *in, *ip, *out;
	} rows[] = {
		{ "%{s}", "192.0.2.3", "strong-bad@email.example.com" },
		{ "%{o}", "192.0.2.3", "email.example.com" },
		{ "%{d}", "192.0.2.3", "email.example.com" },
		{ "%{d4}", "192.0.2.3", "email.example.com" },
		{ "%{d3}", "192.0.2.3", "email.example.com" },
		{ "%{d2}", "192.0.2.3", "example.com" },
		{ "%{d1}", "192.0.2.3", "com" },
		{ "%{dr}", "192.0.2.3", "com.example.email" },
		{ "%{d2r}", "192.0.2.3", "example.email" },
		{ "%{l}", "192.0.2.3", "strong-bad" },
		{ "%{l-}", "192.0.2.3", "strong.bad" },
		{ "%{lr}", "192.0.2.3", "strong-bad" },
		{ "%{lr-}", "192.0.2.3", "bad.strong" },
		{ "%{l1r-}", "192.0.2.3", "strong" },
		{ "%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr._spf.example.com" },
		{ "%{lr-}.lp._spf.%{d2}", "192.0.2.3", "bad.strong.lp._spf.example.com" },
		{ "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "192.0.2.3",
			"bad.strong.lp.3.2.0.192.in-addr._spf.example.com" },
		{ "%{d2}.trusted-domains.example.net", "192.0.2.3",
			"example.com.trusted-domains.example.net" },
		{ "%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01",
			"1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com" },
		{ "%{S}%%%-", "192.0.2.3", "strong-bad%40email.example.com%%20" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct spf_question q = {
			.local = "strong-bad", .domain = "email.example.com", .helo = "h"
		};
		struct buf b;

		buf_init(&b, 0);
		assert_int_equal(addr_parse(&q.ip, slice_of(rows[i].ip)), 0);
		assert_int_equal(spf_expand(&b, &q, "email.example.com", slice_of(rows[i].in)), 0);
		if (!slice_eq(buf_slice(&b), slice_of(rows[i].out)))
			fail_msg("%s: %.*s", rows[i].in, (int)buf_size(&b), buf_slice(&b).p);
		buf_deinit(&b);
	}
}

/* A record of no sense harms nobody: all beginnings of one, and each byte replaced. */
static void test_any_bytes(void **state)
{
	static const char good[] =
		"v=spf1 a:%{d2r-}.x/24//64 ip4:192.0.2.0/24 include:%{i}.y.z exists:%{l}.a redirect=b.c";

	for (size_t n = 0; n < sizeof(good); n++)
		for (int c = 1; c < 256; c += 7) {
			char text[sizeof(good)];
			struct row r = { "example.com", SPF_TXT, text };
			struct zone z = { &r, 1, 0 };

			memcpy(text, good, sizeof(good));
			if (n < sizeof(good) - 1)
				text[n] = (char)c;
			check(&z, "192.0.2.1", "a", "example.com", c & 1);
			text[n] = '\0';
			check(&z, "2001:db8::1", "a", "example.com", c & 1);
			assert_true(z.asked < 200);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_look_ups_are_counted),
		cmocka_unit_test(test_macros),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
