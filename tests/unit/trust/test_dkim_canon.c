/* The canonical forms: the example of RFC 6376 section 3.4.5, and the corners that signers and
 * verifiers have disagreed about. Each body in one piece, byte by byte and in threes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dkim_private.h"

struct hash {
	uint8_t b[DKIM_HASH];
};

static struct hash hash_of(const char *p, size_t n)
{
	struct hash h;

	assert_int_equal(EVP_Digest(p, n, h.b, NULL, EVP_sha256(), NULL), 1);
	return h;
}

static struct hash body_hash(enum dkim_form form, struct slice in, size_t step)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct dkim_body b;
	struct hash h;

	assert_int_equal(EVP_DigestInit_ex(md, EVP_sha256(), NULL), 1);
	dkim_body_init(&b, form, md);
	while (in.n > 0) {
		size_t n = in.n < step ? in.n : step;

		dkim_body_feed(&b, (struct slice){ in.p, n });
		in = slice_from(in, n);
	}
	dkim_body_end(&b);
	assert_int_equal(b.sink.r, 0);
	assert_int_equal(EVP_DigestFinal_ex(md, h.b, NULL), 1);
	EVP_MD_CTX_free(md);
	return h;
}

static const struct {
	const char *in, *simple, *relaxed;
} bodies[] = {
	/* RFC 6376 section 3.4.5 */
	{ " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n" },
	{ "", "\r\n", "" },
	{ "\r\n", "\r\n", "" },
	{ "\r\n\r\n\r\n", "\r\n", "" },
	{ " \t\r\n", " \t\r\n", "" },
	{ " ", " \r\n", "" },
	{ " \r\n\r\n \r\n", " \r\n\r\n \r\n", "" },
	{ "a", "a\r\n", "a\r\n" },
	{ "a ", "a \r\n", "a\r\n" },
	{ "a\r\n", "a\r\n", "a\r\n" },
	{ "a\r\n\r\n", "a\r\n", "a\r\n" },
	{ "a\r\n \r\n", "a\r\n \r\n", "a\r\n" },
	{ "a\r\n\r\nb", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n" },
	{ "\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n" },
	{ "a \t \tb\t\r\n", "a \t \tb\t\r\n", "a b\r\n" },
	{ "\t a\r\n", "\t a\r\n", " a\r\n" },
	{ "a\r\n \t\r\n b\r\n", "a\r\n \t\r\n b\r\n", "a\r\n\r\n b\r\n" },
	{ ".\r\n..\r\n.a\r\n", ".\r\n..\r\n.a\r\n", ".\r\n..\r\n.a\r\n" },
	{ "\xc3\xa4 \xff\r\n", "\xc3\xa4 \xff\r\n", "\xc3\xa4 \xff\r\n" },
	/* binary content: a CR or LF alone is a byte like others */
	{ "a\rb\r\n", "a\rb\r\n", "a\rb\r\n" },
	{ "a\nb", "a\nb\r\n", "a\nb\r\n" },
	{ "a\r", "a\r\r\n", "a\r\r\n" },
	{ "a\r\r\n", "a\r\r\n", "a\r\r\n" },
	{ "a \r \r\n", "a \r \r\n", "a \r\r\n" },
	{ "a \n", "a \n\r\n", "a \n\r\n" },
	{ "\v\f a\r\n", "\v\f a\r\n", "\v\f a\r\n" },
};

static void test_bodies(void **state)
{
	static const size_t steps[] = { 1, 3, 1000 };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		for (size_t k = 0; k < 3; k++) {
			struct hash s = body_hash(DKIM_SIMPLE, slice_of(bodies[i].in), steps[k]);
			struct hash r = body_hash(DKIM_RELAXED, slice_of(bodies[i].in), steps[k]);
			struct hash ws = hash_of(bodies[i].simple, strlen(bodies[i].simple));
			struct hash wr = hash_of(bodies[i].relaxed, strlen(bodies[i].relaxed));

			if (memcmp(&s, &ws, sizeof(s)) || memcmp(&r, &wr, sizeof(r)))
				print_error("row %zu in steps of %zu\n", i, steps[k]);
			assert_memory_equal(&s, &ws, sizeof(s));
			assert_memory_equal(&r, &wr, sizeof(r));
		}
	}
}

/* Line ends that wait cost nothing but a number. */
static void test_many_ends(void **state)
{
	size_t n = 200000;
	char *p = malloc(n + 1);
	struct hash got, want;

	(void)state;
	for (size_t i = 0; i < n; i += 2)
		memcpy(p + i, "\r\n", 2);
	got = body_hash(DKIM_RELAXED, (struct slice){ p, n }, 777);
	want = hash_of("", 0);
	assert_memory_equal(&got, &want, sizeof(got));
	memcpy(p + n - 2, "ab", 2);
	got = body_hash(DKIM_SIMPLE, (struct slice){ p, n }, 777);
	p[n] = '\0';
	{
		char *whole = malloc(n + 3);

		snprintf(whole, n + 3, "%s\r\n", p);
		want = hash_of(whole, n + 2);
		free(whole);
	}
	assert_memory_equal(&got, &want, sizeof(got));
	free(p);
}

static const struct {
	const char *in, *relaxed;
} fields[] = {
	/* RFC 6376 section 3.4.5 */
	{ "A: X\r\n", "a:X\r\n" },
	{ "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n" },
	{ "SubJect:\r\n", "subject:\r\n" },
	{ "SubJect: \t \r\n", "subject:\r\n" },
	{ "S:a\r\n", "s:a\r\n" },
	{ "S: a:b : c\r\n", "s:a:b : c\r\n" },
	{ "S:\r\n a\r\n", "s:a\r\n" },
	{ "S: a\r\n \r\n\t\r\n b\r\n", "s:a b\r\n" },
	{ "S: a \t\r\n", "s:a\r\n" },
	{ "S \t : \xc3\xa4\r\n", "s:\xc3\xa4\r\n" },
	{ "S: a", "s:a\r\n" },
};

static void test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct dkim_sink k = { 0 };

		dkim_field(&k, DKIM_RELAXED, slice_of(fields[i].in));
		k.bytes[k.n] = '\0';
		assert_string_equal(k.bytes, fields[i].relaxed);
		k.n = 0;
		dkim_field(&k, DKIM_SIMPLE, slice_of(fields[i].in));
		k.bytes[k.n] = '\0';
		assert_string_equal(k.bytes, fields[i].in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_many_ends),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
