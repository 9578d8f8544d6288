/* Turns at a host: shares of pools, of parties in a pool, of flows of a party, whatever comes and
 * goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/rng.h"
#include "postern/turns.h"

enum { POOLS = 3, PARTIES = 6, FLOWS = 60 };

struct flow {
	struct turn_link turn;
	unsigned got;
};
struct world {
	struct turns turns;
	struct turns_here host;
	char pools[POOLS], parties[PARTIES]; /* their addresses tell them apart */
	struct flow all[FLOWS];
};

static void init(struct world *w)
{
	*w = (struct world){ 0 };
	turns_here_init(&w->host);
}

/* Pool 0 has four parties, the others one each; of the flows most are party 0's. */
static unsigned party_of(unsigned flow)
{
	return flow < FLOWS / 2 ? 0 : flow % PARTIES;
}

static unsigned pool_of(unsigned flow)
{
	unsigned party = party_of(flow);

	return party < 4 ? 0 : party - 3;
}

static void join(struct world *w, unsigned i)
{
	const struct turn_for f = { &w->pools[pool_of(i)], &w->parties[party_of(i)], RANK_NORMAL };

	assert_true(turns_join(&w->turns, &w->host, &f, &w->all[i].turn));
}

static void leave_all(struct world *w)
{
	for (unsigned i = 0; i < FLOWS; i++)
		if (w->all[i].turn.seat)
			turns_leave(&w->turns, &w->all[i].turn);
	assert_int_equal(turns_ranks(&w->host), 0);
	assert_null(w->turns.seats);
	turns_deinit(&w->turns);
}

static struct flow *next(struct world *w, bool (*serves)(const void *, const void *))
{
	struct turn_link *l = turns_next(&w->host, RANK_NORMAL, serves, w);

	return l ? container(l, struct flow, turn) : NULL;
}

static void test_shares(void **state)
{
	unsigned pools[POOLS] = { 0 }, parties[PARTIES] = { 0 };
	struct world w;

	init(&w);
	assert_null(next(&w, NULL));
	for (unsigned i = 0; i < FLOWS; i++)
		join(&w, i);
	for (unsigned n = 0; n < POOLS * 4 * FLOWS; n++)
		next(&w, NULL)->got++;
	for (unsigned i = 0; i < FLOWS; i++) {
		pools[pool_of(i)] += w.all[i].got;
		parties[party_of(i)] += w.all[i].got;
	}
	for (unsigned p = 0; p < POOLS; p++) /* though one has most of the flows */
		assert_int_equal(pools[p], 4 * FLOWS);
	for (unsigned p = 0; p < 4; p++)
		assert_int_equal(parties[p], FLOWS);
	for (unsigned i = 1; i < FLOWS / 2; i++) /* party 0's flows: alike, but for one turn */
		assert_true(w.all[i].got - w.all[0].got + 1 <= 2);
	leave_all(&w);
}

static bool serves_not_first(const void *world, const void *pool)
{
	return pool != ((const struct world *)world)->pools;
}

static bool serves_none(const void *world, const void *pool)
{
	return false;
}

static void test_pools_that_serve(void **state)
{
	struct world w;

	init(&w);
	for (unsigned i = 0; i < FLOWS; i++)
		join(&w, i);
	for (unsigned n = 0; n < 2 * FLOWS; n++)
		next(&w, serves_not_first)->got++;
	for (unsigned i = 0; i < FLOWS; i++)
		assert_true(pool_of(i) || !w.all[i].got);
	assert_null(next(&w, serves_none));
	leave_all(&w);
}

static void test_walk(void **state)
{
	unsigned n = 0;
	struct world w;

	init(&w);
	assert_null(turns_first(&w.host));
	for (unsigned i = 0; i < FLOWS; i++)
		join(&w, i);
	for (struct turn_link *l = turns_first(&w.host); l; l = turns_after(&w.host, l), n++)
		container(l, struct flow, turn)->got++;
	assert_int_equal(n, FLOWS);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_equal(w.all[i].got, 1);
	leave_all(&w);
}

/* Flows that stay have their turn within a bound, whoever comes and goes beside them. */
static void test_nobody_starves(void **state)
{
	const char *s = getenv("SCHED_SEEDS");
	unsigned seeds = s ? (unsigned)atoi(s) / 10 + 1 : 300;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		unsigned waited[FLOWS] = { 0 };
		struct world w;
		struct rng rng;

		init(&w);
		rng_seed(&rng, seed);
		for (unsigned i = 0; i < FLOWS; i += 2) /* the even ones stay */
			join(&w, i);
		for (unsigned n = 0; n < 3000; n++) {
			unsigned k = 1 + 2 * (unsigned)rng_below(&rng, FLOWS / 2);
			struct flow *f;

			if (w.all[k].turn.seat)
				turns_leave(&w.turns, &w.all[k].turn);
			else
				join(&w, k);
			f = next(&w, NULL);
			for (unsigned i = 0; i < FLOWS; i += 2)
				if (waited[i]++ > POOLS * 4 * FLOWS)
					fail_msg("seed %u: flow %u has no turn", seed, i);
			waited[f - w.all] = 0;
		}
		leave_all(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_pools_that_serve),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_nobody_starves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
