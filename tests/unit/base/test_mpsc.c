/* Mailboxes: order, batches, one wake-up, many producers at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "postern/mpsc.h"

#define PRODUCERS 4
#define EACH	  20000

struct item {
	struct mpsc_node node; /* first: a node is its item */
	unsigned producer, number;
};

static void count_wake(void *arg)
{
	++*(unsigned *)arg;
}

static void test_order_and_wake(void **state)
{
	struct item items[6] = { { .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 },
		{ .number = 4 }, { .number = 5 } };
	struct mpsc_batch batch = { 0 };
	struct mpsc_node *n;
	unsigned wakes = 0;
	struct mpsc q;

	mpsc_init(&q, count_wake, &wakes);
	assert_true(mpsc_empty(&q));
	assert_null(mpsc_take_all(&q));
	mpsc_post(&q, &items[0].node);
	assert_int_equal(wakes, 1);
	mpsc_post(&q, &items[1].node);
	for (int i = 2; i < 5; i++)
		mpsc_batch_add(&batch, &items[i].node);
	mpsc_batch_post(&batch, &q);
	assert_null(batch.first);
	mpsc_batch_post(&batch, &q); /* empty: nothing happens */
	mpsc_batch_add(&batch, &items[5].node);
	mpsc_batch_post(&batch, &q);
	assert_int_equal(wakes, 1); /* not empty in between: one wake is enough */
	assert_false(mpsc_empty(&q));
	n = mpsc_take_all(&q);
	for (unsigned i = 0; i < 6; i++) {
		assert_non_null(n);
		assert_int_equal(((struct item *)n)->number, i);
		n = n->next;
	}
	assert_null(n);
	assert_true(mpsc_empty(&q));
	mpsc_post(&q, &items[3].node);
	assert_int_equal(wakes, 2);
	assert_ptr_equal(mpsc_take_all(&q), &items[3].node);
}

struct producer {
	struct mpsc *q;
	unsigned id;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	struct mpsc_batch batch = { 0 };

	for (unsigned i = 0; i < EACH; i++) {
		struct item *it = calloc(1, sizeof(*it));

		if (!it)
			abort();
		it->producer = p->id;
		it->number = i;
		if (i % 3 == 0) {
			mpsc_batch_post(&batch, p->q);
			mpsc_post(p->q, &it->node);
		} else {
			mpsc_batch_add(&batch, &it->node);
		}
	}
	mpsc_batch_post(&batch, p->q);
	return NULL;
}

static void post_semaphore(void *arg)
{
	sem_post(arg);
}

/* Nothing is lost or doubled, each producer's order stays, and a wake is never missing: the
 * consumer here sleeps until woken, so a lost one would hang the test. */
static void test_threads(void **state)
{
	struct producer producers[PRODUCERS];
	pthread_t threads[PRODUCERS];
	unsigned next[PRODUCERS] = { 0 }, left = PRODUCERS * EACH;
	struct mpsc q;
	sem_t sem;

	sem_init(&sem, 0, 0);
	mpsc_init(&q, post_semaphore, &sem);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct producer){ .q = &q, .id = i };
		assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
	}
	while (left > 0) {
		struct mpsc_node *n;

		while (sem_wait(&sem) && errno == EINTR)
			;
		n = mpsc_take_all(&q);
		while (n) {
			struct item *it = (struct item *)n;

			n = n->next;
			assert_int_equal(it->number, next[it->producer]++);
			free(it);
			left--;
		}
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(mpsc_empty(&q));
	sem_destroy(&sem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_wake),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
