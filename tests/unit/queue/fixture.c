/* A queue in a temporary directory, and jobs that wait for their answers. */
#include "fixture.h"

#include "../temporary.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void box_wake(void *arg)
{
	struct box *b = arg;

	pthread_mutex_lock(&b->lock);
	b->woken = true;
	b->wakes++;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

void box_init(struct box *b)
{
	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->cond, NULL);
	mpsc_init(&b->mpsc, box_wake, b);
}

struct mpsc_node *box_poll(struct box *b)
{
	struct mpsc_node *n;

	if (!b->rest)
		b->rest = mpsc_take_all(&b->mpsc);
	n = b->rest;
	if (n)
		b->rest = n->next;
	return n;
}

struct mpsc_node *box_wait(struct box *b)
{
	struct mpsc_node *n;

	while (!(n = box_poll(b))) {
		pthread_mutex_lock(&b->lock);
		while (!b->woken)
			pthread_cond_wait(&b->cond, &b->lock);
		b->woken = false;
		pthread_mutex_unlock(&b->lock);
	}
	return n;
}

static void open_queue(struct fixture *f)
{
	char error[512] = "";
	int r = queue_open(&f->q, &f->params, error, sizeof(error));

	if (r)
		fail_msg("queue_open: %d: %s", r, error);
	queue_set_fresh(f->q, &f->fresh.mpsc);
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	temporary_name(f->dir, sizeof(f->dir), "queue");
	if (!mkdtemp(f->dir))
		return -1;
	f->params = (struct queue_params){ .path = f->dir, .max_size = 256 * MIB };
	box_init(&f->box);
	box_init(&f->fresh);
	open_queue(f);
	*state = f;
	return 0;
}

unsigned fixture_drop_fresh(struct fixture *f)
{
	struct mpsc_node *n;
	unsigned count = 0;

	while ((n = box_poll(&f->fresh))) {
		message_unref((struct message *)((char *)n - offsetof(struct message, fresh_node)));
		count++;
	}
	return count;
}

static void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	queue_close(f->q);
	fixture_drop_fresh(f);
	remove_dir(f->dir);
	free(f);
	return 0;
}

void fixture_reopen(struct fixture *f)
{
	f->q = queue_close(f->q);
	fixture_drop_fresh(f);
	open_queue(f);
}

int run_job(struct fixture *f, struct queue_job *job)
{
	job->reply_to = &f->box.mpsc;
	queue_post(f->q, job);
	assert_ptr_equal(box_wait(&f->box), &job->node);
	return job->result;
}

void fence(struct fixture *f)
{
	struct queue_job job = { .kind = QUEUE_FENCE };

	assert_int_equal(run_job(f, &job), 0);
}

char body_byte(uint64_t id, uint64_t offset)
{
	uint64_t h = (id + offset / 61) * 0x9e3779b97f4a7c15ull;

	return (char)('a' + (h >> 40) % 26);
}

static void fill_body(struct message *m, uint64_t size)
{
	char text[4096];

	m->body = body_new();
	assert_non_null(m->body);
	for (uint64_t off = 0; off < size;) {
		size_t n = size - off < sizeof(text) ? size - off : sizeof(text);

		for (size_t i = 0; i < n; i++)
			text[i] = body_byte(m->id, off + i);
		assert_int_equal(body_append(m->body, (struct slice){ text, n }), 0);
		off += n;
	}
	body_seal(m->body);
	m->size = size;
}

static void add_recipients(struct message *m, const char *recipients)
{
	m->recipients = arena_alloc(&m->arena, 64 * sizeof(*m->recipients));
	assert_non_null(m->recipients);
	while (*recipients) {
		struct recipient *r = &m->recipients[m->nrecipients];
		size_t n = strcspn(recipients, " ");

		assert_in_range(m->nrecipients, 0, 63);
		r->address = arena_strdup(&m->arena, (struct slice){ recipients, n });
		assert_non_null(r->address);
		r->domain = strchr(r->address, '@') + 1;
		r->index = m->nrecipients++;
		recipients += n;
		recipients += *recipients == ' ';
	}
}

struct message *make_message(struct fixture *f, const char *recipients, uint64_t size)
{
	struct message *m = message_new();

	assert_non_null(m);
	m->id = queue_new_id(f->q);
	m->arrived = 1700000000000;
	m->expires = m->arrived + 172800000;
	m->sender = "sender@here.example";
	m->pool = "main";
	m->client = "[127.0.0.1]:4000";
	add_recipients(m, recipients);
	fill_body(m, size);
	return m;
}

int accept_message(struct fixture *f, struct message *m, ms_t due)
{
	struct queue_accept a = { .job.kind = QUEUE_ACCEPT, .message = m, .due = due };

	return run_job(f, &a.job);
}

uint64_t put_message(struct fixture *f, const char *recipients, uint64_t size, ms_t due)
{
	struct message *m = make_message(f, recipients, size);
	uint64_t id = m->id;

	assert_int_equal(accept_message(f, m, due), 0);
	message_unref(m);
	return id;
}

static int settle(struct fixture *f, uint64_t id, struct queue_settle_rcpt *o)
{
	struct queue_settle s = { .job.kind = QUEUE_SETTLE, .id = id, .n = 1, .rcpts = o };

	return run_job(f, &s.job);
}

int settle_gone(struct fixture *f, uint64_t id, uint32_t index, const char *domain, ms_t due)
{
	struct queue_settle_rcpt o = {
		.index = index, .outcome = OUTCOME_GONE, .domain = domain, .old_due = due
	};

	return settle(f, id, &o);
}

int settle_defer(struct fixture *f, uint64_t id, uint32_t index, const char *domain, ms_t due,
	const struct queue_rcpt_state *state)
{
	struct queue_settle_rcpt o = { .index = index,
		.outcome = OUTCOME_DEFER,
		.state = *state,
		.domain = domain,
		.old_due = due };

	return settle(f, id, &o);
}

unsigned count_due(struct fixture *f, const char *domain, ms_t now)
{
	struct queue_reading w;
	unsigned n;

	queue_reading_init(&w);
	assert_int_equal(queue_read_due(f->q, domain,
				 &(struct queue_look){ .now = now, .limit = 10000 }, &w),
		0);
	assert_false(w.more);
	n = w.n;
	queue_reading_deinit(&w);
	return n;
}

void check_body(struct fixture *f, uint64_t id, uint64_t size)
{
	char piece[10000];
	uint64_t off = 0;
	size_t n;

	do {
		assert_int_equal(queue_body_read(f->q, id, off, piece, sizeof(piece), &n), 0);
		for (size_t i = 0; i < n; i++) {
			if (piece[i] != body_byte(id, off + i))
				fail_msg("body differs at %llu", (unsigned long long)(off + i));
		}
		off += n;
	} while (n > 0);
	assert_int_equal(off, size);
}

static void say(void *arg, const char *line)
{
	fprintf(stderr, "check: %s\n", line);
}

void check_clean(struct fixture *f, uint64_t messages, uint64_t recipients)
{
	struct queue_stats st;

	assert_int_equal(queue_check(f->q, false, say, NULL), 0);
	queue_stats(f->q, &st);
	assert_int_equal(st.messages, messages);
	assert_int_equal(st.recipients, recipients);
}
