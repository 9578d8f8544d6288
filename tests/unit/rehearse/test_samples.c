/* The sample scenarios, and what each of them is to show; over several seeds. */
#include "rig.h"

#include <time.h>

static const char conf[] = "two-subnets.conf";

static void throttled_subnet(void **state)
{
	struct rig g;

	rig_files(&g, conf, "throttled-subnet.scenario");
	for (uint32_t seed = 1; seed <= rig_seeds(); seed++) {
		struct rehearsal_cell b, a;

		rig_run(&g, seed);
		assert_in_range(g.r.total.arrived, 1990000, 2010000);
		assert_int_equal(g.r.total.expired, 0);
		/* subnet B rests there: a few probes an hour, none accepted */
		b = rig_path(&g, "198.51.100.0/24", "EUR01", 11, 16);
		assert_int_equal(b.delivered, 0);
		assert_in_range(b.deferred, 1, 300);
		/* and takes part again afterwards, as much as the other */
		b = rig_path(&g, "198.51.100.0/24", "EUR01", 18, 24);
		a = rig_path(&g, "192.0.2.0/24", "EUR01", 18, 24);
		assert_true(b.delivered > a.delivered * 8 / 10);
		/* its mail went by subnet A, hardly any was deferred */
		a = rig_path(&g, "192.0.2.0/24", "EUR01", 11, 16);
		assert_in_range(a.delivered, 255000, 300000);
		assert_true(g.r.total.deferred * 100 < g.r.total.arrived);
		assert_true(g.r.queue_max < 50000);
		assert_true(rig_says(&g, "Subnet 198.51.100.0/24"));
		assert_int_equal(rig_events(&g, POLICY_EVENT_CLUSTER_DEFERS), 0);
	}
	rig_free(&g);
}

static void microsoft_incident(void **state)
{
	struct rig g;

	rig_files(&g, conf, "microsoft-incident.scenario");
	for (uint32_t seed = 1; seed <= rig_seeds(); seed++) {
		rig_run(&g, seed);
		assert_int_equal(g.r.total.expired, 0);
		/* nobody of ours is blamed for it */
		assert_int_equal(rig_events(&g, POLICY_EVENT_HEALTH), 0);
		assert_int_equal(rig_events(&g, POLICY_EVENT_CLUSTER_DEFERS), 4);
		assert_in_range(rig_events(&g, POLICY_EVENT_PROVIDER_DEFERS), 1, 2);
		/* three hours' mail waits, less the one in twenty that gets through */
		assert_in_range(g.r.queue_max, 200000, 250000);
		/* and is out before the next morning */
		assert_true(g.r.hours[18].queue_end < 1000);
		/* the receiver is not hammered meanwhile */
		assert_true(g.r.hours[10].n.deferred < 3000);
		assert_true(rig_says(&g, "Most clusters of microsoft365"));
	}
	rig_free(&g);
}

static void banned_address(void **state)
{
	struct rig g;

	rig_files(&g, conf, "banned-address.scenario");
	for (uint32_t seed = 1; seed <= rig_seeds(); seed++) {
		struct rehearsal_cell b1;

		rig_run(&g, seed);
		/* what bounced are unknown recipients: half a per cent; nothing for the ban */
		assert_in_range(
			g.r.total.bounced, g.r.total.arrived / 250, g.r.total.arrived / 160);
		assert_int_equal(g.r.total.expired, 0);
		b1 = rig_source(&g, "b1", 12, 35);
		assert_int_equal(b1.delivered, 0);
		assert_in_range(b1.deferred, 1, 20);
		assert_int_equal(rig_events(&g, POLICY_EVENT_SOURCE_BLOCKED), 1);
		assert_int_equal(rig_events(&g, POLICY_EVENT_ALL_SOURCES_BLOCKED), 0);
		assert_true(rig_source(&g, "b1", 8, 10).delivered > 10000);
		assert_true(rig_says(&g, "refused source b1"));
	}
	rig_free(&g);
}

static void doubled_volume(void **state)
{
	struct rig g;
	clock_t begin;

	rig_files(&g, conf, "doubled-volume.scenario");
	begin = clock();
	rig_run(&g, 0);
	/* at the pace of 60 million messages (30 days of two) in a minute; a sanitizer is slow */
	if (rig_seeds() > 1)
		assert_true(clock() - begin < 16 * CLOCKS_PER_SEC);
	assert_in_range(g.r.total.arrived, 15900000, 16100000);
	assert_int_equal(g.r.total.expired, 0);
	assert_int_equal(g.r.nevents, 0);
	/* the pool is enough, with waits of minutes in the busy hours of the second part only */
	for (unsigned i = 0; i < 48; i++)
		assert_true(g.r.hours[i].queue_max < 1000);
	assert_in_range(g.r.queue_max, 2000, 100000);
	assert_true(g.r.delay_max < 3600000);
	rig_free(&g);
}

static void warm_four(void **state)
{
	struct rig g;
	unsigned warm = 0;

	rig_files(&g, "warm-four.conf", "warm-four.scenario");
	rig_run(&g, 0);
	assert_int_equal(g.r.total.expired, 0);
	for (unsigned i = 0; i < g.r.nramps; i++) {
		const struct rehearsal_ramp *w = &g.r.ramps[i];
		unsigned day = (unsigned)((w->at - g.r.scenario->start) / 86400000);
		const char *name = g.r.policy->sources[w->source].name;
		struct rehearsal_cell c = rig_source(&g, name, day * 24, day * 24 + 24);

		/* never more than the day's, which is nearly used up */
		assert_true(c.delivered <= w->allowance);
		if (day < 20 && !strcmp(w->state, "ramping"))
			assert_true(c.delivered + c.deferred > w->allowance * 8 / 10);
		warm += day == 34 && !strcmp(w->state, "warm");
	}
	assert_int_equal(warm, 4);
	assert_true(rig_says(&g, "n1 is warm at microsoft365 on day"));
	rig_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(throttled_subnet),
		cmocka_unit_test(microsoft_incident),
		cmocka_unit_test(banned_address),
		cmocka_unit_test(doubled_volume),
		cmocka_unit_test(warm_four),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
