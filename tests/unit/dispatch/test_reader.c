/* What the reading thread brings may be old when it comes: readings are stopped here at the worst
 * moments. */
#include "rig.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Readings of a.test wait at two gates, one before the queue is looked at and one after. */
static struct {
	atomic_bool closed;
	sem_t before, after;
	atomic_uint waiting_before, waiting_after, calls;
} gate;

int __real_queue_read_due(struct queue *q, const char *domain, const struct queue_look *look,
	struct queue_reading *w);
int __wrap_queue_read_due(struct queue *q, const char *domain, const struct queue_look *look,
	struct queue_reading *w);

static void pass(sem_t *s, atomic_uint *waiting)
{
	atomic_fetch_add(waiting, 1);
	while (sem_wait(s))
		;
	atomic_fetch_sub(waiting, 1);
}

int __wrap_queue_read_due(
	struct queue *q, const char *domain, const struct queue_look *look, struct queue_reading *w)
{
	bool stop = !strcmp(domain, "a.test") && atomic_load(&gate.closed);
	int r;

	if (stop)
		pass(&gate.before, &gate.waiting_before);
	r = __real_queue_read_due(q, domain, look, w);
	if (stop)
		pass(&gate.after, &gate.waiting_after);
	atomic_fetch_add(&gate.calls, 1);
	return r;
}

static void gate_close(void)
{
	sem_init(&gate.before, 0, 0);
	sem_init(&gate.after, 0, 0);
	atomic_store(&gate.closed, true);
}

/* What waits at the second goes on, and what comes later is not stopped. */
static void gate_open(void)
{
	atomic_store(&gate.closed, false);
	sem_post(&gate.before);
	sem_post(&gate.after);
}

struct pause {
	struct dispatch_call call;
	sem_t in, out;
};

static void pause_here(struct dispatch *d, void *arg)
{
	struct pause *p = arg;

	sem_post(&p->in);
	while (sem_wait(&p->out))
		;
}

static void pause_dispatcher(struct rig *r, struct pause *p)
{
	sem_init(&p->in, 0, 0);
	sem_init(&p->out, 0, 0);
	p->call = (struct dispatch_call){ .fn = pause_here, .arg = p };
	dispatch_call(r->dispatch, &p->call);
	while (sem_wait(&p->in))
		;
}

/* Comes in later, and is due as long as the one that is being read. */
static void send_as_old(struct rig *r, const char *recipient)
{
	const char *const all[] = { recipient, NULL };

	rig_commit(r, rig_message(r, "me@sender.test", all, 100), clock_wall_ms() - 60000);
}

/* One message in the queue from before the start; its reading has been begun. */
static uint64_t begin(struct rig *r, struct mx_rule *rules, unsigned nrules)
{
	uint64_t id;

	rig_init(r, rules, nrules);
	r->schedule[0] = 3600000;
	id = rig_send_to(r, "old@a.test");
	gate_close();
	rig_start(r);
	WAIT_UNTIL(atomic_load(&gate.waiting_before) == 1);
	return id;
}

/* It has read, and is stopped with what it brings. */
static void let_it_read(void)
{
	sem_post(&gate.before);
	WAIT_UNTIL(atomic_load(&gate.waiting_after) == 1);
}

static void test_delivered_meanwhile(void **state)
{
	struct pause p;
	struct rig r;

	begin(&r, NULL, 0);
	pause_dispatcher(&r, &p);
	send_as_old(&r, "new@a.test");
	let_it_read(); /* has seen both */
	sem_post(&p.out);
	WAIT_UNTIL(rig_waiting(&r) == 1);
	assert_int_equal(mx_count(&r.mx, "new@a.test", NULL), 1);
	WAIT_UNTIL(rig_stats(&r).work == 0); /* and has forgotten it */
	gate_open();
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop_dispatch(&r);
	assert_int_equal(mx_count(&r.mx, "old@a.test", NULL), 1);
	assert_int_equal(mx_count(&r.mx, "new@a.test", NULL), 1);
	rig_stop(&r);
}

static void test_held_meanwhile(void **state)
{
	uint64_t id, changed;
	unsigned calls;
	struct rig r;

	id = begin(&r, NULL, 0);
	let_it_read();
	assert_int_equal(rig_operate(&r, DISPATCH_HOLD, id, NULL, &changed), 0);
	assert_int_equal(changed, 1);
	calls = atomic_load(&gate.calls);
	gate_open();
	/* read again, and found held */
	WAIT_UNTIL(atomic_load(&gate.calls) >= calls + 2);
	rig_send_to(&r, "last@b.test");
	WAIT_UNTIL(rig_waiting(&r) == 1);
	assert_int_equal(mx_count(&r.mx, "old@a.test", NULL), 0);
	assert_int_equal(rig_operate(&r, DISPATCH_RELEASE, id, NULL, &changed), 0);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "old@a.test", NULL), 1);
	rig_stop(&r);
}

static void test_removed_meanwhile(void **state)
{
	uint64_t id, changed;
	struct rig r;

	id = begin(&r, NULL, 0);
	let_it_read();
	assert_int_equal(rig_operate(&r, DISPATCH_REMOVE, id, NULL, &changed), 0);
	assert_int_equal(changed, 1);
	WAIT_UNTIL(rig_waiting(&r) == 0 && rig_stats(&r).work == 0);
	gate_open();
	rig_send_to(&r, "last@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop_dispatch(&r);
	assert_int_equal(mx_count(&r.mx, "old@a.test", NULL), 0);
	assert_int_equal(mx_count(&r.mx, "last@a.test", NULL), 1);
	rig_stop(&r);
}

/* Comes in and is deferred while its domain is being read: what was read still says that it is due.
 */
static void test_deferred_meanwhile(void **state)
{
	static struct mx_rule busy[] = { { MX_RCPT, NULL, NULL, "<new@", "451 4.2.1 busy", 0, 0 } };
	struct pause p;
	struct rig r;

	begin(&r, busy, COUNT(busy));
	pause_dispatcher(&r, &p);
	send_as_old(&r, "new@a.test");
	let_it_read();
	sem_post(&p.out);
	WAIT_UNTIL(rig_stats(&r).deferred == 1 && rig_stats(&r).work == 0);
	gate_open();
	WAIT_UNTIL(rig_waiting(&r) == 1);
	rig_send_to(&r, "last@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 1 && rig_stats(&r).work == 0);
	assert_int_equal(mx_rule_used(&r.mx, 0), 1);
	rig_stop(&r);
}

/* Ends while a reading is under way: it is waited for. */
static void test_stopped_meanwhile(void **state)
{
	struct rig r;

	begin(&r, NULL, 0);
	let_it_read();
	gate_open();
	rig_stop_dispatch(&r);
	assert_true(rig_waiting(&r) + mx_count(&r.mx, "old@a.test", NULL) == 1);
	rig_stop(&r);
}

/* Small windows, read again and again beside settlements and new mail; what waits in memory, here
 * for one that answers late, is not read again meanwhile. */
static void test_each_once(void **state)
{
	static struct mx_rule late[] = { { MX_RCPT, NULL, NULL, "<5@", MX_SILENCE, 1, 0 } };
	enum { OLD = 600, NEW = 200 };
	unsigned calls = atomic_load(&gate.calls);
	char to[32];
	struct rig r;

	rig_init(&r, late, COUNT(late));
	r.dp.window = 8;
	r.providers[0].connections_per_cluster = 1;
	r.providers[0].transport.timeouts.rcpt = 1000;
	for (unsigned i = 0; i < OLD; i++) {
		snprintf(to, sizeof(to), "%u@a.test", i);
		rig_send_to(&r, to);
	}
	rig_start(&r);
	for (unsigned i = 0; i < NEW; i++) {
		snprintf(to, sizeof(to), "new%u@a.test", i);
		rig_send_to(&r, to);
	}
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_in_range(atomic_load(&gate.calls) - calls, 1, OLD);
	rig_stop_dispatch(&r);
	assert_int_equal(mx_mails(&r.mx), OLD + NEW);
	for (unsigned i = 0; i < OLD + NEW; i++) {
		snprintf(
			to, sizeof(to), "%s%u@a.test", i < OLD ? "" : "new", i < OLD ? i : i - OLD);
		assert_int_equal(mx_count(&r.mx, to, NULL), 1);
	}
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivered_meanwhile),
		cmocka_unit_test(test_held_meanwhile),
		cmocka_unit_test(test_removed_meanwhile),
		cmocka_unit_test(test_deferred_meanwhile),
		cmocka_unit_test(test_stopped_meanwhile),
		cmocka_unit_test(test_each_once),
	};

	return cmocka_run_group_tests_name("dispatch reader", tests, NULL, NULL);
}
