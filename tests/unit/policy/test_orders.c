/* What an operator orders and sees, and what of it and of the lanes is kept over a restart. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void test_suspend(void **state)
{
	static const struct {
		const char *source, *where;
		bool a1_here, a1_there; /* may a1 go to the first provider, to the second? */
	} rows[] = {
		{ "a1", NULL, false, false },
		{ "a1", "microsoft365", false, true },
		{ "a1", "203.0.113.0/24", false, false },
		{ "b1", NULL, true, true },
		{ NULL, "default", true, false },
		{ NULL, NULL, false, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_choice c;
		struct rig r;

		rig_only_source(&r);
		assert_true(policy_suspend(r.policy, r.now, rows[i].source, rows[i].where,
				    WALL + 5000) >= 0);
		c = rig_choose(&r);
		assert_int_equal(c.go, rows[i].a1_here);
		if (!c.go) {
			assert_int_equal(c.reason, HOLD_SUSPENDED);
			assert_int_equal(c.until, r.now.mono + 5000);
		}
		r.want.provider = 1;
		assert_int_equal(rig_choose(&r).go, rows[i].a1_there);
		r.want.provider = 0;
		rig_pass(&r, 5000);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
	}
}

/* What mail has not come to yet may be named; and what cannot be a place may not. */
static void test_places(void **state)
{
	static const struct {
		const char *where;
		int result;
		bool here; /* holds what goes to 203.0.113.0/24 */
	} rows[] = {
		{ "203.0.113.0/24", POLICY_NOT_MET, true },
		{ "203.0.112.0/23", POLICY_NOT_MET, true },
		{ "microsoft365", 0, true },
		{ "203.0.112.0/24", POLICY_NOT_MET, false },
		{ "2001:db8::/32", POLICY_NOT_MET, false },
		{ "2001:db8::/64", -ENXIO, false },
		{ "203.0.113.7", -ENXIO, false },
		{ "EUR01", POLICY_NOT_MET, false },
		{ "eurprd05", POLICY_NOT_MET, false },
		{ "JPNP286", POLICY_NOT_MET, false },
		{ "ptr-NAMpr12", POLICY_NOT_MET, false },
		{ "EUR", POLICY_NOT_MET, false },
		{ "eur", POLICY_NOT_MET, false },
		{ "XYZ", -ENXIO, false },
		{ "", -ENXIO, false },
		{ "EUR0l", -ENXIO, false },
		{ "EUR 01", -ENXIO, false },
		{ "t1.example", -ENXIO, false },
		{ "Microsoft365", -ENXIO, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rig r;

		rig_only_source(&r);
		assert_int_equal(
			policy_suspend(r.policy, r.now, "a1", rows[i].where, 0), rows[i].result);
		assert_int_equal(rig_choose(&r).go, !rows[i].here);
		assert_int_equal(policy_keep(r.policy, r.now, "a1", rows[i].where, 0) < 0,
			rows[i].result < 0);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
	}
}

static void test_resume(void **state)
{
	struct rig r;

	rig_only_source(&r);
	assert_int_equal(policy_suspend(r.policy, r.now, "nobody", NULL, 0), -ENOENT);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", "nowhere", 0), -ENXIO);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", NULL), -ENOENT);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	assert_false(rig_choose(&r).go);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", NULL), 0);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* Rests of our own may be ended, and forbidden for a time. */
static void test_keep(void **state)
{
	struct policy_choice c;
	struct rig r;

	rig_only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	assert_false(rig_choose(&r).go);
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "203.0.113.0/24"), 0);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(policy_keep(r.policy, r.now, "a1", "microsoft365", r.now.wall + 30000), 0);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	c = rig_choose(&r);
	assert_true(c.go);
	rig_end(&r, c.slot);
	rig_pass(&r, 30001);
	policy_tick(r.policy, r.now);
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING);
	rig_deinit(&r);
}

static void drop_all(void *arg, struct slice key, struct slice value)
{
	assert_null(value.p);
	++*(unsigned *)arg;
}

/* The clock is set back: noticed by a tick while all goes on, or when what was saved is loaded. */
static void set_back(struct rig *r, ms_t by, bool running)
{
	struct rig_saved *k = calloc(1, sizeof(*k));

	r->now.wall -= by;
	if (running) {
		policy_tick(r->policy, r->now);
	} else {
		policy_save(r->policy, rig_keep, k);
		rig_deinit(r);
		rig_only_source(r);
		r->now.wall -= by;
		rig_load(r, k);
		policy_begin(r->policy, r->now);
	}
	free(k);
}

/* A rest that was begun when the clock was ten years ahead: loaded, or while it lasts. */
static void test_clock_set_back(void **state)
{
	const ms_t years = 10ll * 365 * 86400000;

	for (int running = 0; running < 2; running++) {
		struct policy_choice c;
		struct rig r;
		ms_t rest;

		rig_only_source(&r);
		policy_tick(r.policy, r.now);
		c = rig_choose(&r);
		rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
		rig_end(&r, c.slot);
		rest = rig_choose(&r).until - r.now.mono;
		set_back(&r, years, running);
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RESTING);
		assert_in_range(c.until - r.now.mono, 1, rest + rest / 10);
		rig_deinit(&r);
	}
}

static void test_save(void **state)
{
	struct rig_saved *k = calloc(1, sizeof(*k)), *again = calloc(1, sizeof(*again));
	struct policy_choice c;
	unsigned dropped = 0;
	ms_t until;
	struct rig r;

	rig_only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	until = rig_choose(&r).until;
	assert_true(policy_urgent(r.policy));
	policy_save(r.policy, rig_keep, k);
	assert_int_equal(k->n, 2); /* the path, and the lane's window */
	policy_save(r.policy, rig_keep, again);
	assert_int_equal(again->n, 0); /* only what has changed */
	rig_deinit(&r);

	rig_only_source(&r);
	rig_load(&r, k);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_RESTING);
	assert_int_equal(c.until, until);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", "default", 0), 0);
	policy_save(r.policy, rig_keep, again);
	assert_int_equal(again->n, 1);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", "default"), 0);
	policy_save(r.policy, drop_all, &dropped);
	assert_int_equal(dropped, 1);
	rig_deinit(&r);

	rig_only_source(&r);
	rig_load(&r, again);
	r.want.provider = 1;
	assert_int_equal(rig_choose(&r).reason, HOLD_SUSPENDED);
	/* what is damaged or of another version is refused, not believed */
	assert_int_equal(
		policy_load(r.policy, slice_of("policy/lane/a1"), slice_of("2 5 5 5 5 ")), -EINVAL);
	assert_int_equal(
		policy_load(r.policy, slice_of(k->keys[0]), slice_of("1 5 5 5 5 ")), -EINVAL);
	assert_int_equal(policy_load(r.policy, slice_of(k->keys[0]), slice_of("")), -EINVAL);
	rig_deinit(&r);
	free(k);
	free(again);
}

static void count_lane(void *arg, const struct policy_lane_info *i)
{
	++*(unsigned *)arg;
	assert_int_equal(i->health, POLICY_RESTING);
	assert_string_equal(i->cause, "subnet");
	assert_string_equal(i->cluster, "203.0.113.0/24");
	assert_int_equal(i->deferred, 6);
	assert_true(i->recent_bad > 5 && i->recent_good < 1);
	assert_true(i->until >= WALL + 60000);
}

static void count_cluster(void *arg, const struct policy_cluster_info *i)
{
	++*(unsigned *)arg;
	assert_int_equal(i->connections, 1);
	assert_int_equal(i->cap, 6);
	assert_string_equal(i->how, "network");
}

/* What an operator ordered for an hour lasts an hour, by whatever clock. */
static void test_orders_after_a_step(void **state)
{
	const ms_t days = 3 * 86400000, hour = 3600000;

	for (int running = 0; running < 2; running++) {
		struct policy_choice c;
		struct rig r;

		rig_only_source(&r);
		policy_tick(r.policy, r.now);
		assert_true(policy_suspend(r.policy, r.now, "a1", NULL, r.now.wall + hour) >= 0);
		rig_pass(&r, 1000);
		set_back(&r, days, running);
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_SUSPENDED);
		assert_in_range(c.until - r.now.mono, hour / 2, hour);
		rig_pass(&r, hour);
		policy_tick(r.policy, r.now);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
	}
}

static void test_listing(void **state)
{
	unsigned lanes = 0, clusters = 0;
	struct policy_summary s;
	struct policy_choice c;
	struct rig r;

	rig_only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	policy_lanes(r.policy, r.now, count_lane, &lanes);
	policy_clusters(r.policy, r.now, count_cluster, &clusters);
	assert_int_equal(lanes, 1);
	assert_int_equal(clusters, 1);
	policy_summary(r.policy, r.now, &s);
	assert_int_equal(s.resting, 1);
	assert_int_equal(s.health_changes, 1);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_save),
		cmocka_unit_test(test_orders_after_a_step),
		cmocka_unit_test(test_listing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
