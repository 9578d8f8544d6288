/* What is told of causes: each rest with its cause, and alarms when much of a provider's mail is put off. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct by_cause {
	const char *cause; /* of the first provider */
	struct policy_cause_info info;
	unsigned rows;
};

static void keep_cause(void *arg, const struct policy_cause_info *i)
{
	struct by_cause *b = arg;

	b->rows++;
	if (!strcmp(i->cause, b->cause) && !strcmp(i->provider, "microsoft365"))
		b->info = *i;
}

static struct policy_cause_info cause_row(struct rig *r, const char *cause)
{
	struct by_cause b = { .cause = cause };

	policy_causes(r->policy, r->now, keep_cause, &b);
	/* seven causes but the message, at two providers */
	assert_int_equal(b.rows, 14);
	return b.info;
}

static void keep_kind(void *arg, const struct policy_event *e)
{
	struct policy_event *last = arg;

	*last = *e;
}

/* Each kind of rest, and of its end, is counted with its cause, and told. */
static void test_causes(void **state)
{
	struct policy_event last;
	struct policy_choice c;
	struct rig r;

	rig_only_source(&r);
	c = rig_choose(&r);
	assert_int_equal(cause_row(&r, "").lanes, 1);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	assert_int_equal(cause_row(&r, "subnet").lanes, 1);
	assert_int_equal(cause_row(&r, "subnet").rests, 1);
	assert_int_equal(cause_row(&r, "subnet").returns, 0);
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "microsoft365"), 0);
	rig_pass(&r, 60000); /* its window was halved just now */
	assert_int_equal(cause_row(&r, "subnet").lanes, 0);
	assert_int_equal(cause_row(&r, "subnet").returns, 1);
	policy_events(r.policy, keep_kind, &last);
	assert_int_equal(last.kind, POLICY_EVENT_RESUMED);
	assert_string_equal(last.cause, "operator");
	assert_string_equal(last.provider, "microsoft365");
	rig_deinit(&r);

	rig_init(&r);
	c = rig_choose(&r);
	rig_result_of(&r, c.slot, "example.org",
		&(struct classification){
			.verdict = VERDICT_SOURCE_BLOCK, .voice = VOICE_PROVIDER },
		550, &(struct policy_tried){ 0 });
	assert_int_equal(cause_row(&r, "source").rests, 1);
	assert_int_equal(cause_row(&r, "source").lanes, 1);
	assert_int_equal(policy_resume(r.policy, r.now, r.sources[c.source].name, NULL), 0);
	assert_int_equal(cause_row(&r, "source").returns, 1);
	assert_int_equal(
		policy_suspend(r.policy, r.now, NULL, "203.0.113.0/24", r.now.wall + 1000), 0);
	policy_events(r.policy, keep_kind, &last);
	assert_int_equal(last.kind, POLICY_EVENT_SUSPENDED);
	assert_string_equal(last.cluster, "203.0.113.0/24");
	assert_int_equal(last.until, r.now.wall + 1000);
	assert_int_equal(cause_row(&r, "operator").lanes, 1);
	rig_pass(&r, 1000);
	policy_tick(r.policy, r.now);
	policy_events(r.policy, keep_kind, &last);
	assert_int_equal(last.kind, POLICY_EVENT_RESUMED);
	assert_true(last.over);
	rig_deinit(&r);
}

static void keep_alarm(void *arg, const struct policy_event *e)
{
	enum policy_event_kind *kinds = arg;
	unsigned i = 0;

	while (kinds[i])
		i++;
	if (e->alarm || e->over)
		kinds[i] = e->kind;
}

/* Ten minutes, a message a second: one in seven is refused with words of that scope, and all of
 * the first ones. The kinds of the alarms of the first two minutes, and of all, are added. */
static void alarm_run(struct rig *r, uint32_t slot, enum verdict_scope scope, int first,
	enum policy_event_kind *early, enum policy_event_kind *kinds)
{
	for (int i = 0; i < 600; i++) {
		struct policy_tried tried = { 0 };
		char domain[32];
		struct classification k = { .verdict = i % 7 && i > first
							       ? VERDICT_DELIVERED
							       : VERDICT_DESTINATION_BUSY,
			.scope = scope };

		snprintf(domain, sizeof(domain), "t%d.example", i);
		rig_result_of(r, slot, domain, &k, k.verdict ? 451 : 250, &tried);
		rig_pass(r, 1000);
		policy_tick(r->policy, r->now);
		policy_events(r->policy, keep_alarm, i <= 120 ? early : kinds);
	}
}

/* Full mailboxes and messages that are put off say nothing of sources and clusters. */
static void test_no_alarm(void **state)
{
	static const enum verdict_scope scopes[] = { SCOPE_RECIPIENT, SCOPE_MESSAGE, SCOPE_SENDER };

	for (size_t i = 0; i < COUNT(scopes); i++) {
		enum policy_event_kind kinds[16] = { 0 };
		struct policy_summary summary;
		struct policy_choice c;
		struct rig r;

		rig_init(&r);
		c = rig_choose(&r);
		alarm_run(&r, c.slot, scopes[i], 60, kinds, kinds);
		assert_int_equal(kinds[0], 0);
		policy_summary(r.policy, r.now, &summary);
		assert_int_equal(summary.deferrals_high, 0);
		rig_deinit(&r);
	}
}

/* Over ten per cent for minutes; a moment alone is nothing. */
static void test_alarm(void **state)
{
	enum policy_event_kind early[16] = { 0 }, kinds[16] = { 0 };
	struct policy_summary summary;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	alarm_run(&r, c.slot, SCOPE_CLUSTER, 3, early, kinds);
	assert_int_equal(early[0], 0);
	policy_events(r.policy, keep_alarm, kinds);
	assert_int_equal(kinds[0], POLICY_EVENT_DEFERRALS_HIGH);
	assert_int_equal(kinds[1], 0);
	policy_summary(r.policy, r.now, &summary);
	assert_int_equal(summary.deferrals_high, 1);
	/* it is over when less than half of that is deferred */
	for (int i = 0; i < 600 && summary.deferrals_high; i++) {
		rig_result(&r, c.slot, VERDICT_DELIVERED, 250, &(struct policy_tried){ 0 });
		rig_pass(&r, 1000);
		policy_tick(r.policy, r.now);
		policy_summary(r.policy, r.now, &summary);
	}
	assert_int_equal(summary.deferrals_high, 0);
	policy_events(r.policy, keep_alarm, kinds);
	assert_int_equal(kinds[1], POLICY_EVENT_DEFERRALS_NORMAL);
	assert_int_equal(kinds[2], 0);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_causes),
		cmocka_unit_test(test_no_alarm),
		cmocka_unit_test(test_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
