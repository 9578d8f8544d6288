/* All sources are banned: for good, for hours, one after the other. A rehearsal of it ends soon, and
 * says what was true: that mail waited for the bans, for how much of the time, and that nothing went
 * by other subnets. */
#include "rig.h"

#define HOUR 3600000

#define CONFIG                                                                                     \
	"timezone = \"UTC\"\n"                                                                     \
	"source \"a1\" { address = \"192.0.2.10\" }\n"                                             \
	"source \"a2\" { address = \"192.0.2.11\" }\n"                                             \
	"source \"b1\" { address = \"198.51.100.10\" }\n"                                          \
	"pool \"main\" { sources = {\"a1\",\"a2\",\"b1\"} }\n"
#define WORLD                                                                                      \
	"start = \"2026-11-03\"\n"                                                                 \
	"traffic \"t\" { pool = \"main\" daily = 200000 }\n"                                       \
	"cluster \"EUR01\" { share = 2 tenants = 50 noise = \"1%\" }\n"                            \
	"cluster \"NAM12\" { tenants = 50 noise = \"1%\" }\n"
#define BAN "incident \"i\" { kind = \"ban\" provider = \"microsoft365\" from = \"day 1 10:00\" "

static const struct rehearsal_wait *blocked(const struct rig *g)
{
	return &g->r.waits[HOLD_BLOCKED]; /* the first pool */
}

static uint64_t delivered(const struct rig *g, unsigned from, unsigned until)
{
	uint64_t n = 0;

	for (unsigned i = from; i < until && i < g->r.nhours; i++)
		n += g->r.hours[i].n.delivered;
	return n;
}

/* A week of it: mail expires, minute after minute, behind hundreds of thousands that do not yet. */
static void for_good(void **state)
{
	for (unsigned seed = 1; seed <= rig_seeds(); seed++) {
		struct rig g;

		rig_texts(&g, CONFIG, "duration = \"7d\"\n" WORLD BAN "until = \"day 8\" }\n");
		rig_run(&g, seed);
		assert_int_equal(delivered(&g, 11, 7 * 24), 0);
		/* 48 hours of mail wait, what came before has expired */
		assert_in_range(g.r.waiting, 396000, 404000);
		assert_in_range(g.r.total.expired, 900000, 930000);
		assert_true(blocked(&g)->time > (6 * 24 + 13) * HOUR);
		assert_int_equal(blocked(&g)->last, g.r.now);
		/* probes: nobody else can carry it, so one in ten minutes of each source, no more
		 * than one a minute of all */
		assert_in_range(g.r.total.deferred, 100, 7 * 24 * 60);
		assert_true(rig_says(&g, "Its bottleneck: all sources blocked, in 9"));
		assert_true(rig_says(&g, "its mail waited, and still did at the end"));
		assert_false(rig_says(&g, "went by other subnets"));
		rig_free(&g);
	}
}

/* Delisted after six hours: within minutes all goes again. */
static void for_hours(void **state)
{
	for (unsigned seed = 1; seed <= rig_seeds(); seed++) {
		const struct rehearsal_wait *w;
		struct rig g;

		rig_texts(
			&g, CONFIG, "duration = \"2d\"\n" WORLD BAN "until = \"day 1 16:00\" }\n");
		rig_run(&g, seed);
		w = blocked(&g);
		assert_in_range(w->time, 6 * HOUR - HOUR / 6, 6 * HOUR + HOUR / 4);
		assert_in_range(w->most, 48000, 54000);
		assert_int_equal(delivered(&g, 10, 16) / 1000, 0);
		assert_true(delivered(&g, 16, 18) > 50000);
		assert_int_equal(g.r.total.expired, 0);
		assert_in_range(g.r.waiting, 0, 200);
		assert_true(rig_says(&g, "Its bottleneck: all sources blocked, in 12."));
		assert_true(rig_says(&g, "until the first of them was taken again, on day 1 16:"));
		assert_false(rig_says(&g, "went by other subnets"));
		rig_free(&g);
	}
}

/* Two of three stay banned: the third takes what it may, and what it cannot waits for its rate. */
static void one_left(void **state)
{
	struct rig g;

	rig_texts(&g, CONFIG "provider \"microsoft365\" { lane_message_rate = \"60/1m\" }\n",
		"duration = \"1d\"\n" WORLD
		"incident \"a\" { kind = \"ban\" subnet = \"192.0.2.0/24\" from = \"day 1 10:00\" "
		"until = \"day 2\" }\n");
	rig_run(&g, 1);
	assert_int_equal(blocked(&g)->time, 0);
	assert_true(delivered(&g, 12, 24) > 70000);
	assert_true(rig_says(&g, "Its bottleneck: message rate of the lane, in 5"));
	assert_true(rig_says(&g, "a higher lane_message_rate"));
	assert_false(rig_says(&g, "all sources blocked"));
	rig_free(&g);
}

/* A new source alone: its ramp is the bottleneck. And nothing is one where nothing waits. */
static void ramp_and_nothing(void **state)
{
	struct rig g;

	rig_texts(&g,
		"timezone = \"UTC\" source \"a1\" { address = \"192.0.2.10\" }\n"
		"pool \"main\" { sources = {\"a1\"} }\n"
		"warmup \"w\" { sources = {\"a1\"} start = \"2026-11-03\" daily = {20000} }\n",
		"duration = \"1d\"\n" WORLD);
	rig_run(&g, 1);
	assert_true(g.r.waits[HOLD_WARMUP].time > 20 * HOUR);
	assert_true(rig_says(&g, "Its bottleneck: warm-up allowance used, in 9"));
	rig_free(&g);
	rig_texts(&g, CONFIG, "duration = \"1d\"\n" WORLD);
	rig_run(&g, 1);
	assert_false(rig_says(&g, "bottleneck"));
	rig_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(for_good),
		cmocka_unit_test(for_hours),
		cmocka_unit_test(one_left),
		cmocka_unit_test(ramp_and_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
