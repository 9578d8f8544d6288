/* What must hold, in virtual time over the pure code, seed after seed. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define T0 MINUTES(2) /* the incident begins */

static const struct model_reply good = { VERDICT_DELIVERED, SCOPE_DEFAULT, 250, NULL };
static const struct model_reply attr3 = { VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, 451,
	"4.4.4 Temporary server error. Please try again later ATTR3" };
static const struct model_reply noise = { VERDICT_DESTINATION_BUSY, SCOPE_CLUSTER, 451,
	"4.7.0 Temporary server error. Please try again later. PRX5" };
static const struct model_reply banned = { VERDICT_SOURCE_BLOCK, SCOPE_SOURCE, 550,
	"5.7.606 Access denied, banned sending IP [10.0.0.1]" };

struct incident {
	ms_t from, until;
	unsigned subnet, cluster, tenant;
	double share;
	uint64_t message;
	struct model_reply reply;
};

static bool during(const struct incident *i, ms_t now)
{
	return now >= i->from && now < i->until;
}

/* ---- 1: one subnet at one cluster ---- */

static struct model_reply sick_subnet(struct model *m, const struct model_try *t)
{
	const struct incident *i = m->p.arg;

	if (during(i, t->now) && t->subnet == i->subnet && t->cluster == i->cluster &&
		rng_unit(&m->rng) < i->share)
		return attr3;
	return good;
}

static ms_t event_at(const struct model *m, const char *cause, bool over, ms_t after)
{
	for (unsigned i = 0; i < m->nevents; i++)
		if (m->events[i].at >= after && m->events[i].over == over &&
			(over || !strcmp(m->events[i].cause, cause)))
			return m->events[i].at;
	return 0;
}

static uint64_t tries(const struct model *m, unsigned cluster, unsigned subnet)
{
	uint64_t n = 0;

	for (unsigned s = 0; s < m->p.sources; s++)
		if (s / m->p.per_subnet == subnet)
			n += m->clusters[cluster].tries[s];
	return n;
}

static void test_sick_subnet(void **state)
{
	unsigned seeds = model_seeds(60), late = 0, wasted_max = 0;
	uint64_t before_sum = 0, elsewhere_sum = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, T0 + MINUTES(8), seed % 2, 0, .share = 1 };
		struct model_params p = model_usual(seed, sick_subnet, &i);
		uint64_t before, wasted, elsewhere, elsewhere_before, carried, probes;
		struct model m;
		ms_t back;

		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(30), 12, 0, 0);
		model_run(&m, T0);
		before = tries(&m, 0, i.subnet);
		carried = before * 8 / 2; /* in eight minutes, at the rate of the two before */
		elsewhere = elsewhere_before = tries(&m, 1, i.subnet);
		model_run(&m, i.until);
		wasted = tries(&m, 0, i.subnet) - before;
		assert_true(wasted * 20 < carried);
		if (wasted > wasted_max)
			wasted_max = (unsigned)wasted;
		/* found: within ten attempts, probes aside */
		assert_int_equal(model_blamed(&m, "subnet", m.clusters[0].name), 1);
		assert_true(event_at(&m, "subnet", false, 0) > 0);
		late += wasted > 16;
		/* its traffic elsewhere goes on as before */
		elsewhere = tries(&m, 1, i.subnet) - elsewhere;
		before_sum += elsewhere_before;
		elsewhere_sum += elsewhere;
		/* back within two probes: no round trip is as short as a step here */
		probes = tries(&m, 0, i.subnet);
		while (!(back = event_at(&m, "", true, i.until)) && m.now < MINUTES(29)) {
			model_run(&m, m.now + 20);
			model_look(&m);
		}
		assert_true(back > 0);
		assert_int_equal(tries(&m, 0, i.subnet) - probes, 2);
		model_run(&m, MINUTES(30));
		assert_true(tries(&m, 0, i.subnet) > probes + 10);
		model_finish(&m, MINUTES(600));
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_int_equal(m.total.bounced, 0);
		assert_int_equal(model_blamed(&m, "subnet", NULL), 1);
		assert_int_equal(model_blamed(&m, "cluster", NULL) +
					 model_blamed(&m, "domain", NULL) +
					 model_blamed(&m, "source", NULL),
			0);
		assert_null(model_caps(&m));
		model_deinit(&m);
	}
	assert_true(late * 100 <= seeds);
	/* Eight minutes of the incident against two before it. Which connections carry it is luck,
	 * fifty messages at a time: few seeds say little. */
	assert_true(elsewhere_sum > before_sum * 4 * (seeds < 40 ? 7 : 9) / 10);
	print_message("sick subnet: %u seeds, at most %u attempts wasted\n", seeds, wasted_max);
}

/* The number of refusals until it rests, counted exactly. */
static void test_detection(void **state)
{
	unsigned seeds = model_seeds(60), most = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, MINUTES(60), 0, 0, .share = 1 };
		struct model_params p = model_usual(seed, sick_subnet, &i);
		uint64_t before;
		struct model m;

		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(3), 12, 0, 0);
		model_run(&m, T0);
		before = tries(&m, 0, 0);
		/* second by second: events are told once a second */
		while (!model_blamed(&m, "subnet", NULL) && m.now < MINUTES(3))
			model_run(&m, m.now + 100);
		/* all traffic may happen to be on the other */
		assert_true(
			model_blamed(&m, "subnet", NULL) == 1 || tries(&m, 0, 0) - before <= 10);
		if (tries(&m, 0, 0) - before > most)
			most = (unsigned)(tries(&m, 0, 0) - before);
		model_deinit(&m);
	}
	print_message("detection: at most %u attempts\n", most);
	assert_true(most <= 10);
}

static void test_no_flapping(void **state)
{
	unsigned seeds = model_seeds(60), rests = 0;
	uint64_t mine = 0, others = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { 0, MINUTES(60), 0, 0, .share = 0.05 };
		struct model_params p = model_usual(seed, sick_subnet, &i);
		struct model m;

		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(10), 12, 0, 0);
		model_finish(&m, MINUTES(600));
		for (unsigned k = 0; k < m.nevents; k++)
			rests += m.events[k].kind != POLICY_EVENT_CLUSTER_LEARNED;
		assert_int_equal(m.total.delivered, m.total.sent);
		mine += tries(&m, 0, 0);
		others += tries(&m, 0, 1);
		model_deinit(&m);
	}
	assert_int_equal(rests, 0);
	/* its windows are halved now and then, but it carries its part */
	print_message("no flapping: %u seeds, %u attempts against %u\n", seeds, (unsigned)mine,
		(unsigned)others);
	assert_true(mine * 2 > others);
}

/* ---- 2: the whole cluster ---- */

static struct model_reply sick_cluster(struct model *m, const struct model_try *t)
{
	const struct incident *i = m->p.arg;

	return during(i, t->now) && t->cluster == i->cluster ? i->reply : good;
}

static void test_sick_cluster(void **state)
{
	unsigned seeds = model_seeds(20), most = 0;
	ms_t slowest = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, T0 + MINUTES(10), .cluster = 0,
			.reply = seed % 2 ? noise : attr3 };
		struct model_params p = model_usual(seed, sick_cluster, &i);
		uint64_t before, delivered, waiting, rate, opened, done;
		const unsigned backlog = 6000;
		struct model m;

		p.provider.lane_message_rate.count = 6000;
		p.provider.lane_message_rate.per = 60000;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(14), 10, 0, 0);
		/* how fast it is at full rate */
		for (unsigned k = 0; k < 3000; k++)
			model_send(&m, MINUTES(1), (k % 200) * 2);
		model_run(&m, MINUTES(1) + SECONDS(4));
		delivered = m.clusters[0].delivered;
		model_run(&m, MINUTES(1) + SECONDS(7));
		rate = (m.clusters[0].delivered - delivered) / 3;
		for (unsigned k = 0; k < backlog; k++)
			model_send(&m, T0, (k % 200) * 2);
		model_run(&m, T0);
		before = m.clusters[0].attempts;
		delivered = m.clusters[1].delivered;
		model_run(&m, i.until);
		if (m.clusters[0].attempts - before > most)
			most = (unsigned)(m.clusters[0].attempts - before);
		assert_true((m.clusters[0].attempts - before) * 50 < backlog);
		assert_int_equal(model_blamed(&m, "source", NULL) +
					 model_blamed(&m, "subnet", NULL) +
					 model_blamed(&m, "domain", NULL),
			0);
		assert_true(model_blamed(&m, "cluster", m.clusters[0].name) >= 1);
		assert_int_equal(model_blamed(&m, "cluster", m.clusters[1].name), 0);
		/* the other: 5 a second in ten minutes */
		assert_true(m.clusters[1].delivered - delivered > 5 * 600 * 9 / 10);
		/* no herd: what is opened in the first seconds after a probe is little */
		opened = m.clusters[0].opened;
		model_run(&m, i.until + SECONDS(2));
		assert_true(m.clusters[0].opened - opened <= 8);
		waiting = m.clusters[0].delivered;
		while (m.now < i.until + MINUTES(3)) {
			done = m.clusters[0].delivered;
			model_run(&m, m.now + 1000);
			if (m.clusters[0].delivered - done >= rate * 9 / 10)
				break;
		}
		if (m.now - i.until > slowest)
			slowest = m.now - i.until;
		assert_true(m.now - i.until <= MINUTES(1));
		assert_true(m.clusters[0].delivered > waiting);
		model_finish(&m, MINUTES(600));
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_null(model_caps(&m));
		model_deinit(&m);
	}
	print_message("sick cluster: at most %u attempts of 6000, full rate %u s after recovery\n",
		most, (unsigned)(slowest / 1000));
}

/* ---- 3: one tenant; one recipient; one message ---- */

static struct model_reply sick_tenant(struct model *m, const struct model_try *t)
{
	const struct incident *i = m->p.arg;

	return during(i, t->now) && t->tenant == i->tenant &&
			       (!i->message || t->message % i->message == 0)
		       ? i->reply
		       : good;
}

static void test_sick_tenant(void **state)
{
	static const struct model_reply full = { VERDICT_DESTINATION_BUSY, SCOPE_DOMAIN, 451,
		"4.7.3 Organization queue quota exceeded" };
	unsigned seeds = model_seeds(60), most = 0, late = 0, refused;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, MINUTES(60), .tenant = 4,
			.reply = seed % 3 == 0	 ? full
				 : seed % 3 == 1 ? attr3
						 : noise };
		struct model_params p = model_usual(seed, sick_tenant, &i);
		uint64_t before, attempts;
		struct model m;

		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(10), 10, 0, 0);
		model_traffic(&m, 0, MINUTES(10), 2, 4, 1); /* a third of the cluster's */
		model_run(&m, T0);
		before = m.total.attempts;
		model_run(&m, MINUTES(10));
		assert_true(model_blamed(&m, "domain", "t4.example") >= 1);
		for (unsigned k = 0; k < m.nevents; k++)
			if (m.events[k].kind != POLICY_EVENT_CLUSTER_LEARNED &&
				strcmp(m.events[k].domain, "t4.example"))
				fail_msg("seed %u blames %s %s%s%s", seed, m.events[k].cause,
					m.events[k].cluster, m.events[k].subnet,
					m.events[k].source);
		attempts = m.total.attempts - before;
		/* what is not its own went at once */
		assert_true(model_waiting(&m) < 2 * 600 + 20);
		assert_true(attempts < 12 * 480);
		refused = (unsigned)(m.clusters[0].attempts - m.clusters[0].delivered);
		if (refused > most)
			most = refused;
		late += refused >= 96;
		assert_null(model_caps(&m));
		model_deinit(&m);
	}
	print_message("sick tenant: at most %u refusals of 960 messages\n", most);
	/* a tenth; in one run of some hundreds it is found later */
	assert_true(late * 100 <= seeds && most < 120);
}

static void test_sick_message(void **state)
{
	unsigned seeds = model_seeds(40);

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, MINUTES(10), .tenant = 4, .message = 97, .reply = attr3 };
		struct model_params p = model_usual(seed, sick_tenant, &i);
		struct model m;

		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(10), 6, 0, 0);
		model_traffic(&m, 0, MINUTES(10), 4, 4, 1);
		model_run(&m, MINUTES(10));
		for (unsigned k = 0; k < m.nevents; k++)
			if (m.events[k].kind != POLICY_EVENT_CLUSTER_LEARNED)
				fail_msg("seed %u at %u s blames %s %s%s%s", seed,
					(unsigned)(m.events[k].at / 1000), m.events[k].cause,
					m.events[k].domain, m.events[k].subnet,
					m.events[k].cluster);
		model_finish(&m, MINUTES(600));
		assert_int_equal(m.total.delivered, m.total.sent);
		model_deinit(&m);
	}
}

/* One recipient of a busy tenant, to whom an eighth of its mail goes: that mail waits, nobody is
 * blamed, and nothing else is late. */
static void test_sick_recipient(void **state)
{
	static const struct model_reply replies[] = {
		{ VERDICT_DESTINATION_BUSY, SCOPE_RECIPIENT, 452, "4.2.2 mailbox full" },
		{ VERDICT_DESTINATION_BUSY, SCOPE_RECIPIENT, 450, "4.2.1 too many messages" },
		{ VERDICT_TRANSIENT_OTHER, SCOPE_DEFAULT, 450, "4.2.0 Greylisted" },
		{ VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, 451, "4.7.500 Server busy (S77714)" },
	};
	unsigned seeds = model_seeds(40);

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, MINUTES(12), .tenant = 4, .message = MODEL_RECIPIENTS,
			.reply = replies[seed % 4] };
		struct model_params p = model_usual(seed, sick_tenant, &i);
		uint64_t refused;
		struct model m;

		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(10), 6, 0, 0);
		model_traffic(&m, 0, MINUTES(10), 4, 4, 1);
		model_run(&m, MINUTES(10) + SECONDS(5));
		for (unsigned k = 0; k < m.nevents; k++)
			if (m.events[k].cause[0]) /* the alarm is true */
				fail_msg("seed %u at %u s blames %s %s%s%s", seed,
					(unsigned)(m.events[k].at / 1000), m.events[k].cause,
					m.events[k].domain, m.events[k].subnet,
					m.events[k].cluster);
		/* what waits is that recipient's: an eighth of eight minutes at four a second */
		refused = m.clusters[0].attempts - m.clusters[0].delivered;
		assert_true(refused > 100);
		assert_true(model_waiting(&m) <= refused);
		assert_true(model_waiting(&m) < 4 * 480 / 8 * 3 / 2);
		model_finish(&m, MINUTES(1200));
		assert_int_equal(m.total.delivered, m.total.sent);
		model_deinit(&m);
	}
	print_message("sick recipient: %u seeds\n", seeds);
}

/* ---- 4: blocked sources ---- */

static struct model_reply blocked(struct model *m, const struct model_try *t)
{
	const struct incident *i = m->p.arg;

	if (during(i, t->now) &&
		(t->source < i->subnet || (i->message && t->message == i->message)))
		return banned;
	return good;
}

/* All are blocked: no retry is used up but by those few that were under way, and one message a
 * source is tried every few minutes, until the operator releases them, or one of these is taken. */
static void held_until(struct model *m, ms_t incident_over, bool released)
{
	uint64_t attempts = m->total.attempts, delivered;

	assert_true(model_waiting(m) > 1000);
	assert_true(m->total.deferred <= 4 * 4);
	model_run(m, incident_over);
	assert_true(m->total.attempts > attempts);
	assert_true(m->total.attempts - attempts <= 4 * 3);
	delivered = m->total.delivered;
	if (released)
		assert_int_equal(policy_resume(m->policy,
					 (struct policy_now){ m->now + 1000, MODEL_WALL + m->now },
					 NULL, NULL),
			0);
	model_run(m, m->now + MINUTES(released ? 1 : 11));
	assert_true(m->total.delivered > delivered + 100);
}

static void test_blocked(void **state)
{
	unsigned seeds = model_seeds(40);

	for (unsigned seed = 1; seed <= seeds; seed++) {
		/* one source; both of a subnet; all; none, but a message that is always told so */
		struct incident i = { T0, T0 + MINUTES(30),
			.subnet = (const unsigned[]){ 1, 2, 4, 0 }[seed % 4] };
		struct model_params p = model_usual(seed, blocked, &i);
		unsigned alarms = 0, all = 0;
		uint64_t wasted = 0;
		struct model m;

		model_init(&m, &p);
		i.message = i.subnet ? 0 : 777;
		model_traffic(&m, 0, MINUTES(20), 6, 0, 0);
		model_run(&m, T0 + MINUTES(20));
		for (unsigned k = 0; k < m.nevents; k++) {
			alarms += m.events[k].kind == POLICY_EVENT_SOURCE_BLOCKED;
			all += m.events[k].kind == POLICY_EVENT_ALL_SOURCES_BLOCKED;
		}
		for (unsigned k = 0; k < 2; k++)
			wasted += m.clusters[k].attempts - m.clusters[k].delivered;
		assert_int_equal(m.total.bounced, 0);
		if (i.subnet)
			assert_true(alarms >= i.subnet && wasted < 20 * i.subnet);
		assert_int_equal(all > 0, i.subnet == 4);
		if (i.subnet == 4) {
			held_until(&m, i.until, seed % 8 < 4);
		} else {
			assert_true(model_waiting(&m) < 10);
		}
		model_finish(&m, MINUTES(1200));
		assert_int_equal(m.total.delivered, m.total.sent);
		assert_int_equal(m.total.bounced, 0);
		model_deinit(&m);
	}
}

/* ---- 5: all at once ---- */

static struct model_reply mix(struct model *m, const struct model_try *t)
{
	if (t->now >= T0) {
		if ((t->subnet == 0 && t->cluster == 0) || (t->subnet == 2 && t->cluster == 1))
			return attr3;
		if (t->tenant == 2)
			return attr3;
	}
	return rng_unit(&m->rng) < 0.03 ? noise : good;
}

static bool right_causes(const struct model *m, unsigned seed)
{
	unsigned a = model_blamed(m, "subnet", m->clusters[0].name),
		 b = model_blamed(m, "subnet", "namprd02") +
		     model_blamed(m, "subnet", "198.18.1.0/24"),
		 t = model_blamed(m, "domain", "t2.example"), rest = 0;

	for (unsigned k = 0; k < m->nevents; k++) {
		const struct model_blame *e = &m->events[k];
		bool fine = e->kind == POLICY_EVENT_CLUSTER_LEARNED || e->over ||
			    (!strcmp(e->cause, "subnet") && !strcmp(e->subnet, "10.0.0.0/24") &&
				    !strcmp(e->cluster, m->clusters[0].name)) ||
			    (!strcmp(e->cause, "subnet") && !strcmp(e->subnet, "10.0.2.0/24") &&
				    strcmp(e->cluster, m->clusters[0].name)) ||
			    (!strcmp(e->cause, "domain") && !strcmp(e->domain, "t2.example"));

		rest += !fine;
		if (!fine)
			print_message("seed %u: %s %s %s %s%s%s\n", seed,
				policy_event_name(e->kind), e->cause, e->cluster, e->subnet,
				e->source, e->domain);
	}
	if (!a || !b || !t)
		print_message("seed %u: not found: %s%s%s\n", seed, a ? "" : "first subnet ",
			b ? "" : "second subnet ", t ? "" : "tenant");
	return a && b && t && !rest;
}

static void test_mix(void **state)
{
	unsigned seeds = model_seeds(40), right = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct model_params p = model_usual(seed, mix, NULL);
		struct model m;

		p.sources = 8;
		p.clusters = 4;
		model_init(&m, &p);
		m.clusters[3].cap = 4; /* the forest's own, below ours */
		model_traffic(&m, 0, MINUTES(8), 20, 0, 0);
		model_traffic(&m, 0, MINUTES(8), 1, 2, 1);
		for (unsigned k = 0; k < 400; k++) /* a burst at the forest with the cap */
			model_send(&m, MINUTES(1), (k % 100) * 4 + 3);
		model_run(&m, MINUTES(8));
		right += right_causes(&m, seed);
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		/* refused connections are few */
		assert_true(m.clusters[3].refused_connections < 40);
		assert_int_equal(m.total.bounced, 0);
		model_deinit(&m);
	}
	print_message("mix: right cause in %u of %u seeds\n", right, seeds);
	assert_true(right * 100 >= seeds * 99);
}

/* ---- 7, and caps under restarts ---- */

static void test_restarts(void **state)
{
	unsigned seeds = model_seeds(40);

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct incident i = { T0, MINUTES(20), 0, 0, .share = 1 };
		struct model_params p = model_usual(seed, sick_subnet, &i);
		struct model m;

		p.provider.connections_per_cluster = 3 + seed % 9;
		p.provider.connections_per_cluster_subnet = 2 + seed % 4;
		p.provider.connections_per_lane = 1 + seed % 3;
		p.provider.lane_message_rate.count = 40 + seed % 200;
		p.provider.lane_connect_rate.count = 10 + seed % 20;
		model_init(&m, &p);
		model_traffic(&m, 0, MINUTES(10), 12, 0, 0);
		for (unsigned k = 0; k < 10; k++) {
			model_run(&m, SECONDS(2) + (ms_t)rng_below(&m.rng, (uint64_t)SECONDS(50)) +
					      MINUTES(k));
			if (k % 2)
				model_save(&m); /* an orderly one */
			model_restart(&m);
		}
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		/* rests outlived the restarts: nothing was found anew */
		assert_true(model_blamed(&m, "subnet", m.clusters[0].name) <= 2);
		model_finish(&m, MINUTES(1200));
		if (model_caps(&m))
			fail_msg("seed %u: cap of %s", seed, model_caps(&m));
		assert_int_equal(m.total.delivered, m.total.sent);
		model_deinit(&m);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sick_subnet),
		cmocka_unit_test(test_detection),
		cmocka_unit_test(test_no_flapping),
		cmocka_unit_test(test_sick_cluster),
		cmocka_unit_test(test_sick_tenant),
		cmocka_unit_test(test_sick_message),
		cmocka_unit_test(test_sick_recipient),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_mix),
		cmocka_unit_test(test_restarts),
	};

	int r = model_arguments(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
