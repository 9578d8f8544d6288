/* What a directory may hold instead of a queue, and what is said about it. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

static void write_file(const char *file, const char *text, size_t n)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

static void put_main(struct fixture *f, const char *key, const char *value, size_t n)
{
	MDB_val k = { strlen(key), (void *)(uintptr_t)key }, v = { n, (void *)(uintptr_t)value };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
	assert_int_equal(mdb_env_open(env, f->dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void text_file(struct fixture *f, const char *file)
{
	static const char text[] = "This is some other program's file.\n";

	write_file(file, text, sizeof(text) - 1);
}
static void long_text_file(struct fixture *f, const char *file)
{
	static char text[20000];

	memset(text, 'x', sizeof(text));
	write_file(file, text, sizeof(text));
}
static void other_lmdb(struct fixture *f, const char *file)
{
	unlink(file);
	put_main(f, "some key", "of another program", 18);
}
static void newer_schema(struct fixture *f, const char *file)
{
	put_main(f, "schema", "\x63\0\0\0", 4);
}
static void odd_schema(struct fixture *f, const char *file)
{
	put_main(f, "schema", "\x63", 1);
}
static void cut(struct fixture *f, const char *file)
{
	assert_int_equal(truncate(file, 3 * 4096 + 100), 0);
}
static void cut_short(struct fixture *f, const char *file)
{
	assert_int_equal(truncate(file, 5000), 0);
}
static void garbled_meta(struct fixture *f, const char *file)
{
	int fd = open(file, O_WRONLY);

	for (off_t page = 0; page < 2; page++)
		assert_int_equal(
			pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, page * 4096 + 136), 8);
	close(fd);
}
static void garbled_root(struct fixture *f, const char *file)
{
	int fd = open(file, O_WRONLY);

	for (off_t page = 2; page < 12; page++)
		assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, page * 4096 + 12), 4);
	close(fd);
}
static void other_lmdb_version(struct fixture *f, const char *file)
{
	int fd = open(file, O_WRONLY);

	for (off_t page = 0; page < 2; page++)
		assert_int_equal(pwrite(fd, "\x02\0\0\0", 4, page * 4096 + 20), 4);
	close(fd);
}
static void empty_file(struct fixture *f, const char *file)
{
	write_file(file, "", 0);
}

static void test_foreign(void **state)
{
	static const struct {
		void (*make)(struct fixture *f, const char *file);
		int r;
		const char *says, *advises;
	} rows[] = {
		{ text_file, -EINVAL, "is not a queue", "another queue directory" },
		{ long_text_file, -EINVAL, "is not a queue", "another queue directory" },
		{ other_lmdb, -EINVAL, "not a queue of this relay", "another queue directory" },
		{ newer_schema, -EPROTO, "newer version (schema 99; this one knows 4)",
			"run the newer version" },
		{ odd_schema, -EBADMSG, "schema number", "restore" },
		{ cut, -EBADMSG, "was cut to 12388 bytes", "restore" },
		{ cut_short, -EBADMSG, "damaged", "restore" },
		{ garbled_meta, -EBADMSG, "damaged", "restore" },
		{ garbled_root, -EBADMSG, "damaged: page", "restore" },
		{ other_lmdb_version, -EPROTO, "another version of LMDB", "version that wrote it" },
		{ empty_file, 0, "", "" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct fixture *f;
		char file[256], error[512] = "";
		struct queue *q = NULL;
		int r;

		assert_int_equal(fixture_setup((void **)&f), 0);
		put_message(f, "a@x.example", 30000, 1);
		f->q = queue_close(f->q);
		snprintf(file, sizeof(file), "%s/data.mdb", f->dir);
		rows[i].make(f, file);
		r = queue_open(&q, &f->params, error, sizeof(error));
		queue_close(q);
		if (r != rows[i].r || !strstr(error, rows[i].says) ||
			!strstr(error, rows[i].advises) ||
			(r && strncmp(error, f->dir, strlen(f->dir)) != 0))
			fail_msg("row %zu: %d: %s", i, r, error);
		fixture_teardown((void **)&f);
	}
}

static void test_directory(void **state)
{
	struct fixture *f = *state;
	struct queue_params p = f->params;
	char path[256], error[512] = "";
	struct queue *q = NULL;
	struct stat st;

	snprintf(path, sizeof(path), "%s/no/such", f->dir);
	p.path = path;
	assert_int_equal(queue_open(&q, &p, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "make it first"));
	snprintf(path, sizeof(path), "%s/postern.lock", f->dir);
	assert_int_equal(queue_open(&q, &p, error, sizeof(error)), -ENOTDIR);
	assert_non_null(strstr(error, "not a directory"));
	snprintf(path, sizeof(path), "%s/new", f->dir);
	p.read_only = true;
	assert_int_equal(queue_open(&q, &p, error, sizeof(error)), -ENOENT);
	p.read_only = false;
	assert_int_equal(queue_open(&q, &p, error, sizeof(error)), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	queue_close(q);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "data.mdb", "lock.mdb", "postern.lock" };

		snprintf(path, sizeof(path), "%s/new/%s", f->dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/new", f->dir);
	rmdir(path);
}

static void test_second_process(void **state)
{
	struct fixture *f = *state;
	char error[512] = "", pid_text[32];
	struct queue *q = NULL;
	struct queue_params p = f->params;
	int status, fds[2];
	char byte;
	pid_t pid;

	/* a reader may look on */
	put_message(f, "a@x.example", 10, 1);
	p.read_only = true;
	assert_int_equal(queue_open(&q, &p, error, sizeof(error)), 0);
	assert_int_equal(queue_check(q, false, NULL, NULL), 0);
	assert_int_equal(queue_check(q, true, NULL, NULL), -EROFS);
	q = queue_close(q);

	f->q = queue_close(f->q);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (queue_open(&q, &f->params, error, sizeof(error)) || write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	assert_int_equal(queue_open(&q, &f->params, error, sizeof(error)), -EBUSY);
	snprintf(pid_text, sizeof(pid_text), "process %d;", (int)pid);
	if (!strstr(error, pid_text) || !strstr(error, f->dir))
		fail_msg("%s", error);
	/* the lock dies with its holder */
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fixture_reopen(f);
}

/* Whoever tidies up may remove the lock files; the queue is locked all the same. */
static void test_second_without_lock_files(void **state)
{
	static const char *const names[] = { "postern.lock", "lock.mdb" };
	struct fixture *f = *state;
	char path[300], error[512] = "";
	struct queue *second = NULL;

	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(queue_open(&second, &f->params, error, sizeof(error)), -EBUSY);
		assert_non_null(strstr(error, "in use by another process"));
	}
	put_message(f, "a@x.example", 100, 1000);
	fixture_drop_fresh(f);
}

/* What a power cut in the first start leaves is no queue, and stands in nobody's way. */
static void test_first_start_again(void **state)
{
	struct fixture *f = *state;
	char path[300], error[512] = "";

	f->q = queue_close(f->q);
	snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/new", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/new/data.mdb", f->dir);
	write_file(path, "half a page", 11);
	assert_int_equal(queue_open(&f->q, &f->params, error, sizeof(error)), 0);
	snprintf(path, sizeof(path), "%s/new", f->dir);
	assert_int_equal(access(path, F_OK), -1);
	queue_set_fresh(f->q, &f->fresh.mpsc);
	put_message(f, "a@x.example", 100, 1000);
	fixture_drop_fresh(f);
	check_clean(f, 1, 1);
}

static void test_directory_of_everybody(void **state)
{
	struct fixture *f = *state;
	char error[512] = "";
	struct queue *q = NULL;

	f->q = queue_close(f->q);
	assert_int_equal(chmod(f->dir, 0777), 0);
	assert_int_equal(queue_open(&q, &f->params, error, sizeof(error)), -EPERM);
	assert_non_null(strstr(error, "chmod 0700"));
	assert_int_equal(chmod(f->dir, 0750), 0);
	fixture_reopen(f);
}

static void test_max_size(void **state)
{
	struct fixture *f = *state;
	char error[512] = "";
	struct queue_params p = f->params;
	struct queue *q = NULL;

	for (int i = 0; i < 40; i++)
		put_message(f, "a@x.example", 100000, 1);
	f->q = queue_close(f->q);
	p.max_size = 2 * MIB;
	assert_int_equal(queue_open(&q, &p, error, sizeof(error)), -EFBIG);
	assert_non_null(strstr(error, "raise the queue's max_size"));
	/* a larger one is fine */
	f->params.max_size *= 2;
	fixture_reopen(f);
	check_clean(f, 40, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_second_without_lock_files),
		T(test_first_start_again),
		T(test_directory_of_everybody),
		cmocka_unit_test(test_foreign),
		T(test_directory),
		T(test_second_process),
		T(test_max_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
