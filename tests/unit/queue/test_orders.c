/* Recipients that an order of an operator holds, apart from messages that are held by hand. */
#include "fixture.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000000

static int flag(struct fixture *f, enum queue_flag_op op, uint64_t id, ms_t now, uint32_t *changed)
{
	struct queue_flag j = { .job.kind = QUEUE_FLAG, .op = op, .id = id, .now = now };
	int r = run_job(f, &j.job);

	*changed = j.changed;
	return r;
}

/* Held by an order: one recipient, in no index, until it is let go; by hand is another thing. */
static void test_held_by_an_order(void **state)
{
	struct queue_rcpt_state held = { .due = NOW, .flags = RCPT_STATE_HELD | RCPT_STATE_SPLIT };
	struct fixture *f = *state;
	uint64_t id = put_message(f, "a@x.example b@x.example c@x.example", 100, NOW);
	const uint32_t third = 2;
	struct queue_flag due_now = {
		.op = FLAG_DUE_NOW, .id = id, .now = NOW, .only = &third, .nonly = 1
	};
	struct queue_rcpt_state *st;
	struct message *m;
	uint32_t changed;

	assert_int_equal(settle_defer(f, id, 0, "x.example", NOW, &held), 0);
	assert_int_equal(settle_defer(f, id, 1, "x.example", NOW, &held), 0);
	assert_int_equal(count_due(f, "x.example", NOW + 99999), 1);
	check_clean(f, 1, 3);
	assert_int_equal(flag(f, FLAG_DUE_NOW, id, NOW, &changed), 0); /* which is no release */
	assert_int_equal(changed, 1);
	due_now.job.kind = QUEUE_FLAG;
	assert_int_equal(run_job(f, &due_now.job), 0);
	assert_int_equal(due_now.changed, 1);
	fixture_reopen(f);
	assert_int_equal(count_due(f, "x.example", NOW + 99999), 1);
	check_clean(f, 1, 3);
	assert_int_equal(flag(f, FLAG_FREE, id, NOW + 5, &changed), 0);
	assert_int_equal(changed, 2);
	assert_int_equal(count_due(f, "x.example", NOW + 5), 3);
	assert_int_equal(queue_load(f->q, id, &m, &st), 0);
	assert_int_equal(st[0].flags, RCPT_STATE_SPLIT);
	message_unref(m);
	/* by both: the order's end leaves it held by hand, the release ends both */
	assert_int_equal(settle_defer(f, id, 0, "x.example", NOW + 5, &held), 0);
	assert_int_equal(flag(f, FLAG_HOLD, id, NOW, &changed), 0);
	assert_int_equal(flag(f, FLAG_FREE, id, NOW + 6, &changed), 0);
	assert_int_equal(changed, 1);
	assert_int_equal(count_due(f, "x.example", NOW + 99999), 0);
	check_clean(f, 1, 3);
	assert_int_equal(flag(f, FLAG_RELEASE, id, NOW + 7, &changed), 0);
	assert_int_equal(changed, 3);
	assert_int_equal(count_due(f, "x.example", NOW + 7), 3);
	/* without a hold by hand a release is of what an order held alone */
	assert_int_equal(settle_defer(f, id, 2, "x.example", NOW + 7, &held), 0);
	assert_int_equal(flag(f, FLAG_RELEASE, id, NOW + 8, &changed), 0);
	assert_int_equal(changed, 1);
	check_clean(f, 1, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_held_by_an_order, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
