/* Which state of a stream may follow which: each cell. */
#include "stream_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MOST 5

static bool state(unsigned from, unsigned to)
{
	return stream_may(from, to);
}

static bool reading(unsigned from, unsigned to)
{
	return reading_may(from, to);
}

static bool taker(unsigned from, unsigned to)
{
	return taker_may(from, to);
}

static bool writing(unsigned from, unsigned to)
{
	return writing_may(from, to);
}

static bool end(unsigned from, unsigned to)
{
	return end_may(from, to);
}

/* A row for each state, a column for what may follow it: '+' may. */
static const struct {
	const char *name;
	bool (*may)(unsigned from, unsigned to);
	const char *rows[MOST];
} machines[] = {
	{ "stream", state, { ".++.+", "..+++", "...++", "....+", "....." } },
	{ "reading", reading, { ".++", "+.+", "..." } },
	{ "taker", taker, { ".+.", "+.+", "++." } },
	{ "writing", writing, { ".++", "+.+", "..." } },
	{ "end", end, { ".++", "+.+", "+.." } },
};

static void test_cells(void **cmocka)
{
	for (size_t m = 0; m < sizeof(machines) / sizeof(*machines); m++)
		for (unsigned from = 0; from < MOST && machines[m].rows[from]; from++)
			for (unsigned to = 0; machines[m].rows[from][to]; to++)
				if (machines[m].may(from, to) !=
					(machines[m].rows[from][to] == '+'))
					fail_msg("%s: %u to %u", machines[m].name, from, to);
}

/* What is final has nothing behind it, and no state follows itself: who sets one twice has lost count. */
static void test_final(void **cmocka)
{
	for (unsigned i = 0; i < 3; i++) {
		assert_false(reading_may(READING_ENDED, i));
		assert_false(writing_may(WRITING_BROKEN, i));
		assert_false(
			reading_may(i, i) || writing_may(i, i) || taker_may(i, i) || end_may(i, i));
	}
	for (unsigned i = 0; i < MOST; i++) {
		assert_false(stream_may(STREAM_CLOSING, i));
		assert_false(stream_may(i, i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
