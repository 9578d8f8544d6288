/* What comes to the writer: posted jobs and wishes for repairs, and how it waits for them. The
 * writer's thread, but for the waking. How long a batch is let grow: gather.c. */
#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "postern/list.h"
#include "queue_impl.h"

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
	room = q->fixes.n < FIXES_MAX;
	if (room) {
		q->fixes.all[q->fixes.n++] = *f;
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
	return container(n, struct queue_job, node);
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

		q->gather.taken++;
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
