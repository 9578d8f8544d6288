/* The handle of a transaction: what it does in each legal order, and that each other order ends the
 * process at the wrong call. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct classification good = { .verdict = VERDICT_DELIVERED };
static const struct classification busy = {
	.verdict = VERDICT_DESTINATION_BUSY, .scope = SCOPE_RECIPIENT, .code = 451
};

/* A connection, and two handles for it. */
struct bench {
	struct rig r;
	uint32_t slot;
	struct policy_txn a, b;
};

static void bench_init(struct bench *b)
{
	struct smtp_client_info info = { 0 };
	struct policy_choice c;

	memset(b, 0, sizeof(*b));
	rig_init(&b->r);
	c = rig_choose(&b->r);
	assert_true(c.go);
	b->slot = c.slot;
	policy_connected(b->r.policy, b->r.now, b->slot, &info);
}

/* One letter a step: A admit, R result, N S C end as not begun, sent, cut; small ones on the second
 * handle. G the connection goes, and another has its number. F refused before a transaction. */
static void step(struct bench *b, char c)
{
	struct policy_txn *t = c >= 'a' ? &b->b : &b->a;
	struct policy_tried tried = { 0 };
	struct policy_choice why;
	struct policy_verdict v;

	switch (c | 0x20) {
	case 'a':
		policy_admit(b->r.policy, b->r.now, b->slot, &b->r.want, t, &why);
		break;
	case 'r':
		policy_result(b->r.policy, b->r.now, t, "example.org", &good, &tried, &v);
		break;
	case 'n':
		policy_txn_end(b->r.policy, t, TXN_NOT_BEGUN);
		break;
	case 's':
		policy_txn_end(b->r.policy, t, TXN_SENT);
		break;
	case 'c':
		policy_txn_end(b->r.policy, t, TXN_CUT);
		break;
	case 'f':
		policy_refused(b->r.policy, b->r.now, b->slot, "example.org", &busy, &tried, &v);
		break;
	case 'g':
		policy_disconnected(b->r.policy, b->r.now, b->slot, NULL, 0);
		policy_choose(b->r.policy, b->r.now, &b->r.want, &why);
		b->slot = why.slot;
		break;
	}
}

static void steps(struct bench *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		step(b, s[i]);
}

static void test_right(void **state)
{
	static const char *const orders[] = { "ARS", "ARRRC", "AN", "AS", "AC", "ANARSAN", "AaRSrs",
		"AarsRS", "AanN", "AaNrrs", "F", "ARSF", "AGars" };

	for (size_t i = 0; i < COUNT(orders); i++) {
		struct bench b;

		bench_init(&b);
		for (size_t k = 0; orders[i][k]; k++) {
			if (orders[i][k] == 'G')
				b.a = (struct policy_txn){ 0 }; /* forgotten with its connection */
			step(&b, orders[i][k]);
			assert_true(slots_counted(b.r.policy));
		}
		assert_int_equal(b.a.state, TXN_NONE);
		rig_deinit(&b.r);
	}
}

/* Does the last step alone end the process? */
static bool caught(const char *order)
{
	size_t n = strlen(order);
	int status = 0, fds[2];
	struct bench b;
	char said = 0;
	pid_t child;

	bench_init(&b);
	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		steps(&b, order, n - 1);
		if (write(fds[1], "r", 1) != 1)
			_exit(2);
		step(&b, order[n - 1]);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (read(fds[0], &said, 1) != 1)
		said = 0;
	close(fds[0]);
	rig_deinit(&b.r);
	return said == 'r' && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_wrong(void **state)
{
	static const char *const orders[] = {
		"R", "S", "C", "N",	      /* never admitted */
		"ARSR", "ARSS", "ANN", "ASN", /* already ended */
		"ARN",			      /* not begun, and yet with a result */
		"AA", "ARA",		      /* a handle that is under way */
		"AaRr", "AaRs", "AaRn",	      /* results of one between those of another */
		"AGR", "AGS", "AGN",	      /* of a connection that is gone */
		"AGaR", "AGaS",		      /* and whose number carries another's */
		"AF",			      /* a session that carries something was not refused */
	};

	for (size_t i = 0; i < COUNT(orders); i++)
		if (!caught(orders[i]))
			fail_msg("not caught: %s", orders[i]);
}

/* What never began is as if it had not been asked for, whatever went on beside it. */
static void test_not_begun(void **state)
{
	struct policy_slot_info before, after;
	struct bench b;

	bench_init(&b);
	steps(&b, "A", 1);
	policy_slot(b.r.policy, b.slot, &before);
	steps(&b, "an", 2);
	policy_slot(b.r.policy, b.slot, &after);
	assert_int_equal(before.messages, after.messages);
	steps(&b, "RS", 2);
	policy_slot(b.r.policy, b.slot, &after);
	assert_int_equal(after.messages, 1);
	rig_deinit(&b.r);
}

/* Two transactions of different pools on one connection: where the first may go on is a matter of its
 * own pool, not of the last one admitted. */
static void test_own_pool(void **state)
{
	static __typeof__(*((struct pool_params *)0)->members) alone[] = { { 0, 1 } };
	const struct classification block = { .verdict = VERDICT_SOURCE_BLOCK, .code = 550 };
	struct policy_tried tried = { .message = 7 };
	struct policy_verdict v;
	struct policy_choice why;
	struct bench b;

	bench_init(&b);
	b.r.pools[1] = (struct pool_params){ b.r.pools[1].name, 1, (void *)alone };
	do { /* a connection from the source that both have */
		why = rig_choose(&b.r);
		assert_true(why.go);
	} while (why.source != 0);
	assert_true(policy_admit(
		b.r.policy, b.r.now, why.slot, &b.r.want, &b.a, &(struct policy_choice){ 0 }));
	b.r.want.pool = 1;
	assert_true(policy_admit(
		b.r.policy, b.r.now, why.slot, &b.r.want, &b.b, &(struct policy_choice){ 0 }));
	policy_result(b.r.policy, b.r.now, &b.a, "example.org", &block, &tried, &v);
	policy_txn_end(b.r.policy, &b.a, TXN_CUT);
	assert_int_equal(v.what, DISPOSE_RETRY_SUBNET);
	rig_deinit(&b.r);
}

/* A reload meanwhile: the number of its pool is another's now. */
static void test_reload(void **state)
{
	static __typeof__(*((struct pool_params *)0)->members) alone[] = { { 0, 1 } };
	const struct classification block = { .verdict = VERDICT_SOURCE_BLOCK, .code = 550 };
	struct policy_tried tried = { .message = 7 };
	static struct rig next;
	struct policy_verdict v;
	struct policy_choice why;
	struct bench b;

	bench_init(&b);
	b.r.pools[1] = (struct pool_params){ b.r.pools[1].name, 1, (void *)alone };
	b.r.want.pool = 1;
	why = rig_choose(&b.r);
	assert_true(why.go);
	assert_true(policy_admit(
		b.r.policy, b.r.now, why.slot, &b.r.want, &b.a, &(struct policy_choice){ 0 }));
	rig_params(&next);
	next.pools[1].members = next.pools[0].members;
	next.pools[1].nmembers = next.pools[0].nmembers;
	assert_int_equal(policy_reload(b.r.policy, &next.params), 0);
	policy_result(b.r.policy, b.r.now, &b.a, "example.org", &block, &tried, &v);
	policy_txn_end(b.r.policy, &b.a, TXN_CUT);
	assert_int_not_equal(v.what, DISPOSE_RETRY_SUBNET);
	assert_true(slots_counted(b.r.policy));
	rig_deinit(&b.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_not_begun),
		cmocka_unit_test(test_own_pool),
		cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
