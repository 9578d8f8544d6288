/* What the system does to a queue: no space, failing writes and syncs. Sudden death: test_kill.c. */
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

#define NOW 1700000000000

/* ---- calls of LMDB and ours that can be made to fail: these stand in front of libc's ---- */

static _Atomic int fail_from =
	-1; /* the n-th call from now on, and all after it up to fail_until */
static _Atomic int fail_until;
static _Atomic int fail_errno;
static _Atomic int calls;

static bool must_fail(void)
{
	int n = calls++;

	if (fail_from < 0 || n < fail_from || n >= fail_until)
		return false;
	errno = fail_errno;
	return true;
}

static void fail_calls(int from, int until, int error)
{
	calls = 0;
	fail_errno = error;
	fail_until = until;
	fail_from = from;
}

#define EXPORT __attribute__((visibility("default")))
EXPORT int fdatasync(int fd);
/* by these names: with 64-bit offsets the headers make one of the two mean the other */
EXPORT ssize_t our_pwrite64(int fd, const void *p, size_t n, off64_t off) __asm__("pwrite64");
EXPORT ssize_t our_pwrite(int fd, const void *p, size_t n, off64_t off) __asm__("pwrite");
EXPORT ssize_t writev(int fd, const struct iovec *v, int n);

EXPORT int fdatasync(int fd)
{
	return must_fail() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

EXPORT ssize_t our_pwrite64(int fd, const void *p, size_t n, off64_t off)
{
	return must_fail() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, p, n, off);
}

EXPORT ssize_t our_pwrite(int fd, const void *p, size_t n, off64_t off)
{
	return our_pwrite64(fd, p, n, off);
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
	return must_fail() ? -1 : (ssize_t)syscall(SYS_writev, fd, v, n);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

#ifndef SANITIZED
/* Allocations of other threads than the test's own: the writer's. */
static _Thread_local bool spared;
static _Atomic int alloc_from = -1, alloc_until, allocs;

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static bool no_memory(void)
{
	int n;

	if (spared || alloc_from < 0)
		return false;
	n = allocs++;
	if (n < alloc_from || n >= alloc_until)
		return false;
	errno = ENOMEM;
	return true;
}

EXPORT void *malloc(size_t n)
{
	return no_memory() ? NULL : __libc_malloc(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __libc_realloc(p, n);
}
#endif

static void test_calls_are_ours(void **state)
{
	struct fixture *f = *state;

	calls = 0;
	put_message(f, "a@x.example", 100, NOW);
	/* two pages at least, a sync, a meta page: or the tests below test nothing */
	assert_in_range(calls, 3, 100);
}

/* ---- space ---- */

static uint64_t fill(struct fixture *f, uint64_t *ids, unsigned max, uint64_t size, unsigned *n)
{
	struct message *m;
	int r = 0;

	for (*n = 0; *n < max; ++*n) {
		m = make_message(f, "a@x.example b@y.example", size);
		ids[*n] = m->id;
		r = accept_message(f, m, NOW);
		message_unref(m);
		fixture_drop_fresh(f);
		if (r)
			break;
	}
	assert_int_equal(r, -ENOSPC);
	return *n;
}

static void test_map_full(void **state)
{
	enum { MAX = 4096 };
	struct fixture *f = *state;
	static uint64_t ids[MAX];
	struct queue_rcpt_state later = { .due = NOW + 1000,
		.reply = "451 4.7.500 Server busy. Please try again later" };
	struct queue_stats st;
	unsigned n;

	f->q = queue_close(f->q);
	f->params.max_size = 8 * MIB;
	fixture_reopen(f);
	fill(f, ids, MAX, 6000, &n);
	assert_in_range(n, 300, MAX - 1);
	queue_stats(f->q, &st);
	assert_true(st.full);
	/* a streamed one is refused as well */
	struct queue_append a = { .job.kind = QUEUE_APPEND, .id = queue_new_id(f->q) };
	struct message *m = make_message(f, "a@x.example", 64 * BODY_CHUNK);

	m->body->sealed = false;
	a.blocks = body_take_full(m->body);
	assert_int_equal(run_job(f, &a.job), -ENOSPC);
	message_unref(m);

	/* every recipient there is can be put off and then delivered, all without room for new mail
	 */
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(settle_defer(f, ids[i], 0, "x.example", NOW, &later), 0);
	check_clean(f, n, 2ull * n);
	fixture_reopen(f);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(settle_gone(f, ids[i], 1, "y.example", NOW), 0);
		assert_int_equal(settle_gone(f, ids[i], 0, "x.example", NOW), 0);
	}
	check_clean(f, 0, 0);
	/* and the space is used again, all of it */
	queue_stats(f->q, &st);
	assert_false(st.full);
	uint64_t again = fill(f, ids, MAX, 6000, &n);
	assert_true(again > 300);
	check_clean(f, n, 2ull * n);
}

/* A batch in which only new mail does not fit: everything else goes through. */
static void test_full_batch(void **state)
{
	enum { MAX = 4096, K = 40 };
	struct fixture *f = *state;
	static uint64_t ids[MAX];
	struct queue_accept a[K] = { 0 };
	struct queue_settle s[K] = { 0 };
	struct queue_settle_rcpt o[K] = { 0 };
	struct mpsc_batch b = { 0 };
	unsigned n, refused = 0;

	f->q = queue_close(f->q);
	f->params.max_size = 8 * MIB;
	fixture_reopen(f);
	fill(f, ids, MAX, 6000, &n);
	for (unsigned i = 0; i < K; i++) {
		a[i] = (struct queue_accept){ .job = { .kind = QUEUE_ACCEPT,
						      .reply_to = &f->box.mpsc },
			.message = make_message(f, "a@x.example", 60000),
			.due = NOW };
		o[i] = (struct queue_settle_rcpt){
			.outcome = OUTCOME_GONE, .domain = "x.example", .old_due = NOW
		};
		s[i] = (struct queue_settle){ .job = { .kind = QUEUE_SETTLE,
						      .reply_to = &f->box.mpsc },
			.id = ids[i],
			.n = 1,
			.rcpts = &o[i] };
		mpsc_batch_add(&b, &a[i].job.node);
		mpsc_batch_add(&b, &s[i].job.node);
	}
	queue_post_batch(f->q, &b);
	for (unsigned i = 0; i < 2 * K; i++)
		box_wait(&f->box);
	for (unsigned i = 0; i < K; i++) {
		assert_int_equal(s[i].job.result, 0);
		refused += a[i].job.result == -ENOSPC;
		message_unref(a[i].message);
	}
	assert_int_equal(refused, K);
	check_clean(f, n, 2ull * n - K);
}

/* The disk is full, as far as this process is concerned: the file may not grow. */
static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, tight;
	uint64_t first = put_message(f, "a@x.example", 1000, NOW);
	struct message *m;
	unsigned n = 0;
	int r = 0;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight = old;
	tight.rlim_cur = 20 * MIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	for (n = 0; n < 1000 && !r; n++) {
		m = make_message(f, "a@x.example", 100000);
		r = accept_message(f, m, NOW);
		message_unref(m);
		fixture_drop_fresh(f);
	}
	assert_int_equal(r, -ENOSPC);
	assert_in_range(n, 10, 250);
	/* settling goes on with what was kept back */
	assert_int_equal(settle_gone(f, first, 0, "x.example", NOW), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	/* it recovers by itself */
	put_message(f, "b@x.example", 100000, NOW);
	check_clean(f, n, n);
	fixture_reopen(f);
	check_clean(f, n, n);
}

static int put_later(struct fixture *f)
{
	struct message *m = make_message(f, "c@x.example", 10);
	int r = accept_message(f, m, NOW);

	message_unref(m);
	fixture_drop_fresh(f);
	return r;
}

/* ---- failing writes and syncs ---- */

/* Each call of a commit fails in turn, for a short and for a long while. Who was told 0 is there
 * afterwards. */
static void one_fault(
	struct fixture *f, int from, int count, int error, uint64_t *known, uint64_t *stored)
{
	uint64_t old = put_message(f, "s@x.example", 5000, NOW), id;
	struct queue_settle_rcpt o = {
		.outcome = OUTCOME_GONE, .domain = "x.example", .old_due = NOW
	};
	struct queue_settle s = { .job = { .kind = QUEUE_SETTLE, .reply_to = &f->box.mpsc },
		.id = old,
		.n = 1,
		.rcpts = &o };
	struct queue_accept a = { .job = { .kind = QUEUE_ACCEPT, .reply_to = &f->box.mpsc },
		.due = NOW };
	struct mpsc_batch b = { 0 };
	struct queue_rcpt_state *st;
	struct message *m;
	int r;

	fixture_drop_fresh(f);
	a.message = make_message(f, "a@x.example", 9000);
	id = a.message->id;
	mpsc_batch_add(&b, &a.job.node);
	mpsc_batch_add(&b, &s.job.node);
	fail_calls(from, from + count, error);
	queue_post_batch(f->q, &b);
	box_wait(&f->box);
	box_wait(&f->box);
	fail_calls(-1, 0, 0);
	message_unref(a.message);
	if (a.job.result == 0) {
		assert_int_equal(fixture_drop_fresh(f), 1);
		check_body(f, id, 9000);
		++*stored;
	} else {
		assert_int_equal(a.job.result, error == ENOSPC ? -ENOSPC : -error);
		assert_int_equal(fixture_drop_fresh(f), 0);
	}
	/* it works again at once, or as soon as it has looked again */
	while (put_later(f))
		;
	++*stored;
	r = queue_load(f->q, old, &m, &st);
	if (r == 0) {
		message_unref(m);
		assert_int_not_equal(s.job.result, 0);
		assert_int_equal(settle_gone(f, old, 0, "x.example", NOW), 0);
	} else {
		assert_int_equal(r, -ENOENT);
	}
	r = queue_load(f->q, id, &m, &st);
	if (r == 0)
		message_unref(m);
	*known += r == 0;
	*known += 1;
	fixture_drop_fresh(f);
}

static void test_failing_calls(void **state)
{
	static const int errors[] = { EIO, ENOSPC };
	static const int lengths[] = { 1, 2, 40 };
	struct fixture *f = *state;
	uint64_t known = 0, stored = 0;
	struct queue_stats st;

	for (size_t e = 0; e < COUNT(errors); e++) {
		for (size_t l = 0; l < COUNT(lengths); l++) {
			for (int from = 0; from < 14; from++)
				one_fault(f, from, lengths[l], errors[e], &known, &stored);
		}
	}
	/* none that was promised is missing, none that was refused is there */
	assert_int_equal(known, stored);
	queue_stats(f->q, &st);
	assert_in_range(st.failed_commits, 20, 10000);
	check_clean(f, stored, stored);
	fixture_reopen(f);
	check_clean(f, stored, stored);
}

/* ---- failing allocations ---- */

/* Each allocation of the writer fails in turn: the job fails, or does not notice; nothing else. */
static void test_failing_allocations(void **state)
{
#ifdef SANITIZED
	skip(); /* the sanitizers have malloc to themselves */
#else
	struct fixture *f = *state;
	struct queue_rcpt_state later = { .due = NOW + 9, .reply = "450 4.2.1 later" };
	unsigned stored = 0, failed = 0;

	spared = true;
	for (int from = 0; from < 40; from++) {
		struct message *m = make_message(f, "a@x.example b@y.example", 300000);
		uint64_t id = m->id, next = id;
		int r;

		allocs = 0;
		alloc_until = from + 1 + from % 3;
		alloc_from = from;
		r = accept_message(f, m, NOW);
		if (r == 0)
			r = settle_defer(f, id, 1, "y.example", NOW, &later);
		alloc_from = -1;
		failed += r != 0;
		assert_true(r == 0 || r == -ENOMEM || r == -EIO);
		message_unref(m);
		fixture_drop_fresh(f);
		/* and the next one goes well, at once or as soon as it has looked again */
		while (put_later(f))
			;
		assert_int_equal(queue_next_message(f->q, &next), 0);
		stored += 1 + (next == id);
	}
	print_message("%u of 40 rounds failed\n", failed);
	assert_true(failed > 3);
	check_clean(f, stored, 2ull * stored - 40);
	fixture_reopen(f);
	check_clean(f, stored, 2ull * stored - 40);
#endif
}

/* ---- readers beside a writer whose syncs fail now and then ---- */

struct reader {
	struct fixture *f;
	pthread_t thread;
	_Atomic bool *stop;
	unsigned rounds, seen, wrong;
};

static int ignore_domain(void *arg, const char *domain, ms_t due)
{
	return 0;
}

static bool body_right(struct queue *q, uint64_t id, uint64_t size)
{
	char piece[9000];
	size_t n = 0;
	int r = queue_body_read(q, id, 0, piece, sizeof(piece), &n);

	if (r == -ENOENT || r == -EIO)
		return true;
	for (size_t i = 0; i < n; i++) {
		if (piece[i] != body_byte(id, i))
			return false;
	}
	return r == 0 && n == size;
}

static void *read_all_the_time(void *arg)
{
	struct reader *rd = arg;
	struct queue *q = rd->f->q;
	struct queue_reading w;

	queue_reading_init(&w);
	while (!*rd->stop) {
		int r = queue_read_due(
			q, "x.example", &(struct queue_look){ .now = NOW, .limit = 50 }, &w);

		rd->rounds++;
		rd->wrong += r && r != -EIO;
		for (uint32_t i = 0; i < w.n; i++)
			rd->wrong += !body_right(q, w.items[i].id, w.items[i].message->size);
		rd->seen += w.n;
		r = queue_domains(q, ignore_domain, NULL);
		rd->wrong += r && r != -EIO;
	}
	queue_reading_deinit(&w);
	return NULL;
}

static void test_readers(void **state)
{
	enum { READERS = 3, ROUNDS = 150 };
	struct fixture *f = *state;
	struct reader readers[READERS];
	_Atomic bool stop = false;
	uint64_t ids[8] = { 0 };

	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .f = f, .stop = &stop };
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_all_the_time, &readers[i]),
			0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t *id = &ids[i % COUNT(ids)];

		if (*id)
			while (settle_gone(f, *id, 0, "x.example", NOW) == -EIO)
				;
		*id = put_message(f, "a@x.example", 8000, NOW);
		fixture_drop_fresh(f);
		if (i % 10 == 5) {
			struct message *m = make_message(f, "b@y.example", 100);

			fail_calls(0, 2, EIO);
			assert_int_equal(accept_message(f, m, NOW), -EIO);
			fail_calls(-1, 0, 0);
			do
				m->id = queue_new_id(f->q);
			while (accept_message(f, m, NOW));
			message_unref(m);
		}
	}
	stop = true;
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].wrong, 0);
		assert_true(readers[i].rounds > 0);
	}
	check_clean(f, COUNT(ids) + ROUNDS / 10, COUNT(ids) + ROUNDS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_calls_are_ours),
		T(test_map_full),
		T(test_full_batch),
		T(test_disk_full),
		T(test_failing_calls),
		T(test_failing_allocations),
		T(test_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
