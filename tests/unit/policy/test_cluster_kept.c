/* What is known of clusters over restarts, reloads and time: doors, health, rates, hosts. */
#include "cluster_rig.h"

/* As after a kill that came when all was saved; time goes on. */
static void restart(struct rig *r)
{
	static struct rig_saved k;

	k = (struct rig_saved){ .n = 0 };
	policy_save(r->policy, rig_keep, &k);
	policy_free(r->policy);
	assert_int_equal(policy_new(&r->policy, &r->params, 8), 0);
	rig_load(r, &k);
	policy_begin(r->policy, r->now);
}

/* How many connections a receiver takes, of all or of a subnet, as its refusals showed, is not asked
 * anew; it grows meanwhile as it would have. */
static void test_doors_over_a_restart(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct classification k = { .verdict = i & 1 ? VERDICT_SOURCE_THROTTLE
							     : VERDICT_DESTINATION_BUSY,
			.scope = SCOPE_CLUSTER };
		struct policy_choice c[2];
		unsigned n = 0;
		struct rig r;

		microsoft(&r);
		r.pools[0].nmembers = 2; /* of one subnet */
		policy_tick(r.policy, r.now);
		for (unsigned s = 0; s < 2; s++) {
			c[s] = rig_choose(&r);
			up(&r, c[s].slot, "DB5EUR01FT043", 157286400);
		}
		for (unsigned s = 0; s < 2; s++)
			policy_disconnected(r.policy, r.now, rig_choose(&r).slot, &k, 0);
		if (i & 2)
			restart(&r);
		else
			for (unsigned s = 0; s < 2; s++)
				rig_end(&r, c[s].slot);
		rig_pass(&r, 1000);
		while (n < 5 && (c[0] = rig_choose(&r)).go) {
			up(&r, c[0].slot, "DB5EUR01FT043", 157286400);
			n++;
		}
		if (n != 2)
			fail_msg("%u: %u connections", i, n);
		rig_pass(&r, 65000);
		while (n < 9 && (c[0] = rig_choose(&r)).go)
			n++;
		assert_in_range(n, 3, 4);
		rig_deinit(&r);
	}
}

static void told(void *arg, const struct policy_cluster_info *i)
{
	snprintf(arg, 64, "%s by %s", i->cluster, i->how);
}

static void test_kept(void **state)
{
	struct policy_choice c;
	char text[64];
	struct rig r;

	microsoft(&r);
	r.want.nhosts = 1;
	c = rig_choose(&r);
	up(&r, c.slot, "BN1PEPF0000467F", 157286400);
	says(&r, c.slot, "5.4.1 x [BN1PEPF0000467F.namprd03.prod.outlook.com 2025 08DE]");
	restart(&r);
	policy_clusters(r.policy, r.now, told, text);
	assert_string_equal(text, "namprd03 by error tail");
	c = rig_choose(&r);
	assert_string_equal(c.cluster, "namprd03");
	r.hosts[0].addr = rig_addr("203.0.115.9");
	c = rig_choose(&r);
	up(&r, c.slot, "BN1PEPF0000467F", 157286400);
	assert_string_equal(cluster_of(&r, c.slot), "namprd03");
	rig_deinit(&r);
}

/* A connection to a network not known yet may turn out to be of a lane that is in use: it waits for
 * that one's rate, and is taken from it. After a restart all rates are used up, that of lanes never
 * heard of, too, from whatever place it is asked for. */
static void test_rates_over_a_restart(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		bool restarted = i == 1;
		struct policy_choice c;
		struct rig r;

		microsoft(&r);
		r.providers[0].lane_connect_rate = (struct rate){ 10, 60000 };
		r.pools[0].nmembers = r.want.nhosts = 1;
		c = rig_choose(&r);
		up(&r, c.slot, "DB5EUR01FT043", 157286400);
		rig_end(&r, c.slot);
		if (restarted)
			restart(&r);
		r.hosts[0].addr = rig_addr("203.0.115.9");
		assert_int_equal(rig_choose(&r).reason, HOLD_RATE);
		rig_pass(&r, 5900);
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RATE);
		assert_in_range(c.until, r.now.mono + 1, r.now.mono + 102);
		rig_pass(&r, 102);
		c = rig_choose(&r);
		assert_string_equal(c.cluster, "203.0.115.0/24");
		assert_true(c.go);
		up(&r, c.slot, "DB5EUR01FT043", 157286400);
		assert_string_equal(cluster_of(&r, c.slot), "EUR01");
		assert_int_equal(rig_choose(&r).reason, HOLD_RATE);
		rig_pass(&r, 5900);
		assert_int_equal(rig_choose(&r).reason, HOLD_RATE);
		rig_pass(&r, 102);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
	}
}

static void keep_one(void *arg, struct slice key, struct slice value)
{
	char *text = arg;

	assert_true(key.n < 80 && !text[0] && value.p);
	memcpy(text, key.p, key.n);
}

/* The very first process has all rates, but goes only when the next would know of it. */
static void test_first_process(void **state)
{
	static char value[] = "2 0 0 0 0 ";
	char key[80] = "";
	struct policy_choice c;
	uint64_t ticket;
	struct rig r;

	microsoft(&r);
	r.providers[0].lane_connect_rate = (struct rate){ 10, 60000 };
	policy_begin(r.policy, r.now);
	for (unsigned failed = 1; failed < 2; failed--) {
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RATE);
		assert_in_range(c.until, r.now.mono + 1, r.now.mono + 100);
		assert_true(policy_warmup_wants(r.policy));
		key[0] = '\0';
		policy_save_warmup(r.policy, r.now, keep_one, key, &ticket);
		assert_false(policy_warmup_wants(r.policy));
		policy_warmup_saved(r.policy, r.now, ticket, !failed);
		policy_tick(r.policy, r.now);
	}
	assert_true(rig_choose(&r).go);
	assert_false(policy_warmup_wants(r.policy));
	/* killed; nothing else was saved */
	policy_free(r.policy);
	assert_int_equal(policy_new(&r.policy, &r.params, 8), 0);
	assert_int_equal(policy_load(r.policy, slice_of(key), slice_of(value)), 0);
	policy_begin(r.policy, r.now);
	assert_false(policy_warmup_wants(r.policy));
	assert_int_equal(rig_choose(&r).reason, HOLD_RATE);
	rig_pass(&r, 6002);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* A source that was gone for a reload has no lane any more that knows what it sent. */
static void test_rates_over_reloads(void **state)
{
	static char key[] = "policy/began/||", value[] = "2 0 0 0 0 ";
	struct rig r, without, back;

	rig_init(&r);
	rig_params(&without);
	rig_params(&back);
	r.providers[0].lane_connect_rate = back.providers[0].lane_connect_rate =
		(struct rate){ 10, 60000 };
	without.params.nsources = 3;
	without.params.npools = 1;
	r.hosts[0].addr = rig_addr("2001:db8:1::1");
	r.want.pool = 1;
	r.want.nhosts = 1;
	assert_int_equal(policy_load(r.policy, slice_of(key), slice_of(value)), 0);
	policy_begin(r.policy, r.now);
	rig_pass(&r, 60000);
	rig_end(&r, rig_choose(&r).slot);
	assert_int_equal(rig_choose(&r).reason, HOLD_RATE);
	assert_int_equal(policy_reload(r.policy, &without.params), 0);
	assert_int_equal(policy_reload(r.policy, &back.params), 0);
	assert_int_equal(rig_choose(&r).reason, HOLD_RATE);
	rig_pass(&r, 6002);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

static void count_host(void *arg, const struct policy_cluster_info *i)
{
	++*(unsigned *)arg;
}

static void count_gone(void *arg, struct slice key, struct slice value)
{
	*(unsigned *)arg += !value.p && key.n > 12 && !memcmp(key.p, "policy/host/", 12);
}

/* What was learned of a host is kept while it is used, and for a month after that; the saved entry
 * goes with it. */
static void test_ageing(void **state)
{
	const ms_t day = 86400000;
	unsigned hosts, gone = 0;
	struct rig r;

	microsoft(&r);
	for (unsigned i = 0; i < 2; i++) {
		struct policy_choice c;

		r.want.nhosts = 1;
		r.hosts[0].addr = rig_addr(i ? "203.0.115.9" : "203.0.113.1");
		c = rig_choose(&r);
		up(&r, c.slot, i ? "AM7EUR02FT001" : "DB5EUR01FT043", 157286400);
		rig_end(&r, c.slot);
	}
	policy_save(r.policy, count_gone, &gone);
	assert_int_equal(gone, 0);
	for (unsigned d = 1; d <= 40; d++) {
		rig_pass(&r, day);
		rig_end(&r, rig_choose(&r).slot); /* the second */
		policy_tick(r.policy, r.now);
		hosts = 0;
		policy_clusters(r.policy, r.now, count_host, &hosts);
		assert_int_equal(hosts, d < 30 ? 2 : 1);
		policy_save(r.policy, count_gone, &gone);
		assert_int_equal(gone, d >= 30);
	}
	assert_string_equal(rig_choose(&r).cluster, "EUR02");
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doors_over_a_restart),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_rates_over_a_restart),
		cmocka_unit_test(test_first_process),
		cmocka_unit_test(test_rates_over_reloads),
		cmocka_unit_test(test_ageing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
