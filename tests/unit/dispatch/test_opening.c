/* Places of connections that are being opened to hosts that nobody has seen well, in virtual time: a
 * flood of hosts that accept and never greet leaves places to those that do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "../../../relay/dispatch/opening.h"
#include "postern/must.h"

enum { PLACES = 100, START = 1000000, PATIENCE = 300000 };

static ms_t now;

ms_t __wrap_loop_mono(const struct loop *l);
ms_t __wrap_loop_mono(const struct loop *l)
{
	(void)l;
	return now;
}

struct world {
	struct dispatch *d;
	struct connection *all;
	struct host *hosts;
	unsigned n, max;
};

static void init(struct world *w, unsigned max)
{
	now = START;
	*w = (struct world){ .max = max };
	w->d = calloc(1, sizeof(*w->d));
	w->all = calloc(max, sizeof(*w->all));
	w->hosts = calloc(max, sizeof(*w->hosts));
	assert_true(w->d && w->all && w->hosts);
	w->d->p.outbound_max = PLACES;
	for (unsigned i = 0; i < max; i++) {
		char text[40];

		snprintf(text, sizeof(text), "127.%u.%u.1", 1 + i / 250, i % 250);
		must(addr_parse(&w->hosts[i].addr, slice_of(text)) == 0);
		w->all[i].host = &w->hosts[i];
	}
}

static void deinit(struct world *w)
{
	free(w->d->opening.proven);
	free(w->d);
	free(w->all);
	free(w->hosts);
}

/* A domain at this host, whose route came at a time. */
static bool room(const struct world *w, unsigned i, ms_t asked_at)
{
	struct policy_host h = { 0 };
	struct candidate c = { .host = &w->hosts[i] };
	struct domain *m = calloc(1, sizeof(*m) + 1);
	bool ret;

	assert_non_null(m);
	m->nhosts = 1;
	m->hosts = &h;
	m->candidates = &c;
	m->asked_at = asked_at;
	ret = opening_room(w->d, m);
	free(m);
	return ret;
}

static struct client_timeouts begin(struct world *w, unsigned i)
{
	struct client_timeouts t = {
		.connect = PATIENCE, .banner = PATIENCE, .ehlo = PATIENCE, .mail = PATIENCE
	};

	opening_begin(w->d, &w->all[i], &t);
	return t;
}

/* As many as are let in of those that come, the first of them at this time. */
static unsigned flood(struct world *w, unsigned many, ms_t asked_at)
{
	unsigned n = 0;

	while (n < many && w->n < w->max && room(w, w->n, asked_at)) {
		begin(w, w->n++);
		n++;
	}
	return n;
}

static void test_half_of_the_places(void **state)
{
	struct world w;
	unsigned old, late = 0;

	init(&w, 1000);
	/* waiting for long: half without the last quarter of it */
	old = flood(&w, 1000, now - 60000);
	assert_int_equal(old, PLACES / 2 - PLACES / 8);
	/* they stay silent for an hour, and others come all the while */
	for (unsigned s = 0; s < 3600; s++, now += 1000)
		late += flood(&w, 1000, now);
	assert_int_equal(old + late, PLACES / 2);
	assert_false(room(&w, 999, now));
	/* half is there for hosts that were seen well, always */
	w.hosts[998].proven = true;
	assert_true(room(&w, 998, 0));
	begin(&w, 998);
	assert_int_equal(w.d->opening.unproven, PLACES / 2);
	deinit(&w);
}

/* Those that come at once have few of the last places, so who comes a moment later finds one; whoever
 * comes up well gives his back at once. */
static void test_last_places_go_slowly(void **state)
{
	const ms_t each = 5000 / (PLACES / 8);
	struct world w;
	unsigned first;

	init(&w, 1000);
	flood(&w, 1000, now - 60000);
	first = flood(&w, 1000, now);
	assert_int_equal(first, PLACES / 8 / 4);
	assert_false(room(&w, w.n, now));
	/* one of those ends by its time-out: its place is not for the next of the flood at once */
	opening_end(w.d, &w.all[w.n - 1], false);
	assert_false(room(&w, w.n, now));
	now += each;
	assert_true(room(&w, w.n, now));
	assert_false(room(&w, w.n, now - 500)); /* who waits already waits on */
	/* any number of those that come up well, one behind the other */
	for (unsigned i = 0; i < 500; i++) {
		assert_true(room(&w, w.n, now));
		begin(&w, w.n);
		opening_end(w.d, &w.all[w.n++], true);
	}
	assert_true(room(&w, w.n, now));
	deinit(&w);
}

static void test_less_time_while_many_open(void **state)
{
	struct client_timeouts t;
	struct world w;

	init(&w, 1000);
	for (unsigned i = 0; i < PLACES / 4; i++) {
		t = begin(&w, i);
		assert_int_equal(t.banner, PATIENCE);
	}
	t = begin(&w, PLACES / 4);
	assert_int_equal(t.connect, 5000);
	assert_int_equal(t.banner, 5000);
	assert_int_equal(t.ehlo, 5000);
	assert_int_equal(t.mail, PATIENCE);
	/* not for hosts that were seen well */
	w.hosts[500].proven = true;
	assert_int_equal(begin(&w, 500).banner, PATIENCE);
	deinit(&w);
}

/* Known by its address, for the next host there, too; bounded, whoever greets. */
static void test_proven(void **state)
{
	struct world w;
	unsigned known = 0;
	char text[40];

	init(&w, 2);
	assert_false(opening_proven(w.d, &w.hosts[0].addr));
	opening_prove(w.d, &w.hosts[0]);
	assert_true(w.hosts[0].proven);
	assert_true(opening_proven(w.d, &w.hosts[0].addr));
	assert_false(opening_proven(w.d, &w.hosts[1].addr));
	for (unsigned i = 0; i < 100000; i++) {
		struct host h = { 0 };

		snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		must(addr_parse(&h.addr, slice_of(text)) == 0);
		opening_prove(w.d, &h);
		assert_true(opening_proven(w.d, &h.addr));
	}
	for (unsigned i = 0; i < 100000; i++) {
		struct addr a;

		snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		must(addr_parse(&a, slice_of(text)) == 0);
		known += opening_proven(w.d, &a);
	}
	assert_in_range(known, 10000, 16384);
	deinit(&w);
}

/* Counts come back to nothing in whatever order connections end. */
static void test_counts(void **state)
{
	struct world w;
	unsigned n;

	init(&w, 200);
	flood(&w, 200, now - 60000);
	flood(&w, 200, now);
	n = w.n;
	assert_int_equal(w.d->opening.unproven, n);
	for (unsigned i = 0; i < n; i++) {
		unsigned k = i * 7 % n;

		opening_end(w.d, &w.all[k], i % 3 == 0);
		opening_end(w.d, &w.all[k], true); /* told twice: counted once */
	}
	assert_int_equal(w.d->opening.unproven, 0);
	now += 3600000;
	assert_true(room(&w, 0, now));
	assert_int_equal(flood(&w, 200, now - 60000), PLACES / 2 - PLACES / 8);
	deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_of_the_places),
		cmocka_unit_test(test_last_places_go_slowly),
		cmocka_unit_test(test_less_time_while_many_open),
		cmocka_unit_test(test_proven),
		cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
