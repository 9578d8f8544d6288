/* The model itself: steps of many messages change nothing, the receiver does as it is told. */
#include "rig.h"

#include <stdio.h>

#define FOUR                                                                                       \
	"source \"a1\" { address = \"192.0.2.1\" } source \"a2\" { address = \"192.0.2.2\" }\n"    \
	"source \"b1\" { address = \"198.51.100.1\" } source \"b2\" { address = "                  \
	"\"198.51.100.2\" }\npool \"main\" { sources = {\"a1\",\"a2\",\"b1\",\"b2\"} }\n"
#define ONE "source \"a1\" { address = \"192.0.2.1\" }\npool \"main\" { sources = {\"a1\"} }\n"
#define EUR "cluster \"EUR01\" { tenants = 300 noise = \"0%\" invalid = \"0%\" }\n"
#define MIX " sizes = {\"40KiB\", \"20%: 150KiB\", \"2%: 3MiB\"} "
#define DAY "start = \"2026-11-03\" duration = \"1d\"\n"

static bool near(uint64_t a, uint64_t b, double share)
{
	double more = (double)(a > b ? a : b), less = (double)(a > b ? b : a);

	return more - less <= share * more + 20;
}

static void the_same_again(void **state)
{
	struct rig g;
	struct rehearsal_count first;

	rig_texts(&g, FOUR,
		DAY EUR "traffic \"t\" { pool = \"main\" daily = 300000 }\n"
			"incident \"i\" { subnet = \"192.0.2.0/24\" share = \"50%\" from = \"day 1 "
			"05:00\" until = \"day 1 07:00\" }\n");
	rig_run(&g, 7);
	first = g.r.total;
	rig_run(&g, 7);
	assert_memory_equal(&first, &g.r.total, sizeof(first));
	rig_run(&g, 8);
	assert_memory_not_equal(&first, &g.r.total, sizeof(first));
	rig_free(&g);
}

/* The one place at a cluster is a connection's that has work without end. What it cannot carry is
 * another pool's: the connection is closed for that now and then, as the relay has it. */
static void connections_make_way(void **state)
{
	static const char config[] =
		"source \"a1\" { address = \"192.0.2.1\" }\n"
		"source \"b1\" { address = \"198.51.100.1\" }\n"
		"pool \"main\" { sources = {\"a1\"} }\npool \"other\" { sources = {\"b1\"} }\n"
		"provider \"microsoft365\" { connections_per_cluster = 1  lane_message_rate = "
		"\"none\"\n"
		"  lane_connect_rate = \"none\"  messages_per_connection = 100000 }\n";
	struct rig g;

	rig_texts(&g, config,
		"start = \"2026-11-03\" duration = \"2h\"\n" EUR
		"traffic \"t\" { pool = \"main\" daily = 4000000 }\n"
		"traffic \"o\" { pool = \"other\" daily = 2000 }\n");
	rig_run(&g, 0);
	assert_true(g.r.waiting > g.r.total.delivered);		 /* there is always more */
	assert_true(rig_source(&g, "b1", 0, 2).delivered > 150); /* of 167 */
	rig_free(&g);
}

static const struct rehearsal_traffic *traffic_of(const struct rig *g, const char *name)
{
	for (unsigned i = 0; i < g->scenario->ntraffic; i++)
		if (!strcmp(g->scenario->traffic[i].name, name))
			return &g->r.by_traffic[i];
	fail();
	return NULL;
}

/* A receiver takes a third of what comes: codes of the same pool go as if they were alone, and what
 * they do not need is the newsletter's. What has a life of its own ends with that. */
static void classes_go_first(void **state)
{
	static const char config[] =
		ONE "provider \"microsoft365\" { connections_per_cluster = 1  lane_message_rate = "
		    "\"none\"\n lane_connect_rate = \"none\"  messages_per_connection = 1000 }\n"
		    "class \"codes\" { priority = 1 }\n"
		    "class \"short\" { priority = 5  expire = \"10m\" }\n",
			  mail[] = "start = \"2026-11-03\" duration = \"3h\"\n" EUR
				   "traffic \"n\" { pool = \"main\" daily = 500000 }\n"
				   "traffic \"s\" { pool = \"main\" daily = 80000 class = "
				   "\"short\" }\n";
	static const char *const codes[] = {
		"traffic \"c\" { pool = \"main\" daily = 8000 class = \"codes\" }\n",
		"traffic \"c\" { pool = \"main\" daily = 8000 }\n",
	};
	ms_t longest[2];

	for (unsigned i = 0; i < 2; i++) {
		char text[1000];
		struct rig g;

		snprintf(text, sizeof(text), "%s%s", mail, codes[i]);
		rig_texts(&g, config, text);
		rig_run(&g, 0);
		assert_true(g.r.waiting > g.r.total.delivered);
		longest[i] = traffic_of(&g, "c")->delay_max;
		assert_true(traffic_of(&g, "n")->delivered > g.r.total.delivered / 3);
		/* one place of 17 at least, and for 10 minutes at most */
		assert_true(traffic_of(&g, "s")->expired > 5000);
		assert_true(traffic_of(&g, "s")->delay_max < 12 * 60000);
		assert_true(traffic_of(&g, "s")->delivered > 1000);
		rig_balanced(&g);
		rig_free(&g);
	}
	assert_true(longest[0] < 3000);
	assert_true(longest[1] > 60 * 60000);
}

/* Steps of up to twenty messages against message by message. */
static void steps_change_nothing(void **state)
{
	static const char text[] =
		DAY "cluster \"EUR01\" { tenants = 500 share = 2 }\ncluster \"NAM01\" { tenants = "
		    "300 }\n"
		    "traffic \"t\" { pool = \"main\" daily = 1000000 shape = \"office\"" MIX "}\n"
		    "incident \"i\" { subnet = \"192.0.2.0/24\" cluster = \"EUR01\" from = \"day 1 "
		    "09:00\" until = \"day 1 13:00\" }\n"
		    "incident \"k\" { kind = \"busy\" cluster = \"NAM01\" from = \"day 1 "
		    "15:00\" until = \"day 1 17:00\" }\n";
	static const char *const sources[] = { "a1", "a2", "b1", "b2" };
	struct rig one, many;

	rig_texts(&one, FOUR, text);
	rig_texts(&many, FOUR, text);
	one.scenario->batch = 1;
	many.scenario->batch = 20;
	rig_run(&one, 3);
	rig_run(&many, 4);
	assert_int_equal(one.r.steps, one.r.total.attempts);
	assert_true(many.r.steps * 2 < many.r.total.attempts);
	assert_true(near(one.r.total.deferred, many.r.total.deferred, 0.1));
	assert_true(near(one.r.total.bounced, many.r.total.bounced, 0.1));
	for (unsigned i = 0; i < 4; i++)
		assert_true(near(rig_source(&one, sources[i], 0, 24).delivered,
			rig_source(&many, sources[i], 0, 24).delivered, 0.03));
	/* the queue of the long incident: the mail of two hours */
	assert_true(near(one.r.hours[16].queue_end, many.r.hours[16].queue_end, 0.1));
	assert_true(near(one.r.hours[16].stored_max, many.r.hours[16].stored_max, 0.1));
	rig_free(&one);
	rig_free(&many);
}

static void volume_by_hours_and_days(void **state)
{
	struct rig g;

	rig_texts(&g, ONE,
		"start = \"2026-11-02\" duration = \"14d\"\n" EUR /* a Monday */
		"traffic \"t\" { pool = \"main\" daily = 7000\n"
		" hours = {1,1,1,1,1,1,1,1,1,1,1,1,3,1,1,1,1,1,1,1,1,1,1,1}\n"
		" weekdays = {2,1,1,1,1,1,1} changes = {\"day 8: 14000\"} }\n");
	rig_run(&g, 0);
	for (unsigned d = 0; d < 14; d++) {
		uint64_t sum = 0, wanted = (d < 7 ? 7000 : 14000) * (d % 7 ? 1u : 2u) * 7 / 8;

		for (unsigned h = 0; h < 24; h++)
			sum += g.r.hours[d * 24 + h].n.arrived;
		assert_true(near(sum, wanted, 0.02));
		assert_true(near(g.r.hours[d * 24 + 12].n.arrived, wanted * 3 / 26, 0.05));
	}
	rig_free(&g);
}

/* What a new address may send grows by what was taken; over it the receiver throttles. */
static void standing(void **state)
{
	struct rig g;
	double allowed = 1000;

	rig_texts(&g, ONE,
		"start = \"2026-11-03\" duration = \"6d\"\n" EUR
		"traffic \"t\" { pool = \"main\" daily = 20000 }\n"
		"reputation \"microsoft365\" { first = 1000 growth = 2 hourly = \"100%\" tolerance "
		"= "
		"\"100%\" }\n");
	rig_run(&g, 0);
	for (unsigned d = 0; d < 6; d++, allowed *= 2) {
		struct rehearsal_cell c = rig_source(&g, "a1", d * 24, d * 24 + 24);

		assert_true(c.delivered <= allowed + 1);
		assert_true(d > 3 || c.deferred > 0);
	}
	rig_free(&g);
}

/* Nor more of it within an hour than that part. */
static void standing_by_the_hour(void **state)
{
	struct rig g;

	rig_texts(&g, ONE,
		DAY EUR "traffic \"t\" { pool = \"main\" daily = 100000 }\n"
			"reputation \"microsoft365\" { first = 2000 hourly = \"10%\" }\n");
	rig_run(&g, 0);
	for (unsigned h = 0; h < 24; h++)
		assert_true(rig_source(&g, "a1", h, h + 1).delivered <= 200);
	assert_in_range(rig_source(&g, "a1", 0, 24).delivered, 1000, 2000);
	assert_true(g.r.total.deferred > 0);
	rig_free(&g);
}

/* Too many refusals: it takes no more on the next day. Long without mail: half of it. */
static void standing_is_lost(void **state)
{
	struct rig g;
	double first, second;

	rig_texts(&g, ONE,
		"start = \"2026-11-03\" duration = \"2d\"\n" EUR
		"traffic \"t\" { pool = \"main\" daily = 20000 }\n"
		"reputation \"microsoft365\" { first = 1000 growth = 2 hourly = \"100%\" tolerance "
		"= "
		"\"0%\" }\n");
	rig_run(&g, 0);
	first = rig_source(&g, "a1", 0, 24).delivered;
	second = rig_source(&g, "a1", 24, 48).delivered;
	assert_true(first > 900 && first <= 1000 && second <= 1000);
	rig_free(&g);

	rig_texts(&g, ONE,
		"start = \"2026-11-03\" duration = \"8d\"\n" EUR
		"traffic \"t\" { pool = \"main\" daily = 20000 from = \"day 7\" }\n"
		"history \"a1\" { daily = 8000 }\n"
		"reputation \"microsoft365\" { first = 1000 hourly = \"100%\" idle_days = 3 }\n");
	rig_run(&g, 0);
	first = rig_source(&g, "a1", 6 * 24, 7 * 24).delivered;
	assert_true(first > 1900 && first <= 2000);
	rig_free(&g);
}

/* Mail by the clusters' shares, refusals by theirs. */
static void shares(void **state)
{
	struct rig g;
	uint64_t eur, nam;

	rig_texts(&g, FOUR,
		DAY "cluster \"EUR01\" { share = 3 noise = \"0%\" invalid = \"10%\" }\n"
		    "cluster \"NAM01\" { share = 1 noise = \"2%\" invalid = \"0%\" }\n"
		    "traffic \"t\" { pool = \"main\" daily = 80000 }\n"
		    "traffic \"u\" { pool = \"main\" daily = 8000 clusters = {\"NAM01\"} }\n");
	rig_run(&g, 0);
	eur = rig_path(&g, "192.0.2.0/24", "EUR01", 0, 24).delivered +
	      rig_path(&g, "198.51.100.0/24", "EUR01", 0, 24).delivered;
	nam = rig_path(&g, "192.0.2.0/24", "NAM01", 0, 24).delivered +
	      rig_path(&g, "198.51.100.0/24", "NAM01", 0, 24).delivered;
	assert_true(near(g.r.total.arrived, 88000, 0.01));
	assert_true(near(eur, 60000 * 9 / 10, 0.02));
	assert_true(near(nam, 20000 + 8000, 0.02));
	assert_true(near(g.r.total.bounced, 6000, 0.05));
	assert_true(near(g.r.total.deferred, 28000 * 2 / 100, 0.15));
	rig_free(&g);
}

/* A subnet is throttled, and the others have allowances: what goes round it does not pass them. */
static void diverted_mail_and_allowances(void **state)
{
	for (uint32_t seed = 1; seed <= rig_seeds(); seed++) {
		uint32_t refused = 0;
		struct rig g;

		rig_texts(&g,
			FOUR "warmup \"w\" { provider = \"microsoft365\" sources = "
			     "{\"b1\",\"b2\"} start = \"2026-11-01\" daily = {300,400} pace = "
			     "\"none\" }\n",
			"start = \"2026-11-03\" duration = \"3d\"\n" EUR
			"traffic \"t\" { pool = \"main\" daily = 20000 }\n"
			"incident \"i\" { subnet = \"192.0.2.0/24\" from = \"day 1 00:10\" until = "
			"\"day 1 20:00\" }\n"
			"incident \"k\" { subnet = \"198.51.100.0/24\" share = \"3%\" from = \"day "
			"1\" until = \"day 4\" }\n");
		rig_run(&g, seed);
		assert_true(g.r.total.diverted > 0);
		assert_int_equal(g.r.nramps, 6);
		for (unsigned i = 0; i < g.r.nramps; i++) {
			const struct rehearsal_ramp *w = &g.r.ramps[i];
			unsigned day = (unsigned)((w->at - g.scenario->start) / 86400000);
			struct rehearsal_cell c = rig_source(
				&g, g.r.policy->sources[w->source].name, day * 24, day * 24 + 24);

			assert_true(w->used <= w->allowance);
			assert_true(c.delivered + c.deferred <= w->allowance);
			refused += c.deferred;
		}
		assert_true(refused > 0);
		/* all of it was wanted while the other subnet rested */
		assert_true(g.r.ramps[0].used > 280);
		rig_free(&g);
	}
}

static void receivers_connections(void **state)
{
	struct rig g;

	rig_texts(&g, FOUR,
		DAY "cluster \"EUR01\" { connections = 3 message_time = \"2s\" noise = \"0%\" "
		    "invalid = "
		    "\"0%\" }\n"
		    "traffic \"t\" { pool = \"main\" daily = 100000 }\n");
	rig_run(&g, 0);
	/* three connections of one message in two seconds: 5,400 an hour and more do come */
	for (unsigned h = 1; h < 24; h++)
		assert_true(g.r.hours[h].n.arrived < 5400 || g.r.hours[h].n.delivered < 5700);
	assert_true(g.r.total.delivered > 60000);
	rig_free(&g);
}

/* A message is on its connection for its own time and for its content's. */
static void large_messages_take_longer(void **state)
{
	static const struct {
		const char *sizes, *bandwidth;
		unsigned hourly; /* that three connections carry, of a message time of one second */
	} rows[] = {
		{ "\"1KiB\"", "1MiB", 10800 },
		{ "\"1MiB\"", "1MiB", 5400 },
		{ "\"4MiB\"", "1MiB", 2160 },
		{ "\"4MiB\"", "4MiB", 5400 },
		{ "\"1KiB\", \"50%: 4MiB\"", "1MiB", 3600 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[600];
		struct rig g;

		snprintf(text, sizeof(text),
			"start = \"2026-11-03\" duration = \"6h\"\n"
			"cluster \"EUR01\" { connections = 3 message_time = \"1s\" noise = \"0%%\" "
			"invalid = \"0%%\" bandwidth = \"%s\" }\n"
			"traffic \"t\" { pool = \"main\" daily = 480000 sizes = {%s} }\n",
			rows[i].bandwidth, rows[i].sizes);
		rig_texts(&g, FOUR, text);
		rig_run(&g, 0);
		for (unsigned h = 2; h < 6; h++)
			if (!near(g.r.hours[h].n.delivered, rows[i].hourly, 0.05))
				fail_msg("row %zu, hour %u: %llu delivered, not %u", i, h,
					(unsigned long long)g.r.hours[h].n.delivered,
					rows[i].hourly);
		rig_free(&g);
	}
}

/* What waits takes room by its sizes, gives all of it back, and too little room is told. */
static void the_queues_room(void **state)
{
	static const char text[] =
		"start = \"2026-11-03\" duration = \"12h\"\n" EUR
		"traffic \"t\" { pool = \"main\" daily = 240000 sizes = {\"40KiB\", \"50%: "
		"150KiB\"} until = \"day 1 03:00\" }\n"
		"incident \"i\" { kind = \"unreachable\" from = \"day 1 00:00\" until = "
		"\"day 1 03:00\" }\n";
	double mean = 0.5 * (double)(queue_footprint(40 << 10) + queue_footprint(150 << 10));
	struct rig g;

	/* 30,000 messages wait at the end of three hours, of 95 KiB in the mean: 2.8 GiB */
	rig_texts(&g, FOUR, text);
	rig_run(&g, 0);
	assert_true(near(g.r.stored_max, (uint64_t)(30000 * mean), 0.03));
	for (unsigned h = 0; h < 3; h++)
		assert_true(
			near(g.r.hours[h].stored_max, (uint64_t)((h + 1) * 10000 * mean), 0.03));
	assert_int_equal(g.r.waiting, 0);
	assert_int_equal(g.r.hours[11].stored_max, 0);
	/* the last retries: within three hours */
	assert_in_range(g.r.last_out - g.scenario->start, 4 * 3600000, 6 * 3600000);
	assert_true(rig_says(&g, "The last message was out on day 1 0"));
	assert_int_equal(g.r.full_from, 0);
	assert_int_equal(g.r.full_arrived, 0);
	assert_true(rig_says(&g, "GiB of disk, of 63 GiB that mail may take"));
	rig_free(&g);

	rig_texts(&g, "queue { path = \"/tmp/q\" max_size = \"2GiB\" reserve = \"256MiB\" }\n" FOUR,
		text);
	rig_run(&g, 0);
	assert_true(g.r.full_from > g.scenario->start + 6500000 &&
		    g.r.full_from < g.scenario->start + 6900000);
	assert_true(near(g.r.full_arrived, 11200, 0.05));
	assert_true(rig_says(&g, "mail may take 1.8 GiB: from day 1 01:5"));
	assert_true(rig_says(&g, "Raise queue.max_size to 3.0 GiB"));
	rig_free(&g);
}

static void one_tenant(void **state)
{
	struct rig g;

	rig_texts(&g, FOUR,
		DAY "cluster \"EUR01\" { tenants = 20 noise = \"0%\" invalid = \"0%\" }\n"
		    "traffic \"t\" { pool = \"main\" daily = 200000 }\n"
		    "incident \"i\" { kind = \"tenant\" cluster = \"EUR01\" from = \"day 1 04:00\" "
		    "until = \"day 1 08:00\" }\n");
	rig_run(&g, 0);
	/* its own mail waits, a twentieth; the others' goes, and nobody else is blamed */
	assert_true(near(g.r.hours[7].queue_end, 200000 / 24 * 4 / 20, 0.2));
	assert_int_equal(rig_events(&g, POLICY_EVENT_CLUSTER_DEFERS), 0);
	for (unsigned i = 0; i < g.r.nevents; i++)
		assert_string_equal(g.r.events[i].cause, "domain");
	assert_true(g.r.nevents > 0);
	assert_true(g.r.hours[12].queue_end < 100);
	rig_free(&g);
}

static void expiry(void **state)
{
	struct rig g;

	rig_texts(&g, "queue { path = \"/tmp/q\" expire = \"4h\" }\n" ONE,
		DAY EUR "traffic \"t\" { pool = \"main\" daily = 24000 until = \"day 1 10:00\" }\n"
			"incident \"i\" { kind = \"unreachable\" from = \"day 1 02:00\" until = "
			"\"day 1 12:00\" }\n");
	rig_run(&g, 0);
	/* The fifth retry, after two and a quarter hours, is the last before the age of four: what
	 * came from 02:00 to 09:45 has had it in vain by noon. */
	assert_true(near(g.r.total.expired, 7750, 0.08));
	assert_int_equal(g.r.waiting, 0);
	assert_true(g.r.delay_max <= 4 * 3600000 + 60000);
	assert_true(rig_says(&g, "expired"));
	rig_free(&g);
}

/* Mail that comes at the full hour warms an address as any: each day has its allowance, as of the relay. */
static void bursts_at_the_full_hour(void **state)
{
	struct rig g;

	rig_texts(&g,
		"timezone = \"UTC\" source \"a1\" { address = \"192.0.2.1\" }\n"
		"source \"b1\" { address = \"198.51.100.1\" }\n"
		"pool \"main\" { sources = {\"a1\",\"b1\"} }\n"
		"warmup \"w\" { sources = {\"b1\"} start = \"2026-11-03\" daily = {40,80,160,320} }\n",
		"start = \"2026-11-03\" duration = \"3d\"\n" EUR
		"traffic \"t\" { pool = \"main\" daily = 1200 shape = \"hourly\" }\n");
	rig_run(&g, 3);
	assert_in_range(g.r.total.arrived, 3540, 3660);
	for (unsigned day = 0; day < 3; day++) {
		unsigned allowance = 40u << day;

		assert_in_range(rig_source(&g, "b1", day * 24, day * 24 + 24).delivered,
			allowance * 9 / 10, allowance);
		assert_in_range(rig_source(&g, "b1", day * 24, day * 24 + 1).delivered, 0, 20);
	}
	rig_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_again),
		cmocka_unit_test(connections_make_way),
		cmocka_unit_test(classes_go_first),
		cmocka_unit_test(steps_change_nothing),
		cmocka_unit_test(volume_by_hours_and_days),
		cmocka_unit_test(bursts_at_the_full_hour),
		cmocka_unit_test(standing),
		cmocka_unit_test(standing_by_the_hour),
		cmocka_unit_test(standing_is_lost),
		cmocka_unit_test(shares),
		cmocka_unit_test(diverted_mail_and_allowances),
		cmocka_unit_test(receivers_connections),
		cmocka_unit_test(large_messages_take_longer),
		cmocka_unit_test(the_queues_room),
		cmocka_unit_test(one_tenant),
		cmocka_unit_test(expiry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
