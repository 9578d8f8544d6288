/* The queue's life and its front door: open, start of the writer's thread, ids, posting of jobs,
 * statistics, close. Any thread may post and ask; open and close are the owner's.
 *
 * Close lets the writer answer all that was posted before, then joins it. Ids are given out
 * without a lock, from a block that the writer reserved on disk, so that none is given out twice,
 * not even after a kill. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"
#include "queue_impl.h"
#include "schema.h"

#define BATCH_DEFAULT 4096u
#define RESERVE_MIN   (4u << 20)

/* ---- ids ----
 * wall milliseconds * 2^20 at the start, then counted up: longer than 2^20 a millisecond nobody
 * asks. What was given out is covered by a limit on disk, written ahead in large steps, so that
 * neither kill -9 nor a clock set back leads to the same id again; a queue rebuilt from nothing has
 * the clock. */

uint64_t queue_new_id(struct queue *q)
{
	uint64_t id = atomic_fetch_add_explicit(&q->next_id, 1, memory_order_relaxed);

	if (id + QUEUE_ID_BLOCK / 2 > atomic_load_explicit(&q->id_limit, memory_order_relaxed) &&
		!atomic_exchange(&q->ids_short, true))
		queue_wake(q);
	return id;
}

static int ids_begin(struct queue *q)
{
	uint64_t next = (uint64_t)clock_wall_ms() << 20;
	struct qtxn *t = &q->txn;
	int r = qtxn_begin(t, 0);

	if (r)
		return r;
	if (next < t->totals.id_limit)
		next = t->totals.id_limit;
	t->totals.id_limit = next + QUEUE_ID_BLOCK;
	t->first_id = next;
	t->dirty = true;
	atomic_init(&q->next_id, next);
	atomic_init(&q->id_limit, t->totals.id_limit);
	q->now = q->stats;
	return qtxn_commit(t);
}

/* ---- life ---- */

static uint64_t default_reserve(const struct queue_params *p)
{
	uint64_t n = p->reserve ? p->reserve : p->max_size / 64;

	return n < RESERVE_MIN ? RESERVE_MIN : n;
}

uint64_t queue_room(const struct queue_params *p)
{
	uint64_t reserve = default_reserve(p);

	return p->max_size > reserve ? p->max_size - reserve : 0;
}

/* A chunk has a page to itself unless two would fit into one. */
#define OWN_PAGE   2000u
#define CHUNK_KEY  51u	/* bytes in the tree for each chunk; measured, as is */
#define RECORDS	   275u /* what a message has in it besides */
#define CHUNK_PAGE 4096u

uint64_t queue_footprint(uint64_t bytes)
{
	uint64_t chunks = bytes / BODY_CHUNK, end = bytes % BODY_CHUNK;

	if (end > OWN_PAGE) {
		chunks++;
		end = 0;
	}
	return chunks * (CHUNK_PAGE + CHUNK_KEY) + end + RECORDS;
}

static int start_writer(struct queue *q)
{
	sigset_t all, before;
	int r;

	q->batch_max = q->params.batch_max ? q->params.batch_max : BATCH_DEFAULT;
	q->batch = calloc(q->batch_max, sizeof(struct queue_job *));
	if (!q->batch)
		return -ENOMEM;
	r = ids_begin(q);
	if (r)
		return r;
	q->loose_waits = true; /* bodies that the last run left */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&q->thread, NULL, queue_writer, q);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	q->started = r == 0;
	return -r;
}

static int read_stats(struct queue *q)
{
	struct totals t = { 0 };
	MDB_txn *txn;
	int r = store_read(&q->store, &txn);

	if (r)
		return r;
	r = store_totals(&q->store, txn, &t);
	q->stats.messages = t.messages;
	q->stats.recipients = t.recipients;
	q->stats.content_bytes = t.bytes;
	q->stats.bytes_used = store_pages_used(&q->store, txn) * q->store.page_size;
	q->stats.bytes_max = q->store.map_size;
	store_read_end(&q->store, txn);
	return r;
}

int queue_open(struct queue **ret, const struct queue_params *p, char *error, size_t error_max)
{
	const struct complaint c = { error, error_max };
	struct queue *q = calloc(1, sizeof(*q));
	pthread_condattr_t attr;
	int r;

	if (!q)
		return complain(&c, -ENOMEM, "%s: out of memory", p->path);
	q->params = *p;
	q->params.path = NULL; /* the caller's; store has its own copy */
	q->reserve = default_reserve(p);
	q->readers.txn = q->readers_seen.txn = UINT64_MAX;
	mpsc_init(&q->inbox, queue_wake, q);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->cond, &attr);
	gather_init(&q->gather, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&q->lock, NULL);
	r = qtxn_init(&q->txn, &q->store);
	if (r)
		complain(&c, r, "%s: out of memory", p->path);
	else
		r = store_open(&q->store, p, &schema_current, &c);
	if (r)
		goto out;
	r = read_stats(q);
	if (!r)
		r = sweep_load(q);
	if (!r && !p->read_only)
		r = start_writer(q);
	if (r) {
		complain(&c, r, "%s: cannot begin: %s", q->store.file, strerror(-r));
		goto out;
	}
	*ret = q;
	q = NULL;
out:
	queue_close(q);
	return r;
}

struct queue *queue_close(struct queue *q)
{
	if (!q)
		return NULL;
	if (q->started) {
		pthread_mutex_lock(&q->lock);
		q->closing = true;
		pthread_cond_signal(&q->cond);
		pthread_mutex_unlock(&q->lock);
		must(pthread_join(q->thread, NULL) == 0);
	}
	qtxn_deinit(&q->txn);
	young_domains_free(q->sweep.domains, q->sweep.n);
	store_close(&q->store);
	gather_deinit(&q->gather);
	pthread_cond_destroy(&q->cond);
	pthread_mutex_destroy(&q->lock);
	free(q->batch);
	free(q);
	return NULL;
}

void queue_set_fresh(struct queue *q, struct mpsc *fresh)
{
	atomic_store(&q->fresh, fresh);
}

/* ---- posting ---- */

void queue_post(struct queue *q, struct queue_job *job)
{
	must(!q->params.read_only);
	mpsc_post(&q->inbox, &job->node);
	gather_posted(&q->gather, 1);
}

void queue_post_batch(struct queue *q, struct mpsc_batch *b)
{
	uint64_t n = 0;

	must(!q->params.read_only);
	for (struct mpsc_node *node = b->first; node; node = node->next)
		n++;
	mpsc_batch_post(b, &q->inbox);
	gather_posted(&q->gather, n);
}

void queue_stats(struct queue *q, struct queue_stats *ret)
{
	uint64_t answered, posted;

	pthread_mutex_lock(&q->lock);
	*ret = q->stats;
	readers_told(&q->readers_seen, ret);
	ret->refused = q->refused.n;
	ret->refused_error = q->refused.error;
	ret->refused_ago_ms = q->refused.error ? (clock_mono_us() - q->refused.at_us) / 1000 : 0;
	pthread_mutex_unlock(&q->lock);
	/* a job is answered before it is counted as posted when the writer is quick */
	answered = atomic_load_explicit(&q->answered, memory_order_relaxed);
	posted = atomic_load_explicit(&q->gather.posted, memory_order_relaxed);
	ret->waiting_jobs = posted > answered ? posted - answered : 0;
}
