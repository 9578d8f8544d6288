/* Older queues are brought up to date, newer ones refused. The steps here are the test's own: no
 * release has had an older schema yet. The file they work on is a stored one of schema 1. */
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../queue/keys.h"
#include "../../../queue/schema.h"
#include "../temporary.h"

#define MESSAGES 5u /* in the sample */

static struct sample {
	char dir[200], file[240];
	struct queue_params params;
} sample;

/* ---- steps ---- */

static unsigned runs;

/* 1 to 2: envelopes get a tree of their own. */
static int split_envelopes(struct store *s, MDB_txn *txn)
{
	MDB_cursor *c;
	MDB_dbi mail, envelope;
	MDB_val key, v;
	int rc = mdb_dbi_open(txn, "mail", 0, &mail);

	runs++;
	if (!rc)
		rc = mdb_dbi_open(txn, "envelope", MDB_CREATE, &envelope);
	if (!rc)
		rc = mdb_cursor_open(txn, mail, &c);
	if (rc)
		return lmdb_errno(rc);
	for (rc = mdb_cursor_get(c, &key, &v, MDB_FIRST); !rc;
		rc = mdb_cursor_get(c, &key, &v, MDB_NEXT)) {
		uint64_t id;
		uint32_t sub;

		if (!mail_key_parse(key.mv_data, key.mv_size, &id, &sub) || sub != 0)
			continue;
		key.mv_size = 8;
		rc = mdb_put(txn, envelope, &key, &v, 0);
		if (!rc)
			rc = mdb_cursor_del(c, 0);
		if (rc)
			break;
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

/* 2 to 3: they are counted. */
static int count_envelopes(struct store *s, MDB_txn *txn)
{
	MDB_val key = val_of("envelopes", 9), v;
	MDB_dbi envelope;
	MDB_stat st;
	uint64_t n;
	int rc = mdb_dbi_open(txn, "envelope", 0, &envelope);

	runs++;
	if (!rc)
		rc = mdb_stat(txn, envelope, &st);
	if (rc)
		return lmdb_errno(rc);
	n = st.ms_entries;
	v = val_of(&n, sizeof(n));
	return lmdb_errno(mdb_put(txn, s->main, &key, &v, 0));
}

static int fail_late(struct store *s, MDB_txn *txn)
{
	int r = count_envelopes(s, txn);

	return r ? r : -EBADMSG;
}

static int fill_map(struct store *s, MDB_txn *txn)
{
	static char much[100000];
	int rc = 0;

	for (uint32_t i = 0; i < 10000 && !rc; i++) {
		MDB_val key = val_of(&i, sizeof(i)), v = val_of(much, sizeof(much));

		rc = mdb_put(txn, s->main, &key, &v, 0);
	}
	return lmdb_errno(rc);
}

static int die(struct store *s, MDB_txn *txn)
{
	count_envelopes(s, txn);
	raise(SIGKILL);
	return 0;
}

#define SCHEMA(number_, ...)                                                                       \
	{                                                                                          \
		.number = number_, .steps = (const struct schema_step[]){ __VA_ARGS__ },           \
		.nsteps = 2                                                                        \
	}
static const struct schema good = SCHEMA(3, { 2, count_envelopes }, { 1, split_envelopes });
static const struct schema failing = SCHEMA(3, { 1, split_envelopes }, { 2, fail_late });
static const struct schema too_much = SCHEMA(3, { 1, split_envelopes }, { 2, fill_map });
static const struct schema deadly = SCHEMA(3, { 1, split_envelopes }, { 2, die });
static const struct schema gap = SCHEMA(4, { 1, split_envelopes }, { 3, count_envelopes });
static const struct schema additions = SCHEMA(2, { 1, NULL }, { 2, NULL });
static const struct schema newer = { .number = 5,
	.steps = (const struct schema_step[]){ { 1, split_envelopes }, { 2, count_envelopes },
		{ 3, NULL }, { 4, NULL } },
	.nsteps = 4 };
static const struct schema later = SCHEMA(4, { 2, split_envelopes }, { 3, count_envelopes });

/* ---- the sample ---- */

static int setup(void **state)
{
	const char *packed = getenv("SAMPLE");
	char command[512];

	assert_non_null(packed);
	temporary_name(sample.dir, sizeof(sample.dir), "schema");
	assert_non_null(mkdtemp(sample.dir));
	snprintf(sample.file, sizeof(sample.file), "%s/data.mdb", sample.dir);
	snprintf(command, sizeof(command), "gzip -dc '%s' > '%s'", packed, sample.file);
	assert_int_equal(system(command), 0);
	sample.params = (struct queue_params){ .path = sample.dir, .max_size = 64 * MIB };
	runs = 0;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "postern.lock" };

	for (unsigned i = 0; i < COUNT(names); i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", sample.dir, names[i]);
		unlink(path);
	}
	return rmdir(sample.dir);
}

static int open_as(const struct schema *known, char *error, size_t n)
{
	struct store s = { 0 };
	struct complaint c = { error, n };
	int r;

	*error = '\0';
	r = store_open(&s, &sample.params, known, &c);
	if (r == 0)
		store_close(&s);
	return r;
}

/* What a tree has, and the last transaction's number. -1: there is no such tree. */
static long entries(const char *tree, size_t *txnid)
{
	MDB_envinfo info;
	MDB_stat st = { 0 };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
	assert_int_equal(mdb_env_open(env, sample.dir, MDB_RDONLY, 0600), 0);
	assert_int_equal(mdb_env_info(env, &info), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	rc = mdb_dbi_open(txn, tree, 0, &dbi);
	assert_true(rc == 0 || rc == MDB_NOTFOUND);
	if (!rc)
		assert_int_equal(mdb_stat(txn, dbi, &st), 0);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	if (txnid)
		*txnid = info.me_last_txnid;
	return rc ? -1 : (long)st.ms_entries;
}

/* The version that wrote it finds all of it. */
static void check_untouched(void)
{
	struct queue_stats st;
	struct queue *q = NULL;
	char error[512] = "";

	assert_int_equal(entries("envelope", NULL), -1);
	sample.params.read_only = true; /* a step without change would be taken */
	if (queue_open(&q, &sample.params, error, sizeof(error)))
		fail_msg("%s", error);
	assert_int_equal(queue_check(q, false, NULL, NULL), 0);
	queue_stats(q, &st);
	assert_int_equal(st.messages, MESSAGES);
	queue_close(q);
	sample.params.read_only = false;
}

/* ---- tests ---- */

/* A step that changes nothing: reading does not need it, writing says the number. */
static void test_step_without_change(void **state)
{
	char error[512];
	size_t before, after;

	entries("mail", &before);
	sample.params.read_only = true;
	if (open_as(&additions, error, sizeof(error)))
		fail_msg("%s", error);
	entries("mail", &after);
	assert_int_equal(after, before);
	assert_int_equal(open_as(&good, error, sizeof(error)), -EPROTO); /* its steps change */
	sample.params.read_only = false;
	assert_int_equal(open_as(&additions, error, sizeof(error)), 0);
	entries("mail", &after);
	assert_int_equal(after, before + 1);
	check_untouched();
}

static void test_own_schema(void **state)
{
	check_untouched();
	assert_int_equal(schema_current.number, 4);
}

static void test_steps_in_order_and_once(void **state)
{
	size_t before, after;
	char error[512];
	long mail = entries("mail", &before);

	if (open_as(&good, error, sizeof(error)))
		fail_msg("%s", error);
	assert_int_equal(runs, 2);
	assert_int_equal(entries("envelope", &after), MESSAGES);
	assert_int_equal(entries("mail", NULL), mail - MESSAGES);
	/* one for both steps; opening its trees changes nothing that must be written */
	assert_int_equal(after, before + 1);
	assert_int_equal(open_as(&good, error, sizeof(error)), 0);
	assert_int_equal(runs, 2);
}

static void test_older_refuses_newer(void **state)
{
	struct queue *q = NULL;
	char error[512];
	size_t before, after;

	assert_int_equal(open_as(&newer, error, sizeof(error)), 0);
	entries("mail", &before);
	for (int read_only = 0; read_only <= 1; read_only++) {
		sample.params.read_only = read_only;
		assert_int_equal(queue_open(&q, &sample.params, error, sizeof(error)), -EPROTO);
		assert_non_null(strstr(error, sample.file));
		assert_non_null(
			strstr(error, "newer version (schema 5; this one knows 4); run the newer"));
	}
	/* and leaves it alone */
	assert_int_equal(entries("envelope", &after), MESSAGES);
	assert_int_equal(after, before);
}

static void test_failures_leave_it_as_it_was(void **state)
{
	static const struct {
		const struct schema *known;
		int r;
		const char *says;
	} rows[] = {
		{ &failing, -EBADMSG, "cannot be brought from schema 2 to 3" },
		{ &too_much, -ENOSPC, "raise the queue's max_size" },
		{ &gap, -EPROTO, "too old for this version, which begins with 3" },
		{ &later, -EPROTO, "too old for this version, which begins with 2" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char error[512];
		int r = open_as(rows[i].known, error, sizeof(error));

		if (r != rows[i].r || !strstr(error, rows[i].says) || !strstr(error, sample.file))
			fail_msg("row %zu: %d: %s", i, r, error);
		check_untouched();
	}
	/* with the right steps it still goes */
	char error[512];
	assert_int_equal(open_as(&good, error, sizeof(error)), 0);
	assert_int_equal(entries("envelope", NULL), MESSAGES);
}

static void test_killed_in_the_middle(void **state)
{
	char error[512];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		open_as(&deadly, error, sizeof(error));
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	check_untouched();
}

static void test_reading_does_not_upgrade(void **state)
{
	char error[512];

	sample.params.read_only = true;
	assert_int_equal(open_as(&good, error, sizeof(error)), -EPROTO);
	assert_non_null(strstr(error, "start the relay once to upgrade it"));
	assert_int_equal(runs, 0);
	sample.params.read_only = false;
	check_untouched();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_own_schema),
		T(test_step_without_change),
		T(test_steps_in_order_and_once),
		T(test_older_refuses_newer),
		T(test_failures_leave_it_as_it_was),
		T(test_killed_in_the_middle),
		T(test_reading_does_not_upgrade),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
