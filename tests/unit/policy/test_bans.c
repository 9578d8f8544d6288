/* What one receiver refuses, a source or a domain that sends: who is concerned, for how long, over
 * restarts, and how it ends. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MICROSOFT 0u
#define EVERYBODY 1u

static const struct classification block = { .verdict = VERDICT_SOURCE_BLOCK };
static const struct classification constant = { .verdict = VERDICT_SOURCE_BLOCK,
	.voice = VOICE_PROVIDER };
static const struct classification good = { .verdict = VERDICT_DELIVERED };

struct seen {
	unsigned kinds[POLICY_EVENT_COUNT];
	struct policy_event last;
};

static void see(void *arg, const struct policy_event *e)
{
	struct seen *s = arg;

	s->kinds[e->kind]++;
	s->last = *e;
}

static struct seen events(struct rig *r)
{
	struct seen s = { 0 };

	policy_events(r->policy, see, &s);
	return s;
}

static void one_source(struct rig *r, unsigned provider)
{
	rig_init(r);
	r->pools[0].nmembers = 1;
	r->want.provider = provider;
}

/* A connection there, and on it one transaction for that domain. */
static struct policy_verdict once(struct rig *r, const char *domain, const char *sender,
	const struct classification *c, uint64_t message)
{
	struct policy_tried tried = { .message = message, .sender = sender };
	struct policy_choice ch, why;
	struct policy_verdict v;
	bool retire;

	r->want.domain = domain;
	r->want.sender = sender;
	ch = rig_choose(r);
	assert_true(ch.go);
	policy_connected(r->policy, r->now, ch.slot, &(struct smtp_client_info){ 0 });
	assert_true(rig_admit(r, ch.slot, &why, &retire));
	v = rig_result_of(
		r, ch.slot, domain, c, c->verdict == VERDICT_DELIVERED ? 250 : 550, &tried);
	rig_end(r, ch.slot);
	return v;
}

static enum hold_reason asks(struct rig *r, const char *domain, const char *sender)
{
	struct policy_choice c;

	r->want.domain = domain;
	r->want.sender = sender;
	c = rig_choose(r);
	if (c.go)
		rig_end(r, c.slot);
	return c.go ? HOLD_NONE : c.reason;
}

/* One receiver's words are about that receiver, wherever it is; they are looked at again after
 * minutes, with one message; twice as long when that is refused, up to hours. */
static void test_one_receiver(void **state)
{
	for (unsigned provider = MICROSOFT; provider <= EVERYBODY; provider++) {
		struct policy_choice c;
		struct seen s;
		struct rig r;
		ms_t wait = 300000;

		one_source(&r, provider);
		for (uint64_t message = 1; message <= 8; message++) {
			struct policy_verdict v = once(&r, "a.example", NULL, &block, message);

			assert_int_equal(v.what, DISPOSE_HOLD);
			assert_int_equal(v.reason, HOLD_BLOCKED);
			assert_int_equal(asks(&r, "b.example", NULL), HOLD_NONE);
			assert_int_equal(asks(&r, "a.example", NULL), HOLD_BLOCKED);
			r.want.domain = "a.example";
			c = rig_choose(&r);
			assert_int_equal(c.limit, LIMIT_REFUSED);
			assert_true(c.until >= r.now.mono + wait);
			assert_true(c.until <= r.now.mono + wait * 11 / 10);
			rig_pass(&r, wait * 11 / 10);
			wait = wait * 2 < 4 * 3600000 ? wait * 2 : 4 * 3600000;
		}
		s = events(&r);
		assert_int_equal(s.kinds[POLICY_EVENT_SOURCE_UNWELCOME], 1);
		assert_int_equal(s.kinds[POLICY_EVENT_SOURCE_BLOCKED], 0);
		/* one at a time finds out */
		c = rig_choose(&r);
		assert_true(c.go);
		assert_int_equal(rig_choose(&r).reason, HOLD_BLOCKED);
		rig_end(&r, c.slot);
		rig_pass(&r, 60001); /* its answer never came */
		assert_int_equal(once(&r, "a.example", NULL, &good, 9).what, DISPOSE_DELIVERED);
		s = events(&r);
		assert_int_equal(s.kinds[POLICY_EVENT_SOURCE_WELCOME], 1);
		assert_true(s.last.over);
		assert_int_equal(asks(&r, "a.example", NULL), HOLD_NONE);
		rig_deinit(&r);
	}
}

/* How many it takes until mail for a stranger is held as well; 0: never. */
static unsigned until_wide(struct rig *r, const char *const *domains, unsigned n,
	const struct classification *c, unsigned net_step)
{
	for (unsigned i = 0; i < n; i++) {
		char host[32];
		struct seen s;

		snprintf(host, sizeof(host), "203.0.%u.1", 113 + i * net_step);
		r->hosts[0].addr = r->hosts[1].addr = r->hosts[2].addr = rig_addr(host);
		once(r, domains[i], NULL, c, 100 + i);
		s = events(r);
		if (s.kinds[POLICY_EVENT_SOURCE_BLOCKED])
			return i + 1;
	}
	return 0;
}

static void test_witnesses(void **state)
{
	static const char *const unrelated[] = { "a.example", "b.example", "c.test", "d.co.uk",
		"e.co.uk", "f.onmicrosoft.com", "g.onmicrosoft.com", "h.example" };
	static const char *const related[] = { "example.org", "a.example.org", "b.example.org",
		"c.a.example.org", "d.example.org", "e.example.org", "f.example.org",
		"g.example.org" };
	static const struct classification tenants = { .verdict = VERDICT_SOURCE_BLOCK,
		.voice = VOICE_TENANT };
	static const struct classification own_list = { .verdict = VERDICT_SOURCE_BLOCK,
		.scope = SCOPE_DOMAIN };
	static const struct {
		unsigned provider;
		const char *const *domains;
		const struct classification *c;
		unsigned net_step;
		bool welcome; /* mail was taken just before */
		bool foreign;
		unsigned expect;
	} rows[] = {
		{ MICROSOFT, unrelated, &constant, 0, false, false, 1 },
		{ MICROSOFT, unrelated, &constant, 0, true, false, 2 },
		{ MICROSOFT, related, &constant, 0, true, false, 0 },
		{ MICROSOFT, unrelated, &block, 0, false, false, 3 },
		{ MICROSOFT, unrelated, &block, 0, true, false, 5 },
		{ MICROSOFT, related, &block, 0, false, false, 0 },
		{ MICROSOFT, unrelated, &tenants, 0, false, false, 0 },
		{ MICROSOFT, unrelated, &own_list, 0, false, false, 0 },
		{ MICROSOFT, unrelated, &constant, 0, false, true, 0 },
		{ EVERYBODY, unrelated, &block, 0, false, false, 0 },
		{ EVERYBODY, unrelated, &block, 1, false, false, 5 },
		{ EVERYBODY, unrelated, &constant, 1, true, false, 5 },
		{ EVERYBODY, related, &block, 1, false, false, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rig r;
		unsigned n, have = rows[i].net_step || rows[i].provider == MICROSOFT ? 8 : 3;

		one_source(&r, rows[i].provider);
		for (unsigned k = 0; rows[i].welcome && k < 4; k++)
			once(&r, "w.example", NULL, &good, k);
		for (unsigned k = 0; k < 3; k++)
			r.hosts[k].foreign = rows[i].foreign;
		n = until_wide(&r, rows[i].domains, have, rows[i].c, rows[i].net_step);
		if (n != rows[i].expect)
			fail_msg("row %zu: %u", i, n);
		rig_deinit(&r);
	}
}

/* Who is accepted between two of them is no witness for them. */
static void test_contradicted(void **state)
{
	struct rig r;
	char domain[32];

	one_source(&r, MICROSOFT);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(domain, sizeof(domain), "t%u.example", i);
		once(&r, domain, NULL, &constant, 100 + i);
		if (!i) { /* nobody had taken anything: it is believed, and probed */
			assert_int_equal(events(&r).kinds[POLICY_EVENT_SOURCE_BLOCKED], 1);
			rig_pass(&r, 300000);
			once(&r, "w.example", NULL, &good, 1);
			once(&r, "w.example", NULL, &good, 2);
			assert_int_equal(events(&r).kinds[POLICY_EVENT_SOURCE_UNBLOCKED], 1);
		}
		once(&r, "w.example", NULL, &good, 3);
	}
	assert_int_equal(events(&r).kinds[POLICY_EVENT_SOURCE_BLOCKED], 0);
	rig_deinit(&r);
}

/* Among everybody else, receivers in one network speak for that network. */
static void test_cluster(void **state)
{
	struct rig r;

	one_source(&r, EVERYBODY);
	once(&r, "a.example", NULL, &block, 1);
	once(&r, "b.example", NULL, &block, 2);
	assert_int_equal(asks(&r, "d.example", NULL), HOLD_NONE);
	once(&r, "c.example", NULL, &block, 3);
	r.hosts[2].addr = rig_addr("203.0.113.3");
	assert_int_equal(asks(&r, "d.example", NULL), HOLD_BLOCKED);
	for (unsigned k = 0; k < 3; k++)
		r.hosts[k].addr = rig_addr("198.18.0.1");
	assert_int_equal(asks(&r, "d.example", NULL), HOLD_NONE);
	rig_deinit(&r);
}

/* ---- senders ---- */

static const struct classification limit = {
	.verdict = VERDICT_MESSAGE_REJECTED, .scope = SCOPE_SENDER, .voice = VOICE_PROVIDER
};
static const struct classification said = { .verdict = VERDICT_MESSAGE_REJECTED,
	.scope = SCOPE_SENDER };

/* The provider's own constant holds the domain at the provider; another's mail goes on, and
 * nobody's source is meant. */
static void test_sender_at_provider(void **state)
{
	struct policy_summary sum;
	struct policy_verdict v;
	struct seen s;
	struct rig r;

	one_source(&r, MICROSOFT);
	v = once(&r, "t.example", "Shop.Example", &limit, 1);
	assert_int_equal(v.what, DISPOSE_HOLD);
	assert_int_equal(v.reason, HOLD_SENDER);
	assert_string_equal(v.cause, "sender");
	s = events(&r);
	assert_int_equal(s.kinds[POLICY_EVENT_SENDER_HELD], 1);
	assert_true(s.last.alarm);
	assert_string_equal(s.last.sender, "shop.example");
	assert_int_equal(asks(&r, "u.example", "shop.example"), HOLD_SENDER);
	assert_int_equal(asks(&r, "u.example", "other.example"), HOLD_NONE);
	assert_int_equal(asks(&r, "u.example", NULL), HOLD_NONE);
	r.want.provider = EVERYBODY;
	assert_int_equal(asks(&r, "u.example", "shop.example"), HOLD_NONE);
	r.want.provider = MICROSOFT;
	policy_summary(r.policy, r.now, &sum);
	assert_int_equal(sum.senders_held, 1);
	assert_int_equal(sum.blocked + sum.resting + sum.unwelcome, 0);
	/* on an open connection as well */
	{
		struct policy_choice c, why;
		bool retire;

		r.want.sender = "other.example";
		c = rig_choose(&r);
		r.want.sender = "shop.example";
		assert_false(rig_admit(&r, c.slot, &why, &retire));
		assert_int_equal(why.reason, HOLD_SENDER);
		assert_false(retire);
		r.want.sender = "other.example";
		assert_true(rig_admit(&r, c.slot, &why, &retire));
	}
	rig_pass(&r, 330000);
	assert_int_equal(once(&r, "u.example", "shop.example", &good, 2).what, DISPOSE_DELIVERED);
	s = events(&r);
	assert_int_equal(s.kinds[POLICY_EVENT_SENDER_RELEASED], 1);
	assert_int_equal(asks(&r, "t.example", "shop.example"), HOLD_NONE);
	rig_deinit(&r);
}

static const struct classification later = { .verdict = VERDICT_SOURCE_THROTTLE };

/* Mail of shop.example is refused from now on. With others' mail beside it that is taken it is the
 * sender's trouble; what it alone had accepted before says nothing about others. */
static unsigned held_beside(bool others)
{
	struct policy_summary sum;
	struct rig r;
	char to[32];

	rig_init(&r);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(to, sizeof(to), "t%u.example", i);
		once(&r, to, "shop.example", &good, i + 1);
		rig_pass(&r, 100);
	}
	for (unsigned i = 0; i < 40; i++) {
		snprintf(to, sizeof(to), "u%u.example", i);
		if (asks(&r, to, "shop.example") == HOLD_NONE)
			once(&r, to, "shop.example", &later, 1000 + i);
		for (unsigned k = 0; others && k < 3; k++)
			if (asks(&r, to, "other.example") == HOLD_NONE)
				once(&r, to, "other.example", &good, 2000 + 3 * i + k);
		rig_pass(&r, 200);
	}
	policy_summary(r.policy, r.now, &sum);
	rig_deinit(&r);
	return sum.senders_held;
}

static void test_sender_beside_others(void **state)
{
	assert_int_equal(held_beside(true), 1);
	assert_int_equal(held_beside(false), 0);
}

/* Others' words hold it at that receiver, until several unrelated ones say so. */
static void test_sender_at_receiver(void **state)
{
	static const char *const domains[] = { "a.example", "b.example", "c.example", "d.example" };
	struct rig r;

	for (unsigned provider = MICROSOFT; provider <= EVERYBODY; provider++) {
		one_source(&r, provider);
		for (unsigned i = 0; i < COUNT(domains); i++) {
			assert_int_equal(asks(&r, "x.example", "shop.example"), HOLD_NONE);
			once(&r, domains[i], "shop.example", &said, i);
			assert_int_equal(asks(&r, domains[i], "shop.example"), HOLD_SENDER);
		}
		assert_int_equal(asks(&r, "x.example", "shop.example"),
			provider == MICROSOFT ? HOLD_SENDER : HOLD_NONE);
		rig_deinit(&r);
	}
	/* a name that cannot be told, or none: put off, never returned */
	one_source(&r, MICROSOFT);
	assert_int_equal(once(&r, "a.example", NULL, &limit, 1).what, DISPOSE_DEFER);
	assert_int_equal(once(&r, "a.example", "x|y/..", &limit, 1).what, DISPOSE_DEFER);
	assert_int_equal(once(&r, "a.example", "", &limit, 1).what, DISPOSE_DEFER);
	rig_deinit(&r);
}

/* ---- restarts, and the operator ---- */

static void test_saved(void **state)
{
	struct rig_saved *k = calloc(1, sizeof(*k)), *ends = calloc(1, sizeof(*ends));
	unsigned gone = 0;
	struct rig r;

	one_source(&r, EVERYBODY);
	once(&r, "a.example", "shop.example", &block, 1);
	once(&r, "b.example", "shop.example", &said, 2);
	r.want.provider = MICROSOFT;
	once(&r, "t.example", "shop.example", &limit, 3);
	policy_save(r.policy, rig_keep, k);
	rig_deinit(&r);

	one_source(&r, EVERYBODY);
	rig_load(&r, k);
	assert_int_equal(asks(&r, "a.example", NULL), HOLD_BLOCKED);
	assert_int_equal(asks(&r, "b.example", "shop.example"), HOLD_SENDER);
	assert_int_equal(asks(&r, "c.example", "shop.example"), HOLD_NONE);
	r.want.provider = MICROSOFT;
	assert_int_equal(asks(&r, "z.example", "shop.example"), HOLD_SENDER);
	/* the operator ends all of it at once, on disk as well */
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "nobody.example"), -ENOENT);
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "shop.example"), 0);
	assert_int_equal(asks(&r, "z.example", "shop.example"), HOLD_NONE);
	r.want.provider = EVERYBODY;
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "a.example"), 0);
	assert_int_equal(asks(&r, "a.example", NULL), HOLD_NONE);
	assert_true(events(&r).last.over);
	policy_save(r.policy, rig_keep, ends);
	for (size_t i = 0; i < ends->n; i++)
		gone += ends->gone[i] && strstr(ends->keys[i], "/ban-");
	assert_int_equal(gone, 3);
	rig_deinit(&r);
	free(k);
	free(ends);
}

/* A wall clock that was set back does not make it longer. */
static void test_clock(void **state)
{
	struct rig r;

	one_source(&r, EVERYBODY);
	once(&r, "a.example", NULL, &block, 1);
	r.now.wall -= 10ll * 365 * 86400000;
	assert_int_equal(asks(&r, "a.example", NULL), HOLD_BLOCKED);
	rig_pass(&r, 330000);
	assert_int_equal(asks(&r, "a.example", NULL), HOLD_NONE);
	rig_deinit(&r);
}

/* Many strangers: the table is bounded, and the last ones are remembered. */
static void test_bounded(void **state)
{
	struct policy_summary sum;
	char domain[40];
	struct rig r;

	one_source(&r, EVERYBODY);
	for (unsigned i = 0; i < 21000; i++) {
		snprintf(domain, sizeof(domain), "x.s%u.example", i / 2);
		once(&r, domain + 2 * (i % 2), NULL, &block, i);
		if (i % 2) /* nobody is found to refuse it at all */
			once(&r, "good.example", NULL, &good, i);
	}
	policy_summary(r.policy, r.now, &sum);
	assert_true(sum.unwelcome <= 20000 && sum.unwelcome > 15000);
	assert_int_equal(sum.blocked, 0);
	assert_int_equal(asks(&r, domain, NULL), HOLD_BLOCKED);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_receiver),
		cmocka_unit_test(test_witnesses),
		cmocka_unit_test(test_contradicted),
		cmocka_unit_test(test_cluster),
		cmocka_unit_test(test_sender_at_provider),
		cmocka_unit_test(test_sender_at_receiver),
		cmocka_unit_test(test_sender_beside_others),
		cmocka_unit_test(test_saved),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
