/* Large content that goes to the queue while it comes in, and what is left of it when the client
 * goes away. */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"

#define NOW 1700000000000

/* Feeds size bytes through body and APPEND jobs the way a session does; the accept job is left to
 * the caller. */
static int stream(struct fixture *f, struct message *m, uint64_t size, uint64_t *most)
{
	static char text[65536];
	uint64_t sent = 0;
	int r = 0;

	m->body = body_new();
	assert_non_null(m->body);
	while (m->body->size < size && !r) {
		uint64_t left = size - m->body->size, off = m->body->size;
		size_t n = left < sizeof(text) ? left : sizeof(text);
		struct queue_append a = { .job.kind = QUEUE_APPEND, .id = m->id };

		for (size_t i = 0; i < n; i++)
			text[i] = body_byte(m->id, off + i);
		assert_int_equal(body_append(m->body, (struct slice){ text, n }), 0);
		if (body_memory() > *most)
			*most = body_memory();
		a.offset = sent;
		a.blocks = body_take_full(m->body);
		if (!a.blocks)
			continue;
		r = run_job(f, &a.job);
		assert_null(a.blocks);
		sent = m->body->taken;
	}
	body_seal(m->body);
	m->size = m->body->size;
	return r;
}

static int accept_streamed(struct fixture *f, struct message *m)
{
	struct queue_accept a = {
		.job.kind = QUEUE_ACCEPT, .message = m, .due = NOW, .appended = true
	};

	return run_job(f, &a.job);
}

static struct message *bare(struct fixture *f)
{
	struct message *m = make_message(f, "a@x.example", 0);

	m->body = body_unref(m->body);
	return m;
}

static void wait_gone(struct fixture *f)
{
	struct queue_stats st;

	/* each fence is a transaction that also removes some */
	do {
		fence(f);
		queue_stats(f->q, &st);
	} while (st.bytes_used > 1 * MIB);
}

static void test_100_mb(void **state)
{
	const uint64_t size = 100 * MIB + 12345;
	struct fixture *f = *state;
	struct message *m = bare(f);
	uint64_t most = 0, id = m->id;

	assert_int_equal(stream(f, m, size, &most), 0);
	assert_true(most < 1 * MIB);
	/* not a message yet */
	assert_int_equal(count_due(f, "x.example", NOW), 0);
	check_clean(f, 0, 0);
	assert_int_equal(accept_streamed(f, m), 0);
	message_unref(m);
	fixture_drop_fresh(f);
	check_body(f, id, size);
	check_clean(f, 1, 1);
	/* the removal goes in parts, and ends */
	assert_int_equal(settle_gone(f, id, 0, "x.example", NOW), 0);
	check_clean(f, 0, 0);
	wait_gone(f);
	check_clean(f, 0, 0);
}

static void test_discard(void **state)
{
	struct fixture *f = *state;
	struct message *m = bare(f);
	struct queue_append d = { .job.kind = QUEUE_DISCARD, .id = m->id };
	uint64_t most = 0;

	assert_int_equal(run_job(f, &d.job), 0); /* nothing there: nothing to do */
	assert_int_equal(stream(f, m, 10 * MIB, &most), 0);
	assert_int_equal(run_job(f, &d.job), 0);
	assert_int_equal(accept_streamed(f, m), -ENOENT);
	message_unref(m);
	wait_gone(f);
	check_clean(f, 0, 0);
}

/* The process ends between the pieces and the envelope. */
static void test_orphan(void **state)
{
	struct fixture *f = *state;
	struct message *m = bare(f), *whole;
	uint64_t most = 0, id;

	assert_int_equal(stream(f, m, 10 * MIB, &most), 0);
	message_unref(m);
	id = put_message(f, "b@x.example", 5000, NOW);
	fixture_reopen(f);
	/* served before and while the orphan goes */
	check_body(f, id, 5000);
	wait_gone(f);
	check_clean(f, 1, 1);
	/* a body that is being streamed now is not taken for one */
	whole = bare(f);
	id = whole->id;
	assert_int_equal(stream(f, whole, 3 * MIB, &most), 0);
	for (int i = 0; i < 20; i++)
		fence(f);
	assert_int_equal(accept_streamed(f, whole), 0);
	message_unref(whole);
	check_body(f, id, 3 * MIB);
}

static void test_gap(void **state)
{
	struct fixture *f = *state;
	struct body *b = body_new();
	static char text[BODY_CHUNK * 32];
	struct queue_append a = { .job.kind = QUEUE_APPEND, .id = queue_new_id(f->q) };

	memset(text, 'x', sizeof(text));
	assert_non_null(b);
	assert_int_equal(body_append(b, (struct slice){ text, sizeof(text) }), 0);
	/* its predecessor never came */
	a.offset = 16 * BODY_CHUNK;
	a.blocks = body_take_full(b);
	assert_non_null(a.blocks);
	assert_int_equal(run_job(f, &a.job), -ENOENT);
	assert_null(a.blocks);
	a.offset = 5; /* not at a chunk's start */
	assert_int_equal(run_job(f, &a.job), -EINVAL);
	body_unref(b);
	assert_int_equal(body_memory(), 0);
	check_clean(f, 0, 0);
}

/* A head is made last and read first, wherever chunks and reads begin and end. */
static void check_head(struct fixture *f, uint64_t size, size_t head_n)
{
	static char head[BODY_HEAD_MAX], piece[3 * BODY_CHUNK + 100];
	static const size_t reads[] = { 1000, BODY_CHUNK, sizeof(piece) };
	struct message *m = bare(f);
	uint64_t id = m->id, most = 0;
	size_t n;

	memset(head, 'h', sizeof(head));
	assert_int_equal(stream(f, m, size, &most), 0);
	assert_int_equal(body_set_head(m->body, (struct slice){ head, head_n }), 0);
	m->size = m->body->size;
	assert_int_equal(m->size, size + head_n);
	/* the flag and the head go together */
	assert_int_equal(accept_streamed(f, m), -EINVAL);
	m->flags |= MESSAGE_HEAD;
	assert_int_equal(accept_streamed(f, m), 0);
	message_unref(m);
	fixture_drop_fresh(f);
	for (size_t k = 0; k < COUNT(reads); k++) {
		uint64_t off = 0;

		do {
			assert_int_equal(queue_body_read(f->q, id, off, piece, reads[k], &n), 0);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(piece[i],
					off + i < head_n ? 'h' : body_byte(id, off + i - head_n));
			off += n;
		} while (n > 0);
		assert_int_equal(off, size + head_n);
	}
	check_clean(f, 1, 1);
	assert_int_equal(settle_gone(f, id, 0, "x.example", NOW), 0);
	check_clean(f, 0, 0);
}

static void test_head(void **state)
{
	struct fixture *f = *state;

	check_head(f, 100, 5);
	check_head(f, BODY_CHUNK, 700);
	check_head(f, 64 * BODY_CHUNK, 700);
	check_head(f, 64 * BODY_CHUNK + 1, BODY_CHUNK);
	check_head(f, 2 * MIB, BODY_HEAD_MAX);
	assert_int_equal(body_memory(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_100_mb),
		T(test_discard),
		T(test_orphan),
		T(test_gap),
		T(test_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
