/* Who waits for the same, in virtual time: thousands of domains of one class, and seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postern/must.h"
#include "postern/rng.h"
#include "postern/wait_class.h"

enum { MANY = 5000, PROBES = 16, AGAIN = 1000, PER_GONE = 2, HOUR = 3600000 };

struct world {
	struct waits ws;
	struct parking all[MANY];
	bool probe[MANY]; /* may be read, and was not heard of since */
	ms_t now;
	unsigned nprobes;
};

static const char pool_a, pool_b; /* their addresses are what counts */

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	must(w);
	waits_init(&w->ws);
	for (unsigned i = 0; i < MANY; i++)
		parking_init(&w->all[i]);
	w->now = 1000;
	return w;
}

static void world_free(struct world *w)
{
	for (unsigned i = 0; i < MANY; i++)
		parking_deinit(&w->ws, &w->all[i]);
	waits_deinit(&w->ws); /* no class is left */
	free(w);
}

static unsigned take(struct world *w)
{
	struct parking *pk;
	unsigned n = 0;

	while ((pk = waits_unparked(&w->ws))) {
		w->nprobes += !w->probe[pk - w->all];
		w->probe[pk - w->all] = true;
		n++;
	}
	return n;
}

static const struct wait_for rests = {
	.pool = &pool_a, .cluster = 7, .reason = HOLD_RESTING, .where = "EUR01"
};

static void park(struct world *w, unsigned i, ms_t until)
{
	struct wait_for f = rests;

	f.until = until;
	assert_true(wait_park(&w->ws, &w->all[i], &f, w->now));
	w->nprobes -= w->probe[i];
	w->probe[i] = false;
	take(w);
}

static void gone(struct world *w, unsigned i)
{
	w->nprobes -= w->probe[i];
	w->probe[i] = false;
	wait_gone(&w->ws, &w->all[i], &pool_a);
}

static unsigned run(struct world *w)
{
	waits_run(&w->ws, w->now, 64);
	return take(w);
}

static void all_parked(struct world *w, ms_t until)
{
	for (unsigned i = 0; i < MANY; i++)
		park(w, i, until);
}

/* A resting cluster: nobody is tried before its time; then a few find out, and what they bring lets
 * the others go: all of them within MANY / PROBES rounds, never all at once. */
static void test_rest_is_over(void **state)
{
	struct world *w = world_new();
	unsigned rounds = 0, most = 0, left = MANY;

	all_parked(w, w->now + HOUR);
	assert_int_equal(waits_at(&w->ws), w->now + HOUR);
	w->now += HOUR - 1;
	assert_int_equal(run(w), 0);
	w->now += 1;
	assert_int_equal(run(w), PROBES);
	while (left) { /* each round what was let go gets something away */
		for (unsigned i = 0; i < MANY; i++)
			if (w->probe[i]) {
				gone(w, i);
				left--;
			}
		take(w);
		most = w->nprobes > most ? w->nprobes : most;
		assert_true(++rounds < 20);
	}
	assert_true(most > MANY / 4); /* it doubles */
	assert_int_equal(waits_at(&w->ws), 0);
	world_free(w);
}

/* It rests on: the probes learn it for all, and nobody else was read for that. */
static void test_rest_goes_on(void **state)
{
	struct world *w = world_new();

	all_parked(w, w->now + HOUR);
	w->now += HOUR;
	assert_int_equal(run(w), PROBES);
	for (unsigned i = 0; i < PROBES; i++)
		park(w, i, w->now + HOUR);
	assert_int_equal(w->nprobes, 0);
	assert_int_equal(waits_at(&w->ws), w->now + HOUR);
	w->now += HOUR - 1;
	assert_int_equal(run(w), 0);
	w->now += 1;
	assert_int_equal(run(w), PROBES);
	for (unsigned i = 0; i < PROBES; i++) /* the first were put at the end */
		assert_false(w->probe[i]);
	world_free(w);
}

/* Nothing is heard of the probes: as many more go each second. */
static void test_silent_probes(void **state)
{
	struct world *w = world_new();

	all_parked(w, w->now + HOUR);
	w->now += HOUR;
	for (unsigned k = 0; k < 10; k++, w->now += AGAIN)
		assert_int_equal(run(w), PROBES);
	w->now -= 1;
	assert_int_equal(run(w), 0);
	w->now += 1;
	assert_int_equal(run(w), PROBES);
	world_free(w);
}

/* Who comes later, again and again, with a later time, does not put off those that wait. A time that
 * is earlier counts. */
static void test_newcomers_put_nobody_off(void **state)
{
	struct world *w = world_new();
	ms_t first = w->now + 5000;

	park(w, 0, first);
	for (unsigned i = 1; i < 1000; i++)
		park(w, i, w->now + 5000 + i * 10);
	assert_int_equal(waits_at(&w->ws), first);
	park(w, 1000, first - 2000);
	assert_int_equal(waits_at(&w->ws), first - 2000);
	w->now = first;
	assert_int_equal(run(w), PROBES);
	assert_true(w->probe[0]);
	world_free(w);
}

/* For a place mail waits until one is free, which may be any time: it asks again after a second. */
static void test_place(void **state)
{
	struct world *w = world_new();

	park(w, 0, 0);
	assert_int_equal(waits_at(&w->ws), w->now + AGAIN);
	world_free(w);
}

static void test_operator_asks(void **state)
{
	struct world *w = world_new();

	all_parked(w, w->now + HOUR);
	wait_ask(&w->ws, &w->all[4000], w->now);
	wait_ask(&w->ws, &w->all[3000], w->now);
	w->now += 100;
	assert_int_equal(run(w), PROBES);
	assert_true(w->probe[4000] && w->probe[3000]);
	world_free(w);
}

static void test_something_ended(void **state)
{
	struct world *w = world_new();

	all_parked(w, w->now + HOUR);
	waits_wake(&w->ws, w->now);
	assert_int_equal(run(w), PROBES);
	world_free(w);
}

/* Pools wait apart; a wait of the domain's own is no other's; a new reason takes it elsewhere. */
static void test_classes_are_apart(void **state)
{
	struct world *w = world_new();
	struct wait_for b = rests, alone = rests, f;
	const void *pools[4];

	b.pool = &pool_b;
	b.until = w->now + 50;
	alone.alone = true;
	alone.until = w->now + 70;
	park(w, 0, w->now + HOUR);
	park(w, 1, w->now + HOUR);
	assert_true(wait_park(&w->ws, &w->all[0], &b, w->now));
	assert_int_equal(w->all[0].nparked, 2);
	assert_int_equal(wait_pools(&w->all[0], pools, 4), 2);
	w->now += 50;
	assert_int_equal(run(w), 1);
	assert_true(w->probe[0] && wait_is_parked(&w->all[0], &pool_a));
	assert_false(wait_is_parked(&w->all[0], &pool_b));
	assert_true(wait_tell(&w->all[0], NULL, &f) && f.pool == &pool_a && f.cluster == 7);
	assert_string_equal(f.where, "EUR01");
	assert_true(wait_park(&w->ws, &w->all[1], &alone, w->now));
	assert_int_equal(w->all[1].nparked, 1);
	assert_int_equal(take(w), 1); /* it left the class that it was in */
	assert_true(wait_tell(&w->all[1], &pool_a, &f) && f.alone && !f.cluster);
	w->now += 20;
	assert_int_equal(run(w), 1);
	assert_int_equal(w->all[1].nparked, 0);
	world_free(w);
}

/* ---- seeds ---- */

enum { SOME = 60 };

static void anything(struct world *w, struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, SOME);
	struct wait_for f = rests;

	f.cluster = rng_below(rng, 3);
	f.pool = rng_below(rng, 2) ? &pool_a : &pool_b;
	f.alone = !rng_below(rng, 8);
	f.until = rng_below(rng, 3) ? w->now + (ms_t)rng_below(rng, 20000) : 0;
	switch (rng_below(rng, 8)) {
	case 0:
	case 1:
	case 2:
		assert_true(wait_park(&w->ws, &w->all[i], &f, w->now));
		assert_true(wait_is_parked(&w->all[i], f.pool));
		break;
	case 3:
		wait_gone(&w->ws, &w->all[i], f.pool);
		assert_false(wait_is_parked(&w->all[i], f.pool));
		break;
	case 4:
		if (!rng_below(rng, 10))
			wait_forget(&w->ws, &w->all[i]);
		else
			wait_ask(&w->ws, &w->all[i], w->now);
		break;
	case 5:
		if (!rng_below(rng, 30))
			waits_wake(&w->ws, w->now);
		break;
	default:
		w->now += (ms_t)rng_below(rng, 500);
		waits_run(&w->ws, w->now, 2);
		break;
	}
}

/* Whatever happens: who is parked is counted, has a time at which it is looked at, and is let go
 * within the time that the longest wait and the rounds take. */
static void test_nobody_is_stranded(void **state)
{
	const char *s = getenv("SCHED_SEEDS");
	unsigned seeds = s ? (unsigned)atoi(s) / 10 + 1 : 1000;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct world *w = world_new();
		unsigned parked = 1;
		struct rng rng;
		ms_t end;

		rng_seed(&rng, seed);
		for (unsigned k = 0; k < 500; k++) {
			anything(w, &rng);
			take(w);
		}
		end = w->now + 20000 + (SOME / PROBES + 2) * AGAIN;
		while (parked) {
			const void *pools[4];

			parked = 0;
			for (unsigned i = 0; i < SOME; i++) {
				assert_int_equal(
					wait_pools(&w->all[i], pools, 4), w->all[i].nparked);
				parked += w->all[i].nparked;
			}
			if (!parked)
				break;
			assert_true(waits_at(&w->ws) && waits_at(&w->ws) <= end);
			w->now = waits_at(&w->ws) > w->now ? waits_at(&w->ws) : w->now;
			waits_run(&w->ws, w->now, 64);
			take(w);
		}
		world_free(w);
	}
}

/* Each domain has something that ends while it waits, at another minute; the wait is for a day. Each is
 * let go at its time and no other is, again and again while there is more, and the class as such
 * is tried no sooner. */
static void test_ends(void **state)
{
	struct world *w = world_new();
	struct wait_for f = rests;
	ms_t begun = w->now;
	struct rng r;

	rng_seed(&r, 3);
	f.until = w->now + 24 * HOUR;
	for (unsigned i = 0; i < MANY; i++) {
		f.end = begun + (ms_t)(1 + i % 600) * 60000;
		assert_true(wait_park(&w->ws, &w->all[i], &f, w->now));
	}
	for (unsigned k = 1; k <= 600; k++) {
		struct parking *pk;
		unsigned n = 0;

		assert_int_equal(waits_at(&w->ws), begun + (ms_t)k * 60000);
		w->now = begun + (ms_t)k * 60000;
		waits_run(&w->ws, w->now, 64);
		while ((pk = waits_unparked(&w->ws))) {
			unsigned i = (unsigned)(pk - w->all);

			n++;
			assert_int_equal(1 + i % 600, k);
			assert_true(wait_looks(pk, &pool_a) && wait_looks(pk, NULL));
			assert_false(wait_is_parked(pk, &pool_a));
			assert_int_equal(wait_known_reason(pk, &pool_a), HOLD_RESTING);
			f.end = rng_below(&r, 2) ? begun + 20 * HOUR : 0;
			assert_true(wait_park(&w->ws, pk, &f, w->now));
			assert_false(wait_looks(pk, &pool_a));
		}
		assert_in_range(n, MANY / 600, MANY / 600 + 1);
	}
	assert_int_equal(waits_at(&w->ws), begun + 20 * HOUR);
	world_free(w);
}

/* The first end counts, whoever says it: what is parked, what joins it, what another class had. Many at
 * once are let go in several turns; who is being looked at is left alone for a minute. */
static void test_first_end(void **state)
{
	struct world *w = world_new();
	struct wait_for f = rests;
	unsigned n;

	f.until = w->now + 24 * HOUR;
	f.end = w->now + 5 * HOUR;
	for (unsigned i = 0; i < 1000; i++)
		assert_true(wait_park(&w->ws, &w->all[i], &f, w->now));
	wait_ends(&w->ws, &w->all[7], &pool_a, w->now + 9 * HOUR);
	assert_int_equal(waits_at(&w->ws), w->now + 5 * HOUR);
	wait_ends(&w->ws, &w->all[7], &pool_b, w->now + HOUR); /* not parked */
	assert_int_equal(waits_at(&w->ws), w->now + 5 * HOUR);
	wait_ends(&w->ws, &w->all[7], &pool_a, w->now + 2 * HOUR);
	f.cluster = 8; /* it waits for something else now */
	f.end = 0;
	assert_true(wait_park(&w->ws, &w->all[7], &f, w->now));
	assert_int_equal(waits_at(&w->ws), w->now + 2 * HOUR);
	w->now += 2 * HOUR;
	waits_run(&w->ws, w->now, 64);
	assert_ptr_equal(waits_unparked(&w->ws), &w->all[7]);
	assert_null(waits_unparked(&w->ws));
	wait_ends(&w->ws, &w->all[7], &pool_a, w->now); /* comes while it is looked at */
	waits_run(&w->ws, w->now, 64);
	assert_null(waits_unparked(&w->ws));
	assert_int_equal(waits_at(&w->ws), w->now + 60000);
	wait_forget(&w->ws, &w->all[7]);
	w->now += 3 * HOUR;
	n = run(w);
	assert_int_equal(n, 64);
	while (waits_at(&w->ws) <= w->now)
		n += run(w);
	assert_int_equal(n, 999);
	world_free(w);
}

/* A rest of the cluster is everybody's wait; a domain's own rate, and a host that nobody has, are not. */
static void test_what_a_flow_waits_for(void **state)
{
	const struct waiter rest = { .waiting = true,
		.reason = HOLD_RESTING,
		.cluster = 7,
		.until = 90000,
		.where = "EUR01" };
	const struct waiter others[] = { { .reason = HOLD_DOMAIN_RATE }, { .reason = HOLD_NO_HOST },
		{ .reason = HOLD_CAP, .limit = LIMIT_REFUSED } };
	struct wait_for f;

	wait_of(&f, &rest, &pool_a, 3);
	assert_false(f.alone);
	assert_true(f.pool == &pool_a && f.provider == 3 && f.cluster == 7);
	assert_int_equal(f.until, 90000);
	assert_int_equal(f.reason, HOLD_RESTING);
	assert_string_equal(f.where, "EUR01");
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		wait_of(&f, &others[i], &pool_a, 3);
		assert_true(f.alone);
	}
}

/* Waited in the queue only if it is long, and memory is scarce. */
static void test_what_is_long(void **state)
{
	assert_true(wait_is_long(5001, 501, 4000));
	assert_false(wait_is_long(5000, 501, 4000));
	assert_false(wait_is_long(HOUR, 500, 4000));
	assert_true(wait_is_long(HOUR, 4000, 4000));
	assert_false(wait_is_long(-1, 4000, 4000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rest_is_over),
		cmocka_unit_test(test_rest_goes_on),
		cmocka_unit_test(test_silent_probes),
		cmocka_unit_test(test_newcomers_put_nobody_off),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_operator_asks),
		cmocka_unit_test(test_something_ended),
		cmocka_unit_test(test_classes_are_apart),
		cmocka_unit_test(test_nobody_is_stranded),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_first_end),
		cmocka_unit_test(test_what_a_flow_waits_for),
		cmocka_unit_test(test_what_is_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
