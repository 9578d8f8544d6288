/* Kinds of trouble that receivers give, each over many seeds: a sender that nobody wants, long
 * incidents and the probes in them, lanes with little mail, and receivers that take so many
 * messages a minute while a subnet is sick. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define T0	 MINUTES(2) /* the incident begins */
#define MESSAGES 40000u

static const struct model_reply good = { VERDICT_DELIVERED, SCOPE_DEFAULT, 250, NULL };
static const struct model_reply attr3 = { VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, 451,
	"4.4.4 Temporary server error. Please try again later ATTR3" };
static const struct model_reply unknown = { VERDICT_TRANSIENT_OTHER, SCOPE_DEFAULT, 451,
	"4.7.1 Not now" };
static const struct model_reply overload = { VERDICT_DESTINATION_BUSY, SCOPE_CLUSTER, 451,
	"4.3.2 System not accepting network messages" };
static const struct model_reply too_fast = { VERDICT_SOURCE_THROTTLE, SCOPE_SOURCE, 451,
	"4.7.500 Server busy. Please try again later from [10.0.0.1]. (S77714)" };

struct trouble {
	ms_t from, until;
	unsigned subnet, cluster, sender;
	struct model_reply reply;
	uint64_t refused;	      /* while it lasts */
	uint8_t subnets[MESSAGES];    /* a message was offered to, a bit each */
	uint16_t minutes[24 * 60];    /* attempts that met it, by minute */
	ms_t last[MODEL_SOURCES][64]; /* as a ring: when mail was taken */
	unsigned at[MODEL_SOURCES];
	uint64_t over, tries;
};

static struct trouble trouble;

static struct model_params params_of(
	uint64_t seed, struct model_reply (*answer)(struct model *, const struct model_try *))
{
	memset(&trouble, 0, sizeof(trouble));
	return model_usual(seed, answer, &trouble);
}

static bool lasts(const struct trouble *t, ms_t now)
{
	return now >= t->from && now < t->until;
}

static struct model_reply refused(struct trouble *t, const struct model_try *y)
{
	t->refused++;
	if (y->now / 60000 < 24 * 60)
		t->minutes[y->now / 60000]++;
	return t->reply;
}

static unsigned in_minutes(const struct trouble *t, unsigned from, unsigned until, unsigned *most)
{
	unsigned n = 0;

	*most = 0;
	for (unsigned i = from; i < until; i++) {
		n += t->minutes[i];
		if (t->minutes[i] > *most)
			*most = t->minutes[i];
	}
	return n;
}

/* ---- a sender that everybody defers ---- */

static struct model_reply unwanted(struct model *m, const struct model_try *y)
{
	struct trouble *t = m->p.arg;

	if (!lasts(t, y->now) || y->sender != t->sender)
		return good;
	if (y->message < MESSAGES)
		t->subnets[y->message] |= (uint8_t)(1u << y->subnet);
	return refused(t, y);
}

/* Its mail waits, by itself, found out in a few refusals and offered to no third subnet; all other
 * mail goes. */
static void test_sender(void **state)
{
	for (unsigned seed = 1; seed <= model_seeds(8); seed++) {
		struct model_params p = params_of(seed, unwanted);
		uint64_t own, before;
		unsigned third = 0;
		struct model m;

		p.sources = 8;
		p.senders = 3;
		trouble.from = T0;
		trouble.until = MINUTES(600);
		trouble.reply = seed % 2 ? attr3 : unknown;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(22), 4, 0, 0);
		model_run(&m, T0);
		before = m.total.delivered;
		model_run(&m, MINUTES(22));
		for (unsigned i = 0; i < MESSAGES; i++)
			third += __builtin_popcount(trouble.subnets[i]) > 2;
		own = trouble.refused + (m.total.sent - before) / 3;
		if (trouble.refused > 40 || third > 5)
			fail_msg("seed %u: %u refused, %u by a third subnet", seed,
				(unsigned)trouble.refused, third);
		/* nobody else's mail waits, and nobody else is blamed */
		if (model_waiting(&m) > own + 20 || model_blamed(&m, "subnet", NULL) ||
			model_blamed(&m, "cluster", NULL) || model_blamed(&m, "domain", NULL))
			fail_msg("seed %u: %u wait, %u are its own", seed,
				(unsigned)model_waiting(&m), (unsigned)own);
		assert_int_equal(model_blamed(&m, "sender", NULL), 1);
		model_deinit(&m);
	}
}

/* ---- long incidents ---- */

static struct model_reply sick(struct model *m, const struct model_try *y)
{
	struct trouble *t = m->p.arg;

	return lasts(t, y->now) && y->cluster == t->cluster &&
			       (t->subnet == ~0u || y->subnet == t->subnet)
		       ? refused(t, y)
		       : good;
}

/* Three hours: a subnet, or all of the cluster. */
static void test_long(void **state)
{
	for (unsigned seed = 1; seed <= model_seeds(8); seed++) {
		bool all = seed % 2; /* the whole cluster */
		struct model_params p = params_of(seed, sick);
		unsigned first, third, most, most_third;
		uint64_t before, back;
		struct model m;

		trouble.from = MINUTES(10);
		trouble.until = MINUTES(190);
		trouble.subnet = all ? ~0u : seed / 2 % 2;
		trouble.reply = seed % 3 == 0	? unknown
				: seed % 3 == 1 ? attr3
				: all		? overload
						: attr3;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(210), 2, 0, 0);
		model_run(&m, MINUTES(190));
		first = in_minutes(&trouble, 15, 70, &most);
		third = in_minutes(&trouble, 130, 190, &most_third);
		before = m.clusters[0].delivered;
		model_run(&m, MINUTES(200));
		back = m.clusters[0].delivered - before;
		/* in an hour that begins five minutes after it: often at first where nobody else
		 * can carry the mail, then seldom, never less than once in ten minutes or so */
		if (first < 5 || first > (all ? 60 : 12) || most > (all ? 5 : 1))
			fail_msg(
				"seed %u: %u in the first hour, %u in a minute", seed, first, most);
		if (third < 4 || third > (all ? 20 : 8) || most_third > 1 || third > first)
			fail_msg("seed %u: %u in the third hour, after %u", seed, third, first);
		/* within ten minutes it carries its part again, and what waited for it */
		if (back < (all ? 180 * 50 : 300) || model_blamed(&m, "domain", NULL))
			fail_msg("seed %u: %u delivered after it", seed, (unsigned)back);
		model_deinit(&m);
	}
}

/* ---- lanes with little mail ---- */

/* A message a minute and subnet, one of three refused for four hours. */
static void test_quiet(void **state)
{
	for (unsigned seed = 1; seed <= model_seeds(8); seed++) {
		struct model_params p = params_of(seed, sick);
		unsigned first, later, most;
		struct model m;

		p.sources = 3;
		p.per_subnet = 1;
		p.clusters = 1;
		trouble.from = MINUTES(60);
		trouble.until = MINUTES(300);
		trouble.subnet = seed % 3;
		trouble.reply = seed % 2 ? attr3 : unknown;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(310), 3.0 / 60, 0, 0);
		model_run(&m, MINUTES(300));
		first = in_minutes(&trouble, 60, 90, &most);
		later = in_minutes(&trouble, 120, 300, &most);
		if (first > 20 || later > 36)
			fail_msg("seed %u: %u refused in half an hour, %u in three", seed, first,
				later);
		assert_true(later >= 12); /* it is asked after */
		assert_true(model_blamed(&m, "subnet", NULL) >= 1);
		assert_int_equal(
			model_blamed(&m, "cluster", NULL) + model_blamed(&m, "domain", NULL), 0);
		model_deinit(&m);
	}
}

/* ---- so many a minute, and a subnet is sick ---- */

#define TAKES 60u /* a minute, of a source */

static struct model_reply paced(struct model *m, const struct model_try *y)
{
	struct trouble *t = m->p.arg;
	unsigned *at = &t->at[y->source];

	if (lasts(t, y->now) && y->subnet == t->subnet)
		return attr3;
	if (y->now >= MINUTES(20)) /* it has found the rates */
		t->tries++;
	if (t->last[y->source][*at] && y->now - t->last[y->source][*at] < 60000) {
		t->over += y->now >= MINUTES(20);
		return too_fast;
	}
	t->last[y->source][*at] = y->now;
	*at = (*at + 1) % TAKES;
	return good;
}

/* More comes than the receiver takes, and one of three subnets is sick: the others carry what they
 * may, and are not pushed over it. */
static void test_diverted(void **state)
{
	uint64_t all = 0;
	unsigned seeds = 0;

	for (unsigned seed = 1; seed <= model_seeds(8); seed++) {
		struct model_params p = params_of(seed, paced);
		uint64_t carried;
		struct model m;

		p.sources = 3;
		p.per_subnet = 1;
		p.clusters = 1;
		p.provider.lane_message_rate.count = 0;
		trouble.from = MINUTES(30);
		trouble.until = MINUTES(60);
		trouble.subnet = seed % 3;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(60), 140.0 / 60, 0, 0);
		model_run(&m, MINUTES(30));
		carried = m.clusters[0].delivered;
		model_run(&m, MINUTES(60));
		carried = m.clusters[0].delivered - carried;
		if (trouble.over * 20 > trouble.tries)
			fail_msg("seed %u: %u of %u too many", seed, (unsigned)trouble.over,
				(unsigned)trouble.tries);
		all += carried;
		seeds++;
		assert_int_equal(model_blamed(&m, "cluster", NULL), 0);
		model_deinit(&m);
	}
	/* over all: a lane that is taken for sick comes back in its own time */
	if (all * 10 < (uint64_t)seeds * 30 * 2 * TAKES * 8)
		fail_msg("%u carried in %u seeds", (unsigned)all, seeds);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sender),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_diverted),
	};
	int r = model_arguments(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
