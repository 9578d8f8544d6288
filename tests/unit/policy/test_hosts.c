/* A host's own failures, and which source goes where again. Virtual time. */
#include "rig.h"

#include <stdio.h>

/* ---- the same source again ---- */

static void prefer(struct rig *r, struct policy_tried *tried, unsigned source)
{
	*tried = (struct policy_tried){ .prefer = (uint16_t)(source + 1) };
	r->want.tried = tried;
}

/* Whatever the weights say: each of the sources, many times over. */
static void test_same_source(void **state)
{
	struct policy_tried tried;
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 60; i++) {
		struct policy_choice c;

		prefer(&r, &tried, i % 3);
		c = rig_choose(&r);
		assert_true(c.go);
		assert_int_equal(c.source, i % 3);
		rig_end(&r, c.slot);
	}
	rig_deinit(&r);
}

/* It has no place just now: waited for. */
static void test_same_source_is_busy(void **state)
{
	struct policy_tried tried;
	struct policy_choice c;
	unsigned n = 0;
	struct rig r;

	rig_init(&r);
	prefer(&r, &tried, 1);
	while ((c = rig_choose(&r)).go) {
		assert_int_equal(c.source, 1);
		n++;
	}
	assert_true(n > 0 && n <= 3);
	assert_true(c.reason == HOLD_CAP || c.reason == HOLD_WINDOW);
	r.want.tried = NULL;
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* It may not go for long: the other source of its subnet; then any. */
static void test_same_subnet(void **state)
{
	struct policy_tried tried;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	prefer(&r, &tried, 0);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	for (unsigned i = 0; i < 10; i++) {
		c = rig_choose(&r);
		assert_true(c.go);
		assert_int_equal(c.source, 1);
		rig_end(&r, c.slot);
	}
	assert_int_equal(policy_suspend(r.policy, r.now, "a2", NULL, 0), 0);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.source, 2);
	rig_deinit(&r);
}

/* Refused for the source's sake in this cycle: that moves it. */
static void test_refused_source_is_left(void **state)
{
	struct policy_tried tried;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	prefer(&r, &tried, 0);
	tried.n = 1;
	tried.source[0] = 0;
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.source, 2);
	rig_deinit(&r);
}

/* ---- marks ---- */

/* Two subnets of ours, a host of preference 10 and one of 20. */
static void two_hosts(struct rig *r)
{
	rig_init(r);
	r->hosts[1].preference = 20;
	r->want.nhosts = 2;
	r->want.provider = 1;
}

static struct policy_choice from_subnet(struct rig *r, unsigned source)
{
	struct policy_tried tried = { .prefer = (uint16_t)(source + 1) };
	struct policy_choice c;

	r->want.tried = &tried;
	c = rig_choose(r);
	r->want.tried = NULL;
	return c;
}

static uint64_t failed(struct rig *r, uint32_t slot, enum policy_host_fault f)
{
	uint64_t from = policy_host_failed(r->policy, r->now, slot, f);

	rig_end(r, slot);
	return from;
}

/* How often each host is chosen, and source 2 (the other subnet), in so many. */
struct share {
	unsigned host[3], from_b;
};
static struct share shares(struct rig *r, unsigned n)
{
	struct share s = { { 0 }, 0 };

	for (unsigned i = 0; i < n; i++) {
		struct policy_choice c = rig_choose(r);

		assert_true(c.go);
		s.host[c.host]++;
		s.from_b += c.source == 2;
		rig_up(r, c.slot);
		rig_end(r, c.slot);
	}
	return s;
}

/* Silence towards one subnet: others go on to the same host, and it is not gone round by way of the
 * backup while they may. */
static void test_silent_for_one_subnet(void **state)
{
	struct policy_choice c;
	struct share s;
	struct rig r;

	two_hosts(&r);
	c = from_subnet(&r, 2);
	assert_int_equal(c.source, 2);
	assert_int_equal(c.host, 0);
	assert_true(failed(&r, c.slot, HOST_SILENT) != POLICY_FROM_ALL);
	s = shares(&r, 50);
	assert_int_equal(s.host[0], 50);
	assert_int_equal(s.from_b, 0);
	/* where the others may not go, it has the backup */
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	assert_int_equal(policy_suspend(r.policy, r.now, "a2", NULL, 0), 0);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.host, 1);
	rig_deinit(&r);
}

/* For two subnets, and nobody got through meanwhile: for all. */
static void test_silent_for_two_subnets(void **state)
{
	struct policy_choice a, b;
	struct rig r;

	two_hosts(&r);
	a = from_subnet(&r, 0);
	b = from_subnet(&r, 2);
	assert_true(failed(&r, a.slot, HOST_SILENT) != POLICY_FROM_ALL);
	assert_true(failed(&r, b.slot, HOST_SILENT) == POLICY_FROM_ALL);
	assert_int_equal(shares(&r, 20).host[1], 20);
	rig_deinit(&r);
}

/* Two of three subnets are dead; the third gets through, and keeps the host. */
static void test_two_dead_subnets(void **state)
{
	struct policy_choice a, b, good;
	struct rig r;

	two_hosts(&r);
	a = from_subnet(&r, 0);
	b = from_subnet(&r, 2);
	good = from_subnet(&r, 1);
	assert_true(failed(&r, b.slot, HOST_SILENT) != POLICY_FROM_ALL);
	rig_pass(&r, 10);
	rig_up(&r, good.slot);
	assert_true(failed(&r, a.slot, HOST_SILENT) != POLICY_FROM_ALL);
	rig_deinit(&r);
}

/* The pool has nothing else to try it with. */
static void test_silent_and_alone(void **state)
{
	struct policy_choice c;
	struct rig r;

	two_hosts(&r);
	assert_int_equal(policy_suspend(r.policy, r.now, "b1", NULL, 0), 0);
	c = rig_choose(&r);
	assert_true(failed(&r, c.slot, HOST_SILENT) == POLICY_FROM_ALL);
	rig_deinit(&r);
}

/* What a host says of itself is for all, whoever is told; the pauses grow, and one connection finds
 * out while the others stay away. */
static void test_words_and_probes(void **state)
{
	static const enum policy_host_fault faults[] = { HOST_SAYS, HOST_SAYS_AT_DOOR };

	for (size_t k = 0; k < COUNT(faults); k++) {
		ms_t pause = 5000;
		struct rig r;

		two_hosts(&r);
		for (unsigned n = 0; n < 8; n++) {
			struct policy_choice c = rig_choose(&r), other;

			assert_true(c.go);
			assert_int_equal(c.host, 0);
			/* nobody beside the one that finds out */
			if (n) {
				other = rig_choose(&r);
				assert_int_equal(other.host, 1);
				rig_end(&r, other.slot);
			}
			if (faults[k] == HOST_SAYS)
				rig_up(&r, c.slot);
			assert_true(failed(&r, c.slot, faults[k]) == POLICY_FROM_ALL);
			rig_pass(&r, pause - 1);
			assert_int_equal(shares(&r, 5).host[1], 5);
			rig_pass(&r, pause / 10 + 2);
			pause = pause * 2 < 300000 ? pause * 2 : 300000;
		}
		rig_deinit(&r);
	}
}

/* Coming up ends a mark of the door; one of the session ends with mail that is taken. */
static void test_back(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c, why;
	struct rig r;
	bool retire;

	two_hosts(&r);
	c = rig_choose(&r);
	failed(&r, c.slot, HOST_SAYS_AT_DOOR);
	rig_pass(&r, 6000);
	assert_int_equal(shares(&r, 5).host[0], 5);
	c = rig_choose(&r);
	rig_up(&r, c.slot);
	failed(&r, c.slot, HOST_SAYS);
	rig_pass(&r, 6000);
	c = rig_choose(&r);
	assert_int_equal(c.host, 0);
	rig_up(&r, c.slot);
	assert_int_equal(shares(&r, 5).host[1], 5); /* it has not carried anything yet */
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	rig_result(&r, c.slot, VERDICT_DELIVERED, 250, &tried);
	assert_int_equal(shares(&r, 5).host[0], 5);
	rig_deinit(&r);
}

/* A domain's only host is used all the same. */
static void test_only_host(void **state)
{
	struct policy_choice c;
	struct rig r;

	two_hosts(&r);
	r.want.nhosts = 1;
	c = rig_choose(&r);
	failed(&r, c.slot, HOST_SAYS_AT_DOOR);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(c.host, 0);
	rig_deinit(&r);
}

/* Two front ends of four refuse at the door while the others let in: the cluster has no cap. */
static void test_broken_front_ends(void **state)
{
	struct classification k = { .verdict = VERDICT_DESTINATION_BUSY, .scope = SCOPE_CLUSTER };
	struct policy_host hosts[4];
	unsigned up = 0, refused = 0;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 4; i++) {
		char text[20];

		snprintf(text, sizeof(text), "203.0.113.%u", i + 1);
		hosts[i] = (struct policy_host){ .addr = rig_addr(text), .preference = 10 };
	}
	r.want.hosts = hosts;
	r.want.nhosts = 4;
	while (up < 6 && (c = rig_choose(&r)).go) {
		if (c.host < 2) {
			policy_disconnected(r.policy, r.now, c.slot, &k, 0);
			refused++;
		} else {
			rig_up(&r, c.slot);
			up++;
		}
		rig_pass(&r, 50);
	}
	assert_int_equal(up, 6); /* as many as our own cap allows */
	assert_true(refused <= 2);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_for_one_subnet),
		cmocka_unit_test(test_silent_for_two_subnets),
		cmocka_unit_test(test_two_dead_subnets),
		cmocka_unit_test(test_silent_and_alone),
		cmocka_unit_test(test_words_and_probes),
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_only_host),
		cmocka_unit_test(test_broken_front_ends),
		cmocka_unit_test(test_same_source),
		cmocka_unit_test(test_same_source_is_busy),
		cmocka_unit_test(test_same_subnet),
		cmocka_unit_test(test_refused_source_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
