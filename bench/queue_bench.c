/* The store alone: messages a second, commits, CPU and bytes written a message, by number of jobs
 * in flight, size and depth; and beside it a spool with one synced file a message. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postern/must.h"
#include "postern/queue.h"

#define ROUNDS_MAX 99u

struct options {
	const char *path, *mode;
	uint64_t messages, depth, size;
	uint32_t sessions, domains, gather_us;
	uint32_t rounds;
	bool json, bare;
};

/* One message in flight: accepted, then settled. */
struct slot {
	struct queue_accept accept;
	struct queue_settle settle;
	struct queue_settle_rcpt outcome;
	char domain[64];
};

struct bench {
	struct options o;
	struct queue *q;
	struct mpsc inbox;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
	uint64_t started, done;
	bool bare_settles;
	char *content;
};

struct sample {
	uint64_t us, written;
	double cpu;
	struct queue_stats stats;
};

static void wake(void *arg)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->woken = true;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

static struct mpsc_node *wait_answers(struct bench *b)
{
	struct mpsc_node *n;

	while (!(n = mpsc_take_all(&b->inbox))) {
		pthread_mutex_lock(&b->lock);
		while (!b->woken)
			pthread_cond_wait(&b->cond, &b->lock);
		b->woken = false;
		pthread_mutex_unlock(&b->lock);
	}
	return n;
}

/* What the write calls were given; all of it is new pages, each synced once. (write_bytes of the
 * same file counts more where the page cache has pages larger than 4 KiB: one write makes all of
 * such a page dirty in the books, though not on its way to the disk.) */
static uint64_t bytes_written(void)
{
	FILE *f = fopen("/proc/self/io", "re");
	char line[128];
	uint64_t n = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "wchar: %" SCNu64, &n) == 1)
			break;
	}
	fclose(f);
	return n;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long resident_kib(const char *field)
{
	FILE *f = fopen("/proc/self/status", "re");
	size_t n = strlen(field);
	char line[128];
	long kib = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, field, n) == 0)
			kib = strtol(line + n + 1, NULL, 10);
	}
	if (f)
		fclose(f);
	return kib;
}

static struct sample take_sample(struct bench *b)
{
	struct sample s = {
		.us = clock_mono_us(), .written = bytes_written(), .cpu = cpu_seconds()
	};

	if (b->q)
		queue_stats(b->q, &s.stats);
	return s;
}

static struct message *make_message(struct bench *b, struct slot *s)
{
	static const char address[] = "first.last@";
	struct message *m = message_new();
	char text[128];

	must(m);
	m->id = queue_new_id(b->q);
	snprintf(s->domain, sizeof(s->domain), "tenant%05" PRIu64 ".example.com",
		(m->id * 7919) % (b->o.domains ? b->o.domains : 1));
	m->arrived = clock_wall_ms();
	m->expires = m->arrived + 172800000;
	m->sender = "news@sender.example.net";
	m->pool = "main";
	m->client = "[127.0.0.1]:50000";
	m->helo = "app.example.net";
	m->listener = "internal";
	snprintf(text, sizeof(text), "<%016" PRIx64 "@app.example.net>", m->id);
	m->message_id = arena_strdup(&m->arena, slice_of(text));
	m->recipients = arena_alloc(&m->arena, sizeof(*m->recipients));
	must(m->recipients);
	snprintf(text, sizeof(text), "%s%s", address, s->domain);
	m->recipients[0].address = arena_strdup(&m->arena, slice_of(text));
	m->recipients[0].domain = m->recipients[0].address + sizeof(address) - 1;
	m->nrecipients = 1;
	m->body = body_new();
	must(m->body && body_append(m->body, (struct slice){ b->content, b->o.size }) == 0);
	body_seal(m->body);
	m->size = b->o.size;
	return m;
}

static struct queue_job *start_accept(struct bench *b, struct slot *s)
{
	s->accept = (struct queue_accept){
		.job = { .kind = QUEUE_ACCEPT, .reply_to = &b->inbox, .owner = s },
		.message = make_message(b, s)
	};
	s->accept.due = s->accept.message->arrived;
	b->started++;
	return &s->accept.job;
}

static struct queue_job *start_settle(struct bench *b, struct slot *s)
{
	s->outcome = (struct queue_settle_rcpt){
		.outcome = OUTCOME_GONE, .domain = s->domain, .old_due = s->accept.due
	};
	s->settle = (struct queue_settle){
		.job = { .kind = QUEUE_SETTLE, .reply_to = &b->inbox, .owner = s },
		.id = s->accept.message->id,
		.n = 1,
		.rcpts = &s->outcome
	};
	return &s->settle.job;
}

/* The job that follows an answered one; NULL when the slot has nothing more to do. */
static struct queue_job *next_job(
	struct bench *b, struct queue_job *job, uint64_t total, bool settle)
{
	struct slot *s = job->owner;

	if (job->result) {
		fprintf(stderr, "job failed: %s\n", strerror(-job->result));
		exit(1);
	}
	if (job->kind == QUEUE_ACCEPT && settle)
		return start_settle(b, s);
	message_unref(s->accept.message);
	b->done++;
	return b->started < total ? start_accept(b, s) : NULL;
}

/* Settles all that is there, with `sessions` in flight. */
static uint64_t drain(struct bench *b, uint32_t sessions)
{
	struct slot *slots = calloc(sessions, sizeof(*slots));
	uint64_t id = 0, n = 0;
	uint32_t flying = 0;
	bool more = true;

	must(slots);
	while (more || flying > 0) {
		struct mpsc_batch batch = { 0 };
		struct mpsc_node *node = flying == sessions || !more ? wait_answers(b) : NULL;

		for (; node; node = node->next, flying--, n++)
			((struct slot *)((struct queue_job *)node)->owner)->settle.n = 0;
		for (uint32_t i = 0; i < sessions && more; i++) {
			struct slot *s = &slots[i];

			if (s->settle.n > 0)
				continue;
			more = queue_next_message(b->q, &id) == 0;
			if (!more)
				break;
			s->outcome = (struct queue_settle_rcpt){ .outcome = OUTCOME_GONE };
			s->settle = (struct queue_settle){
				.job = { .kind = QUEUE_SETTLE, .reply_to = &b->inbox, .owner = s },
				.id = id++,
				.n = 1,
				.rcpts = &s->outcome
			};
			mpsc_batch_add(&batch, &s->settle.job.node);
			flying++;
		}
		if (batch.first)
			queue_post_batch(b->q, &batch);
	}
	free(slots);
	return n;
}

/* total messages with `sessions` in flight. */
static void run(struct bench *b, uint64_t total, uint32_t sessions, bool settle)
{
	struct slot *slots = calloc(sessions, sizeof(*slots));
	struct mpsc_batch batch = { 0 };

	must(slots);
	b->started = b->done = 0;
	for (uint32_t i = 0; i < sessions && b->started < total; i++)
		mpsc_batch_add(&batch, &start_accept(b, &slots[i])->node);
	queue_post_batch(b->q, &batch);
	while (b->done < total) {
		struct mpsc_node *n = wait_answers(b);

		while (n) {
			struct mpsc_node *next = n->next;
			struct queue_job *job = next_job(b, (struct queue_job *)n, total, settle);

			if (job)
				mpsc_batch_add(&batch, &job->node);
			n = next;
		}
		if (batch.first)
			queue_post_batch(b->q, &batch);
	}
	free(slots);
}

/* One file a message: written, synced, and its directory entry with it; renamed when it is
 * complete, removed when it is delivered. */
static void run_spool(struct bench *b, uint64_t total)
{
	char tmp[512], file[512];

	for (uint64_t i = 0; i < total; i++) {
		int fd;

		snprintf(tmp, sizeof(tmp), "%s/incoming.%" PRIu64, b->o.path, i);
		snprintf(file, sizeof(file), "%s/%" PRIu64, b->o.path, i);
		fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		must(fd >= 0);
		must(write(fd, b->content, b->o.size) == (ssize_t)b->o.size);
		must(fsync(fd) == 0);
		close(fd);
		must(rename(tmp, file) == 0);
		must(unlink(file) == 0);
	}
}

static double per_second(const struct sample *from, const struct sample *to, uint64_t n)
{
	return (double)n / ((double)(to->us - from->us) / 1e6);
}

static void print(const struct bench *b, const char *what, const struct sample *from,
	const struct sample *to, uint64_t n)
{
	const double s = (double)(to->us - from->us) / 1e6, d = (double)n;
	const uint64_t commits = to->stats.commits - from->stats.commits;
	const uint64_t jobs = to->stats.jobs - from->stats.jobs;
	const char *format = b->o.json ? "{\"run\":\"%s\",\"messages\":%" PRIu64
					 ",\"size\":%" PRIu64 ",\"sessions\":%u,\"depth\":%" PRIu64
					 ",\"domains\":%u,\"seconds\":%.3f,\"messages_per_second\":"
					 "%.0f,\"cpu_us_per_message\":%.2f,"
					 "\"bytes_written_per_message\":%.0f,\"commits_per_"
					 "message\":%.4f,\"syncs_per_message\":%.4f,"
					 "\"jobs_per_commit\":%.1f,\"commit_us\":%.0f,\"resident_"
					 "kib\":%ld,\"peak_kib\":%ld,"
					 "\"used_bytes\":%" PRIu64 "}\n"
				       : "%-8s %8" PRIu64 " messages of %" PRIu64
					 " bytes, %u in flight, depth %" PRIu64
					 ", %u domains: %.3f s, %.0f/s, %.2f us CPU, %.0f bytes "
					 "written, %.4f commits, %.4f syncs a "
					 "message; %.1f jobs a commit of %.0f us; resident %ld "
					 "KiB, peak %ld KiB; %" PRIu64 " bytes used\n";

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	printf(format, what, n, b->o.size, b->o.sessions, to->stats.messages, b->o.domains, s,
		d / s, (to->cpu - from->cpu) / d * 1e6, (double)(to->written - from->written) / d,
		(double)commits / d, (double)(to->stats.syncs - from->stats.syncs) / d,
		commits ? (double)jobs / (double)commits : 0,
		commits ? (double)(to->stats.commit_us_total - from->stats.commit_us_total) /
				  (double)commits
			: 0,
		resident_kib("VmRSS:"), resident_kib("VmHWM:"), to->stats.bytes_used);
#pragma GCC diagnostic pop
	fflush(stdout);
}

/* ---- the bare loop: what LMDB itself costs, without records, index or another thread ---- */

/* As many puts of a message's content, in the store's chunks, and deletions of the batch before, as
 * a commit of the store has. */
static int bare_batch(struct bench *b, MDB_env *env, MDB_dbi dbi, uint64_t first, uint64_t n)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (uint64_t i = first; i < first + n && !rc; i++) {
		for (uint64_t off = 0; off < b->o.size && !rc; off += BODY_CHUNK) {
			uint64_t k[2] = { __builtin_bswap64(i), __builtin_bswap64(off) };
			uint64_t left = b->o.size - off;
			MDB_val key = { sizeof(k), k };
			MDB_val v = { left < BODY_CHUNK ? left : BODY_CHUNK, b->content + off };

			rc = mdb_put(txn, dbi, &key, &v, 0);
			k[0] = __builtin_bswap64(i - n);
			if (!rc && i >= n && b->bare_settles)
				rc = mdb_del(txn, dbi, &key, NULL);
			if (rc == MDB_NOTFOUND)
				rc = 0;
		}
	}
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static void remove_bare(const char *dir)
{
	char file[600];

	snprintf(file, sizeof(file), "%s/data.mdb", dir);
	unlink(file);
	snprintf(file, sizeof(file), "%s/lock.mdb", dir);
	unlink(file);
	rmdir(dir);
}

/* Messages a second. */
static double run_bare(struct bench *b, uint64_t batch)
{
	struct sample from, to;
	char dir[512];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	snprintf(dir, sizeof(dir), "%s/bare", b->o.path);
	mkdir(dir, 0700);
	must(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 64ull << 30) == 0);
	rc = mdb_env_open(env, dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
	if (!rc)
		rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (!rc) {
		must(mdb_dbi_open(txn, NULL, 0, &dbi) == 0);
		rc = mdb_txn_commit(txn);
	}
	from = take_sample(b);
	for (uint64_t i = 0; i < b->o.messages && !rc; i += batch)
		rc = bare_batch(
			b, env, dbi, i, b->o.messages - i < batch ? b->o.messages - i : batch);
	to = take_sample(b);
	mdb_env_close(env);
	if (rc) {
		fprintf(stderr, "%s: %s\n", dir, mdb_strerror(rc));
		exit(1);
	}
	remove_bare(dir);
	print(b, "bare", &from, &to, b->o.messages);
	return per_second(&from, &to, b->o.messages);
}

/* Messages a second; *commits: how many it took. */
static double measure(struct bench *b, const char *what, uint64_t n, uint32_t sessions, bool settle,
	uint64_t *commits)
{
	struct sample from = take_sample(b), to;

	run(b, n, sessions, settle);
	to = take_sample(b);
	print(b, what, &from, &to, n);
	if (commits)
		*commits = to.stats.commits - from.stats.commits;
	return per_second(&from, &to, n);
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The store and the bare loop in turn, and what share of the loop the store reached. */
static void run_rounds(struct bench *b)
{
	const bool settle = strcmp(b->o.mode, "relay") == 0;
	double ratio[ROUNDS_MAX];

	for (uint32_t i = 0; i < b->o.rounds; i++) {
		uint64_t commits = 0, n = b->o.messages;
		double store = measure(b, b->o.mode, n, b->o.sessions, settle, &commits);

		if (!b->o.bare)
			continue;
		b->bare_settles = settle;
		ratio[i] = store / run_bare(b, commits > 0 && n > commits ? n / commits : 1);
	}
	if (!b->o.bare)
		return;
	qsort(ratio, b->o.rounds, sizeof(ratio[0]), by_value);
	printf(b->o.json ? "{\"run\":\"ratio\",\"median\":%.3f,\"least\":%.3f,\"most\":%.3f}\n"
			 : "the store reached %.2f of the bare loop in the median (%.2f to %.2f)\n",
		ratio[b->o.rounds / 2], ratio[0], ratio[b->o.rounds - 1]);
}

static int open_queue(struct bench *b)
{
	const struct queue_params p = {
		.path = b->o.path, .max_size = 64ull << 30, .gather_us = b->o.gather_us
	};
	char error[512] = "";

	if (queue_open(&b->q, &p, error, sizeof(error)) == 0)
		return 0;
	fprintf(stderr, "%s\n", error);
	return -1;
}

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s -d DIRECTORY [-m relay|accept|drain|spool] [-n MESSAGES] [-s SIZE] [-c "
		"IN-FLIGHT]\n"
		"       [-q DEPTH] [-t DOMAINS] [-g GATHER-US] [--json] [--bare]\n"
		"       [--rounds N]\n"
		"relay: each message accepted, then settled. accept: accepted only. drain: all "
		"that is\n"
		"there settled. spool: one synced file each.\n"
		"DEPTH messages are put in first. DIRECTORY is made when missing.\n"
		"--bare: the same number in a plain LMDB loop beside it, with as many commits as "
		"the "
		"store\nmade. --rounds: so often in turn, and the median of the ratios.\n",
		name);
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
		{ "bare", no_argument, NULL, 'b' }, { "rounds", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' }, { 0 } };
	int c;

	*o = (struct options){ .mode = "relay",
		.messages = 100000,
		.size = 4096,
		.sessions = 20,
		.domains = 1,
		.rounds = 1 };
	while ((c = getopt_long(argc, argv, "d:m:n:s:c:q:t:g:j", longs, NULL)) >= 0) {
		switch (c) {
		case 'd':
			o->path = optarg;
			break;
		case 'm':
			o->mode = optarg;
			break;
		case 'n':
			o->messages = strtoull(optarg, NULL, 10);
			break;
		case 's':
			o->size = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			o->sessions = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'q':
			o->depth = strtoull(optarg, NULL, 10);
			break;
		case 't':
			o->domains = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'g':
			o->gather_us = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			o->json = true;
			break;
		case 'b':
			o->bare = true;
			break;
		case 'r':
			o->rounds = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		default:
			return -1;
		}
	}
	return o->path && o->sessions > 0 && o->messages > 0 && o->rounds > 0 &&
			       o->rounds <= ROUNDS_MAX
		       ? 0
		       : -1;
}

int main(int argc, char **argv)
{
	struct bench b = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct sample from, to;

	if (parse(&b.o, argc, argv)) {
		usage(argv[0]);
		return 64;
	}
	b.content = malloc(b.o.size + 1);
	must(b.content);
	memset(b.content, 'x', b.o.size);
	mpsc_init(&b.inbox, wake, &b);
	if (strcmp(b.o.mode, "spool") == 0) {
		mkdir(b.o.path, 0700);
		from = take_sample(&b);
		run_spool(&b, b.o.messages);
		to = take_sample(&b);
		print(&b, "spool", &from, &to, b.o.messages);
		goto out;
	}
	from = take_sample(&b);
	if (open_queue(&b))
		return 73;
	fprintf(stderr, "opened in %" PRIu64 " us\n", clock_mono_us() - from.us);
	if (b.o.depth > 0)
		measure(&b, "fill", b.o.depth, 256, false, NULL);
	if (strcmp(b.o.mode, "drain") == 0) {
		from = take_sample(&b);
		b.o.messages = drain(&b, b.o.sessions);
		to = take_sample(&b);
		print(&b, "drain", &from, &to, b.o.messages ? b.o.messages : 1);
	} else {
		run_rounds(&b);
	}
	queue_close(b.q);
out:
	free(b.content);
	return 0;
}
