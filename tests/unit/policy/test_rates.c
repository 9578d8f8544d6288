/* Receivers that take so many messages a minute, of each source or of a subnet together, while more
 * mail waits than that: how much of it is used, and how many attempts are refused. */
#include "model.h"

#define MOST	   1024u
#define TENANTS	   61u
#define USED	   0.8
#define USED_LEAST 0.6
#define USED_RESTS 0.35
#define REFUSED	   0.05

static const struct model_reply good = { VERDICT_DELIVERED, SCOPE_DEFAULT, 250, NULL };
static const struct model_reply busy = { VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, 451,
	"4.7.500 Server busy. Please try again later from [10.0.1.2]. (S77714)" };

/* So many in any minute. */
struct takes {
	ms_t last[MOST];
	unsigned at;
};
struct receiver {
	unsigned n, odd; /* odd: of the sources with odd numbers; 0: the same */
	bool shared;	 /* by the sources of a subnet */
	struct takes of[MODEL_SOURCES];
	ms_t from; /* counted from then on */
	uint64_t taken, refused;
};

static struct model_reply answer(struct model *m, const struct model_try *t)
{
	struct receiver *r = m->p.arg;
	struct takes *k = &r->of[r->shared ? t->subnet : t->source];
	unsigned n = r->odd && t->source % 2 ? r->odd : r->n;

	if (k->last[k->at] && t->now - k->last[k->at] < 60000) {
		r->refused += t->now >= r->from;
		return busy;
	}
	k->last[k->at] = t->now;
	k->at = (k->at + 1) % n;
	r->taken += t->now >= r->from;
	return good;
}

struct world {
	const char *name;
	unsigned n, odd, sources, per_subnet;
	bool shared;
	/* Where each source of a subnet has a limit of its own, the subnet is taken for sick now and
	 * then before the limits are known, and rests: one seed in ten uses half of the hour. */
	bool rests;
};

static struct model_params params_of(
	uint64_t seed, unsigned sources, unsigned per_subnet, struct receiver *r)
{
	struct model_params p = { .seed = seed,
		.sources = sources,
		.per_subnet = per_subnet,
		.clusters = 1,
		.tenants = TENANTS,
		.hosts_per_tenant = 2,
		.provider = model_provider(),
		.answer = answer,
		.arg = r };

	p.provider.lane_message_rate = p.provider.lane_connect_rate = (struct rate){ 0, 0 };
	return p;
}

/* The last 40 of 45 minutes. */
static void run(const struct world *w, uint64_t seed, double *used, double *refused)
{
	struct receiver r = { .n = w->n, .odd = w->odd, .shared = w->shared, .from = MINUTES(5) };
	struct model_params p = params_of(seed, w->sources, w->per_subnet, &r);
	unsigned room = w->odd ? (w->n + w->odd) * w->sources / 2
			       : w->n * (w->shared ? w->sources / w->per_subnet : w->sources);
	struct model m;

	model_init(&m, &p);
	m.clusters[0].rtt = 300;
	for (unsigned i = 0; i < room * 45 * 11 / 10; i++)
		model_send(&m, 1 + i * 20, i % TENANTS);
	model_run(&m, MINUTES(45));
	*used = (double)r.taken / 40 / room;
	*refused = (double)r.refused / (double)(r.taken + r.refused);
	assert_int_equal(m.total.bounced, 0);
	model_deinit(&m);
}

static void test_rates(void **state)
{
	static const struct world worlds[] = {
		{ "a source, 30", 30, 0, 1, 1, false },
		{ "a source, 600", 600, 0, 1, 1, false },
		{ "two subnets, 120 each", 120, 0, 2, 1, false },
		{ "two subnets, 40 and 160", 40, 160, 2, 1, false },
		{ "a subnet of two, 120", 120, 0, 2, 2, true },
		{ "a subnet of two, 30", 30, 0, 2, 2, true },
		{ "a subnet of three, 240", 240, 0, 3, 3, true },
		{ "two subnets of two, 120 each", 120, 0, 4, 2, true },
		{ "a subnet of two, 100 each", 100, 0, 2, 2, false, true },
		{ "a subnet of two, 40 and 160", 40, 160, 2, 2, false, true },
	};
	unsigned seeds = model_seeds(3);

	(void)state;
	for (unsigned i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
		double used = 0, refused = 0;

		for (unsigned seed = 1; seed <= seeds; seed++) {
			double u, r;

			run(&worlds[i], seed, &u, &r);
			if (u < (worlds[i].rests ? USED_RESTS : USED_LEAST))
				fail_msg(
					"%s, seed %u: %.0f %% used", worlds[i].name, seed, u * 100);
			used += u / seeds;
			refused += r / seeds;
		}
		print_message("%s a minute: %.0f %% used, %.1f %% refused\n", worlds[i].name,
			used * 100, refused * 100);
		if (used < USED || refused > REFUSED)
			fail_msg("%s", worlds[i].name);
	}
}

/* What was learned of a subnet is known after a restart: it is not met anew by going over it. */
static void test_kept(void **state)
{
	struct receiver r = { .n = 120, .shared = true, .from = MINUTES(20) };
	struct model_params p = params_of(1, 2, 2, &r);
	struct model m;

	(void)state;
	model_init(&m, &p);
	m.clusters[0].rtt = 300;
	for (unsigned i = 0; i < 120 * 30; i++)
		model_send(&m, 1 + i * 20, i % TENANTS);
	model_run(&m, MINUTES(20));
	model_save(&m);
	model_restart(&m);
	model_run(&m, MINUTES(24));
	print_message(
		"after a restart: %u taken, %u refused\n", (unsigned)r.taken, (unsigned)r.refused);
	assert_true(r.taken > 120 * 3);
	assert_true(r.refused <= 12);
	model_deinit(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_kept),
	};
	int r = model_arguments(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
