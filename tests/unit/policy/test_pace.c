/* The rate that a receiver takes: found, kept, forgotten, and not believed of noise. Receivers in
 * virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../../relay/policy/pace.h"
#include "postern/policy.h"

#define MINUTE 60000
#define HOUR   (60 * MINUTE)
#define STEP   10
#define MANY   (1u << 16)

/* Takes limit messages in any minute; refuses a share of all as noise. limit 0: none. */
struct receiver {
	unsigned limit;
	double noise;
	ms_t taken[MANY];
	unsigned first, n;
	struct rng rng;
};

static bool takes(struct receiver *r, ms_t at)
{
	while (r->first < r->n && r->taken[r->first % MANY] <= at - MINUTE)
		r->first++;
	if ((r->limit && r->n - r->first >= r->limit) || rng_unit(&r->rng) < r->noise)
		return false;
	r->taken[r->n++ % MANY] = at;
	return true;
}

struct outcome {
	double accepted, refused; /* a minute */
};

/* Mail without end, or so many messages a minute, over a few connections. Counts from a time on. */
struct lane {
	struct pace pace;
	ms_t now;
	double offered, waiting; /* a minute, 0: without end */
	unsigned connections, busy;
	struct {
		ms_t sent, answered;
		bool ok;
	} way[16];
};

static void answer(struct lane *l, struct outcome *o)
{
	for (unsigned i = 0; i < l->busy;) {
		if (l->way[i].answered > l->now) {
			i++;
			continue;
		}
		if (l->way[i].ok)
			pace_accepted(&l->pace, l->now, 1);
		else
			pace_refused(
				&l->pace, (struct policy_now){ l->now, l->now }, l->way[i].sent);
		*(l->way[i].ok ? &o->accepted : &o->refused) += 1;
		l->way[i] = l->way[--l->busy];
	}
}

static struct outcome run(struct lane *l, struct receiver *r, ms_t length)
{
	struct outcome o = { 0 };
	ms_t end = l->now + length, until;

	for (; l->now < end; l->now += STEP) {
		answer(l, &o);
		l->waiting += l->offered * STEP / MINUTE;
		while (l->busy < l->connections && (l->offered <= 0 || l->waiting >= 1) &&
			pace_ready(&l->pace, l->now, l->busy, &until)) {
			pace_take(&l->pace, l->now, 1);
			l->waiting -= 1;
			l->way[l->busy].sent = l->now;
			l->way[l->busy].answered = l->now + 600;
			l->way[l->busy++].ok = takes(r, l->now + 300);
		}
	}
	o.accepted *= (double)MINUTE / (double)length;
	o.refused *= (double)MINUTE / (double)length;
	return o;
}

static struct receiver *receiver(unsigned limit, double noise, uint64_t seed)
{
	struct receiver *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->limit = limit;
	r->noise = noise;
	rng_seed(&r->rng, seed);
	return r;
}

static void assert_used(struct outcome o, unsigned limit, double share, double refused)
{
	if (o.accepted < share * limit || o.refused > refused * (o.accepted + o.refused))
		fail_msg("limit %u: %.1f a minute accepted, %.1f refused", limit, o.accepted,
			o.refused);
}

/* Nine tenths of it are used from the fifth minute on, hour after hour, and hardly any refused. */
static void test_found(void **state)
{
	static const unsigned limits[] = { 10, 30, 120, 600 };

	for (unsigned i = 0; i < 4; i++)
		for (unsigned connections = limits[i] / 90 + 1; connections <= 10;
			connections += 3) {
			struct receiver *r = receiver(limits[i], 0, i);
			struct lane l = { .now = HOUR, .connections = connections };

			run(&l, r, 5 * MINUTE);
			assert_used(run(&l, r, HOUR), limits[i], 0.88, 0.02);
			assert_used(run(&l, r, 3 * HOUR), limits[i], 0.89, 0.02);
			assert_true(l.pace.ceiling > limits[i] * 0.9 &&
				    l.pace.ceiling < limits[i] * 1.1);
			free(r);
		}
}

/* What changes is found again within minutes, downwards and upwards. */
static void test_changed(void **state)
{
	struct receiver *r = receiver(120, 0, 1);
	struct lane l = { .now = HOUR, .connections = 8 };

	run(&l, r, HOUR);
	r->limit = 40;
	run(&l, r, 5 * MINUTE);
	assert_used(run(&l, r, HOUR), 40, 0.85, 0.1);
	r->limit = 240;
	run(&l, r, 40 * MINUTE);
	assert_used(run(&l, r, HOUR), 240, 0.85, 0.02);
	r->limit = 0;
	run(&l, r, 2 * HOUR);
	assert_true(run(&l, r, 10 * MINUTE).accepted > 700);
	free(r);
}

/* Refusals that come at any rate are no limit: mail goes as it is offered. */
static void test_noise(void **state)
{
	static const double shares[] = { 0.02, 0.05, 0.08, 0.3 };

	for (unsigned i = 0; i < 4; i++)
		for (uint64_t seed = 1; seed <= 5; seed++) {
			struct receiver *r = receiver(0, shares[i], seed);
			struct lane l = { .now = HOUR, .offered = 60, .connections = 10 };
			struct outcome o;

			run(&l, r, 10 * MINUTE);
			o = run(&l, r, 2 * HOUR);
			if (o.accepted + o.refused < 60 * (shares[i] < 0.2 ? 0.97 : 0.9))
				fail_msg("noise %.0f %%, seed %u: %.1f of 60 a minute go",
					shares[i] * 100, (unsigned)seed, o.accepted + o.refused);
			free(r);
		}
}

/* A few messages a minute below the limit are not held up by it. */
static void test_little(void **state)
{
	struct receiver *r = receiver(120, 0, 1);
	struct lane l = { .now = HOUR, .offered = 30, .connections = 4 };
	struct outcome o = run(&l, r, HOUR);

	assert_true(o.refused < 0.01 && o.accepted > 29);
	assert_true(l.pace.rate <= 0);
	free(r);
}

/* Nothing is accepted any more: no limit explains that. */
static void test_sick(void **state)
{
	struct pace p = { 0 };
	ms_t now = HOUR, until;

	for (unsigned i = 0; i < 60; i++)
		pace_accepted(&p, now += 500, 1);
	now += 2 * MINUTE;
	for (unsigned i = 0; i < 10; i++) {
		now += 1000;
		assert_int_equal(pace_refused(&p, (struct policy_now){ now, now }, now - 300),
			PACE_UNRELATED);
	}
	assert_true(pace_ready(&p, now, 0, &until));
}

/* An earlier process's finding holds, and something else that explains the refusals takes it back.
 */
static void test_loaded(void **state)
{
	struct pace p = { 0 };
	ms_t now = HOUR, until = 0;
	unsigned n = 0;

	pace_load(&p, 56, 60, now, now);
	for (ms_t end = now + MINUTE / 2; now < end; now += STEP)
		if (pace_ready(&p, now, 0, &until)) {
			pace_take(&p, now, 1);
			pace_accepted(&p, now, 1);
			n++;
		}
	assert_in_range(n, 26, 33);
	p = (struct pace){ 0 };
	pace_load(&p, -1, 60, now, now);
	pace_load(&p, 1e300, 1e300, now, now);
	assert_true(p.rate <= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_little),
		cmocka_unit_test(test_sick),
		cmocka_unit_test(test_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
