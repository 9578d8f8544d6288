/* Operators' passes over the queue while mail moves: retry, hold, release, remove, bounce. */
#include "rig.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mx_rule busy[] = { { MX_RCPT, NULL, NULL, "<x@", "451 4.2.1 mailbox busy", 0, 0 } };

/* One message deferred for an hour. */
static uint64_t deferred(struct rig *r)
{
	uint64_t id;

	busy[0].times = busy[0].used = 0;
	rig_init(r, busy, COUNT(busy));
	r->schedule[0] = 3600000;
	rig_start(r);
	id = rig_send_to(r, "x@a.test");
	WAIT_UNTIL(rig_stats(r).deferred == 1 && rig_stats(r).work == 0);
	return id;
}

static void let_in(struct rig *r)
{
	pthread_mutex_lock(&r->mx.lock);
	busy[0].times = 1;
	pthread_mutex_unlock(&r->mx.lock);
}

static void test_retry(void **state)
{
	static const struct {
		bool by_id;
		const char *domain;
		uint64_t changed;
	} rows[] = { { true, NULL, 1 }, { false, "a.test", 1 }, { false, NULL, 1 } };

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t id, changed;
		struct rig r;

		id = deferred(&r);
		let_in(&r);
		assert_int_equal(rig_operate(&r, DISPATCH_RETRY, 0, "b.test", &changed), 0);
		assert_int_equal(changed, 0);
		assert_int_equal(rig_operate(&r, DISPATCH_RETRY, rows[i].by_id ? id : 0,
					 rows[i].domain, &changed),
			0);
		assert_int_equal(changed, rows[i].changed);
		WAIT_UNTIL(rig_waiting(&r) == 0);
		assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 1);
		rig_stop(&r);
	}
}

enum { MANY = 400 };

static int is_there(void *arg, struct slice key, struct slice value)
{
	*(bool *)arg = true;
	return 1;
}

static bool rig_state_has(struct rig *r, const char *key)
{
	bool found = false;

	queue_state_scan(r->queue, slice_of(key), is_there, &found);
	return found;
}

/* The record as the process before left it, which was killed. */
static void mark(struct rig *r, ms_t wall)
{
	struct queue_state_put *p = calloc(1, sizeof(*p));
	char value[32];

	p->job.kind = QUEUE_STATE;
	p->urgent = true;
	p->n = 1;
	p->entries = calloc(1, sizeof(*p->entries));
	(void)snprintf(value, sizeof(value), "1 %lld", (long long)wall);
	p->entries[0].key = slice_of("recall/all");
	p->entries[0].value = slice_of(value);
	p->job.reply_to = &r->answers;
	queue_post(r->queue, &p->job);
	WAIT_UNTIL(mpsc_take_all(&r->answers));
	free(p->entries);
	free(p);
}

static uint64_t attempts_of(struct rig *r, uint64_t id)
{
	struct message *m;
	struct queue_rcpt_state s = rig_state(r, id, &m);

	message_unref(m);
	return s.attempts;
}

static const char *to_one_of(int i)
{
	static char to[32];

	(void)snprintf(to, sizeof(to), "x%d@a.test", i);
	return to;
}

/* Much that waits for an hour, far more than there is room for at once: each is tried once, in one
 * pass, and those that fail again wait for their time. */
static void test_retry_all(void **state)
{
	uint64_t ids[MANY], changed;
	struct rig r;

	busy[0].times = busy[0].used = 0;
	busy[0].match = "<x";
	rig_init(&r, busy, COUNT(busy));
	r.schedule[0] = r.schedule[1] = 3600000;
	r.dp.window = 20;
	rig_start(&r);
	for (int i = 0; i < MANY; i++)
		ids[i] = rig_send_to(&r, to_one_of(i));
	WAIT_UNTIL(rig_stats(&r).deferred == MANY && rig_stats(&r).work == 0);
	for (unsigned tries = 2; tries <= 3; tries++) {
		assert_int_equal(rig_operate(&r, DISPATCH_RETRY, 0, NULL, &changed), 0);
		assert_int_equal(changed, MANY);
		WAIT_UNTIL(rig_stats(&r).deferred == tries * MANY && rig_stats(&r).work == 0);
		for (int i = 0; i < MANY; i++)
			assert_int_equal(attempts_of(&r, ids[i]), tries);
	}
	let_in(&r);
	pthread_mutex_lock(&r.mx.lock);
	busy[0].match = "<nobody@";
	pthread_mutex_unlock(&r.mx.lock);
	assert_int_equal(rig_operate(&r, DISPATCH_RETRY, 0, NULL, &changed), 0);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	WAIT_UNTIL(rig_stats(&r).delivered == MANY);
	busy[0].match = "<x@";
	rig_stop(&r);
}

/* What is held waits for its release, whoever retries all; and the mark of a process that ended is
 * the next one's. */
static void test_retry_all_of_the_process_before(void **state)
{
	uint64_t id, changed;
	struct rig r;

	id = deferred(&r);
	assert_int_equal(rig_operate(&r, DISPATCH_HOLD, id, NULL, &changed), 0);
	let_in(&r);
	assert_int_equal(rig_operate(&r, DISPATCH_RETRY, 0, NULL, &changed), 0);
	assert_int_equal(changed, 0);
	assert_int_equal(rig_waiting(&r), 1);
	assert_int_equal(rig_operate(&r, DISPATCH_RELEASE, id, NULL, &changed), 0);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop(&r);

	deferred(&r);
	rig_stop_dispatch(&r);
	let_in(&r);
	mark(&r, clock_wall_ms());
	rig_start(&r);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_true(rig_state_has(&r, "recall/all"));
	rig_stop_dispatch(&r);
	/* until all that waited then has come due by itself */
	mark(&r, clock_wall_ms() - 3 * 3600000);
	rig_start(&r);
	WAIT_UNTIL(!rig_state_has(&r, "recall/all"));
	rig_stop(&r);
}

static void test_remove(void **state)
{
	uint64_t id, changed;
	struct rig r;
	char *log;

	id = deferred(&r);
	assert_int_equal(rig_operate(&r, DISPATCH_REMOVE, id + 1, NULL, &changed), -ENOENT);
	assert_int_equal(rig_operate(&r, DISPATCH_REMOVE, id, NULL, &changed), 0);
	assert_int_equal(changed, 1);
	assert_int_equal(rig_waiting(&r), 0);
	WAIT_UNTIL(rig_stats(&r).work == 0);
	assert_int_equal(rig_stats(&r).dsns, 0);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_non_null(strstr(log, "\"event\":\"removed\""));
	free(log);
	rig_stop(&r);
}

static void test_bounce(void **state)
{
	uint64_t id, changed;
	struct rig r;

	id = deferred(&r);
	assert_int_equal(rig_operate(&r, DISPATCH_BOUNCE, id, NULL, &changed), 0);
	assert_int_equal(changed, 1);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_non_null(strstr(r.mx.last_content, "x@a.test"));
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop(&r);
}

static void test_hold(void **state)
{
	uint64_t id, changed;
	struct rig r;

	id = deferred(&r);
	let_in(&r);
	assert_int_equal(rig_operate(&r, DISPATCH_HOLD, id, NULL, &changed), 0);
	assert_int_equal(changed, 1);
	assert_int_equal(rig_operate(&r, DISPATCH_RETRY, id, NULL, &changed), 0);
	assert_int_equal(changed, 0);
	assert_int_equal(rig_operate(&r, DISPATCH_RELEASE, 0, "a.test", &changed), 0);
	assert_int_equal(changed, 1);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 1);
	rig_stop(&r);
}

/* What waits in memory, and what runs: the one is taken out, the other not started again. */
static void test_remove_in_memory(void **state)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, "<x@", MX_SILENCE, 1, 0 } };
	uint64_t changed;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.providers[0].connections_per_cluster = 1;
	r.providers[0].transport.timeouts.rcpt = 1000;
	rig_start(&r);
	for (int i = 0; i < 6; i++)
		rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(mx_rule_used(&r.mx, 0) == 1 && rig_stats(&r).work == 6);
	assert_int_equal(rig_operate(&r, DISPATCH_REMOVE, 0, "a.test", &changed), 0);
	assert_int_equal(changed, 6);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 0);
	WAIT_UNTIL(rig_stats(&r).work == 0);
	rig_stop(&r);
}

/* ---- reasons ---- */

struct asking {
	struct dispatch_call call;
	uint64_t id;
	struct recipient recipient;
	struct queue_rcpt_state state;
	char reason[200], domain_reason[100];
	ms_t until;
	unsigned domains;
	sem_t done;
};

static void on_domain(void *arg, const struct dispatch_domain_info *i)
{
	struct asking *a = arg;

	if (strcmp(i->domain, "a.test"))
		return;
	a->domains++;
	snprintf(a->domain_reason, sizeof(a->domain_reason), "%s", i->reason);
}

static void on_ask(struct dispatch *d, void *arg)
{
	struct asking *a = arg;
	const struct message m = {
		.id = a->id, .pool = "main", .recipients = &a->recipient, .nrecipients = 1
	};

	dispatch_reason(d, &m, 0, &a->state, a->reason, sizeof(a->reason), &a->until);
	dispatch_domains(d, on_domain, a);
	sem_post(&a->done);
}

static void ask(struct rig *r, struct asking *a, uint64_t id)
{
	struct queue_rcpt_state s;
	struct message *m;

	memset(a, 0, sizeof(*a));
	s = rig_state(r, id, &m);
	a->id = id;
	a->recipient = m->recipients[0];
	a->state = s;
	a->call = (struct dispatch_call){ .fn = on_ask, .arg = a };
	sem_init(&a->done, 0, 0);
	dispatch_call(r->dispatch, &a->call);
	while (sem_wait(&a->done))
		;
	sem_destroy(&a->done);
	message_unref(m);
}

static void test_reason_backoff(void **state)
{
	struct asking a;
	struct rig r;
	uint64_t id = deferred(&r);

	ask(&r, &a, id);
	assert_non_null(strstr(a.reason, "backing off after: 451 4.2.1 mailbox busy"));
	assert_true(a.until > clock_wall_ms() + 3000000);
	assert_int_equal(a.domains, 1);
	rig_stop(&r);
}

static void suspend(struct dispatch *d, void *arg)
{
	assert_int_equal(policy_suspend(dispatch_policy(d), dispatch_now(d), NULL, NULL, 0), 0);
}

static void resume(struct dispatch *d, void *arg)
{
	assert_int_equal(policy_resume(dispatch_policy(d), dispatch_now(d), NULL, NULL), 0);
}

static void test_reason_suspended(void **state)
{
	struct asking a;
	struct rig r;
	uint64_t id, changed;

	rig_init(&r, NULL, 0);
	rig_start(&r);
	rig_call(&r, suspend, NULL);
	id = rig_send_to(&r, "x@a.test");
	WAIT_UNTIL((ask(&r, &a, id), !strcmp(a.reason, "suspended by operator")));
	assert_string_equal(a.domain_reason, "suspended by operator");
	rig_call(&r, resume, NULL);
	assert_int_equal(rig_operate(&r, DISPATCH_RETRY, id, NULL, &changed), 0);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop(&r);
}

/* ---- reload ---- */

struct reloading {
	struct dispatch_call call;
	const struct policy_params *params;
	struct classifier *rules;
	sem_t done;
};

static void reload(struct dispatch *d, void *arg)
{
	struct reloading *x = arg;

	rig_reload(d, x->params, x->rules);
	sem_post(&x->done);
}

/* The first source leaves, a provider comes before the default: what is open and what waits go on
 * under the new numbers. */
static void test_reload(void **state)
{
	static char *mx[] = { (char *)(uintptr_t) "mx1.test" };
	static __typeof__(*((struct pool_params *)0)->members) members[] = { { 0, 1 } };
	struct reloading x = { .call = { .fn = reload } };
	struct source_params sources[1];
	struct provider_params providers[2];
	struct pool_params pool;
	struct policy_params next;
	struct rig r;

	rig_init(&r, NULL, 0);
	rig_start(&r);
	for (int i = 0; i < 20; i++)
		rig_send_to(&r, i % 2 ? "x@a.test" : "x@c.test");
	sources[0] = r.sources[1];
	providers[0] = providers[1] = r.providers[0];
	providers[0].name = (char *)(uintptr_t) "first";
	providers[0].mx = mx;
	providers[0].nmx = 1;
	pool = (struct pool_params){ (char *)(uintptr_t) "main", 1, (void *)members };
	next = r.policy;
	next.sources = sources;
	next.nsources = 1;
	next.pools = &pool;
	next.providers = providers;
	next.nproviders = 2;
	x.params = &next;
	x.rules = r.rules;
	x.call.arg = &x;
	sem_init(&x.done, 0, 0);
	dispatch_call(r.dispatch, &x.call);
	while (sem_wait(&x.done))
		;
	for (int i = 0; i < 20; i++)
		rig_send_to(&r, i % 2 ? "y@a.test" : "y@c.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 40);
	assert_int_equal(mx_count(&r.mx, "y@a.test", "127.0.2.1"), 10);
	assert_int_equal(mx_count(&r.mx, "y@c.test", "127.0.2.1"), 10);
	sem_destroy(&x.done);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_retry_all),
		cmocka_unit_test(test_retry_all_of_the_process_before),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_remove_in_memory),
		cmocka_unit_test(test_reason_backoff),
		cmocka_unit_test(test_reason_suspended),
		cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
