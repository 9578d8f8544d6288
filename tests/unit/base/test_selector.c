/* Selectors: what is understood, what is refused and how, what is meant. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "postern/selector.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WALL	 1000000
#define S(text)                                                                                    \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

static const struct selector_message app = {
	.id = 17,
	.arrived = WALL - 3600000,
	.sender = S("Bounce+7@Mail.Shop.Example"),
	.from_domain = S("shop.example"),
	.user = S("app17"),
	.client = S("10.1.2.3"),
	.listener = S("in"),
	.pool = S("bulk"),
	.class = S("news"),
	.tag = S("spring-2026-x"),
};
static const struct selector_message plain = {
	.id = 3, .arrived = WALL, .sender = S(""), .client = S("2001:db8::7"), .pool = S("main")
};
static const struct selector_rcpt to = {
	.address = S("Bob@Corp.Example"),
	.domain = S("corp.example"),
	.source = S("a1"),
	.attempts = 3,
};

static int to_ascii(struct slice in, char *out, size_t max)
{
	if (memchr(in.p, '!', in.n))
		return -EINVAL;
	snprintf(out, max, "xn--%zu.example", in.n);
	return 0;
}

/* "word=value" and so on, with spaces between them */
static struct selector *make(const char *terms)
{
	struct selector *s = NULL;
	char why[512] = "";

	assert_int_equal(selector_new(&s, to_ascii), 0);
	while (*terms) {
		size_t n = strcspn(terms, " ");

		if (selector_add_text(s, (struct slice){ terms, n }, why, sizeof(why)))
			fail_msg("%s: %s", terms, why);
		terms += n + (terms[n] == ' ');
	}
	return s;
}

static void test_matches(void **state)
{
	static const struct {
		const char *terms;
		bool app, plain; /* with that recipient */
	} rows[] = {
		{ "", true, true },
		{ "user=app17", true, false },
		{ "user=APP17", false, false }, /* names are exact */
		{ "user=app*", true, false },
		{ "user=x user=app17", true, false }, /* any of one word */
		{ "user=app17 pool=main", false, false },
		{ "user=app17 pool=main pool=bulk", true, false }, /* all words */
		{ "user=app17 pool=main user=a", false, false },
		{ "from=bounce+7@mail.shop.example", true, false },
		{ "from=@mail.shop.example", true, false },
		{ "from=@SHOP.example.", true, false },		/* by the From field */
		{ "from=bounce+7@shop.example", false, false }, /* which has no address here */
		{ "from=@*.example", true, false },
		{ "from=bounce+*@*.shop.example", true, false },
		{ "from=<>", false, true },
		{ "client=10.0.0.0/8", true, false },
		{ "client=10.1.2.3", true, false },
		{ "client=2001:db8::/32", false, true },
		{ "client=2001:db8::/32 client=10.1.2.3", true, true },
		{ "listener=in", true, false },
		{ "class=news tag=spring-*", true, false },
		{ "tag=spring", false, false },
		{ "older-than=1h", true, false },
		{ "older-than=61m", false, false },
		{ "to=bob@corp.example", true, true },
		{ "to=<BOB@CORP.example>", true, true },
		{ "to=@corp.example", true, true },
		{ "to=@orp.example", false, false },
		{ "to=ob@corp.example", false, false },
		{ "source=a1 attempts=3", true, true },
		{ "source=a1 attempts=4", false, false },
		{ "id=0000000000000 id=000000000000h", true, false }, /* base 32: 17 */
		{ "id=0000000000003 id=0000000000001 user=app17", false, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct selector *s = make(rows[i].terms);
		bool rcpt = selector_rcpt(s, &to);
		bool a = selector_message(s, &app, WALL) && rcpt;
		bool p = selector_message(s, &plain, WALL) && rcpt;

		if (a != rows[i].app || p != rows[i].plain)
			fail_msg("%s: %d %d", rows[i].terms, a, p);
		selector_free(s);
	}
}

static void test_found(void **state)
{
	static const struct {
		const char *terms, *cluster, *reason;
		bool fits;
	} rows[] = {
		{ "user=x", "", "", true },
		{ "cluster=EUR01", "EUR01", "", true },
		{ "cluster=eur01 cluster=GBR01", "EUR01", "", true },
		{ "cluster=EUR0*", "EUR01", "", true },
		{ "cluster=EUR01", "", "", false },
		{ "reason=Mailbox", "", "backing off after: 450 mailbox busy", true },
		{ "reason=off*busy", "", "backing off after: 450 mailbox busy", true },
		{ "reason=held", "", "backing off", false },
		{ "reason=off cluster=B", "A", "backing off", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct selector *s = make(rows[i].terms);

		if (selector_found(s, slice_of(rows[i].cluster), slice_of(rows[i].reason)) !=
			rows[i].fits)
			fail_msg("%s", rows[i].terms);
		selector_free(s);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *term, *says;
		int r;
	} rows[] = {
		{ "usr=x", "there is no selector 'usr': they are --id --from --user", -EINVAL },
		{ "=x", "there is no selector ''", -EINVAL },
		{ "user", "word=value", -EINVAL },
		{ "user=", "needs a value", -EINVAL },
		{ "user=a\x1b[2J", "no control characters", -EINVAL },
		{ "id=12", "'12': is not a queue id", -EINVAL },
		{ "client=10.0.0.1/8", "neither an address nor a network", -EINVAL },
		{ "client=here", "neither an address nor a network", -EINVAL },
		{ "from=shop.example", "neither an address nor @DOMAIN", -EINVAL },
		{ "to=<>", "neither an address nor @DOMAIN", -EINVAL },
		{ "to=<<a@b.example>>", "has no domain name behind its @", -EINVAL },
		{ "from=a@b.example>", "has no domain name behind its @", -EINVAL },
		{ "to=a@b.example, c@d.example", "is not one address", -EINVAL },
		{ "to=a@", "no domain name behind its @", -EINVAL },
		{ "to=@\xc3\xa4!", "no domain name behind its @", -EINVAL },
		{ "older-than=soon", "is not a duration", -EINVAL },
		{ "attempts=-1", "is not a number", -EINVAL },
		{ "attempts=70000", "is not a number", -EINVAL },
		{ "attempts=1x", "is not a number", -EINVAL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct selector *s = make("");
		char why[512] = "";
		int r = selector_add_text(s, slice_of(rows[i].term), why, sizeof(why));

		if (r != rows[i].r || !strstr(why, rows[i].says))
			fail_msg("%s: %d %s", rows[i].term, r, why);
		assert_int_equal(selector_words(s), 0);
		selector_free(s);
	}
}

static void test_bounds(void **state)
{
	struct selector *s = make("");
	char term[600], why[200];
	int r = 0;

	memset(term, 'a', sizeof(term));
	memcpy(term, "tag=", 4);
	assert_int_equal(selector_add_text(s, (struct slice){ term, 4 + SELECTOR_VALUE_MAX }, why,
				 sizeof(why)),
		0);
	assert_int_equal(selector_add_text(s, (struct slice){ term, 5 + SELECTOR_VALUE_MAX }, why,
				 sizeof(why)),
		-EINVAL);
	for (unsigned i = 0; i <= SELECTOR_TERMS_MAX && !r; i++) {
		snprintf(term, sizeof(term), "user=%u", i);
		r = selector_add_text(s, slice_of(term), why, sizeof(why));
	}
	assert_int_equal(r, -E2BIG);
	r = 0;
	for (unsigned i = 0; i <= SELECTOR_IDS_MAX && !r; i++)
		r = selector_add_text(s, SLICE_LIT("id=0000000000001"), why, sizeof(why));
	assert_int_equal(r, -E2BIG);
	selector_free(s);
}

/* Equal ones have equal texts, which make an equal one. */
static void test_text(void **state)
{
	struct selector *a = make("user=b to=@\xc3\xa4 user=a pool=p user=b"), *b;
	struct buf text;

	buf_init(&text, 0);
	assert_int_equal(selector_text(a, &text), 0);
	assert_true(
		slice_eq(buf_slice(&text), SLICE_LIT("user=a\nuser=b\npool=p\nto=@\xc3\xa4\n")));
	b = make("to=@\xc3\xa4 pool=p user=a user=b");
	assert_true(selector_same(a, b));
	selector_free(b);
	b = make("to=@\xc3\xa4 pool=p user=a");
	assert_false(selector_same(a, b));
	selector_free(b);
	selector_free(a);
	buf_deinit(&text);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *terms, *domain;
		bool standing, asks;
	} rows[] = {
		{ "", NULL, false, false },
		{ "user=a from=@b pool=c", NULL, true, false },
		{ "to=@Corp.example", "corp.example", true, false },
		{ "to=@corp.example to=@b", NULL, true, false },
		{ "to=@*.example", NULL, true, false },
		{ "to=a@corp.example", NULL, true, false },
		{ "to=@\xc3\xa4", "xn--2.example", true, false },
		{ "to=@corp.example older-than=1h", NULL, false, false },
		{ "id=0000000000001", NULL, false, false },
		{ "user=a attempts=1", NULL, false, false },
		{ "user=a reason=x", NULL, false, true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct selector *s = make(rows[i].terms);
		struct slice d = selector_one_domain(s);

		assert_int_equal(selector_standing(s), rows[i].standing);
		assert_int_equal(selector_asks(s), rows[i].asks);
		assert_true(rows[i].domain ? slice_eq(d, slice_of(rows[i].domain)) : !d.p);
		selector_free(s);
	}
}

static void test_ids(void **state)
{
	struct selector *s = make("id=0000000000003 id=0000000000001 id=0000000000003");
	size_t n;
	const uint64_t *ids = selector_ids(s, &n);

	assert_int_equal(n, 2);
	assert_true(ids[0] == 1 && ids[1] == 3);
	selector_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
