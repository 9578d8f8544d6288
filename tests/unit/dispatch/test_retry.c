/* What is tried again, when, and from which source. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_deferred(void **state)
{
	static struct mx_rule rules[] = { { MX_EOD, NULL, NULL, NULL, "451 4.3.0 come again", 2,
		0 } };
	struct dispatch_stats s;
	struct rig r;
	char *log;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 1);
	WAIT_UNTIL(rig_stats(&r).delivered == 1);
	s = rig_stats(&r);
	assert_int_equal(s.deferred, 2);
	assert_int_equal(s.attempts, 3);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_non_null(strstr(log, "\"event\":\"deferred\""));
	assert_non_null(strstr(log, "\"code\":451"));
	assert_non_null(strstr(log, "\"reply\":\"4.3.0 come again\""));
	assert_non_null(strstr(log, "\"verdict\":\"transient-other\""));
	assert_non_null(strstr(log, "\"next\":\""));
	assert_non_null(strstr(log, "\"attempt\":3"));
	free(log);
	rig_stop(&r);
}

/* What the queue keeps of the attempt. */
static void test_state(void **state)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, NULL, "451 4.2.1 mailbox busy", 0,
		0 } };
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.schedule[0] = 3600000;
	rig_start(&r);
	id = rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_stats(&r).deferred == 1 && rig_stats(&r).work == 0);
	s = rig_state(&r, id, &m);
	assert_int_equal(s.attempts, 1);
	assert_int_equal(s.code, 451);
	assert_string_equal(s.reply, "451 4.2.1 mailbox busy");
	assert_string_equal(s.host, "mx1.test[127.0.9.1]");
	assert_true(!strcmp(s.source, "s1") || !strcmp(s.source, "s2"));
	assert_int_equal(s.verdict, VERDICT_TRANSIENT_OTHER);
	message_unref(m);
	rig_stop(&r);
}

/* One subnet is throttled: the message goes by the other at once, and no retry is used up. */
static void test_other_subnet(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_MAIL, NULL, "127.0.1.1", NULL, "451 4.7.500 throttled", 0, 0 },
	};
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.schedule[0] = 3600000;
	rig_start(&r);
	for (int i = 0; i < 20; i++)
		rig_send_to(&r, i % 2 ? "x@a.test" : "x@c.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, "127.0.2.1"), 20);
	/* the lane rests: only what was on its way was refused */
	assert_true(mx_rule_used(&r.mx, 0) >= 1 && mx_rule_used(&r.mx, 0) <= 8);
	rig_stop(&r);
}

/* The same at the greeting: before anything was offered. */
static void test_throttled_greeting(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_BANNER, NULL, "127.0.1.1", NULL, "421 4.7.0 throttled", 0, 0 },
	};
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.schedule[0] = 3600000;
	rig_start(&r);
	for (int i = 0; i < 10; i++)
		rig_send_to(&r, i % 2 ? "x@a.test" : "x@c.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, "127.0.2.1"), 10);
	rig_stop(&r);
}

/* Blocked everywhere, even with 5xx: held, not bounced; nobody is told a lie. */
static void test_all_blocked(void **state)
{
	static struct mx_rule rules[] = { { MX_MAIL, NULL, NULL, NULL, "550 5.7.606 blocked", 0,
		0 } };
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id, attempts;
	struct rig r;
	char *log;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	id = rig_send_to(&r, "x@a.test");
	/* it waits for what refused it, not for a time of its own */
	WAIT_UNTIL(rig_stats(&r).held == 2 && rig_stats(&r).work == 1);
	s = rig_state(&r, id, &m);
	assert_int_equal(s.attempts, 0);
	assert_true(s.due < clock_wall_ms() + 10000);
	message_unref(m);
	assert_int_equal(rig_stats(&r).bounced, 0);
	/* the next one is not tried */
	attempts = rig_stats(&r).attempts;
	rig_send_to(&r, "y@a.test");
	WAIT_UNTIL(rig_stats(&r).work == 2);
	assert_int_equal(rig_stats(&r).attempts, attempts);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_non_null(strstr(log, "\"event\":\"held\""));
	assert_non_null(strstr(log, "\"reason\":\"all sources blocked\""));
	free(log);
	rig_stop(&r);
}

/* 5xx: returned to the sender, with the reply; never for a notification. */
static void test_bounce(void **state)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, "<bad@", "550 5.1.1 no such user",
		0, 0 } };
	const char *const bad[] = { "bad@a.test", NULL };
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	rig_send(&r, "me@sender.test", bad);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_non_null(strstr(r.mx.last_content, "550 5.1.1 no such user"));
	assert_non_null(strstr(r.mx.last_content, "Subject: test"));
	assert_non_null(strstr(r.mx.last_content, "5.1.1"));
	rig_send(&r, "", bad);
	rig_send(&r, "bad@a.test", bad); /* a notification that cannot be delivered ends */
	WAIT_UNTIL(rig_waiting(&r) == 0);
	WAIT_UNTIL(rig_stats(&r).bounced == 4);
	assert_int_equal(rig_stats(&r).dsns, 2);
	rig_stop(&r);
}

static void test_success_notice(void **state)
{
	const char *const to[] = { "x@a.test", NULL };
	struct message *m;
	struct rig r;

	rig_init(&r, NULL, 0);
	rig_start(&r);
	m = rig_message(&r, "me@sender.test", to, 10);
	m->recipients[0].notify = NOTIFY_SUCCESS;
	rig_commit(&r, m, 0);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_non_null(strstr(r.mx.last_content, "relayed"));
	rig_stop(&r);
}

static void test_dns(void **state)
{
	static const struct {
		const char *to, *status;
		bool permanent;
	} rows[] = {
		{ "x@nowhere.test", "5.1.2", true },
		{ "x@null.test", "5.1.10", true },
		{ "x@broken.test", "4.4.3", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rig r;

		rig_init(&r, NULL, 0);
		r.schedule[0] = 3600000;
		rig_start(&r);
		if (rows[i].permanent) {
			rig_send_to(&r, rows[i].to);
			WAIT_UNTIL(mx_dsns(&r.mx) == 1);
			assert_non_null(strstr(r.mx.last_content, rows[i].status));
			assert_int_equal(rig_stats(&r).deferred, 0);
		} else {
			struct queue_rcpt_state s;
			uint64_t id = rig_send_to(&r, rows[i].to);
			struct message *m;

			WAIT_UNTIL(rig_stats(&r).deferred == 1 && rig_stats(&r).work == 0);
			s = rig_state(&r, id, &m);
			assert_memory_equal(s.reply, rows[i].status, strlen(rows[i].status));
			message_unref(m);
		}
		rig_stop(&r);
	}
}

/* The name server answers again: so does the mail. */
static void test_dns_recovers(void **state)
{
	struct dns_row *row;
	struct rig r;

	rig_init(&r, NULL, 0);
	r.dp.dns.negative_ttl = 100;
	rig_row(&r, "later.test", 15, 2, "mx1.test", 10);
	rig_start(&r);
	rig_send_to(&r, "x@later.test");
	WAIT_UNTIL(rig_stats(&r).deferred >= 1);
	row = dns_server_row(&r.dns, "later.test", 15);
	pthread_mutex_lock(&r.dns.lock);
	row->rcode = 0;
	pthread_mutex_unlock(&r.dns.lock);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@later.test", NULL), 1);
	rig_stop(&r);
}

static unsigned asked(struct rig *r, const struct dns_row *row)
{
	unsigned n;

	pthread_mutex_lock(&r->dns.lock);
	n = row->by_udp;
	pthread_mutex_unlock(&r->dns.lock);
	return n;
}

/* No room for more questions is no failure of the domain: its mail waits until it may ask. */
static void test_dns_is_busy(void **state)
{
	struct dns_row *row;
	struct rig r;
	char *log;

	rig_init(&r, NULL, 0);
	r.dp.dns.waiting_max = 1;
	rig_row(&r, "slow.test", 15, 0, "mx1.test", 10);
	r.rows[r.nrows - 1].manner = DROP;
	rig_start(&r);
	row = dns_server_row(&r.dns, "slow.test", 15);
	rig_send_to(&r, "x@slow.test");
	WAIT_UNTIL(asked(&r, row) > 0);
	rig_send_to(&r, "x@a.test");
	rig_send_to(&r, "x@b.test");
	WAIT_UNTIL(rig_waiting(&r) == 1);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 1);
	assert_int_equal(mx_count(&r.mx, "x@b.test", NULL), 1);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_null(strstr(log, "too many look-ups"));
	free(log);
	rig_stop(&r);
}

static void test_expiry(void **state)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, "<x@", "451 4.2.1 mailbox busy", 0,
		0 } };
	const char *const to[] = { "x@a.test", NULL };
	struct message *m;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.schedule[0] = 3600000; /* the next attempt would be after the expiry: told promptly */
	rig_start(&r);
	m = rig_message(&r, "me@sender.test", to, 10);
	m->expires = clock_wall_ms() + 600;
	rig_commit(&r, m, 0);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_non_null(strstr(r.mx.last_content, "4.4.7"));
	assert_non_null(strstr(r.mx.last_content, "451 4.2.1 mailbox busy"));
	WAIT_UNTIL(rig_stats(&r).expired == 1);
	WAIT_UNTIL(rig_waiting(&r) == 0 && rig_stats(&r).work == 0);
	assert_int_equal(rig_stats(&r).attempts, 2); /* one of them the notification's */
	rig_stop(&r);
}

/* Past its life when the relay comes back, and never tried, or not since it was due: one attempt.
 */
static void test_attempt_at_the_end(void **state)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, "<x@", "451 4.2.1 mailbox busy", 0,
		0 } };
	const char *const good[] = { "y@a.test", NULL }, *const bad[] = { "x@a.test", NULL };
	const char *const nowhere[] = { "z@broken.test", NULL };
	struct message *m;
	ms_t wall = clock_wall_ms();
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	for (int i = 0; i < 3; i++) {
		m = rig_message(&r, "me@sender.test", i == 0 ? good : i == 1 ? bad : nowhere, 10);
		m->arrived = wall - 7200000;
		m->expires = wall - 3600000;
		rig_commit(&r, m, wall - 7200000);
	}
	rig_start(&r);
	WAIT_UNTIL(mx_dsns(&r.mx) == 2 && rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "y@a.test", NULL), 1);
	WAIT_UNTIL(rig_stats(&r).expired == 2);
	assert_int_equal(mx_rule_used(&r.mx, 0), 1);
	rig_stop_dispatch(&r);
	rig_stop(&r);
}

/* The operator held it beyond its life: released, it is tried. */
static void test_attempt_after_a_hold(void **state)
{
	const char *const to[] = { "y@a.test", NULL };
	struct message *m;
	uint64_t id, changed;
	struct rig r;

	rig_init(&r, NULL, 0);
	m = rig_message(&r, "me@sender.test", to, 10);
	id = m->id;
	m->flags |= MESSAGE_HELD;
	m->arrived = clock_wall_ms() - 7200000;
	m->expires = m->arrived + 3600000;
	rig_commit(&r, m, m->arrived);
	rig_start(&r);
	assert_int_equal(rig_operate(&r, DISPATCH_RELEASE, id, NULL, &changed), 0);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "y@a.test", NULL), 1);
	assert_int_equal(rig_stats(&r).expired, 0);
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

/* Nothing might go while its life went by, before it came into memory or while it was there: tried
 * when that is over. */
static void test_attempt_after_a_suspension(void **state)
{
	const char *const to[] = { "y@a.test", NULL };

	for (int late = 0; late < 2; late++) {
		struct message *m;
		uint64_t changed;
		ms_t end;
		struct rig r;

		rig_init(&r, NULL, 0);
		rig_start(&r);
		rig_call(&r, suspend, NULL);
		m = rig_message(&r, "me@sender.test", to, 10);
		m->arrived = clock_wall_ms() - 7200000;
		end = m->expires = clock_wall_ms() + (late ? -1000 : 300);
		rig_commit(&r, m, m->arrived);
		WAIT_UNTIL(clock_wall_ms() > end + 100);
		assert_int_equal(rig_waiting(&r), 1);
		rig_call(&r, resume, NULL);
		assert_int_equal(rig_operate(&r, DISPATCH_RETRY, 0, "a.test", &changed), 0);
		WAIT_UNTIL(rig_waiting(&r) == 0);
		assert_int_equal(mx_count(&r.mx, "y@a.test", NULL), 1);
		assert_int_equal(rig_stats(&r).expired, 0);
		rig_stop(&r);
	}
}

/* Once, while the message waits on. */
static void test_delay_notice(void **state)
{
	static struct mx_rule rules[] = { { MX_RCPT, NULL, NULL, "<x@", "451 4.2.1 mailbox busy", 0,
		0 } };
	const char *const to[] = { "x@a.test", NULL };
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.policy.retry.delay_notice = 500;
	rig_start(&r);
	m = rig_message(&r, "me@sender.test", to, 10);
	id = m->id;
	rig_commit(&r, m, 0);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_non_null(strstr(r.mx.last_content, "delayed"));
	WAIT_UNTIL(rig_stats(&r).deferred >= 5);
	assert_int_equal(mx_dsns(&r.mx), 1);
	rig_stop_dispatch(&r);
	s = rig_state(&r, id, &m);
	assert_true(s.flags & RCPT_STATE_DELAY_SENT);
	message_unref(m);
	rig_stop(&r);
}

static void test_rests_survive(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_MAIL, NULL, "127.0.1.1", NULL, "550 5.7.606 blocked", 1, 0 },
	};
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	for (int i = 0; i < 8; i++)
		rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	if (!mx_rule_used(&r.mx, 0))
		skip();
	rig_stop_dispatch(&r);
	rig_start(&r);
	for (int i = 0; i < 8; i++)
		rig_send_to(&r, "y@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "y@a.test", "127.0.1.1"), 0);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deferred),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_other_subnet),
		cmocka_unit_test(test_throttled_greeting),
		cmocka_unit_test(test_all_blocked),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_success_notice),
		cmocka_unit_test(test_dns),
		cmocka_unit_test(test_dns_recovers),
		cmocka_unit_test(test_dns_is_busy),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_attempt_at_the_end),
		cmocka_unit_test(test_attempt_after_a_hold),
		cmocka_unit_test(test_attempt_after_a_suspension),
		cmocka_unit_test(test_delay_notice),
		cmocka_unit_test(test_rests_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
