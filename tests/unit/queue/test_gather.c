/* Batches of those who send all the time: they are full, and cost the writer one sleep each. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define SENDERS 20u
#define ROUNDS	60u

struct sender {
	struct fixture *f;
	pthread_t thread;
	struct box box;
	unsigned failed;
};

/* The next mail when the one before is answered, as a client does. */
static void *send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct queue_accept a = { .job = { .kind = QUEUE_ACCEPT, .reply_to = &s->box.mpsc },
			.message = make_message(s->f, "a@x.example", 100),
			.due = 1 };

		queue_post(s->f->q, &a.job);
		s->failed += box_wait(&s->box) != &a.job.node || a.job.result != 0;
		message_unref(a.message);
	}
	return NULL;
}

/* How often the writer's thread went to sleep. */
static unsigned long writer_sleeps(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned long found = 0, n;
	struct dirent *e;

	assert_non_null(tasks);
	while ((e = readdir(tasks))) {
		char path[300], line[200];
		bool writer = false;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file)) {
			writer = writer || !strcmp(line, "Name:\tqueue-writer\n");
			if (writer && sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
				found = n;
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return found;
}

static void test_full_batches_one_sleep(void **state)
{
	struct fixture *f = *state;
	static struct sender senders[SENDERS];
	struct queue_stats before, after;
	unsigned long slept;
	double commits;

	f->params.gather_us = 20000;
	fixture_reopen(f);
	queue_stats(f->q, &before);
	slept = writer_sleeps();
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i].f = f;
		box_init(&senders[i].box);
		assert_int_equal(
			pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
	}
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
		assert_int_equal(senders[i].failed, 0);
	}
	slept = writer_sleeps() - slept;
	queue_stats(f->q, &after);
	commits = (double)(after.commits - before.commits);
	print_message("%.1f mails a commit, the writer slept %.1f times a commit\n",
		SENDERS * ROUNDS / commits, (double)slept / commits);
	/* on a slow disk they take turns in two halves or more */
	assert_true(SENDERS * ROUNDS / commits > 3);
	/* for company, for two syncs and for locks; looking every 50 us it was hundreds */
	assert_true((double)slept / commits < 15);
	assert_int_equal(after.waiting_jobs, 0);
	assert_int_equal(fixture_drop_fresh(f), SENDERS * ROUNDS);
	check_clean(f, SENDERS * ROUNDS, SENDERS * ROUNDS);
}

/* Who is alone is not made to wait for company. */
static void test_alone(void **state)
{
	enum { MAILS = 40 };
	struct fixture *f = *state;
	uint64_t began;

	f->params.gather_us = 200000;
	fixture_reopen(f);
	began = clock_mono_us();
	for (unsigned i = 0; i < MAILS; i++)
		put_message(f, "a@x.example", 100, 1);
	/* at most a batch or two may wait its time out, to see who else is there */
	assert_true(clock_mono_us() - began < MAILS * 200000ull / 2);
	fixture_drop_fresh(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_full_batches_one_sleep, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_alone, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
