/* Notifications gathered: one for what fails of a message within moments; nothing is lost for it.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mx_rule dead[] = { { MX_RCPT, NULL, NULL, "<x", "550 5.1.1 no such user", 0, 0 } };

/* n recipients "x0@a.test", "x1@b.test" …, and the ones given. */
static uint64_t send_list(struct rig *r, unsigned n, const char *more)
{
	static const char *const domains[] = { "a.test", "b.test", "c.test", "two.test" };
	char(*text)[32] = calloc(n, sizeof(*text));
	const char **to = calloc(n + 2, sizeof(char *));
	uint64_t id;

	assert_non_null(text);
	assert_non_null(to);
	for (unsigned i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "x%u@%s", i, domains[i % COUNT(domains)]);
		to[i] = text[i];
	}
	to[n] = more;
	id = rig_send(r, "me@sender.test", to);
	free(to);
	free(text);
	return id;
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (const char *p = in; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static void fails_together(unsigned n)
{
	struct rig r;

	rig_init(&r, dead, COUNT(dead));
	rig_start(&r);
	send_list(&r, n, "y@a.test");
	WAIT_UNTIL(rig_stats(&r).bounced == n);
	/* what failed is not recorded without its notification; what was delivered is */
	if (!mx_dsns(&r.mx))
		assert_true(rig_waiting(&r) >= n);
	WAIT_UNTIL(rig_waiting(&r) == 0 && mx_dsns(&r.mx));
	assert_int_equal(mx_dsns(&r.mx), 1);
	assert_int_equal(mx_count(&r.mx, "y@a.test", NULL), 1);
	assert_int_equal(count(r.mx.last_content, "Final-Recipient: "), n);
	assert_int_equal(count(r.mx.last_content, "\r\nFinal-Recipient: rfc822; x0@a.test\r\n"), 1);
	WAIT_UNTIL(rig_stats(&r).dsns == 1);
	rig_stop(&r);
}

static void test_thirty(void **state)
{
	fails_together(30);
}

static void test_a_thousand(void **state)
{
	fails_together(900);
}

/* All of its recipients: nothing is waited for. */
static void test_alone(void **state)
{
	ms_t begun;
	struct rig r;

	rig_init(&r, dead, COUNT(dead));
	rig_start(&r);
	begun = clock_mono_ms();
	rig_send_to(&r, "x@a.test");
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_true(clock_mono_ms() - begun < 1400);
	rig_stop(&r);
}

/* Who stops in between has it told at once; the notification is in the queue then. */
static void test_stopped(void **state)
{
	struct queue_rcpt_state *states;
	struct message *m;
	uint64_t id;
	struct rig r;

	rig_init(&r, dead, COUNT(dead));
	rig_start(&r);
	id = send_list(&r, 8, "z@broken.test");
	WAIT_UNTIL(rig_stats(&r).bounced == 8);
	rig_stop_dispatch(&r);
	assert_int_equal(queue_load(r.queue, id, &m, &states), 0);
	assert_int_equal(m->nrecipients, 1); /* broken.test is tried again */
	message_unref(m);
	rig_start(&r);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_int_equal(count(r.mx.last_content, "Final-Recipient: "), 8);
	rig_stop(&r);
}

/* Ended without a word, as by a kill: the recipients are in the queue still, and fail again. */
static void test_killed(void **state)
{
	uint64_t id;
	struct message *m;
	struct queue_rcpt_state *states;
	struct rig r;

	rig_init(&r, dead, COUNT(dead));
	rig_start(&r);
	id = send_list(&r, 8, "z@broken.test");
	WAIT_UNTIL(rig_stats(&r).bounced == 8);
	dispatch_quiet(r.dispatch);
	r.worker = worker_free(r.worker);
	r.dispatch = dispatch_free(r.dispatch);
	r.rules = classifier_free(r.rules);
	r.log = log_close(r.log);
	assert_int_equal(queue_load(r.queue, id, &m, &states), 0);
	assert_int_equal(m->nrecipients, 9);
	message_unref(m);
	rig_start(&r);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_int_equal(count(r.mx.last_content, "Final-Recipient: "), 8);
	rig_stop(&r);
}

/* Notices of delay, too. */
static void test_delays(void **state)
{
	static struct mx_rule busy[] = { { MX_RCPT, NULL, NULL, "<x", "451 4.2.1 mailbox busy", 0,
		0 } };
	struct rig r;

	rig_init(&r, busy, COUNT(busy));
	r.policy.retry.delay_notice = 500;
	r.schedule[0] = r.schedule[1] = 600;
	rig_start(&r);
	send_list(&r, 12, NULL);
	WAIT_UNTIL(mx_dsns(&r.mx) == 1);
	assert_int_equal(count(r.mx.last_content, "Final-Recipient: "), 12);
	assert_int_equal(count(r.mx.last_content, "Action: delayed"), 12);
	WAIT_UNTIL(rig_stats(&r).deferred >= 48);
	assert_int_equal(mx_dsns(&r.mx), 1);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thirty),
		cmocka_unit_test(test_a_thousand),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_delays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
