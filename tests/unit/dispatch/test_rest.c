/* Many domains that wait for the same, and more mail than memory: what is read, and when. */
#include "rig.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { DOMAINS = 24, EACH = 5, SCOUTS = 16, BULK = 120 };
enum { SHORT = 10000, HOUR = 3600000 }; /* ms; the first is longer than it takes to send all */

static atomic_uint readings;

int __real_queue_read_due(struct queue *q, const char *domain, const struct queue_look *look,
	struct queue_reading *w);
int __wrap_queue_read_due(struct queue *q, const char *domain, const struct queue_look *look,
	struct queue_reading *w);

int __wrap_queue_read_due(
	struct queue *q, const char *domain, const struct queue_look *look, struct queue_reading *w)
{
	atomic_fetch_add(&readings, 1);
	return __real_queue_read_due(q, domain, look, w);
}

static char names[DOMAINS][16];

static void with_domains(struct rig *r)
{
	rig_init(r, NULL, 0);
	r->dp.work_max = 16;
	for (unsigned i = 0; i < DOMAINS; i++) {
		snprintf(names[i], sizeof(names[i]), "d%02u.test", i);
		rig_row(r, names[i], 15, 0, "mx1.test", 10);
	}
}

/* To the domains from the first on. */
static void send_to(struct rig *r, unsigned first, unsigned domains)
{
	char to[32];

	for (unsigned i = 0; i < DOMAINS * EACH; i++) {
		if (i % DOMAINS < first || i % DOMAINS >= first + domains)
			continue;
		snprintf(to, sizeof(to), "%u@%s", i, names[i % DOMAINS]);
		rig_send_to(r, to);
	}
}

static void each_once(struct rig *r)
{
	char to[32];

	assert_int_equal(mx_mails(&r->mx), DOMAINS * EACH);
	for (unsigned i = 0; i < DOMAINS * EACH; i++) {
		snprintf(to, sizeof(to), "%u@%s", i, names[i % DOMAINS]);
		assert_int_equal(mx_count(&r->mx, to, NULL), 1);
	}
}

/* ---- on the dispatcher's thread ---- */

static void suspend(struct dispatch *d, void *arg)
{
	const ms_t *length = arg;
	struct policy_now now = dispatch_now(d);

	assert_int_equal(
		policy_suspend(dispatch_policy(d), now, NULL, NULL, now.wall + *length), 0);
}

static void suspend_first(struct dispatch *d, void *arg)
{
	struct policy_now now = dispatch_now(d);

	assert_int_equal(policy_suspend(dispatch_policy(d), now, "s1", NULL, now.wall + HOUR), 0);
}

static void suspend_second(struct dispatch *d, void *arg)
{
	struct policy_now now = dispatch_now(d);

	assert_int_equal(policy_suspend(dispatch_policy(d), now, "s2", NULL, now.wall + SHORT), 0);
}

static void resume(struct dispatch *d, void *arg)
{
	assert_int_equal(policy_resume(dispatch_policy(d), dispatch_now(d), NULL, NULL), 0);
	dispatch_relieved(d);
}

struct waiting {
	ms_t least; /* from now on */
	unsigned domains;
};

static void count_waiting(void *arg, const struct dispatch_domain_info *i)
{
	struct waiting *w = arg;

	w->domains += !strcmp(i->reason, "suspended by operator") &&
		      i->until > clock_wall_ms() + w->least;
}

static void look(struct dispatch *d, void *arg)
{
	dispatch_domains(d, count_waiting, arg);
}

static unsigned waiting(struct rig *r, ms_t least)
{
	struct waiting w = { .least = least };

	rig_call(r, look, &w);
	return w.domains;
}

/* ---- one pool ---- */

/* All sources are suspended so long, and mail waits for so many domains, in the queue alone. */
static void begin(struct rig *r, ms_t length, unsigned domains)
{
	with_domains(r);
	rig_start(r);
	rig_call(r, suspend, &length);
	send_to(r, 0, domains);
	WAIT_UNTIL(waiting(r, 0) == domains && rig_stats(r).work <= 2);
	assert_int_equal(r->mx.connections, 0);
}

static void all_goes(struct rig *r)
{
	WAIT_UNTIL(rig_waiting(r) == 0);
	rig_stop_dispatch(r);
	each_once(r);
	rig_stop(r);
}

/* When the wait goes on some of the domains find out for all. */
static void test_wait_goes_on(void **state)
{
	ms_t longer = HOUR;
	unsigned before;
	struct rig r;

	begin(&r, SHORT, DOMAINS);
	before = atomic_load(&readings);
	rig_call(&r, suspend, &longer);
	WAIT_UNTIL(waiting(&r, HOUR / 2) == DOMAINS);
	assert_in_range(atomic_load(&readings) - before, 1, SCOUTS);
	assert_int_equal(r.mx.connections, 0);
	rig_call(&r, resume, NULL);
	all_goes(&r);
}

/* Who comes new does not put off those that wait already. */
static void test_newcomers(void **state)
{
	ms_t longer = HOUR;
	unsigned before;
	struct rig r;

	begin(&r, SHORT, DOMAINS / 2);
	before = atomic_load(&readings);
	rig_call(&r, suspend, &longer);
	send_to(&r, DOMAINS / 2, DOMAINS / 2);
	WAIT_UNTIL(waiting(&r, 0) == DOMAINS && rig_stats(&r).work <= 2);
	WAIT_UNTIL(atomic_load(&readings) > before + 2);
	WAIT_UNTIL(waiting(&r, HOUR / 2) == DOMAINS);
	rig_call(&r, resume, NULL);
	all_goes(&r);
}

/* When it is over all of them go, though only some were let in at first. */
static void test_wait_is_over(void **state)
{
	struct rig r;

	begin(&r, SHORT, DOMAINS);
	assert_int_equal(rig_waiting(&r), DOMAINS * EACH);
	all_goes(&r);
}

/* An operator's retry brings the domain to the head of the line, and shortens nobody's wait. */
static void test_retry(void **state)
{
	uint64_t changed;
	unsigned before;
	struct rig r;

	begin(&r, HOUR, DOMAINS);
	before = atomic_load(&readings);
	assert_int_equal(rig_operate(&r, DISPATCH_RETRY, 0, NULL, &changed), 0);
	assert_int_equal(changed, DOMAINS * EACH);
	WAIT_UNTIL(atomic_load(&readings) > before);
	WAIT_UNTIL(waiting(&r, HOUR / 2) == DOMAINS);
	assert_in_range(atomic_load(&readings) - before, 1, DOMAINS + SCOUTS);
	assert_int_equal(r.mx.connections, 0);
	rig_call(&r, resume, NULL);
	all_goes(&r);
}

/* A receiver that is slow holds up nobody else's mail, new or from the queue, though its own is
 * more than memory has room for. */
static void test_slow_receiver(void **state)
{
	static char *mx[] = { (char *)(uintptr_t) "mx1.test" };
	struct mx_rule rules[] = {
		{ .when = MX_RCPT, .match = ".test", .site = "127.0.9.1", .reply = MX_SILENCE }
	};
	const char *const to[] = { "later@c.test", NULL };
	struct rig r;

	with_domains(&r);
	r.mx.rules = rules;
	r.mx.nrules = COUNT(rules);
	r.providers[1] = r.providers[0];
	r.providers[0].name = (char *)(uintptr_t) "slow";
	r.providers[0].mx = mx;
	r.providers[0].nmx = 1;
	r.providers[0].connections_per_cluster = 1;
	r.policy.nproviders = 2;
	r.dp.drain_deadline = 100;
	rig_start(&r);
	send_to(&r, 0, DOMAINS);
	for (unsigned i = 1; i <= 3; i++) {
		rig_send_to(&r, "new@c.test");
		WAIT_UNTIL(mx_count(&r.mx, "new@c.test", NULL) == i);
	}
	for (unsigned i = 0; i < 5; i++)
		rig_commit(&r, rig_message(&r, "me@sender.test", to, 100), clock_wall_ms() + 1100);
	WAIT_UNTIL(rig_waiting(&r) == DOMAINS * EACH);
	assert_int_equal(mx_count(&r.mx, "later@c.test", NULL), 5);
	rig_stop_dispatch(&r);
	/* and all of its own goes when it is well */
	pthread_mutex_lock(&r.mx.lock);
	r.mx.nrules = 0;
	pthread_mutex_unlock(&r.mx.lock);
	rig_start(&r);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_mails(&r.mx), DOMAINS * EACH + 8);
	rig_stop(&r);
}

/* ---- pools ---- */

static __typeof__(*((struct pool_params *)0)->members) first[] = { { 0, 1 } },
						       both[] = { { 0, 1 }, { 1, 1 } };

static void send_bulk(struct rig *r)
{
	const char *bulk[] = { "bulk@d00.test", NULL };

	for (unsigned i = 0; i < BULK; i++) {
		struct message *m = rig_message(r, "me@sender.test", bulk, 100);

		m->pool = "first";
		rig_commit(r, m, 0);
	}
}

/* Two pools; the only source of the first is suspended, and much of its mail waits. */
static void with_pools(struct rig *r, struct pool_params pools[2])
{
	pools[0] = (struct pool_params){ (char *)(uintptr_t) "first", 1, (void *)first };
	pools[1] = (struct pool_params){ (char *)(uintptr_t) "main", 2, (void *)both };
	with_domains(r);
	r->policy.pools = pools;
	r->policy.npools = 2;
	rig_start(r);
	rig_call(r, suspend_first, NULL);
	send_bulk(r);
	WAIT_UNTIL(waiting(r, 0) == 1 && rig_stats(r).work <= 2);
}

/* Mail of another pool does not wait with it. */
static void test_other_pool(void **state)
{
	const char *const to[] = { "urgent@d00.test", NULL };
	struct pool_params pools[2];
	struct rig r;

	with_pools(&r, pools);
	rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_waiting(&r) == BULK);
	assert_int_equal(mx_count(&r.mx, "urgent@d00.test", "127.0.2.1"), 1);
	assert_int_equal(waiting(&r, HOUR / 2), 1);
	/* it is not forgotten when domains without mail are */
	rig_send_to(&r, "x@b.test");
	WAIT_UNTIL(rig_waiting(&r) == BULK && rig_stats(&r).domains == 2);
	WAIT_UNTIL(rig_stats(&r).domains == 1);
	assert_int_equal(waiting(&r, HOUR / 2), 1);
	rig_call(&r, resume, NULL);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "bulk@d00.test", "127.0.1.1"), BULK);
	rig_stop(&r);
}

/* Nor what comes due behind it in the queue, or between its parts; each entry is looked at once. */
static void test_queued_for_other_pool(void **state)
{
	const char *const to[] = { "urgent@d00.test", NULL };
	struct pool_params pools[2];
	unsigned before;
	struct rig r;

	with_pools(&r, pools);
	for (unsigned i = 0; i < 3; i++)
		rig_commit(&r, rig_message(&r, "me@sender.test", to, 100),
			clock_wall_ms() + 1500 + 10 * i);
	send_bulk(&r);
	before = atomic_load(&readings);
	WAIT_UNTIL(mx_count(&r.mx, "urgent@d00.test", "127.0.2.1") == 3);
	WAIT_UNTIL(rig_waiting(&r) == 2 * BULK);
	/* twelve in one: as many as memory has room for */
	assert_in_range(atomic_load(&readings) - before, 1, 2 * BULK / 12 + 6);
	assert_int_equal(mx_count(&r.mx, "bulk@d00.test", NULL), 0);
	/* the same after a restart, which has to go through all of it first */
	rig_commit(&r, rig_message(&r, "me@sender.test", to, 100), clock_wall_ms() + 1500);
	rig_stop_dispatch(&r);
	rig_start(&r);
	WAIT_UNTIL(mx_count(&r.mx, "urgent@d00.test", "127.0.2.1") == 4);
	WAIT_UNTIL(rig_waiting(&r) == 2 * BULK);
	assert_int_equal(mx_count(&r.mx, "bulk@d00.test", NULL), 0);
	rig_call(&r, resume, NULL);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "bulk@d00.test", "127.0.1.1"), 2 * BULK);
	assert_int_equal(mx_mails(&r.mx), 2 * BULK + 4);
	rig_stop(&r);
}

/* A pool whose wait ends first does not wait for the other's end. */
static void test_two_waits(void **state)
{
	const char *const to[] = { "urgent@d00.test", NULL };
	struct pool_params pools[2];
	struct rig r;

	with_pools(&r, pools);
	rig_call(&r, suspend_second, NULL);
	for (unsigned i = 0; i < 20; i++)
		rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_stats(&r).work <= 2);
	assert_int_equal(rig_waiting(&r), BULK + 20);
	WAIT_UNTIL(rig_waiting(&r) == BULK);
	assert_int_equal(mx_count(&r.mx, "urgent@d00.test", "127.0.2.1"), 20);
	assert_int_equal(waiting(&r, HOUR / 2), 1);
	rig_call(&r, resume, NULL);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_mails(&r.mx), BULK + 20);
	rig_stop(&r);
}

struct reloading {
	const struct policy_params *params;
	struct classifier *rules;
};

static void reload(struct dispatch *d, void *arg)
{
	struct reloading *x = arg;

	rig_reload(d, x->params, x->rules);
}

/* The pool gets another source: nobody waits for the old end of the wait. */
static void test_reload(void **state)
{
	struct pool_params pools[2], more[2];
	struct policy_params next;
	struct reloading x;
	struct rig r;

	with_pools(&r, pools);
	next = r.policy;
	more[0] = (struct pool_params){ (char *)(uintptr_t) "first", 2, (void *)both };
	more[1] = pools[1];
	next.pools = more;
	x = (struct reloading){ &next, r.rules };
	rig_call(&r, reload, &x);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "bulk@d00.test", "127.0.2.1"), BULK);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait_goes_on),
		cmocka_unit_test(test_newcomers),
		cmocka_unit_test(test_wait_is_over),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_slow_receiver),
		cmocka_unit_test(test_other_pool),
		cmocka_unit_test(test_queued_for_other_pool),
		cmocka_unit_test(test_two_waits),
		cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests_name("dispatch rest", tests, NULL, NULL);
}
