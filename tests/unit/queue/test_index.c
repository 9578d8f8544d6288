/* The due index and the young one: windows, order, moves between them. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../queue/young.h"

#define NOW 1700000000000

struct skips {
	uint64_t id;
	unsigned calls;
};

static bool skip_id(void *arg, uint64_t id, uint32_t index)
{
	struct skips *s = arg;

	s->calls++;
	return id == s->id;
}

static bool skip_all(void *arg, uint64_t id, uint32_t index)
{
	++*(unsigned *)arg;
	return true;
}

static void test_window(void **state)
{
	struct fixture *f = *state;
	struct queue_rcpt_state later = { .due = NOW + 1 };
	uint64_t b = put_message(f, "b@x.example b2@x.example other@y.example", 10, NOW + 20);
	uint64_t a = put_message(f, "a@x.example", 10, NOW + 10);
	uint64_t c = put_message(f, "c@x.example", 10, NOW + 5);
	struct queue_reading w;

	/* now the first of them, and in the index on disk */
	assert_int_equal(settle_defer(f, b, 1, "x.example", NOW + 20, &later), 0);
	queue_reading_init(&w);
	for (int round = 0; round < 2; round++) {
		struct skips s = { .id = a };

		assert_int_equal(queue_read_due(f->q, "x.example",
					 &(struct queue_look){ .now = NOW + 20, .limit = 10 }, &w),
			0);
		assert_int_equal(w.n, 4);
		assert_false(w.more);
		assert_int_equal(w.next_due, 0);
		assert_true(
			w.items[0].id == b && w.items[0].index == 1 && w.items[0].due == NOW + 1);
		assert_true(w.items[1].id == c && w.items[2].id == a && w.items[3].id == b);
		assert_string_equal(w.items[0].recipient.address, "b2@x.example");
		assert_string_equal(w.items[3].recipient.domain, "x.example");
		assert_int_equal(w.items[3].state.due, NOW + 20);
		/* recipients of one message share it, also when they are not neighbours */
		assert_ptr_equal(w.items[0].message, w.items[3].message);
		assert_true(w.items[0].message->id == b && w.items[0].message->size == 10);
		assert_int_equal(w.items[0].message->nrecipients, 0);
		assert_null(w.items[0].message->body);
		assert_string_equal(w.items[0].message->pool, "main");

		/* what is not due yet */
		assert_int_equal(queue_read_due(f->q, "x.example",
					 &(struct queue_look){ .now = NOW + 9, .limit = 10 }, &w),
			0);
		assert_int_equal(w.n, 2);
		assert_int_equal(w.next_due, NOW + 10);
		assert_false(w.more);
		/* the limit */
		assert_int_equal(queue_read_due(f->q, "x.example",
					 &(struct queue_look){ .now = NOW + 20, .limit = 2 }, &w),
			0);
		assert_int_equal(w.n, 2);
		assert_true(w.more);
		assert_int_equal(w.next_due, NOW + 10);
		/* skipping */
		assert_int_equal(queue_read_due(f->q, "x.example",
					 &(struct queue_look){ .now = NOW + 20,
						 .limit = 10,
						 .skipped_max = 5,
						 .skip = skip_id,
						 .arg = &s },
					 &w),
			0);
		assert_int_equal(w.n, 3);
		assert_int_equal(s.calls, 4);
		/* domains that only begin alike, or are not there */
		assert_int_equal(queue_read_due(f->q, "x.exampl",
					 &(struct queue_look){
						 .now = NOW + 20, .limit = 10, .skipped_max = 5 },
					 &w),
			0);
		assert_int_equal(w.n, 0);
		assert_int_equal(
			queue_read_due(f->q, "",
				&(struct queue_look){ .now = NOW, .limit = 10, .skipped_max = 5 },
				&w),
			-EINVAL);
		fixture_reopen(f);
	}
	queue_reading_deinit(&w);
}

static bool even(void *arg, const struct message *m)
{
	++*(unsigned *)arg;
	return m->id % 2 == 0;
}

/* Piece by piece, each behind the last, in memory and on disk: each entry is looked at once, and
 * those not wanted are left out, with all recipients of their message. */
static void test_window_behind(void **state)
{
	enum { MESSAGES = 60, LIMIT = 7 };
	struct queue_rcpt_state later = { .due = NOW + 1 };
	struct fixture *f = *state;
	unsigned all = 0, evens = 0;
	struct queue_reading w;

	for (unsigned i = 0; i < MESSAGES; i++) {
		uint64_t id = put_message(f,
			i % 3 ? "a@x.example b@x.example" : "a@x.example other@y.example", 10,
			NOW + i / 4);

		all += i % 3 ? 2 : 1;
		evens += id % 2 ? 0 : i % 3 ? 2 : 1;
		/* some are in the index on disk, where another due time brings them forward */
		if (i % 5 < 2)
			assert_int_equal(
				settle_defer(f, id, 0, "x.example", NOW + i / 4, &later), 0);
	}
	queue_reading_init(&w);
	for (int round = 0; round < 4; round++) {
		struct queue_place place, *after = NULL;
		unsigned calls = 0, found = 0, looks = 0;
		struct queue_look look = { .now = NOW + MESSAGES,
			.limit = LIMIT,
			.wanted = round % 2 ? even : NULL,
			.arg = &calls };
		ms_t last = 0;

		do {
			look.after = after;
			assert_int_equal(queue_read_due(f->q, "x.example", &look, &w), 0);
			for (uint32_t i = 0; i < w.n; i++) {
				assert_true(w.items[i].due >= last);
				last = w.items[i].due;
				assert_true(!look.wanted || even(&calls, w.items[i].message));
			}
			found += w.n;
			place = w.last;
			after = &place;
			assert_true(++looks <= all / LIMIT + 1);
		} while (w.more);
		assert_int_equal(w.next_due, 0);
		assert_int_equal(found, look.wanted ? evens : all);
		/* nothing is behind the end */
		look.after = after;
		assert_int_equal(queue_read_due(f->q, "x.example", &look, &w), 0);
		assert_int_equal(w.n, 0);
		if (round == 1)
			fixture_reopen(f);
	}
	queue_reading_deinit(&w);
}

/* Looks at no more than limit + skipped_max entries, and says that there is more. */
static void test_window_bounded(void **state)
{
	struct fixture *f = *state;
	struct queue_reading w;
	unsigned calls = 0;

	for (unsigned i = 0; i < 40; i++)
		put_message(f, "a@x.example b@x.example", 1, NOW);
	queue_reading_init(&w);
	assert_int_equal(queue_read_due(f->q, "x.example",
				 &(struct queue_look){ .now = NOW,
					 .limit = 8,
					 .skipped_max = 10,
					 .skip = skip_all,
					 .arg = &calls },
				 &w),
		0);
	assert_int_equal(w.n, 0);
	assert_true(w.more);
	assert_in_range(calls, 10, 18);
	queue_reading_deinit(&w);
}

struct seen {
	unsigned n, stop_at;
	char names[4096];
	ms_t due[64];
};

static int see_domain(void *arg, const char *domain, ms_t due)
{
	struct seen *s = arg;

	if (s->n < COUNT(s->due)) {
		s->due[s->n] = due;
		strcat(s->names, domain);
		strcat(s->names, " ");
	}
	return ++s->n == s->stop_at ? 7 : 0;
}

static void test_domains(void **state)
{
	struct fixture *f = *state;
	struct queue_rcpt_state later = { .due = NOW + 77 };
	uint64_t id = put_message(f, "a@a.example b@b.example b@bb.example c@b.exampl", 1, NOW);
	struct seen s = { 0 };

	put_message(f, "z@b.example", 1, NOW + 5);
	put_message(f, "z@a.example", 1, NOW + 50);
	/* a.example: new ones and stored ones; bb.example: stored only */
	assert_int_equal(settle_defer(f, id, 0, "a.example", NOW, &later), 0);
	assert_int_equal(settle_defer(f, id, 2, "bb.example", NOW, &later), 0);
	for (int round = 0; round < 2; round++) {
		s = (struct seen){ 0 };
		assert_int_equal(queue_domains(f->q, see_domain, &s), 0);
		assert_string_equal(s.names, "a.example b.exampl b.example bb.example ");
		assert_true(s.due[0] == NOW + 50 && s.due[1] == NOW && s.due[2] == NOW &&
			    s.due[3] == NOW + 77);
		s = (struct seen){ .stop_at = 2 };
		assert_int_equal(queue_domains(f->q, see_domain, &s), 7);
		assert_int_equal(s.n, 2);
		fixture_reopen(f);
	}
}

/* Far more than the index of new recipients holds, in many domains and one large one: what moves to
 * disk is found, once, in order. */
static void test_sweep(void **state)
{
	enum { N = 90000, DOMAINS = 500, WINDOW = 2000 };
	struct fixture *f = *state;
	struct queue_accept *a = calloc(WINDOW, sizeof(*a));
	struct seen s = { 0 };
	struct queue_reading w;
	unsigned total = 0, posted = 0, done = 0;

	assert_non_null(a);
	while (done < N) {
		struct mpsc_batch b = { 0 };

		for (unsigned i = 0; i < WINDOW; i++, posted++) {
			char rcpt[64];

			/* every other one to the large domain */
			snprintf(rcpt, sizeof(rcpt), "u%u@d%03u.example", posted,
				posted % 2 ? 0 : 1 + posted / 2 % (DOMAINS - 1));
			a[i] = (struct queue_accept){ .job = { .kind = QUEUE_ACCEPT,
							      .reply_to = &f->box.mpsc },
				.message = make_message(f, rcpt, 0),
				.due = NOW + posted };
			mpsc_batch_add(&b, &a[i].job.node);
		}
		queue_post_batch(f->q, &b);
		for (unsigned i = 0; i < WINDOW; i++, done++) {
			struct queue_accept *got = (struct queue_accept *)box_wait(&f->box);

			assert_int_equal(got->job.result, 0);
			message_unref(got->message);
		}
		fixture_drop_fresh(f);
	}
	free(a);
	for (int round = 0; round < 2; round++) {
		fence(f);
		s = (struct seen){ 0 };
		assert_int_equal(queue_domains(f->q, see_domain, &s), 0);
		assert_int_equal(s.n, DOMAINS);
		queue_reading_init(&w);
		total = 0;
		for (unsigned d = 0; d < DOMAINS; d++) {
			char name[32];

			snprintf(name, sizeof(name), "d%03u.example", d);
			assert_int_equal(
				queue_read_due(f->q, name,
					&(struct queue_look){ .now = INT64_MAX, .limit = N }, &w),
				0);
			for (uint32_t i = 1; i < w.n; i++)
				assert_true(w.items[i].due > w.items[i - 1].due);
			total += w.n;
		}
		queue_reading_deinit(&w);
		assert_int_equal(total, N);
		check_clean(f, N, N);
		fixture_reopen(f);
	}
}

/* ---- the index alone ---- */

static void test_young_order(void **state)
{
	static const struct young_entry in[] = { { 5, 100, 0 }, { 6, 100, 0 }, { 4, 100, 1 },
		{ 4, 100, 0 }, { 9, 50, 0 }, { 1, 200, 0 } };
	static const struct young_entry want[] = { { 9, 50, 0 }, { 4, 100, 0 }, { 4, 100, 1 },
		{ 5, 100, 0 }, { 6, 100, 0 }, { 1, 200, 0 } };
	struct young *y = young_new();
	struct young_entry out[10];

	assert_non_null(y);
	for (size_t i = 0; i < COUNT(in); i++)
		assert_int_equal(young_add(y, SLICE_LIT("d"), &in[i]), 0);
	assert_int_equal(young_min_id(y), 1);
	assert_int_equal(young_peek(y, SLICE_LIT("d"), NULL, out, 10), COUNT(want));
	for (size_t i = 0; i < COUNT(want); i++)
		assert_true(out[i].id == want[i].id && out[i].due == want[i].due &&
			    out[i].index == want[i].index);
	assert_int_equal(young_peek(y, SLICE_LIT("d"), NULL, out, 2), 2);
	assert_int_equal(young_peek(y, SLICE_LIT("e"), NULL, out, 2), 0);
	assert_true(young_remove(y, 4, 1));
	assert_false(young_remove(y, 4, 1));
	assert_int_equal(young_peek(y, SLICE_LIT("d"), NULL, out, 10), COUNT(want) - 1);
	young_free(y);
}

/* Against a plain array, with many removals: the open-addressed tables close their gaps. */
static void test_young_random(void **state)
{
	enum { N = 3000, ROUNDS = 60000 };
	static bool there[N];
	struct young *y = young_new();
	uint64_t seed = 42;
	unsigned count = 0;

	assert_non_null(y);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct young_entry e = { 0 };
		char name[16];
		int n;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		e.id = (seed >> 33) % N;
		e.due = 7;
		n = snprintf(name, sizeof(name), "d%u", (unsigned)(e.id % 100));
		if (there[e.id]) {
			assert_true(young_remove(y, e.id, 0));
			there[e.id] = false;
			count--;
		} else if (young_add(y, (struct slice){ name, (size_t)n }, &e) == 0) {
			there[e.id] = true;
			count++;
		}
		assert_int_equal(young_count(y), count);
	}
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(young_has(y, i, 0), there[i]);
	young_free(y);
}

static void test_young_full(void **state)
{
	struct young *y = young_new();
	struct young_entry e = { .due = 1 };

	assert_non_null(y);
	for (e.id = 0; e.id < YOUNG_MAX; e.id++)
		assert_int_equal(young_add(y, SLICE_LIT("d"), &e), 0);
	assert_int_equal(young_add(y, SLICE_LIT("d"), &e), -ENOBUFS);
	assert_true(young_remove(y, 77, 0));
	/* far out of order: not looked for */
	e = (struct young_entry){ .id = 0, .due = 0, .index = 1 };
	assert_int_equal(young_add(y, SLICE_LIT("d"), &e), -ENOBUFS);
	assert_int_equal(young_add(y, SLICE_LIT("other"), &e), 0);
	young_free(y);
}

/* Due times far out of order do not fit the index in memory: they are found all the same. */
static void test_strays(void **state)
{
	enum { N = 300 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < N; i++)
		put_message(f, "a@x.example", 0, NOW + N - i);
	/* the last ones move with the next transaction */
	fence(f);
	assert_int_equal(count_due(f, "x.example", NOW + N), N);
	check_clean(f, N, N);
}

/* Both in memory and on disk, one domain, up to the limit. */
static void test_count(void **state)
{
	struct fixture *f = *state;
	struct queue_rcpt_state later = { .due = NOW + 100 };
	uint64_t a = put_message(f, "a@x.example b@x.example o@xx.example", 10, NOW);
	uint32_t n = 9;

	put_message(f, "c@x.example o@w.example", 10, NOW);
	assert_int_equal(settle_defer(f, a, 1, "x.example", NOW, &later), 0);
	assert_int_equal(queue_count(f->q, "x.example", 100, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(queue_count(f->q, "x.example", 2, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(queue_count(f->q, "none.example", 2, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(queue_count(f->q, "", 2, &n), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_window),
		T(test_window_behind),
		T(test_window_bounded),
		T(test_domains),
		T(test_sweep),
		T(test_strays),
		T(test_count),
		cmocka_unit_test(test_young_order),
		cmocka_unit_test(test_young_random),
		cmocka_unit_test(test_young_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
