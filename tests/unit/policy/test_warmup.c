/* Ramps in virtual time: allowance, pace, what a day earns, pauses. */
#include <errno.h>

#include "warmup_world.h"

static const uint32_t steps[] = { 50, 100, 200, 400 };

static void test_allowance(void **state)
{
	struct world w;
	struct policy_warmup_info i;

	world_init(&w, steps, 4);
	assert_int_equal(world_traffic(&w, 60000, 500, HEARD_ACCEPTED), 50);
	assert_int_equal(w.seen[2], 50);
	assert_int_equal(w.reason, HOLD_WARMUP);
	/* until midnight, said in mono time */
	assert_int_equal(w.until - w.r.now.mono, DAY - (w.r.now.wall - START));
	i = world_info(&w, "b1");
	assert_int_equal(i.allowance, 50);
	assert_int_equal(i.used, 50);
	assert_int_equal(i.left_now, 0);
	assert_int_equal(i.until, START + DAY);
	assert_int_equal(i.day, START_DAY);
	assert_int_equal(i.since, START_DAY);
	assert_int_equal(i.full, START_DAY + 4);
	assert_int_equal(i.full_volume, 400);
	world_deinit(&w);
}

/* What a day earns. */
static void test_days(void **state)
{
	static const struct {
		const char *name;
		uint32_t good, throttled, invalid;
		unsigned rung; /* next day; it was 2 */
		const char *change;
	} rows[] = {
		{ "used and well", 100, 0, 0, 3, "advanced" },
		{ "nine tenths", 90, 0, 0, 3, "advanced" },
		{ "too little", 89, 0, 0, 2, "held" },
		{ "one deferral in a hundred: may be chance", 99, 1, 0, 3, "advanced" },
		{ "four in a hundred", 96, 4, 0, 2, "held" },
		{ "one in twenty, but few", 38, 2, 0, 2, "held" },
		{ "one in twenty", 95, 5, 0, 1, "stepped back" },
		{ "one in eight", 20, 3, 0, 1, "stepped back" },
		{ "no mail", 0, 0, 0, 2, "idle" },
		{ "only recipients that are none", 0, 0, 50, 2, "idle" },
	};

	for (size_t k = 0; k < COUNT(rows); k++) {
		struct policy_warmup_info i;
		struct world w;

		world_init(&w, steps, 4);
		assert_int_equal(
			policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, 2, 0),
			0);
		world_pass(&w, 1000);
		/* good ones before and between: no health of a lane is at stake */
		for (uint32_t n = 0; n < rows[k].throttled; n++) {
			world_traffic(
				&w, HOUR, rows[k].good / (rows[k].throttled + 1), HEARD_ACCEPTED);
			world_traffic(&w, HOUR, 1, HEARD_THROTTLE);
		}
		world_traffic(&w, HOUR,
			rows[k].good - rows[k].throttled * (rows[k].good / (rows[k].throttled + 1)),
			HEARD_ACCEPTED);
		assert_int_equal(
			world_traffic(&w, HOUR, rows[k].invalid, HEARD_BAD_RCPT), rows[k].invalid);
		assert_int_equal(w.seen[2], rows[k].good + rows[k].throttled);
		world_pass(&w, DAY - (w.r.now.wall - START));
		i = world_info(&w, "b1");
		if (i.rung != rows[k].rung || strcmp(i.change, rows[k].change))
			fail_msg("%s: rung %u, %s (%s)", rows[k].name, i.rung, i.change, i.why);
		assert_int_equal(i.used, 0);
		world_deinit(&w);
	}
}

static void test_to_the_end(void **state)
{
	struct policy_warmup_info i;
	struct world w;

	world_init(&w, steps, 4);
	for (unsigned d = 0; d < 4; d++)
		assert_int_equal(world_traffic(&w, DAY, 1000, HEARD_ACCEPTED), steps[d]);
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_DAY], 4);
	i = world_info(&w, "b1");
	assert_string_equal(i.state, "warm");
	assert_int_equal(i.allowance, UINT32_MAX);
	assert_int_equal(world_traffic(&w, DAY, 5000, HEARD_ACCEPTED), 5000);
	/* and is so after a restart */
	world_stop(&w);
	world_start(&w);
	assert_int_equal(world_traffic(&w, HOUR, 5000, HEARD_ACCEPTED), 5000);
	world_deinit(&w);
}

/* Long without mail: half of it for each such time. */
static void test_idle(void **state)
{
	static const struct {
		unsigned rung, days, after;
	} rows[] = { { 4, 29, 4 }, { 4, 31, 3 }, { 4, 61, 2 }, { 4, 400, 1 }, { 5, 31, 3 },
		{ 1, 31, 1 } };

	for (size_t k = 0; k < COUNT(rows); k++) {
		struct policy_warmup_info i;
		struct world w;

		world_init(&w, steps, 4);
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, rows[k].rung, 0);
		assert_int_equal(world_traffic(&w, HOUR, 10, HEARD_ACCEPTED), 10);
		if (k & 1) { /* the process was off meanwhile */
			world_stop(&w);
			rig_pass(&w.r, (ms_t)rows[k].days * DAY + DAY);
			w.r.now.mono = 5000;
			world_start(&w);
		} else {
			for (unsigned d = 0; d <= rows[k].days; d++) {
				rig_pass(&w.r, DAY);
				world_pass(&w, 0);
			}
		}
		i = world_info(&w, "b1");
		if (i.rung != rows[k].after)
			fail_msg("row %zu: rung %u (%s)", k, i.rung, i.why);
		world_deinit(&w);
	}
}

static void test_before_start(void **state)
{
	struct world w;

	world_init(&w, steps, 4);
	world_kill(&w);
	w.plans[0].start = START_DAY + 3;
	world_start(&w);
	assert_int_equal(world_traffic(&w, HOUR, 10, HEARD_ACCEPTED), 0);
	assert_string_equal(world_info(&w, "b1").state, "before start");
	assert_int_equal(world_info(&w, "b1").until, START + 3 * DAY);
	assert_int_equal(w.until - w.r.now.mono, START + 3 * DAY - w.r.now.wall);
	/* the pool's others take it */
	w.r.want.pool = 0;
	assert_int_equal(world_traffic(&w, HOUR, 10, HEARD_ACCEPTED), 10);
	assert_int_equal(w.seen[2], 0);
	world_deinit(&w);
}

/* ---- pace ---- */

static void test_even(void **state)
{
	static const uint32_t big[] = { 4800, 9600 };
	struct world w;
	uint32_t total = 0;

	world_init(&w, big, 2);
	w.plans[0].pace = PACE_EVEN;
	/* a burst cannot spend the day in a minute */
	assert_true(world_traffic(&w, 60000, 5000, HEARD_ACCEPTED) <= 4800 / 96 + 11);
	/* asked for all the time it goes evenly, and all of it */
	world_pass(&w, DAY - (w.r.now.wall - START));
	for (unsigned h = 0; h < 24; h++) {
		uint32_t n = world_traffic(&w, HOUR, 1800, HEARD_ACCEPTED);

		assert_in_range(n, 180, 260);
		total += n;
	}
	assert_in_range(total, 4790, 4800);
	/* nothing for most of the day: it is caught up with, but not dumped on the last hour */
	world_pass(&w, 20 * HOUR);
	for (unsigned h = 20; h < 24; h++)
		assert_in_range(world_traffic(&w, HOUR, 1800, HEARD_ACCEPTED), 300, 3 * 400 + 105);
	world_deinit(&w);
}

static void test_hours(void **state)
{
	static const uint32_t big[] = { 1000, 2000 };
	static const struct {
		unsigned from, to;
	} rows[] = { { 8 * 60, 18 * 60 }, { 22 * 60, 6 * 60 }, { 8 * 60 + 30, 1440 } };

	for (size_t k = 0; k < COUNT(rows); k++) {
		uint32_t total = 0;
		struct world w;

		world_init(&w, big, 2);
		w.plans[0].pace = PACE_HOURS;
		w.plans[0].hours_from = rows[k].from;
		w.plans[0].hours_to = rows[k].to;
		world_kill(&w);
		world_start(&w);
		for (unsigned m = 0; m < 1440; m += 30) {
			bool in = rows[k].from < rows[k].to ? m >= rows[k].from && m < rows[k].to
							    : m >= rows[k].from || m < rows[k].to;
			uint32_t n = world_traffic(&w, HOUR / 2, 600, HEARD_ACCEPTED);

			if (in != (n > 0))
				fail_msg("row %zu, minute %u: %u", k, m, n);
			total += n;
			/* and says when it goes on */
			if (!in)
				assert_true(w.until > w.r.now.mono - 60000 &&
					    w.until - w.r.now.mono < DAY);
		}
		assert_in_range(total, 980, 1000);
		world_deinit(&w);
	}
}

/* ---- what counts ---- */

static void test_what_counts(void **state)
{
	static const struct {
		enum heard h;
		bool counts;
	} rows[] = { { HEARD_ACCEPTED, true }, { HEARD_THROTTLE, true }, { HEARD_BLOCK, true },
		{ HEARD_BAD_RCPT, false }, { HEARD_BAD_CONTENT, true }, { HEARD_LOST, false } };

	for (size_t k = 0; k < COUNT(rows); k++) {
		struct world w;

		world_init(&w, steps, 4);
		assert_true(world_send(&w, "t1.example", rows[k].h, NULL));
		assert_int_equal(world_info(&w, "b1").used, rows[k].counts);
		world_deinit(&w);
	}
}

/* Recipients of one transaction are one message; one that is not begun is none. */
static void test_one_transaction(void **state)
{
	struct classification good = { .verdict = VERDICT_DELIVERED };
	struct classification bad = { .verdict = VERDICT_SOURCE_THROTTLE };
	struct policy_choice c, why;
	struct policy_tried tried = { 0 };
	struct policy_verdict v;
	struct world w;
	bool retire;

	world_init(&w, steps, 4);
	c = rig_choose(&w.r);
	assert_true(c.go);
	assert_true(rig_admit(&w.r, c.slot, &why, &retire));
	assert_int_equal(world_info(&w, "b1").used, 1);
	rig_txn_end(&w.r, c.slot, TXN_NOT_BEGUN);
	assert_int_equal(world_info(&w, "b1").used, 0);
	assert_true(rig_admit(&w.r, c.slot, &why, &retire));
	for (unsigned i = 0; i < 5; i++)
		rig_hear(&w.r, c.slot, "t.example", i < 3 ? &good : &bad, &tried, &v);
	rig_txn_end(&w.r, c.slot, TXN_SENT);
	assert_int_equal(world_info(&w, "b1").used, 1);
	assert_int_equal(world_info(&w, "b1").delivered, 1);
	assert_int_equal(world_info(&w, "b1").deferred, 1);
	world_save(&w);
	/* cut off in the middle of a transaction: the receiver may have seen it */
	assert_true(rig_admit(&w.r, c.slot, &why, &retire));
	rig_end(&w.r, c.slot);
	assert_int_equal(world_info(&w, "b1").used, 2);
	world_deinit(&w);
}

/* Many connections at once do not pass it: more are not opened than may carry something. */
static void test_races(void **state)
{
	static const uint32_t two[] = { 2, 4 };
	struct policy_choice c[4], why;
	struct world w;
	bool retire;

	world_init(&w, two, 2);
	world_save(&w);
	w.r.want.pool = 1;
	c[0] = rig_choose(&w.r);
	world_save(&w);
	c[1] = rig_choose(&w.r);
	world_save(&w);
	c[1] = c[1].go ? c[1] : rig_choose(&w.r);
	assert_true(c[0].go);
	c[2] = rig_choose(&w.r);
	assert_false(c[2].go);
	assert_int_equal(c[2].reason, HOLD_WARMUP);
	for (unsigned i = 0; i < 4; i++) {
		world_save(&w);
		if (i < 2)
			assert_true(rig_admit(&w.r, c[0].slot, &why, &retire));
		else
			assert_false(rig_admit(&w.r, c[0].slot, &why, &retire));
	}
	assert_int_equal(why.reason, HOLD_WARMUP);
	world_deinit(&w);
}

/* ---- whose fault ---- */

static void test_pause(void **state)
{
	struct policy_warmup_info i;
	struct world w;
	ms_t begin;
	unsigned probes = 0;

	world_init(&w, steps, 4);
	policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, 4, 0);
	world_pass(&w, 1000);
	assert_int_equal(world_traffic(&w, HOUR, 12, HEARD_ACCEPTED), 12);
	for (unsigned k = 0; k < 5; k++) { /* far apart: no lane is put to rest */
		assert_int_equal(world_traffic(&w, HOUR / 2, 1, HEARD_THROTTLE), 1);
	}
	i = world_info(&w, "b1");
	assert_string_equal(i.state, "paused");
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_PAUSED], 1);
	assert_true(w.last.alarm);
	assert_in_range(i.until - w.r.now.wall, 3 * HOUR, 5 * HOUR);
	/* nothing goes, also after a restart */
	assert_int_equal(world_traffic(&w, HOUR, 10, HEARD_ACCEPTED), 0);
	assert_int_equal(w.reason, HOLD_WARMUP);
	world_kill(&w);
	world_start(&w);
	assert_int_equal(world_traffic(&w, HOUR, 10, HEARD_ACCEPTED), 0);
	/* a probe that fails: longer */
	begin = world_info(&w, "b1").until;
	world_pass(&w, begin - w.r.now.wall + 1000);
	assert_string_equal(world_info(&w, "b1").state, "probing");
	assert_int_equal(world_traffic(&w, 60000, 10, HEARD_THROTTLE), 1);
	assert_in_range(world_info(&w, "b1").until - w.r.now.wall, 5 * HOUR, 7 * HOUR);
	world_pass(&w, world_info(&w, "b1").until - w.r.now.wall + 1000);
	/* two that succeed: it goes on */
	while (!strcmp(world_info(&w, "b1").state, "probing") && probes < 5)
		probes += world_send(&w, "t7.example", HEARD_ACCEPTED, NULL);
	assert_int_equal(probes, 2);
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_RESUMED], 1);
	assert_true(world_traffic(&w, HOUR, 50, HEARD_ACCEPTED) > 40);
	world_deinit(&w);
}

/* A deferral whose cause is the cluster or the tenant does not hold a ramp. */
static void test_excused(void **state)
{
	static const char *const names[] = { "cluster", "tenant", "source" };

	for (unsigned k = 0; k < 3; k++) {
		struct policy_warmup_info i;
		unsigned bad = 0;
		struct world w;

		world_init(&w, steps, 4);
		w.r.want.pool = 0; /* others send there, too, and are told the same */
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, 4, 0);
		world_pass(&w, 1000);
		while (w.accepted[2] < 365)
			world_traffic(&w, HOUR / 80, 10, HEARD_ACCEPTED);
		for (unsigned n = 0; n < 60; n++) {
			char domain[32];
			int source;

			snprintf(domain, sizeof(domain), "u%u.example", k == 1 ? 0 : n);
			if (k == 2 && n >= 8)
				break;
			if (k == 2) /* no lane is put to rest */
				world_traffic(&w, 1000, 3, HEARD_ACCEPTED);
			w.r.want.pool = k == 2 ? 1 : 0;
			if (world_send(&w, domain, HEARD_THROTTLE, &source))
				bad += source == 2;
			world_pass(&w, 500);
		}
		if (bad <= 1)
			fail_msg("k %u: bad %u reason %u, used %u acc %u", k, bad, w.reason,
				world_info(&w, "b1").used, w.accepted[2]);
		i = world_info(&w, "b1");
		if (k == 2)
			assert_int_equal(i.deferred, bad);
		else if (i.deferred)
			fail_msg("%s: %u deferrals are the source's", names[k],
				(unsigned)i.deferred);
		world_pass(&w, DAY - (w.r.now.wall - START) + 1000);
		i = world_info(&w, "b1");
		assert_string_equal(i.change, k == 2 ? "held" : "advanced");
		world_deinit(&w);
	}
}

/* ---- operators, plans ---- */

static void test_operate(void **state)
{
	struct world w;

	world_init(&w, steps, 4);
	world_traffic(&w, HOUR, 30, HEARD_ACCEPTED);
	assert_int_equal(
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "a1", NULL, 1, 0), -ENOENT);
	assert_int_equal(
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "x", NULL, 1, 0), -ENOENT);
	assert_int_equal(
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", "default", 1, 0),
		-ENOENT);
	assert_int_equal(
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, 6, 0), -ERANGE);
	assert_int_equal(
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, 0, 0), -ERANGE);
	assert_int_equal(
		policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SKIP, "b1", "microsoft365", 0, 0),
		0);
	/* what was used stays used */
	assert_int_equal(world_info(&w, "b1").used, 30);
	assert_int_equal(world_info(&w, "b1").allowance, 100);
	assert_int_equal(world_traffic(&w, HOUR, 300, HEARD_ACCEPTED), 70);
	assert_int_equal(policy_warmup_operate(
				 w.r.policy, w.r.now, WARMUP_HOLD, "b1", NULL, 0, START + 3 * DAY),
		0);
	assert_string_equal(world_info(&w, "b1").state, "held");
	assert_int_equal(world_info(&w, "b1").full, START_DAY + 3 + 3);
	world_pass(&w, START + DAY - w.r.now.wall + 1000);
	assert_int_equal(world_info(&w, "b1").rung, 2);
	assert_string_equal(world_info(&w, "b1").why,
		"held: held by operator: 100 of 100 used, 0.00 % deferred");
	world_kill(&w);
	world_start(&w);
	/* two that were granted count as used */
	assert_int_equal(world_traffic(&w, DAY, 300, HEARD_ACCEPTED), 98);
	assert_int_equal(world_info(&w, "b1").rung, 2);
	/* over by itself */
	assert_int_equal(world_traffic(&w, DAY, 300, HEARD_ACCEPTED), 100);
	assert_false(world_info(&w, "b1").operator_hold);
	assert_int_equal(world_info(&w, "b1").rung, 3);
	assert_int_equal(world_traffic(&w, DAY, 300, HEARD_ACCEPTED), 200);
	policy_warmup_operate(w.r.policy, w.r.now, WARMUP_HOLD, "b1", NULL, 0, 0);
	assert_int_equal(world_info(&w, "b1").full, 0);
	policy_warmup_operate(w.r.policy, w.r.now, WARMUP_RELEASE, "b1", NULL, 0, 0);
	assert_true(world_info(&w, "b1").full > 0);
	policy_warmup_operate(w.r.policy, w.r.now, WARMUP_RESET, "b1", NULL, 0, 0);
	assert_int_equal(world_info(&w, "b1").rung, 1);
	assert_string_equal(world_info(&w, "b1").change, "set");
	policy_warmup_operate(w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, 5, 0);
	assert_string_equal(world_info(&w, "b1").state, "warm");
	world_deinit(&w);
}

/* A ladder that was changed is taken up at the volume that the source has come to, by a reload and
 * by a restart. */
static void test_other_ladder(void **state)
{
	static const struct {
		unsigned rung;
		uint32_t daily[5];
		unsigned n, after;
	} rows[] = {
		{ 3, { 50, 100, 200, 400 }, 4, 3 },
		{ 3, { 20, 40, 80, 160, 320 }, 5, 4 },
		{ 3, { 500, 1000 }, 2, 1 },
		{ 3, { 10, 20 }, 2, 3 },
		{ 5, { 50, 100, 200 }, 3, 4 },
		{ 5, { 100, 400, 800, 1600 }, 4, 2 },
	};

	for (size_t k = 0; k < 2 * COUNT(rows); k++) {
		const size_t row = k / 2;
		struct policy_params next;
		struct warmup_params plan;
		struct world w;

		world_init(&w, steps, 4);
		policy_warmup_operate(
			w.r.policy, w.r.now, WARMUP_SET, "b1", NULL, rows[row].rung, 0);
		world_pass(&w, 1000);
		assert_int_equal(world_traffic(&w, HOUR, 30, HEARD_ACCEPTED), 30);
		next = w.r.params;
		plan = w.plans[0];
		plan.daily = (uint32_t *)(uintptr_t)rows[row].daily;
		plan.ndaily = rows[row].n;
		next.warmups = &plan;
		if (k & 1) {
			world_stop(&w);
			w.r.params = next;
			world_start(&w);
		} else {
			assert_int_equal(policy_reload(w.r.policy, &next), 0);
			world_pass(&w, 1000);
		}
		if (world_info(&w, "b1").rung != rows[row].after)
			fail_msg("row %zu: rung %u", row, world_info(&w, "b1").rung);
		assert_in_range(world_info(&w, "b1").used, 30, 40);
		world_deinit(&w);
	}
}

/* Without its plan a source is free; with it again it is where it was. */
static void test_plan_gone(void **state)
{
	struct policy_params none;
	struct world w;

	world_init(&w, steps, 4);
	none = w.r.params;
	none.nwarmups = 0;
	assert_int_equal(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 50);
	world_stop(&w);
	w.r.params.nwarmups = 0;
	world_start(&w);
	assert_int_equal(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 100);
	world_stop(&w);
	w.r.params.nwarmups = 1;
	world_start(&w);
	assert_int_equal(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 0);
	assert_int_equal(policy_reload(w.r.policy, &none), 0);
	assert_int_equal(world_traffic(&w, HOUR, 100, HEARD_ACCEPTED), 100);
	world_deinit(&w);
}

static void test_backlog(void **state)
{
	struct world w;

	world_init(&w, steps, 4);
	world_pass(&w, 1000);
	policy_warmup_backlog(w.r.policy, w.r.now, 0, 1, 60);
	world_pass(&w, 1000);
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_BACKLOG], 0);
	/* 50 today, 50 tomorrow; 48 hours is what a message has */
	policy_warmup_backlog(w.r.policy, w.r.now, 0, 1, 500);
	policy_warmup_backlog(w.r.policy, w.r.now, 0, 1, 510);
	world_pass(&w, 1000);
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_BACKLOG], 1);
	assert_true(w.last.alarm);
	assert_non_null(strstr(w.last.text, "at 50 a day the last goes on 2026-11-11"));
	policy_warmup_backlog(w.r.policy, w.r.now, 0, 1, 0);
	world_pass(&w, 1000);
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_BACKLOG_OVER], 1);
	/* warm sources take it */
	policy_warmup_backlog(w.r.policy, w.r.now, 0, 0, 100000);
	world_pass(&w, 1000);
	assert_int_equal(w.events[POLICY_EVENT_WARMUP_BACKLOG], 1);
	world_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowance),
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_to_the_end),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_before_start),
		cmocka_unit_test(test_even),
		cmocka_unit_test(test_hours),
		cmocka_unit_test(test_what_counts),
		cmocka_unit_test(test_one_transaction),
		cmocka_unit_test(test_races),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_excused),
		cmocka_unit_test(test_operate),
		cmocka_unit_test(test_other_ladder),
		cmocka_unit_test(test_plan_gone),
		cmocka_unit_test(test_backlog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
