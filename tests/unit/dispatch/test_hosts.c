/* Several hosts, and hosts with limits and memories of their own. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the log says ---- */

/* The value of a text field of the line's. */
static void field(char out[64], const char *line, const char *end, const char *name)
{
	char key[40];
	const char *p;
	int n = snprintf(key, sizeof(key), "\"%s\":\"", name);

	p = memmem(line, (size_t)(end - line), key, (size_t)n);
	out[0] = '\0';
	if (p)
		snprintf(out, 64, "%.*s", (int)strcspn(p + n, "\""), p + n);
}

/* Events of the kind about the recipient, how many had another value in the field than the first
 * of any kind. */
static unsigned others(const char *log, const char *to, const char *name, unsigned *events)
{
	char first[64] = "";
	unsigned n = 0;

	*events = 0;
	for (const char *l = log, *end; (end = strchr(l, '\n')); l = end + 1) {
		char who[64], what[64];

		field(who, l, end, "to");
		field(what, l, end, name);
		if (strcmp(who, to) || !what[0])
			continue;
		if (!first[0])
			memcpy(first, what, sizeof(first));
		n += strcmp(first, what) != 0;
		++*events;
	}
	return n;
}

/* ---- greylisting ---- */

#define GREY 16u

/* Each message comes back from the address that the receiver saw first, also after a restart in
 * between. */
static void greylisted(bool restart)
{
	static struct mx_rule rules[GREY];
	static char match[GREY][16];
	char to[GREY][20];
	struct rig r;
	char *log;

	for (unsigned i = 0; i < GREY; i++) {
		snprintf(match[i], sizeof(match[i]), "<u%u@", i);
		rules[i] = (struct mx_rule){ .when = MX_RCPT,
			.match = match[i],
			.reply = "450 4.2.0 Greylisted, see you",
			.times = 2 };
		snprintf(to[i], sizeof(to[i]), "u%u@a.test", i);
	}
	rig_init(&r, rules, GREY);
	if (restart)
		r.schedule[0] = 1500;
	rig_start(&r);
	for (unsigned i = 0; i < GREY; i++)
		rig_send_to(&r, to[i]);
	if (restart) {
		WAIT_UNTIL(rig_stats(&r).deferred >= GREY && rig_stats(&r).work == 0);
		rig_stop_dispatch(&r);
		rig_start(&r);
	}
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	for (unsigned i = 0; i < GREY; i++) {
		unsigned n;

		assert_int_equal(others(log, to[i], "source", &n), 0);
		assert_int_equal(n, 3);
	}
	free(log);
	rig_stop(&r);
}

static void test_greylisted(void **state)
{
	greylisted(false);
}

static void test_greylisted_restart(void **state)
{
	greylisted(true);
}

/* ---- the next host ---- */

/* pair.test: mx1 (10), mx2 (20). trio.test: mx1, mx2 and mx3 alike. */
static void zone(struct rig *r)
{
	rig_row(r, "pair.test", 15, 0, "mx1.test", 10);
	rig_row(r, "pair.test", 15, 0, "mx2.test", 20);
	rig_row(r, "trio.test", 15, 0, "mx1.test", 10);
	rig_row(r, "trio.test", 15, 0, "mx2.test", 10);
	rig_row(r, "trio.test", 15, 0, "mx3.test", 10);
	rig_row(r, "mx3.test", 1, 0, "127.0.9.3", 0);
}

static unsigned at_site(struct rig *r, const char *site)
{
	unsigned n = 0;

	pthread_mutex_lock(&r->mx.lock);
	for (unsigned i = 0; i < r->mx.nmails; i++)
		n += !strcmp(r->mx.mails[i].site, site);
	pthread_mutex_unlock(&r->mx.lock);
	return n;
}

/* Whatever phase, in silence or in words of a system's trouble: the next host at once, and no retry
 * is used up. */
static void test_next_host(void **state)
{
	static const struct {
		enum mx_when when;
		const char *reply;
	} rows[] = {
		{ MX_BANNER, "" },
		{ MX_EHLO, "" },
		{ MX_MAIL, "" },
		{ MX_RCPT, "" },
		{ MX_BANNER, "421 4.3.2 not now" },
		{ MX_BANNER, "554 5.7.1 blocked" },
		{ MX_EHLO, "554 5.7.1 blocked" },
		{ MX_MAIL, "421 4.3.2 closing" },
		{ MX_MAIL, "452 4.3.1 no space" },
		{ MX_MAIL, "452 no space" },
		{ MX_RCPT, "451 4.3.0 local error" },
		{ MX_RCPT, "450 4.4.1 cannot reach my store" },
		{ MX_RCPT, "421 4.4.5 too busy" },
		{ MX_EOD, "452 4.3.1 no space" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mx_rule rule = {
			.when = rows[i].when, .site = "127.0.9.1", .reply = rows[i].reply
		};
		struct rig r;
		char *log;

		rig_init(&r, &rule, 1);
		zone(&r);
		r.schedule[0] = 3600000;
		rig_start(&r);
		for (int n = 0; n < 3; n++)
			rig_send_to(&r, "x@pair.test");
		WAIT_UNTIL(rig_waiting(&r) == 0);
		assert_int_equal(at_site(&r, "127.0.9.2"), 3);
		assert_int_equal(rig_stats(&r).in_doubt, 0);
		rig_stop_dispatch(&r);
		log = rig_log(&r);
		assert_null(strstr(log, "\"attempt\":2"));
		free(log);
		rig_stop(&r);
	}
}

/* It is the primary that is well: the backup that is not is never asked. */
static void test_backup_is_left_alone(void **state)
{
	static struct mx_rule rules[] = { { MX_BANNER, "127.0.9.2", NULL, NULL, "421 4.3.2 no", 0,
		0 } };
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	zone(&r);
	rig_start(&r);
	for (int n = 0; n < 10; n++)
		rig_send_to(&r, "x@pair.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(at_site(&r, "127.0.9.1"), 10);
	assert_int_equal(mx_rule_used(&r.mx, 0), 0);
	rig_stop(&r);
}

/* Two bad front ends of three, in different ways: all goes over the third, at once. */
static void test_two_bad_of_three(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_BANNER, "127.0.9.1", NULL, NULL, "421 4.3.2 no", 0, 0 },
		{ MX_MAIL, "127.0.9.2", NULL, NULL, "451 4.3.2 not accepting network messages", 0,
			0 },
	};
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	zone(&r);
	r.schedule[0] = 3600000;
	rig_start(&r);
	for (int n = 0; n < 60; n++)
		rig_send_to(&r, "x@trio.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(at_site(&r, "127.0.9.3"), 60);
	assert_true(mx_rule_used(&r.mx, 0) <= 10);
	assert_true(mx_rule_used(&r.mx, 1) <= 20);
	rig_stop(&r);
}

/* All hosts fail: deferred by the schedule, with what they said, and tried again. */
static void test_all_hosts_fail(void **state)
{
	static struct mx_rule rules[] = {
		{ MX_MAIL, "127.0.9.1", NULL, NULL, "", 0, 0 },
		{ MX_MAIL, "127.0.9.2", NULL, NULL, "452 4.3.1 no space", 0, 0 },
	};
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id;
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	zone(&r);
	r.schedule[0] = 3600000;
	rig_start(&r);
	id = rig_send_to(&r, "x@pair.test");
	WAIT_UNTIL(rig_stats(&r).work == 0 && rig_stats(&r).deferred > 0);
	s = rig_state(&r, id, &m);
	assert_int_equal(s.attempts, 1);
	assert_true(mx_rule_used(&r.mx, 0) >= 1 && mx_rule_used(&r.mx, 1) >= 1);
	/* once or twice each, once more without extensions: bounded */
	assert_true(mx_rule_used(&r.mx, 0) + mx_rule_used(&r.mx, 1) <= 12);
	message_unref(m);
	rig_stop(&r);
}

/* One subnet's connections die at the primary: its mail goes from the other, to the primary. */
static void test_dead_way(void **state)
{
	static struct mx_rule rules[] = { { MX_BANNER, "127.0.9.1", "127.0.2.1", NULL, "", 0, 0 } };
	struct rig r;

	rig_init(&r, rules, COUNT(rules));
	zone(&r);
	r.schedule[0] = 3600000;
	rig_start(&r);
	for (int n = 0; n < 30; n++)
		rig_send_to(&r, n % 2 ? "x@pair.test" : "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, "127.0.2.1"), at_site(&r, "127.0.9.2"));
	assert_true(at_site(&r, "127.0.9.1") >= 25);
	rig_stop(&r);
}

/* ---- all doors are closed ---- */

static unsigned lines_with(const char *log, const char *a, const char *b)
{
	unsigned n = 0;

	for (const char *l = log, *end; (end = strchr(l, '\n')); l = end + 1)
		n += memmem(l, (size_t)(end - l), a, strlen(a)) &&
		     memmem(l, (size_t)(end - l), b, strlen(b));
	return n;
}

/* Sixteen messages elsewhere: all go, and from both sources. */
static void others_go(struct rig *r, const char *to, unsigned before)
{
	for (int n = 0; n < 16; n++)
		rig_send_to(r, to);
	WAIT_UNTIL(mx_count(&r->mx, to, NULL) == before + 16);
	assert_true(mx_count(&r->mx, to, "127.0.1.1") > 0);
	assert_true(mx_count(&r->mx, to, "127.0.2.1") > 0);
}

/* All hosts of a domain, be they one or two, refuse both sources at the door, for good: that is
 * between these sources and this domain, over a restart, too. Its mail is held after each source
 * asked once at each host, and nobody else's waits. */
static void all_doors(enum mx_when when, const char *to, unsigned asked)
{
	struct mx_rule rules[] = {
		{ when, "127.0.9.1", NULL, NULL, "554 5.7.1 blocked", 0, 0 },
		{ when, "127.0.9.2", NULL, NULL, "554 5.7.1 blocked", 0, 0 },
	};
	struct queue_rcpt_state s;
	struct message *m;
	uint64_t id;
	struct rig r;
	char *log;

	rig_init(&r, rules, COUNT(rules));
	zone(&r);
	rig_row(&r, "well.test", 15, 0, "mx3.test", 10);
	rig_row(&r, "both.test", 15, 0, "mx4.test", 10);
	rig_row(&r, "mx4.test", 1, 0, "127.0.9.1", 0);
	rig_row(&r, "mx4.test", 28, 0, "2001:db8::1", 0);
	r.dp.dns.ipv6 = true; /* no source has it: that host is no other one */
	r.schedule[0] = 3600000;
	r.providers[0].messages_per_connection = 1; /* then both sources have their turn */
	rig_start(&r);
	id = rig_send_to(&r, to);
	WAIT_UNTIL(rig_stats(&r).held > 0);
	for (int n = 0; n < 2; n++)
		rig_send_to(&r, to);
	others_go(&r, "x@well.test", 0);
	assert_int_equal(mx_rule_used(&r.mx, 0) + mx_rule_used(&r.mx, 1), asked);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_int_equal(lines_with(log, "source-unwelcome", strchr(to, '@') + 1), 2);
	assert_null(strstr(log, "source-blocked"));
	assert_null(strstr(log, "all-sources-blocked"));
	free(log);
	rig_start(&r);
	others_go(&r, "x@well.test", 16);
	assert_int_equal(mx_rule_used(&r.mx, 0) + mx_rule_used(&r.mx, 1), asked);
	WAIT_UNTIL(rig_waiting(&r) == 3);
	s = rig_state(&r, id, &m);
	assert_int_equal(s.attempts, 0); /* no retry is used up */
	message_unref(m);
	assert_int_equal(rig_stats(&r).bounced, 0);
	rig_stop(&r);
}

static void test_all_doors(void **state)
{
	all_doors(MX_BANNER, "x@a.test", 2);
	all_doors(MX_EHLO, "x@a.test", 2);
	all_doors(MX_BANNER, "x@pair.test", 4);
	all_doors(MX_EHLO, "x@pair.test", 4);
	all_doors(MX_BANNER, "x@both.test", 2);
}

/* One shuts its door, the other has trouble in its sessions: each is asked from each subnet, and
 * then the mail waits by its schedule. */
static void test_door_and_trouble(void **state)
{
	static const char *const trouble[] = { "452 4.3.1 no space", "" };

	for (size_t i = 0; i < COUNT(trouble); i++) {
		struct mx_rule rules[] = {
			{ MX_BANNER, "127.0.9.1", NULL, NULL, "554 5.7.1 blocked", 0, 0 },
			{ MX_MAIL, "127.0.9.2", NULL, NULL, trouble[i], 0, 0 },
		};
		struct queue_rcpt_state s;
		struct message *m;
		uint64_t id;
		struct rig r;

		rig_init(&r, rules, COUNT(rules));
		zone(&r);
		r.schedule[0] = 3600000;
		rig_start(&r);
		id = rig_send_to(&r, "x@pair.test");
		WAIT_UNTIL(rig_stats(&r).deferred > 0 && rig_stats(&r).work == 0);
		s = rig_state(&r, id, &m);
		assert_int_equal(s.attempts, 1);
		message_unref(m);
		assert_int_equal(mx_rule_used(&r.mx, 0), 2);
		assert_in_range(mx_rule_used(&r.mx, 1), 1, 4);
		rig_stop(&r);
	}
}

/* ---- limits ---- */

/* 421 or a hang-up at the n-th: a new connection at once, no mark, and n is known from then on. */
static void session_limit(const char *reply)
{
	struct mx_rule rule = { .when = MX_MAIL, .reply = reply, .times = 0 };
	struct rig r;
	char *log;

	rig_init(&r, &rule, 1);
	r.mx.session_max = 6;
	r.schedule[0] = 3600000;
	r.pool.nmembers = 1;
	r.providers[0].connections_per_lane = 1;
	rig_start(&r);
	for (int n = 0; n < 60; n++)
		rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 60);
	assert_true(mx_rule_used(&r.mx, 0) >= 1 && mx_rule_used(&r.mx, 0) <= 3);
	assert_true(r.mx.connections <= 13);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	assert_null(strstr(log, "\"attempt\":2"));
	free(log);
	rig_stop(&r);
}

static void test_session_limit(void **state)
{
	session_limit("421 4.7.0 too much for one");
	session_limit("421 4.3.2 closing");
	session_limit("421 throttled: too many messages"); /* a source's words, by the rules */
	session_limit("");
}

/* 20 recipients a transaction: the 21st is refused once, all others go twenty at a time. */
static void test_recipient_limit(void **state)
{
	struct mx_rule rule = { .when = MX_RCPT, .reply = "452 4.5.3 too many, one at a time" };
	static char names[61][20];
	const char *to[62] = { NULL };
	struct rig r;

	rig_init(&r, &rule, 1);
	r.mx.rcpts_max = 20;
	r.schedule[0] = 3600000;
	r.pool.nmembers = 1;
	r.providers[0].connections_per_lane = 1;
	r.providers[0].recipients_per_transaction = 100;
	rig_start(&r);
	for (unsigned i = 0; i < 61; i++) {
		snprintf(names[i], sizeof(names[i]), "u%u@a.test", i);
		to[i] = names[i];
	}
	rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(mx_count(&r.mx, NULL, NULL), 61);
	assert_int_equal(r.mx.transactions, 4);
	rig_send(&r, "me@sender.test", to);
	WAIT_UNTIL(rig_waiting(&r) == 0);
	assert_int_equal(r.mx.transactions, 8);
	assert_int_equal(mx_rule_used(&r.mx, 0), 41); /* in the first transaction alone */
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_host),
		cmocka_unit_test(test_backup_is_left_alone),
		cmocka_unit_test(test_two_bad_of_three),
		cmocka_unit_test(test_all_hosts_fail),
		cmocka_unit_test(test_dead_way),
		cmocka_unit_test(test_all_doors),
		cmocka_unit_test(test_door_and_trouble),
		cmocka_unit_test(test_session_limit),
		cmocka_unit_test(test_recipient_limit),
		cmocka_unit_test(test_greylisted),
		cmocka_unit_test(test_greylisted_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
