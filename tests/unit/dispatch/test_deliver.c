/* Delivery through dispatcher, worker and a receiver: what is settled, logged and kept. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_one(void **state)
{
	static const char *const fields[] = { "\"event\":\"delivered\"",
		"\"from\":\"me@sender.test\"", "\"to\":\"x@a.test\"", "\"domain\":\"a.test\"",
		"\"provider\":\"default\"", "\"cluster\":\"127.0.9.0/24\"",
		"\"host\":\"mx1.test[127.0.9.1]\"", "\"code\":250", "\"dsn\":\"2.6.0\"",
		"\"verdict\":\"delivered\"", "\"attempt\":1", "\"delays\":[", "\"session\":\"",
		"\"source\":\"s" };
	struct dispatch_stats s;
	struct rig r;
	char *log;

	rig_init(&r, NULL, 0);
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 1);
	WAIT_UNTIL(rig_stats(&r).delivered == 1 && rig_stats(&r).work == 0);
	s = rig_stats(&r);
	assert_int_equal(s.attempts, 1);
	assert_int_equal(s.by_verdict[VERDICT_DELIVERED], 1);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	for (size_t i = 0; i < COUNT(fields); i++)
		if (!strstr(log, fields[i]))
			fail_msg("no %s in %s", fields[i], log);
	free(log);
	rig_stop(&r);
}

/* Many domains behind one address share a few connections. */
static void test_shared_connections(void **state)
{
	static char names[30][32];
	struct rig r;

	rig_init(&r, NULL, 0);
	for (int i = 0; i < 25; i++) {
		snprintf(names[i], sizeof(names[i]), "t%d.test", i);
		rig_row(&r, names[i], 15, 0, "mx1.test", 10);
	}
	r.providers[0].connections_per_cluster = 2;
	rig_start(&r);
	for (int i = 0; i < 200; i++) {
		char to[64];

		snprintf(to, sizeof(to), "u%d@t%d.test", i, i % 25);
		rig_send_to(&r, to);
	}
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 200);
	assert_true(r.mx.peak <= 2);
	assert_true(r.mx.connections <= 2);
	rig_stop(&r);
}

/* A domain with much mail leaves one place behind a running transaction to whoever comes. */
static void test_room_for_others(void **state)
{
	struct mx_rule rules[] = { { .when = MX_RCPT, .match = "much", .reply = MX_SILENCE } };
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.providers[0].connections_per_cluster = 2;
	rig_start(&r);
	for (int i = 0; i < 20; i++)
		rig_send_to(&r, "much@a.test");
	WAIT_UNTIL(rig_stats(&r).work == 20 && rig_stats(&r).in_flight >= 3);
	rig_send_to(&r, "much@a.test");
	WAIT_UNTIL(rig_stats(&r).work == 21);
	assert_int_equal(r.mx.peak, 2);
	assert_int_equal(rig_stats(&r).in_flight, 3);
	rig_send_to(&r, "one@b.test");
	WAIT_UNTIL(rig_stats(&r).in_flight == 4);
	rig_stop(&r);
}

/* Where others have come lately it leaves all such places to them. */
static void test_room_lately(void **state)
{
	struct mx_rule rules[] = { { .when = MX_RCPT, .match = "much", .reply = MX_SILENCE },
		{ .when = MX_RCPT, .match = "late", .reply = MX_SILENCE } };
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.providers[0].connections_per_cluster = 4;
	rig_start(&r);
	rig_send_to(&r, "one@b.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	for (int i = 0; i < 20; i++)
		rig_send_to(&r, "much@a.test");
	WAIT_UNTIL(rig_stats(&r).work == 20 && rig_stats(&r).in_flight >= 4);
	rig_send_to(&r, "much@a.test");
	WAIT_UNTIL(rig_stats(&r).work == 21);
	assert_int_equal(r.mx.peak, 4);
	assert_int_equal(rig_stats(&r).in_flight, 4);
	for (unsigned i = 1; i <= 3; i++) {
		rig_send_to(&r, "late@b.test");
		WAIT_UNTIL(rig_stats(&r).work == 21 + i);
		/* until it has several under way itself */
		assert_int_equal(rig_stats(&r).in_flight, 4 + (i < 2 ? i : 2));
	}
	rig_stop(&r);
}

/* Far more than memory has room for, from a queue that was there before. */
static void test_window(void **state)
{
	const char *const to[] = { "p@a.test", "q@a.test", "r@a.test", "s@a.test", "t@b.test",
		NULL };
	struct rig r;

	rig_init(&r, NULL, 0);
	r.dp.window = 10;
	r.dp.work_max = 15;
	for (int i = 0; i < 100; i++)
		rig_send(&r, "me@sender.test", to);
	rig_start(&r);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 500);
	for (int i = 0; to[i]; i++)
		assert_int_equal(mx_count(&r.mx, to[i], NULL), 100);
	rig_stop(&r);
}

/* The same with mail that comes while it runs. */
static void test_overflow(void **state)
{
	const char *const to[] = { "p@a.test", "q@a.test", "r@b.test", NULL };
	struct rig r;
	char *log;

	rig_init(&r, NULL, 0);
	r.dp.window = 4;
	r.dp.work_max = 6;
	rig_start(&r);
	for (int i = 0; i < 100; i++)
		rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 300);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_null(strstr(log, "queue-read-failed"));
	free(log);
	rig_stop(&r);
}

static void test_body_over_budget(void **state)
{
	const char *const to[] = { "x@a.test", NULL };
	struct message *m;
	uint64_t size;
	struct rig r;

	rig_init(&r, NULL, 0);
	r.dp.body_memory_max = 1;
	rig_start(&r);
	m = rig_message(&r, "me@sender.test", to, 300000);
	size = m->size;
	rig_commit(&r, m, 0);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 1);
	assert_int_equal(mx_first(&r.mx).size, size);
	rig_stop(&r);
}

static void test_recipients(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_RCPT, NULL, NULL, "<bad@", "550 5.1.1 no such user", 0, 0 },
		{ MX_RCPT, NULL, NULL, "<late@", "451 4.2.0 later", 1, 0 },
	};
	const char *const to[] = { "a@a.test", "bad@a.test", "late@a.test", "d@a.test", "e@b.test",
		NULL };
	struct dispatch_stats s;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_int_equal(mx_count(&r.mx, "a@a.test", NULL), 1);
	assert_int_equal(mx_count(&r.mx, "late@a.test", NULL), 1);
	assert_int_equal(mx_count(&r.mx, "d@a.test", NULL), 1);
	assert_int_equal(mx_count(&r.mx, "e@b.test", NULL), 1);
	assert_int_equal(mx_count(&r.mx, "bad@a.test", NULL), 0);
	assert_int_equal(mx_count(&r.mx, "me@sender.test", NULL), 1);
	assert_non_null(strstr(r.mx.last_content, "bad@a.test"));
	assert_null(strstr(r.mx.last_content, "late@a.test"));
	WAIT_UNTIL(rig_stats(&r).dsns == 1);
	s = rig_stats(&r);
	assert_int_equal(s.bounced, 1);
	assert_int_equal(s.deferred, 1);
	rig_stop(&r);
}

static void test_split(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_RCPT, NULL, NULL, "<second@", "452 4.5.3 one at a time", 1, 0 },
	};
	const char *const to[] = { "first@a.test", "second@a.test", NULL };
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	r.schedule[0] = 3600000; /* no retry is used up */
	rig_start(&r);
	rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "second@a.test", NULL), 1);
	rig_stop(&r);
}

/* Connections that break: at the greeting, in a transaction before its end, while others wait. */
static void test_lost(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_MAIL, NULL, NULL, NULL, "", 2, 0 },
		{ MX_RCPT, NULL, NULL, NULL, "", 2, 0 },
	};
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	for (int i = 0; i < 20; i++)
		rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 20);
	assert_int_equal(rig_stats(&r).in_doubt, 0);
	rig_stop(&r);
}

static void test_in_doubt(void **state)
{
	static struct mx_rule rules[] = { { MX_EOD, NULL, NULL, NULL, "", 1, 0 } };
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	id = rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_stats(&r).in_doubt == 1 && rig_stats(&r).work == 0);
	s = rig_state(&r, id, &m);
	assert_true(s.due >= s.last_attempt + 59000);
	assert_int_equal(s.attempts, 1);
	message_unref(m);
	rig_stop(&r);
}

/* Each may be one copy more: three by default, whoever asks for another, and then it ends. */
static void test_doubts_end(void **state)
{
	static struct mx_rule rules[] = { { MX_EOD, NULL, NULL, NULL, "", 0, 0 } };
	const char *const to[] = { "x@a.test", NULL };
	uint64_t id, changed;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_start(&r);
	id = rig_send(&r, "", to);
	for (unsigned n = 1; n < 3; n++) {
		WAIT_UNTIL(rig_stats(&r).in_doubt == n && rig_stats(&r).work == 0);
		assert_int_equal(rig_stats(&r).bounced, 0);
		assert_int_equal(rig_operate(&r, DISPATCH_RETRY, id, NULL, &changed), 0);
	}
	WAIT_UNTIL(rig_waiting(&r) == 0 && rig_stats(&r).bounced == 1);
	assert_int_equal(rig_stats(&r).in_doubt, 3);
	assert_int_equal(rig_stats(&r).in_doubt_ended, 1);
	assert_int_equal(mx_rule_used(&r.mx, 0), 3);
	rig_stop(&r);
}

static void test_next_host(void **state)
{
	struct rig r;

	rig_init(&r, NULL, 0);
	rig_start(&r);
	for (int i = 0; i < 10; i++)
		rig_send_to(&r, "x@two.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@two.test", NULL), 10);
	assert_int_equal(rig_stats(&r).deferred, 0);
	assert_string_equal(mx_first(&r.mx).site, "127.0.9.2");
	rig_stop(&r);
}

static void test_refused_greeting(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_BANNER, "127.0.9.1", NULL, NULL, "421 4.3.2 too busy", 1, 0 },
		{ MX_EHLO, "127.0.9.1", NULL, NULL, "", 1, 0 },
	};
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	rig_row(&r, "a.test", 15, 0, "mx2.test", 20);
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_string_equal(mx_first(&r.mx).site, "127.0.9.2");
	rig_stop(&r);
}

static void test_no_host(void **state)
{
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id;
	struct rig r;

	rig_init(&r, NULL, 0);
	r.schedule[0] = 3600000;
	rig_start(&r);
	id = rig_send_to(&r, "x@gone.test");
	WAIT_UNTIL(rig_stats(&r).deferred == 1 && rig_stats(&r).work == 0);
	s = rig_state(&r, id, &m);
	assert_int_equal(s.attempts, 1);
	assert_true(!strncmp(s.reply, "4.4.1 ", 6));
	assert_non_null(strstr(s.reply, "dead.test[127.0.8.1]"));
	assert_true(s.due > clock_wall_ms() + 3000000);
	message_unref(m);
	rig_stop(&r);
}

static void test_bind_failure(void **state)
{
	static __typeof__(*((struct pool_params *)0)->members) members[] = { { 2, 1 }, { 0, 1 } };
	struct rig r;
	char *log;

	rig_init(&r, NULL, 0);
	r.pool.members = (void *)
		members; /* the first source has an address that this machine does not have */
	rig_start(&r);
	for (int i = 0; i < 12; i++)
		rig_send_to(&r, i % 2 ? "x@a.test" : "x@c.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(
		mx_count(&r.mx, NULL, "127.0.1.1") + mx_count(&r.mx, NULL, "127.0.2.1"), 12);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_non_null(strstr(log, "source-unavailable"));
	free(log);
	rig_stop(&r);
}

static void test_tls_given_up(void **state)
{
	static struct mx_rule rules[] = { { MX_STARTTLS, NULL, NULL, NULL, "220 2.0.0 go ahead", 0,
						  0 },
		{ MX_RCPT, NULL, NULL, NULL, "250 2.1.5 ok", 0, 0 } };
	struct rig r;

	rig_init(&r, rules, 1);
	r.mx.starttls = true; /* and what follows is no TLS */
	r.providers[0].transport.tls = TLS_OPPORTUNISTIC;
	r.providers[0].transport.timeouts.tls = 300;
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, "x@a.test", NULL), 1);
	/* remembered: the next connection does not try */
	assert_true(mx_rule_used(&r.mx, 0) <= 2);
	rig_stop(&r);
}

static void test_tls_demanded(void **state)
{
	struct rig r;

	rig_init(&r, NULL, 0);
	r.providers[0].transport.tls = TLS_REQUIRE;
	r.schedule[0] = 3600000;
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_stats(&r).deferred == 1);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 0);
	rig_stop(&r);
}

/* An idle connection that stands in the way of other work is given up. */
static void test_idle_gives_way(void **state)
{
	struct rig r;

	rig_init(&r, NULL, 0);
	r.providers[0].connections_per_cluster = 1;
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_send_to(&r, "x@c.test"); /* another host of the same network */
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(r.mx.peak, 1);
	assert_int_equal(r.mx.connections, 2);
	rig_stop(&r);
}

static void test_idle_ends(void **state)
{
	struct rig r;

	rig_init(&r, NULL, 0);
	r.providers[0].connection_idle_max = 100;
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	WAIT_UNTIL(rig_stats(&r).connections == 0 && rig_stats(&r).connects == 1);
	rig_stop(&r);
}

static void test_drain(void **state)
{
	static struct mx_rule rules[] = { { MX_MAIL, NULL, NULL, NULL, MX_SILENCE, 1, 0 } };
	struct rig r;
	ms_t begun;

	rig_init(&r, rules, COUNT(rules));
	r.dp.drain_deadline = 200;
	rig_start(&r);
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_stats(&r).in_flight == 1);
	begun = clock_mono_ms();
	rig_stop_dispatch(&r); /* not before the deadline, not for ever */
	assert_true(clock_mono_ms() - begun >= 190);
	assert_int_equal(rig_waiting(&r), 1);
	rig_start(&r);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_shared_connections),
		cmocka_unit_test(test_room_for_others),
		cmocka_unit_test(test_room_lately),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_body_over_budget),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_in_doubt),
		cmocka_unit_test(test_doubts_end),
		cmocka_unit_test(test_next_host),
		cmocka_unit_test(test_refused_greeting),
		cmocka_unit_test(test_no_host),
		cmocka_unit_test(test_bind_failure),
		cmocka_unit_test(test_tls_given_up),
		cmocka_unit_test(test_tls_demanded),
		cmocka_unit_test(test_idle_gives_way),
		cmocka_unit_test(test_idle_ends),
		cmocka_unit_test(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
