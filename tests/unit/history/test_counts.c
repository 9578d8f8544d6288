/* What is counted is what is answered: by minute, hour and day, for lanes and what they roll up
 * into, over restarts, kills and steps of the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "postern/rng.h"
#include "store.h"

#define BEGIN	1795046400000 /* the beginning of a day */
#define MINUTE	60000
#define HOUR	3600000
#define DAY	86400000ll
#define SOURCES 4u
#define PLACES	3u

static struct store disk;

static const char *const source_names[SOURCES] = { "a1", "a2", "b1", "b2" };
static const char *const subnet_names[SOURCES] = { "192.0.2.0/24", "192.0.2.0/24",
	"198.51.100.0/24", "198.51.100.0/24" };
static const char *const cluster_names[PLACES] = { "EUR01", "NAM02", "203.0.113.0/24" };
static const char *const provider_names[PLACES] = { "microsoft365", "microsoft365", "default" };

static struct history_lane lane_of(unsigned s, unsigned c)
{
	return (struct history_lane){ source_names[s], subnet_names[s], cluster_names[c],
		provider_names[c] };
}

static struct history *begin(ms_t wall)
{
	struct history_params p = { 0 };
	struct history *h;

	assert_int_equal(history_new(&h, &p), 0);
	assert_int_equal(store_load(&disk, h), 0);
	history_begin(h, wall);
	return h;
}

static void result(struct history *h, unsigned s, unsigned c, enum history_what what, ms_t delay)
{
	struct history_lane l = lane_of(s, c);
	struct history_result r = { what, .verdict = 2, .bytes = 1000, .delay = delay };

	history_result(h, &l, "main", &r);
}

struct sum {
	struct history_cell all;
	unsigned lines;
	ms_t first, last;
	char names[400]; /* of the last line */
};

static bool add(void *arg, ms_t start, const struct history_cell *c)
{
	struct sum *s = arg;

	if (!s->lines++)
		s->first = start;
	else
		assert_true(start >= s->last);
	s->last = start;
	for (unsigned i = 0; i < HISTORY_COUNTS; i++)
		s->all.n[i] += c->n[i];
	for (unsigned i = 0; i < HISTORY_BINS; i++)
		s->all.delay[i] += c->delay[i];
	snprintf(s->names, sizeof(s->names), "%.*s|%.*s|%.*s|%.*s", (int)c->name[0].n,
		c->name[0].p ? c->name[0].p : "", (int)c->name[1].n,
		c->name[1].p ? c->name[1].p : "", (int)c->name[2].n,
		c->name[2].p ? c->name[2].p : "", (int)c->name[3].n,
		c->name[3].p ? c->name[3].p : "");
	return true;
}

static struct sum ask(struct history *h, enum history_kind by, enum history_level level, ms_t from,
	ms_t to, const char *name)
{
	struct history_question q = {
		.by = by, .level = level, .from = from, .to = to, .name = name
	};
	struct history_view *v = history_look(h, &q);
	struct sum s = { 0 };

	assert_non_null(v);
	assert_int_equal(history_view_each(v, add, &s), 0);
	history_view_free(v);
	return s;
}

/* ---- delays ---- */

static void test_quantiles(void **state)
{
	static const ms_t at[] = { 1, 7, 8, 11, 12, 100, 1000, 4999, 60000, HOUR, DAY, 10 * DAY };

	(void)state;
	assert_int_equal(history_quantile((uint32_t[HISTORY_BINS]){ 0 }, 0.5), 0);
	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		uint32_t bins[HISTORY_BINS] = { 0 };
		ms_t got;

		bins[history_bin(at[i])] = 7;
		got = history_quantile(bins, 0.95);
		if (at[i] < 8)
			assert_int_equal(got, 4);
		else
			assert_true((double)got > (double)at[i] / 1.2 &&
				    (double)got < (double)at[i] * 1.2 + 1);
	}
	for (ms_t t = 0; t < 100000; t++)
		assert_true(history_bin(t + 1) >= history_bin(t) &&
			    history_bin(t + 1) <= history_bin(t) + 1);
	assert_int_equal(history_bin(INT64_MAX), HISTORY_BINS - 1);
	assert_int_equal(history_bin(-1), 0);
}

static void test_quantiles_of_many(void **state)
{
	uint32_t bins[HISTORY_BINS] = { 0 };

	(void)state;
	for (ms_t t = 1; t <= 10000; t++)
		bins[history_bin(t)]++;
	assert_in_range(history_quantile(bins, 0.5), 4200, 6000);
	assert_in_range(history_quantile(bins, 0.95), 8000, 11400);
	assert_in_range(history_quantile(bins, 0.99), 8300, 11900);
	assert_int_equal(history_quantile(bins, 0), 4);
}

/* ---- counts ---- */

struct ledger {
	uint64_t attempts[SOURCES][PLACES], delivered[SOURCES][PLACES];
};

static void some_minute(struct history *h, struct rng *rng, struct ledger *l)
{
	unsigned n = (unsigned)rng_below(rng, 12);

	while (n--) {
		unsigned s = (unsigned)rng_below(rng, SOURCES),
			 c = (unsigned)rng_below(rng, PLACES);
		enum history_what what = (enum history_what)rng_below(rng, 3);

		result(h, s, c, what, (ms_t)rng_below(rng, 90000));
		l->attempts[s][c]++;
		l->delivered[s][c] += what == HISTORY_IS_DELIVERED;
	}
}

static void compare(struct history *h, const struct ledger *l, enum history_level level, ms_t to)
{
	uint64_t all = 0;

	for (unsigned s = 0; s < SOURCES; s++) {
		uint64_t of_source = 0;

		for (unsigned c = 0; c < PLACES; c++) {
			struct history_question q = { .by = HISTORY_LANE,
				.level = level,
				.to = to,
				.name = source_names[s],
				.sum = true };
			struct history_view *v = history_look(h, &q);
			struct sum sum = { 0 };

			of_source += l->attempts[s][c];
			all += l->delivered[s][c];
			assert_int_equal(history_view_each(v, add, &sum), 0);
			assert_true(sum.lines <= PLACES);
			history_view_free(v);
		}
		assert_int_equal(
			ask(h, HISTORY_LANE, level, 0, to, source_names[s]).all.n[HISTORY_ATTEMPTS],
			of_source);
		assert_int_equal(ask(h, HISTORY_SOURCE, level, 0, to, source_names[s])
					 .all.n[HISTORY_ATTEMPTS],
			of_source);
	}
	for (unsigned c = 0; c < PLACES; c++) {
		uint64_t of_cluster = 0;

		for (unsigned s = 0; s < SOURCES; s++)
			of_cluster += l->delivered[s][c];
		assert_int_equal(ask(h, HISTORY_CLUSTER, level, 0, to, cluster_names[c])
					 .all.n[HISTORY_DELIVERED],
			of_cluster);
		assert_int_equal(ask(h, HISTORY_PATH, level, 0, to, cluster_names[c])
					 .all.n[HISTORY_DELIVERED],
			of_cluster);
	}
	assert_int_equal(ask(h, HISTORY_TOTAL, level, 0, to, NULL).all.n[HISTORY_DELIVERED], all);
	assert_int_equal(ask(h, HISTORY_POOL, level, 0, to, "main").all.n[HISTORY_DELIVERED], all);
}

/* Twenty hours with a restart in good order now and then, and kills, which lose the minute. */
static void test_ledger_over_kills(void **state)
{
	struct ledger l = { 0 };
	struct rng rng;
	ms_t wall = BEGIN + 30 * MINUTE;
	struct history *h = begin(wall);

	(void)state;
	rng_seed(&rng, 12);
	for (unsigned i = 0; i < 20 * 60; i++) {
		struct ledger before = l;

		history_tick(h, wall, store_put, &disk);
		some_minute(h, &rng, &l);
		if (i % 13 == 5) {
			history_flush(h, wall, store_put, &disk);
			history_free(h);
			h = begin(wall + 2000);
			some_minute(h, &rng, &l);
		} else if (i % 17 == 3) {
			history_free(h);
			l = before;
			h = begin(wall + 2000);
		}
		wall += MINUTE;
	}
	for (unsigned level = 0; level < HISTORY_LEVELS; level++)
		compare(h, &l, (enum history_level)level, wall + DAY);
	history_flush(h, wall, store_put, &disk);
	history_free(h);
	h = begin(wall);
	for (unsigned level = 0; level < HISTORY_LEVELS; level++)
		compare(h, &l, (enum history_level)level, wall + DAY);
	history_free(h);
	store_clear(&disk);
}

static void test_periods(void **state)
{
	struct history *h = begin(BEGIN);
	struct sum s;

	(void)state;
	for (unsigned i = 0; i < 3 * 60; i += 30) {
		history_tick(h, BEGIN + i * MINUTE, store_put, &disk);
		result(h, 0, 0, HISTORY_IS_DELIVERED, 100);
	}
	s = ask(h, HISTORY_LANE, HISTORY_HOUR, BEGIN, BEGIN + DAY, NULL);
	assert_int_equal(s.lines, 3);
	assert_int_equal(s.first, BEGIN);
	assert_int_equal(s.last, BEGIN + 2 * HOUR);
	assert_string_equal(s.names, "a1|EUR01|192.0.2.0/24|microsoft365");
	s = ask(h, HISTORY_TOTAL, HISTORY_HOUR, BEGIN + HOUR, BEGIN + 2 * HOUR, NULL);
	assert_int_equal(s.lines, 1);
	assert_int_equal(s.all.n[HISTORY_DELIVERED], 2);
	assert_int_equal(s.all.n[HISTORY_BYTES], 2000);
	s = ask(h, HISTORY_PATH, HISTORY_MINUTE, BEGIN + 30 * MINUTE, BEGIN + 151 * MINUTE, NULL);
	assert_int_equal(s.lines, 5); /* the last of them is open still */
	assert_string_equal(s.names, "192.0.2.0/24|EUR01||");
	s = ask(h, HISTORY_LANE, HISTORY_DAY, BEGIN + DAY, BEGIN + 2 * DAY, NULL);
	assert_int_equal(s.lines, 0);
	s = ask(h, HISTORY_LANE, HISTORY_DAY, BEGIN + DAY, BEGIN, NULL);
	assert_int_equal(s.lines, 0);
	history_free(h);
	store_clear(&disk);
}

/* What a view holds stays as it was. */
static void test_view_stays(void **state)
{
	struct history_question q = {
		.by = HISTORY_TOTAL, .level = HISTORY_HOUR, .to = BEGIN + DAY
	};
	struct history *h = begin(BEGIN);
	struct history_view *v;
	struct sum s = { 0 };

	(void)state;
	result(h, 0, 0, HISTORY_IS_DELIVERED, 100);
	history_tick(h, BEGIN + MINUTE, store_put, &disk);
	result(h, 1, 0, HISTORY_IS_DELIVERED, 100);
	v = history_look(h, &q);
	for (unsigned i = 2; i < 300; i++) {
		result(h, 1, 1, HISTORY_IS_BOUNCED, 0);
		history_tick(h, BEGIN + i * MINUTE, store_put, &disk);
	}
	history_free(h);
	assert_int_equal(history_view_each(v, add, &s), 0);
	assert_int_equal(s.all.n[HISTORY_DELIVERED], 2);
	assert_int_equal(s.all.n[HISTORY_BOUNCED], 0);
	history_view_free(v);
	store_clear(&disk);
}

/* Forth by a year and back; back by an hour: nothing is lost, and what a wrong clock counted is not
 * kept beyond its span. */
static void test_clock_steps(void **state)
{
	struct history *h = begin(BEGIN);
	ms_t wall = BEGIN;

	(void)state;
	for (unsigned i = 0; i < 300; i++, wall += MINUTE) {
		history_tick(h, wall, store_put, &disk);
		result(h, 0, 0, HISTORY_IS_DELIVERED, 100);
	}
	history_tick(h, wall + 365ll * DAY, store_put, &disk);
	result(h, 0, 0, HISTORY_IS_BOUNCED, 0);
	history_tick(h, wall, store_put, &disk);
	result(h, 0, 0, HISTORY_IS_DELIVERED, 100);
	history_tick(h, wall - HOUR, store_put, &disk); /* minutes that were counted before */
	result(h, 0, 0, HISTORY_IS_DELIVERED, 100);
	history_tick(h, wall - HOUR + MINUTE, store_put, &disk);
	assert_int_equal(ask(h, HISTORY_TOTAL, HISTORY_MINUTE, BEGIN, BEGIN + DAY, NULL)
				 .all.n[HISTORY_DELIVERED],
		302);
	assert_int_equal(ask(h, HISTORY_TOTAL, HISTORY_MINUTE, 0, INT64_MAX / 2, NULL)
				 .all.n[HISTORY_BOUNCED],
		0);
	history_free(h);
	h = begin(wall);
	assert_int_equal(ask(h, HISTORY_TOTAL, HISTORY_HOUR, BEGIN, BEGIN + DAY, NULL)
				 .all.n[HISTORY_DELIVERED],
		302);
	history_free(h);
	store_clear(&disk);
}

/* ---- samples ---- */

static void test_queue_samples(void **state)
{
	struct history *h = begin(BEGIN);
	struct sum s;

	(void)state;
	history_waiting(h, "main", "microsoft365", "lane resting", 700, 60);
	history_waiting(h, "main", "microsoft365", "lane resting", 500, 120);
	history_tick(h, BEGIN + MINUTE, store_put, &disk);
	history_waiting(h, "main", "microsoft365", "lane resting", 100, 180);
	history_tick(h, BEGIN + 2 * MINUTE, store_put, &disk);
	s = ask(h, HISTORY_QUEUE, HISTORY_MINUTE, BEGIN, BEGIN + DAY, "lane resting");
	assert_int_equal(s.lines, 2);
	assert_int_equal(s.all.n[HISTORY_WAITING], 800);
	s = ask(h, HISTORY_QUEUE, HISTORY_DAY, BEGIN, BEGIN + DAY, "main");
	assert_int_equal(s.all.n[HISTORY_WAITING], 700); /* the most */
	assert_int_equal(s.all.n[HISTORY_OLDEST], 180);
	assert_string_equal(s.names, "main|microsoft365|lane resting|");
	history_free(h);
	store_clear(&disk);
}

static void test_ramp_days(void **state)
{
	struct history_ramp r = { "b1", "microsoft365", "", "", .rung = 1, .rungs = 10,
		.allowance = 50 };
	struct history *h = begin(BEGIN);
	struct sum s;

	(void)state;
	for (unsigned i = 0; i < 3 * 24 * 60; i++) {
		r.day = 20770 + (int32_t)((i + 60) / 1440); /* a zone an hour ahead */
		r.used = (i + 60) % 1440;
		if (r.day == 20771) {
			r.rung = 2;
			r.change = "advanced";
			r.why = i % 1440 < 700 ? "used 100 %" : "used all of it";
		}
		history_ramp(h, &r);
		history_tick(h, BEGIN + (i + 1) * MINUTE, store_put, &disk);
	}
	history_free(h);
	h = begin(BEGIN + 3 * DAY);
	s = ask(h, HISTORY_RAMP, HISTORY_DAY, 0, BEGIN + 30 * DAY, "b1");
	assert_int_equal(s.lines, 4);
	assert_int_equal(s.last, 20773);
	s = ask(h, HISTORY_RAMP, HISTORY_DAY, 20771ll * DAY, 20772ll * DAY, NULL);
	assert_int_equal(s.lines, 1);
	assert_int_equal(s.all.n[HISTORY_RAMP_RUNG], 2);
	assert_int_equal(s.all.n[HISTORY_RAMP_USED], 1439);
	assert_string_equal(s.names, "b1|microsoft365|advanced|used all of it");
	history_free(h);
	store_clear(&disk);
}

/* ---- damage ---- */

static void test_damage(void **state)
{
	struct history_params p = { 0 };
	struct history *h = begin(BEGIN);
	uint64_t deletes;
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		result(h, i, 0, HISTORY_IS_DELIVERED, 100);
		history_tick(h, BEGIN + (i + 1) * MINUTE, store_put, &disk);
	}
	history_free(h);
	n = disk.n;
	for (unsigned i = 0; i < n; i++)
		for (size_t k = 0; k < disk.a[i].n; k++) {
			disk.a[i].value[k] ^= 0x21;
			assert_int_equal(history_new(&h, &p), 0);
			assert_int_equal(store_load(&disk, h), 1);
			history_free(h);
			disk.a[i].value[k] ^= 0x21;
		}
	/* what cannot be read goes, and all else is counted on */
	disk.a[0].n--;
	assert_int_equal(history_new(&h, &p), 0);
	assert_int_equal(store_load(&disk, h), 1);
	history_begin(h, BEGIN + 10 * MINUTE);
	deletes = disk.deletes;
	history_tick(h, BEGIN + 11 * MINUTE, store_put, &disk);
	assert_int_equal(disk.deletes, deletes + 1);
	history_free(h);
	store_clear(&disk);
}

/* Counters for metrics: all since the start, whatever time does. */
static void test_ever(void **state)
{
	struct history *h = begin(BEGIN);
	struct history_view *v;
	struct sum s = { 0 };

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		result(h, i % 2, 0, HISTORY_IS_DELIVERED, 100);
		history_tick(h, BEGIN + i * MINUTE, store_put, &disk);
	}
	v = history_ever(h);
	assert_int_equal(history_view_each(v, add, &s), 0);
	assert_int_equal(s.lines, 2);
	assert_int_equal(s.all.n[HISTORY_DELIVERED], 3000);
	assert_int_equal(s.all.n[HISTORY_DELAY_MS], 300000);
	assert_int_equal(s.all.delay[history_bin(100)], 3000);
	assert_true(history_bin_end(history_bin(100)) > 100);
	assert_true(history_bin_end(history_bin(100) - 1) <= 100);
	history_view_free(v);
	history_free(h);
	store_clear(&disk);
}

static void test_names_of_kinds(void **state)
{
	(void)state;
	for (int k = 0; k < HISTORY_KIND_COUNT; k++)
		assert_int_equal(history_kind_parse(history_kind_name((enum history_kind)k)), k);
	assert_true(history_kind_parse("lanes") < 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_quantiles_of_many),
		cmocka_unit_test(test_ledger_over_kills),
		cmocka_unit_test(test_periods),
		cmocka_unit_test(test_view_stays),
		cmocka_unit_test(test_clock_steps),
		cmocka_unit_test(test_queue_samples),
		cmocka_unit_test(test_ramp_days),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_ever),
		cmocka_unit_test(test_names_of_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
