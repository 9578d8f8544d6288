/* How long a batch is let grow: most of those who are at work are waited for, as long as that pays.
 *
 * Called by the writer, on its thread, but for gather_posted. While the writer sleeps here nobody
 * empties the inbox, so the producers post into a box that is not empty and wake nobody; the one
 * whose jobs make the batch complete does. The order that makes no wake-up be missed: a producer
 * counts its jobs, then reads wake_at; the writer sets wake_at, then reads the count (both
 * sequentially consistent: one of them sees the other). */
#include "gather.h"

#include <errno.h>
#include <time.h>

#include "queue_impl.h"

/* A batch gathers only when the last one was just now. */
#define GATHER_FRESH_US	  10000u
#define GATHER_MANY	  128u
#define GATHER_SHARE	  12u /* sixteenths */
#define GATHER_SHARE_SLOW 15u
#define SLOW_COMMIT_US	  5000u
#define IN_VAIN_PAUSE	  32u /* batches, after one that waited and was not complete */
#define PROBE_EVERY	  32u /* batches */
#define ACTIVE_DECAY	  8u

/* ---- sleeping until enough is here ---- */

void gather_init(struct gather *g, const pthread_condattr_t *monotonic)
{
	atomic_init(&g->posted, 0);
	atomic_init(&g->wake_at, UINT64_MAX);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->cond, monotonic);
}

void gather_deinit(struct gather *g)
{
	pthread_cond_destroy(&g->cond);
	pthread_mutex_destroy(&g->lock);
}

void gather_posted(struct gather *g, uint64_t n)
{
	uint64_t posted = atomic_fetch_add(&g->posted, n) + n, at = atomic_load(&g->wake_at);

	/* of several who pass the mark one wakes */
	if (posted < at || !atomic_compare_exchange_strong(&g->wake_at, &at, UINT64_MAX))
		return;
	pthread_mutex_lock(&g->lock);
	g->woken = true;
	pthread_cond_signal(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

/* Until so many jobs were posted in all, or the time is over. */
static void sleep_until(struct gather *g, uint64_t posted, uint64_t until_us)
{
	const struct timespec until = { .tv_sec = (time_t)(until_us / 1000000u),
		.tv_nsec = (long)(until_us % 1000000u) * 1000 };

	pthread_mutex_lock(&g->lock);
	g->woken = false;
	atomic_store(&g->wake_at, posted);
	while (!g->woken && atomic_load(&g->posted) < posted)
		if (pthread_cond_timedwait(&g->cond, &g->lock, &until) == ETIMEDOUT)
			break;
	atomic_store(&g->wake_at, UINT64_MAX);
	pthread_mutex_unlock(&g->lock);
}

/* ---- how long, for whom ---- */

static bool is_slow(const struct queue *q)
{
	return q->commit_us > SLOW_COMMIT_US;
}

/* Half of gather_us for a few, and up to one and a half for many: there is more to gain, and more
 * who lag. On a slow disk up to most of a commit. */
static uint64_t gather_time(const struct queue *q)
{
	const struct gather *g = &q->gather;
	uint64_t many = g->active < GATHER_MANY ? g->active : GATHER_MANY;

	if (q->params.gather_us == 0 || (is_slow(q) && g->in_vain > 0))
		return 0;
	if (is_slow(q))
		return q->commit_us / 4 * 3;
	return q->params.gather_us / 2 + q->params.gather_us * many / GATHER_MANY +
	       q->commit_us / 4;
}

/* What was in the last batch and what came during its commit are together about all who are at
 * work; when three quarters of them are here it goes: the others make up the next one. Waiting for
 * all costs a third of the throughput, for half of them twice the syncs.
 *
 * On a slow disk who misses a commit loses two: all who bring mail are waited for. That pays as
 * long as they are back sooner than a commit takes; where they are not, two halves that take turns
 * are faster, and these form by themselves when nothing is waited for. */
static uint32_t missing(const struct queue *q)
{
	const struct gather *g = &q->gather;
	uint32_t want =
		is_slow(q) ? g->senders * GATHER_SHARE_SLOW / 16 : g->active * GATHER_SHARE / 16;
	uint32_t have = is_slow(q) ? q->todo.mail : inbox_waiting(q);

	return want > have ? want - have : 0;
}

/* On a slow disk nothing is counted afresh: there what was forgets itself. */
static uint32_t recent_max(const struct queue *q, uint32_t before, uint32_t now)
{
	if (is_slow(q))
		before -= before / ACTIVE_DECAY;
	return before > now ? before : now;
}

void gather_count(struct queue *q)
{
	struct gather *g = &q->gather;

	inbox_collect(q);
	if (g->probing)
		g->active = g->senders = 0;
	g->active = recent_max(q, g->active, g->last_batch + inbox_waiting(q));
	g->senders = recent_max(q, g->senders, g->last_mail + q->todo.mail);
}

/* Now and then the time is waited out, and who is at work counted afresh. Where a commit takes next
 * to no time nobody comes during it, and small batches would pass for all there is. */
static bool probes(struct queue *q, bool busy)
{
	struct gather *g = &q->gather;

	if (!busy || is_slow(q)) {
		g->until_probe = 0;
		return false;
	}
	if (g->until_probe > 0) {
		g->until_probe--;
		return false;
	}
	g->until_probe = PROBE_EVERY;
	return true;
}

void gather_batch(struct queue *q)
{
	struct gather *g = &q->gather;
	uint64_t began = clock_mono_us(), now = began, until;
	bool busy = g->last_batch >= 2 && now - q->last_commit_us <= GATHER_FRESH_US;

	g->probing = probes(q, busy);
	until = began + gather_time(q);
	while (busy && now < until && (g->probing || missing(q) > 0)) {
		sleep_until(g, g->probing ? UINT64_MAX : g->taken + missing(q), until);
		inbox_collect(q);
		now = clock_mono_us();
	}
	if (g->in_vain > 0)
		g->in_vain--;
	else if (is_slow(q) && until > began && now >= until)
		g->in_vain = IN_VAIN_PAUSE;
	g->last_batch = inbox_waiting(q);
	g->last_mail = q->todo.mail;
}
