/* Limits under everything that moves them, seed after seed: all caps at once with hosts that are
 * not known yet, idle connections, noise and restarts; windows and rates for diverted mail; what is
 * held uses up no retry. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

static const struct model_reply good = { VERDICT_DELIVERED, SCOPE_DEFAULT, 250, NULL };
static const struct model_reply noise = { VERDICT_DESTINATION_BUSY, SCOPE_CLUSTER, 451,
	"4.7.0 Temporary server error. Please try again later. PRX5" };
static const struct model_reply busy = { VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, 451,
	"4.7.500 Server busy. Please try again later from [10.0.0.1]. (S77714)" };

static struct model_reply answer_good(struct model *m, const struct model_try *t)
{
	(void)m;
	(void)t;
	return good;
}

static struct model_reply answer_noisy(struct model *m, const struct model_try *t)
{
	double u = rng_unit(&m->rng);

	(void)t;
	return u < 0.03 ? noise : u < 0.05 ? busy : good;
}

static void params_random(struct model_params *p, uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, seed * 7919);
	*p = (struct model_params){ .seed = seed,
		.sources = 8,
		.per_subnet = 2,
		.clusters = 6,
		.tenants = 300,
		.hosts_per_tenant = 3,
		.provider = model_provider(),
		.answer = answer_noisy };
	p->provider.connections = 2 + (uint32_t)rng_below(&rng, 40);
	p->provider.connections_per_geography = 2 + (uint32_t)rng_below(&rng, 20);
	p->provider.connections_per_cluster = 1 + (uint32_t)rng_below(&rng, 12);
	p->provider.connections_per_cluster_subnet = 1 + (uint32_t)rng_below(&rng, 6);
	p->provider.connections_per_lane = 1 + (uint32_t)rng_below(&rng, 4);
	p->provider.messages_per_connection = 1 + (uint32_t)rng_below(&rng, 30);
	p->provider.lane_message_rate.count = 20 + (uint32_t)rng_below(&rng, 400);
	p->provider.lane_connect_rate.count = 5 + (uint32_t)rng_below(&rng, 60);
	p->provider.connection_idle_max = 200 + (ms_t)rng_below(&rng, 20000);
}

/* All kinds at once, each of them binding in some seeds; bursts, lulls, restarts. */
static void test_all_caps(void **state)
{
	unsigned seeds = model_seeds(40), near_provider = 0, near_geography = 0, near_cluster = 0;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct model_params p;
		struct model m;

		params_random(&p, seed);
		model_init(&m, &p);
		for (unsigned burst = 0; burst < 6; burst++)
			for (unsigned k = 0; k < 300; k++)
				model_send(&m, MINUTES(burst) + (ms_t)rng_below(&m.rng, 3000),
					(unsigned)rng_below(&m.rng, p.tenants));
		model_traffic(&m, 0, MINUTES(6), 3, 0, 0);
		for (unsigned k = 1; k < 6; k++) {
			model_run(&m, MINUTES(k) + (ms_t)rng_below(&m.rng, 4000));
			if (seed % 2)
				model_restart(&m);
		}
		model_finish(&m, MINUTES(2880));
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		near_provider += m.provider_peak == p.provider.connections;
		for (unsigned g = 0; g < MODEL_GEOS; g++)
			near_geography += m.geo_peak[g] == p.provider.connections_per_geography;
		for (unsigned c = 0; c < p.clusters; c++)
			near_cluster += m.clusters[c].peak == p.provider.connections_per_cluster;
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_int_equal(m.total.bounced, 0);
		model_deinit(&m);
	}
	print_message("all caps: %u seeds; reached: provider %u, geography %u, cluster %u times\n",
		seeds, near_provider, near_geography, near_cluster);
	assert_true(seeds < 40 || (near_provider > 2 && near_geography > 2 && near_cluster > 10));
}

/* Nothing is ever refused: then whatever waits, waits for us, and no attempt is spent on it. */
static void test_holds(void **state)
{
	unsigned seeds = model_seeds(40);
	uint64_t held = 0;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct model_params p;
		struct model m;

		params_random(&p, seed);
		p.answer = answer_good;
		model_init(&m, &p);
		for (unsigned k = 0; k < 2000; k++)
			model_send(&m, (ms_t)rng_below(&m.rng, 2000),
				(unsigned)rng_below(&m.rng, p.tenants));
		model_finish(&m, MINUTES(2880));
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_int_equal(m.total.attempts, m.total.sent);
		assert_int_equal(m.total.deferred + m.total.diverted + m.total.bounced, 0);
		held += m.total.held;
		model_deinit(&m);
	}
	print_message("holds: %u seeds, %llu holds, no retry\n", seeds, (unsigned long long)held);
	assert_true(held > 100 * (uint64_t)seeds);
}

/* Killed at any moment, mostly before anything that it learned was saved: rates and caps hold as if
 * it had not been. */
static void test_killed(void **state)
{
	unsigned seeds = model_seeds(40);
	uint64_t opened = 0;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct model_params p;
		struct model m;

		params_random(&p, seed);
		p.provider.lane_message_rate.count = 20 + seed % 100;
		p.provider.lane_connect_rate.count = 2 + seed % 60;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(4), 20, 0, 0);
		for (unsigned k = 0; k < 60; k++) {
			model_run(&m, m.now + (ms_t)rng_below(&m.rng, k % 3 ? 1500 : 5000));
			model_restart(&m);
			if (model_caps(&m))
				fail_msg("seed %u, kill %u: cap of %s", seed, k, model_caps(&m));
		}
		model_finish(&m, MINUTES(2880));
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		assert_int_equal(m.total.delivered, m.total.sent);
		opened += m.total.opened;
		model_deinit(&m);
	}
	print_message("killed: %u seeds, %llu connections\n", seeds, (unsigned long long)opened);
	assert_true(opened > 100 * (uint64_t)seeds);
}

/* One or two clusters with a long backlog have all that their lanes may have: by the cluster's cap,
 * or by each lane's own. A tenant whose cluster nobody knows yet has one message. */
static void test_newcomer(void **state)
{
	unsigned seeds = model_seeds(40);
	ms_t slowest = 0;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++) {
		unsigned full = 1 + seed % 2;
		struct model_params p = { .seed = seed,
			.sources = 2 + 2 * (seed / 2 % 3),
			.per_subnet = 2,
			.clusters = 3,
			.tenants = 300,
			.hosts_per_tenant = 4,
			.provider = model_provider(),
			.answer = answer_good };
		struct model m;
		ms_t at, took;

		p.provider.lane_message_rate.count = p.provider.lane_connect_rate.count = 0;
		p.provider.messages_per_connection = 500;
		if (seed / 6 % 2) /* so that the lanes' caps are met first */
			p.provider.connections_per_cluster = 60;
		p.provider.connections_per_lane = 2 + seed % 4;
		model_init(&m, &p);
		m.clusters[0].rtt = m.clusters[1].rtt = m.clusters[2].rtt = 100;
		for (unsigned k = 0; k < 40000; k++)
			model_send(&m, 0, (unsigned)rng_below(&m.rng, 100) * 3 + k % full);
		at = SECONDS(8) + (ms_t)rng_below(&m.rng, 4000);
		model_send(&m, at, 2);
		model_run(&m, at);
		assert_true(model_waiting(&m) > 10000);
		model_run(&m, at + MINUTES(1));
		assert_int_equal(m.clusters[2].delivered, 1);
		took = m.clusters[2].delivered_at - at;
		if (took > slowest)
			slowest = took;
		/* room is made once in two seconds; seldom it takes a second time */
		if (took > 3000)
			fail_msg("seed %u: %u ms", seed, (unsigned)took);
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		model_deinit(&m);
	}
	print_message("newcomer: %u seeds, at most %u ms\n", seeds, (unsigned)slowest);
}

struct sickness {
	ms_t from, until;
	unsigned subnet;
};

static struct model_reply one_subnet(struct model *m, const struct model_try *t)
{
	const struct sickness *s = m->p.arg;

	return t->subnet == s->subnet && t->now >= s->from && t->now < s->until ? busy : good;
}

/* Three subnets of four are full or sick: what is diverted goes on the fourth inside its window and
 * rate, and what is over waits. */
static void test_diverted(void **state)
{
	unsigned seeds = model_seeds(40);
	uint64_t diverted = 0;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct sickness s = { MINUTES(2), MINUTES(12), seed % 4 };
		struct model_params p;
		struct model m;

		params_random(&p, seed);
		p.answer = one_subnet;
		p.arg = &s;
		p.clusters = 2;
		p.provider.connections = p.provider.connections_per_geography = 0;
		p.provider.connections_per_cluster = 20;
		p.provider.connections_per_cluster_subnet = 10;
		p.provider.connections_per_lane = 5;
		p.provider.messages_per_connection = 10;
		p.provider.lane_message_rate.count = 60 + (uint32_t)(seed % 100);
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(15), 12, 0, 0);
		model_run(&m, MINUTES(2));
		m.check_windows = true;
		model_run(&m, MINUTES(15));
		assert_int_equal(m.window_breaches, 0);
		diverted += m.total.diverted;
		model_finish(&m, MINUTES(2880));
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		assert_int_equal(m.total.delivered, m.total.sent);
		model_deinit(&m);
	}
	print_message("diverted: %u seeds, %llu messages went to another subnet\n", seeds,
		(unsigned long long)diverted);
	assert_true(diverted > 5 * (uint64_t)seeds);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_caps),
		cmocka_unit_test(test_holds),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_newcomer),
		cmocka_unit_test(test_diverted),
	};
	int r = model_arguments(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
