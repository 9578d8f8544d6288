/* A host's own failures, and which source goes where again. Virtual time. */
#include "rig.h"

/* ---- the same source again ---- */

static void prefer(struct rig *r, struct policy_tried *tried, unsigned source)
{
	*tried = (struct policy_tried){ .prefer = (uint16_t)(source + 1) };
	r->want.tried = tried;
}

/* Whatever the weights say: each of the sources, many times over. */
static void test_same_source(void **state)
{
	struct policy_tried tried;
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 60; i++) {
		struct policy_choice c;

		prefer(&r, &tried, i % 3);
		c = rig_choose(&r);
		assert_true(c.go);
		assert_int_equal(c.source, i % 3);
		rig_end(&r, c.slot);
	}
	rig_deinit(&r);
}

/* It has no place just now: waited for. */
static void test_same_source_is_busy(void **state)
{
	struct policy_tried tried;
	struct policy_choice c;
	unsigned n = 0;
	struct rig r;

	rig_init(&r);
	prefer(&r, &tried, 1);
	while ((c = rig_choose(&r)).go) {
		assert_int_equal(c.source, 1);
		n++;
	}
	assert_true(n > 0 && n <= 3);
	assert_true(c.reason == HOLD_CAP || c.reason == HOLD_WINDOW);
	r.want.tried = NULL;
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* It may not go for long: the other source of its subnet; then any. */
static void test_same_subnet(void **state)
{
	struct policy_tried tried;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	prefer(&r, &tried, 0);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	for (unsigned i = 0; i < 10; i++) {
		c = rig_choose(&r);
		assert_true(c.go);
		assert_int_equal(c.source, 1);
		rig_end(&r, c.slot);
	}
	assert_int_equal(policy_suspend(r.policy, r.now, "a2", NULL, 0), 0);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.source, 2);
	rig_deinit(&r);
}

/* Refused for the source's sake in this cycle: that moves it. */
static void test_refused_source_is_left(void **state)
{
	struct policy_tried tried;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	prefer(&r, &tried, 0);
	tried.n = 1;
	tried.source[0] = 0;
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.source, 2);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_source),
		cmocka_unit_test(test_same_source_is_busy),
		cmocka_unit_test(test_same_subnet),
		cmocka_unit_test(test_refused_source_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
