/* A message signed: which fields are listed, who signs, and that pieces make no difference. Where a
 * whole field is expected, python3-dkim has said that it is right. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dkim_private.h"
#include "postern/message.h"
#include "rfc8463.h"

#define NOW (1528637909 * (ms_t)1000)

static void add(struct dkim_set *s, const char *pem, struct dkim_rule r)
{
	struct dkim_key *k = NULL;
	char why[200] = "";

	assert_int_equal(dkim_key_parse(&k, slice_of(pem), why, sizeof(why)), 0);
	assert_int_equal(dkim_set_add(s, &r, k), 0);
}

/* The fields as text, from malloc; "" when nobody signs. */
static char *sign(struct dkim_set *set, struct slice m, size_t step, int *result)
{
	struct dkim_signer *s = NULL;
	struct buf out;
	char *text;
	int r;

	buf_init(&out, 0);
	assert_int_equal(dkim_signer_new(&s, set, NOW), 0);
	while (m.n > 0) {
		size_t n = m.n < step ? m.n : step;

		assert_int_equal(dkim_signer_feed(s, (struct slice){ m.p, n }), 0);
		m = slice_from(m, n);
	}
	r = dkim_signer_end(s);
	if (r > 0)
		r = dkim_sign_fields(s, &out) ? -EMSGSIZE : r;
	if (result)
		*result = r;
	text = slice_dup(buf_slice(&out));
	buf_deinit(&out);
	dkim_signer_free(s);
	return text;
}

static const char whole[] =
	"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
	"\td=football.example.com; s=brisbane; t=1528637909; h=From:From:\r\n"
	"\tSubject:Subject:Date:Date:Message-ID:To:To;\r\n"
	"\tbh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
	"\tb=daTBcrpTTkdqp7YRlOYMDB0ADHRPetAg5watKxrLNGTz6bB+BFbVgBiPF6YYWQNM4r\r\n"
	"\t15XOWYP+6Ahh5KFwVCBQ==\r\n";

static void test_whole(void **state)
{
	struct dkim_set *set = dkim_set_new(NULL);
	char *text;

	(void)state;
	add(set, RFC_ED_KEY,
		(struct dkim_rule){ .domain = "football.example.com", .selector = "brisbane" });
	for (size_t step = 1; step < 400; step += 7) {
		text = sign(set, slice_of(RFC_MESSAGE), step, NULL);
		assert_string_equal(text, whole);
		free(text);
	}
	assert_int_equal(body_memory(), 0);
	dkim_set_unref(set);
}

/* What h= says, unfolded. */
static char *listed(const char *text)
{
	char *out = calloc(1, strlen(text) + 1);
	size_t n = 0;

	text = strstr(text, " h=");
	if (!text)
		return out;
	for (text += 3; *text && *text != ';'; text++)
		if (!strchr("\r\n\t ", *text))
			out[n++] = *text;
	return out;
}

static const struct {
	const char *header, *h;
} lists[] = {
	{ "From: a@a.example\r\n", "From:From:Subject:Date:To" },
	/* as often as it is there, and once more */
	{ "From: a@a.example\r\nTo: x\r\nTO: y\r\nSubject: s\r\n",
		"From:From:Subject:Subject:Date:To:To:To" },
	{ "From: a@a.example\r\nFrom: b@a.example\r\nCc: c\r\ncc: d\r\n",
		"From:From:From:Subject:Date:To:Cc:Cc" },
	{ "Received: r\r\nX-Mine: x\r\nReturn-Path: <a>\r\nBcc: b\r\nFrom: a@a.example\r\n"
	  "DKIM-Signature: v=1\r\n",
		"From:From:Subject:Date:To" },
	{ "From : a@a.example\r\nList-Unsubscribe: <u>\r\nList-Unsubscribe-Post: p\r\n"
	  "MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n\tcharset=x\r\n",
		"From:From:Subject:Date:To:MIME-Version:Content-Type:List-Unsubscribe:List-"
		"Unsubscribe-Post" },
};

static void test_lists(void **state)
{
	struct dkim_set *set = dkim_set_new(NULL);

	(void)state;
	add(set, RFC_ED_KEY, (struct dkim_rule){ .domain = "a.example", .selector = "s" });
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char m[1000], *text, *h;

		snprintf(m, sizeof(m), "%s\r\nbody\r\n", lists[i].header);
		text = sign(set, slice_of(m), 3, NULL);
		h = listed(text);
		assert_string_equal(h, lists[i].h);
		free(h);
		free(text);
		/* all header section */
		text = sign(set, slice_of(lists[i].header), 1000, NULL);
		h = listed(text);
		assert_string_equal(h, lists[i].h);
		free(h);
		free(text);
	}
	dkim_set_unref(set);
}

/* No line of a field is long, nor blank: some receivers cut the one and end the section at the
 * other. */
static void check_lines(const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\r\n");
		size_t blank = strspn(text, " \t");

		assert_non_null(end);
		assert_true((size_t)(end - text) <= 100);
		assert_true(blank < (size_t)(end - text));
		text = end + 2;
	}
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (text = strstr(text, what); text; text = strstr(text + 1, what))
		n++;
	return n;
}

static const struct {
	const char *from, *d, *s; /* one that signs; "" nobody */
	unsigned n;
} choices[] = {
	{ "a@example.com", "d=example.com;", "s=rsa;", 2 },
	{ "a@example.com", "d=example.com;", "s=ed;", 2 },
	{ "a@news.example.com", "d=example.com;", "s=ed;", 2 },
	{ "a@shop.example.com", "d=shop.example.com;", "s=shop;", 1 },
	{ "a@x.shop.example.com", "d=shop.example.com;", "s=shop;", 1 },
	{ "a@notexample.com", "", "", 0 },
	{ "a@com", "", "", 0 },
	{ "a@customer.example", "d=esp.example;", "s=esp;", 1 },
	{ "a@x.tenant.example", "d=esp.example;", "s=esp;", 1 },
	{ "a@tenant.example", "", "", 0 },
	{ "a@esp.example", "", "", 0 },
	{ "a@shop.example.com, b@customer.example", "d=esp.example;", "s=esp;", 2 },
	{ "a@shop.example.com, b@customer.example", "d=shop.example.com;", "s=shop;", 2 },
};

static void test_choice(void **state)
{
	static const char *const from[] = { "customer.example", "*.tenant.example" };
	struct dkim_set *set = dkim_set_new(NULL);

	(void)state;
	add(set, RFC_RSA_KEY, (struct dkim_rule){ .domain = "example.com", .selector = "rsa" });
	add(set, RFC_ED_KEY,
		(struct dkim_rule){ .domain = "shop.example.com", .selector = "shop" });
	add(set, RFC_ED_KEY, (struct dkim_rule){ .domain = "example.com", .selector = "ed" });
	add(set, RFC_ED_KEY,
		(struct dkim_rule){ .domain = "own.example",
			.selector = "esp",
			.sign_as = "esp.example",
			.from = from,
			.nfrom = 2 });
	assert_int_equal(dkim_set_count(set), 4);
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		char m[200], *text;
		int r;

		snprintf(m, sizeof(m), "From: %s\r\n\r\nx", choices[i].from);
		text = sign(set, slice_of(m), 50, &r);
		assert_int_equal(r, choices[i].n);
		assert_int_equal(count(text, "DKIM-Signature:"), choices[i].n);
		assert_non_null(strstr(text, choices[i].d));
		assert_non_null(strstr(text, choices[i].s));
		check_lines(text);
		free(text);
	}
	dkim_set_unref(set);
}

/* Tens of thousands of domains, each found by a few comparisons. */
static void test_many_domains(void **state)
{
	struct dkim_set *set = dkim_set_new(NULL);
	struct authors a = { .n = 1 };
	const struct dkim_signs *out[DKIM_SIGNATURES_MAX];
	char name[40];

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "d%u.example", i * 7919 % 2000);
		assert_int_equal(
			dkim_set_add(
				set, &(struct dkim_rule){ .domain = name, .selector = "s" }, NULL),
			0);
	}
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(a.domain[0], sizeof(a.domain[0]), "mail.d%u.example", i);
		assert_int_equal(dkim_set_choose(set, &a, out, DKIM_SIGNATURES_MAX), 1);
		assert_string_equal(out[0]->domain, a.domain[0] + 5);
	}
	strcpy(a.domain[0], "example");
	assert_int_equal(dkim_set_choose(set, &a, out, DKIM_SIGNATURES_MAX), 0);
	dkim_set_unref(set);
}

static void test_bounds(void **state)
{
	struct dkim_set *set = dkim_set_new(NULL);
	size_t n = 0, max = 100000;
	char *m = malloc(max), *text;
	int r;

	(void)state;
	for (int i = 0; i < 20; i++)
		add(set, RFC_ED_KEY, (struct dkim_rule){ .domain = "a.example", .selector = "s" });
	text = sign(set, slice_of("From: x@a.example\r\n\r\n"), 50, &r);
	assert_int_equal(r, DKIM_SIGNATURES_MAX);
	assert_int_equal(count(text, "DKIM-Signature:"), DKIM_SIGNATURES_MAX);
	free(text);
	/* fields without end cannot be listed: that is told, and nothing is signed */
	for (int i = 0; i < 3000; i++)
		n += (size_t)snprintf(m + n, max - n, "From: x@a.example\r\n");
	snprintf(m + n, max - n, "\r\nbody\r\n");
	text = sign(set, slice_of(m), 5000, &r);
	assert_int_equal(r, -EMSGSIZE);
	free(text);
	free(m);
	assert_int_equal(body_memory(), 0);
	dkim_set_unref(set);
}

static void test_simple(void **state)
{
	struct dkim_set *set = dkim_set_new(NULL);
	char *one, *two;

	(void)state;
	add(set, RFC_RSA_KEY,
		(struct dkim_rule){ .domain = "football.example.com",
			.selector = "test",
			.header = DKIM_SIMPLE,
			.body = DKIM_SIMPLE });
	one = sign(set, slice_of(RFC_MESSAGE), 1, NULL);
	two = sign(set, slice_of(RFC_MESSAGE), 1000, NULL);
	assert_string_equal(one, two);
	assert_non_null(strstr(one, "bh=4bLNXImK9drULnmePzZNEBleUanJCX5PIsDIFoH4KTQ="));
	check_lines(one);
	free(one);
	free(two);
	dkim_set_unref(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_many_domains),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_simple),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
