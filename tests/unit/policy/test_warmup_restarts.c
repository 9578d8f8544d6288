/* Ramps over restarts: sixty days with a process that is stopped, or killed, at random minutes earn
 * what sixty days of one process earn, and a cluster's part that is held stays so. */
#include <stdlib.h>

#include "warmup_world.h"

#define CLUSTERS 3u
#define NEW	 2 /* b1 */
#define DAYS	 60u
#define RUNGS	 60u
#define STEP	 300000 /* ms */
#define OFFERS	 15u	/* in a step */
#define SAVED	 30000	/* ms, after which all that changed is on disk */

enum life { WHOLE, STOPPED, KILLED };

struct days {
	unsigned rung[DAYS], restarts[DAYS];
	uint32_t allowance[DAYS], used[DAYS], seen[DAYS];
	uint32_t refused[DAYS][CLUSTERS]; /* of the new source */
};

static unsigned seeds(unsigned normal)
{
	const char *s = getenv("POLICY_SEEDS");
	unsigned n = s ? (unsigned)strtoul(s, NULL, 10) : normal;

	return n < normal ? n : normal;
}

/* One of two hundred for everybody; beside that one cluster refuses the new source for five days,
 * all of them for one day, and another one in the mornings. */
static bool takes(struct world *w, unsigned source, unsigned cluster, void *arg)
{
	unsigned day = *(const unsigned *)arg;
	unsigned hour = (unsigned)((w->r.now.wall - START) / HOUR % 24);

	if (w->seen[source] % 200 == 77)
		return false;
	if (source != NEW)
		return true;
	return !(cluster == 0 && day >= 5 && day < 10) && day != 20 &&
	       !(cluster == 1 && day >= 30 && day < 34 && hour >= 6 && hour < 12);
}

static void offer(struct world *w, struct days *d, unsigned day, unsigned cluster)
{
	unsigned source;
	bool good;

	if (!world_offer(w, cluster, takes, &day, &source, &good))
		return;
	d->seen[day] += source == NEW;
	d->refused[day][cluster] += source == NEW && !good;
}

static void restart(struct world *w, enum life life)
{
	if (life == STOPPED)
		world_stop(w);
	else
		world_kill(w);
	w->r.now.mono = 1000;
	w->r.now.wall += 2000;
	world_start(w);
}

static void live(uint64_t seed, enum life life, struct days *d)
{
	uint32_t ladder[RUNGS];
	struct world w;

	memset(d, 0, sizeof(*d));
	for (unsigned i = 0; i < RUNGS; i++)
		ladder[i] = 400 + 10 * i;
	world_init(&w, ladder, RUNGS);
	world_kill(&w);
	w.nstore = 0;
	w.plans[0].pace = PACE_EVEN;
	w.r.want.pool = 0;
	rng_seed(&w.rng, seed);
	world_start(&w);
	for (unsigned day = 0; day < DAYS; day++) {
		ms_t midnight = START + (ms_t)day * DAY;
		struct policy_warmup_info i;

		for (unsigned k = 0; k < DAY / STEP; k++) {
			for (unsigned n = 0; n < OFFERS; n++)
				offer(&w, d, day, n % CLUSTERS);
			if (policy_urgent(w.r.policy))
				world_keep(&w);
			if (life != WHOLE && rng_below(&w.rng, 40) == 0) {
				ms_t more = (ms_t)rng_below(&w.rng, STEP - 10000);

				if (more >= SAVED) {
					world_pass(&w, more);
					world_keep(&w);
				}
				restart(&w, life);
				d->restarts[day]++;
			}
			if (k + 1 < DAY / STEP)
				world_pass(&w, midnight + (ms_t)(k + 1) * STEP - w.r.now.wall);
		}
		i = world_info(&w, "b1");
		d->rung[day] = i.rung;
		d->allowance[day] = i.allowance;
		d->used[day] = i.used;
		world_pass(&w, midnight + DAY - w.r.now.wall);
	}
	world_deinit(&w);
}

/* What all that a kill can take is granted and not used: an hour's part, and two saves' parts. */
static uint32_t lost_most(const struct days *d, unsigned day)
{
	return d->restarts[day] * (d->allowance[day] / 24 + d->allowance[day] / 50 + 2);
}

static const char *wrong(
	const struct days *whole, const struct days *d, unsigned day, enum life life)
{
	if (d->rung[day] != whole->rung[day] || d->allowance[day] != whole->allowance[day])
		return "another rung";
	if (d->used[day] > d->allowance[day] || d->seen[day] > d->used[day])
		return "more than allowed, or than counted";
	if (life == STOPPED && d->used[day] != d->seen[day])
		return "what did not go counts as used";
	if (d->used[day] - d->seen[day] > lost_most(d, day))
		return "a kill loses more than is granted ahead";
	if (d->used[day] + 2 < whole->used[day])
		return "less is used";
	for (unsigned c = 0; c < CLUSTERS; c++)
		if (d->refused[day][c] > whole->refused[day][c] + 4)
			return "a cluster that refuses is tried again";
	return NULL;
}

static void test_sixty_days(void **state)
{
	static struct days whole, broken;

	for (uint64_t seed = 1; seed <= seeds(3); seed++) {
		live(seed, WHOLE, &whole);
		assert_true(whole.rung[DAYS - 1] > DAYS - 5);
		for (enum life life = STOPPED; life <= KILLED; life++) {
			live(seed, life, &broken);
			for (unsigned day = 0; day < DAYS; day++) {
				const char *what = wrong(&whole, &broken, day, life);

				if (what)
					fail_msg("seed %u, %s, day %u: %s: rung %u, %u seen, %u of "
						 "%u used, refused %u %u %u; unbroken: rung %u, %u "
						 "used, refused %u %u %u",
						(unsigned)seed,
						life == STOPPED ? "stopped" : "killed", day, what,
						broken.rung[day], broken.seen[day],
						broken.used[day], broken.allowance[day],
						broken.refused[day][0], broken.refused[day][1],
						broken.refused[day][2], whole.rung[day],
						whole.used[day], whole.refused[day][0],
						whole.refused[day][1], whole.refused[day][2]);
			}
		}
	}
}

/* All counts of a ramp's entry with all their digits; sums of shares are in millionths. */
static void widen(char *value, size_t max)
{
	static const struct {
		unsigned from, to;
		const char *number;
	} fields[] = { { 3, 3, "4000000000" }, { 7, 9, "4000000000" }, { 21, 26, "4000000000" },
		{ 27, 32, "4000000000000000" } };
	char wide[512], *at = value;
	size_t n = 0;

	for (unsigned k = 0; (at = strtok(k ? NULL : value, " ")); k++) {
		for (size_t i = 0; i < COUNT(fields); i++)
			if (k >= fields[i].from && k <= fields[i].to)
				at = (char *)(uintptr_t)fields[i].number;
		n += (size_t)snprintf(wide + n, sizeof(wide) - n, "%s%s", k ? " " : "", at);
	}
	snprintf(value, max, "%s", wide);
}

/* Numbers as large as they get fit an entry, and come back. */
static void test_large_numbers(void **state)
{
	static const uint32_t large[] = { 4000000000, 4100000000 };
	struct policy_warmup_info i;
	struct world w;

	world_init(&w, large, 2);
	w.plans[0].pace = PACE_EVEN;
	world_pass(&w, 60000);
	policy_warmup_operate(
		w.r.policy, w.r.now, WARMUP_HOLD, "b1", NULL, 0, START + 900 * (ms_t)DAY);
	world_pass(&w, 60000);
	for (unsigned k = 0; k < w.nstore; k++)
		widen(w.store[k].value, sizeof(w.store[k].value));
	assert_true(strlen(w.store[0].value) > 320);
	world_kill(&w);
	world_start(&w);
	i = world_info(&w, "b1");
	assert_int_equal(i.used, 4000000000);
	assert_true(i.operator_hold);
	world_stop(&w);
	world_start(&w);
	assert_int_equal(world_info(&w, "b1").used, 4000000000);
	world_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sixty_days),
		cmocka_unit_test(test_large_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
