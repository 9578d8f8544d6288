/* What a cluster is: names in texts, what is learned from them, and reservations that move. */
#include "cluster_rig.h"

/* ---- names ---- */

static void test_banners(void **state)
{
	static const struct {
		const char *banner, *cluster;
		uint64_t size;
	} rows[] = {
		{ "DB5EUR01FT043", "EUR01", 157286400 },
		{ "SN1NAM02FT0049", "NAM02", 157286400 },
		{ "BO1IND01FT010", "IND01", 157286400 },
		{ "HP1EUR02TC012", "EUR02", 157286400 },
		{ "db5eur01ft043", "EUR01", 157286400 },
		{ "DB5EUR01FT043", "EUR01/consumer", 49283072 },
		{ "CH3PEPF00000015", "203.0.113.0/24", 157286400 },
		{ "LN2PEPF000100CA", "203.0.113.0/24", 157286400 },
		{ "BN1BFFO11FD038", "203.0.113.0/24", 157286400 },
		{ "mx", "203.0.113.0/24", 157286400 },
		{ "", "203.0.113.0/24", 157286400 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_choice c;
		struct rig r;

		microsoft(&r);
		c = rig_choose(&r);
		assert_true(c.go);
		up(&r, c.slot, rows[i].banner, rows[i].size);
		assert_string_equal(cluster_of(&r, c.slot), rows[i].cluster);
		rig_deinit(&r);
	}
}

static void test_tails(void **state)
{
	static const struct {
		const char *banner, *text, *cluster;
	} rows[] = {
		{ "VE1EUR01FT062",
			"5.7.1 blocked (AS3130). "
			"[VE1EUR01FT062.eop-EUR01.prod.protection.outlook.com]",
			"EUR01" },
		{ "BN1PEPF0000467F",
			"5.4.1 Recipient address rejected: Access denied. "
			"[BN1PEPF0000467F.namprd03.prod.outlook.com "
			"2025-10-05T18:50:13.740Z 08DE0366FCCF2B83]",
			"namprd03" },
		{ "TY1PEPF0000BAD7",
			"5.4.1 no. [TY1PEPF0000BAD7.JPNP286.PROD.OUTLOOK.COM "
			"2024-08-06T19:13:55.906Z 08DCB6409251B38F]",
			"jpnp286" },
		/* several groups: the front end is the last */
		{ "BN3PEPF0000B077",
			"5.7.1 x [AM9PR07MB7669.eurprd07.prod.outlook.com 2025] [Name=Protocol "
			"Filter Agent][AGT=PFA][MxId=11BC] "
			"[BN3PEPF0000B077.namprd04.prod.outlook.com 2025-11-25T08:06:40.951Z "
			"08DE2A19D02BF789]",
			"namprd04" },
		/* another machine's: it is not this host that it tells of */
		{ "BN3PEPF0000B077",
			"5.7.1 x [CH1PEPF0000AD79.namprd21.prod.outlook.com 2025 08DE]",
			"203.0.113.0/24" },
		/* a mailbox, no front end */
		{ "BN3PEPF0000B077",
			"5.0.0 [InternalId=1, Hostname=AS8PR07MB7669.eurprd07.prod.outlook.com]",
			"203.0.113.0/24" },
		{ "BN3PEPF0000B077",
			"5.7.1 [CONTOSO.prod.outlook.com] [.x.prod.outlook.com] [a.b.prod] [",
			"203.0.113.0/24" },
		{ "BN3PEPF0000B077", "5.7.1 masked [xxxxxxxx]", "203.0.113.0/24" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_choice c;
		struct rig r;

		microsoft(&r);
		c = rig_choose(&r);
		up(&r, c.slot, rows[i].banner, 157286400);
		says(&r, c.slot, rows[i].text);
		assert_string_equal(cluster_of(&r, c.slot), rows[i].cluster);
		rig_deinit(&r);
	}
}

static void test_ptr(void **state)
{
	static const struct {
		const char *name, *cluster;
	} rows[] = {
		{ "mail-db5eur010036.inbound.protection.outlook.com", "EUR01" },
		{ "mail-mw2nam080138.inbound.protection.outlook.com", "NAM08" },
		{ "mail-am7pr02cu00203.inbound.protection.outlook.com", "ptr-EURpr02" },
		{ "mail-lo2p265cu02300.inbound.protection.outlook.com", "ptr-GBRp265" },
		{ "host.example.net", "203.0.113.0/24" },
		{ "mail-", "203.0.113.0/24" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_choice c;
		struct rig r;

		microsoft(&r);
		r.want.nhosts = 1;
		policy_ptr(r.policy, r.now, 0, &r.hosts[0].addr, slice_of(rows[i].name));
		c = rig_choose(&r);
		assert_string_equal(c.cluster, rows[i].cluster);
		rig_deinit(&r);
	}
}

/* ---- learning ---- */

/* A tail teaches what a banner host means, for other addresses as well; and is believed against
 * what was learned before. */
static void test_map(void **state)
{
	struct policy_choice c, d;
	struct rig r;

	microsoft(&r);
	c = rig_choose(&r);
	up(&r, c.slot, "BN1PEPF0000467F", 157286400);
	says(&r, c.slot, "5.4.1 x [BN1PEPF0000467F.namprd03.prod.outlook.com 2025 08DE]");
	r.hosts[0].addr = rig_addr("203.0.115.9");
	r.want.nhosts = 1;
	d = rig_choose(&r);
	assert_string_equal(d.cluster, "203.0.115.0/24");
	up(&r, d.slot, "BN1PEPF0000467F", 157286400);
	assert_string_equal(cluster_of(&r, d.slot), "namprd03");
	/* its neighbours are taken to be the same before they are seen */
	r.hosts[0].addr = rig_addr("203.0.115.10");
	assert_string_equal(rig_choose(&r).cluster, "namprd03");
	/* corrected */
	says(&r, d.slot, "5.4.1 x [BN1PEPF0000467F.namprd05.prod.outlook.com 2025 08DE]");
	assert_string_equal(cluster_of(&r, d.slot), "namprd05");
	assert_string_equal(cluster_of(&r, c.slot), "namprd03");
	assert_string_equal(rig_choose(&r).cluster, "namprd05");
	rig_deinit(&r);
}

static unsigned geographies;
static void in_europe(void *arg, const struct policy_cluster_info *i)
{
	assert_string_equal(i->geography, "EUR");
	geographies++;
}

static void test_geography(void **state)
{
	static const char *const banners[] = { "DB5EUR01FT043", "AM7PEPF00000015" };
	uint32_t slots[2];
	struct rig r;

	microsoft(&r);
	r.providers[0].connections_per_geography = 2;
	r.want.nhosts = 1;
	for (unsigned i = 0; i < 2; i++) {
		struct policy_choice c;

		r.hosts[0].addr = rig_addr(i ? "203.0.114.1" : "203.0.113.1");
		c = rig_choose(&r);
		assert_true(c.go);
		up(&r, c.slot, banners[i], 157286400);
		slots[i] = c.slot;
	}
	policy_clusters(r.policy, r.now, in_europe, NULL);
	assert_int_equal(geographies, 2);
	assert_int_equal(rig_choose(&r).limit, LIMIT_GEOGRAPHY);
	rig_end(&r, slots[0]);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* ---- caps ---- */

/* Hosts not known yet, in many networks that are all one cluster: its cap is kept all the same, and
 * in the end used in full. */
static void test_unknown(void **state)
{
	for (unsigned cap = 1; cap <= 12; cap++) {
		uint32_t open[64];
		unsigned n = 0, waiting = 0;
		struct rig r;

		microsoft(&r);
		r.providers[0].connections_per_cluster = cap;
		r.providers[0].connections_per_cluster_subnet = 0;
		r.providers[0].connections_per_lane = 0;
		r.want.nhosts = 1;
		for (unsigned step = 0; step < 400; step++) {
			char host[32];
			struct policy_choice c;

			snprintf(host, sizeof(host), "203.0.%u.%u", step * 7 % 20, step % 3 + 1);
			r.hosts[0].addr = rig_addr(host);
			c = rig_choose(&r);
			if (c.go) {
				open[n++] = c.slot;
				assert_true(n <= cap);
			} else {
				waiting++;
			}
			/* banners come later, some connections end */
			if (n && step % 3 == 0)
				up(&r, open[step % n], "DB5EUR01FT043", 157286400);
			if (n && step % 5 == 0 && step < 300) {
				unsigned k = step % n;

				rig_end(&r, open[k]);
				open[k] = open[--n];
			}
			rig_pass(&r, 300);
		}
		assert_true(waiting > 0);
		assert_true(n >= (cap < 7 ? cap : 7) - 1); /* windows hold all others back */
		while (n)
			rig_end(&r, open[--n]);
		rig_deinit(&r);
	}
}

static void count_rests(void *arg, const struct policy_lane_info *i)
{
	unsigned *n = arg;

	*n += i->health == POLICY_RESTING && !strcmp(i->cause, "subnet");
}

/* A host that turns out to be in a full cluster: its connection ends, and none is opened for it. */
static void test_surplus(void **state)
{
	struct policy_choice c[6], why;
	struct policy_slot_info info;
	bool retire;
	struct rig r;

	microsoft(&r);
	r.providers[0].connections_per_cluster = 2;
	r.want.nhosts = 1;
	for (int i = 0; i < 2; i++) {
		c[i] = rig_choose(&r);
		assert_true(c[i].go);
		up(&r, c[i].slot, "AM7PEPF00000001", 157286400); /* does not say which cluster */
	}
	r.hosts[0].addr = rig_addr("203.0.114.1");
	rig_end(&r, c[1].slot);
	for (int i = 2; i < 4; i++) {
		c[i] = rig_choose(&r);
		assert_true(c[i].go);
		up(&r, c[i].slot, "AM7PEPF00000002", 157286400);
	}
	says(&r, c[0].slot, "5.4.1 x [AM7PEPF00000001.eurprd05.prod.outlook.com 2025 08DE]");
	says(&r, c[2].slot, "5.4.1 x [AM7PEPF00000002.eurprd05.prod.outlook.com 2025 08DE]");
	policy_slot(r.policy, c[3].slot, &info);
	assert_string_equal(info.cluster, "eurprd05");
	assert_true(info.retire);
	assert_false(rig_admit(&r, c[3].slot, &why, &retire));
	assert_true(retire);
	rig_end(&r, c[3].slot);
	assert_false(rig_choose(&r).go);
	rig_end(&r, c[2].slot);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* What was found while a host counted under its network is true of the cluster that it turns out to
 * be: a subnet's rest, and what was used of the rates. */
static void exchange(struct rig *r, uint32_t slot, unsigned n, bool bad)
{
	struct classification c = { .verdict = bad ? VERDICT_SOURCE_THROTTLE : VERDICT_DELIVERED,
		.scope = SCOPE_SUBNET,
		.code = bad ? 451 : 0 };
	struct policy_tried tried = { .message = n };
	struct policy_choice why;
	struct policy_verdict v;
	char domain[16];
	bool retire;

	snprintf(domain, sizeof(domain), "t%u.example", n);
	r->want.domain = domain;
	if (rig_admit(r, slot, &why, &retire)) {
		rig_hear(r, slot, domain, &c, &tried, &v);
		rig_txn_end(r, slot, TXN_CUT);
	}
	r->want.domain = "example.com";
}

static void test_named_later(void **state)
{
	struct policy_choice c[3], why;
	unsigned rests = 0, a = 0;
	bool retire;
	struct rig r;

	microsoft(&r);
	r.providers[0].messages_per_connection = 0;
	r.providers[0].lane_message_rate = (struct rate){ 600, 60000 };
	r.want.nhosts = 1;
	for (unsigned i = 0; i < 3; i++) {
		c[i] = rig_choose(&r);
		assert_true(c[i].go);
		up(&r, c[i].slot, "AM7PEPF00000001", 157286400);
		if (r.sources[c[i].source].name[0] == 'a')
			a = i;
	}
	for (unsigned i = 0; i < 60; i++) {
		const struct policy_choice *k = &c[i % 3];

		exchange(&r, k->slot, i, r.sources[k->source].name[0] == 'b');
		rig_pass(&r, 200);
	}
	policy_lanes(r.policy, r.now, count_rests, &rests);
	assert_int_equal(rests, 1);
	while (rig_admit(&r, c[a].slot, &why, &retire))
		rig_txn_end(&r, c[a].slot, TXN_CUT);
	assert_int_equal(why.limit, LIMIT_MESSAGES);
	/* a tail gives it a name */
	says(&r, c[a].slot, "5.4.1 x [AM7PEPF00000001.eurprd05.prod.outlook.com 2025 08DE]");
	assert_string_equal(cluster_of(&r, c[a].slot), "eurprd05");
	rests = 0;
	policy_lanes(r.policy, r.now, count_rests, &rests);
	assert_int_equal(rests, 1);
	assert_false(rig_admit(&r, c[a].slot, &why, &retire));
	assert_int_equal(why.limit, LIMIT_MESSAGES);
	for (unsigned k = 0; k < 3; k++)
		rig_end(&r, c[k].slot);
	rig_deinit(&r);
}

/* The receiver's own cap, below ours. */
static void test_receiver_cap(void **state)
{
	struct classification k = { .verdict = VERDICT_DESTINATION_BUSY, .scope = SCOPE_CLUSTER };
	struct policy_choice c[4];
	struct rig r;

	microsoft(&r);
	for (int i = 0; i < 3; i++) {
		c[i] = rig_choose(&r);
		assert_true(c[i].go);
		up(&r, c[i].slot, "DB5EUR01FT043", 157286400);
	}
	c[3] = rig_choose(&r);
	assert_true(c[3].go);
	policy_disconnected(r.policy, r.now, c[3].slot, &k, 0);
	/* one front end says so: another is asked */
	c[1] = rig_choose(&r);
	assert_true(c[1].go);
	assert_true(c[1].host != c[3].host);
	policy_disconnected(r.policy, r.now, c[1].slot, &k, 0);
	assert_int_equal(rig_choose(&r).limit, LIMIT_RECEIVER);
	rig_pass(&r, 30000); /* one more is tried now and then */
	assert_true(rig_choose(&r).go);
	assert_int_equal(rig_choose(&r).limit, LIMIT_RECEIVER);
	rig_deinit(&r);
}

/* Idle connections that stand in the way can be told. */
static void test_frees(void **state)
{
	struct policy_choice c[4], why;
	struct rig r;

	microsoft(&r);
	r.providers[0].connections_per_cluster = 2;
	for (int i = 0; i < 2; i++) {
		c[i] = rig_choose(&r);
		up(&r, c[i].slot, "DB5EUR01FT043", 157286400);
	}
	why = rig_choose(&r);
	assert_int_equal(why.limit, LIMIT_CLUSTER);
	assert_true(policy_frees(r.policy, c[0].slot, &why));
	r.hosts[0].addr = rig_addr("203.0.114.1");
	r.want.nhosts = 1;
	c[2] = rig_choose(&r); /* may be EUR01 as well: not before a place is free there */
	assert_int_equal(c[2].limit, LIMIT_UNKNOWN);
	assert_true(policy_frees(r.policy, c[1].slot, &c[2]));
	rig_end(&r, c[1].slot);
	c[2] = rig_choose(&r);
	assert_true(c[2].go);
	up(&r, c[2].slot, "SN1NAM02FT0049", 157286400);
	assert_false(policy_frees(r.policy, c[2].slot, &why));
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_banners),
		cmocka_unit_test(test_tails),
		cmocka_unit_test(test_ptr),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_geography),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_surplus),
		cmocka_unit_test(test_named_later),
		cmocka_unit_test(test_receiver_cap),
		cmocka_unit_test(test_frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
