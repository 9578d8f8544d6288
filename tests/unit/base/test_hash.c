/* The hash against the values that its authors publish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "postern/hash.h"

static void test_published_values(void **state)
{
	static const struct {
		const char *text;
		uint64_t h64;
		uint32_t h32;
	} rows[] = {
		{ "", 0xcbf29ce484222325u, 0x811c9dc5u },
		{ "a", 0xaf63dc4c8601ec8cu, 0xe40c292cu },
		{ "foobar", 0x85944171f73967e8u, 0xbf9cf968u },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t n = strlen(rows[i].text);

		assert_true(hash_text(HASH_START, rows[i].text) == rows[i].h64);
		assert_true(hash_bytes(HASH_START, rows[i].text, n) == rows[i].h64);
		assert_true(hash32_bytes(HASH32_START, rows[i].text, n) == rows[i].h32);
	}
	/* in parts as in one */
	assert_true(hash_text(hash_text(HASH_START, "foo"), "bar") == rows[2].h64);
	/* a byte above 127 is no negative number */
	assert_true(hash_text(HASH_START, "\xff") == hash_bytes(HASH_START, "\xff", 1));
	assert_true(hash_text(HASH_START, "\xff") == (HASH_START ^ 0xffu) * 0x100000001b3u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
