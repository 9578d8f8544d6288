/* The budget of DNS questions, in virtual time: what thousands of silent names cost others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../relay/dns/dns_budget.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define RUNNING	    500u
#define ANSWER_MS   20
#define MANY	    6000u

/* One look-up: when it came, was asked first, and ended. */
struct look_up {
	struct dns_query q;
	char name[64];
	bool silent, known;
	ms_t came, asked, ends, over;
	unsigned tries;
	bool running, given_up;
};

struct world {
	struct dns_budget b;
	struct look_up *all;
	unsigned n;
	ms_t now;
	unsigned asked, most;
};

static void world_begin(struct world *w)
{
	*w = (struct world){ .now = 1000000 };
	w->all = calloc(MANY, sizeof(*w->all));
	assert_non_null(w->all);
	assert_int_equal(budget_init(&w->b, RUNNING, 42), 0);
}

static void world_end(struct world *w)
{
	struct dns_query *q;

	for (unsigned i = 0; i < w->n; i++)
		if (w->all[i].running)
			budget_ended(&w->b, &w->all[i].q, false, w->now);
	while ((q = budget_drain(&w->b)))
		;
	assert_int_equal(w->b.waiting, 0);
	assert_int_equal(w->b.running, 0);
	budget_deinit(&w->b);
	free(w->all);
}

/* "#" in the name stands for i. */
static struct look_up *come(struct world *w, bool silent, bool known, const char *name, unsigned i)
{
	struct look_up *l = &w->all[w->n++];

	assert_true(w->n <= MANY);
	l->silent = silent;
	l->known = known;
	l->came = w->now;
	snprintf(l->name, sizeof(l->name), "%.*s%u%s", (int)strcspn(name, "#"), name, i,
		strchr(name, '#') + 1);
	l->q.name = l->name;
	budget_add(&w->b, &l->q, known, w->now);
	return l;
}

static void ask(struct world *w)
{
	static const ms_t patience[DNS_PATIENCES] = {
		[DNS_BRISK] = 400, [DNS_QUICK] = 2000, [DNS_PATIENT] = 18000
	};
	struct dns_query *q;

	while ((q = budget_next(&w->b, w->now))) {
		struct look_up *l = (struct look_up *)q;

		if (q->lane == DNS_GIVEN_UP) {
			l->given_up = true;
			l->over = w->now;
			continue;
		}
		l->asked = l->asked ? l->asked : w->now;
		l->tries++;
		l->running = true;
		l->ends = w->now + (l->silent ? patience[budget_patience(&w->b, q)] : ANSWER_MS);
		w->asked++;
	}
	if (w->b.running > w->most)
		w->most = w->b.running;
	assert_true(w->b.running <= RUNNING);
	assert_true(w->b.by_lane[DNS_FIRST] <= RUNNING / 2);
	assert_true(w->b.by_lane[DNS_SLOW] <= RUNNING / 4);
}

static void pass(struct world *w, ms_t ms)
{
	for (ms_t end = w->now + ms; w->now < end; w->now++) {
		for (unsigned i = 0; i < w->n; i++) {
			struct look_up *l = &w->all[i];

			if (!l->running || l->ends > w->now)
				continue;
			l->running = false;
			budget_ended(&w->b, &l->q, l->silent, w->now);
			if (!l->silent || !budget_slower(&w->b, &l->q))
				l->over = w->now;
		}
		ask(w);
	}
}

static bool all_over(const struct world *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (!w->all[i].over)
			return false;
	return true;
}

/* Names as in the wild: of one zone each, of one zone together, or below a suffix of the public. */
static const char *const silents[] = { "dead#.test", "d#.silent.test", "dead#.co.test" };

/* Names that were answered before are asked at once, whatever else there is. */
static void known_names_go_first(void **state)
{
	for (size_t k = 0; k < COUNT_OF(silents); k++) {
		struct world w;

		world_begin(&w);
		come(&w, false, false, "first#.test", 0);
		pass(&w, 100);
		for (unsigned i = 0; i < 3000; i++)
			come(&w, true, false, silents[k], i);
		for (unsigned i = 0; i < 300; i++) {
			struct look_up *l = come(&w, false, true, "good#.test", i);

			ask(&w);
			assert_int_equal(l->asked, w.now);
			pass(&w, 10);
		}
		world_end(&w);
	}
}

/* First-time names that come later do not wait behind the silent ones, nor their hosts. */
static void newcomers_wait_moments(void **state)
{
	for (size_t k = 0; k < COUNT_OF(silents); k++) {
		struct look_up *good[100];
		ms_t longest = 0;
		struct world w;

		world_begin(&w);
		come(&w, false, false, "first#.test", 0);
		pass(&w, 100);
		for (unsigned i = 0; i < 3000; i++)
			come(&w, true, false, silents[k], i);
		pass(&w, 700); /* the first of them hold their places this long, at most */
		for (unsigned i = 0; i < COUNT_OF(good); i++) {
			good[i] = come(&w, false, false, "new#.example", i);
			pass(&w, 20);
			come(&w, false, false, "mx.new#.example", i);
			pass(&w, 20);
		}
		pass(&w, 1000);
		for (unsigned i = 0; i < COUNT_OF(good); i++) {
			ms_t wait = good[i]->asked - good[i]->came;

			assert_true(good[i]->over);
			longest = wait > longest ? wait : longest;
		}
		if (longest > 100)
			fail_msg("%s: %lld ms", silents[k], (long long)longest);
		world_end(&w);
	}
}

/* All come to an end soon: the many get one short try, and are told so. */
static void silent_ones_end(void **state)
{
	struct world w;

	world_begin(&w);
	come(&w, false, false, "first#.test", 0);
	pass(&w, 100);
	for (unsigned i = 0; i < 3000; i++)
		come(&w, true, false, silents[0], i);
	for (unsigned s = 0; s < 80 && !all_over(&w); s++) {
		come(&w, false, true, "good#.test", s);
		pass(&w, 1000);
	}
	assert_true(all_over(&w));
	world_end(&w);
}

/* A zone that does not answer is asked for few of its names. */
static void a_silent_zone_is_hardly_asked(void **state)
{
	struct world w;
	unsigned asked = 0, given_up = 0;

	world_begin(&w);
	come(&w, false, false, "first#.test", 0);
	pass(&w, 100);
	for (unsigned i = 0; i < 3000; i++)
		come(&w, true, false, silents[1], i);
	for (unsigned s = 0; s < 60; s++) {
		come(&w, false, true, "good#.test", s);
		pass(&w, 1000);
	}
	for (unsigned i = 0; i < w.n; i++) {
		asked += w.all[i].silent ? w.all[i].tries : 0;
		given_up += w.all[i].given_up;
	}
	assert_true(asked < 300);
	assert_true(given_up > 2700);
	assert_true(all_over(&w));
	world_end(&w);
}

/* Many first-time names of one zone that answers, as Microsoft's hosts are. */
static void a_large_zone_is_quick(void **state)
{
	struct world w;

	world_begin(&w);
	for (unsigned i = 0; i < 2000; i++)
		come(&w, false, false, "t#.onmicrosoft.test", i);
	for (ms_t ms = 0; ms < 1500 && !all_over(&w); ms += 10)
		pass(&w, 10);
	assert_true(all_over(&w));
	world_end(&w);
}

/* Alone it gets all the patience that was configured. */
static void one_slow_name_is_waited_for(void **state)
{
	struct look_up *l;
	struct world w;

	world_begin(&w);
	l = come(&w, true, false, "slow#.test", 1);
	pass(&w, 2500);
	assert_int_equal(l->tries, 2);
	assert_int_equal(l->over, 0);
	pass(&w, 18000);
	assert_true(l->over);
	world_end(&w);
}

static void silence_grows(void **state)
{
	struct dns_budget b;
	ms_t now = 1000, last = 0;

	assert_int_equal(budget_init(&b, RUNNING, 7), 0);
	for (unsigned i = 0; i < 12; i++) {
		ms_t until;

		budget_note_silent(&b, "dead.test", 15000, now);
		until = budget_silent_until(&b, "dead.test", now);
		assert_true(until - now >= last && until - now <= 300000);
		if (i < 4)
			assert_int_equal(until - now, 15000 << i);
		last = until - now;
		assert_int_equal(budget_silent_until(&b, "good.test", now), 0);
		now = until + 1;
		assert_int_equal(budget_silent_until(&b, "dead.test", now), 0);
	}
	assert_int_equal(last, 300000);
	budget_note_silent(&b, "dead.test", 15000, now);
	budget_note_heard(&b, "dead.test");
	assert_int_equal(budget_silent_until(&b, "dead.test", now), 0);
	budget_note_silent(&b, "dead.test", 15000, now);
	assert_int_equal(budget_silent_until(&b, "dead.test", now) - now, 15000);
	budget_deinit(&b);
}

/* Where nobody answers it is our own name server: no name is blamed for that. */
static void nobody_answers(void **state)
{
	struct look_up *l;
	struct world w;

	world_begin(&w);
	for (unsigned i = 0; i < 20; i++)
		l = come(&w, true, false, "d#.silent.test", i);
	ask(&w);
	w.now += 2000;
	for (unsigned i = 0; i < w.n; i++) {
		assert_true(w.all[i].running);
		w.all[i].running = false;
		assert_false(budget_ended(&w.b, &w.all[i].q, true, w.now));
	}
	/* and after that the zone is asked as before */
	l = come(&w, false, false, "d#.silent.test", 99);
	ask(&w);
	assert_int_equal(l->asked, w.now);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_names_go_first),
		cmocka_unit_test(newcomers_wait_moments),
		cmocka_unit_test(silent_ones_end),
		cmocka_unit_test(a_silent_zone_is_hardly_asked),
		cmocka_unit_test(a_large_zone_is_quick),
		cmocka_unit_test(one_slow_name_is_waited_for),
		cmocka_unit_test(silence_grows),
		cmocka_unit_test(nobody_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
