/* The resolver over time and under load: memory, coalescing, bounds, shutting down. */
#include "dns_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MANY 10000

static struct ask many[MANY];

static void ask_many(void *arg)
{
	for (unsigned i = 0; i < MANY; i++) {
		many[i] = (struct ask){ .w = arg, .domain = i % 2 ? "ok.test" : "OK.TEST" };
		ask_now(&many[i]);
	}
}

static void unref_many(void *arg)
{
	for (unsigned i = 0; i < MANY; i++)
		ask_unref(&many[i]);
}

static bool all_answered(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (many[i].answers == 0)
			return false;
	}
	return true;
}

static void same_domain_is_asked_once(void **state)
{
	struct world w;

	world_begin(&w, world_params());
	runner_call(&w.r, ask_many, &w);
	WAIT_FOR(all_answered(MANY));
	/* one for the MX, one for each host */
	assert_int_equal(world_asked(&w), 3);
	assert_int_equal(world_stats(&w).queries, 3);
	assert_int_equal(world_stats(&w).coalesced, MANY - 1);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(many[i].answers, 1);
		assert_ptr_equal(many[i].route, many[0].route);
	}
	runner_call(&w.r, unref_many, &w);
	world_end(&w);
}

/* Asks again and again until the answer is the one wanted: the time-to-live decides when. */
static void resolve_until(struct world *w, const char *domain, const char *wanted)
{
	struct buf got;

	buf_init(&got, 0);
	for (ms_t until = clock_mono_ms() + 10000;;) {
		world_resolve(w, domain, &got, NULL);
		if (strcmp(buf_slice(&got).p, wanted) == 0)
			break;
		if (clock_mono_ms() > until)
			fail_msg("%s: %s, not %s", domain, buf_slice(&got).p, wanted);
		usleep(5000);
	}
	buf_deinit(&got);
}

static void set_rcode(struct world *w, const char *name, unsigned type, unsigned rcode)
{
	pthread_mutex_lock(&w->server.lock);
	dns_server_row(&w->server, name, type)->rcode = rcode;
	pthread_mutex_unlock(&w->server.lock);
}

static void set_manner(struct world *w, const char *name, unsigned type, enum dns_manner manner)
{
	pthread_mutex_lock(&w->server.lock);
	dns_server_row(&w->server, name, type)->manner = manner;
	pthread_mutex_unlock(&w->server.lock);
}

/* As Microsoft does: another answer each time. What left it is kept behind the current ones. */
static void rotated_addresses_are_kept_for_a_while(void **state)
{
	struct world w;
	struct dns_params p = world_params();

	world_begin(&w, p);
	set_record(&w, "implicit.test", A, 0, "192.0.2.31");
	resolve_until(&w, "implicit.test", "ok implicit 0 implicit.test 192.0.2.31");
	set_record(&w, "implicit.test", A, 0, "192.0.2.32");
	resolve_until(&w, "implicit.test", "ok implicit 0 implicit.test 192.0.2.32 +192.0.2.31");
	set_record(&w, "implicit.test", A, 0, "192.0.2.33");
	resolve_until(&w, "implicit.test",
		"ok implicit 0 implicit.test 192.0.2.33 +192.0.2.32 +192.0.2.31");
	set_record(&w, "implicit.test", A, 0, "192.0.2.31");
	resolve_until(&w, "implicit.test",
		"ok implicit 0 implicit.test 192.0.2.31 +192.0.2.33 +192.0.2.32");
	/* a name server that fails does not take them away at once */
	set_rcode(&w, "implicit.test", A, SERVFAIL);
	resolve_until(&w, "implicit.test",
		"ok implicit 0 implicit.test +192.0.2.31 +192.0.2.33 +192.0.2.32");
	world_end(&w);

	p.keep_addresses = 1;
	world_begin(&w, p);
	set_record(&w, "implicit.test", A, 0, "192.0.2.31");
	resolve_until(&w, "implicit.test", "ok implicit 0 implicit.test 192.0.2.31");
	set_record(&w, "implicit.test", A, 0, "192.0.2.32");
	resolve_until(&w, "implicit.test", "ok implicit 0 implicit.test 192.0.2.32");
	set_rcode(&w, "implicit.test", A, SERVFAIL);
	resolve_until(&w, "implicit.test", "temporary");
	world_end(&w);
}

/* The MX lives 60 s, the address no time: only the address is asked for again. */
static void each_record_has_its_own_time(void **state)
{
	struct world w;

	world_begin(&w, world_params());
	set_record(&w, "b.test", A, 0, "192.0.2.41");
	resolve_until(&w, "gone.test", "ok 20 b.test 192.0.2.41");
	set_record(&w, "b.test", A, 0, "192.0.2.42");
	resolve_until(&w, "gone.test", "ok 20 b.test 192.0.2.42 +192.0.2.41");
	assert_int_equal(world_asked_for(&w, "gone.test", MX, false), 1);
	assert_true(world_asked_for(&w, "b.test", A, false) >= 2);
	world_end(&w);
}

static void forgetting_asks_again(void **state)
{
	struct ask a = { .domain = "gone.test" };
	struct world w;
	struct buf got;

	buf_init(&got, 0);
	world_begin(&w, world_params());
	a.w = &w;
	world_resolve(&w, "gone.test", &got, NULL);
	set_record(&w, "b.test", A, 0, "192.0.2.42");
	runner_call(&w.r, ask_forget, &a);
	world_resolve(&w, "gone.test", &got, NULL);
	assert_string_equal(buf_slice(&got).p, "ok 20 b.test 192.0.2.42");
	assert_int_equal(world_asked_for(&w, "gone.test", MX, false), 2);
	world_end(&w);
	buf_deinit(&got);
}

/* Two run, three more wait, all others are told at once. */
static void ask_twenty(void *arg)
{
	static char names[20][16];
	struct dns_stats s;
	struct world *w = arg;

	for (unsigned i = 0; i < 20; i++) {
		snprintf(names[i], sizeof(names[i]), "n%u.test", i);
		many[i] = (struct ask){ .w = w, .domain = names[i] };
		ask_now(&many[i]);
		dns_stats(w->dns, &s);
		assert_true(s.running <= 2 && s.waiting <= 3);
	}
}

static void lookups_are_bounded(void **state)
{
	struct dns_params p = world_params();
	struct world w;

	p.running_max = 2;
	p.waiting_max = 3;
	world_begin(&w, p);
	runner_call(&w.r, ask_twenty, &w);
	WAIT_FOR(all_answered(20));
	for (unsigned i = 0; i < 20; i++) {
		bool served = i < 3;

		assert_int_equal(many[i].answers, 1);
		assert_int_equal(many[i].inside, !served);
		assert_int_equal(many[i].route->status, served ? DNS_NXDOMAIN : DNS_TEMPORARY);
		if (!served)
			assert_string_equal(many[i].route->detail, "too many look-ups at once");
	}
	for (unsigned i = 0; i < 20; i++)
		runner_call(&w.r, ask_unref, &many[i]);
	world_end(&w);
}

static void memory_is_bounded(void **state)
{
	struct dns_params p = world_params();
	struct world w;
	struct buf got;
	char name[32];
	unsigned n;

	buf_init(&got, 0);
	p.cache_max = 10;
	p.ttl_min = 5000;
	world_begin(&w, p);
	world_resolve(&w, "implicit.test", &got, NULL);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		world_resolve(&w, name, &got, NULL);
		/* used again and again, so it is not the one to go */
		assert_true(world_resolve(&w, "implicit.test", &got, NULL));
	}
	assert_int_equal(world_stats(&w).names, 10);
	n = world_asked(&w);
	world_resolve(&w, "n0.test", &got, NULL);
	assert_int_equal(world_asked(&w), n + 1);
	world_end(&w);
	buf_deinit(&got);
}

/* Freed while look-ups run and wait: all are answered, none later. */
static void ask_and_free(void *arg)
{
	struct world *w = arg;

	many[0] = (struct ask){ .w = w, .domain = "drop.test" };
	many[1] = (struct ask){ .w = w, .domain = "drop.test" };
	many[2] = (struct ask){ .w = w, .domain = "ok.test" };
	for (unsigned i = 0; i < 3; i++)
		ask_now(&many[i]);
	world_free(w);
}

static void freeing_answers_what_runs(void **state)
{
	struct dns_params p = world_params();
	struct world w;

	p.running_max = 1;
	world_begin(&w, p);
	runner_stop(&w.r, ask_and_free, &w);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(many[i].answers, 1);
		assert_int_equal(many[i].route->status, DNS_TEMPORARY);
		assert_non_null(strstr(many[i].route->detail, "shutting down"));
		ask_unref(&many[i]);
	}
	dns_server_stop(&w.server);
}

static void no_server_is_temporary(void **state)
{
	struct world w;
	struct buf got;
	char detail[128];
	const char *nowhere[1];

	buf_init(&got, 0);
	world_begin(&w, world_params());
	runner_call(&w.r, world_free, &w);
	dns_server_stop(&w.server);
	nowhere[0] = w.server.address;
	w.params.servers = nowhere;
	runner_call(&w.r, world_new, &w);
	world_resolve(&w, "ok.test", &got, detail);
	assert_string_equal(buf_slice(&got).p, "temporary");
	runner_stop(&w.r, world_free, &w);
	buf_deinit(&got);
}

/* The first of two servers fails in one way or the other: the second is asked. */
static void second_server_is_asked(void **state)
{
	static const struct {
		unsigned rcode;
		enum dns_manner manner;
	} rows[] = { { SERVFAIL, ANSWER }, { REFUSED, ANSWER }, { 0, DROP } };

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct dns_row bad[] = { { "gone.test", MX, rows[i].rcode, rows[i].manner } };
		struct dns_server first;
		const char *two[2];
		struct world w;
		struct buf got;

		buf_init(&got, 0);
		world_begin(&w, world_params());
		runner_call(&w.r, world_free, &w);
		dns_server_start(&first, bad, 1);
		two[0] = first.address;
		two[1] = w.server.address;
		w.params.servers = two;
		w.params.nservers = 2;
		runner_call(&w.r, world_new, &w);
		world_resolve(&w, "gone.test", &got, NULL);
		assert_true(world_asked_for(&w, "gone.test", MX, false) > 0);
		world_end(&w);
		dns_server_stop(&first);
		buf_deinit(&got);
	}
}

struct ptr_ask {
	struct world *w;
	struct addr a;
	char name[256];
	unsigned answers;
	bool none;
};

static void on_ptr(void *arg, const char *name)
{
	struct ptr_ask *a = arg;

	pthread_mutex_lock(&fixture_lock);
	a->none = !name;
	snprintf(a->name, sizeof(a->name), "%s", name ? name : "");
	a->answers++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

static void ask_ptr_twice(void *arg)
{
	struct ptr_ask *a = arg;

	dns_ptr(a->w->dns, &a->a, on_ptr, a);
	dns_ptr(a->w->dns, &a->a, on_ptr, a);
}

static void ask_ptr(void *arg)
{
	struct ptr_ask *a = arg;

	dns_ptr(a->w->dns, &a->a, on_ptr, a);
}

static void names_of_addresses(void **state)
{
	static const struct {
		const char *addr, *name;
	} rows[] = {
		{ "192.0.2.1", "mail-am6.example.test" },
		{ "2001:db8::2", "six.example.test" },
		{ "192.0.2.99", NULL },
	};
	struct world w;

	world_begin(&w, world_params());
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ptr_ask a = { .w = &w, .a = address(rows[i].addr) };
		unsigned n = world_asked(&w);

		runner_call(&w.r, ask_ptr_twice, &a);
		WAIT_FOR(a.answers == 2);
		/* from memory, inside the call */
		runner_call(&w.r, ask_ptr, &a);
		assert_int_equal(a.answers, 3);
		assert_int_equal(a.none, !rows[i].name);
		if (rows[i].name)
			assert_string_equal(a.name, rows[i].name);
		assert_int_equal(world_asked(&w), n + 1);
	}
	world_end(&w);
}

/* A renewal that takes long: the old route serves meanwhile, for as long as addresses are kept. */
static void old_route_serves_while_it_is_renewed(void **state)
{
	struct dns_params p = world_params();
	ms_t begun;
	struct world w;
	struct buf got;

	buf_init(&got, 0);
	p.timeout = 3000;
	world_begin(&w, p);
	set_record(&w, "implicit.test", A, 0, "192.0.2.31");
	resolve_until(&w, "implicit.test", "ok implicit 0 implicit.test 192.0.2.31");
	set_manner(&w, "implicit.test", A, DROP);
	usleep(150000); /* beyond its time-to-live */
	begun = clock_mono_ms();
	world_resolve(&w, "implicit.test", &got, NULL);
	assert_string_equal(buf_slice(&got).p, "ok implicit 0 implicit.test 192.0.2.31");
	assert_true(clock_mono_ms() - begun < 1500);
	/* from then on at once */
	assert_true(world_resolve(&w, "implicit.test", &got, NULL));
	world_end(&w);
	buf_deinit(&got);
}

/* The same when the MX cannot be asked for any more, and the domain was not in use for a while. */
static void old_mx_serves_when_the_server_fails(void **state)
{
	struct dns_params p = world_params();
	struct world w;

	p.ttl_max = 1000;
	world_begin(&w, p);
	resolve_until(&w, "gone.test", "ok 20 b.test 192.0.2.2");
	set_rcode(&w, "gone.test", MX, SERVFAIL);
	usleep(1200000);
	resolve_until(&w, "gone.test", "ok 20 b.test 192.0.2.2");
	assert_true(world_asked_for(&w, "gone.test", MX, false) >= 2);
	world_end(&w);
}

/* Silent names are asked seldom, and do not push others out of memory. */
static void silent_names_are_left_alone(void **state)
{
	struct dns_params p = world_params();
	struct ask a = { .domain = "drop.test" };
	char detail[128], name[32];
	struct world w;
	struct buf got;
	unsigned n, m = 0;

	buf_init(&got, 0);
	p.cache_max = 20;
	p.ttl_min = 60000;
	p.negative_ttl = 60000;
	world_begin(&w, p);
	world_resolve(&w, "implicit.test", &got, NULL);
	a.w = &w;
	runner_call(&w.r, ask_now, &a);
	/* others are answered meanwhile: it is not our own name server */
	while (!a.answers) {
		snprintf(name, sizeof(name), "m%u.test", m++);
		world_resolve(&w, name, &got, NULL);
	}
	assert_int_equal(a.route->status, DNS_TEMPORARY);
	runner_call(&w.r, ask_unref, &a);
	n = world_asked_for(&w, "drop.test", MX, false);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		world_resolve(&w, name, &got, NULL);
	}
	/* pushed out long ago, and still known to be silent */
	world_resolve(&w, "ok.test", &got, NULL);
	world_resolve(&w, "drop.test", &got, detail);
	assert_string_equal(buf_slice(&got).p, "temporary");
	assert_int_equal(world_asked_for(&w, "drop.test", MX, false), n);
	world_end(&w);
	buf_deinit(&got);
}

/* Few questions go by one source port. */
static void ports_are_many(void **state)
{
	static char names[900][16];
	struct world w;
	unsigned ports;

	world_begin(&w, world_params());
	for (unsigned i = 0; i < COUNT_OF(names); i++) {
		snprintf(names[i], sizeof(names[i]), "p%u.test", i);
		many[i] = (struct ask){ .w = &w, .domain = names[i] };
		runner_call(&w.r, ask_now, &many[i]);
	}
	WAIT_FOR(all_answered(COUNT_OF(names)));
	pthread_mutex_lock(&w.server.lock);
	ports = w.server.nports;
	assert_true(w.server.port_most <= 32);
	pthread_mutex_unlock(&w.server.lock);
	assert_true(ports >= COUNT_OF(names) / 32);
	for (unsigned i = 0; i < COUNT_OF(names); i++)
		runner_call(&w.r, ask_unref, &many[i]);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_domain_is_asked_once),
		cmocka_unit_test(rotated_addresses_are_kept_for_a_while),
		cmocka_unit_test(each_record_has_its_own_time),
		cmocka_unit_test(forgetting_asks_again),
		cmocka_unit_test(lookups_are_bounded),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(freeing_answers_what_runs),
		cmocka_unit_test(no_server_is_temporary),
		cmocka_unit_test(second_server_is_asked),
		cmocka_unit_test(old_route_serves_while_it_is_renewed),
		cmocka_unit_test(old_mx_serves_when_the_server_fails),
		cmocka_unit_test(silent_names_are_left_alone),
		cmocka_unit_test(ports_are_many),
		cmocka_unit_test(names_of_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
