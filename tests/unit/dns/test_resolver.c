/* Name resolution on its own thread: where and how answers come, bounds, shutting down. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "dns_world.h"
#include "postern/resolver.h"

#define MANY	 6000
#define DISTINCT 2000

struct question {
	char domain[32];
	struct dns_route *route;
	unsigned answers, turn; /* of the asker's loop, in which the last answer came */
	int taken;		/* what resolver_resolve said */
};

/* The asker: its loop, the name server, and what it asks. */
struct desk {
	struct world w;
	struct runner *r;
	struct resolver *resolver;
	struct loop_hook hook;
	struct question *q;
	unsigned n, answered, elsewhere, inside, turn, ask_on;
	bool in_call, forget, keep_back; /* keep_back: not flushed */
	pthread_t thread;
};

static void on_turn(void *arg)
{
	struct desk *d = arg;

	d->turn++;
}

static void on_answer(void *arg, void *of, struct dns_route *route)
{
	struct desk *d = arg;
	struct question *q = of;

	pthread_mutex_lock(&fixture_lock);
	dns_route_unref(q->route);
	q->route = route;
	q->answers++;
	q->turn = d->turn;
	d->answered++;
	d->inside += d->in_call;
	d->elsewhere += !pthread_equal(d->thread, pthread_self());
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
	if (d->ask_on) {
		d->ask_on--;
		q->taken = resolver_resolve(d->resolver, q->domain, q);
		resolver_flush(d->resolver);
	}
}

static void note_thread(void *arg)
{
	struct desk *d = arg;

	d->thread = pthread_self();
}

static void desk_make(struct desk *d, struct dns_params p, unsigned n)
{
	char error[200];

	*d = (struct desk){ .n = n, .q = calloc(n, sizeof(struct question)) };
	world_serve(&d->w, p);
	d->r = &d->w.r;
	runner_new(d->r, "asker");
	loop_at_end(d->r->loop, &d->hook, on_turn, d);
	if (resolver_new(
		    &d->resolver, &d->w.params, d->r->loop, on_answer, d, error, sizeof(error)))
		fail_msg("%s", error);
}

static void desk_begin(struct desk *d, struct dns_params p, unsigned n)
{
	desk_make(d, p, n);
	assert_int_equal(resolver_start(d->resolver), 0);
	assert_int_equal(loop_start(d->r->loop, note_thread, d), 0);
}

/* What every use of it must keep, besides. */
static void desk_end(struct desk *d)
{
	loop_stop(d->r->loop, NULL, NULL);
	d->resolver = resolver_free(d->resolver);
	loop_free(d->r->loop);
	dns_server_stop(&d->w.server);
	assert_int_equal(d->elsewhere, 0);
	assert_int_equal(d->inside, 0);
	for (unsigned i = 0; i < d->n; i++)
		dns_route_unref(d->q[i].route);
	free(d->q);
}

static void name_all(struct desk *d, const char *domain)
{
	for (unsigned i = 0; i < d->n; i++)
		snprintf(d->q[i].domain, sizeof(d->q[i].domain), "%s", domain);
}

static void ask_all(void *arg)
{
	struct desk *d = arg;

	d->in_call = true;
	if (d->forget)
		resolver_forget(d->resolver, d->q[0].domain);
	for (unsigned i = 0; i < d->n; i++)
		d->q[i].taken = resolver_resolve(d->resolver, d->q[i].domain, &d->q[i]);
	if (!d->keep_back)
		resolver_flush(d->resolver);
	d->in_call = false;
}

static void expect(struct desk *d, unsigned i, const char *route)
{
	struct buf got;

	buf_init(&got, 0);
	describe(d->q[i].route, &got);
	assert_string_equal(buf_slice(&got).p, route);
	buf_deinit(&got);
}

static void answers_are_those_of_the_cache(void **state)
{
	static const struct {
		const char *domain, *route;
	} rows[] = {
		{ "ok.test", "ok 10 a.test 192.0.2.1 192.0.2.11, 20 b.test 192.0.2.2" },
		{ "nx.test", "nxdomain" },
		{ "null.test", "null-mx" },
		{ "servfail.test", "temporary" },
		{ "[192.0.2.9]", "ok implicit 0 [192.0.2.9] 192.0.2.9" },
		{ "a..test", "nxdomain" },
		{ "", "nxdomain" },
	};
	struct desk d;

	desk_begin(&d, world_params(), COUNT_OF(rows));
	for (unsigned i = 0; i < d.n; i++)
		snprintf(d.q[i].domain, sizeof(d.q[i].domain), "%s", rows[i].domain);
	runner_call(d.r, ask_all, &d);
	WAIT_FOR(d.answered == d.n);
	for (unsigned i = 0; i < d.n; i++) {
		assert_int_equal(d.q[i].answers, 1);
		expect(&d, i, rows[i].route);
	}
	desk_end(&d);
}

/* Handed over at once, found in the cache, and handed back at once. */
static void questions_and_answers_travel_together(void **state)
{
	struct dns_params p = world_params();
	struct desk d;

	p.ttl_min = 60000;
	desk_begin(&d, p, 1000);
	name_all(&d, "ok.test");
	for (unsigned round = 1; round <= 2; round++) {
		runner_call(d.r, ask_all, &d);
		WAIT_FOR(d.answered == round * d.n);
		for (unsigned i = 0; i < d.n; i++) {
			assert_int_equal(d.q[i].answers, round);
			assert_int_equal(d.q[i].turn, d.q[0].turn);
			assert_ptr_equal(d.q[i].route, d.q[0].route);
		}
	}
	desk_end(&d);
}

static void forgetting_comes_before_asking(void **state)
{
	struct dns_params p = world_params();
	struct desk d;

	p.ttl_min = 60000;
	desk_begin(&d, p, 1);
	name_all(&d, "gone.test");
	runner_call(d.r, ask_all, &d);
	WAIT_FOR(d.answered == 1);
	expect(&d, 0, "ok 20 b.test 192.0.2.2");
	set_record(&d.w, "b.test", A, 0, "192.0.2.42");
	runner_call(d.r, ask_all, &d);
	WAIT_FOR(d.answered == 2);
	expect(&d, 0, "ok 20 b.test 192.0.2.2");
	d.forget = true;
	runner_call(d.r, ask_all, &d);
	WAIT_FOR(d.answered == 3);
	expect(&d, 0, "ok 20 b.test 192.0.2.42");
	desk_end(&d);
}

/* Names known and unknown, many more than run at once; statistics from a third thread meanwhile. */
static void many_are_answered_once_each(void **state)
{
	struct dns_params p = world_params();
	struct dns_stats s;
	struct desk d;

	p.timeout = 5000;
	p.running_max = 50;
	p.ttl_min = 60000;
	desk_begin(&d, p, MANY);
	for (unsigned i = 0; i < MANY; i++)
		snprintf(d.q[i].domain, sizeof(d.q[i].domain), "n%u.test", i % DISTINCT);
	runner_call(d.r, ask_all, &d);
	do {
		resolver_stats(d.resolver, &s);
		assert_true(s.running <= 50 && s.queries <= DISTINCT);
	} while (s.queries < DISTINCT / 2);
	WAIT_FOR(d.answered == MANY);
	resolver_stats(d.resolver, &s);
	assert_int_equal(s.queries, DISTINCT);
	assert_int_equal(s.coalesced + s.answers_cached, MANY - DISTINCT);
	assert_int_equal(s.names, DISTINCT);
	assert_int_equal(s.running, 0);
	assert_int_equal(s.waiting, 0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(d.q[i].answers, 1);
		assert_int_equal(d.q[i].route->status, DNS_NXDOMAIN);
	}
	desk_end(&d);
}

static void questions_out_are_bounded(void **state)
{
	struct dns_params p = world_params();
	struct desk d;

	p.waiting_max = 3;
	desk_begin(&d, p, 5);
	name_all(&d, "ok.test");
	/* what is to be forgotten takes its place, too, and gives it back */
	for (unsigned round = 0; round < 2; round++) {
		unsigned taken = round ? 2 : 3, before = d.answered;

		d.forget = round > 0;
		runner_call(d.r, ask_all, &d);
		WAIT_FOR(d.answered == before + taken);
		for (unsigned i = 0; i < d.n; i++)
			assert_int_equal(d.q[i].taken, i < taken ? 0 : -ENOBUFS);
	}
	d.forget = false;
	runner_call(d.r, ask_all, &d);
	WAIT_FOR(d.answered == 8);
	desk_end(&d);
}

static void an_answer_may_ask_on(void **state)
{
	struct desk d;

	desk_begin(&d, world_params(), 1);
	name_all(&d, "ok.test");
	d.ask_on = 4;
	runner_call(d.r, ask_all, &d);
	WAIT_FOR(d.answered == 5);
	assert_int_equal(d.q[0].taken, 0);
	desk_end(&d);
}

enum where { NOT_STARTED, KEPT_BACK, HANDED_OVER, LOOKED_UP, ANSWERED };

/* Until they are where the row wants them; the asker's loop has ended then, and takes nothing in.
 */
static void bring_to(struct desk *d, enum where where)
{
	struct dns_stats s;

	d->keep_back = where == KEPT_BACK;
	if (where != NOT_STARTED)
		assert_int_equal(resolver_start(d->resolver), 0);
	assert_int_equal(loop_start(d->r->loop, note_thread, d), 0);
	/* asked when the loop has looked for mail for the last time */
	loop_stop(d->r->loop, ask_all, d);
	while (where == LOOKED_UP && world_asked(&d->w) == 0)
		sched_yield();
	do
		resolver_stats(d->resolver, &s);
	while (where == ANSWERED && (s.queries == 0 || s.running > 0));
}

/* Nothing of them stays, and nobody is called. */
static void freeing_drops_what_is_out(void **state)
{
	static const struct {
		const char *domain;
		enum where where;
	} rows[] = {
		{ "ok.test", NOT_STARTED },
		{ "ok.test", KEPT_BACK },
		{ "ok.test", HANDED_OVER },
		{ "drop.test", LOOKED_UP },
		{ "nx.test", ANSWERED },
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct dns_params p = world_params();
		struct desk d;

		p.timeout = 60000; /* drop.test stays without an answer */
		desk_make(&d, p, 20);
		name_all(&d, rows[i].domain);
		bring_to(&d, rows[i].where);
		desk_end(&d);
		assert_int_equal(d.answered, 0);
	}
}

static void bad_parameters(void **state)
{
	static const char *const nonsense[] = { "not an address" };
	const struct dns_params rows[] = {
		{ .ipv4 = false, .ipv6 = false },
		{ .ipv4 = true, .servers = nonsense, .nservers = 1 },
	};
	struct resolver *resolver = NULL;
	struct runner r;
	char error[200];

	runner_new(&r, "asker");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		error[0] = '\0';
		assert_true(resolver_new(&resolver, &rows[i], r.loop, on_answer, NULL, error,
				    sizeof(error)) < 0);
		assert_true(error[0] != '\0');
		assert_null(resolver);
	}
	/* the loop is as it was */
	assert_int_equal(loop_start(r.loop, NULL, NULL), 0);
	runner_stop(&r, NULL, NULL);
	assert_null(resolver_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_those_of_the_cache),
		cmocka_unit_test(questions_and_answers_travel_together),
		cmocka_unit_test(forgetting_comes_before_asking),
		cmocka_unit_test(many_are_answered_once_each),
		cmocka_unit_test(questions_out_are_bounded),
		cmocka_unit_test(an_answer_may_ask_on),
		cmocka_unit_test(freeing_drops_what_is_out),
		cmocka_unit_test(bad_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
