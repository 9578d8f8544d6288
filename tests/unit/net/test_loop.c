/* Loop threads: mailboxes, hooks, timers, stopping. */
#include "fixture.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_OF_TIMERS 2000

struct timer_row {
	struct loop_timer t;
	struct runner *r;
	ms_t delay, armed_at, fired_at;
	unsigned fired;
};

struct timers {
	struct runner r;
	struct timer_row rows[NUMBER_OF_TIMERS];
	unsigned fired;
};

static void on_timer(void *arg)
{
	struct timer_row *row = arg;
	struct timers *t = (struct timers *)row->r;

	row->fired_at = loop_mono(row->r->loop);
	pthread_mutex_lock(&fixture_lock);
	row->fired++;
	t->fired++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

static void arm_all(void *arg)
{
	struct timers *t = arg;

	for (unsigned i = 0; i < NUMBER_OF_TIMERS; i++) {
		struct timer_row *row = &t->rows[i];

		row->r = &t->r;
		row->delay = i % 800;
		row->armed_at = loop_mono(t->r.loop);
		loop_timer_init(&row->t, on_timer, row);
		/* every third is armed twice, for another time first */
		if (i % 3 == 0)
			loop_timer_arm(t->r.loop, &row->t, 60000);
		loop_timer_arm(t->r.loop, &row->t, row->delay);
		if (i % 5 == 0)
			loop_timer_disarm(t->r.loop, &row->t);
	}
}

/* None early, none twice, none of the disarmed; late by one slot and what the machine's load adds.
 */
static void timers_fire_in_their_slot(void **state)
{
	struct timers *t = calloc(1, sizeof(*t));
	ms_t latest = 0;

	runner_start(&t->r, "timers");
	runner_call(&t->r, arm_all, t);
	WAIT_FOR(t->fired == NUMBER_OF_TIMERS * 4 / 5);
	runner_stop(&t->r, NULL, NULL);
	for (unsigned i = 0; i < NUMBER_OF_TIMERS; i++) {
		struct timer_row *row = &t->rows[i];
		ms_t late = row->fired_at - row->armed_at - row->delay;

		assert_int_equal(row->fired, i % 5 == 0 ? 0 : 1);
		assert_int_equal(row->t.at, 0);
		if (row->fired == 0)
			continue;
		assert_true(late >= 0);
		latest = late > latest ? late : latest;
	}
	assert_in_range(latest, 0, 5000);
	free(t);
}

struct chain {
	struct runner r;
	struct loop_timer self, victim, sibling;
	unsigned rounds, victims;
};

static void on_victim(void *arg)
{
	struct chain *c = arg;

	pthread_mutex_lock(&fixture_lock);
	c->victims++;
	pthread_mutex_unlock(&fixture_lock);
}

static void on_sibling(void *arg)
{
}

static void on_self(void *arg)
{
	struct chain *c = arg;

	/* due in the same slot: disarming it must unlink it from the list being fired */
	loop_timer_disarm(c->r.loop, &c->victim);
	if (c->rounds < 2) {
		loop_timer_arm(c->r.loop, &c->self, 0);
		loop_timer_arm(c->r.loop, &c->victim, 0);
		loop_timer_arm(c->r.loop, &c->sibling, 0);
	}
	pthread_mutex_lock(&fixture_lock);
	c->rounds++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

static void arm_chain(void *arg)
{
	struct chain *c = arg;

	loop_timer_init(&c->self, on_self, c);
	loop_timer_init(&c->victim, on_victim, c);
	loop_timer_init(&c->sibling, on_sibling, c);
	loop_timer_arm(c->r.loop, &c->self, 10);
	loop_timer_arm(c->r.loop, &c->victim, 10);
	loop_timer_arm(c->r.loop, &c->sibling, 10);
}

static void timers_change_each_other(void **state)
{
	struct chain c = { 0 };

	runner_start(&c.r, "chain");
	runner_call(&c.r, arm_chain, &c);
	WAIT_FOR(c.rounds == 3);
	assert_int_equal(c.victims, 0);
	runner_stop(&c.r, NULL, NULL);
}

struct post {
	struct mpsc_node node;
	unsigned producer, number;
};

#define PRODUCERS 4
#define POSTS	  20000

struct mail {
	struct loop *loop;
	struct loop_mailbox boxes[2];
	unsigned got, batches, wrong, next[PRODUCERS];
	unsigned gate; /* the first delivery waits for it */
};

static void on_mail(void *arg, struct mpsc_node *first)
{
	struct mail *m = arg;

	pthread_mutex_lock(&fixture_lock);
	m->batches++;
	while (first) {
		struct post *p = (struct post *)first;

		first = first->next;
		m->wrong += p->number != m->next[p->producer];
		m->next[p->producer] = p->number + 1;
		m->got++;
		free(p);
	}
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

struct producer {
	struct mail *m;
	unsigned number;
};

static void *produce(void *arg)
{
	struct producer *me = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		struct post *p = malloc(sizeof(*p));

		*p = (struct post){ .producer = me->number, .number = i };
		mpsc_post(&me->m->boxes[me->number % 2].mpsc, &p->node);
		if (i % 1000 == 0)
			sched_yield();
	}
	return NULL;
}

static void mailboxes_lose_nothing(void **state)
{
	struct mail m = { 0 };
	struct producer who[PRODUCERS];
	pthread_t threads[PRODUCERS];

	assert_int_equal(loop_new(&m.loop, "mail"), 0);
	loop_mailbox_add(m.loop, &m.boxes[0], on_mail, &m);
	loop_mailbox_add(m.loop, &m.boxes[1], on_mail, &m);
	assert_int_equal(loop_start(m.loop, NULL, NULL), 0);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		who[i] = (struct producer){ &m, i };
		pthread_create(&threads[i], NULL, produce, &who[i]);
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	WAIT_FOR(m.got == PRODUCERS * POSTS);
	loop_stop(m.loop, NULL, NULL);
	assert_int_equal(m.wrong, 0);
	loop_free(m.loop);
}

static void post_hundred(struct mail *m)
{
	for (unsigned i = 0; i < 100; i++) {
		struct post *p = malloc(sizeof(*p));

		*p = (struct post){ .number = i };
		mpsc_post(&m->boxes[0].mpsc, &p->node);
	}
}

static void post_from_the_loop(void *arg)
{
	post_hundred(arg);
}

/* A hundred posts made while the loop is busy arrive as one batch. */
static void mailboxes_deliver_batches(void **state)
{
	struct mail m = { 0 };

	assert_int_equal(loop_new(&m.loop, "batch"), 0);
	loop_mailbox_add(m.loop, &m.boxes[0], on_mail, &m);
	assert_int_equal(loop_start(m.loop, post_from_the_loop, &m), 0);
	WAIT_FOR(m.got == 100);
	assert_int_equal(m.batches, 1);
	assert_int_equal(m.wrong, 0);
	loop_stop(m.loop, NULL, NULL);
	loop_free(m.loop);
}

struct hooks {
	struct runner r;
	struct loop_hook a, b;
	char order[64];
	unsigned n;
	bool on;
};

static void on_hook(struct hooks *h, char who)
{
	pthread_mutex_lock(&fixture_lock);
	if (h->on && h->n < sizeof(h->order) - 1) {
		h->order[h->n++] = who;
		fixture_changed();
	}
	pthread_mutex_unlock(&fixture_lock);
}

static void on_hook_a(void *arg)
{
	on_hook(arg, 'a');
}

static void on_hook_b(void *arg)
{
	on_hook(arg, 'b');
}

static void switch_on(void *arg)
{
	struct hooks *h = arg;

	pthread_mutex_lock(&fixture_lock);
	h->on = true;
	h->order[h->n++] = '!';
	pthread_mutex_unlock(&fixture_lock);
}

static void hooks_run_before_the_loop_sleeps(void **state)
{
	struct hooks h = { 0 };

	assert_int_equal(loop_new(&h.r.loop, "hooks"), 0);
	loop_at_end(h.r.loop, &h.a, on_hook_a, &h);
	loop_at_end(h.r.loop, &h.b, on_hook_b, &h);
	assert_int_equal(loop_start(h.r.loop, switch_on, &h), 0);
	WAIT_FOR(h.n >= 3);
	loop_stop(h.r.loop, NULL, NULL);
	assert_memory_equal(h.order, "!ab", 3);
	loop_free(h.r.loop);
}

static void note_stop(void *arg)
{
	*(unsigned *)arg += 1;
}

static void stops_when_asked(void **state)
{
	struct loop *l;
	unsigned stopped = 0;

	assert_int_equal(loop_new(&l, "stop"), 0);
	/* never started: nothing to stop */
	loop_stop(l, note_stop, &stopped);
	assert_int_equal(stopped, 0);
	assert_int_equal(loop_start(l, NULL, NULL), 0);
	loop_stop(l, note_stop, &stopped);
	assert_int_equal(stopped, 1);
	assert_null(loop_free(l));
	assert_null(loop_free(NULL));
}

static void read_clocks(void *arg)
{
	struct runner *r = arg;

	assert_in_range(clock_wall_ms() - loop_wall(r->loop), 0, 5000);
	assert_in_range(clock_mono_ms() - loop_mono(r->loop) + 10, 0, 5000);
	assert_int_equal(loop_wall(r->loop), loop_wall(r->loop));
}

static void clocks_are_those_of_the_system(void **state)
{
	struct runner r;

	runner_start(&r, "clocks");
	runner_call(&r, read_clocks, &r);
	runner_stop(&r, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_their_slot),
		cmocka_unit_test(timers_change_each_other),
		cmocka_unit_test(mailboxes_lose_nothing),
		cmocka_unit_test(mailboxes_deliver_batches),
		cmocka_unit_test(hooks_run_before_the_loop_sleeps),
		cmocka_unit_test(stops_when_asked),
		cmocka_unit_test(clocks_are_those_of_the_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
