/* What an allowance does not take, or not yet: another source's, another pool's, or it waits. */
#include "warmup_world.h"

static const uint32_t steps[] = { 50, 100, 200, 400 };

static void test_overflow_pool(void **state)
{
	struct world w;

	world_init(&w, steps, 4);
	w.r.want.pool = 0;
	assert_int_equal(world_traffic(&w, DAY / 2, 1000, HEARD_ACCEPTED), 1000);
	assert_int_equal(w.seen[2], 50);
	assert_in_range(w.seen[0], 465, 485);
	assert_in_range(w.seen[1], 465, 485);
	/* diverted mail: not beyond the allowance either */
	w.plan_sources[0] = 0;
	w.plan_sources[1] = 1;
	w.plans[0].nsources = 2;
	assert_int_equal(policy_reload(w.r.policy, &w.r.params), 0);
	world_deinit(&w);
}

/* The reason told is one whose end would help: a source that is both suspended and without an
 * allowance waits for the suspension, and the mail for whichever source is ready first. Every set
 * of suspended sources, in each way to say it, with the cold one's allowance used, and with the
 * others at their cap. */
static void check_reason(struct world *w, unsigned suspended, bool capped)
{
	struct policy_choice c = rig_choose(&w->r);

	assert_false(c.go);
	if (suspended == 7)
		assert_int_equal(c.reason, HOLD_SUSPENDED);
	else if (suspended == 3) /* the cold one alone is left */
		assert_int_equal(c.reason, HOLD_WARMUP);
	else
		assert_int_equal(c.reason, capped ? HOLD_CAP : HOLD_SUSPENDED);
}

static void test_reasons_of_suspended(void **state)
{
	static const char *const where[] = { NULL, "microsoft365", "203.0.113.0/24" };
	static const char *const names[] = { "a1", "a2", "b1" };

	for (unsigned k = 0; k < COUNT(where) * 16; k++) {
		unsigned suspended = k % 8;
		bool capped = k / 8 % 2;
		uint32_t slots[16], n = 0;
		struct policy_choice c;
		struct world w;

		world_init(&w, steps, 1);
		w.r.want.pool = 0;
		w.r.want.nhosts = 2; /* of one cluster */
		world_traffic(&w, DAY / 2, 1000, HEARD_ACCEPTED);
		assert_int_equal(w.seen[2], 50);
		if (!capped && (suspended & 3) != 3)
			goto next; /* some may go */
		while (capped && n < COUNT(slots) && (c = rig_choose(&w.r)).go)
			slots[n++] = c.slot;
		for (unsigned i = 0; i < 3; i++)
			if (suspended & 1u << i)
				assert_int_equal(policy_suspend(w.r.policy, w.r.now, names[i],
							 where[k / 16], 0),
					0);
		check_reason(&w, suspended, capped);
		if (suspended == 7 && where[k / 16]) { /* all of a place at once */
			for (unsigned i = 0; i < 3; i++)
				policy_resume(w.r.policy, w.r.now, names[i], where[k / 16]);
			assert_int_equal(policy_suspend(w.r.policy, w.r.now, NULL, where[k / 16],
						 w.r.now.wall + HOUR),
				0);
			c = rig_choose(&w.r);
			assert_int_equal(c.reason, HOLD_SUSPENDED);
			assert_int_equal(c.until, w.r.now.mono + HOUR);
		}
	next:
		world_deinit(&w);
	}
}

/* A plan is for one provider: at another the source is as any. */
static void test_another_provider(void **state)
{
	struct world w;

	world_init(&w, steps, 4);
	w.r.want.provider = 1;
	assert_int_equal(world_traffic(&w, HOUR, 500, HEARD_ACCEPTED), 500);
	assert_int_equal(w.seen[2], 500);
	w.r.want.provider = 0;
	assert_int_equal(world_traffic(&w, HOUR, 500, HEARD_ACCEPTED), 50);
	assert_int_equal(world_info(&w, "b1").used, 50);
	world_deinit(&w);
}

static void test_overflow_wait(void **state)
{
	unsigned waits = 0, went = 0;
	struct world w;

	world_init(&w, steps, 4);
	w.plans[0].overflow = OVERFLOW_WAIT;
	w.r.want.pool = 0; /* 1 : 1 : 2 */
	world_pass(&w, 1000);
	for (unsigned n = 0; n < 2000; n++) {
		char domain[32];
		int first, again;

		snprintf(domain, sizeof(domain), "t%u.example", n);
		if (world_send(&w, domain, HEARD_ACCEPTED, &first)) {
			/* a domain has its source */
			if (first == 2)
				continue;
			went++;
			assert_true(world_send(&w, domain, HEARD_ACCEPTED, &again));
			assert_true(again != 2);
		} else {
			assert_int_equal(w.reason, HOLD_WARMUP);
			waits++;
		}
	}
	assert_int_equal(w.seen[2], 50);
	/* half of the domains are b1's, by weight */
	assert_in_range(waits + 50, 900, 1100);
	assert_int_equal(waits + 50 + went, 2000);
	/* an open connection of another source does not take it either */
	{
		struct policy_choice c, why;
		bool retire;
		unsigned refused = 0;

		w.r.want.domain = "t0.example";
		for (unsigned n = 0; !(c = rig_choose(&w.r)).go; n++) {
			static char domain[32];

			snprintf(domain, sizeof(domain), "v%u.example", n);
			w.r.want.domain = domain;
		}
		for (unsigned n = 0; n < 100; n++) {
			char domain[32];

			snprintf(domain, sizeof(domain), "t%u.example", n);
			w.r.want.domain = domain;
			if (rig_admit(&w.r, c.slot, &why, &retire))
				rig_txn_end(&w.r, c.slot, TXN_NOT_BEGUN);
			else
				refused++;
		}
		assert_in_range(refused, 30, 70);
		rig_end(&w.r, c.slot);
	}
	world_deinit(&w);
}

static void test_overflow_named(void **state)
{
	static __typeof__(*((struct pool_params *)0)->members) shared[] = { { 0, 1 } };
	struct pool_params pools[3];
	struct world w;

	world_init(&w, steps, 4);
	world_kill(&w);
	memcpy(pools, w.r.pools, sizeof(w.r.pools));
	pools[2] = (struct pool_params){ (char *)(uintptr_t) "shared", 1, (void *)shared };
	w.r.params.pools = pools;
	w.r.params.npools = 3;
	w.plans[0].overflow = OVERFLOW_NAMED;
	w.plans[0].overflow_pool = 2;
	world_start(&w);
	w.r.want.pool = 1;
	assert_int_equal(world_traffic(&w, DAY / 2, 300, HEARD_ACCEPTED), 300);
	/* two were granted before the process ended: they count as used */
	assert_int_equal(w.seen[2], 48);
	assert_int_equal(w.seen[0], 252);
	assert_int_equal(w.seen[1], 0);
	world_deinit(&w);
}

/* One message, and nothing is saved. */
static struct policy_choice deliver(struct world *w)
{
	struct policy_choice c = rig_choose(&w->r), why;
	bool retire;

	if (!c.go)
		return c;
	assert_true(rig_admit(&w->r, c.slot, &why, &retire));
	world_answer(w, c.slot, HEARD_ACCEPTED);
	rig_end(&w->r, c.slot);
	w->seen[c.source]++;
	return c;
}

/* A burst while the disk is slow: mail waits for each save, and goes by weight as if there were
 * none.
 */
static void test_burst_waits_for_saves(void **state)
{
	unsigned n = 0, waits = 0;
	struct world w;

	world_init(&w, steps, 4);
	w.r.want.pool = 0; /* 1 : 1 : 2 */
	while (n < 100) {
		struct policy_choice c = deliver(&w);

		if (c.go) {
			n++;
			continue;
		}
		assert_int_equal(c.reason, HOLD_WARMUP);
		assert_in_range(c.until - w.r.now.mono, 1, 50);
		assert_false(policy_impatient(&c, w.r.now.mono)); /* diverted mail, too */
		assert_in_range(++waits, 1, 50);
		rig_pass(&w.r, 15);
		world_save(&w);
	}
	assert_int_equal(w.seen[0], 25);
	assert_int_equal(w.seen[1], 25);
	assert_int_equal(w.seen[2], 50);
	assert_true(waits > 10);
	world_deinit(&w);
}

/* Connections that are not up yet are granted for, too: nothing is saved again and again meanwhile.
 */
static void test_saves_for_connections(void **state)
{
	char address[8][32];
	struct world w;

	world_init(&w, steps, 4);
	w.r.want.pool = 1;
	for (unsigned i = 0; i < COUNT(address); i++) {
		snprintf(address[i], sizeof(address[i]), "203.0.%u.1", i);
		w.r.hosts[0].addr = rig_addr(address[i]);
		if (!rig_choose(&w.r).go) {
			world_save(&w);
			assert_false(policy_warmup_wants(w.r.policy));
			assert_true(rig_choose(&w.r).go);
		}
	}
	world_deinit(&w);
}

/* A disk that hangs, or is full: mail goes elsewhere. */
static void test_no_save_comes(void **state)
{
	for (int full = 0; full < 2; full++) {
		struct policy_choice c;
		struct world w;
		unsigned n = 0;

		world_init(&w, steps, 4);
		w.r.want.pool = 0;
		w.disk_full = full;
		do
			c = deliver(&w);
		while (c.go && ++n < 100);
		assert_int_equal(c.reason, HOLD_WARMUP);
		if (full)
			world_save(&w);
		else
			rig_pass(&w.r, 1000);
		for (unsigned i = 0; i < 10; i++) {
			c = deliver(&w);
			assert_true(c.go && c.source != 2);
		}
		world_deinit(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overflow_pool),
		cmocka_unit_test(test_reasons_of_suspended),
		cmocka_unit_test(test_another_provider),
		cmocka_unit_test(test_overflow_wait),
		cmocka_unit_test(test_overflow_named),
		cmocka_unit_test(test_burst_waits_for_saves),
		cmocka_unit_test(test_saves_for_connections),
		cmocka_unit_test(test_no_save_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
