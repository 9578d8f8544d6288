/* Password guesses in virtual time, log-ins of a moment ago, clients by network, and the division
 * of descriptors among rooms that need them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../../relay/inbound/guesses.h"
#include "../../../relay/inbound/limits.h"
#include "../../../relay/inbound/logins.h"
#include "postern/must.h"

#define LIMIT 10

static struct addr at(const char *text)
{
	struct addr a;

	must(addr_parse(&a, slice_of(text)) == 0);
	return a;
}

/* -1: not looked at; else the delay. */
static long ask(struct guesses *g, ms_t now, const char *client, const char *user)
{
	struct addr a = at(client);
	ms_t delay;

	return guesses_ask(g, now, &a, user, LIMIT, &delay) ? (long)delay : -1;
}

static void fail_times(struct guesses *g, ms_t now, const char *client, const char *user, int n)
{
	struct addr a = at(client);

	while (n--)
		guesses_failed(g, now, &a, user);
}

static void pass_once(struct guesses *g, ms_t now, const char *client, const char *user)
{
	struct addr a = at(client);

	guesses_passed(g, now, &a, user);
}

static void delays_grow_and_end(void **state)
{
	struct guesses *g = guesses_new(1);
	long before = 0;

	for (int n = 0; n < LIMIT; n++) {
		long delay = ask(g, 1000, "192.0.2.1", "amy");

		assert_true(n <= 5 ? delay == 0 : delay >= before && delay > 0);
		before = delay;
		fail_times(g, 1000, "192.0.2.1", "amy", 1);
	}
	assert_int_equal(ask(g, 1000, "192.0.2.1", "amy"), -1);
	/* by network: other users from there; by user: the same from elsewhere */
	assert_int_equal(ask(g, 1000, "192.0.2.1", "bob"), -1);
	assert_int_equal(ask(g, 1000, "198.51.100.1", "amy"), -1);
	assert_int_equal(ask(g, 1000, "198.51.100.1", "bob"), 0);
	/* a neighbour in IPv4 is another, in IPv6 the /64 is one */
	assert_int_equal(ask(g, 1000, "192.0.2.2", "bob"), 0);
	fail_times(g, 1000, "2001:db8::1", "x", LIMIT);
	assert_int_equal(ask(g, 1000, "2001:db8::ffff:1", "y"), -1);
	assert_int_equal(ask(g, 1000, "2001:db8:0:1::1", "y"), 0);
	/* it decays, and a clock that is set back does no harm */
	assert_int_equal(ask(g, 0, "192.0.2.1", "amy"), -1);
	assert_true(ask(g, 1000 + GUESSES_HALF / 2, "192.0.2.1", "amy") > 0);
	assert_int_equal(ask(g, 1000 + 2 * GUESSES_HALF, "192.0.2.1", "amy"), 0);
	guesses_free(g);
}

static void good_history_gets_in(void **state)
{
	struct guesses *g = guesses_new(2);
	char client[40];

	pass_once(g, 0, "192.0.2.1", "amy");
	/* guessed at from everywhere, and a bad neighbour at home */
	for (int i = 0; i < 200; i++) {
		snprintf(client, sizeof(client), "198.51.100.%d", i);
		fail_times(g, 1000, client, "amy", 1);
	}
	fail_times(g, 1000, "192.0.2.1", "bob", 50);
	assert_int_equal(ask(g, 1000, "192.0.2.1", "amy"), 0);
	assert_int_equal(ask(g, 1000, "203.0.113.1", "amy"), -1);
	/* failures with this name from there are its own */
	fail_times(g, 1000, "192.0.2.1", "amy", LIMIT);
	assert_int_equal(ask(g, 1000, "192.0.2.1", "amy"), -1);
	/* a week later it is a stranger's address again */
	pass_once(g, 2000, "192.0.2.1", "amy");
	fail_times(g, GUESSES_GOOD + 3000, "198.51.100.1", "amy", LIMIT);
	assert_int_equal(ask(g, GUESSES_GOOD + 3000, "192.0.2.1", "amy"), -1);
	guesses_free(g);
}

/* However many guess once, who guesses often is not forgotten, and history stays. */
static void tables_are_bounded(void **state)
{
	struct guesses *g = guesses_new(3);
	char client[40], user[20];

	fail_times(g, 0, "192.0.2.1", "amy", LIMIT);
	pass_once(g, 0, "192.0.2.9", "amy");
	for (int i = 0; i < 200000; i++) {
		snprintf(client, sizeof(client), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		snprintf(user, sizeof(user), "u%d", i);
		fail_times(g, 1, client, user, 1);
	}
	assert_int_equal(ask(g, 1, "192.0.2.1", "eve"), -1);
	assert_int_equal(ask(g, 1, "192.0.2.9", "amy"), 0);
	guesses_free(g);
}

static void no_limit(void **state)
{
	struct guesses *g = guesses_new(4);
	struct addr a = at("192.0.2.1");
	ms_t delay;

	fail_times(g, 0, "192.0.2.1", "amy", 1000);
	assert_true(guesses_ask(g, 0, &a, "amy", 0, &delay));
	assert_int_equal(delay, GUESSES_DELAY_MAX);
	guesses_free(g);
}

/* ---- log-ins ---- */

static struct users *users_of(const char *text)
{
	char error[200];
	struct users *u;

	if (users_parse(&u, slice_of(text), "users", error, sizeof(error)))
		fail_msg("%s", error);
	return u;
}

static void logins_are_kept_for_a_while(void **state)
{
	static const char text[] = "amy:$6$salt$hash:pool\n";
	struct users *u = users_of(text), *again = users_of(text);
	struct logins *l = logins_new();
	struct login_key k, other;
	char pool[64] = "bulk";

	assert_non_null(l);
	assert_true(logins_key(l, &k, u, "amy", "secret"));
	assert_false(logins_find(l, 1000, &k, pool));
	logins_add(l, 1000, &k, "bulk");
	memset(pool, 0, sizeof(pool));
	assert_true(logins_find(l, 1000 + LOGINS_LIFE - 1, &k, pool));
	assert_string_equal(pool, "bulk");
	assert_false(logins_find(l, 1000 + LOGINS_LIFE, &k, pool));
	/* another password, user, or a file that was loaded anew: not the same */
	assert_true(logins_key(l, &other, u, "amy", "secreT"));
	assert_false(logins_find(l, 1000, &other, pool));
	assert_true(logins_key(l, &other, u, "amys", "ecret"));
	assert_false(logins_find(l, 1000, &other, pool));
	assert_true(logins_key(l, &other, again, "amy", "secret"));
	assert_false(logins_find(l, 1000, &other, pool));
	/* bounded: thousands more, and it still works */
	for (int i = 0; i < 5000; i++) {
		char user[20];

		snprintf(user, sizeof(user), "u%d", i);
		assert_true(logins_key(l, &other, u, user, "x"));
		logins_add(l, 1001 + i, &other, "p");
		assert_true(logins_find(l, 1001 + i, &other, pool));
	}
	logins_free(l);
	users_unref(u);
	users_unref(again);
}

/* ---- clients ---- */

static void clients_have_shares(void **state)
{
	struct session_limits *l = session_limits_new();
	struct addr a = at("192.0.2.1"), b = at("2001:db8::1"), c = at("2001:db8::2");
	struct client *x = client_enter(l, &a), *y = client_enter(l, &b), *z = client_enter(l, &c);

	session_limits_bound(l, 0, 4000);
	assert_ptr_not_equal(x, y);
	assert_ptr_equal(y, z); /* one /64 */
	assert_true(client_has_room(l, x, 1000, 0));
	assert_false(client_has_room(l, x, 1001, 0));
	client_charge(l, x, 0, 1000);
	client_charge(l, y, 0, 900);
	assert_false(client_has_room(l, y, 101, 0)); /* all the unproven: half */
	client_prove(y, 0);
	assert_true(client_has_room(l, y, 100, 1));
	client_charge(l, x, 0, -1000);
	client_charge(l, y, 0, -900);
	assert_true(client_has_room(l, x, 1000, 0));
	/* proof outlives the session, for an hour */
	client_leave(l, y, 10);
	client_leave(l, z, 10);
	client_leave(l, x, 10);
	assert_true(client_was_proven(l, &c, 3599999));
	assert_false(client_was_proven(l, &c, 3600001));
	assert_false(client_was_proven(l, &a, 10));
	session_limits_free(l);
}

static void refusals_are_told_so_often(void **state)
{
	struct session_limits *l = session_limits_new();
	struct addr a = at("192.0.2.1");
	uint64_t untold, told = 0;

	for (int i = 0; i < 1000; i++)
		told += client_may_tell(l, &a, 1000 + i, &untold);
	assert_int_equal(told, 10);
	assert_true(client_may_tell(l, &a, 61000, &untold));
	assert_int_equal(untold, 990);
	assert_true(client_may_tell(l, &a, 61001, &untold));
	assert_int_equal(untold, 0);
	session_limits_free(l);
}

static void strangers_push_nobody_out(void **state)
{
	struct session_limits *l = session_limits_new();
	struct addr a = at("192.0.2.1");
	struct client *c = client_enter(l, &a);
	char text[40];

	client_prove(c, 0);
	client_leave(l, c, 0);
	for (int i = 0; i < 100000; i++) {
		struct addr s;

		snprintf(text, sizeof(text), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		s = at(text);
		client_leave(l, client_enter(l, &s), 1);
	}
	assert_true(client_was_proven(l, &a, 2));
	assert_int_equal(HASH_COUNT(l->clients), 1);
	session_limits_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_grow_and_end),
		cmocka_unit_test(good_history_gets_in),
		cmocka_unit_test(tables_are_bounded),
		cmocka_unit_test(no_limit),
		cmocka_unit_test(logins_are_kept_for_a_while),
		cmocka_unit_test(clients_have_shares),
		cmocka_unit_test(refusals_are_told_so_often),
		cmocka_unit_test(strangers_push_nobody_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
