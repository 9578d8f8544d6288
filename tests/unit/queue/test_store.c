/* The store on disk: accept, settle, restart, full map, failed commits. */
#include "fixture.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000000

static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	struct message *m = make_message(f, "a@x.example b@y.example", 10000), *got = NULL, *fresh;
	struct queue_rcpt_state *st;
	struct mpsc_node *n;
	uint64_t id = m->id;

	m->recipients[1].orcpt = "rfc822;other@y.example";
	m->recipients[1].notify = NOTIFY_DELAY;
	m->envid = "env";
	assert_int_equal(accept_message(f, m, NOW), 0);
	/* announced once, with a reference of its own */
	n = box_wait(&f->fresh);
	fresh = (struct message *)((char *)n - offsetof(struct message, fresh_node));
	assert_ptr_equal(fresh, m);
	assert_int_equal(m->first_due, NOW);
	assert_null(box_poll(&f->fresh));
	message_unref(fresh);
	message_unref(m);

	for (int again = 0; again < 2; again++) {
		assert_int_equal(queue_load(f->q, id, &got, &st), 0);
		assert_true(got->id == id && got->size == 10000 && got->arrived == NOW);
		assert_string_equal(got->sender, "sender@here.example");
		assert_string_equal(got->envid, "env");
		assert_null(got->user);
		assert_int_equal(got->nrecipients, 2);
		assert_string_equal(got->recipients[1].address, "b@y.example");
		assert_string_equal(got->recipients[1].orcpt, "rfc822;other@y.example");
		assert_int_equal(got->recipients[1].notify, NOTIFY_DELAY);
		assert_true(st[1].due == NOW && st[1].attempts == 0);
		message_unref(got);
		check_body(f, id, 10000);
		check_clean(f, 1, 2);
		fixture_reopen(f);
	}
}

static void test_sizes(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 2000, 2037, 2038, 2039, 4079, 4080, 4081, 8160,
		8161, 65536, 1000000 };
	struct fixture *f = *state;
	uint64_t id[COUNT(sizes)], total = 0;
	struct queue_stats st;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		id[i] = put_message(f, "a@x.example", sizes[i], NOW);
		total += sizes[i];
	}
	for (size_t i = 0; i < COUNT(sizes); i++)
		check_body(f, id[i], sizes[i]);
	queue_stats(f->q, &st);
	assert_int_equal(st.content_bytes, total);
	check_clean(f, COUNT(sizes), COUNT(sizes));
	for (size_t i = 0; i < COUNT(sizes); i++)
		assert_int_equal(settle_gone(f, id[i], 0, "x.example", NOW), 0);
	queue_stats(f->q, &st);
	assert_int_equal(st.content_bytes, 0);
	fence(f);
	check_clean(f, 0, 0);
}

static void test_partial_settle(void **state)
{
	struct fixture *f = *state;
	uint64_t id = put_message(f, "a@x.example b@x.example c@y.example", 100, NOW);
	struct queue_rcpt_state later = { .due = NOW + 5000,
		.attempts = 1,
		.code = 451,
		.reply = "451 later",
		.host = "mx1",
		.source = "a1",
		.last_attempt = NOW,
		.verdict = 3,
		.flags = RCPT_STATE_SPLIT };
	struct queue_settle_rcpt o[] = {
		{ .index = 0, .outcome = OUTCOME_GONE, .domain = "x.example", .old_due = NOW },
		{ .index = 1,
			.outcome = OUTCOME_DEFER,
			.state = later,
			.domain = "x.example",
			.old_due = NOW },
	};
	struct queue_settle s = { .job.kind = QUEUE_SETTLE, .id = id, .n = 2, .rcpts = o };
	struct queue_rcpt_state *st;
	struct message *m;

	assert_int_equal(run_job(f, &s.job), 0);
	assert_int_equal(count_due(f, "x.example", NOW), 0);
	assert_int_equal(count_due(f, "x.example", NOW + 5000), 1);
	assert_int_equal(count_due(f, "y.example", NOW), 1);
	check_clean(f, 1, 2);
	assert_int_equal(queue_load(f->q, id, &m, &st), 0);
	assert_int_equal(m->nrecipients, 2);
	assert_int_equal(m->recipients[0].index, 1);
	assert_true(st[0].due == NOW + 5000 && st[0].attempts == 1 && st[0].code == 451 &&
		    st[0].verdict == 3);
	assert_int_equal(st[0].flags, RCPT_STATE_SPLIT);
	assert_string_equal(st[0].reply, "451 later");
	assert_string_equal(st[0].host, "mx1");
	assert_string_equal(st[0].source, "a1");
	message_unref(m);

	/* the settler's idea of the old time may be out of date; the record's is right */
	assert_int_equal(settle_gone(f, id, 1, "x.example", NOW), 0);
	assert_int_equal(settle_gone(f, id, 1, "x.example", NOW), -ENOENT);
	assert_int_equal(settle_gone(f, id, 2, "y.example", NOW), 0);
	assert_int_equal(queue_load(f->q, id, &m, &st), -ENOENT);
	assert_int_equal(settle_gone(f, id, 2, "y.example", NOW), -ENOENT);
	check_clean(f, 0, 0);
}

static void test_dsn_with_settle(void **state)
{
	struct fixture *f = *state;
	uint64_t id = put_message(f, "a@x.example", 5000, NOW);
	struct message *dsn = make_message(f, "sender@here.example", 3000);
	struct queue_accept a = { .job.kind = QUEUE_ACCEPT, .message = dsn, .due = NOW },
			    *list = &a;
	struct queue_settle_rcpt o = {
		.outcome = OUTCOME_GONE, .domain = "x.example", .old_due = NOW
	};
	struct queue_settle s = {
		.job.kind = QUEUE_SETTLE, .id = id, .n = 1, .rcpts = &o, .dsn = &list, .ndsn = 1
	};
	uint64_t dsn_id = dsn->id;

	dsn->sender = "";
	dsn->flags = MESSAGE_FROM_RELAY;
	fixture_drop_fresh(f);
	/* a notification that cannot be stored keeps the outcome from being stored */
	dsn->size++;
	assert_int_equal(run_job(f, &s.job), -EINVAL);
	assert_int_equal(fixture_drop_fresh(f), 0);
	check_clean(f, 1, 1);
	dsn->size--;
	assert_int_equal(run_job(f, &s.job), 0);
	assert_int_equal(fixture_drop_fresh(f), 1);
	message_unref(dsn);
	check_clean(f, 1, 1);
	check_body(f, dsn_id, 3000);
	assert_int_equal(count_due(f, "x.example", NOW), 0);
	assert_int_equal(count_due(f, "here.example", NOW), 1);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct message *m = make_message(f, "a@x.example", 100);
	char domain[500];

	m->size = 99;
	assert_int_equal(accept_message(f, m, NOW), -EINVAL);
	m->size = 100;
	m->recipients[0].domain = "";
	assert_int_equal(accept_message(f, m, NOW), -EINVAL);
	memset(domain, 'd', sizeof(domain) - 1);
	domain[sizeof(domain) - 1] = '\0';
	m->recipients[0].domain = domain;
	assert_int_equal(accept_message(f, m, NOW), -EINVAL);
	m->recipients[0].domain = "x.example";
	m->nrecipients = 0;
	assert_int_equal(accept_message(f, m, NOW), -EINVAL);
	m->nrecipients = 1;
	check_clean(f, 0, 0);
	assert_int_equal(accept_message(f, m, NOW), 0);
	/* the same id again */
	assert_int_equal(accept_message(f, m, NOW), -EEXIST);
	message_unref(m);
	check_clean(f, 1, 1);
}

/* One that fails does not keep those of the same transaction from being stored. */
static void test_failure_is_its_own(void **state)
{
	enum { N = 50 };
	struct fixture *f = *state;
	struct queue_accept a[N] = { 0 };
	struct queue_settle s = {
		.job = { .kind = QUEUE_SETTLE, .reply_to = &f->box.mpsc }, .id = 12345, .n = 1
	};
	struct queue_settle_rcpt o = { .outcome = OUTCOME_GONE, .domain = "x.example" };
	struct mpsc_batch b = { 0 };
	unsigned failed = 0;

	s.rcpts = &o;
	for (unsigned i = 0; i < N; i++) {
		struct message *m = make_message(f, "a@x.example b@x.example", 10);

		/* found only after the envelope is in: the second recipient has the first one's
		 * number */
		if (i % 10 == 3)
			m->recipients[1].index = 0;
		a[i] = (struct queue_accept){ .job = { .kind = QUEUE_ACCEPT,
						      .reply_to = &f->box.mpsc },
			.message = m,
			.due = NOW };
		mpsc_batch_add(&b, &a[i].job.node);
		if (i == 20)
			mpsc_batch_add(&b, &s.job.node);
	}
	queue_post_batch(f->q, &b);
	for (unsigned i = 0; i <= N; i++)
		failed += ((struct queue_job *)box_wait(&f->box))->result != 0;
	assert_int_equal(failed, N / 10 + 1);
	assert_int_equal(s.job.result, -ENOENT);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(a[i].job.result, i % 10 == 3 ? -EEXIST : 0);
		message_unref(a[i].message);
	}
	assert_int_equal(fixture_drop_fresh(f), N - N / 10);
	check_clean(f, N - N / 10, 2 * (N - N / 10));
}

static void test_answers_in_order_one_wake(void **state)
{
	enum { N = 100 };
	struct fixture *f = *state;
	struct queue_accept a[N] = { 0 };
	struct mpsc_batch b = { 0 };
	struct queue_stats before, after;

	queue_stats(f->q, &before);
	for (unsigned i = 0; i < N; i++) {
		a[i] = (struct queue_accept){ .job = { .kind = QUEUE_ACCEPT,
						      .reply_to = &f->box.mpsc },
			.message = make_message(f, "a@x.example", 100),
			.due = NOW };
		mpsc_batch_add(&b, &a[i].job.node);
	}
	queue_post_batch(f->q, &b);
	for (unsigned i = 0; i < N; i++) {
		assert_ptr_equal(box_wait(&f->box), &a[i].job.node);
		message_unref(a[i].message);
	}
	queue_stats(f->q, &after);
	/* all were there when the writer woke: one transaction, one wake here */
	assert_int_equal(after.commits - before.commits, 1);
	assert_int_equal(f->box.wakes, 1);
	assert_int_equal(f->fresh.wakes, 1);
	assert_int_equal(after.accepted - before.accepted, N);
	assert_int_equal(after.largest_batch, N);
	assert_int_equal(after.waiting_jobs, 0);
}

static void test_detached_job(void **state)
{
	struct fixture *f = *state;
	struct queue_job *job = calloc(1, sizeof(*job));

	assert_non_null(job);
	job->kind = QUEUE_FENCE;
	queue_post(f->q, job); /* freed by the writer; a leak checker would tell */
	fence(f);
}

/* Posted last, behind an operator's pass and a backlog of outcomes; and a fence still waits for
 * all. */
static void test_mail_goes_first(void **state)
{
	enum { FLAGS = 600, OUTCOMES = 300 };
	static struct queue_flag flags[FLAGS];
	static struct queue_settle outcomes[OUTCOMES];
	struct queue_settle_rcpt none = { .outcome = OUTCOME_GONE };
	struct fixture *f = *state;
	struct queue_job last = { .kind = QUEUE_FENCE, .reply_to = &f->box.mpsc };
	struct queue_accept a = { .job = { .kind = QUEUE_ACCEPT, .reply_to = &f->box.mpsc },
		.message = make_message(f, "a@x.example", 100),
		.due = NOW };
	unsigned nflags = 0, noutcomes = 0;
	struct mpsc_batch b = { 0 };

	for (unsigned i = 0; i < FLAGS; i++) {
		flags[i] = (struct queue_flag){
			.job = { .kind = QUEUE_FLAG, .reply_to = &f->box.mpsc }, .id = 1 + i
		};
		mpsc_batch_add(&b, &flags[i].job.node);
	}
	for (unsigned i = 0; i < OUTCOMES; i++) {
		outcomes[i] = (struct queue_settle){ .job = { .kind = QUEUE_SETTLE,
							     .reply_to = &f->box.mpsc },
			.id = 1 + i,
			.n = 1,
			.rcpts = &none };
		mpsc_batch_add(&b, &outcomes[i].job.node);
	}
	mpsc_batch_add(&b, &last.node);
	mpsc_batch_add(&b, &a.job.node);
	queue_post_batch(f->q, &b);
	assert_ptr_equal(box_wait(&f->box), &a.job.node);
	assert_int_equal(a.job.result, 0);
	for (unsigned i = 0; i < FLAGS + OUTCOMES; i++) {
		struct queue_job *job = (struct queue_job *)((char *)box_wait(&f->box) -
							     offsetof(struct queue_job, node));

		nflags += job->kind == QUEUE_FLAG;
		noutcomes += job->kind == QUEUE_SETTLE;
		/* of the pass some went along before the last outcome */
		if (noutcomes == OUTCOMES && job->kind == QUEUE_SETTLE)
			assert_in_range(nflags, 1, FLAGS - 1);
	}
	assert_int_equal(nflags, FLAGS);
	assert_int_equal(noutcomes, OUTCOMES);
	assert_ptr_equal(box_wait(&f->box), &last.node);
	message_unref(a.message);
	check_clean(f, 1, 1);
}

static void test_ids(void **state)
{
	struct fixture *f = *state;
	uint64_t last = 0, wall = (uint64_t)clock_wall_ms() << 20;

	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 1000; i++) {
			uint64_t id = queue_new_id(f->q);

			assert_true(id > last);
			last = id;
		}
		fixture_reopen(f);
	}
	/* a step of the clock at most, each time: an id is close to its time */
	assert_in_range(last - wall, 0, 60000ull << 20);
}

static int collect_state(void *arg, struct slice key, struct slice value)
{
	char *out = arg;

	strncat(out, key.p, key.n);
	strcat(out, "=");
	strncat(out, value.p, value.n);
	strcat(out, ";");
	return 0;
}

static int copy_value(void *arg, struct slice key, struct slice value)
{
	assert_true(value.n < 8);
	memcpy(arg, value.p, value.n);
	return 0;
}

/* What is waited for does not wait itself, and takes what was learned before it along: in order. */
static void test_urgent_state(void **state)
{
	struct fixture *f = *state;
	struct queue_state_entry old = { SLICE_LIT("policy/k"), SLICE_LIT("old") },
				 new = { SLICE_LIT("policy/k"), SLICE_LIT("new") };
	struct queue_state_put lazy = {
		.job = { .kind = QUEUE_STATE, .reply_to = &f->box.mpsc }, .n = 1, .entries = &old
	};
	struct queue_state_put urgent = { .job = { .kind = QUEUE_STATE, .reply_to = &f->box.mpsc },
		.urgent = true,
		.n = 1,
		.entries = &new };
	uint64_t began = clock_mono_us(), took;
	char found[8] = "";

	queue_post(f->q, &lazy.job);
	queue_post(f->q, &urgent.job);
	assert_ptr_equal(box_wait(&f->box), &lazy.job.node);
	assert_ptr_equal(box_wait(&f->box), &urgent.job.node);
	took = clock_mono_us() - began;
	assert_int_equal(lazy.job.result, 0);
	assert_int_equal(urgent.job.result, 0);
	assert_true(took < 900000); /* one alone waits for a second */
	assert_int_equal(queue_state_scan(f->q, SLICE_LIT("policy/k"), copy_value, found), 0);
	assert_string_equal(found, "new");
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	struct queue_state_entry e[] = { { SLICE_LIT("lane/1"), SLICE_LIT("a") },
		{ SLICE_LIT("lane/2"), SLICE_LIT("") }, { SLICE_LIT("mx/1"), SLICE_LIT("b") } };
	struct queue_state_put p = {
		.job = { .kind = QUEUE_STATE, .reply_to = &f->box.mpsc }, .n = 3, .entries = e
	};
	struct queue_stats before, after;
	char out[100] = "";

	/* alone it waits for company; a fence is company */
	queue_stats(f->q, &before);
	queue_post(f->q, &p.job);
	struct queue_job job = { .kind = QUEUE_FENCE, .reply_to = &f->box.mpsc };
	queue_post(f->q, &job);
	box_wait(&f->box);
	box_wait(&f->box);
	assert_int_equal(p.job.result, 0);
	queue_stats(f->q, &after);
	assert_int_equal(after.commits - before.commits, 1);
	assert_int_equal(queue_state_scan(f->q, SLICE_LIT("lane/"), collect_state, out), 0);
	assert_string_equal(out, "lane/1=a;lane/2=;");
	/* and without company it goes after a second */
	e[0].value.p = NULL;
	p.n = 1;
	assert_int_equal(run_job(f, &p.job), 0);
	fixture_reopen(f);
	out[0] = '\0';
	assert_int_equal(queue_state_scan(f->q, SLICE_LIT(""), collect_state, out), 0);
	assert_string_equal(out, "lane/2=;mx/1=b;");
	e[0].key.n = 0;
	assert_int_equal(run_job(f, &p.job), -EINVAL);
}

static int flag(struct fixture *f, enum queue_flag_op op, uint64_t id, ms_t now, uint32_t *changed)
{
	struct queue_flag j = { .job.kind = QUEUE_FLAG, .op = op, .id = id, .now = now };
	int r = run_job(f, &j.job);

	*changed = j.changed;
	return r;
}

static void test_flags(void **state)
{
	struct fixture *f = *state;
	uint64_t id = put_message(f, "a@x.example b@x.example", 100, NOW);
	struct queue_rcpt_state later = { .due = NOW + 9000, .attempts = 4, .reply = "450 r" }, *st;
	struct message *m;
	uint32_t changed;

	assert_int_equal(settle_defer(f, id, 1, "x.example", NOW, &later), 0);
	assert_int_equal(flag(f, FLAG_HOLD, id, NOW, &changed), 0);
	assert_int_equal(changed, 2);
	assert_int_equal(count_due(f, "x.example", NOW + 99999), 0);
	check_clean(f, 1, 2);
	/* an attempt that was under way when it was held */
	assert_int_equal(settle_defer(f, id, 0, "x.example", NOW, &later), 0);
	assert_int_equal(count_due(f, "x.example", NOW + 99999), 0);
	assert_int_equal(flag(f, FLAG_DUE_NOW, id, NOW, &changed), 0);
	assert_int_equal(changed, 0);
	fixture_reopen(f);
	assert_int_equal(count_due(f, "x.example", NOW + 99999), 0);
	assert_int_equal(queue_load(f->q, id, &m, &st), 0);
	assert_true(m->flags & MESSAGE_HELD);
	message_unref(m);
	assert_int_equal(flag(f, FLAG_RELEASE, id, NOW + 50, &changed), 0);
	assert_int_equal(changed, 2);
	assert_int_equal(count_due(f, "x.example", NOW + 49), 0);
	assert_int_equal(count_due(f, "x.example", NOW + 50), 2);
	assert_int_equal(queue_load(f->q, id, &m, &st), 0);
	assert_int_equal(st[1].attempts, 4);
	assert_string_equal(st[1].reply, "450 r");
	assert_false(m->flags & MESSAGE_HELD);
	message_unref(m);
	later.due = NOW + 100000;
	assert_int_equal(settle_defer(f, id, 1, "x.example", NOW, &later), 0);
	assert_int_equal(flag(f, FLAG_DUE_NOW, id, NOW + 60, &changed), 0);
	assert_int_equal(count_due(f, "x.example", NOW + 60), 2);
	check_clean(f, 1, 2);
	assert_int_equal(flag(f, FLAG_HOLD, id + 1, NOW, &changed), -ENOENT);
	/* held from the start */
	m = make_message(f, "c@x.example", 10);
	m->flags |= MESSAGE_HELD;
	assert_int_equal(accept_message(f, m, NOW), 0);
	id = m->id;
	message_unref(m);
	assert_int_equal(count_due(f, "x.example", NOW + 60), 2);
	assert_int_equal(flag(f, FLAG_RELEASE, id, NOW, &changed), 0);
	assert_int_equal(count_due(f, "x.example", NOW + 60), 3);
	check_clean(f, 2, 3);
}

/* An operator's pass over one domain: neighbours in the index share their pages, so some five
 * hundred flags go in one transaction, and one sync. Nothing depends on when the writer looks: all
 * are there when it does. */
static void test_passes_are_few_transactions(void **state)
{
	enum { MESSAGES = 2000 };
	struct queue_accept *a = calloc(MESSAGES, sizeof(*a));
	struct queue_flag *flags = calloc(MESSAGES, sizeof(*flags));
	struct fixture *f = *state;
	struct queue_stats before, after;
	struct mpsc_batch b = { 0 };

	assert_true(a && flags);
	for (unsigned i = 0; i < MESSAGES; i++) {
		a[i] = (struct queue_accept){ .job = { .kind = QUEUE_ACCEPT,
						      .reply_to = &f->box.mpsc },
			.message = make_message(f, "a@x.example", 10),
			.due = NOW };
		mpsc_batch_add(&b, &a[i].job.node);
	}
	queue_post_batch(f->q, &b);
	for (unsigned i = 0; i < MESSAGES; i++)
		box_wait(&f->box);
	for (unsigned i = 0; i < MESSAGES; i++) {
		assert_int_equal(a[i].job.result, 0);
		flags[i] = (struct queue_flag){ .job = { .kind = QUEUE_FLAG,
							.reply_to = &f->box.mpsc },
			.op = FLAG_DUE_NOW,
			.id = a[i].message->id,
			.now = NOW + 1 };
		mpsc_batch_add(&b, &flags[i].job.node);
		message_unref(a[i].message);
	}
	fixture_drop_fresh(f);
	fixture_reopen(f); /* no mail has come lately: nobody waits for the pass */
	queue_stats(f->q, &before);
	queue_post_batch(f->q, &b);
	for (unsigned i = 0; i < MESSAGES; i++)
		box_wait(&f->box);
	fence(f); /* its figures are published */
	queue_stats(f->q, &after);
	for (unsigned i = 0; i < MESSAGES; i++)
		assert_int_equal(flags[i].job.result, 0);
	assert_in_range(after.commits - before.commits, 1, 5);
	assert_int_equal(count_due(f, "x.example", NOW + 1), MESSAGES);
	free(flags);
	free(a);
}

/* What a rehearsal takes a message for, against what it takes. */
static void test_footprint(void **state)
{
	static const struct {
		uint64_t size;
		unsigned n, percent; /* small ones leave what is left of a page */
	} rows[] = { { 700, 150, 15 }, { 3000, 150, 5 }, { 5000, 150, 5 }, { 40 << 10, 60, 3 },
		{ 60 << 10, 60, 3 }, { 150 << 10, 40, 3 }, { 3 << 20, 10, 3 } };
	struct fixture *f = *state;
	struct queue_stats before, after;

	for (size_t i = 0; i < COUNT(rows); i++) {
		double want = (double)queue_footprint(rows[i].size), got;

		queue_stats(f->q, &before);
		for (unsigned k = 0; k < rows[i].n; k++)
			put_message(f, "recipient@receiver.example", rows[i].size, NOW);
		fence(f);
		queue_stats(f->q, &after);
		got = (double)(after.bytes_used - before.bytes_used) / rows[i].n;
		if (fabs(got - want) * 100 > want * rows[i].percent)
			fail_msg("%llu bytes: %.0f taken, not %.0f",
				(unsigned long long)rows[i].size, got, want);
	}
}

static void test_next_message(void **state)
{
	struct fixture *f = *state;
	uint64_t a = put_message(f, "a@x.example", 20000, NOW),
		 b = put_message(f, "a@x.example", 0, NOW);
	uint64_t id = 0;

	assert_int_equal(queue_next_message(f->q, &id), 0);
	assert_true(id == a);
	id++;
	assert_int_equal(queue_next_message(f->q, &id), 0);
	assert_true(id == b);
	id++;
	assert_int_equal(queue_next_message(f->q, &id), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_round_trip),
		T(test_sizes),
		T(test_partial_settle),
		T(test_dsn_with_settle),
		T(test_refused),
		T(test_failure_is_its_own),
		T(test_answers_in_order_one_wake),
		T(test_detached_job),
		T(test_mail_goes_first),
		T(test_ids),
		T(test_state),
		T(test_urgent_state),
		T(test_flags),
		T(test_passes_are_few_transactions),
		T(test_footprint),
		T(test_next_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
