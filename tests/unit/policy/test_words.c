/* Whose words, and how wide: receivers that lie, true blocks, senders that are refused; in virtual
 * time, seed after seed. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define T0   MINUTES(2)
#define STEP 21u /* each 21st tenant lies */

static const struct model_reply good = { VERDICT_DELIVERED, SCOPE_DEFAULT, 250, NULL };
static const struct model_reply banned = { VERDICT_SOURCE_BLOCK, SCOPE_SOURCE, 550,
	"5.7.606 Access denied, banned sending IP [10.0.0.1]", VOICE_PROVIDER };

static struct model_params params_of(uint64_t seed,
	struct model_reply (*answer)(struct model *, const struct model_try *), void *arg)
{
	struct model_params p = model_usual(seed, answer, arg);

	p.senders = 8;
	return p;
}

static unsigned events(const struct model *m, enum policy_event_kind kind)
{
	unsigned n = 0;

	for (unsigned k = 0; k < m->nevents; k++)
		n += m->events[k].kind == kind;
	return n;
}

/* ---- receivers that lie ---- */

/* What a tenant may write, as the classifier may read it; not the provider's constants. */
static const struct model_reply lies[] = {
	{ VERDICT_SOURCE_BLOCK, SCOPE_SOURCE, 550, "5.7.1 your IP address is on our blacklist" },
	{ VERDICT_SOURCE_BLOCK, SCOPE_SUBNET, 554, "5.7.1 your network is banned" },
	{ VERDICT_SOURCE_BLOCK, SCOPE_DEFAULT, 421, "4.7.0 connection refused, bad reputation" },
	{ VERDICT_SOURCE_BLOCK, SCOPE_PROVIDER, 550, "5.7.606 banned sending IP", VOICE_TENANT },
	{ VERDICT_SOURCE_BLOCK, SCOPE_DOMAIN, 550, "5.7.1 our own list" },
	{ VERDICT_MESSAGE_REJECTED, SCOPE_SENDER, 550, "5.7.705 tenant has exceeded threshold" },
	{ VERDICT_MESSAGE_REJECTED, SCOPE_SENDER, 451, "4.7.233 slow down", VOICE_TENANT },
};

static struct model_reply liars(struct model *m, const struct model_try *t)
{
	if (t->tenant % STEP == 7)
		return lies[(t->tenant / STEP + m->p.seed) % (sizeof(lies) / sizeof(lies[0]))];
	return good;
}

/* Nineteen tenants that lie, among four hundred: no source, no sender is taken away from the
 * others; and nothing is returned for what they say. */
static void test_liars(void **state)
{
	unsigned seeds = model_seeds(40);

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct model_params p = params_of(seed, liars, NULL);
		struct model m;

		p.everybody = seed % 3 == 2;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(10), 8, 0, 0);
		model_run(&m, MINUTES(10) + SECONDS(20));
		if (events(&m, POLICY_EVENT_SOURCE_BLOCKED))
			fail_msg("seed %u: a source is blocked at all", seed);
		for (unsigned k = 0; k < m.nevents; k++) {
			const struct model_blame *e = &m.events[k];
			unsigned tenant;

			if (e->kind != POLICY_EVENT_SOURCE_UNWELCOME &&
				e->kind != POLICY_EVENT_SENDER_HELD)
				continue;
			if (sscanf(e->domain, "t%u.", &tenant) != 1 || tenant % STEP != 7)
				fail_msg("seed %u: %s %s%s at %s%s", seed,
					policy_event_name(e->kind), e->source, e->sender, e->domain,
					e->cluster);
		}
		/* what waits is theirs: all else went at once */
		assert_int_equal(m.total.bounced, 0);
		assert_true(m.total.delivered >= m.total.sent - m.total.sent / STEP - 80);
		assert_true(model_waiting(&m) <= m.total.sent / STEP + 80);
		model_deinit(&m);
	}
	print_message("liars: %u seeds\n", seeds);
}

/* ---- true blocks ---- */

struct ban {
	ms_t from, until;
	unsigned sources; /* the first ones */
	bool marked;	  /* the words are known as the provider's */
};

static struct model_reply block(struct model *m, const struct model_try *t)
{
	const struct ban *b = m->p.arg;
	struct model_reply r = banned;

	if (t->now < b->from || t->now >= b->until || t->source >= b->sources)
		return good;
	if (!b->marked)
		r.voice = VOICE_RECEIVER;
	return r;
}

static uint64_t refused_of(const struct model *m, unsigned source)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < m->p.clusters; c++)
		n += m->clusters[c].tries[source] - m->clusters[c].good[source];
	return n;
}

/* A true block, in words that are known as the provider's or are not: found by two receivers at
 * most when they are (what was under way aside), never a bounce, and over soon after it is lifted,
 * also when all sources were blocked. */
static void test_true_block(void **state)
{
	unsigned seeds = model_seeds(40);
	uint64_t most[2] = { 0, 0 };
	ms_t latest = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct ban b = { T0, T0 + MINUTES(12), seed % 5 == 4 ? 4 : 1 + seed % 2,
			seed % 4 < 2 };
		struct model_params p = params_of(seed, block, &b);
		uint64_t before;
		struct model m;

		p.provider.connections_per_lane = 1;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(40), 4, 0, 0);
		model_run(&m, b.from - 1);
		before = refused_of(&m, 0);
		assert_int_equal(before, 0);
		/* until the first probe can be */
		model_run(&m, b.from + MINUTES(4));
		assert_int_equal(events(&m, POLICY_EVENT_SOURCE_BLOCKED), b.sources);
		for (unsigned s = 0; s < b.sources; s++)
			if (refused_of(&m, s) > most[b.marked])
				most[b.marked] = refused_of(&m, s);
		model_run(&m, b.until);
		before = m.clusters[0].good[0] + m.clusters[1].good[0];
		while (m.clusters[0].good[0] + m.clusters[1].good[0] == before &&
			m.now < MINUTES(40))
			model_run(&m, m.now + 1000);
		if (m.now - b.until > latest)
			latest = m.now - b.until;
		model_finish(&m, MINUTES(600));
		assert_int_equal(m.total.bounced, 0);
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_int_equal(events(&m, POLICY_EVENT_SOURCE_UNBLOCKED), b.sources);
		model_deinit(&m);
	}
	print_message("true block: %u seeds, found after %u refusals (words not known: %u), back "
		      "after %u s\n",
		seeds, (unsigned)most[1], (unsigned)most[0], (unsigned)(latest / 1000));
	assert_true(most[1] <= 2 + 1); /* one may be under way on a connection not ended yet */
	assert_true(most[0] <= 5 + 3);
	assert_true(latest <= MINUTES(11));
}

/* ---- senders ---- */

static struct model_reply sender(struct model *m, const struct model_try *t)
{
	static const struct model_reply refusals[] = {
		{ VERDICT_MESSAGE_REJECTED, SCOPE_SENDER, 550,
			"5.7.705 Access denied, tenant has exceeded threshold", VOICE_PROVIDER },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_SENDER, 550, "5.7.750 unregistered domain" },
		{ VERDICT_TRANSIENT_OTHER, SCOPE_SENDER, 451, "4.7.233 tenant limit" },
	};
	const struct ban *b = m->p.arg;

	if (t->now >= b->from && t->now < b->until && t->sender == 3)
		return refusals[m->p.seed % 3];
	return good;
}

/* One of eight senders is refused everywhere: its mail is held, few of it are tried, the others' is
 * not late by it, no source rests, nothing bounces; and it goes when that is over. */
static void test_sender(void **state)
{
	unsigned seeds = model_seeds(40);
	uint64_t most = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct ban b = { T0, T0 + MINUTES(20), 0, false };
		struct model_params p = params_of(seed, sender, &b);
		uint64_t refused = 0;
		struct model m;

		model_init(&m, &p);
		model_traffic(&m, 0, b.from + MINUTES(15), 8, 0, 0);
		model_run(&m, b.from + MINUTES(15) + SECONDS(5));
		for (unsigned s = 0; s < 4; s++)
			refused += refused_of(&m, s);
		if (refused > most)
			most = refused;
		/* an eighth waits */
		assert_true(model_waiting(&m) <= 15 * 60 * 8 / 8 + 40);
		assert_true(model_waiting(&m) >= 15 * 60 * 8 / 8 - 40);
		for (unsigned k = 0; k < m.nevents; k++) {
			const struct model_blame *e = &m.events[k];

			if (e->kind == POLICY_EVENT_CLUSTER_LEARNED)
				continue;
			if (e->kind != POLICY_EVENT_SENDER_HELD || strcmp(e->sender, "s3.example"))
				fail_msg("seed %u: %s %s %s%s", seed, policy_event_name(e->kind),
					e->cause, e->source, e->sender);
		}
		assert_true(events(&m, POLICY_EVENT_SENDER_HELD) >= 1);
		/* over restarts */
		if (seed % 2) {
			model_save(&m);
			model_restart(&m);
		}
		model_run(&m, b.until);
		model_finish(&m, MINUTES(600));
		assert_true(m.now < b.until + MINUTES(45));
		assert_int_equal(m.total.bounced, 0);
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_true(events(&m, POLICY_EVENT_SENDER_RELEASED) >= 1);
		model_deinit(&m);
	}
	print_message(
		"sender: %u seeds, at most %u refusals in 15 minutes\n", seeds, (unsigned)most);
	assert_true(most <= 40);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_liars),
		cmocka_unit_test(test_true_block),
		cmocka_unit_test(test_sender),
	};

	int r = model_arguments(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
