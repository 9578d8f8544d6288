/* Places for connections to hosts that nobody has seen well, in virtual time: a flood of hosts that
 * accept and never greet leaves places to those that do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/opening.h"
#include "postern/rng.h"

enum { OUTBOUND = 100, PLACES = OUTBOUND / 2, START = 1000000, HOSTS = 4000, GREETS = 20 };

struct host {
	struct opening_place place;
	struct list waiter;
	struct addr addr;
	bool good, well; /* greets; has */
	unsigned party, tries;
	ms_t come, done, slow; /* slow: until it greets */
};

struct world {
	struct opening o;
	struct opening_party parties[HOSTS];
	struct host all[HOSTS];
	ms_t now;
};

static struct world *new_world(void)
{
	struct world *w = calloc(1, sizeof(*w));
	char text[40];

	assert_non_null(w);
	w->now = START;
	opening_init(&w->o);
	opening_limit(&w->o, OUTBOUND);
	for (unsigned i = 0; i < HOSTS; i++) {
		snprintf(text, sizeof(text), "127.%u.%u.1", 1 + i / 250, i % 250);
		must(addr_parse(&w->all[i].addr, slice_of(text)) == 0);
		list_init(&w->all[i].waiter);
		w->all[i].come = START;
		w->all[i].slow = GREETS;
	}
	return w;
}

static void free_world(struct world *w)
{
	opening_deinit(&w->o);
	free(w);
}

static struct opening_ask ask_of(struct world *w, const struct host *h)
{
	return (struct opening_ask){
		.party = &w->parties[h->party],
		.proven = opening_proven(&w->o, &h->addr),
		.silent = opening_silent(&w->o, &h->addr) > 0,
		.busy = h->place.held,
		.since = h->come,
	};
}

static bool ask(struct world *w, struct host *h)
{
	struct opening_ask a = ask_of(w, h);

	if (!opening_room(&w->o, &a, w->now))
		return false;
	if (!a.proven)
		opening_begin(&w->o, &h->place, &w->parties[h->party], &h->addr, w->now);
	return true;
}

/* ---- one at a time ---- */

/* As many as get a place of those from this one on, all of that party. */
static unsigned flood(struct world *w, unsigned from, unsigned many, unsigned party, ms_t come)
{
	unsigned n = 0;

	while (n < many && from + n < HOSTS) {
		w->all[from + n].party = party;
		w->all[from + n].come = come;
		if (!ask(w, &w->all[from + n]))
			break;
		n++;
	}
	return n;
}

static void test_half_of_the_places(void **state)
{
	struct world *w = new_world();
	unsigned n = flood(w, 0, 1000, 0, w->now - 60000);

	/* waiting for long: half without the last quarter of it */
	assert_int_equal(n, PLACES - PLACES / 4);
	/* they stay silent for an hour, and others come all the while: never the last eighth */
	for (unsigned s = 0; s < 3600; s++, w->now += 1000)
		n += flood(w, n, 1000, 0, w->now);
	assert_int_equal(n, PLACES - PLACES / 8);
	/* other parties come: these are there for them, one after the other */
	for (unsigned p = 1; p < 3600; p++, w->now += 1000)
		n += flood(w, n, 1, p, w->now);
	assert_int_equal(n, PLACES);
	assert_int_equal(flood(w, n, 1, 0, w->now), 0);
	/* half is there for hosts that were seen well, always */
	assert_true(opening_room(&w->o, &(struct opening_ask){ .proven = true }, w->now));
	free_world(w);
}

static void test_last_places_go_slowly(void **state)
{
	struct world *w = new_world();
	unsigned n = flood(w, 0, 1000, 0, w->now - 60000), first;

	first = flood(w, n, 1000, 0, w->now);
	assert_int_equal(first, (PLACES / 8 + 3) / 4);
	n += first;
	/* one of those ends by its time-out: its place is not for the next of the flood at once */
	opening_end(&w->o, &w->all[n - 1].place, OPENING_IS_SILENT);
	assert_int_equal(flood(w, n, 1, 0, w->now), 0);
	w->now += 1000 / (PLACES / 8);
	assert_int_equal(flood(w, n, 1, 0, w->now - 500), 0); /* who waits already waits on */
	/* any number of those that are well, one behind the other */
	for (unsigned i = 0; i < 500; i++, n++) {
		assert_int_equal(flood(w, n, 1, 0, w->now), 1);
		opening_end(&w->o, &w->all[n].place, OPENING_WELL);
		assert_true(opening_proven(&w->o, &w->all[n].addr));
	}
	free_world(w);
}

/* Whoever has many places leaves some to each other party, and two that have many leave some to
 * who has just come. */
static void test_parties(void **state)
{
	struct world *w = new_world();
	unsigned n = 0, got[3] = { 0 };

	got[0] = flood(w, 0, 200, 0, w->now - 60000);
	got[1] = flood(w, 200, 200, 1, w->now - 60000);
	assert_int_equal(got[0], PLACES - PLACES / 4);
	assert_in_range(got[1], PLACES / 8, PLACES / 4);
	n = flood(w, 400, 200, 2, w->now - 60000);
	assert_int_equal(n, 0);
	for (unsigned s = 0; s < 3; s++, w->now += 1000)
		got[2] += flood(w, 400 + got[2], 200, 2, w->now);
	assert_in_range(got[2], 3, PLACES / 8);
	/* a party gives back: it is not the one that has most who takes it */
	for (unsigned i = 0; i < got[0]; i++)
		opening_end(&w->o, &w->all[i].place, OPENING_OTHER);
	assert_true(flood(w, 600, 200, 2, w->now - 60000) > 5);
	free_world(w);
}

/* A first try is as long as hosts that are well need; then longer each time; and as long as it
 * likes where there is room. */
static void test_patience(void **state)
{
	static const ms_t want[] = { 5000, 15000, 45000, 45000, 45000 };
	struct world *w = new_world();
	struct host *h = &w->all[2000];
	unsigned n = flood(w, 0, PLACES / 2, 0, w->now);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(w->all[i].place.patience, i < PLACES / 8 ? 0 : 5000);
	assert_true(ask(w, &w->all[n]));
	assert_int_equal(w->all[n].place.patience, 1000); /* nothing is known yet */
	for (unsigned i = 0; i < 20; i++)
		opening_up(&w->o, &w->all[i].place, w->now + 700);
	assert_true(ask(w, &w->all[n + 1]));
	assert_in_range(w->all[n + 1].place.patience, 700, 1000);
	for (unsigned i = 0; i < 100; i++)
		opening_up(&w->o, &w->all[20].place, w->now + 1 + i % 3);
	assert_true(ask(w, &w->all[n + 2]));
	assert_int_equal(w->all[n + 2].place.patience, 500); /* never less */
	h->party = 1;
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		opening_begin(&w->o, &h->place, NULL, &h->addr, w->now);
		opening_end(&w->o, &h->place, OPENING_IS_SILENT);
		assert_int_equal(opening_silent(&w->o, &h->addr), i + 1);
		assert_true(ask(w, h));
		assert_true(h->place.slow);
		assert_int_equal(h->place.patience, want[i]);
		opening_end(&w->o, &h->place, OPENING_OTHER);
	}
	for (unsigned i = 0; i < n + 3; i++)
		opening_end(&w->o, &w->all[i].place, OPENING_OTHER);
	assert_true(ask(w, h));
	assert_int_equal(h->place.patience, 0);
	opening_end(&w->o, &h->place, OPENING_WELL);
	assert_int_equal(opening_silent(&w->o, &h->addr), 0);
	free_world(w);
}

/* The silent have half of the places at most, and one at a time while these are short. */
static void test_slow_lane(void **state)
{
	struct world *w = new_world();
	struct opening_ask busy = { .busy = true };
	unsigned n = 0;

	for (unsigned i = 0; i < 1000; i++) {
		opening_begin(&w->o, &w->all[i].place, NULL, &w->all[i].addr, w->now);
		opening_end(&w->o, &w->all[i].place, OPENING_IS_SILENT);
	}
	assert_true(opening_room(&w->o, &busy, w->now));
	for (unsigned i = 0; i < 1000; i++)
		n += ask(w, &w->all[i]);
	assert_int_equal(n, PLACES / 4);
	assert_int_equal(w->o.slow, n);
	assert_true(flood(w, 2000, 100, 1, w->now) > PLACES / 8);
	assert_false(opening_room(&w->o, &busy, w->now));
	free_world(w);
}

/* Known by its address; bounded, whoever greets. */
static void test_tables_are_bounded(void **state)
{
	struct world *w = new_world();
	struct opening_place place = { 0 };
	unsigned known = 0;
	struct addr a;
	char text[40];

	for (unsigned i = 0; i < 200000; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u", i % 100000 >> 16, i % 100000 >> 8 & 255,
			i & 255);
		must(addr_parse(&a, slice_of(text)) == 0);
		if (i >= 100000) {
			known += opening_proven(&w->o, &a);
			continue;
		}
		opening_begin(&w->o, &place, NULL, &a, w->now);
		opening_end(&w->o, &place, OPENING_WELL);
		assert_true(opening_proven(&w->o, &a));
	}
	assert_in_range(known, 5000, 16384);
	free_world(w);
}

/* ---- a world in virtual time ---- */

/* One that waits asks again, as the dispatcher has it. */
static void look(struct world *w)
{
	struct list *l;

	for (unsigned n = 0; n < 4 && (l = opening_next(&w->o)); n++) {
		struct host *h = container(l, struct host, waiter);
		struct opening_ask a = ask_of(w, h);

		if (!ask(w, h))
			opening_wait(&w->o, &a, &h->waiter);
	}
}

static void leave(struct world *w, struct host *h, enum opening_end how)
{
	if (how == OPENING_WELL) {
		opening_up(&w->o, &h->place, w->now);
		h->well = true;
		h->done = w->now;
	}
	opening_end(&w->o, &h->place, how);
	h->tries++;
	look(w);
	if (how != OPENING_WELL) {
		struct opening_ask a = ask_of(w, h);

		if (!ask(w, h))
			opening_wait(&w->o, &a, &h->waiter);
	}
}

static void run(struct world *w, unsigned n, ms_t until)
{
	for (ms_t end = w->now + until; w->now < end; w->now += 5)
		for (unsigned i = 0; i < n; i++) {
			struct host *h = &w->all[i];
			ms_t most = h->place.patience ? h->place.patience : 60000;
			ms_t age = w->now - h->place.begun;

			if (w->now < h->come || h->well)
				continue;
			if (!h->place.held && !h->tries && list_empty(&h->waiter)) {
				struct opening_ask a = ask_of(w, h);

				if (!ask(w, h))
					opening_wait(&w->o, &a, &h->waiter);
			} else if (h->place.held && h->good && age >= h->slow && age <= most) {
				leave(w, h, OPENING_WELL);
			} else if (h->place.held && age >= most) {
				leave(w, h, OPENING_IS_SILENT);
			}
		}
}

static ms_t worst(const struct world *w, unsigned from, unsigned to)
{
	ms_t most = 0;

	for (unsigned i = from; i < to; i++) {
		if (!w->all[i].good)
			continue;
		assert_true(w->all[i].well);
		if (w->all[i].done - w->all[i].come > most)
			most = w->all[i].done - w->all[i].come;
	}
	return most;
}

/* Ten times as many silent hosts as there are places, and newcomers of another party among them in
 * the same moment, and all the time after: at most twice what they need without. */
static void test_newcomers_of_another_party(void **state)
{
	for (unsigned seed = 1; seed <= 20; seed++) {
		struct world *w = new_world();
		struct rng r;

		rng_seed(&r, seed);
		for (unsigned i = 0; i < 1000; i++) {
			struct host *h = &w->all[i];

			h->good = rng_below(&r, 10) == 0;
			h->party = h->good;
			h->come = START + (h->good ? (ms_t)rng_below(&r, 20000) : 0);
		}
		run(w, 1000, 30000);
		assert_in_range(worst(w, 0, 1000), GREETS, 2 * GREETS + 10);
		free_world(w);
	}
}

/* The same party's own: nobody can tell them from the others before they were tried. All are within
 * the time of the flood's first tries, and not the last of it for most. */
static void test_newcomers_of_the_same_party(void **state)
{
	struct world *w = new_world();
	unsigned late = 0, n = 0;
	struct rng r;

	rng_seed(&r, 7);
	for (unsigned i = 0; i < 500; i++)
		w->all[i].good = rng_below(&r, 10) == 0;
	run(w, 500, 60000);
	assert_true(worst(w, 0, 500) < 20000);
	for (unsigned i = 0; i < 500; i++) {
		n += w->all[i].good;
		late += w->all[i].good && w->all[i].done - START > 10000;
	}
	assert_true(late < n / 2);
	free_world(w);
}

/* Each of a flood has a party of its own: who comes after it finds a place. */
static void test_flood_of_many_parties(void **state)
{
	struct world *w = new_world();

	for (unsigned i = 0; i < 1000; i++) {
		struct host *h = &w->all[i];

		h->party = i;
		h->good = i >= 900;
		h->come = h->good ? START + 3000 + (ms_t)(i - 900) * 200 : START;
	}
	run(w, 1000, 40000);
	assert_true(worst(w, 900, 1000) < 15000);
	free_world(w);
}

/* A host that greets slowly is heard while the flood goes on and on. */
static void test_slow_greetings(void **state)
{
	struct world *w = new_world();

	for (unsigned i = 0; i < 2000; i++) {
		struct host *h = &w->all[i];

		h->party = i >= 1990;
		h->good = i >= 1990;
		h->slow = i >= 1995 ? 12000 : 4000;
		h->come = h->good ? START + 1000 : START + (ms_t)i * 20;
	}
	run(w, 2000, 120000);
	assert_true(worst(w, 1990, 1995) < 30000);
	assert_true(worst(w, 1995, 2000) < 60000);
	free_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_of_the_places),
		cmocka_unit_test(test_last_places_go_slowly),
		cmocka_unit_test(test_parties),
		cmocka_unit_test(test_patience),
		cmocka_unit_test(test_slow_lane),
		cmocka_unit_test(test_tables_are_bounded),
		cmocka_unit_test(test_newcomers_of_another_party),
		cmocka_unit_test(test_newcomers_of_the_same_party),
		cmocka_unit_test(test_flood_of_many_parties),
		cmocka_unit_test(test_slow_greetings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
