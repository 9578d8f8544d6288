/* What the operator ends while a deferral of it is on its way into the queue. The queue's answer is
 * held back to have that moment. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

struct queue_job;
void __real_settle_answer(struct dispatch *d, struct queue_job *j);
void __wrap_settle_answer(struct dispatch *d, struct queue_job *j);

static struct queue_job *held; /* of the dispatcher's thread */
static bool holds;

void __wrap_settle_answer(struct dispatch *d, struct queue_job *j)
{
	if (holds && !held)
		held = j;
	else
		__real_settle_answer(d, j);
}

static void look(struct dispatch *d, void *arg)
{
	*(bool *)arg = held != NULL;
}

static bool is_held(struct rig *r)
{
	bool is = false;

	rig_call(r, look, &is);
	return is;
}

static void let_go(struct dispatch *d, void *arg)
{
	struct queue_job *j = held;

	holds = false;
	held = NULL;
	__real_settle_answer(d, j);
}

static void check(enum dispatch_op op, unsigned dsns)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, "<x@", "451 4.2.1 busy", 1, 0 } };
	uint64_t id, changed;
	struct rig r;

	rules[0].used = 0;
	rig_init(&r, rules, COUNT(rules));
	r.schedule[0] = r.schedule[1] = 3600000;
	holds = true;
	rig_start(&r);
	id = rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(is_held(&r));
	assert_int_equal(rig_operate(&r, op, id, NULL, &changed), 0);
	assert_int_equal(changed, 1);
	/* once is enough */
	assert_int_equal(rig_operate(&r, op, id, NULL, &changed), 0);
	assert_int_equal(changed, 0);
	rig_call(&r, let_go, NULL);
	WAIT_UNTIL(mx_dsns(&r.mx) == dsns && rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 0);
	WAIT_UNTIL(rig_stats(&r).work == 0);
	rig_stop(&r);
}

static void test_remove(void **state)
{
	check(DISPATCH_REMOVE, 0);
}

static void test_bounce(void **state)
{
	check(DISPATCH_BOUNCE, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_bounce),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
