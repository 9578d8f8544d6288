/* What comes to the writer: posted jobs and wishes for repairs, how it waits for them, and how long
 * a batch is let grow. The writer's thread, but for the waking. */
#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "queue_impl.h"

/* A batch gathers only when the last one was just now. */
#define GATHER_FRESH_US	  10000u
#define GATHER_STEP_US	  50u
#define GATHER_MANY	  128u
#define GATHER_SHARE	  12u /* sixteenths */
#define GATHER_SHARE_SLOW 15u
#define SLOW_COMMIT_US	  5000u
#define IN_VAIN_PAUSE	  32u /* batches, after one that waited and was not complete */
#define PROBE_EVERY	  32u /* batches */
#define ACTIVE_DECAY	  8u

/* ---- waking ---- */

void queue_wake(void *arg)
{
	struct queue *q = arg;

	pthread_mutex_lock(&q->lock);
	q->woken = true;
	pthread_cond_signal(&q->cond);
	pthread_mutex_unlock(&q->lock);
}

bool queue_ask_fix(struct queue *q, const struct fix *f)
{
	bool room;

	if (q->params.read_only)
		return false;
	pthread_mutex_lock(&q->lock);
	room = q->nfixes < FIXES_MAX;
	if (room) {
		q->fixes[q->nfixes++] = *f;
		q->woken = true;
		pthread_cond_signal(&q->cond);
	}
	pthread_mutex_unlock(&q->lock);
	return room;
}

void inbox_wait(struct queue *q, uint64_t until_us)
{
	const struct timespec until = { .tv_sec = (time_t)(until_us / 1000000u),
		.tv_nsec = (long)(until_us % 1000000u) * 1000 };

	pthread_mutex_lock(&q->lock);
	while (!q->woken && !q->closing) {
		if (!until_us)
			pthread_cond_wait(&q->cond, &q->lock);
		else if (pthread_cond_timedwait(&q->cond, &q->lock, &until) == ETIMEDOUT)
			break;
	}
	q->woken = false;
	pthread_mutex_unlock(&q->lock);
}

/* ---- job lists ---- */

static struct queue_job *job_of(struct mpsc_node *n)
{
	return (struct queue_job *)((char *)n - offsetof(struct queue_job, node));
}

static void jobs_add(struct job_list *l, struct mpsc_node *n)
{
	n->next = NULL;
	if (l->last)
		l->last->next = n;
	else
		l->first = n;
	l->last = n;
	l->n++;
	l->mail += job_of(n)->kind == QUEUE_ACCEPT;
}

struct queue_job *jobs_first(const struct job_list *l)
{
	return job_of(l->first);
}

struct queue_job *jobs_take(struct job_list *l)
{
	struct mpsc_node *n = l->first;

	l->first = n->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	l->mail -= job_of(n)->kind == QUEUE_ACCEPT;
	return job_of(n);
}

static bool may_wait(const struct queue *q, struct queue_job *j)
{
	const struct queue_state_put *put =
		(const struct queue_state_put *)((const char *)j -
						 offsetof(struct queue_state_put, job));

	return j->kind == QUEUE_STATE && !put->urgent && q->lazy.n < LAZY_MAX;
}

/* What was learned must not overtake what was learned before it. */
static void lazy_goes(struct queue *q)
{
	while (q->lazy.n > 0)
		jobs_add(&q->todo, &jobs_take(&q->lazy)->node);
}

static struct job_list *list_for(struct queue *q, enum queue_job_kind kind)
{
	if (kind == QUEUE_SETTLE)
		return &q->outcomes;
	return kind == QUEUE_FLAG || kind == QUEUE_FENCE ? &q->later : &q->todo;
}

uint32_t inbox_waiting(const struct queue *q)
{
	return q->todo.n + q->outcomes.n;
}

void inbox_collect(struct queue *q)
{
	struct mpsc_node *n = mpsc_take_all(&q->inbox);

	while (n) {
		struct mpsc_node *next = n->next;

		if (may_wait(q, job_of(n))) {
			if (q->lazy.n == 0)
				q->lazy_since_us = clock_mono_us();
			jobs_add(&q->lazy, n);
		} else {
			if (job_of(n)->kind == QUEUE_STATE)
				lazy_goes(q);
			jobs_add(list_for(q, job_of(n)->kind), n);
		}
		n = next;
	}
	if (q->todo.mail > 0)
		q->mail_us = clock_mono_us();
}

static bool is_slow(const struct queue *q)
{
	return q->commit_us > SLOW_COMMIT_US;
}

/* Half of gather_us for a few, and up to one and a half for many: there is more to gain, and more
 * who lag. On a slow disk up to most of a commit. */
static uint64_t gather_time(const struct queue *q)
{
	uint64_t many = q->active < GATHER_MANY ? q->active : GATHER_MANY;

	if (q->params.gather_us == 0 || (is_slow(q) && q->in_vain > 0))
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
static bool gathered(const struct queue *q)
{
	if (is_slow(q))
		return q->todo.mail >= q->senders * GATHER_SHARE_SLOW / 16;
	return inbox_waiting(q) >= q->active * GATHER_SHARE / 16;
}

/* On a slow disk nothing is counted afresh: there what was forgets itself. */
static uint32_t recent_max(const struct queue *q, uint32_t before, uint32_t now)
{
	if (is_slow(q))
		before -= before / ACTIVE_DECAY;
	return before > now ? before : now;
}

void inbox_count(struct queue *q)
{
	inbox_collect(q);
	if (q->probing)
		q->active = q->senders = 0;
	q->active = recent_max(q, q->active, q->last_batch + inbox_waiting(q));
	q->senders = recent_max(q, q->senders, q->last_mail + q->todo.mail);
}

/* Now and then the time is waited out, and who is at work counted afresh. Where a commit takes next
 * to no time nobody comes during it, and small batches would pass for all there is. */
static bool probes(struct queue *q, bool busy)
{
	if (!busy || is_slow(q)) {
		q->until_probe = 0;
		return false;
	}
	if (q->until_probe > 0) {
		q->until_probe--;
		return false;
	}
	q->until_probe = PROBE_EVERY;
	return true;
}

/* Lets a batch grow, as long as gather_time allows. Looks at times instead of being woken for each
 * job: the producers post into a box that is not empty, which costs them nothing. */
void inbox_gather(struct queue *q)
{
	const struct timespec step = { .tv_nsec = GATHER_STEP_US * 1000 };
	uint64_t began = clock_mono_us(), now = began, until;
	bool busy = q->last_batch >= 2 && now - q->last_commit_us <= GATHER_FRESH_US;

	q->probing = probes(q, busy);
	until = began + gather_time(q);
	while (busy && (q->probing || !gathered(q)) && now < until) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
		inbox_collect(q);
		now = clock_mono_us();
	}
	if (q->in_vain > 0)
		q->in_vain--;
	else if (is_slow(q) && until > began && now >= until)
		q->in_vain = IN_VAIN_PAUSE;
	q->last_batch = inbox_waiting(q);
	q->last_mail = q->todo.mail;
}
