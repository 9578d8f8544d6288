/* A queue whose process is killed, and one whose clock was set back while it was away. */
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

#define NOW 1700000000000

/* ---- kill -9 ---- */

/* Accepts and settles for ever, telling the pipe after each answer. */
static _Noreturn void child(struct fixture *f, int fd)
{
	char error[256];

	if (queue_open(&f->q, &f->params, error, sizeof(error)))
		_exit(1);
	queue_set_fresh(f->q, &f->fresh.mpsc);
	for (unsigned i = 0;; i++) {
		uint64_t id = put_message(f, "a@x.example b@y.example", 3000 + i % 20000, NOW);

		/* every third is left, every third loses one recipient, every third is done */
		if (i % 3 > 0 && settle_gone(f, id, 0, "x.example", NOW))
			_exit(2);
		if (i % 3 == 2 && settle_gone(f, id, 1, "y.example", NOW))
			_exit(3);
		id = i % 3 < 2 ? id : id | 1ull << 63;
		if (write(fd, &id, sizeof(id)) != sizeof(id))
			_exit(4);
		fixture_drop_fresh(f);
	}
}

static void kill_one(struct fixture *f, unsigned round, uint64_t *last)
{
	uint64_t ids[4096], max = 0;
	unsigned n = 0, want = 20 + 37 * round;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(f, fds[1]);
	close(fds[1]);
	while (n < want && read(fds[0], &ids[n], sizeof(ids[0])) == sizeof(ids[0]))
		n++;
	kill(pid, SIGKILL);
	while (read(fds[0], &ids[n], sizeof(ids[0])) == sizeof(ids[0]))
		n++;
	close(fds[0]);
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	fixture_reopen(f);
	for (unsigned i = 0; i < n; i++) {
		uint64_t id = ids[i] & ~(1ull << 63);
		struct queue_rcpt_state *st;
		struct message *m;
		int r = queue_load(f->q, id, &m, &st);

		if (id > max)
			max = id;
		assert_true(id > *last);
		assert_int_equal(r, ids[i] >> 63 ? -ENOENT : 0);
		if (!r)
			message_unref(m);
	}
	assert_true(queue_new_id(f->q) > max);
	assert_int_equal(queue_check(f->q, false, NULL, NULL), 0);
	*last = max;
	f->q = queue_close(f->q);
}

static void test_kill(void **state)
{
	struct fixture *f = *state;
	uint64_t last = 0;

	f->q = queue_close(f->q);
	for (unsigned round = 0; round < 8; round++)
		kill_one(f, round, &last);
	fixture_reopen(f);
}

/* ---- clock ---- */

/* What was reserved on disk counts more than the clock. */
static void test_clock_back(void **state)
{
	struct fixture *f = *state;
	uint64_t far = ((uint64_t)clock_wall_ms() + 86400000) << 20, w[4], id;
	MDB_val key = { 6, (char[]){ "totals" } }, v;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	f->q = queue_close(f->q);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
	assert_int_equal(mdb_env_set_mapsize(env, 256 * MIB), 0);
	assert_int_equal(mdb_env_open(env, f->dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_get(txn, dbi, &key, &v), 0);
	memcpy(w, v.mv_data, sizeof(w));
	w[3] = far;
	v.mv_data = w;
	assert_int_equal(mdb_put(txn, dbi, &key, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	fixture_reopen(f);
	id = queue_new_id(f->q);
	assert_true(id >= far);
	fixture_reopen(f);
	assert_true(queue_new_id(f->q) > id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_kill),
		T(test_clock_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
