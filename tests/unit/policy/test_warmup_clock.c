/* Ramps and clocks, over many seeds: whatever is killed, set or moved, no day's allowance is
 * passed. */
#include <stdlib.h>

#include "warmup_world.h"

static const uint32_t steps[] = { 50, 100, 200, 400, 800 };

static unsigned seeds(unsigned normal)
{
	const char *s = getenv("POLICY_SEEDS");

	return s ? (unsigned)strtoul(s, NULL, 10) : normal;
}

static void init(struct world *w, uint64_t seed, struct zone *zone, ms_t wall)
{
	world_init(w, steps, 5);
	world_kill(w);
	w->nstore = 0;
	w->r.params.zone = zone;
	w->r.now.wall = wall;
	w->plans[0].start = 0;
	rng_seed(&w->rng, seed);
	world_start(w);
}

/* kill -9 at any moment, also while a message is under way; the clock of the monotonic time begins
 * anew. */
static void test_killed(void **state)
{
	for (unsigned seed = 0; seed < seeds(300); seed++) {
		struct world w;

		init(&w, seed, NULL, START);
		w.plans[0].pace = (enum warmup_pace)(seed % 3 ? PACE_NONE : PACE_EVEN);
		for (unsigned day = 0; day < 4; day++) {
			uint32_t before = w.seen[2], allowance = world_info(&w, "b1").allowance;
			unsigned kills = 0;

			while (w.r.now.wall < START + (ms_t)(day + 1) * DAY - HOUR) {
				world_traffic(&w, 60000 + (ms_t)rng_below(&w.rng, HOUR / 2),
					(uint32_t)rng_below(&w.rng, 60), HEARD_ACCEPTED);
				if (rng_below(&w.rng, 4))
					continue;
				if (rng_below(&w.rng, 2)) { /* under way: the receiver has it, we do
							       not know */
					struct policy_choice c = rig_choose(&w.r), why;
					bool retire;

					if (c.go && rig_admit(&w.r, c.slot, &why, &retire))
						w.seen[2]++;
				}
				world_kill(&w);
				w.r.now.mono = 1000;
				w.r.now.wall += 1000;
				world_start(&w);
				kills++;
			}
			if (w.seen[2] - before > allowance)
				fail_msg("seed %u day %u: %u of %u, %u kills", seed, day,
					w.seen[2] - before, allowance, kills);
			world_pass(&w, START + (ms_t)(day + 1) * DAY - w.r.now.wall + 1000);
		}
		world_deinit(&w);
	}
}

/* What cannot be saved is not used; when it can be again, it goes on by itself. */
static void test_disk_full(void **state)
{
	struct world w;

	init(&w, 1, NULL, START);
	assert_int_equal(world_traffic(&w, HOUR, 10, HEARD_ACCEPTED), 10);
	w.disk_full = true;
	assert_in_range(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 0, 2);
	assert_int_equal(w.reason, HOLD_WARMUP);
	w.disk_full = false;
	world_pass(&w, 2000);
	assert_in_range(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 38, 40);
	world_deinit(&w);
}

/* The wall clock is set forward and back; in no 23 real hours more than one day's allowance goes.
 */
static void test_clock_set(void **state)
{
	for (unsigned seed = 0; seed < seeds(300); seed++) {
		static uint32_t sent[24 * 12];
		struct world w;

		init(&w, seed, NULL, START + 10 * HOUR);
		world_kill(&w);
		w.daily[1] = w.daily[2] = 50; /* so that one number holds for all days */
		w.plans[0].ndaily = 3;
		w.nstore = 0;
		world_start(&w);
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_HOLD, "b1", NULL, 0, 0);
		memset(sent, 0, sizeof(sent));
		for (unsigned hour = 0; hour < COUNT(sent); hour++) {
			uint32_t in_a_day = 0;

			sent[hour] = world_traffic(
				&w, HOUR, (uint32_t)rng_below(&w.rng, 60), HEARD_ACCEPTED);
			for (unsigned k = 0; k < 12 && k <= hour; k++)
				in_a_day += sent[hour - k];
			/* two allowances may meet at a midnight, as they may for any sender */
			if (in_a_day > 2 * 50)
				fail_msg("seed %u hour %u: %u in 12 hours", seed, hour, in_a_day);
			if (rng_below(&w.rng, 8) == 0) {
				static const ms_t by[] = { 2 * HOUR, -2 * HOUR, DAY, -DAY,
					30 * HOUR, -30 * HOUR, 400 * (ms_t)DAY, -400 * (ms_t)DAY };

				w.r.now.wall += by[rng_below(&w.rng, COUNT(by))];
				world_pass(&w, 0);
			}
		}
		/* and in all, not more than one for each real day and the one begun */
		{
			uint32_t total = 0;

			for (unsigned h = 0; h < COUNT(sent); h++)
				total += sent[h];
			if (total > 50 * (COUNT(sent) / 24 + 1))
				fail_msg("seed %u: %u in %zu days", seed, total, COUNT(sent) / 24);
		}
		world_deinit(&w);
	}
}

/* A clock that was wrong and is right again does not stop the ramp for long. */
static void test_clock_put_right(void **state)
{
	static const ms_t wrong[] = { 400 * (ms_t)DAY, -400 * (ms_t)DAY, DAY, -DAY, 5 * HOUR };

	for (size_t k = 0; k < COUNT(wrong); k++) {
		uint32_t n = 0;
		struct world w;

		init(&w, k, NULL, START + 10 * HOUR);
		world_traffic(&w, HOUR, 20, HEARD_ACCEPTED);
		w.r.now.wall += wrong[k];
		world_traffic(&w, 2 * HOUR, 10, HEARD_ACCEPTED);
		w.r.now.wall -= wrong[k];
		world_pass(&w, 2 * DAY);
		n = world_traffic(&w, DAY, 1000, HEARD_ACCEPTED);
		if (n < 50)
			fail_msg("row %zu: %u", k, n);
		world_deinit(&w);
	}
}

/* Days of 23, 25 and 24 hours, a leap day: each has one allowance, spread over all of it. */
static void test_calendar(void **state)
{
	static const struct {
		const char *zone, *name;
		ms_t wall; /* its first moment, UTC */
		unsigned hours;
	} rows[] = {
		{ "Europe/Berlin", "spring", 1774738800000, 23 },    /* 2026-03-29 */
		{ "Europe/Berlin", "autumn", 1792879200000, 25 },    /* 2026-10-25 */
		{ "America/New_York", "spring", 1772946000000, 23 }, /* 2026-03-08 */
		{ "UTC", "leap day", 1835395200000, 24 },	     /* 2028-02-29 */
		{ "Asia/Kolkata", "plain", 1793471400000, 24 },	     /* 2026-11-01 */
	};

	for (size_t k = 0; k < COUNT(rows); k++) {
		static const uint32_t flat[] = { 2400, 2400, 2400 };
		uint32_t n = 0, last = 0;
		struct zone *zone;
		struct world w;

		assert_int_equal(zone_load(&zone, rows[k].zone), 0);
		init(&w, k, zone, rows[k].wall - 30 * 60000);
		world_kill(&w);
		w.nstore = 0;
		memcpy(w.daily, flat, sizeof(flat));
		w.plans[0].ndaily = 3;
		w.plans[0].pace = PACE_EVEN;
		world_start(&w);
		world_pass(&w, 30 * 60000);
		for (unsigned h = 0; h < rows[k].hours; h++) {
			last = world_traffic(&w, HOUR, 1200, HEARD_ACCEPTED);
			n += last;
			if (last < 2400 / rows[k].hours - 12 || last > 2400 / rows[k].hours + 40)
				fail_msg("%s: hour %u: %u", rows[k].name, h, last);
		}
		assert_in_range(n, 2380, 2400);
		/* the next day has begun */
		assert_true(world_traffic(&w, HOUR, 1200, HEARD_ACCEPTED) > 80);
		world_deinit(&w);
		zone_free(zone);
	}
}

/* Off for three days: the days without mail do not advance it, and today has its own allowance. */
static void test_off_for_days(void **state)
{
	struct policy_warmup_info i;
	struct world w;

	init(&w, 1, NULL, START + HOUR);
	assert_int_equal(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 50);
	world_stop(&w);
	w.r.now.mono = 777;
	w.r.now.wall += 3 * DAY;
	world_start(&w);
	i = world_info(&w, "b1");
	assert_int_equal(i.rung, 2); /* for the day that was used */
	assert_int_equal(i.used, 0);
	assert_int_equal(world_traffic(&w, HOUR, 1000, HEARD_ACCEPTED), 100);
	/* and not at all meanwhile: no mail, no step */
	world_stop(&w);
	w.r.now.wall += DAY;
	world_start(&w);
	assert_int_equal(world_info(&w, "b1").rung, 3);
	world_stop(&w);
	w.r.now.wall += 5 * DAY;
	world_start(&w);
	assert_int_equal(world_info(&w, "b1").rung, 3);
	world_deinit(&w);
}

/* A month in which the receiver defers at random: never more than allowed, what hits all
 * sources alike never holds it. */
static void test_months(void **state)
{
	unsigned days = 0, held = 0;

	for (unsigned seed = 0; seed < seeds(60); seed++) {
		struct policy_warmup_info end, next;
		struct world w;

		init(&w, seed, NULL, START);
		w.r.want.pool = 0;
		for (unsigned day = 0; day < 30; day++) {
			double noise = rng_below(&w.rng, 3) ? 0 : rng_unit(&w.rng) * 0.02;
			uint32_t seen = w.seen[2];

			for (unsigned n = 0; n < 4000; n++) {
				world_traffic(&w, 20000, 1,
					rng_unit(&w.rng) < noise ? HEARD_THROTTLE : HEARD_ACCEPTED);
			}
			seen = w.seen[2] - seen;
			end = world_info(&w, "b1");
			world_pass(&w, START + (ms_t)(day + 1) * DAY - w.r.now.wall + 500);
			next = world_info(&w, "b1");
			if (end.allowance != UINT32_MAX && seen > end.allowance)
				fail_msg(
					"seed %u day %u: %u of %u", seed, day, seen, end.allowance);
			if (end.used != seen)
				fail_msg("seed %u day %u: %u seen, %u used", seed, day, seen,
					end.used);
			if (next.rung > end.rung + 1)
				fail_msg("seed %u day %u: from rung %u to %u", seed, day, end.rung,
					next.rung);
			if (next.rung > end.rung && seen < 0.9 * end.allowance)
				fail_msg("seed %u day %u: advanced with %u of %u used", seed, day,
					seen, end.allowance);
			/* by chance, where it is hit and the others are not */
			days += end.rung <= 5 && seen >= 0.9 * end.allowance;
			held += end.rung <= 5 && seen >= 0.9 * end.allowance &&
				next.rung <= end.rung;
		}
		world_deinit(&w);
	}
	if (held * 100 > days + 100)
		fail_msg("held %u times in %u days", held, days);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_clock_set),
		cmocka_unit_test(test_clock_put_right),
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_off_for_days),
		cmocka_unit_test(test_months),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
