/* Memory, disk and writes stay within their bounds, however much there is; answers say what had to
 * go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "store.h"

#define BEGIN  1795046400000
#define MINUTE 60000
#define MIB    (1u << 20)

static struct store disk;

static void everything(struct history *h, unsigned sources, unsigned clusters, unsigned round)
{
	for (unsigned s = 0; s < sources; s++)
		for (unsigned c = 0; c < clusters; c++) {
			char source[16], subnet[24], cluster[16];
			struct history_lane l = { source, subnet, cluster, "microsoft365" };
			struct history_result r = { HISTORY_IS_DELIVERED, .bytes = 5000 + s,
				.delay = 100 * (1 + (s * 7 + c * 3 + round) % 50) };

			snprintf(source, sizeof(source), "s%u", s);
			snprintf(subnet, sizeof(subnet), "10.%u.%u.0/24", s / 50, s / 4);
			snprintf(cluster, sizeof(cluster), "EURPRD%02u", c);
			history_result(h, &l, "main", &r);
			r.what = HISTORY_IS_DEFERRED;
			r.verdict = s % 3;
			history_result(h, &l, "main", &r);
		}
}

static bool count(void *arg, ms_t start, const struct history_cell *c)
{
	uint64_t *n = arg;

	(void)start;
	*n += c->n[HISTORY_DELIVERED];
	return true;
}

static uint64_t delivered(
	struct history *h, enum history_kind by, enum history_level level, ms_t *since)
{
	struct history_question q = { .by = by, .level = level, .to = BEGIN * 2 };
	struct history_view *v = history_look(h, &q);
	uint64_t n = 0;

	assert_int_equal(history_view_each(v, count, &n), 0);
	*since = history_view_since(v);
	history_view_free(v);
	return n;
}

/* 200 sources at 60 clusters, each lane used every minute. */
static void test_memory(void **state)
{
	struct history_params p = { 0 };
	struct history *h;

	(void)state;
	assert_int_equal(history_new(&h, &p), 0);
	history_begin(h, BEGIN);
	for (unsigned i = 0; i < 5; i++) {
		everything(h, 200, 60, i);
		assert_true(history_memory(h) <= 10 * MIB + disk.bytes);
		history_tick(h, BEGIN + (i + 1) * MINUTE, store_put, &disk);
	}
	/* closed periods have 22 MiB */
	assert_true(disk.bytes < 5 * MIB);
	history_free(h);
	store_clear(&disk);
}

/* A tenth of it for four hours, with a twentieth of the memory: lanes' minutes have to go, and the
 * answer says so; all else is whole. */
static void test_oldest_lanes_go(void **state)
{
	const unsigned minutes = 240, each = 20 * 60;
	struct history_params p = { .memory = 1500 * 1024 };
	struct history *h;
	ms_t since;

	(void)state;
	assert_int_equal(history_new(&h, &p), 0);
	history_begin(h, BEGIN);
	for (unsigned i = 0; i < minutes; i++) {
		everything(h, 20, 60, i);
		history_tick(h, BEGIN + (i + 1) * MINUTE, store_put, &disk);
		assert_true(disk.bytes <= p.memory + 100);
	}
	assert_true(delivered(h, HISTORY_LANE, HISTORY_MINUTE, &since) < (uint64_t)minutes * each);
	assert_true(since > BEGIN && since < BEGIN + minutes * MINUTE);
	for (unsigned level = 0; level < HISTORY_LEVELS; level++) {
		assert_int_equal(delivered(h, HISTORY_SOURCE, (enum history_level)level, &since),
			(uint64_t)minutes * each);
		assert_int_equal(since, 0);
	}
	assert_int_equal(
		delivered(h, HISTORY_PATH, HISTORY_HOUR, &since), (uint64_t)minutes * each);
	history_free(h);
	store_clear(&disk);
}

/* A small memory: it says the same after a restart. */
static void test_cut_is_kept(void **state)
{
	struct history_params p = { .memory = 40000 };
	struct history *h;
	ms_t since, again;
	uint64_t n;

	(void)state;
	assert_int_equal(history_new(&h, &p), 0);
	history_begin(h, BEGIN);
	for (unsigned i = 0; i < 300; i++) {
		everything(h, 5, 4, i);
		history_tick(h, BEGIN + (i + 1) * MINUTE, store_put, &disk);
		assert_in_range(disk.bytes, 1, 40500);
	}
	n = delivered(h, HISTORY_LANE, HISTORY_MINUTE, &since);
	assert_true(since > BEGIN && n > 0);
	history_free(h);
	assert_int_equal(history_new(&h, &p), 0);
	assert_int_equal(store_load(&disk, h), 0);
	history_begin(h, BEGIN + 300 * MINUTE);
	assert_int_equal(delivered(h, HISTORY_LANE, HISTORY_MINUTE, &again), n);
	assert_int_equal(again, since);
	history_free(h);
	store_clear(&disk);
}

/* Minutes are kept for 26 hours, and nothing is written in a minute in which nothing was. */
static void test_span_and_writes(void **state)
{
	struct history_params p = { 0 };
	struct history *h;
	uint64_t puts;
	ms_t since;

	(void)state;
	assert_int_equal(history_new(&h, &p), 0);
	history_begin(h, BEGIN);
	for (unsigned i = 0; i < 30 * 60; i++) {
		puts = disk.puts;
		everything(h, 1, 1, i);
		for (unsigned s = 1; s <= 60; s++)
			history_tick(h, BEGIN + i * MINUTE + s * 1000, store_put, &disk);
		assert_int_equal(disk.puts, puts + 6);
	}
	assert_int_equal(delivered(h, HISTORY_LANE, HISTORY_MINUTE, &since), 26 * 60);
	assert_int_equal(delivered(h, HISTORY_LANE, HISTORY_HOUR, &since), 30 * 60);
	assert_int_equal(since, 0);
	assert_true(disk.n < 2 * (26 * 60 + 31 + 3));
	puts = disk.puts;
	for (unsigned i = 0; i < 600; i++)
		history_tick(h, BEGIN + (2000 + i) * MINUTE, store_put, &disk);
	assert_int_equal(disk.puts, puts);
	history_free(h);
	store_clear(&disk);
}

static bool lines(void *arg, ms_t start, const struct history_cell *c)
{
	uint64_t *n = arg;

	(void)start;
	assert_true(slice_eq(c->name[3], SLICE_LIT("microsoft365")));
	++*n;
	return true;
}

/* More lanes than there is room for: all others are counted under "other". */
static void test_other(void **state)
{
	struct history_params p = { 0 };
	struct history_view *v;
	uint64_t n = 0;
	struct history *h;
	ms_t since;

	(void)state;
	assert_int_equal(history_new(&h, &p), 0);
	history_begin(h, BEGIN);
	everything(h, 260, 60, 0);
	assert_int_equal(delivered(h, HISTORY_LANE, HISTORY_MINUTE, &since), 260 * 60);
	assert_int_equal(delivered(h, HISTORY_TOTAL, HISTORY_MINUTE, &since), 260 * 60);
	assert_true(history_memory(h) <= 10 * MIB);
	v = history_ever(h);
	assert_int_equal(history_view_each(v, count, &n), 0);
	assert_int_equal(n, 260 * 60);
	n = 0;
	assert_int_equal(history_view_each(v, lines, &n), 0);
	assert_int_equal(n, 2001);
	history_view_free(v);
	history_free(h);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_oldest_lanes_go),
		cmocka_unit_test(test_cut_is_kept),
		cmocka_unit_test(test_span_and_writes),
		cmocka_unit_test(test_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
