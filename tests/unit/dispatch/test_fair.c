/* Who is served first when places and memory are scarce: by pool, by sender, by recipient domain.
 */
#include "rig.h"

#include <stdio.h>
#include <string.h>

enum { DOMAINS = 12, BULK = 120, SOON = 8 };

static char names[DOMAINS][16];
static __typeof__(*((struct pool_params *)0)->members) both[] = { { 0, 1 }, { 1, 1 } };
static struct pool_params pools[2];

/* One connection, and two pools over the same sources. */
static void begin(struct rig *r, uint32_t work_max, uint32_t window)
{
	pools[0] = (struct pool_params){ (char *)(uintptr_t) "main", 2, (void *)both };
	pools[1] = (struct pool_params){ (char *)(uintptr_t) "other", 2, (void *)both };
	rig_init(r, NULL, 0);
	r->policy.pools = pools;
	r->policy.npools = 2;
	r->dp.work_max = work_max;
	r->dp.window = window;
	r->providers[0].connections_per_cluster = 1;
	for (unsigned i = 0; i < DOMAINS; i++) {
		snprintf(names[i], sizeof(names[i]), "d%02u.test", i);
		rig_row(r, names[i], 15, 0, "mx1.test", 10);
	}
	rig_start(r);
	/* the way is known, and open */
	rig_send_to(r, "first@d00.test");
	WAIT_UNTIL(rig_waiting(r) == 0);
}

static void send_from(
	struct rig *r, const char *sender, const char *pool, const char *to, unsigned domain)
{
	char address[32];
	const char *const all[] = { address, NULL };
	struct message *m;

	snprintf(address, sizeof(address), "%s@%s", to, names[domain]);
	m = rig_message(r, sender, all, 100);
	m->pool = pool;
	rig_commit(r, m, 0);
}

/* The receiver stands still until mx_goes: it notes each mail under this lock. */
static void mx_stands(struct rig *r)
{
	pthread_mutex_lock(&r->mx.lock);
}

static void mx_goes(struct rig *r)
{
	pthread_mutex_unlock(&r->mx.lock);
	WAIT_UNTIL(rig_waiting(r) == 0);
}

static void send_bulk(struct rig *r, unsigned n, unsigned domains)
{
	for (unsigned i = 0; i < n; i++)
		send_from(r, "list@news.test", "main", "bulk", i % domains);
}

/* How many mails came before the k-th of that sender. */
static unsigned place_of(struct rig *r, const char *sender, unsigned k)
{
	unsigned i;

	pthread_mutex_lock(&r->mx.lock);
	for (i = 0; i < r->mx.nmails; i++)
		if (strstr(r->mx.mails[i].sender, sender) && !k--)
			break;
	pthread_mutex_unlock(&r->mx.lock);
	if (i == mx_mails(&r->mx))
		fail_msg("mail of %s did not come", sender);
	return i;
}

/* Bulk over these domains waits, then one mail comes: it is among the next. */
static void one_behind_many(uint32_t work_max, uint32_t window, unsigned domains,
	const char *sender, const char *pool, unsigned to)
{
	struct rig r;

	begin(&r, work_max, window);
	mx_stands(&r);
	send_bulk(&r, BULK, domains);
	WAIT_UNTIL(rig_stats(&r).work + 4 >= (work_max < window ? work_max : window) * 7 / 8);
	send_from(&r, sender, pool, "code", to);
	mx_goes(&r);
	assert_int_equal(mx_mails(&r.mx), BULK + 2);
	assert_in_range(place_of(&r, sender, 0), 1, SOON);
	rig_stop(&r);
}

static void test_sender_in_full_memory(void **state)
{
	one_behind_many(32, 200, DOMAINS, "me@quiet.test", "main", 5);
}

static void test_pool_in_full_memory(void **state)
{
	one_behind_many(32, 200, DOMAINS, "list2@news.test", "other", 5);
}

static void test_sender_in_full_window(void **state)
{
	one_behind_many(4000, 24, 1, "me@quiet.test", "main", 0);
}

static void test_pool_in_full_window(void **state)
{
	one_behind_many(4000, 24, 1, "list2@news.test", "other", 0);
}

/* Many senders with one mail each do not take the room that is kept for others. */
static void test_many_senders(void **state)
{
	char sender[32];
	struct rig r;

	begin(&r, 64, 200);
	mx_stands(&r);
	send_bulk(&r, BULK, DOMAINS);
	for (unsigned i = 0; i < BULK; i++) {
		snprintf(sender, sizeof(sender), "me@s%u.test", i);
		send_from(&r, sender, "main", "x", i % DOMAINS);
	}
	WAIT_UNTIL(rig_stats(&r).work >= 56);
	send_from(&r, "me@quiet.test", "other", "code", 3);
	mx_goes(&r);
	assert_int_equal(mx_mails(&r.mx), 2 * BULK + 2);
	assert_in_range(place_of(&r, "me@quiet.test", 0), 1, SOON);
	rig_stop(&r);
}

/* Two senders with much: each has half of the places, whatever the number of their domains. */
static void test_senders_in_turn(void **state)
{
	enum { MORE = 20 };
	struct rig r;

	begin(&r, 4000, 200);
	mx_stands(&r);
	send_bulk(&r, BULK, DOMAINS);
	for (unsigned i = 0; i < MORE; i++)
		send_from(&r, "list@second.test", "main", "bulk", 0);
	WAIT_UNTIL(rig_stats(&r).work >= BULK + MORE);
	mx_goes(&r);
	assert_in_range(place_of(&r, "list@second.test", MORE - 1), 2 * MORE - 4, 2 * MORE + SOON);
	rig_stop(&r);
}

/* And of one sender each recipient domain has its turn. */
static void test_domains_in_turn(void **state)
{
	unsigned place = 0;
	struct rig r;

	begin(&r, 4000, 200);
	mx_stands(&r);
	send_bulk(&r, BULK, 1);
	send_from(&r, "list@news.test", "main", "one", 7);
	WAIT_UNTIL(rig_stats(&r).work > BULK);
	mx_goes(&r);
	pthread_mutex_lock(&r.mx.lock);
	for (unsigned i = 0; i < r.mx.nmails; i++)
		if (strstr(r.mx.mails[i].recipient, "one@"))
			place = i;
	pthread_mutex_unlock(&r.mx.lock);
	assert_in_range(place, 1, SOON);
	rig_stop(&r);
}

/* After a restart all is in the queue alone; the one mail lies behind the others there. */
static void test_behind_many_in_the_queue(void **state)
{
	struct rig r;

	begin(&r, 4000, 24);
	rig_stop_dispatch(&r);
	for (unsigned i = 0; i < 5; i++)
		send_bulk(&r, BULK, 1);
	send_from(&r, "me@quiet.test", "main", "code", 0);
	send_bulk(&r, BULK, 1);
	send_from(&r, "list2@news.test", "other", "code", 0);
	mx_forget(&r.mx);
	mx_stands(&r);
	rig_start(&r);
	WAIT_UNTIL(rig_stats(&r).work >= 26); /* the window, and both */
	mx_goes(&r);
	assert_int_equal(mx_mails(&r.mx), 6 * BULK + 2);
	assert_in_range(place_of(&r, "me@quiet.test", 0), 1, SOON);
	assert_in_range(place_of(&r, "list2@news.test", 0), 1, SOON);
	rig_stop(&r);
}

/* Nor when it comes due for a retry while the window is full. */
static void test_retry_behind_many(void **state)
{
	const char *const to[] = { "code@d00.test", NULL };
	struct rig r;

	begin(&r, 4000, 24);
	mx_stands(&r);
	send_bulk(&r, 2 * BULK, 1);
	WAIT_UNTIL(rig_stats(&r).work >= 24);
	rig_commit(&r, rig_message(&r, "me@quiet.test", to, 100), clock_wall_ms() + 1200);
	send_bulk(&r, BULK, 1);
	WAIT_UNTIL(rig_stats(&r).work >= 25);
	mx_goes(&r);
	assert_in_range(place_of(&r, "me@quiet.test", 0), 1, SOON);
	rig_stop(&r);
}

/* A place that mail of another pool holds, which has other sources, is passed on: not when its
 * connection is worn out, but after what it carries. */
static void test_sources_of_its_own(void **state)
{
	struct rig r;

	begin(&r, 4000, 200);
	rig_stop_dispatch(&r);
	pools[0].members = (void *)&both[0];
	pools[0].nmembers = 1;
	pools[1].members = (void *)&both[1];
	pools[1].nmembers = 1;
	rig_start(&r);
	rig_send_to(&r, "first@d00.test");
	WAIT_UNTIL(rig_waiting(&r) == 0);
	mx_stands(&r);
	send_bulk(&r, BULK, DOMAINS);
	WAIT_UNTIL(rig_stats(&r).work >= BULK);
	send_from(&r, "list2@news.test", "other", "code", 5);
	WAIT_UNTIL(rig_stats(&r).work > BULK);
	mx_goes(&r);
	assert_in_range(place_of(&r, "list2@news.test", 0), 1, SOON);
	assert_int_equal(r.mx.peak, 1);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sender_in_full_memory),
		cmocka_unit_test(test_pool_in_full_memory),
		cmocka_unit_test(test_sender_in_full_window),
		cmocka_unit_test(test_pool_in_full_window),
		cmocka_unit_test(test_many_senders),
		cmocka_unit_test(test_senders_in_turn),
		cmocka_unit_test(test_domains_in_turn),
		cmocka_unit_test(test_behind_many_in_the_queue),
		cmocka_unit_test(test_retry_behind_many),
		cmocka_unit_test(test_sources_of_its_own),
	};

	return cmocka_run_group_tests_name("dispatch fair", tests, NULL, NULL);
}
