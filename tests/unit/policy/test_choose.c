/* Which source and host are chosen, and which of our limits says no. */
#include "rig.h"

static void test_provider(void **state)
{
	static const struct {
		const char *mx;
		unsigned provider;
	} rows[] = {
		{ "example-org.mail.protection.outlook.com", 0 },
		{ "EXAMPLE-ORG.Mail.Protection.Outlook.com.", 0 },
		{ "mail.protection.outlook.com", 1 },
		{ "mx.example.org", 1 },
		{ "", 1 },
	};
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(policy_provider(r.policy, slice_of(rows[i].mx)), rows[i].provider);
	assert_int_equal(policy_pool(r.policy, "other"), 1);
	assert_true(policy_pool(r.policy, "none") < 0);
	rig_deinit(&r);
}

/* Weights 1:1:2, and only the hosts of the best preference. */
static void test_round_robin(void **state)
{
	unsigned used[4] = { 0 };
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 400; i++) {
		struct policy_choice c = rig_choose(&r);

		assert_true(c.go);
		assert_true(c.host < 2);
		used[c.source]++;
		rig_end(&r, c.slot);
	}
	assert_int_equal(used[0], 100);
	assert_int_equal(used[1], 100);
	assert_int_equal(used[2], 200);
	rig_deinit(&r);
}

static void test_caps(void **state)
{
	uint32_t slots[8], n = 0;
	unsigned lane[4] = { 0 };
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	while ((c = rig_choose(&r)).go && n < 8) {
		slots[n++] = c.slot;
		lane[c.source]++;
	}
	assert_int_equal(n, 6); /* the cluster's cap */
	assert_true(lane[0] + lane[1] <= 4 && lane[0] <= 3 && lane[1] <= 3 && lane[2] <= 3);
	assert_int_equal(c.reason, HOLD_CAP);
	assert_int_equal(c.until, 0);
	assert_string_equal(c.cluster, "203.0.113.0/24");
	/* the backup host's cluster has room, but mail goes to the best preference only */
	rig_end(&r, slots[0]);
	assert_true(rig_choose(&r).go);
	assert_false(rig_choose(&r).go);
	/* once the others have failed it is the turn of the backup */
	r.hosts[0].failed = r.hosts[1].failed = true;
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.host, 2);
	rig_deinit(&r);
}

/* What waits for a slot is not told the hours for which another source is blocked. */
static void test_slot_beside_a_block(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	do {
		c = rig_choose(&r);
		assert_true(c.go);
		if (c.source == 2)
			rig_end(&r, c.slot);
	} while (c.source == 2);
	rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	rig_end(&r, c.slot);
	while ((c = rig_choose(&r)).go)
		;
	assert_true(c.reason == HOLD_CAP || c.reason == HOLD_WINDOW);
	assert_int_equal(c.until, 0);
	rig_deinit(&r);
}

static void test_provider_cap(void **state)
{
	struct rig r;

	rig_init(&r);
	r.providers[0].connections = 1;
	assert_true(rig_choose(&r).go);
	assert_int_equal(rig_choose(&r).reason, HOLD_CAP);
	rig_deinit(&r);
}

/* Never more than the count in any period, and the full count over a long time. */
static void test_rates(void **state)
{
	static const struct rate rates[] = { { 1, 60000 }, { 7, 10000 }, { 60, 60000 },
		{ 600, 60000 } };

	for (size_t k = 0; k < COUNT(rates); k++) {
		ms_t times[6000];
		unsigned n = 0;
		struct rig r;

		rig_init(&r);
		r.providers[0].lane_connect_rate = rates[k];
		r.want.pool = 0;
		r.pools[0].nmembers = 1;
		for (ms_t t = 0; t < 5 * rates[k].per; t += rates[k].per / 2000) {
			struct policy_choice c = rig_choose(&r);

			if (c.go) {
				times[n++] = r.now.mono;
				rig_end(&r, c.slot);
			} else {
				assert_int_equal(c.reason, HOLD_RATE);
				assert_true(c.until > r.now.mono);
			}
			rig_pass(&r, rates[k].per / 2000);
		}
		for (unsigned i = rates[k].count; i < n; i++)
			assert_true(times[i] - times[i - rates[k].count] >= rates[k].per);
		assert_true(n >= 4 * rates[k].count);
		rig_deinit(&r);
	}
}

static void test_family(void **state)
{
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	r.want.pool = 1;
	c = rig_choose(&r);
	assert_false(c.go);
	assert_int_equal(c.reason, HOLD_NO_HOST);
	r.hosts[2].addr = rig_addr("2001:db8:1::25");
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.source, 3);
	assert_int_equal(c.host, 2);
	assert_string_equal(c.cluster, "2001:db8:1::/48");
	rig_deinit(&r);
}

static void test_admit(void **state)
{
	struct policy_tried tried = { .n = 1 };
	struct policy_choice c, why;
	bool retire;
	struct rig r;

	rig_init(&r);
	r.providers[0].lane_message_rate = (struct rate){ 60, 60000 }; /* bursts of 3 */
	c = rig_choose(&r);
	for (int i = 0; i < 3; i++)
		assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_false(rig_admit(&r, c.slot, &why, &retire));
	assert_int_equal(why.reason, HOLD_RATE);
	assert_false(retire);
	/* what was not begun is given back */
	rig_txn_end(&r, c.slot, TXN_NOT_BEGUN);
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	rig_pass(&r, 60000);
	/* a message that this source's subnet has refused goes elsewhere */
	tried.source[0] = (uint16_t)c.source;
	r.want.tried = &tried;
	assert_false(rig_admit(&r, c.slot, &why, &retire));
	assert_false(retire);
	r.want.tried = NULL;
	/* a pool without this source */
	r.want.pool = 1;
	assert_false(rig_admit(&r, c.slot, &why, &retire));
	assert_false(retire);
	r.want.pool = 0;
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_false(retire);
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_true(retire); /* the last of five messages */
	assert_false(rig_admit(&r, c.slot, &why, &retire));
	assert_true(retire);
	rig_end(&r, c.slot);
	c = rig_choose(&r);
	rig_pass(&r, 900000);
	assert_false(rig_admit(&r, c.slot, &why, &retire)); /* too old */
	assert_true(retire);
	rig_deinit(&r);
}

static void test_tried_subnets(void **state)
{
	struct policy_tried tried = { .n = 1, .source = { 0 } };
	struct rig r;

	rig_init(&r);
	r.want.tried = &tried;
	for (int i = 0; i < 2; i++) /* a2 lies in the same subnet as a1 */
		assert_int_equal(rig_choose(&r).source, 2);
	tried.source[tried.n++] = 2;
	assert_false(rig_choose(&r).go);
	rig_deinit(&r);
}

static void test_reload(void **state)
{
	struct policy_choice c, why;
	struct policy_slot_info info;
	bool retire;
	struct rig r, next, last;

	rig_init(&r);
	r.providers[0].connections_per_cluster = 5;
	for (int i = 0; i < 5; i++)
		c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(rig_choose(&r).limit, LIMIT_CLUSTER);
	rig_params(&next);
	next.params.nsources = 3;
	next.params.npools = 1;
	assert_int_equal(policy_reload(r.policy, &next.params), 0);
	policy_slot(r.policy, c.slot, &info);
	assert_int_equal(info.source, c.source);
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_true(rig_choose(&r).go); /* the five are counted still */
	assert_false(rig_choose(&r).go);
	/* without their source: no more work, and the counts come out even */
	rig_params(&last);
	last.params.nsources = 1;
	last.params.npools = 1;
	last.pools[0].nmembers = 1;
	assert_int_equal(policy_reload(r.policy, &last.params), 0);
	for (uint32_t slot = 0; slot < 6; slot++) {
		policy_slot(r.policy, slot, &info);
		assert_int_equal(rig_admit(&r, slot, &why, &retire), info.source == 0);
		assert_int_equal(retire, info.source != 0);
		rig_end(&r, slot);
	}
	for (int i = 0; i < 2; i++)
		assert_true(rig_choose(&r).go);
	assert_int_equal(rig_choose(&r).reason, HOLD_WINDOW);
	rig_deinit(&r);
}

/* Small at first, one more after some deliveries, halved by a throttle, once a second. */
static void test_window(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c[3], why;
	bool retire;
	struct rig r;

	rig_init(&r);
	r.pools[0].nmembers = 1;
	r.providers[0].messages_per_connection = 0;
	c[0] = rig_choose(&r);
	c[1] = rig_choose(&r);
	assert_int_equal(rig_choose(&r).limit, LIMIT_WINDOW);
	for (int i = 0; i < 6; i++) {
		assert_true(rig_admit(&r, c[i % 2].slot, &why, &retire));
		rig_result(&r, c[i % 2].slot, VERDICT_DELIVERED, 250, &tried);
	}
	c[2] = rig_choose(&r);
	assert_true(c[2].go);
	assert_int_equal(rig_choose(&r).limit, LIMIT_LANE);
	rig_result(&r, c[0].slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	rig_result(&r, c[1].slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	rig_end(&r, c[2].slot);
	rig_end(&r, c[1].slot);
	assert_int_equal(rig_choose(&r).limit, LIMIT_WINDOW);
	rig_end(&r, c[0].slot);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_provider),
		cmocka_unit_test(test_round_robin),
		cmocka_unit_test(test_caps),
		cmocka_unit_test(test_slot_beside_a_block),
		cmocka_unit_test(test_provider_cap),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_admit),
		cmocka_unit_test(test_tried_subnets),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
