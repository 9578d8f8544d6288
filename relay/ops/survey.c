/* What waits and why, for those who look often: metrics, the page and the history have the figures
 * of one count of the queue, which a thread of its own makes once a minute, and sooner when somebody
 * looks. Started and stopped by the service.
 *
 * Mail goes first: between slices of messages the thread sleeps for four times as long as a slice
 * took, and after a count for REST times as long as the whole, so that a queue of any depth takes a
 * twentieth of a core at most. The figures are as old as that makes them, and say so. */
#include "survey.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "ask.h"
#include "postern/history.h"
#include "postern/ops.h"

#define EVERY_MS  60000 /* unasked: the history's step */
#define SOON_MS	  2000	/* after somebody looked; as old may figures be */
#define REST	  4
#define SLEEP_MAX 1000
#define MANY	  10000u /* recipients */
#define PAIRS	  65536u /* 8 MiB */

struct count {
	atomic_uint refs;
	struct waits *waits;
	ms_t began, ended;
};

struct survey {
	struct queue *queue;
	struct dispatch *dispatch;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* monotonic: stop, or somebody looks */
	bool stop, wanted;
	struct count *latest;
	struct waits_memory *memory; /* the thread's, as is the next */
	ms_t slice_began;	     /* mono; the thread's */
	ms_t ended;		     /* mono */
};

static ms_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (ms_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct count *count_unref(struct count *c)
{
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
		waits_free(c->waits);
		free(c);
	}
	return NULL;
}

/* ---- the thread ---- */

/* Under the lock, until then (mono) or stop; sooner when somebody looks, where that counts. */
static void sleep_until(struct survey *s, ms_t until, bool looked)
{
	const struct timespec t = { until / 1000, until % 1000 * 1000000 };

	while (!s->stop && !(looked && s->wanted) && mono_ms() < until)
		pthread_cond_timedwait(&s->wake, &s->lock, &t);
}

/* After each slice. */
static bool go_on(void *arg)
{
	struct survey *s = arg;
	ms_t now = mono_ms(), rest = REST * (now - s->slice_began);
	bool stop;

	pthread_mutex_lock(&s->lock);
	if (rest > 0)
		sleep_until(s, now + (rest < SLEEP_MAX ? rest : SLEEP_MAX), false);
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	s->slice_began = mono_ms();
	return !stop;
}

static void sample(struct dispatch *d, void *arg)
{
	const struct count *c = arg;
	struct history *h = dispatch_history(d);

	for (size_t i = 0; i < c->waits->nsums; i++) {
		const struct waits_sum *s = &c->waits->sums[i];

		history_waiting(h, s->pool, s->provider, s->reason, s->recipients,
			c->ended > s->oldest ? (uint64_t)(c->ended - s->oldest) / 1000 : 0);
	}
}

static int take(struct survey *s, struct waits **ret)
{
	const struct waits_asked a = { .queue = s->queue,
		.dispatch = s->dispatch,
		.memory = s->memory,
		.pairs_max = PAIRS,
		.go_on = go_on,
		.arg = s };
	struct queue_stats q;

	queue_stats(s->queue, &q);
	s->slice_began = mono_ms();
	if (q.recipients)
		return waits_take(ret, &a);
	*ret = calloc(1, sizeof(**ret)); /* nothing waits: that is known without a reading */
	return *ret ? 0 : -ENOMEM;
}

static void count_once(struct survey *s)
{
	struct count *c = calloc(1, sizeof(*c)), *before;

	if (!c)
		return;
	atomic_init(&c->refs, 1);
	c->began = clock_wall_ms();
	if (take(s, &c->waits)) {
		free(c);
		return; /* the figures stay, and grow old */
	}
	c->ended = clock_wall_ms();
	if (c->waits->recipients >= MANY)
		malloc_trim(
			0); /* what a count of tens of thousands needed is not kept until the next */
	if (c->waits->nsums)
		ask(s->dispatch, sample, c);
	pthread_mutex_lock(&s->lock);
	before = s->latest;
	s->latest = c;
	s->ended = mono_ms();
	pthread_mutex_unlock(&s->lock);
	count_unref(before);
}

static void *run(void *arg)
{
	struct survey *s = arg;
	ms_t began, took;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		s->wanted = false;
		pthread_mutex_unlock(&s->lock);
		began = mono_ms();
		count_once(s);
		took = mono_ms() - began;
		pthread_mutex_lock(&s->lock);
		sleep_until(
			s, began + took + (took > SOON_MS / REST ? REST * took : SOON_MS), false);
		sleep_until(s, began + EVERY_MS, true);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- the others ---- */

static struct survey *survey_free(struct survey *s)
{
	count_unref(s->latest);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->memory);
	free(s);
	return NULL;
}

int survey_start(struct survey **ret, struct queue *queue, struct dispatch *dispatch)
{
	struct survey *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int r = ENOMEM;

	if (!s)
		return -r;
	s->queue = queue;
	s->dispatch = dispatch;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	s->memory = calloc(1, sizeof(*s->memory));
	if (s->memory && getrandom(&s->memory->secret, sizeof(s->memory->secret), 0) > 0)
		r = pthread_create(&s->thread, NULL, run, s);
	if (r)
		survey_free(s);
	else
		*ret = s;
	return -r;
}

struct survey *survey_stop(struct survey *s)
{
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	return survey_free(s);
}

bool survey_look(struct survey *s, struct surveyed *ret)
{
	struct count *c;

	*ret = (struct surveyed){ 0 };
	if (!s)
		return false;
	pthread_mutex_lock(&s->lock);
	c = s->latest;
	if (c) {
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
		*ret = (struct surveyed){ c->waits, c->began, c->ended, mono_ms() - s->ended, c };
	}
	s->wanted = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	return c != NULL;
}

void survey_done(struct surveyed *s)
{
	count_unref(s->count);
	*s = (struct surveyed){ 0 };
}
