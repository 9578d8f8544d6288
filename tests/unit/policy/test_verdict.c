#include "rig.h"

#include <errno.h>
#include <stdlib.h>

/* The verdict table, on a pool where another subnet is free. */
static void test_dispositions(void **state)
{
	static const struct {
		const char *name;
		enum verdict verdict;
		uint16_t code;
		enum disposition what;
	} rows[] = {
		{ "accepted", VERDICT_DELIVERED, 250, DISPOSE_DELIVERED },
		{ "throttled", VERDICT_SOURCE_THROTTLE, 451, DISPOSE_RETRY_SUBNET },
		{ "blocked", VERDICT_SOURCE_BLOCK, 450, DISPOSE_RETRY_SUBNET },
		{ "blocked for good", VERDICT_SOURCE_BLOCK, 550, DISPOSE_RETRY_SUBNET },
		{ "busy", VERDICT_DESTINATION_BUSY, 451, DISPOSE_DEFER },
		{ "busy, says 5xx", VERDICT_DESTINATION_BUSY, 554, DISPOSE_DEFER },
		{ "wrong region", VERDICT_DESTINATION_CONFIG, 451, DISPOSE_RESOLVE },
		{ "no such tenant", VERDICT_DESTINATION_CONFIG, 550, DISPOSE_BOUNCE },
		{ "too many at once", VERDICT_SPLIT_RECIPIENTS, 452, DISPOSE_RETRY_SPLIT },
		{ "no such user", VERDICT_RECIPIENT_INVALID, 550, DISPOSE_BOUNCE },
		{ "full mailbox", VERDICT_RECIPIENT_INVALID, 452, DISPOSE_DEFER },
		{ "spam", VERDICT_MESSAGE_REJECTED, 554, DISPOSE_BOUNCE },
		{ "perhaps spam", VERDICT_MESSAGE_REJECTED, 451, DISPOSE_DEFER },
		{ "anything", VERDICT_TRANSIENT_OTHER, 451, DISPOSE_DEFER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_tried tried = { 0 };
		struct policy_choice c;
		struct rig r;

		rig_init(&r);
		c = rig_choose(&r);
		assert_int_equal(rig_result(&r, c.slot, rows[i].verdict, rows[i].code, &tried).what,
			rows[i].what);
		assert_int_equal(tried.n, rows[i].what == DISPOSE_RETRY_SUBNET);
		rig_deinit(&r);
	}
}

/* One subnet after the other, each once; then the message backs off. */
static void test_throttle(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct policy_verdict v;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	v = rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	assert_int_equal(v.what, DISPOSE_RETRY_SUBNET);
	rig_end(&r, c.slot);
	r.want.tried = &tried;
	c = rig_choose(&r);
	assert_true(c.go);
	assert_true((c.source == 2) != (tried.source[0] == 2));
	v = rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	assert_int_equal(v.what, DISPOSE_DEFER);
	assert_string_equal(v.cause, "subnet");
	rig_end(&r, c.slot);
	rig_deinit(&r);
}

static void only_source(struct rig *r)
{
	rig_init(r);
	r->pools[0].nmembers = 1;
}

/* 60 s, then twice as long each time, an hour at most; forgotten after deliveries. */
static void test_rest(void **state)
{
	ms_t expect = 60000;
	struct rig r;

	only_source(&r);
	for (int i = 0; i < 8; i++) {
		struct policy_tried tried = { 0 };
		struct policy_choice c = rig_choose(&r), why;
		bool retire;

		assert_true(c.go);
		assert_int_equal(rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried).what,
			DISPOSE_DEFER);
		/* a second recipient of the same moment does not lengthen it */
		rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
		assert_false(rig_admit(&r, c.slot, &why, &retire));
		assert_true(retire);
		rig_end(&r, c.slot);
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RESTING);
		assert_int_equal(c.until, r.now.mono + expect);
		rig_pass(&r, expect);
		expect = expect * 2 < 3600000 ? expect * 2 : 3600000;
	}
	for (int i = 0; i < 20; i++) {
		struct policy_tried tried = { 0 };
		struct policy_choice c = rig_choose(&r);

		rig_result(&r, c.slot, VERDICT_DELIVERED, 250, &tried);
		rig_end(&r, c.slot);
	}
	{
		struct policy_tried tried = { 0 };
		struct policy_choice c = rig_choose(&r);

		rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
		rig_end(&r, c.slot);
		assert_int_equal(rig_choose(&r).until, r.now.mono + 60000);
	}
	rig_deinit(&r);
}

/* Never bounced: held when no source is left, and free again after two hours. */
static void test_block(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct policy_verdict v;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	assert_int_equal(rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	r.want.tried = &tried;
	c = rig_choose(&r);
	v = rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	assert_int_equal(v.what, DISPOSE_HOLD);
	assert_int_equal(v.reason, HOLD_BLOCKED);
	assert_true(v.hold > 0 && v.hold <= 7200000);
	/* the third source is well: other messages go on */
	r.want.tried = NULL;
	c = rig_choose(&r);
	assert_true(c.go);
	memset(&tried, 0, sizeof(tried));
	rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_BLOCKED);
	/* at another provider nobody is blocked */
	r.want.provider = 1;
	assert_true(rig_choose(&r).go);
	r.want.provider = 0;
	rig_pass(&r, 7200000);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

static void test_bind_failure(void **state)
{
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	policy_disconnected(r.policy, r.now, c.slot, NULL, POLICY_E_BIND);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_NO_SOURCE);
	assert_int_equal(c.until, r.now.mono + 60000);
	rig_pass(&r, 60000);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

static void test_refused_session(void **state)
{
	struct classification k = { .verdict = VERDICT_SOURCE_THROTTLE };
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	policy_disconnected(r.policy, r.now, c.slot, &k, 0);
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING);
	rig_deinit(&r);
}

static void test_backoff(void **state)
{
	static const ms_t schedule[] = { 300000, 600000, 1200000, 1200000, 1200000 };
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < COUNT(schedule); i++) {
		ms_t low = INT64_MAX, high = 0;

		for (int k = 0; k < 1000; k++) {
			ms_t d = policy_backoff(r.policy, (unsigned)i + 1);

			low = d < low ? d : low;
			high = d > high ? d : high;
		}
		assert_true(low >= schedule[i] * 8 / 10 && low < schedule[i] * 85 / 100);
		assert_true(high <= schedule[i] * 12 / 10 && high > schedule[i] * 115 / 100);
	}
	rig_deinit(&r);
}

/* ---- operator ---- */

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

		only_source(&r);
		assert_int_equal(
			policy_suspend(r.policy, r.now, rows[i].source, rows[i].where, WALL + 5000),
			0);
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

static void test_resume(void **state)
{
	struct rig r;

	only_source(&r);
	assert_int_equal(policy_suspend(r.policy, r.now, "nobody", NULL, 0), -ENOENT);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", "nowhere", 0), -ENOENT);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", NULL), -ENOENT);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	assert_false(rig_choose(&r).go);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", NULL), 0);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

struct kept {
	char keys[16][400], values[16][64];
	size_t n;
};

static void keep(void *arg, struct slice key, struct slice value)
{
	struct kept *k = arg;

	assert_true(k->n < 16 && value.p);
	memcpy(k->keys[k->n], key.p, key.n);
	memcpy(k->values[k->n++], value.p, value.n);
}

static void drop_all(void *arg, struct slice key, struct slice value)
{
	assert_null(value.p);
	++*(unsigned *)arg;
}

static void load(struct rig *r, const struct kept *k)
{
	for (size_t i = 0; i < k->n; i++)
		assert_int_equal(
			policy_load(r->policy, slice_of(k->keys[i]), slice_of(k->values[i])), 0);
}

static void test_save(void **state)
{
	struct kept *k = calloc(1, sizeof(*k)), *again = calloc(1, sizeof(*again));
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	unsigned dropped = 0;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	policy_save(r.policy, keep, k);
	assert_int_equal(k->n, 1);
	policy_save(r.policy, keep, again);
	assert_int_equal(again->n, 0); /* only what has changed */
	rig_deinit(&r);

	only_source(&r);
	load(&r, k);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_RESTING);
	assert_int_equal(c.until, r.now.mono + 60000);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	r.want.provider = 1;
	c = rig_choose(&r);
	policy_save(r.policy, keep, again);
	assert_int_equal(again->n, 1);
	assert_int_equal(policy_resume(r.policy, r.now, NULL, NULL), 0);
	policy_save(r.policy, drop_all, &dropped);
	assert_int_equal(dropped, 2);
	rig_deinit(&r);

	only_source(&r);
	load(&r, again);
	assert_int_equal(rig_choose(&r).reason, HOLD_SUSPENDED);
	/* what is damaged or of a later version is refused, not believed */
	assert_int_equal(
		policy_load(r.policy, slice_of("policy/rest/a1"), slice_of("1 5 5")), -EINVAL);
	assert_int_equal(policy_load(r.policy, slice_of(k->keys[0]), slice_of("2 5 5")), -EINVAL);
	assert_int_equal(policy_load(r.policy, slice_of(k->keys[0]), slice_of("")), -EINVAL);
	rig_deinit(&r);
	free(k);
	free(again);
}

static void count_lane(void *arg, const struct policy_lane_info *i)
{
	++*(unsigned *)arg;
	assert_string_equal(i->health, "resting");
	assert_string_equal(i->cluster, "203.0.113.0/24");
	assert_int_equal(i->deferred, 1);
	assert_int_equal(i->until, WALL + 60000);
}

static void count_cluster(void *arg, const struct policy_cluster_info *i)
{
	++*(unsigned *)arg;
	assert_int_equal(i->connections, 1);
	assert_int_equal(i->cap, 6);
}

static void test_listing(void **state)
{
	struct policy_tried tried = { 0 };
	unsigned lanes = 0, clusters = 0;
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	policy_lanes(r.policy, r.now, count_lane, &lanes);
	policy_clusters(r.policy, count_cluster, &clusters);
	assert_int_equal(lanes, 1);
	assert_int_equal(clusters, 1);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispositions),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_bind_failure),
		cmocka_unit_test(test_refused_session),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_save),
		cmocka_unit_test(test_listing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
