/* What is told of beliefs and bottlenecks: who, by which figures, and in which words. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "postern/policy_why.h"

#define MICROSOFT 0u
#define A1	  0u
#define B1	  2u

static const struct classification throttle = { .verdict = VERDICT_SOURCE_THROTTLE };
static const struct classification good = { .verdict = VERDICT_DELIVERED };

struct told {
	unsigned n;
	struct policy_why all[64];
};

static void add(void *arg, const struct policy_why *w)
{
	struct told *t = arg;

	assert_true(t->n < COUNT(t->all));
	t->all[t->n++] = *w;
}

static struct told *ask(struct rig *r, const char *source, const char *at, const char *pool)
{
	static struct told t;
	struct policy_why_filter f = { source, at, pool };

	t.n = 0;
	assert_false(policy_why(r->policy, r->now, &f, add, &t));
	return &t;
}

static const struct policy_why *find(const struct told *t, const char *kind, const char *state)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->all[i].kind, kind) &&
			!strcmp(policy_state_name(t->all[i].state), state))
			return &t->all[i];
	return NULL;
}

static const struct policy_why_row *row(const struct policy_why *w, const char *part)
{
	for (unsigned i = 0; i < w->nrows; i++)
		if (strstr(w->rows[i].what, part))
			return &w->rows[i];
	fail_msg("no row with '%s'", part);
	return NULL;
}

/* One message over a connection of its own from a source of the other subnet than the one named. */
static uint64_t place; /* its cluster's number */
static bool once(struct rig *r, unsigned not_from, const char *domain, const char *sender,
	const struct classification *c)
{
	struct policy_tried elsewhere = { .n = 1, .source = { (uint16_t)not_from } };
	static uint64_t message;
	struct policy_tried tried = {
		.message = message + 1, .recipient = message + 1, .sender = sender
	};
	struct policy_choice ch, why;
	bool retire, admitted;

	message++;
	r->want.tried = &elsewhere;
	r->want.domain = domain;
	r->want.sender = sender;
	ch = rig_choose(r);
	if (!ch.go) {
		rig_pass(r, 200);
		return false;
	}
	policy_connected(r->policy, r->now, ch.slot, &(struct smtp_client_info){ 0 });
	admitted = rig_admit(r, ch.slot, &why, &retire);
	if (admitted)
		rig_result_of(
			r, ch.slot, domain, c, c->verdict == VERDICT_DELIVERED ? 250 : 451, &tried);
	place = why.cluster_id;
	rig_end(r, ch.slot);
	rig_pass(r, 200);
	return admitted;
}

static const char *tenant(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "t%u.example", i);
	return name;
}

/* The figures are those that it was found by, also when all has been cleared since. */
static void test_subnet(void **state)
{
	struct rig r;
	const struct policy_why *w;
	const struct told *t;

	rig_init(&r);
	for (unsigned i = 0; i < 20; i++)
		once(&r, A1, tenant(i), NULL, &good); /* b is known, and taken */
	rig_pass(&r, 180000); /* no limit of so many a minute explains what comes */
	for (unsigned i = 0; i < 20; i++) {
		once(&r, B1, tenant(i), NULL, &good);
		once(&r, A1, tenant(i), NULL, &throttle);
	}
	rig_pass(&r, 5000);
	t = ask(&r, NULL, NULL, NULL);
	w = find(t, "subnet", "resting");
	assert_non_null(w);
	assert_string_equal(w->subnet, "198.51.100.0/24");
	assert_string_equal(w->provider, "microsoft365");
	assert_true(w->since > 0 && w->until > r.now.wall);
	assert_true(w->found > 0 && w->found <= r.now.wall);
	assert_true(w->score >= w->needed && w->needed > 10);
	assert_true(row(w, "subnet 198.51.100.0/24")->refused >= 5);
	assert_true(row(w, "subnet 198.51.100.0/24")->ratio > 3);
	assert_true(row(w, "subnet 192.0.2.0/24")->accepted >= 5);
	assert_true(row(w, "subnet 192.0.2.0/24")->refused < 1);
	assert_non_null(strstr(w->text, "refuses the subnet 198.51.100.0/24"));
	assert_non_null(strstr(w->text, "from subnet 192.0.2.0/24"));

	/* by whom and where it is asked */
	assert_non_null(find(ask(&r, "b1", NULL, NULL), "subnet", "resting"));
	assert_null(find(ask(&r, "a1", NULL, NULL), "subnet", "resting"));
	assert_non_null(find(ask(&r, NULL, w->cluster, NULL), "subnet", "resting"));
	assert_non_null(find(ask(&r, NULL, "microsoft365", NULL), "subnet", "resting"));
	assert_null(find(ask(&r, NULL, "default", NULL), "subnet", "resting"));
	assert_non_null(find(ask(&r, NULL, NULL, "main"), "subnet", "resting"));
	assert_null(find(ask(&r, NULL, NULL, "other"), "subnet", "resting"));
	rig_deinit(&r);
}

/* Nothing is told where nothing was refused. */
static void test_quiet(void **state)
{
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 30; i++)
		once(&r, i % 2 ? A1 : B1, tenant(i), NULL, &good);
	assert_int_equal(ask(&r, NULL, NULL, NULL)->n, 0);
	rig_deinit(&r);
}

/* A receiver that takes thirty a minute of a source: the number, and when more is tried. */
static void limited(struct rig *r)
{
	ms_t taken[1000] = { 0 };
	unsigned first = 0, n = 0;

	rig_init(r);
	r->pools[0].nmembers = 1;
	for (unsigned i = 0; i < 1200 && n < COUNT(taken); i++) {
		bool takes;

		while (first < n && taken[first] <= r->now.mono - 60000)
			first++;
		takes = n - first < 30;
		if (once(r, B1, tenant(i), "only.example", takes ? &good : &throttle) && takes)
			taken[n++] = r->now.mono;
	}
}

static void test_limited(void **state)
{
	const struct policy_why *w;
	struct rig r;

	limited(&r);
	/* the only domain that sends: there is nobody to compare it with */
	assert_null(find(ask(&r, NULL, NULL, NULL), "sender", "held"));
	w = find(ask(&r, NULL, NULL, NULL), "source", "limited");
	assert_non_null(w);
	assert_string_equal(w->source, "a1");
	assert_non_null(strstr(w->text, " takes about "));
	assert_non_null(strstr(w->text, "messages a minute of a1"));
	rig_deinit(&r);
}

/* The domain that sends, refused from everywhere while other mail is taken. */
static void test_sender(void **state)
{
	const struct policy_why *w;
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 200 && !find(ask(&r, NULL, NULL, NULL), "sender", "held"); i++) {
		once(&r, i % 2 ? A1 : B1, tenant(i), "good.example", &good);
		once(&r, i % 2 ? A1 : B1, tenant(i), "bad.example", &throttle);
	}
	w = find(ask(&r, NULL, "microsoft365", NULL), "sender", "held");
	assert_non_null(w);
	assert_string_equal(w->sender, "bad.example");
	assert_true(row(w, "mail sent by bad.example")->refused >= 3);
	assert_true(row(w, "mail sent by bad.example")->ratio > 2);
	assert_true(row(w, "mail of other senders")->accepted >= 1);
	assert_non_null(strstr(w->text, "what is sent by bad.example"));
	rig_deinit(&r);
}

/* A tenant that refuses everybody, beside others that do not. */
static void test_tenant(void **state)
{
	const struct policy_why *w;
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0;
		i < 60 && !find(ask(&r, NULL, "full.example", NULL), "domain", "resting"); i++) {
		once(&r, i % 2 ? A1 : B1, tenant(i), NULL, &good);
		once(&r, i % 2 ? A1 : B1, "full.example", NULL, &throttle);
	}
	w = find(ask(&r, NULL, "full.example", NULL), "domain", "resting");
	if (!w)
		w = find(ask(&r, NULL, "full.example", NULL), "domain", "limited");
	assert_non_null(w);
	assert_string_equal(w->domain, "full.example");
	assert_true(row(w, "mail for full.example")->refused >= 3);
	assert_true(row(w, "mail for others")->accepted >= 3);
	rig_deinit(&r);
}

static void test_suspended_and_asked(void **state)
{
	const struct policy_why *w;
	struct rig r;

	rig_init(&r);
	assert_int_equal(
		policy_suspend(r.policy, r.now, "a2", "microsoft365", r.now.wall + 60000), 0);
	w = find(ask(&r, NULL, NULL, NULL), "source", "suspended");
	assert_non_null(w);
	assert_string_equal(w->source, "a2");
	assert_int_equal(w->until, r.now.wall + 60000);
	assert_true(policy_has_source(r.policy, "a2"));
	assert_false(policy_has_source(r.policy, "zz"));
	rig_deinit(&r);
}

/* ---- bottlenecks ---- */

static struct policy_bottleneck bottleneck(struct rig *r, struct policy_wait w)
{
	struct policy_bottleneck b;

	policy_bottleneck(r->policy, r->now, &w, &b);
	return b;
}

/* How fast it goes at what the receiver takes, and how long that lasts. */
static void test_pace_of_a_pool(void **state)
{
	struct policy_bottleneck b;
	struct rig r;

	limited(&r);
	b = bottleneck(&r, (struct policy_wait){ .provider = MICROSOFT,
				   .cluster = place,
				   .reason = HOLD_RATE,
				   .limit = LIMIT_PACE,
				   .recipients = 290,
				   .domains = 20 });
	assert_non_null(strstr(b.text, "the receiver takes about "));
	assert_non_null(strstr(b.text, " a minute of a1 at "));
	assert_non_null(strstr(b.text, "290 wait"));
	assert_true(b.per_minute > 20 && b.per_minute < 40);
	assert_true(b.lasts > 6 * 60000 && b.lasts < 15 * 60000);
	rig_deinit(&r);
}

static void test_set_rate(void **state)
{
	struct policy_bottleneck b;
	struct rig r;

	rig_init(&r);
	r.pools[0].nmembers = 1;
	r.providers[MICROSOFT].lane_message_rate = (struct rate){ 600, 60000 };
	once(&r, B1, tenant(0), NULL, &good);
	b = bottleneck(&r, (struct policy_wait){ .provider = MICROSOFT,
				   .reason = HOLD_RATE,
				   .limit = LIMIT_MESSAGES,
				   .recipients = 1200 });
	assert_non_null(strstr(b.text, "lane_message_rate lets 600 a minute of a1"));
	assert_int_equal(b.lasts, 120000);
	assert_non_null(strstr(b.lift, "lane_message_rate"));
	rig_deinit(&r);
}

/* Every reason and every limit has words, also where nothing is known of the place. */
static void test_all_have_words(void **state)
{
	struct rig r;

	rig_init(&r);
	for (unsigned known = 0; known < 2; known++) {
		for (unsigned reason = HOLD_NONE; reason <= HOLD_DOMAIN_RATE; reason++)
			for (unsigned limit = LIMIT_NONE; limit <= LIMIT_PACE; limit++) {
				struct policy_bottleneck b = bottleneck(&r,
					(struct policy_wait){ .provider = known ? MICROSOFT : ~0u,
						.cluster = known ? place : 0,
						.reason = (enum hold_reason)reason,
						.limit = (enum policy_limit)limit,
						.recipients = 7,
						.domains = 3,
						.domain = "t1.example" });

				assert_non_null(strstr(b.text, "7 wait"));
				assert_true(strlen(b.text) > strlen("; 7 wait"));
			}
		once(&r, B1, tenant(0), NULL, &good);
	}
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subnet),
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_limited),
		cmocka_unit_test(test_sender),
		cmocka_unit_test(test_tenant),
		cmocka_unit_test(test_suspended_and_asked),
		cmocka_unit_test(test_pace_of_a_pool),
		cmocka_unit_test(test_set_rate),
		cmocka_unit_test(test_all_have_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
