/* Who waits for a place looks next, in virtual time; and what follows from the policy's no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postern/match.h"
#include "postern/must.h"
#include "postern/places.h"
#include "postern/rng.h"

enum { FLOWS = 200, NOW = 1000, MINUTE = 60000 };

struct world {
	struct places ps;
	struct waiter all[FLOWS];
};

static void init(struct world *w)
{
	places_init(&w->ps);
	assert_true(places_reserve(&w->ps, FLOWS));
	for (unsigned i = 0; i < FLOWS; i++)
		waiter_init(&w->all[i]);
}

static void deinit(struct world *w)
{
	for (unsigned i = 0; i < FLOWS; i++)
		waiter_deinit(&w->ps, &w->all[i]);
	assert_int_equal(places_at(&w->ps), 0);
	places_deinit(&w->ps);
}

static void waits(struct world *w, unsigned i, enum hold_reason reason, const char *where,
	ms_t until, bool much)
{
	struct policy_choice why = { .reason = reason, .until = until };

	snprintf(why.cluster, sizeof(why.cluster), "%s", where);
	waiter_wait(&w->ps, &w->all[i], &why, much, NOW);
}

/* The number of who looks next; FLOWS: nobody. */
static unsigned next(struct world *w)
{
	struct waiter *x = places_asking(&w->ps);

	return x ? (unsigned)(x - w->all) : FLOWS;
}

static void test_asks_once_in_order(void **state)
{
	struct world w;

	init(&w);
	waiter_ask(&w.ps, &w.all[3]);
	waiter_ask(&w.ps, &w.all[1]);
	waiter_ask(&w.ps, &w.all[3]);
	assert_int_equal(next(&w), 3);
	waiter_ask(&w.ps, &w.all[3]);
	assert_int_equal(next(&w), 1);
	assert_int_equal(next(&w), 3);
	assert_int_equal(next(&w), FLOWS);
	deinit(&w);
}

/* A wait ends at its time, and is looked at within the minute; one for a place ends with a place. */
static void test_times(void **state)
{
	struct world w;

	init(&w);
	waits(&w, 0, HOLD_RESTING, "", NOW + 100, false);
	waits(&w, 1, HOLD_RESTING, "", NOW + 10 * MINUTE, false);
	waits(&w, 2, HOLD_RATE, "", NOW - 5, false);
	assert_false(w.all[0].for_place || w.all[1].for_place);
	assert_int_equal(places_at(&w.ps), NOW + 1); /* never at once: nothing has changed */
	assert_ptr_equal(places_due(&w.ps, NOW + 1), &w.all[2]);
	assert_true(w.all[2].waiting); /* until its owner says so */
	waiter_over(&w.ps, &w.all[2]);
	assert_ptr_equal(places_due(&w.ps, NOW + 100), &w.all[0]);
	assert_ptr_equal(places_due(&w.ps, NOW + MINUTE), &w.all[1]);
	assert_null(places_due(&w.ps, NOW + MINUTE));
	places_freed_any(&w.ps, FLOWS);
	assert_int_equal(next(&w), 2);
	assert_int_equal(next(&w), FLOWS);
	deinit(&w);
}

/* A cap may end at any time, also where the policy named one. */
/* What may be asked at any time is asked often. It is looked at all the same, once a minute. */
static void test_looked_at(void **state)
{
	struct world w;
	unsigned looks = 0;

	init(&w);
	waits(&w, 0, HOLD_SUSPENDED, "", 0, false);
	for (ms_t now = NOW; now < NOW + 10 * MINUTE; now += 1000) {
		const struct policy_choice why = { .reason = HOLD_SUSPENDED };

		places_freed_any(&w.ps, 256);
		while (places_asking(&w.ps))
			waiter_wait(&w.ps, &w.all[0], &why, false, now);
		while (places_due(&w.ps, now)) {
			looks++;
			waiter_over(&w.ps, &w.all[0]);
		}
	}
	assert_in_range(looks, 9, 10);
	deinit(&w);
}

/* It asked and was refused after its look had come due: that wakes now, for a clock in virtual time
 * goes where the next wake says. */
static void test_no_wake_in_the_past(void **state)
{
	const struct policy_choice soon = { .reason = HOLD_RATE, .until = NOW + 2 * MINUTE + 500 };
	struct world w;

	init(&w);
	waits(&w, 0, HOLD_SUSPENDED, "", 0, false);
	for (ms_t now = NOW; now < NOW + 3 * MINUTE; now += 90000) {
		waiter_over(&w.ps, &w.all[0]);
		assert_non_null(places_asking(&w.ps));
		waiter_wait(&w.ps, &w.all[0], &soon, false, now);
		assert_in_range(places_at(&w.ps), now, now + MINUTE);
	}
	assert_non_null(places_due(&w.ps, NOW + 90000));
	deinit(&w);
}

static void test_cap_is_for_place(void **state)
{
	struct world w;

	init(&w);
	waits(&w, 0, HOLD_CAP, "EUR01", NOW + 5000, false);
	waits(&w, 1, HOLD_WINDOW, "EUR01", 0, false);
	waits(&w, 2, HOLD_WINDOW, "NAM12", 0, false);
	places_freed(&w.ps, "EUR01");
	assert_int_equal(next(&w), 0);
	assert_int_equal(next(&w), 1);
	assert_int_equal(next(&w), FLOWS);
	assert_true(w.all[2].waiting);
	waiter_stop(&w.ps, &w.all[2]); /* its work has gone another way */
	assert_int_equal(w.all[2].reason, HOLD_NONE);
	places_freed_any(&w.ps, 1);
	assert_int_equal(next(&w), FLOWS);
	deinit(&w);
}

/* Those of few first, one place of four for those that have much; who was given way to before all. */
static void test_few_before_much(void **state)
{
	unsigned few = 0;
	struct world w;

	init(&w);
	for (unsigned i = 0; i < 100; i++)
		waits(&w, i, HOLD_CAP, "EUR01", 0, true);
	for (unsigned i = 100; i < FLOWS; i++)
		waits(&w, i, HOLD_CAP, "EUR01", 0, false);
	places_freed_any(&w.ps, 40);
	for (unsigned n = 0; n < 40; n++)
		few += next(&w) >= 100;
	assert_int_equal(few, 30);
	deinit(&w);

	init(&w);
	w.all[7].unserved = true;
	waits(&w, 7, HOLD_CAP, "EUR01", 0, true);
	for (unsigned i = 20; i < 60; i++)
		waits(&w, i, HOLD_CAP, "EUR01", 0, true);
	for (unsigned k = 0; k < 4; k++) {
		places_freed_any(&w.ps, 1);
		assert_int_equal(next(&w), 7);
		waits(&w, 7, HOLD_CAP, "EUR01", 0, true);
	}
	deinit(&w);
}

/* Flows that always have work, and one place that is left again and again: whose turns differ by no
 * more than one in each group, whatever the seed. */
static void test_nobody_starves(void **state)
{
	const char *s = getenv("SCHED_SEEDS");
	unsigned seeds = s ? (unsigned)atoi(s) / 50 + 1 : 100;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		unsigned got[FLOWS] = { 0 }, n = 0, least = UINT32_MAX, most = 0;
		struct world w;
		struct rng rng;

		init(&w);
		rng_seed(&rng, seed);
		for (unsigned i = 0; i < FLOWS; i++)
			waits(&w, i, HOLD_CAP, "EUR01", 0, i % 2);
		while (n < FLOWS * 20) {
			unsigned i;

			if (rng_below(&rng, 2))
				places_freed(&w.ps, "EUR01");
			else
				places_freed_any(&w.ps, 1 + (unsigned)rng_below(&rng, 4));
			i = next(&w);
			got[i]++;
			n++;
			waits(&w, i, HOLD_CAP, "EUR01", 0, i % 2);
			/* the place is taken: the others that looked wait on, in their order */
			while ((i = next(&w)) < FLOWS)
				waits(&w, i, HOLD_CAP, "EUR01", 0, i % 2);
		}
		for (unsigned i = 0; i < FLOWS; i++) {
			least = got[i] < least ? got[i] : least;
			most = got[i] > most ? got[i] : most;
		}
		if (!least)
			fail_msg("seed %u: one never had a place, another %u times", seed, most);
		deinit(&w);
	}
}

/* ---- what follows from a no ---- */

static const struct {
	enum hold_reason reason;
	ms_t until;
	bool diverted;
	enum match_no no;
} refusals[] = {
	{ HOLD_SENDER, NOW + 5, false, MATCH_ASIDE },
	{ HOLD_SENDER, NOW + 5, true, MATCH_ASIDE },
	{ HOLD_BLOCKED, 0, false, MATCH_WAIT },
	{ HOLD_BLOCKED, 0, true, MATCH_REJOIN },
	{ HOLD_CAP, 0, false, MATCH_WAIT_PLACE },
	{ HOLD_CAP, 0, true, MATCH_WAIT_PLACE },
	{ HOLD_CAP, NOW + 2 * MINUTE, true, MATCH_GIVE_UP },
	{ HOLD_WINDOW, 0, false, MATCH_WAIT_PLACE },
	{ HOLD_RATE, NOW + 500, true, MATCH_WAIT },
	{ HOLD_RATE, NOW + 2 * MINUTE, false, MATCH_WAIT },
	{ HOLD_RESTING, NOW + MINUTE, false, MATCH_WAIT },
	{ HOLD_RESTING, NOW + MINUTE, true, MATCH_GIVE_UP },
	{ HOLD_WARMUP, NOW + 100, true, MATCH_WAIT },
	{ HOLD_WARMUP, NOW + MINUTE, true, MATCH_GIVE_UP },
	{ HOLD_SUSPENDED, 0, true, MATCH_WAIT },
	{ HOLD_NO_HOST, 0, true, MATCH_GIVE_UP },
	{ HOLD_NO_HOST, 0, false, MATCH_WAIT },
};

static const struct {
	enum hold_reason reason;
	ms_t until;
	bool retire;
	enum match_declined declined;
} declines[] = {
	{ HOLD_NONE, 0, true, MATCH_RETIRE },
	{ HOLD_SENDER, NOW + 5, false, MATCH_SET_ASIDE },
	{ HOLD_BACKOFF, NOW + 5, false, MATCH_DOMAIN_WAITS },
	{ HOLD_DOMAIN_RATE, NOW + 5, false, MATCH_DOMAIN_WAITS },
	{ HOLD_NO_SOURCE, 0, false, MATCH_OTHER_FLOW },
	{ HOLD_NO_HOST, 0, false, MATCH_OTHER_FLOW },
	{ HOLD_RATE, NOW + 5, false, MATCH_PAUSE },
	{ HOLD_RESTING, 0, false, MATCH_STAY },
};

static void test_what_follows(void **state)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		const struct policy_choice why = { .reason = refusals[i].reason,
			.until = refusals[i].until };

		if (match_refused(&why, refusals[i].diverted, NOW) != refusals[i].no)
			fail_msg("refusal %zu", i);
	}
	for (size_t i = 0; i < sizeof(declines) / sizeof(*declines); i++) {
		const struct policy_choice why = { .reason = declines[i].reason,
			.until = declines[i].until,
			.retire = declines[i].retire };

		if (match_declined(&why) != declines[i].declined)
			fail_msg("decline %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asks_once_in_order),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_looked_at),
		cmocka_unit_test(test_no_wake_in_the_past),
		cmocka_unit_test(test_cap_is_for_place),
		cmocka_unit_test(test_few_before_much),
		cmocka_unit_test(test_nobody_starves),
		cmocka_unit_test(test_what_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
