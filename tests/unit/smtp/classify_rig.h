/* The shipped reply rules, read once for all tests of a program; rules_path is set before they run.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/classify.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *rules_path;
static struct classifier *shipped;

/* The caller frees what is returned. */
static char *file_read(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *text;
	long size;

	if (!f)
		fail_msg("%s cannot be opened", path);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)size, f), size);
	fclose(f);
	*n = (size_t)size;
	return text;
}

static int load(void **state)
{
	struct buf errors;
	size_t n;
	char *text = file_read(rules_path, &n);
	int r;

	(void)state;
	buf_init(&errors, 0);
	r = classifier_new(&shipped, (struct slice){ text, n }, "replies.rules", &errors);
	if (r)
		print_error("%.*s", (int)buf_size(&errors), errors.p);
	buf_deinit(&errors);
	free(text);
	return r;
}

static int unload(void **state)
{
	(void)state;
	shipped = classifier_free(shipped);
	return 0;
}

static inline struct classification ask(
	const struct classifier *c, const char *provider, const char *phase, const char *text)
{
	struct classification ret;
	static struct reply r;

	if (reply_from_text(&r, slice_of(text)))
		reply_make(&r, 0, text);
	classify(c, slice_of(provider), slice_of(phase), &r, &ret);
	return ret;
}
