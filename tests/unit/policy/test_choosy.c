/* Tenants of a cluster that do not want one of our subnets, among others that take everything: a
 * policy that they bought, a list that they go by. Other shares, rates and numbers of tenants. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define SICK 1u /* the subnet */

static const struct model_reply good = { VERDICT_DELIVERED, SCOPE_DEFAULT, 250, NULL };
static const struct model_reply busy = { VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, 451,
	"4.7.500 Server busy. Please try again later from [10.0.1.2]. (S77714)" };

struct choosy {
	unsigned of_ten; /* tenants that mind */
	double noise;	 /* refused of anybody's */
	ms_t half;
	/* in the second half: */
	uint64_t taken_late[2]; /* of those that take from everywhere; by subnet */
	uint64_t wasted_late;	/* at the subnet that is minded */
};

static bool minds(const struct choosy *c, unsigned tenant)
{
	return tenant % 10 < c->of_ten;
}

static struct model_reply answer(struct model *m, const struct model_try *t)
{
	struct choosy *c = m->p.arg;

	if ((t->subnet == SICK && minds(c, t->tenant)) || rng_unit(&m->rng) < c->noise) {
		c->wasted_late += t->subnet == SICK && t->now >= c->half;
		return busy;
	}
	if (!minds(c, t->tenant))
		c->taken_late[t->subnet] += t->now >= c->half;
	return good;
}

struct world {
	const char *name;
	unsigned of_ten, tenants;
	double per_second, noise;
	int minutes;
	double share;  /* that the subnet is to carry of what takes it; */
	double wasted; /* of the attempts from there, at most: in the second half, on average */
};
struct sums {
	double share, wasted, waiting;
};

static void run(const struct world *w, uint64_t seed, struct sums *sum)
{
	struct choosy c = { .of_ten = w->of_ten, .noise = w->noise };
	struct model_params p = { .seed = seed,
		.sources = 2,
		.per_subnet = 1,
		.clusters = 1,
		.tenants = w->tenants,
		.hosts_per_tenant = 4,
		.provider = model_provider(),
		.answer = answer,
		.arg = &c };
	struct model m;
	double carried, wasted;

	c.half = MINUTES(w->minutes) / 2;
	model_init(&m, &p);
	model_traffic(&m, 0, MINUTES(w->minutes), w->per_second, 0, 0);
	model_run(&m, MINUTES(w->minutes));
	carried = (double)c.taken_late[SICK];
	wasted = (double)c.wasted_late;
	sum->share += carried / (carried + (double)c.taken_late[0]);
	sum->wasted += wasted / (wasted + carried);
	assert_int_equal(m.total.bounced, 0);
	sum->waiting += (double)model_waiting(&m) / (double)m.total.sent;
	model_deinit(&m);
}

/* The subnet goes on for the others, and what some tenants refuse is soon not offered to them. */
static void test_choosy_tenants(void **state)
{
	static const struct world worlds[] = {
		{ "three of ten", 3, 200, 14, 0, 10, 0.35, 0.1 },
		{ "one of ten", 1, 200, 14, 0, 10, 0.3, 0.05 },
		{ "a few tenants", 2, 50, 5, 0, 10, 0.15, 0.1 },
		{ "little mail", 3, 200, 2, 0, 30, 0.15, 0.35 },
		{ "many tenants", 3, 2000, 14, 0, 30, 0.35, 0.3 },
		{ "noise as well", 2, 200, 10, 0.02, 10, 0.3, 0.1 },
	};
	unsigned seeds = model_seeds(8);

	for (unsigned i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
		const struct world *w = &worlds[i];
		struct sums sum = { 0 };

		for (unsigned seed = 1; seed <= seeds; seed++)
			run(w, seed, &sum);
		sum.share /= seeds;
		sum.wasted /= seeds;
		print_message("%s: carries %.0f %%, %.0f %% of its attempts are refused\n", w->name,
			sum.share * 100, sum.wasted * 100);
		if (sum.share < w->share || sum.wasted > w->wasted || sum.waiting > 0.03 * seeds)
			fail_msg("%s", w->name);
	}
}

/* What is refused now and then, whoever it is for, is no tenant's, however often it is met. */
static void test_noise_alone(void **state)
{
	static const double shares[] = { 0.03, 0.08, 0.15 };

	for (uint64_t seed = 1; seed <= model_seeds(8); seed++)
		for (unsigned i = 0; i < 3; i++) {
			struct choosy c = { .noise = shares[i] };
			struct model_params p = { .seed = seed,
				.sources = 4,
				.per_subnet = 2,
				.clusters = 2,
				.tenants = 100,
				.hosts_per_tenant = 4,
				.provider = model_provider(),
				.answer = answer,
				.arg = &c };
			struct model m;

			model_init(&m, &p);
			model_traffic(&m, 0, MINUTES(15), 12, 0, 0);
			model_run(&m, MINUTES(15));
			for (unsigned k = 0; k < m.nevents; k++)
				if (m.events[k].kind == POLICY_EVENT_SOURCE_UNWELCOME)
					fail_msg("noise of %.2f, seed %u: %s refuses %s", shares[i],
						(unsigned)seed, m.events[k].domain,
						m.events[k].source);
			model_deinit(&m);
		}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choosy_tenants),
		cmocka_unit_test(test_noise_alone),
	};
	int r = model_arguments(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
