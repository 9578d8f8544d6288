/* Which state of an inbound session may follow which: each cell. */
#include "session_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A row for each state, a column for what may follow it: '+' may. */
static void test_input(void **state)
{
	static const char *const rows[] = { ".+++", "+.++", "...+", "...." };

	for (unsigned from = 0; from < 4; from++)
		for (unsigned to = 0; to < 4; to++)
			if (session_may(from, to) != (rows[from][to] == '+'))
				fail_msg("%u to %u", from, to);
}

static void test_due(void **state)
{
	static const char *const rows[] = { ".++", "+.+", "+.." };

	for (unsigned from = 0; from < 3; from++)
		for (unsigned to = 0; to < 3; to++)
			if (due_may(from, to) != (rows[from][to] == '+'))
				fail_msg("%u to %u", from, to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
