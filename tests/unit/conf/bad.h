/* Rows of bad configurations: a text, and the errors that are told of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "postern/config.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Follows each row's text, so that nothing is wrong but what the row says. */
#define REST                                                                                       \
	"\nhostname = \"out.example.net\"\n"                                                       \
	"listener \"in\" { address = {\"127.0.0.1:2525\"} allow = {\"127.0.0.0/8\"} pool = "       \
	"\"main\" }\n"                                                                             \
	"source \"a\" { address = \"192.0.2.1\" }\n"                                               \
	"pool \"main\" { sources = {\"a\"} }\n"

struct row {
	const char *text;
	const char *errors[5]; /* "line: beginning", in order, and no others; warnings too */
};

static inline void check(const char *text, const char *rest, const char *const *want)
{
	struct config *c = NULL;
	struct buf all, errors;
	struct slice left;
	bool bad = false;
	int r;

	buf_init(&all, 0);
	buf_init(&errors, 0);
	assert_int_equal(buf_printf(&all, "%s%s", text, rest), 0);
	r = config_parse(&c, "x.conf", buf_slice(&all), &errors);
	left = buf_slice(&errors);
	for (size_t i = 0; i < 5 && want[i]; i++) {
		char line[256];
		size_t n = (size_t)snprintf(line, sizeof(line), "x.conf:%s", want[i]);
		const char *end = left.n ? memchr(left.p, '\n', left.n) : NULL;

		if (!end || left.n < n || memcmp(left.p, line, n) != 0)
			fail_msg("%s\nwanted: %s\ngot:    %.*s", text, line, (int)left.n,
				left.n ? left.p : "");
		left = slice_from(left, (size_t)(end - left.p) + 1);
		bad |= strstr(line, ": warning: ") == NULL;
	}
	if (left.n > 0)
		fail_msg("%s\nnot wanted: %.*s", text, (int)left.n, left.p);
	assert_int_equal(r, bad ? -EINVAL : 0);
	assert_int_equal(c == NULL, bad);
	config_free(c);
	buf_deinit(&all);
	buf_deinit(&errors);
}

static inline void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check(rows[i].text, REST, rows[i].errors);
}
