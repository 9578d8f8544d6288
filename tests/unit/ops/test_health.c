/* Whether the service is well: by what was really answered lately, and with the cause that can be
 * ended. The queue's figures are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "postern/ops.h"

#define MIB (1024ull * 1024)

static const struct queue_stats *now;

void __wrap_queue_stats(struct queue *q, struct queue_stats *ret);
void __wrap_queue_stats(struct queue *q, struct queue_stats *ret)
{
	(void)q;
	*ret = *now;
	ret->bytes_max = 192 * MIB;
}

static void test_causes(void **state)
{
	static const struct {
		struct queue_stats s;
		const char *says[2]; /* NULL: well */
	} rows[] = {
		{ { .bytes_used = 3 * MIB }, { NULL } },
		{ { .bytes_used = 191 * MIB }, { NULL } },
		{ { .full = true, .bytes_used = 190 * MIB },
			{ "the queue is full (199229440 of 201326592 bytes)",
				"raise queue max_size" } },
		/* most of the file is free: somebody keeps it, and has a number */
		{ { .bytes_used = 3 * MIB,
			  .refused = 2400,
			  .refused_ago_ms = 100,
			  .refused_error = -ENOSPC,
			  .reader_pid = 4711,
			  .reader_ms = 61000 },
			{ "process 4711 has been reading the queue's file for 61 s",
				"continue it or end it" } },
		{ { .full = true, .reader_pid = 4711, .reader_ms = 5001 },
			{ "process 4711", "452" } },
		/* a check that has just begun is not the cause */
		{ { .full = true, .reader_pid = 4711, .reader_ms = 4000 },
			{ "the queue is full", "max_size" } },
		/* a reader alone is no harm yet */
		{ { .reader_pid = 4711, .reader_ms = 3600000 }, { NULL } },
		{ { .refused = 1, .refused_ago_ms = 9999, .refused_error = -ENOSPC },
			{ "the queue is full", "452" } },
		{ { .refused = 1, .refused_ago_ms = 10000, .refused_error = -ENOSPC }, { NULL } },
		{ { .refused = 1, .refused_ago_ms = 2500, .refused_error = -EIO },
			{ "could not be stored 2 s ago", "Input/output error" } },
		{ { .refused = 1, .refused_ago_ms = 60000, .refused_error = -EIO }, { NULL } },
	};
	struct ops_context ctx = { 0 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char why[512] = "";
		int r;

		now = &rows[i].s;
		r = health_check(&ctx, why, sizeof(why));
		if (r != (rows[i].says[0] != NULL))
			fail_msg("row %zu: %d: %s", i, r, why);
		for (unsigned k = 0; k < 2 && rows[i].says[k]; k++)
			if (!strstr(why, rows[i].says[k]))
				fail_msg("row %zu: %s", i, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_causes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
