/* Other processes that read the queue's file: what they keep, and what is left when they are gone.
 */
#include "fixture.h"

#include <errno.h>
#include <lmdb.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOW    1700000000000
#define SIZE   65536u
#define ROUNDS 400u

static int setup(void **state)
{
	struct fixture *f;

	if (fixture_setup(state))
		return -1;
	f = *state;
	f->q = queue_close(f->q);
	f->params.max_size = 16 * MIB;
	fixture_reopen(f);
	return 0;
}

/* A process with a read transaction of the file as it is now, until it is killed. */
static pid_t start_reader(struct fixture *f)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		MDB_env *env;
		MDB_txn *txn;

		if (mdb_env_create(&env) || mdb_env_open(env, f->dir, MDB_RDONLY, 0600) ||
			mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end_reader(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Mail comes and goes; how many rounds went well until the first refusal. */
static unsigned churn(struct fixture *f, unsigned rounds)
{
	unsigned n;

	for (n = 0; n < rounds; n++) {
		struct message *m = make_message(f, "a@x.example", SIZE);
		uint64_t id = m->id;
		int r = accept_message(f, m, NOW);

		message_unref(m);
		fixture_drop_fresh(f);
		if (r) {
			assert_int_equal(r, -ENOSPC);
			break;
		}
		assert_int_equal(settle_gone(f, id, 0, "x.example", NOW), 0);
	}
	return n;
}

static void test_reader_that_was_killed(void **state)
{
	struct fixture *f = *state;
	struct queue_stats st;
	pid_t pid;

	assert_int_equal(churn(f, 50), 50);
	pid = start_reader(f);
	end_reader(pid);
	/* its slot is left, and would keep each page */
	assert_int_equal(churn(f, ROUNDS), ROUNDS);
	queue_stats(f->q, &st);
	assert_int_equal(st.refused, 0);
	assert_int_equal(st.reader_pid, 0);
	check_clean(f, 0, 0);
}

static void test_reader_that_lasts(void **state)
{
	const struct timespec moment = { .tv_nsec = 50000000 };
	struct fixture *f = *state;
	struct queue_stats st;
	pid_t pid = start_reader(f);

	assert_in_range(churn(f, ROUNDS), 50, ROUNDS - 1);
	for (unsigned i = 0; i < 200; i++) { /* it is told when it has lasted two seconds */
		churn(f, 1);
		queue_stats(f->q, &st);
		if (st.reader_pid)
			break;
		nanosleep(&moment, NULL);
	}
	assert_int_equal(st.reader_pid, pid);
	assert_true(st.reader_ms >= 2000);
	assert_true(st.refused > 0);
	assert_int_equal(st.refused_error, -ENOSPC);
	assert_true(st.bytes_used < st.bytes_max / 2); /* by itself no reason */
	end_reader(pid);
	assert_int_equal(churn(f, ROUNDS), ROUNDS);
	for (unsigned i = 0; i < 200 && st.reader_pid; i++) {
		nanosleep(&moment, NULL);
		churn(f, 1);
		queue_stats(f->q, &st);
	}
	assert_int_equal(st.reader_pid, 0);
	check_clean(f, 0, 0);
}

static void take_line(void *arg, const char *line)
{
	struct buf *b = arg;

	assert_int_equal(buf_printf(b, "%s\n", line), 0);
}

/* Each message and entry in a snapshot of its own: the same is found, and no sums are compared. */
static void test_check_in_snapshots(void **state)
{
	static const char *const domains[] = { "a@x.example", "b@y.example c@x.example",
		"d@z.example" };
	struct fixture *f = *state;
	struct buf lines;

	for (unsigned i = 0; i < 30; i++)
		put_message(f, domains[i % COUNT(domains)], 9000, NOW);
	f->q = queue_close(f->q);
	f->params.snapshot_us = 1;
	fixture_reopen(f);
	buf_init(&lines, 0);
	assert_int_equal(queue_check(f->q, false, take_line, &lines), 0);
	assert_int_equal(buf_add(&lines, "", 1), 0);
	assert_non_null(strstr(lines.p, "note: "));
	assert_non_null(strstr(lines.p, "snapshots"));
	assert_ptr_equal(strchr(lines.p, '\n'), strrchr(lines.p, '\n'));
	buf_deinit(&lines);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_reader_that_was_killed),
		T(test_reader_that_lasts),
		T(test_check_in_snapshots),
	};

	return cmocka_run_group_tests_name("readers", tests, NULL, NULL);
}
