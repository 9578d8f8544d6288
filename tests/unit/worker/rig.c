/* A worker with queue and clients of the tests' own. */
#include "rig.h"

#include "../temporary.h"

#include <errno.h>
#include <lmdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "postern/must.h"

static void on_event(void *arg)
{
	sem_post(arg);
}

static struct net *allow_loopback(void)
{
	struct net *n = malloc(sizeof(*n));

	must(n && net_parse(n, SLICE_LIT("127.0.0.0/8")) == 0);
	return n;
}

void rig_init(struct rig *r)
{
	static char name[] = "test";

	memset(r, 0, sizeof(*r));
	temporary_name(r->dir, sizeof(r->dir), "session");
	must(mkdtemp(r->dir));
	snprintf(r->log_path, sizeof(r->log_path), "%s/log", r->dir);
	r->qp = (struct queue_params){ .path = r->dir, .max_size = 256u << 20 };
	r->lp = (struct listener_params){
		.name = name,
		.allow = allow_loopback(),
		.nallow = 1,
		.sessions_max = 100,
		.sessions_per_client = 100,
		.command_timeout = 60000,
		.data_timeout = 60000,
		.smtp = { .hostname = "relay.example.test",
			.listener = name,
			.pool = "main",
			.size_max = 64u << 20,
			.recipients_max = 100,
			.line_max = 4096,
			.header_max = 262144,
			.errors_max = 10,
			.received_max = 50,
			.stream_over = 262144,
			.expire = 172800000 },
	};
	r->wp = (struct worker_params){ .outbound_max = 100, .body_memory_max = 64u << 20 };
	must(sem_init(&r->events_there, 0, 0) == 0);
	mpsc_init(&r->events, on_event, &r->events_there);
}

void rig_start(struct rig *r)
{
	struct log_params lp = { .file = r->log_path, .level = LOG_INFO };
	struct addr loopback;
	char error[256] = "";
	int fd;

	must(log_open(&r->log, &lp) == 0);
	if (queue_open(&r->queue, &r->qp, error, sizeof(error)))
		fail_msg("queue: %s", error);
	r->wp.queue = r->queue;
	r->wp.log = r->log;
	r->wp.events = &r->events;
	assert_int_equal(worker_new(&r->worker, &r->wp), 0);
	must(addr_parse(&loopback, SLICE_LIT("127.0.0.1")) == 0);
	must(listen_open(&fd, &loopback, 0, 64, LISTEN_ALONE, &r->port) == 0);
	assert_int_equal(worker_listen(r->worker, &r->lp, fd, r->tls, r->users), 0);
	assert_int_equal(worker_start(r->worker), 0);
}

static void drop_events(struct rig *r)
{
	struct mpsc_node *n = r->events_taken, *next;

	for (int round = 0; round < 2; round++) {
		for (; n; n = next) {
			next = n->next;
			outbound_event_free(
				(struct outbound_event *)(void *)((char *)n -
								  offsetof(struct outbound_event,
									  node)));
		}
		n = mpsc_take_all(&r->events);
	}
	must(!n);
	r->events_taken = NULL;
}

void rig_stop_worker(struct rig *r)
{
	r->worker = worker_free(r->worker);
	r->log = log_close(r->log);
}

void rig_stop(struct rig *r)
{
	char command[256];

	rig_stop_worker(r);
	r->queue = queue_close(r->queue);
	drop_events(r);
	r->tls = tls_context_unref(r->tls);
	r->users = users_unref(r->users);
	sem_destroy(&r->events_there);
	free(r->lp.allow);
	free(r->lp.proxy_from);
	snprintf(command, sizeof(command), "rm -r '%s'", r->dir);
	must(system(command) == 0);
	assert_int_equal(body_memory(), 0);
}

char *rig_log(struct rig *r)
{
	FILE *f = fopen(r->log_path, "r");
	char *text = calloc(1, 1 << 20);

	must(f && text);
	(void)!fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	return text;
}

struct inbound_stats rig_stats(struct rig *r)
{
	struct inbound_stats s;

	worker_inbound_stats(r->worker, &s);
	return s;
}

uint64_t rig_waiting(struct rig *r)
{
	struct queue_stats s;

	queue_stats(r->queue, &s);
	return s.messages;
}

struct message *rig_message(struct rig *r)
{
	struct queue_rcpt_state *states;
	struct message *m;
	uint64_t id = 0;

	assert_int_equal(queue_next_message(r->queue, &id), 0);
	assert_int_equal(queue_load(r->queue, id, &m, &states), 0);
	return m;
}

struct slice rig_content(struct rig *r, uint64_t id)
{
	size_t cap = 64u << 20, n = 0, got = 1;
	char *p;

	if (id == 0)
		assert_int_equal(queue_next_message(r->queue, &id), 0);
	p = malloc(cap);
	must(p);
	while (got > 0) {
		size_t most = cap - n < 65536 ? cap - n : 65536;

		assert_int_equal(queue_body_read(r->queue, id, n, p + n, most, &got), 0);
		n += got;
	}
	return (struct slice){ p, n };
}

bool rig_no_loose(struct rig *r)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_cursor *c;
	MDB_val k, v;
	bool clean = true;
	int rc;

	r->queue = queue_close(r->queue);
	must(mdb_env_create(&env) == 0);
	must(mdb_env_set_maxdbs(env, 16) == 0);
	rc = mdb_env_open(env, r->dir, MDB_RDONLY, 0600);
	if (rc)
		fail_msg("queue file: %s", mdb_strerror(rc));
	must(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0);
	must(mdb_dbi_open(txn, "loose", 0, &dbi) == 0);
	must(mdb_cursor_open(txn, dbi, &c) == 0);
	/* value: bytes(8), dead(1): what is dead goes with the next housekeeping */
	while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0)
		clean = clean && v.mv_size == 9 && ((const char *)v.mv_data)[8] == 1;
	mdb_cursor_close(c);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	return clean;
}
