/* What a host takes: messages a session, recipients a transaction, and mail over IPv6. Virtual time. */
#include "rig.h"

#include <stdio.h>

/* ---- limits of receivers ---- */

static unsigned carried(struct rig *r, unsigned most, bool said)
{
	struct policy_choice c = rig_choose(r), why;
	struct policy_tried tried = { 0 };
	unsigned n = 0;
	bool retire = false;

	assert_true(c.go);
	rig_up(r, c.slot);
	while (!retire && rig_admit(r, c.slot, &why, &retire)) {
		if (n == most) {
			assert_true(policy_session_ended(r->policy, r->now, c.slot, said));
			rig_txn_end(r, c.slot, TXN_NOT_BEGUN);
			break;
		}
		rig_result(r, c.slot, VERDICT_DELIVERED, 250, &tried);
		n++;
	}
	rig_end(r, c.slot);
	return n;
}

static struct policy_cluster_info cluster_info;
static void keep_info(void *arg, const struct policy_cluster_info *i)
{
	if (addr_eq(&i->host, arg))
		cluster_info = *i;
}

static uint32_t shown(struct rig *r)
{
	memset(&cluster_info, 0, sizeof(cluster_info));
	policy_clusters(r->policy, r->now, keep_info, &r->hosts[0].addr);
	return cluster_info.messages;
}

static void session_rig(struct rig *r)
{
	rig_init(r);
	r->want.nhosts = 1;
	r->want.provider = 1;
	r->providers[1].messages_per_connection = 100;
}

/* n is kept to, tried again after half an hour, more seldom each time, and rises when it may. */
static void test_session_limit(void **state)
{
	struct rig r;

	session_rig(&r);
	assert_int_equal(carried(&r, 20, true), 20);
	assert_int_equal(shown(&r), 20);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(carried(&r, 1000, true), 20);
	rig_pass(&r, 1800001);
	assert_int_equal(carried(&r, 20, true), 20); /* ran into it */
	assert_int_equal(carried(&r, 1000, true), 20);
	rig_pass(&r, 1800001);
	assert_int_equal(carried(&r, 1000, true), 20);
	rig_pass(&r, 1800001);
	assert_int_equal(carried(&r, 1000, true), 40);
	assert_int_equal(shown(&r), 40);
	rig_pass(&r, 1800001);
	assert_int_equal(carried(&r, 1000, true), 80);
	rig_pass(&r, 1800001);
	assert_int_equal(carried(&r, 1000, true), 100);
	assert_int_equal(shown(&r), 0);
	rig_deinit(&r);
}

/* A hang-up has many reasons: it counts when it shows twice at the same number. */
static void test_session_hangups(void **state)
{
	struct rig r;

	session_rig(&r);
	assert_int_equal(carried(&r, 7, false), 7);
	assert_int_equal(carried(&r, 13, false), 13);
	assert_int_equal(shown(&r), 0);
	assert_int_equal(carried(&r, 13, false), 13);
	assert_int_equal(shown(&r), 13);
	assert_int_equal(carried(&r, 1000, false), 13);
	rig_deinit(&r);
}

/* Nothing was taken: no limit of sessions. */
static void test_no_session_limit(void **state)
{
	struct policy_choice c;
	struct rig r;

	session_rig(&r);
	c = rig_choose(&r);
	rig_up(&r, c.slot);
	assert_false(policy_session_ended(r.policy, r.now, c.slot, true));
	rig_end(&r, c.slot);
	rig_deinit(&r);
}

static void test_recipients(void **state)
{
	struct policy_choice c;
	struct rig r;

	session_rig(&r);
	c = rig_choose(&r);
	assert_int_equal(policy_recipients(r.policy, r.now, c.slot), 0);
	policy_too_many(r.policy, r.now, c.slot, 41, 20);
	assert_int_equal(policy_recipients(r.policy, r.now, c.slot), 20);
	rig_pass(&r, 1800001);
	assert_int_equal(policy_recipients(r.policy, r.now, c.slot), 40);
	policy_took(r.policy, r.now, c.slot, 30);
	assert_int_equal(policy_recipients(r.policy, r.now, c.slot), 30);
	/* refused as a whole */
	policy_too_many(r.policy, r.now, c.slot, 30, 0);
	assert_int_equal(policy_recipients(r.policy, r.now, c.slot), 15);
	rig_deinit(&r);
}

struct saved {
	char key[8][200], value[8][200];
	unsigned n;
};
static void put(void *arg, struct slice key, struct slice value)
{
	struct saved *s = arg;

	if (!value.p || !memmem(key.p, key.n, "policy/limit/", 13))
		return;
	assert_true(s->n < 8);
	snprintf(s->key[s->n], 200, "%.*s", (int)key.n, key.p);
	snprintf(s->value[s->n++], 200, "%.*s", (int)value.n, value.p);
}

static void test_limits_are_kept(void **state)
{
	static struct saved s;
	struct policy_choice c;
	struct rig r;

	session_rig(&r);
	assert_int_equal(carried(&r, 20, true), 20);
	c = rig_choose(&r);
	policy_too_many(r.policy, r.now, c.slot, 41, 20);
	policy_save(r.policy, put, &s);
	assert_int_equal(s.n, 2);
	rig_deinit(&r);
	session_rig(&r);
	for (unsigned i = 0; i < s.n; i++)
		assert_int_equal(
			policy_load(r.policy, slice_of(s.key[i]), slice_of(s.value[i])), 0);
	assert_int_equal(shown(&r), 20);
	assert_int_equal(cluster_info.recipients, 20);
	assert_int_equal(carried(&r, 1000, true), 20);
	/* bounds of what is read */
	assert_true(policy_load(r.policy, SLICE_LIT("policy/limit/203.0.113.1|messages|default"),
			    SLICE_LIT("2 0 0 0 0 ")) < 0);
	assert_true(policy_load(r.policy, SLICE_LIT("policy/limit/203.0.113.1|letters|default"),
			    SLICE_LIT("2 5 0 0 0 ")) < 0);
	rig_deinit(&r);
}

/* ---- IPv6 ---- */

static const struct {
	uint16_t code;
	const char *text;
	enum verdict verdict;
	bool moves;
} v6_rows[] = {
	{ 550, "5.7.25 sending address must have a PTR record", VERDICT_SOURCE_BLOCK, true },
	{ 450, "4.7.25 no reverse name", VERDICT_SOURCE_THROTTLE, true },
	{ 450, "4.7.26 neither SPF nor DKIM", VERDICT_MESSAGE_REJECTED, true },
	{ 550, "5.7.26 unauthenticated", VERDICT_MESSAGE_REJECTED, true },
	{ 550, "5.7.510 Access denied", VERDICT_SOURCE_BLOCK, true },
	{ 554, "5.7.1 we take no mail over IPv6", VERDICT_MESSAGE_REJECTED, true },
	{ 550, "5.1.1 no such user", VERDICT_RECIPIENT_INVALID, false },
};

/* The refusal is IPv6's, and IPv4 is at hand: at once, never a bounce, and no IPv6 to that domain
 * for hours; another domain's mail goes over both. */
static void test_ipv6_refused(void **state)
{
	static __typeof__(*((struct pool_params *)0)->members) both[] = { { 0, 1 }, { 3, 1 } };

	for (size_t k = 0; k < COUNT(v6_rows); k++) {
		struct policy_tried tried = { .families = POLICY_FAMILY_V4 | POLICY_FAMILY_V6 };
		struct classification is = { .verdict = v6_rows[k].verdict };
		static struct reply reply;
		struct policy_verdict v;
		struct policy_choice c;
		struct rig r;

		rig_init(&r);
		r.pools[0] = (struct pool_params){ r.pools[0].name, 2, (void *)both };
		r.want.provider = 1;
		r.hosts[1].addr = rig_addr("2001:db8:1::1");
		r.want.nhosts = 2;
		do {
			c = rig_choose(&r);
			assert_true(c.go);
			if (c.source != 3)
				rig_end(&r, c.slot);
		} while (c.source != 3);
		assert_int_equal(c.host, 1);
		reply_make(&reply, v6_rows[k].code, v6_rows[k].text);
		classify_facts(&reply, &is);
		policy_refused(r.policy, r.now, c.slot, "example.org", &is, &tried, &v);
		rig_end(&r, c.slot);
		assert_int_equal(v.what == DISPOSE_RETRY_SUBNET, v6_rows[k].moves);
		if (!v6_rows[k].moves) {
			rig_deinit(&r);
			continue;
		}
		r.want.tried = &tried;
		c = rig_choose(&r);
		assert_int_equal(c.source, 0);
		rig_end(&r, c.slot);
		r.want.tried = NULL;
		rig_pass(&r, 3600000);
		for (unsigned i = 0; i < 10; i++) {
			c = rig_choose(&r);
			assert_int_equal(c.source, 0);
			rig_end(&r, c.slot);
		}
		rig_deinit(&r);
	}
}

/* Nothing but IPv6: as the rules have it. */
static void test_ipv6_alone(void **state)
{
	struct policy_tried tried = { .families = POLICY_FAMILY_V6 };
	struct classification is = { .verdict = VERDICT_MESSAGE_REJECTED };
	static struct reply reply;
	struct policy_verdict v;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	r.want.pool = 1;
	r.want.provider = 1;
	r.hosts[0].addr = rig_addr("2001:db8:1::1");
	r.want.nhosts = 1;
	c = rig_choose(&r);
	assert_true(c.go);
	reply_make(&reply, 550, "5.7.26 unauthenticated over IPv6");
	classify_facts(&reply, &is);
	policy_refused(r.policy, r.now, c.slot, "example.org", &is, &tried, &v);
	assert_int_equal(v.what, DISPOSE_BOUNCE);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session_limit),
		cmocka_unit_test(test_session_hangups),
		cmocka_unit_test(test_no_session_limit),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_limits_are_kept),
		cmocka_unit_test(test_ipv6_refused),
		cmocka_unit_test(test_ipv6_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
