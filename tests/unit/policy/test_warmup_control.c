/* A ramp beside its warm peers: what hits all alike says nothing against the new source, a cluster
 * that refuses it holds its own part, and mail that comes in bursts uses a day up. */
#include <stdlib.h>

#include "warmup_world.h"

#define CLUSTERS 3u
#define NEW	 2 /* b1 */

/* What a receiver answers: to that source, at that cluster, in that hour of the day. */
typedef bool takes_fn(struct world *w, unsigned source, unsigned cluster, unsigned hour);

struct day {
	unsigned clusters;
	uint32_t seen[CLUSTERS], refused[CLUSTERS]; /* of the new source's */
	uint32_t most_in_hour, first_hour;
};

static unsigned hour_of(const struct world *w)
{
	return (unsigned)((w->r.now.wall - START) / HOUR % 24);
}

static bool ask_takes(struct world *w, unsigned source, unsigned cluster, void *takes)
{
	return (*(takes_fn **)takes)(w, source, cluster, hour_of(w));
}

static void offer(struct world *w, struct day *d, unsigned cluster, takes_fn *takes)
{
	unsigned source;
	bool good;

	if (!world_offer(w, cluster, ask_takes, &takes, &source, &good))
		return;
	d->seen[cluster] += source == NEW;
	d->refused[cluster] += source == NEW && !good;
}

/* A day of so many messages each five minutes. */
static struct day play(struct world *w, unsigned clusters, unsigned each, takes_fn *takes)
{
	ms_t midnight = w->r.now.wall - (w->r.now.wall - START) % DAY;
	struct day d = { .clusters = clusters };

	for (unsigned i = 0; i < 288; i++) {
		for (unsigned n = 0; n < each; n++)
			offer(w, &d, n % clusters, takes);
		world_pass(w, midnight + (ms_t)(i + 1) * 300000 - w->r.now.wall);
	}
	return d;
}

static void begin(struct world *w, uint64_t seed, const uint32_t *daily, unsigned n)
{
	world_init(w, daily, n);
	world_kill(w);
	w->nstore = 0;
	w->plans[0].pace = PACE_EVEN;
	w->r.want.pool = 0;
	rng_seed(&w->rng, seed);
	world_start(w);
}

static bool noise(struct world *w, double share)
{
	return rng_unit(&w->rng) >= share;
}

static bool takes_all(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return true;
}

static bool noise_of_all(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return noise(w, 0.01);
}

static bool noise_by_hour(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return noise(w, hour == 10 || hour == 16 ? 0.25 : 0.002);
}

static bool noise_by_cluster(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return noise(w, cluster == 1 ? 0.06 : 0);
}

static bool new_is_deferred(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return noise(w, source == NEW ? 0.04 : 0.005);
}

static bool first_refuses(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return source != NEW || cluster != 0;
}

static bool new_is_refused(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return source != NEW;
}

static const uint32_t flat[] = { 400, 500, 600, 700, 800, 900, 1000 };

/* What hits the warm ones alike, by the hour or the cluster, holds nothing and pauses nothing. */
static void test_all_alike(void **state)
{
	static takes_fn *const worlds[] = { noise_of_all, noise_by_hour, noise_by_cluster };
	unsigned held = 0;

	for (unsigned k = 0; k < COUNT(worlds); k++)
		for (uint64_t seed = 1; seed <= 5; seed++) {
			struct world w;

			begin(&w, seed, flat, 7);
			for (unsigned day = 0; day < 5; day++) {
				unsigned rung = world_info(&w, "b1").rung;

				play(&w, 3, 30, worlds[k]);
				held += world_info(&w, "b1").rung <= rung;
			}
			assert_int_equal(w.events[POLICY_EVENT_WARMUP_PAUSED], 0);
			assert_non_null(strstr(world_info(&w, "b1").why, "(warm peers "));
			world_deinit(&w);
		}
	/* of 75 days: what is no chance nineteen times in twenty, is one at times */
	assert_in_range(held, 0, 2);
}

/* What hits the new one alone does, and the day says so; also after a restart. */
static void test_new_alone(void **state)
{
	struct policy_warmup_info i;
	struct world w;

	begin(&w, 1, flat, 7);
	play(&w, 3, 30, new_is_deferred);
	i = world_info(&w, "b1");
	if (i.rung != 1 || !strstr(i.why, "held: too many deferrals") ||
		!strstr(i.why, "excess at least"))
		fail_msg("rung %u: %s", i.rung, i.why);
	/* half of the day before a restart: it is compared with the same */
	for (unsigned n = 0; n < 144; n++)
		world_traffic(&w, 300000, 20, n % 9 ? HEARD_ACCEPTED : HEARD_ACCEPTED);
	world_stop(&w);
	world_start(&w);
	while (hour_of(&w))
		world_traffic(&w, 300000, 20, HEARD_ACCEPTED);
	i = world_info(&w, "b1");
	if (i.rung != 2 || !strstr(i.why, "(warm peers 0.00 %"))
		fail_msg("rung %u: %s", i.rung, i.why);
	world_deinit(&w);
}

/* Without peers the share itself counts, as far as it is no chance. */
static bool few(struct world *w, unsigned source, unsigned cluster, unsigned hour)
{
	return noise(w, 0.003);
}

static void test_no_peers(void **state)
{
	struct policy_warmup_info i;
	struct world w;

	begin(&w, 3, flat, 7);
	w.r.want.pool = 1;
	for (unsigned day = 0; day < 5; day++) {
		play(&w, 3, 15, few);
		i = world_info(&w, "b1");
		if (i.rung != day + 2 || strstr(i.why, "peers"))
			fail_msg("day %u: %s", day, i.why);
	}
	play(&w, 3, 15, new_is_deferred);
	i = world_info(&w, "b1");
	if (i.rung != 6 || !strstr(i.why, "(surely at least"))
		fail_msg("rung %u: %s", i.rung, i.why);
	world_deinit(&w);
}

/* One cluster refuses it: its part is held, found out in a dozen attempts and probed seldom; the
 * ramp goes on at the others. While that is half of them, the rung stays. */
static void test_one_cluster(void **state)
{
	for (unsigned clusters = 2; clusters <= 3; clusters++) {
		struct policy_warmup_info i;
		struct world w;
		struct day d;

		begin(&w, clusters, flat, 7);
		play(&w, clusters, 30, takes_all);
		assert_int_equal(world_info(&w, "b1").rung, 2);
		for (unsigned day = 0; day < 3; day++) {
			d = play(&w, clusters, 30, first_refuses);
			if (d.refused[0] > 20)
				fail_msg("%u clusters, day %u: %u refused", clusters, day,
					d.refused[0]);
			if (d.seen[1] < 200)
				fail_msg("%u clusters, day %u: %u at the other", clusters, day,
					d.seen[1]);
			i = world_info(&w, "b1");
			if (i.rung != (clusters == 2 ? 2 : day + 3))
				fail_msg("%u clusters, day %u: rung %u (%s)", clusters, day, i.rung,
					i.why);
			assert_non_null(strstr(
				i.why, clusters == 2 ? "left out 1 of 2" : "left out 1 of 3"));
		}
		assert_int_equal(w.events[POLICY_EVENT_WARMUP_PAUSED], 0);
		/* well again: within hours all of it goes there, too */
		play(&w, clusters, 30, takes_all);
		d = play(&w, clusters, 30, takes_all);
		assert_true(d.seen[0] > 100);
		i = world_info(&w, "b1");
		assert_null(strstr(i.why, "left out"));
		world_deinit(&w);
	}
}

/* All refuse it: then the ramp pauses. */
static void test_all_clusters(void **state)
{
	struct world w;

	begin(&w, 1, flat, 7);
	play(&w, 3, 30, takes_all);
	play(&w, 3, 30, new_is_refused);
	assert_true(w.events[POLICY_EVENT_WARMUP_PAUSED] > 0);
	assert_true(world_info(&w, "b1").rung <= 2);
	world_deinit(&w);
}

/* ---- bursts ---- */

/* So many at the full hours, within that time. */
static struct day bursts(struct world *w, unsigned every, unsigned n, ms_t within)
{
	ms_t midnight = w->r.now.wall - (w->r.now.wall - START) % DAY;
	struct day d = { .clusters = 1 };

	for (unsigned h = 0; h < 24; h++) {
		uint32_t before = d.seen[0];

		for (unsigned i = 0; h % every == 0 && i < n; i++) {
			offer(w, &d, 0, takes_all);
			if ((i + 1) * within / n / 1000 != i * within / n / 1000)
				world_pass(w, 1000);
		}
		before = d.seen[0] - before;
		d.most_in_hour = before > d.most_in_hour ? before : d.most_in_hour;
		d.first_hour = h ? d.first_hour : before;
		world_pass(w, midnight + (ms_t)(h + 1) * HOUR - w->r.now.wall);
	}
	return d;
}

static void test_bursts(void **state)
{
	static const uint32_t ladder[] = { 40, 80, 160, 320, 2000, 10000, 20000 };
	static const struct {
		unsigned every, n;
		ms_t within;
		unsigned days;
	} rows[] = {
		{ 1, 25, 0, 4 },	/* at once */
		{ 1, 60, 5000, 4 },	/* in seconds */
		{ 2, 100, 1000, 4 },	/* each second hour */
		{ 1, 3000, 120000, 6 }, /* large ones, in minutes */
	};

	for (size_t k = 0; k < COUNT(rows); k++) {
		struct world w;

		begin(&w, k + 1, ladder, 7);
		for (unsigned day = 0; day < rows[k].days; day++) {
			uint32_t allowance = ladder[day];
			struct day d = bursts(&w, rows[k].every, rows[k].n, rows[k].within);

			if (d.seen[0] > allowance || world_info(&w, "b1").rung != day + 2)
				fail_msg("row %zu day %u: %u of %u (%s)", k, day, d.seen[0],
					allowance, world_info(&w, "b1").why);
			if (d.most_in_hour > (allowance < 160 ? 20 : allowance / 8 + 1))
				fail_msg("row %zu day %u: %u in an hour", k, day, d.most_in_hour);
			if (d.first_hour > (allowance < 480 ? 20 : allowance / 24))
				fail_msg("row %zu day %u: %u in the first hour", k, day,
					d.first_hour);
		}
		world_deinit(&w);
	}
}

/* ---- shapes ---- */

/* Mail of a day: in those hours, from a minute of them on, within so many minutes. */
struct shape {
	const char *name;
	unsigned first, every; /* hours; every 0: all day long, evenly */
	unsigned begins, lasts;
	bool trickle; /* and a message each ten minutes beside it */
};

struct shaped {
	uint32_t seen;
	uint32_t most_in_minute, most_in_hour;
};

/* Minute by minute; in each second what comes is offered at once. */
static struct shaped shaped_day(struct world *w, const struct shape *s, unsigned each)
{
	struct shaped got = { 0 };
	uint32_t in_hour = 0;

	for (unsigned minute = 0; minute < 24 * 60; minute++) {
		unsigned hour = minute / 60, at = minute % 60;
		bool burst = !s->every || (hour % s->every == s->first && at >= s->begins &&
						  at < s->begins + s->lasts);
		unsigned n = !s->every ? (each + 1439) / 1440 * 2 : burst ? each / s->lasts : 0;
		struct day d = { .clusters = 1 };

		n += s->trickle && at % 10 == 0;
		for (unsigned second = 0; n && second < 60; second++) {
			for (unsigned i = n * second / 60; i < n * (second + 1) / 60; i++)
				offer(w, &d, 0, takes_all);
			world_pass(w, 1000);
		}
		if (!n)
			world_pass(w, 60000);
		in_hour = at ? in_hour + d.seen[0] : d.seen[0];
		got.seen += d.seen[0];
		got.most_in_minute =
			d.seen[0] > got.most_in_minute ? d.seen[0] : got.most_in_minute;
		got.most_in_hour = in_hour > got.most_in_hour ? in_hour : got.most_in_hour;
	}
	return got;
}

static const struct shape shapes[] = {
	{ "each hour", 0, 1, 0, 5, false },
	{ "each third hour", 1, 3, 0, 5, false },
	{ "each sixth hour", 2, 6, 20, 8, true },
	{ "once a day, early", 1, 24, 5, 10, false },
	{ "once a day, late", 20, 24, 30, 10, true },
	{ "each fourth hour", 3, 4, 50, 10, true },
};

static struct shaped shaped_days(
	struct world *w, const struct shape *s, unsigned days, uint32_t allowance)
{
	unsigned each = allowance * 3 / (s->every ? 24 / s->every : 1);
	struct shaped got = { 0 };

	while (days--)
		got = shaped_day(w, s, each < 100 ? 100 : each);
	return got;
}

/* The fourth day is used up, whatever the shape; no minute has more than an eighth of it, or than is
 * few anyway. Where mail comes all day long, also after days on which it did not, no hour has more
 * than thrice its part. */
static void test_shapes(void **state)
{
	static const uint32_t allowances[] = { 60, 400, 3000 };
	static const struct shape steady = { "all day long", 0, 0, 0, 0, false };

	for (size_t k = 0; k < COUNT(shapes) * COUNT(allowances); k++) {
		const struct shape *s = &shapes[k / COUNT(allowances)];
		uint32_t allowance = allowances[k % COUNT(allowances)], flat_ladder[7];
		struct shaped got;
		struct world w;

		for (unsigned i = 0; i < COUNT(flat_ladder); i++)
			flat_ladder[i] = allowance;
		begin(&w, k + 1, flat_ladder, COUNT(flat_ladder));
		got = shaped_days(&w, s, 4, allowance);
		if (got.seen < allowance * 9 / 10 || got.seen > allowance)
			fail_msg("%s: %u of %u", s->name, got.seen, allowance);
		if (got.most_in_minute > (allowance / 8 > 300 ? allowance / 8 : 300))
			fail_msg(
				"%s: %u of %u in a minute", s->name, got.most_in_minute, allowance);
		got = shaped_days(&w, &steady, 3, allowance);
		if (got.seen < allowance * 9 / 10 || got.most_in_hour > allowance / 8 + 1)
			fail_msg("after %s: %u of %u, %u in an hour", s->name, got.seen, allowance,
				got.most_in_hour);
		world_deinit(&w);
	}
}

/* The shape that was learned outlives a restart. */
static void test_shape_is_kept(void **state)
{
	static const uint32_t ladder[] = { 400, 400, 400, 400, 400 };
	const struct shape *s = &shapes[3];
	struct world w;

	begin(&w, 1, ladder, COUNT(ladder));
	shaped_days(&w, s, 2, 400);
	world_stop(&w);
	world_start(&w);
	assert_in_range(shaped_days(&w, s, 1, 400).seen, 360, 400);
	world_deinit(&w);
}

/* A burst of all the day's mail: no more than the hour's part of it, and not in a moment. */
static void test_not_at_once(void **state)
{
	static const uint32_t big[] = { 24000, 48000 };
	struct world w;
	struct day d = { .clusters = 1 };

	begin(&w, 1, big, 2);
	world_pass(&w, 6 * HOUR + HOUR / 2);
	for (unsigned i = 0; i < 4000; i++)
		offer(&w, &d, 0, takes_all);
	assert_in_range(d.seen[0], 200, 300);
	for (unsigned s = 0; s < 1800; s++) {
		for (unsigned i = 0; i < 10; i++)
			offer(&w, &d, 0, takes_all);
		world_pass(&w, 1000);
	}
	assert_in_range(d.seen[0], 2900, 3000);
	world_deinit(&w);
}

/* Many warm sources beside it, little mail: what is due goes to the new one first. */
static void test_first_pick(void **state)
{
	static __typeof__(*((struct pool_params *)0)->members) heavy[] = { { 0, 50 }, { 1, 50 },
		{ 2, 1 } };
	static const uint32_t ladder[] = { 240, 300 };
	struct world w;
	struct day d;

	begin(&w, 1, ladder, 2);
	world_kill(&w);
	w.r.pools[0].members = (void *)heavy;
	w.nstore = 0;
	world_start(&w);
	d = play(&w, 1, 2, takes_all);
	assert_in_range(d.seen[0], 225, 240);
	world_deinit(&w);
}

/* Saturday and Sunday without mail: no step, no fall. */
static void test_weekend(void **state)
{
	struct world w;

	begin(&w, 1, flat, 7);
	for (unsigned day = 0; day < 5; day++)
		play(&w, 1, 10, takes_all);
	assert_int_equal(world_info(&w, "b1").rung, 6);
	world_pass(&w, 2 * DAY);
	assert_int_equal(world_info(&w, "b1").rung, 6);
	play(&w, 1, 10, takes_all);
	assert_int_equal(world_info(&w, "b1").rung, 7);
	world_deinit(&w);
}

/* kill -9 in the middle of bursts: never over the day, and still used up. */
static void test_killed_in_bursts(void **state)
{
	static const uint32_t ladder[] = { 160, 320 };

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct day d = { .clusters = 1 };
		struct world w;

		begin(&w, seed, ladder, 2);
		for (unsigned h = 0; h < 24; h++) {
			unsigned at = h == 5 + seed % 12 ? (unsigned)rng_below(&w.rng, 25) : 25;

			for (unsigned i = 0; i < 25; i++) {
				offer(&w, &d, 0, takes_all);
				if (i != at)
					continue;
				world_kill(&w);
				w.r.now.mono = 1000;
				world_start(&w);
			}
			world_pass(&w, START + (ms_t)(h + 1) * HOUR - w.r.now.wall);
		}
		if (d.seen[0] > 160 || d.seen[0] < 144)
			fail_msg("seed %u: %u", (unsigned)seed, d.seen[0]);
		world_deinit(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_alike),
		cmocka_unit_test(test_new_alone),
		cmocka_unit_test(test_no_peers),
		cmocka_unit_test(test_one_cluster),
		cmocka_unit_test(test_all_clusters),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_shape_is_kept),
		cmocka_unit_test(test_not_at_once),
		cmocka_unit_test(test_first_pick),
		cmocka_unit_test(test_weekend),
		cmocka_unit_test(test_killed_in_bursts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
