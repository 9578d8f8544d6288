/* Classes of mail: which message has which, what a class has of the queue's options, and what is wrong
 * with one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "postern/config.h"

#define REST                                                                                       \
	"hostname = \"out.example.net\"\n"                                                         \
	"listener \"in\" { address = {\"127.0.0.1:2525\"} allow = {\"127.0.0.0/8\"} pool = "       \
	"\"main\" }\n"                                                                             \
	"source \"a\" { address = \"192.0.2.1\" }\n"                                               \
	"pool \"main\" { sources = {\"a\"} }\npool \"otp\" { sources = {\"a\"} }\n"

static struct config *parse(const char *text, struct buf *errors)
{
	struct config *c = NULL;
	struct buf all;

	buf_init(&all, 0);
	assert_int_equal(buf_printf(&all, "%s\n%s", text, REST), 0);
	config_parse(&c, "x.conf", buf_slice(&all), errors);
	buf_deinit(&all);
	return c;
}

static const char classes[] =
	"class \"codes\" { user = {\"app1\",\"auth-*\"} priority = 1 expire = \"15m\" retry = "
	"{\"10s\",\"30s\"} delay_notice = \"0\" }\n"
	"class \"two\" { from = {\"@Shop.example\",\"a@b.example\"} tag = {\"x*\"} }\n"
	"class \"night\" { pool = {\"otp\"} priority = 5 }\n"
	"class \"lan\" { client = {\"10.0.0.0/8\"} listener = {\"in\"} expire = \"1h\" }\n"
	"class \"named\" { priority = 2 }\n";

static const struct row {
	const char *sender, *from_domain, *user, *client, *pool, *tag, *wanted;
	const char *class; /* "?": there is none of that name */
} rows[] = {
	{ "x@y.example", "y.example", "app1", "192.0.2.9", "main", NULL, NULL, "codes" },
	{ "x@y.example", "y.example", "auth-7", "192.0.2.9", "main", NULL, NULL, "codes" },
	{ "x@y.example", "y.example", "app11", "192.0.2.9", "main", NULL, NULL, NULL },
	{ "x@y.example", NULL, NULL, "192.0.2.9", "main", NULL, NULL, NULL },
	{ "x@y.example", NULL, NULL, "192.0.2.9", "main", NULL, "named", "named" },
	{ "x@y.example", NULL, "app1", "192.0.2.9", "main", NULL, "named", "named" },
	{ "x@y.example", NULL, "app1", "192.0.2.9", "main", NULL, "Named", "?" },
	{ "x@y.example", NULL, "app1", "192.0.2.9", "main", NULL, "none", "?" },
	/* all options must fit, of each any value */
	{ "x@SHOP.example", NULL, NULL, "192.0.2.9", "main", "xy", NULL, "two" },
	{ "x@y.example", "shop.example", NULL, "192.0.2.9", "main", "xy", NULL, "two" },
	{ "a@b.example", NULL, NULL, "192.0.2.9", "main", "x", NULL, "two" },
	{ "a@b.example", NULL, NULL, "192.0.2.9", "main", "yx", NULL, NULL },
	{ "a@b.example", NULL, NULL, "192.0.2.9", "main", NULL, NULL, NULL },
	{ "", NULL, NULL, "192.0.2.9", "otp", NULL, NULL, "night" },
	/* the first that fits */
	{ "", NULL, "app1", "192.0.2.9", "otp", NULL, NULL, "codes" },
	{ "", NULL, NULL, "10.1.2.3", "otp", NULL, NULL, "night" },
	{ "", NULL, NULL, "10.1.2.3", "main", NULL, NULL, "lan" },
	{ "", NULL, NULL, "11.1.2.3", "main", NULL, NULL, NULL },
};

static void test_which(void **state)
{
	struct buf errors;
	struct config *c;

	buf_init(&errors, 0);
	c = parse(classes, &errors);
	if (!c || buf_size(&errors))
		fail_msg("%.*s", (int)buf_size(&errors), buf_slice(&errors).p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *w = &rows[i];
		const struct message m = { .sender = w->sender,
			.from_domain = w->from_domain,
			.user = w->user,
			.client = w->client,
			.pool = w->pool,
			.tag = w->tag,
			.listener = "in" };
		const struct smtp_server_params *p = &c->listeners[0].smtp;
		struct smtp_class got;
		bool known = p->class_of(p->arg, &m, w->wanted, &got);

		if (known != (!w->class || strcmp(w->class, "?")))
			fail_msg("row %zu: known %d", i, known);
		if (known && (w->class ? !got.name || strcmp(got.name, w->class) : !!got.name))
			fail_msg("row %zu: %s", i, got.name ? got.name : "none");
		if (known)
			assert_int_equal(got.expire, !got.name			  ? 48 * 3600000
						     : !strcmp(got.name, "codes") ? 900000
						     : !strcmp(got.name, "lan")	  ? 3600000
										  : 48 * 3600000);
	}
	buf_deinit(&errors);
	config_free(c);
}

/* What is not given is the queue's; and what is printed is the same again. */
static void test_values(void **state)
{
	struct buf errors, first, again;
	const struct class_params *k;
	struct config *c, *same;

	buf_init(&errors, 0);
	buf_init(&first, 0);
	buf_init(&again, 0);
	c = parse(classes, &errors);
	assert_non_null(c);
	k = policy_class(&c->policy, "codes");
	assert_int_equal(k->priority, 1);
	assert_int_equal(k->nschedule, 2);
	assert_int_equal(k->schedule[1], 30000);
	assert_int_equal(k->delay_notice, 0);
	k = policy_class(&c->policy, "named");
	assert_int_equal(k->priority, 2);
	assert_int_equal(k->nschedule, 6);
	assert_int_equal(k->schedule[5], 7200000);
	assert_int_equal(k->delay_notice, 4 * 3600000);
	assert_null(policy_class(&c->policy, "other"));
	assert_null(policy_class(&c->policy, NULL));
	assert_int_equal(policy_class(&c->policy, "two")->priority, 3);
	for (int changed = 0; changed < 2; changed++) {
		buf_reset(&first);
		buf_reset(&again);
		assert_int_equal(config_dump(&first, c, changed), 0);
		assert_int_equal(config_parse(&same, "y.conf", buf_slice(&first), &errors), 0);
		assert_int_equal(config_dump(&again, same, changed), 0);
		assert_true(slice_eq(buf_slice(&first), buf_slice(&again)));
		config_free(same);
	}
	assert_non_null(
		memmem(first.p, buf_size(&first), "class \"named\" {\n\tpriority = 2\n}", 31));
	config_free(c);
	buf_deinit(&errors);
	buf_deinit(&first);
	buf_deinit(&again);
}

static void test_bad(void **state)
{
	static const char *const bad[][2] = {
		{ "class \"a\" { pool = {\"none\"} }",
			"x.conf:1: class \"a\": pool: there is no pool" },
		{ "class \"a\" { listener = {\"x\"} }",
			"x.conf:1: class \"a\": listener: there is no listener" },
		{ "class \"a\" { client = {\"10.0.0.300\"} }", "x.conf:1: class \"a\": client: " },
		{ "class \"a\" { from = {\"no address\"} }", "x.conf:1: class \"a\": from: " },
		{ "class \"a\" { priority = 6 }", "x.conf:1: class \"a\": priority: " },
		{ "class \"a\" { expire = \"1s\" }", "x.conf:1: class \"a\": expire: " },
		{ "class \"a b\" { }", "x.conf:1: class \"a b\": not a name" },
		{ "class \"a\" { } class \"a\" { }", "x.conf:1: class \"a\"" },
		{ "class \"a\" { expire = \"1m\" retry = {\"1h\"} }",
			"x.conf:1: warning: class \"a\": the first delay" },
		{ "class \"a\" { delay_notice = \"3d\" }",
			"x.conf:1: warning: class \"a\": delay_notice: not shorter" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf errors;

		buf_init(&errors, 0);
		config_free(parse(bad[i][0], &errors));
		if (buf_size(&errors) < strlen(bad[i][1]) ||
			memcmp(errors.p, bad[i][1], strlen(bad[i][1])))
			fail_msg("%s: %.*s", bad[i][0], (int)buf_size(&errors),
				buf_slice(&errors).p);
		buf_deinit(&errors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
