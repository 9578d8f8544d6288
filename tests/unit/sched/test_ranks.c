/* Ranks: shares by weight, who comes is next, and nobody starves, whatever comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/places.h"
#include "postern/ranks.h"
#include "postern/rng.h"
#include "postern/turns.h"

enum { ALL = (1 << RANKS) - 1, ROUND = 1 + 4 + 16 + 64 + 256 };

static unsigned take(struct ranks *r, unsigned of)
{
	unsigned rank = ranks_next(r, of);

	assert_true(of & 1u << rank);
	ranks_took(r, rank);
	return rank;
}

static void test_weights(void **state)
{
	unsigned got[RANKS] = { 0 };
	struct ranks r = { 0 };

	for (unsigned n = 0; n < 10 * ROUND; n++)
		got[take(&r, ALL)]++;
	for (unsigned i = 0; i < RANKS; i++)
		assert_int_equal(got[i], 10 << 2 * (RANKS - 1 - i));
}

/* Alone for a long time, a rank has used nothing up that it would have to wait for, and who was away
 * has nothing to catch up with. */
static void test_comes_and_goes(void **state)
{
	unsigned got[RANKS] = { 0 };
	struct ranks r = { 0 };

	for (unsigned n = 0; n < 1000000; n++)
		assert_int_equal(take(&r, 1u << RANK_NORMAL), RANK_NORMAL);
	ranks_join(&r, 0);
	assert_int_equal(take(&r, 1u | 1u << RANK_NORMAL), 0);
	ranks_join(&r, 4);
	for (unsigned n = 0; n < 10 * (256 + 16 + 1); n++)
		got[take(&r, 1u | 1u << RANK_NORMAL | 1u << 4)]++;
	assert_in_range(got[0], 9 * 256, 11 * 256);
	assert_in_range(got[RANK_NORMAL], 9 * 16, 11 * 16);
	assert_in_range(got[4], 8, 12);
}

/* A higher rank that comes with one message at a time, just before each place, has its share only. */
static void test_flapping(void **state)
{
	unsigned low = 0;
	struct ranks r = { 0 };

	for (unsigned n = 0; n < 1000; n++) {
		ranks_join(&r, 0);
		low += take(&r, 1u | 1u << RANK_NORMAL) == RANK_NORMAL;
	}
	assert_in_range(low, 1000 / 17 - 2, 1000 / 17 + 2);
}

/* Every rank that stays has a place within a round, whoever comes and goes beside it. */
static void test_nobody_starves(void **state)
{
	for (unsigned seed = 1; seed <= 200; seed++) {
		unsigned waited[RANKS] = { 0 }, of = 1u << RANK_NORMAL | 1u << (RANKS - 1);
		struct ranks r = { 0 };
		struct rng rng;

		rng_seed(&rng, seed);
		for (unsigned n = 0; n < 20000; n++) {
			unsigned k = (unsigned)rng_below(&rng, 4);

			if (k != RANK_NORMAL) {
				of ^= 1u << k;
				if (of & 1u << k)
					ranks_join(&r, k);
			}
			for (unsigned i = 0; i < RANKS; i++)
				waited[i] = of & 1u << i ? waited[i] + 1 : 0;
			waited[take(&r, of)] = 0;
			if (waited[RANK_NORMAL] > 2 * (1 + 4 + 16) || waited[RANKS - 1] > 2 * ROUND)
				fail_msg("seed %u: %u and %u places", seed, waited[RANK_NORMAL],
					waited[RANKS - 1]);
		}
	}
}

/* At a host: the higher rank's flow is offered first, though it came last; a pool that does not serve
 * in it leaves the turn to the next rank. */
static void test_at_a_host(void **state)
{
	struct turn_link links[3] = { 0 };
	struct turns_here here;
	struct turns ts = { 0 };
	const char pool = 0, party[3] = { 0 };
	const unsigned ranks[3] = { RANK_NORMAL, 4, 0 };

	turns_here_init(&here);
	assert_int_equal(turns_ranks(&here), 0);
	for (unsigned i = 0; i < 3; i++) {
		const struct turn_for f = { &pool, &party[i], ranks[i] };

		assert_true(turns_join(&ts, &here, &f, &links[i]));
	}
	assert_int_equal(turns_ranks(&here), 1u | 1u << RANK_NORMAL | 1u << 4);
	assert_int_equal(ranks_next(&here.ranks, turns_ranks(&here)), 0);
	assert_ptr_equal(turns_next(&here, 0, NULL, NULL), &links[2]);
	assert_null(turns_next(&here, 1, NULL, NULL));
	assert_ptr_equal(turns_first(&here), &links[2]);
	assert_ptr_equal(turns_after(&here, &links[2]), &links[0]);
	assert_ptr_equal(turns_after(&here, &links[0]), &links[1]);
	assert_null(turns_after(&here, &links[1]));
	for (unsigned i = 0; i < 3; i++)
		turns_leave(&ts, &links[i]);
	assert_int_equal(turns_ranks(&here), 0);
	turns_deinit(&ts);
}

/* Of those that ask for a place the higher rank looks first; one that is given another rank keeps its
 * question. */
static void test_who_looks(void **state)
{
	struct waiter all[4];
	struct places ps;

	places_init(&ps);
	assert_true(places_reserve(&ps, 4));
	for (unsigned i = 0; i < 4; i++) {
		waiter_init(&all[i]);
		waiter_ask(&ps, &all[i]);
	}
	waiter_rank(&ps, &all[2], 0);
	waiter_rank(&ps, &all[0], RANKS - 1);
	assert_ptr_equal(places_asking(&ps), &all[2]);
	assert_ptr_equal(places_asking(&ps), &all[1]);
	assert_ptr_equal(places_asking(&ps), &all[3]);
	assert_ptr_equal(places_asking(&ps), &all[0]);
	assert_null(places_asking(&ps));
	/* the same of those that wait for a place which is free again */
	for (unsigned i = 0; i < 4; i++) {
		const struct policy_choice why = { .reason = HOLD_CAP };

		waiter_wait(&ps, &all[i], &why, i != 2, 1000);
	}
	places_freed_any(&ps, 1);
	assert_ptr_equal(places_asking(&ps), &all[2]);
	assert_ptr_equal(places_asking(&ps), &all[1]);
	assert_ptr_equal(places_asking(&ps), &all[0]);
	assert_null(places_asking(&ps));
	for (unsigned i = 0; i < 4; i++)
		waiter_deinit(&ps, &all[i]);
	places_deinit(&ps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_comes_and_goes),
		cmocka_unit_test(test_flapping),
		cmocka_unit_test(test_nobody_starves),
		cmocka_unit_test(test_at_a_host),
		cmocka_unit_test(test_who_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
