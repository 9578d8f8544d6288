/* What a reply changes: lanes, causes, what becomes of the recipient. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The verdict table, on a pool where another subnet is free. */
static void test_dispositions(void **state)
{
	static const struct {
		const char *name;
		enum verdict verdict;
		uint16_t code;
		enum disposition what;
	} rows[] = {
		{ "accepted", VERDICT_DELIVERED, 250, DISPOSE_DELIVERED },
		{ "throttled", VERDICT_SOURCE_THROTTLE, 451, DISPOSE_RETRY_SUBNET },
		{ "blocked", VERDICT_SOURCE_BLOCK, 450, DISPOSE_RETRY_SUBNET },
		{ "blocked for good", VERDICT_SOURCE_BLOCK, 550, DISPOSE_RETRY_SUBNET },
		{ "busy", VERDICT_DESTINATION_BUSY, 451, DISPOSE_DEFER },
		{ "busy, says 5xx", VERDICT_DESTINATION_BUSY, 554, DISPOSE_DEFER },
		{ "wrong region", VERDICT_DESTINATION_CONFIG, 451, DISPOSE_RESOLVE },
		{ "no such tenant", VERDICT_DESTINATION_CONFIG, 550, DISPOSE_BOUNCE },
		{ "too many at once", VERDICT_SPLIT_RECIPIENTS, 452, DISPOSE_RETRY_FEWER },
		{ "no such user", VERDICT_RECIPIENT_INVALID, 550, DISPOSE_BOUNCE },
		{ "full mailbox", VERDICT_RECIPIENT_INVALID, 452, DISPOSE_DEFER },
		{ "spam", VERDICT_MESSAGE_REJECTED, 554, DISPOSE_BOUNCE },
		{ "perhaps spam", VERDICT_MESSAGE_REJECTED, 451, DISPOSE_DEFER },
		{ "anything", VERDICT_TRANSIENT_OTHER, 451, DISPOSE_DEFER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_tried tried = { 0 };
		struct policy_choice c;
		struct rig r;

		rig_init(&r);
		c = rig_choose(&r);
		assert_int_equal(rig_result(&r, c.slot, rows[i].verdict, rows[i].code, &tried).what,
			rows[i].what);
		assert_int_equal(tried.n, rows[i].what == DISPOSE_RETRY_SUBNET);
		rig_deinit(&r);
	}
}

/* One subnet after the other, each once; then the message backs off. */
static void test_throttle(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct policy_verdict v;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	v = rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	assert_int_equal(v.what, DISPOSE_RETRY_SUBNET);
	rig_end(&r, c.slot);
	r.want.tried = &tried;
	c = rig_choose(&r);
	assert_true(c.go);
	assert_true((c.source == 2) != (tried.source[0] == 2));
	v = rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	assert_int_equal(v.what, DISPOSE_DEFER);
	assert_string_equal(v.cause, "message"); /* two subnets were told the same */
	rig_end(&r, c.slot);
	rig_deinit(&r);
}

/* One refusal is no verdict; six in a row are. 60 s, then twice as long, a quarter of an hour at
 * most; forgotten when it was well for long. */
static void test_rest(void **state)
{
	ms_t expect = 60000, began;
	struct rig r;

	rig_only_source(&r);
	began = r.now.wall;
	for (int i = 0; i < 12; i++) {
		struct policy_choice c = rig_choose(&r), why;
		struct policy_tried tried = { 0 };
		bool retire;

		assert_true(c.go);
		if (i) { /* a probe: refused once, it rests again */
			assert_true(rig_admit(&r, c.slot, &why, &retire));
			rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
		} else {
			rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
			assert_true(rig_admit(&r, c.slot, &why, &retire));
			rig_txn_end(&r, c.slot, TXN_NOT_BEGUN);
			rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
		}
		assert_false(rig_admit(&r, c.slot, &why, &retire));
		assert_int_equal(why.reason, HOLD_RESTING);
		assert_true(retire);
		rig_end(&r, c.slot);
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RESTING);
		assert_true(
			c.until >= r.now.mono + expect && c.until <= r.now.mono + expect * 11 / 10);
		rig_pass(&r, expect * 11 / 10);
		/* half of the time since it began, a minute at least, ten at most */
		expect = (r.now.wall - began) / 2;
		expect = expect < 60000 ? 60000 : expect > 600000 ? 600000 : expect;
	}
	rig_deinit(&r);
}

/* A probe is one transaction; two that succeed bring it back, with a window of one. */
static void test_probe(void **state)
{
	struct policy_choice c, why;
	struct policy_tried tried = { 0 };
	bool retire;
	struct rig r;

	rig_only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	rig_pass(&r, 66000);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING); /* one is under way */
	for (int i = 0; i < 2; i++) {
		assert_true(rig_admit(&r, c.slot, &why, &retire));
		assert_false(rig_admit(&r, c.slot, &why, &retire));
		assert_false(retire);
		rig_result(&r, c.slot, VERDICT_DELIVERED, 250, &tried);
	}
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_int_equal(rig_choose(&r).reason, HOLD_WINDOW);
	rig_deinit(&r);
}

/* Never bounced: held when no source is left, and looked at again after minutes. */
static void test_block(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct policy_verdict v;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	assert_int_equal(rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	/* another subnet, then the other source of the first */
	for (int i = 0; i < 2; i++) {
		r.want.tried = &tried;
		c = rig_choose(&r);
		if (!c.go) { /* only the sibling is left: the message may go there, too */
			tried.n = 0;
			c = rig_choose(&r);
		}
		assert_true(c.go);
		v = rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
		if (v.what == DISPOSE_HOLD)
			break;
	}
	r.want.tried = NULL;
	while ((c = rig_choose(&r)).go) {
		tried.n = 0;
		v = rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	}
	assert_int_equal(v.what, DISPOSE_HOLD);
	assert_int_equal(v.reason, HOLD_BLOCKED);
	assert_true(v.hold > 0 && v.hold <= 330000);
	assert_int_equal(c.reason, HOLD_BLOCKED);
	/* at another provider nobody is blocked */
	r.want.provider = 1;
	assert_true(rig_choose(&r).go);
	r.want.provider = 0;
	rig_pass(&r, 330000);
	for (uint32_t slot = 0; slot < 3; slot++)
		rig_end(&r, slot);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* A tenant's own block list keeps the source from that tenant alone. */
static void test_tenant_block(void **state)
{
	struct classification k = { .verdict = VERDICT_SOURCE_BLOCK, .scope = SCOPE_DOMAIN };
	struct policy_tried tried = { 0 };
	struct policy_choice c, why;
	bool retire;
	struct rig r;

	rig_init(&r);
	r.pools[0].nmembers = 2; /* a1 and a2, of one subnet */
	c = rig_choose(&r);
	assert_int_equal(rig_result_of(&r, c.slot, "example.org", &k, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	assert_false(rig_admit(&r, c.slot, &why, &retire));
	assert_int_equal(why.reason, HOLD_NO_SOURCE);
	assert_false(retire);
	for (int i = 0; i < 2; i++) {
		struct policy_choice other = rig_choose(&r);

		assert_true(other.go);
		assert_true(other.source != c.source);
	}
	r.want.domain = "example.net";
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	r.want.domain = "example.org";
	for (uint32_t slot = 0; slot < 3; slot++)
		rig_end(&r, slot);
	rig_pass(&r, 4 * 3600000);
	assert_true(rig_choose(&r).source != rig_choose(&r).source);
	rig_deinit(&r);
}

/* A message that is refused as from a blocked source by all, while others go: it may be the
 * message, and others are tried soon. */
static void test_poison(void **state)
{
	struct policy_tried tried = { .message = 7 };
	struct policy_choice c[2], why;
	bool retire;
	struct rig r;

	rig_init(&r);
	c[0] = rig_choose(&r);
	do
		c[1] = rig_choose(&r);
	while (c[1].source / 2 == c[0].source / 2);
	for (int i = 0; i < 8; i++) {
		struct policy_tried fresh = { 0 };

		rig_result(&r, c[i % 2].slot, VERDICT_DELIVERED, 250, &fresh);
	}
	assert_int_equal(rig_result(&r, c[0].slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	assert_false(rig_admit(&r, c[0].slot, &why, &retire));
	assert_int_equal(rig_result(&r, c[1].slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET); /* the sibling is left */
	rig_pass(&r, 60000);
	assert_true(rig_admit(&r, c[1].slot, &why, &retire));
	assert_true(rig_admit(&r, c[0].slot, &why, &retire)); /* as a probe */
	/* a second message tells the same: it is the source */
	tried = (struct policy_tried){ .message = 8 };
	rig_result(&r, c[1].slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	assert_false(rig_admit(&r, c[1].slot, &why, &retire));
	assert_int_equal(why.reason, HOLD_NO_SOURCE);
	rig_deinit(&r);
}

static void test_bind_failure(void **state)
{
	struct policy_choice c;
	struct rig r;

	rig_only_source(&r);
	c = rig_choose(&r);
	policy_disconnected(r.policy, r.now, c.slot, NULL, POLICY_E_BIND);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_NO_SOURCE);
	assert_int_equal(c.until, r.now.mono + 60000);
	rig_pass(&r, 60000);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

static void test_refused_session(void **state)
{
	struct classification k = { .verdict = VERDICT_SOURCE_THROTTLE };
	struct policy_choice c;
	struct rig r;

	rig_only_source(&r);
	for (int i = 0; i < 6; i++) {
		c = rig_choose(&r);
		assert_true(c.go);
		policy_disconnected(r.policy, r.now, c.slot, &k, 0);
	}
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING);
	rig_deinit(&r);
}

static void test_backoff(void **state)
{
	static const ms_t schedule[] = { 300000, 600000, 1200000, 1200000, 1200000 };
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < COUNT(schedule); i++) {
		ms_t low = INT64_MAX, high = 0;

		for (int k = 0; k < 1000; k++) {
			ms_t d = policy_backoff(r.policy, NULL, (unsigned)i + 1);

			low = d < low ? d : low;
			high = d > high ? d : high;
		}
		assert_true(low >= schedule[i] * 8 / 10 && low < schedule[i] * 85 / 100);
		assert_true(high <= schedule[i] * 12 / 10 && high > schedule[i] * 115 / 100);
	}
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispositions),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_tenant_block),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_bind_failure),
		cmocka_unit_test(test_refused_session),
		cmocka_unit_test(test_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
