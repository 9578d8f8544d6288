/* From fields as people and machines write them, and as somebody who wants another's signature
 * would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dkim_private.h"

static const struct {
	const char *value, *domains; /* with spaces between them */
} rows[] = {
	{ " joe@football.example.com\r\n", "football.example.com" },
	{ " Joe SixPack <joe@Football.Example.COM>\r\n", "football.example.com" },
	{ "\"Joe, at @evil.example\" <joe@a.example>", "a.example" },
	{ " joe@evil.example <joe@a.example>", "a.example" },
	{ " (joe@evil.example) joe@a.example (or \\) x@evil.example)", "a.example" },
	{ " (a (b@evil.example) c) <joe@a.example>", "a.example" },
	{ " \"a@evil.example\"@a.example", "a.example" },
	{ " <@relay.example,@other.example:joe@a.example>", "a.example" },
	{ " joe@a.example, jane@b.example", "a.example b.example" },
	{ " Joe <joe@a.example>,\r\n\tJane <jane@b.example>\r\n", "a.example b.example" },
	{ " Joe <joe@a.example>, Joe <joe2@A.example>", "a.example" },
	{ " Group: joe@a.example, <jane@b.example>;", "a.example b.example" },
	{ " undisclosed:;", "" },
	{ " joe @ a . example", "a.example" },
	{ " joe@a.\r\n example", "a.example" },
	{ " joe@a (comment) .example", "a.example" },
	{ " joe@a.example.", "a.example" },
	{ " joe@a.example b.example", "" },
	{ " joe@[192.0.2.1]", "" },
	{ " joe", "" },
	{ "", "" },
	{ " <>", "" },
	{ " <joe@>", "" },
	{ " joe@a.example>", "" },
	{ " Joe <joe@a.example> jane@evil.example", "a.example" },
	{ " Joe <joe@a.example", "a.example" },
	{ " \"unended <joe@a.example>", "" },
	{ " (unended <joe@a.example>", "" },
	{ " joe@\"a.example\"", "" },
	{ " joe@a.exa\\mple", "" },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct authors a = { 0 };
		char text[1024] = "";

		authors_add(&a, slice_of(rows[i].value), NULL);
		for (unsigned k = 0; k < a.n; k++) {
			if (k)
				strcat(text, " ");
			strcat(text, a.domain[k]);
		}
		if (strcmp(text, rows[i].domains))
			print_error("%s\n", rows[i].value);
		assert_string_equal(text, rows[i].domains);
	}
}

static void test_many(void **state)
{
	struct authors a = { 0 };
	char value[100];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(value, sizeof(value), " x@d%d.example", i);
		authors_add(&a, slice_of(value), NULL);
	}
	assert_int_equal(a.n, AUTHORS_MAX);
	memset(value, 'a', sizeof(value) - 1);
	value[0] = '@';
	value[99] = '\0';
	a.n = 0;
	for (int i = 0; i < 3; i++)
		authors_add(&a, slice_of(value), NULL);
	assert_int_equal(a.n, 1);
}

/* What is not ASCII goes through the function that was given, and is left out when it says no. */
static int to_ascii(struct slice in, char *out, size_t max)
{
	if (in.p[0] == '\xff')
		return -1;
	snprintf(out, max, "%s", in.p[0] == '\xc3' ? "xn--x.example" : "a.example");
	return 0;
}

static void test_idn(void **state)
{
	struct authors a = { 0 };

	(void)state;
	authors_add(&a, slice_of(" x@\xc3\xa4.example, y@\xff.example"), to_ascii);
	assert_int_equal(a.n, 1);
	assert_string_equal(a.domain[0], "xn--x.example");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_idn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
