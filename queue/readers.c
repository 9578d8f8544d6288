/* Who reads the queue's file. A read transaction keeps the state it began with, and all pages that
 * were freed since: one that lasts, or that a process left behind when it was killed, makes a queue
 * full that has few messages in it. Called by the writer, on its thread, at most once a second and
 * when space has run out; what it finds is told by queue_stats. */
#include <inttypes.h>
#include <stdio.h>

#include "queue_impl.h"

#define LOOK_US	 1000000u
#define CLEAR_US 5000000u
#define LASTS_MS 2000u /* shorter ones are nothing to tell of */

struct oldest {
	uint64_t txn;
	int pid;
};

/* A line of mdb_reader_list: process, thread, transaction or "-". */
static int read_line(const char *line, void *arg)
{
	struct oldest *o = arg;
	uint64_t txn;
	int pid;

	if (sscanf(line, "%d %*s %" SCNu64, &pid, &txn) == 2 && txn < o->txn)
		*o = (struct oldest){ txn, pid };
	return 0;
}

int readers_clear(struct queue *q)
{
	int dead = 0;

	q->readers.clear_us = clock_mono_us() + CLEAR_US;
	if (!q->store.env || mdb_reader_check(q->store.env, &dead))
		return 0;
	return dead;
}

bool readers_look(struct queue *q)
{
	struct readers *r = &q->readers;
	struct oldest o = { .txn = UINT64_MAX };
	uint64_t now = clock_mono_us();
	MDB_envinfo info;

	if (now < r->look_us || !q->store.env)
		return false;
	r->look_us = now + LOOK_US;
	if (now >= r->clear_us)
		readers_clear(q);
	if (mdb_env_info(q->store.env, &info) || mdb_reader_list(q->store.env, read_line, &o) < 0)
		return true;
	if (o.txn >= info.me_last_txnid) /* it keeps nothing that we have freed */
		o = (struct oldest){ .txn = UINT64_MAX };
	else if (o.txn != r->txn || o.pid != r->pid)
		r->since_us = now;
	r->txn = o.txn;
	r->pid = o.pid;
	return true;
}

void readers_told(const struct readers *r, struct queue_stats *ret)
{
	uint64_t ms = r->txn == UINT64_MAX ? 0 : (clock_mono_us() - r->since_us) / 1000;

	ret->reader_ms = ms >= LASTS_MS ? ms : 0;
	ret->reader_pid = ret->reader_ms ? r->pid : 0;
}
