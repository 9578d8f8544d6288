/* Single recipients: paced before they are refused, and alone when they are; and recipients that do
 * not exist, by the share of a domain's and of a client's. */
#include "rig.h"

#include <stdio.h>

#define MINUTE 60000
#define HOUR   (60 * MINUTE)
#define LIMIT  3600u

static struct policy_tried who(const char *recipient, const char *sender)
{
	return (struct policy_tried){ .recipient = policy_recipient_hash(recipient),
		.from = policy_recipient_hash(sender),
		.client = "192.0.2.99" };
}

static enum sender_state state(
	struct rig *r, const char *recipient, const char *sender, ms_t *until)
{
	struct policy_tried t = who(recipient, sender);

	return policy_recipient(r->policy, r->now, 0, &t, until);
}

static void told(
	struct rig *r, uint32_t slot, const char *recipient, const char *sender, const char *text)
{
	struct classification c = { 0 };
	struct policy_tried t = who(recipient, sender);
	struct policy_verdict v;
	static struct reply reply;

	if (text) {
		reply_make(&reply, 550, text);
		classify_facts(&reply, &c);
	}
	c.verdict = text ? VERDICT_DESTINATION_BUSY : VERDICT_DELIVERED;
	c.scope = text ? SCOPE_RECIPIENT : SCOPE_DEFAULT;
	c.cooldown = text ? HOUR : 0;
	rig_hear(r, slot, "example.org", &c, &t, &v);
	rig_end_if_any(r, slot, TXN_CUT);
	if (text)
		assert_int_equal(v.what, DISPOSE_DEFER);
}

static uint32_t begin(struct rig *r)
{
	struct policy_choice c;

	rig_init(r);
	r->providers[0].recipient_message_rate = (struct rate){ LIMIT, HOUR };
	c = rig_choose(r);
	assert_true(c.go);
	return c.slot;
}

/* As many as go until it is held, a message a second. */
static unsigned fill(struct rig *r, uint32_t slot, const char *recipient, const char *sender)
{
	unsigned n = 0;
	ms_t until;

	while (state(r, recipient, sender, &until) == SENDER_FREE && n < 2 * LIMIT) {
		told(r, slot, recipient, sender, NULL);
		rig_pass(r, 500);
		n++;
	}
	return n;
}

static void test_paced(void **state_)
{
	struct rig r;
	uint32_t slot = begin(&r);
	unsigned one, two, rest;
	ms_t until = 0;

	one = fill(&r, slot, "all@example.org", "app@a.example");
	assert_in_range(one, LIMIT / 3 * 9 / 10, LIMIT / 3);
	/* written in another way it is the same one */
	assert_int_equal(state(&r, "ALL@Example.org", "App@a.example", &until), SENDER_HELD);
	assert_in_range(until - r.now.mono, 1, HOUR + 5 * MINUTE);
	assert_int_equal(state(&r, "you@example.org", "app@a.example", &until), SENDER_FREE);
	two = fill(&r, slot, "all@example.org", "app@b.example");
	assert_in_range(two, LIMIT / 3 * 9 / 10, LIMIT / 3);
	rest = fill(&r, slot, "all@example.org", "app@c.example");
	assert_in_range(one + two + rest, LIMIT * 9 / 10, LIMIT);
	assert_int_equal(state(&r, "all@example.org", "app@d.example", &until), SENDER_HELD);
	rig_pass(&r, until - r.now.mono);
	assert_int_equal(state(&r, "all@example.org", "app@d.example", &until), SENDER_FREE);
	rig_deinit(&r);
}

/* Hour after hour no more than the limit in any hour, and most of it. */
static void test_steady(void **state_)
{
	static ms_t at[20000];
	struct rig r;
	uint32_t slot = begin(&r);
	unsigned n = 0, first = 0;
	ms_t until;

	for (ms_t end = r.now.mono + 5 * HOUR; r.now.mono < end; rig_pass(&r, 700)) {
		if (state(&r, "all@example.org", "app@a.example", &until) != SENDER_FREE)
			continue;
		told(&r, slot, "all@example.org", "app@a.example", NULL);
		at[n++] = r.now.mono;
		while (r.now.mono - at[first] >= HOUR)
			first++;
		assert_in_range(n - first, 1, LIMIT / 3);
	}
	assert_in_range(n, 5 * LIMIT / 3 * 8 / 10, 5 * LIMIT / 3 + LIMIT / 3);
	rig_deinit(&r);
}

/* It had little of us: one message by the schedule, the others wait for that; then an hour. */
static void test_refused(void **state_)
{
	struct policy_tried t = who("all@example.org", "app@a.example");
	struct policy_summary sum;
	struct rig r;
	uint32_t slot = begin(&r);
	ms_t until;

	told(&r, slot, "all@example.org", "app@a.example", "5.2.122 The recipient has had enough");
	assert_true(policy_recipients_watched(r.policy));
	assert_int_equal(state(&r, "all@example.org", "app@b.example", &until), SENDER_HELD);
	assert_int_equal(until - r.now.mono, 5 * MINUTE);
	assert_int_equal(state(&r, "you@example.org", "app@a.example", &until), SENDER_FREE);
	policy_summary(r.policy, r.now, &sum);
	assert_int_equal(sum.recipients_waiting, 1);
	/* what was under way already changes nothing */
	told(&r, slot, "all@example.org", "app@c.example", "5.2.122 The recipient has had enough");
	rig_pass(&r, 5 * MINUTE);
	assert_int_equal(state(&r, "all@example.org", "app@a.example", &until), SENDER_DUE);
	policy_recipient_goes(r.policy, r.now, 0, &t);
	assert_int_equal(state(&r, "all@example.org", "app@b.example", &until), SENDER_HELD);
	told(&r, slot, "all@example.org", "app@a.example", "5.2.122 The recipient has had enough");
	assert_int_equal(state(&r, "all@example.org", "app@b.example", &until), SENDER_HELD);
	assert_int_equal(until - r.now.mono, HOUR);
	rig_pass(&r, HOUR);
	assert_int_equal(state(&r, "all@example.org", "app@a.example", &until), SENDER_DUE);
	policy_recipient_goes(r.policy, r.now, 0, &t);
	told(&r, slot, "all@example.org", "app@a.example", NULL);
	assert_int_equal(state(&r, "all@example.org", "app@b.example", &until), SENDER_FREE);
	policy_summary(r.policy, r.now, &sum);
	assert_int_equal(sum.recipients_waiting, 0);
	rig_deinit(&r);
}

static void test_refused_of_one_sender(void **state_)
{
	struct rig r;
	uint32_t slot = begin(&r);
	ms_t until;

	told(&r, slot, "all@example.org", "app@a.example", "5.2.121 limit from this sender");
	assert_int_equal(state(&r, "all@example.org", "app@a.example", &until), SENDER_HELD);
	assert_int_equal(state(&r, "all@example.org", "app@b.example", &until), SENDER_FREE);
	/* one that had much of us: the whole hour at once */
	fill(&r, slot, "big@example.org", "app@a.example");
	told(&r, slot, "big@example.org", "app@a.example", "5.2.121 limit from this sender");
	assert_int_equal(state(&r, "big@example.org", "app@a.example", &until), SENDER_HELD);
	assert_int_equal(until - r.now.mono, HOUR);
	rig_deinit(&r);
}

/* The answer to the one message never came. */
static void test_lost_probe(void **state_)
{
	struct policy_tried t = who("all@example.org", "app@a.example");
	struct rig r;
	uint32_t slot = begin(&r);
	ms_t until;

	told(&r, slot, "all@example.org", "app@a.example", "5.2.122 enough");
	rig_pass(&r, 5 * MINUTE);
	policy_recipient_goes(r.policy, r.now, 0, &t);
	assert_int_equal(state(&r, "all@example.org", "app@a.example", &until), SENDER_HELD);
	rig_pass(&r, until - r.now.mono);
	assert_int_equal(state(&r, "all@example.org", "app@a.example", &until), SENDER_DUE);
	rig_deinit(&r);
}

/* However many there are, memory is bounded, and what has little is never held. */
static void test_many(void **state_)
{
	struct rig r;
	uint32_t slot = begin(&r);
	ms_t until;
	char name[40];

	for (unsigned i = 0; i < 300000; i++) {
		snprintf(name, sizeof(name), "u%u@example.org", i % 100000);
		told(&r, slot, name, "app@a.example", i % 40 ? NULL : "5.2.122 enough");
		rig_pass(&r, 10);
	}
	snprintf(name, sizeof(name), "u%u@example.org", 99999);
	assert_int_equal(state(&r, name, "app@a.example", &until), SENDER_FREE);
	rig_deinit(&r);
}

/* ---- recipients that do not exist ---- */

struct seen {
	unsigned high, normal;
	char domain[256], client[64], provider[32];
};

static void see(void *arg, const struct policy_event *e)
{
	struct seen *s = arg;

	s->normal += e->kind == POLICY_EVENT_UNKNOWN_NORMAL;
	if (e->kind != POLICY_EVENT_UNKNOWN_HIGH)
		return;
	assert_true(e->alarm);
	s->high++;
	if (e->domain[0])
		memcpy(s->domain, e->domain, sizeof(s->domain));
	if (e->client[0])
		memcpy(s->client, e->client, sizeof(s->client));
	memcpy(s->provider, e->provider, sizeof(s->provider));
}

static void outcome(
	struct rig *r, uint32_t slot, const char *domain, const char *client, bool unknown)
{
	struct classification c = { .verdict = unknown ? VERDICT_RECIPIENT_INVALID
						       : VERDICT_DELIVERED };
	struct policy_tried t = { .client = client };

	rig_result_of(r, slot, domain, &c, unknown ? 550 : 250, &t);
	rig_pass(r, 1000);
	policy_tick(r->policy, r->now);
}

static void test_unknown_at_a_domain(void **state_)
{
	struct policy_summary sum;
	struct seen s = { 0 };
	struct rig r;
	uint32_t slot = begin(&r);
	char client[16];

	/* everywhere a few, of everybody: nothing */
	for (unsigned i = 0; i < 600; i++) {
		snprintf(client, sizeof(client), "192.0.2.%u", i % 50);
		outcome(&r, slot, i % 2 ? "a.example" : "b.example", client, i % 25 == 0);
	}
	policy_events(r.policy, see, &s);
	assert_int_equal(s.high, 0);
	/* one domain refuses most */
	for (unsigned i = 0; i < 60; i++) {
		snprintf(client, sizeof(client), "192.0.3.%u", i);
		outcome(&r, slot, "gone.example", client, i % 4 != 0);
		outcome(&r, slot, "a.example", client, false);
	}
	policy_events(r.policy, see, &s);
	assert_int_equal(s.high, 1);
	assert_string_equal(s.domain, "gone.example");
	assert_string_equal(s.provider, "microsoft365");
	policy_summary(r.policy, r.now, &sum);
	assert_int_equal(sum.unknown_high, 1);
	/* and takes them again */
	for (unsigned i = 0; i < 3600 && !s.normal; i++) {
		outcome(&r, slot, "gone.example", "192.0.2.1", false);
		policy_events(r.policy, see, &s);
	}
	assert_int_equal(s.normal, 1);
	policy_summary(r.policy, r.now, &sum);
	assert_int_equal(sum.unknown_high, 0);
	rig_deinit(&r);
}

static void test_unknown_of_a_client(void **state_)
{
	struct seen s = { 0 };
	struct rig r;
	uint32_t slot = begin(&r);
	char domain[32];

	for (unsigned i = 0; i < 400; i++) {
		snprintf(domain, sizeof(domain), "t%u.example", i % 100);
		outcome(&r, slot, domain, "192.0.2.7", i % 7 == 0);
		outcome(&r, slot, domain, "192.0.2.8", i % 50 == 0);
	}
	policy_events(r.policy, see, &s);
	assert_int_equal(s.high, 1);
	assert_string_equal(s.client, "192.0.2.7");
	/* a quiet hour ends it as well */
	for (unsigned i = 0; i < 300; i++) {
		rig_pass(&r, MINUTE);
		policy_tick(r.policy, r.now);
	}
	policy_events(r.policy, see, &s);
	assert_int_equal(s.normal, 1);
	rig_deinit(&r);
}

static void test_unknown_many(void **state_)
{
	struct rig r;
	uint32_t slot = begin(&r);
	char domain[32];

	for (unsigned i = 0; i < 6000; i++) {
		snprintf(domain, sizeof(domain), "t%u.example", i);
		outcome(&r, slot, domain, "192.0.2.7", true);
	}
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paced),
		cmocka_unit_test(test_steady),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_of_one_sender),
		cmocka_unit_test(test_lost_probe),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_unknown_at_a_domain),
		cmocka_unit_test(test_unknown_of_a_client),
		cmocka_unit_test(test_unknown_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
