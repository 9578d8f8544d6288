/* Work meets connections, in virtual time: a driver of few lines over the real policy, receivers that
 * take everything. Seed after seed of worlds with domains, hosts that they share, two pools and a
 * driver that is out of memory at times: nothing gets lost, no cap is passed, nobody starves. */
#include "postern/match.h"

#include <stdio.h>
#include <stdlib.h>

#include "../policy/rig.h"
#include "postern/must.h"
#include "postern/rng.h"

enum { DOMAINS = 40, FLOWS = DOMAINS * 2, HOSTS = 6, WORKS = 20000, CONNECTIONS = 64 };
enum { TRIP = 20, SENDING = 10, PIPELINE = 2 }; /* ms */

struct work {
	struct match_work match; /* first */
	struct flow *flow;
	ms_t came;
};
struct flow {
	struct match_flow match; /* first */
	struct policy_host hosts[2];
	unsigned host[2], pool, domain;
	uint32_t sent;
	ms_t longest; /* wait of one of its works */
};
struct connection {
	struct match_connection match; /* first */
	struct work *running[PIPELINE];
	bool used;
	ms_t at;	 /* of what it does now; 0: nothing */
	ms_t resumed_at; /* paused */
};
struct world {
	struct rig rig;
	struct match match;
	struct rng rng;
	struct match_domain domains[DOMAINS];
	struct flow flows[FLOWS];
	struct match_host hosts[HOSTS];
	struct connection connections[CONNECTIONS];
	struct work works[WORKS];
	unsigned nworks, done, peak, lacks; /* lacks: one call of so many fails; 0: none */
	unsigned opened, quits;
	char names[DOMAINS][16];
	bool has[2][4];
};

static bool fails(struct world *w)
{
	return w->lacks && rng_below(&w->rng, w->lacks) == 0;
}

static struct flow *flow_of(struct match_flow *f)
{
	return (struct flow *)f;
}

static void want(void *arg, struct match_flow *mf, struct match_work *what,
	struct match_connection *c, struct policy_want *ret)
{
	struct world *w = arg;
	struct flow *f = flow_of(mf);

	*ret = (struct policy_want){ .provider = 1,
		.pool = f->pool,
		.domain = w->names[f->domain],
		.hosts = f->hosts,
		.nhosts = 2,
		.tried = what->tried.n ? &what->tried : NULL };
}

static struct match_host *host(void *arg, struct match_flow *f, unsigned i)
{
	struct world *w = arg;

	return &w->hosts[flow_of(f)->host[i]];
}

static bool serves(const void *source, const void *pool)
{
	return ((const bool *)pool)[*(const unsigned *)source];
}

static bool open_one(void *arg, struct match_flow *f, struct match_work *what,
	const struct policy_choice *choice)
{
	struct world *w = arg;
	struct connection *c = w->connections;

	while (c < w->connections + CONNECTIONS && c->used)
		c++;
	if (c == w->connections + CONNECTIONS || fails(w)) {
		policy_disconnected(w->rig.policy, w->rig.now, choice->slot, NULL, 0);
		return false;
	}
	*c = (struct connection){ .used = true, .at = w->rig.now.mono + TRIP };
	c->match.provider = 1;
	match_opening(&w->match, &c->match, f, host(w, f, choice->host), choice);
	w->opened++;
	if (w->match.nconnections > w->peak)
		w->peak = w->match.nconnections;
	return true;
}

static void wait_for(void *arg, struct match_flow *f, const struct policy_choice *why)
{
	struct world *w = arg;

	waiter_wait(&w->match.places, &f->waiter, why, false, w->rig.now.mono);
}

static bool transact(void *arg, struct match_connection *mc, struct match_flow *f,
	struct match_work *what, uint32_t count)
{
	struct world *w = arg;
	struct connection *c = (struct connection *)mc;
	struct work *x = (struct work *)what;

	if (fails(w)) {
		wait_for(w, f,
			&(struct policy_choice){
				.reason = HOLD_CAP, .until = w->rig.now.mono + MATCH_AGAIN });
		return false;
	}
	assert_int_equal(count, 1);
	assert_true(mc->nrunning <= PIPELINE && serves(&mc->source, f->pool));
	match_remove(&w->match, f, what);
	if (mc->nrunning == 1)
		c->at = w->rig.now.mono + SENDING;
	c->running[mc->nrunning - 1] = x;
	w->domains[x->flow->domain].in_flight++;
	if (w->rig.now.mono - x->came > x->flow->longest)
		x->flow->longest = w->rig.now.mono - x->came;
	return true;
}

static bool quit(void *arg, struct match_connection *mc)
{
	struct world *w = arg;
	struct connection *c = (struct connection *)mc;

	if (fails(w))
		return false;
	w->quits++;
	if (!mc->nrunning)
		c->at = w->rig.now.mono + TRIP;
	return true;
}

static void pause_until(void *arg, struct match_connection *c, ms_t until)
{
	((struct connection *)c)->resumed_at = until;
}

static void domain_waits(void *arg, struct match_flow *f, const struct policy_choice *why)
{
	struct world *w = arg;

	match_unlink(&w->match, f);
	wait_for(arg, f, why);
}

static void never(void *arg, struct match_flow *f, struct match_work *w, ms_t until)
{
	fail();
}

static void never_rejoin(void *arg, struct match_flow *f, struct match_work *w)
{
	fail();
}

static void never_give_up(
	void *arg, struct match_flow *f, struct match_work *w, enum hold_reason why)
{
	fail();
}

static const struct match_driver driver = {
	.want = want,
	.host = host,
	.serves = serves,
	.open = open_one,
	.transact = transact,
	.quit = quit,
	.pause = pause_until,
	.wait = wait_for,
	.domain_waits = domain_waits,
	.aside = never,
	.rejoin = never_rejoin,
	.give_up = never_give_up,
};

static void init(struct world *w, uint32_t seed)
{
	memset(w, 0, sizeof(*w));
	rig_params(&w->rig);
	w->rig.providers[1].connection_idle_max = 5000;
	assert_int_equal(policy_new(&w->rig.policy, &w->rig.params, seed), 0);
	w->rig.now = (struct policy_now){ 1000, WALL };
	rng_seed(&w->rng, seed);
	match_init(&w->match, &driver, w);
	w->match.policy = w->rig.policy;
	w->match.params = &w->rig.params;
	w->match.pipeline = PIPELINE;
	must(places_reserve(&w->match.places, FLOWS));
	for (unsigned i = 0; i < HOSTS; i++)
		match_host_init(&w->hosts[i]);
	for (unsigned i = 0; i < 3; i++)
		w->has[0][i] = true;
	w->has[1][2] = true; /* of the second pool: one source that the first has, too */
	((struct pool_params *)&w->rig.pools[1])->members[0].source = 2;
	for (unsigned i = 0; i < FLOWS; i++) {
		struct flow *f = &w->flows[i];

		f->domain = i / 2;
		f->pool = i & 1;
		snprintf(w->names[f->domain], sizeof(w->names[0]), "d%u.example", f->domain);
		match_flow_init(&f->match, &w->domains[f->domain]);
		f->match.pool = w->has[f->pool];
		f->match.party = &w->has[f->pool][3];
		for (unsigned k = 0; k < 2; k++) {
			f->host[k] = (f->domain + k) % HOSTS;
			f->hosts[k] = (struct policy_host){ .preference = 10 };
			f->hosts[k].addr = (struct addr){ .family = ADDR_V4,
				.ip = { 203, 0, (uint8_t)(113 + f->host[k] / 3),
					(uint8_t)(1 + f->host[k]) } };
		}
	}
}

static void give(struct world *w, unsigned flow, unsigned n)
{
	while (n--) {
		struct work *x = &w->works[w->nworks++];

		must(w->nworks <= WORKS);
		match_work_init(&x->match);
		x->match.tried.message = w->nworks;
		x->flow = &w->flows[flow];
		x->came = w->rig.now.mono;
		match_push(&w->match, &x->flow->match, &x->match, false);
	}
}

static void finished(struct world *w, struct connection *c)
{
	static const struct classification good = { .verdict = VERDICT_DELIVERED };
	struct work *x = c->running[0];
	struct policy_verdict v;

	policy_result(w->rig.policy, w->rig.now, &x->match.txn, w->names[x->flow->domain], &good,
		&x->match.tried, &v);
	policy_txn_end(w->rig.policy, &x->match.txn, TXN_CUT);
	x->flow->sent++;
	w->done++;
	w->domains[x->flow->domain].in_flight--;
	c->running[0] = c->running[1];
	c->match.nrunning--;
	c->at = c->match.nrunning ? w->rig.now.mono + SENDING : 0;
	if (c->match.state == MATCH_QUITTING && !c->match.nrunning)
		c->at = w->rig.now.mono + TRIP;
	match_sort(&w->match, w->rig.now, &c->match);
	match_assign(&w->match, w->rig.now, &c->match);
}

static void happens(struct world *w, struct connection *c)
{
	struct smtp_client_info info = { .banner = "mx.example ESMTP" };
	struct match_host *h = c->match.host;
	struct match_flow *f = c->match.asked_by;

	c->at = 0;
	if (c->match.nrunning) {
		finished(w, c);
	} else if (c->match.state == MATCH_OPENING) {
		match_up(&c->match);
		policy_connected(w->rig.policy, w->rig.now, c->match.slot, &info);
		match_sort(&w->match, w->rig.now, &c->match);
		match_assign(&w->match, w->rig.now, &c->match);
		if (f && f->nready)
			waiter_ask(&w->match.places, &f->waiter);
	} else {
		match_down(&c->match);
		policy_disconnected(w->rig.policy, w->rig.now, c->match.slot, NULL, 0);
		match_gone(&w->match, &c->match);
		c->used = false;
		match_freed(&w->match, h, "", 4);
	}
}

static void turn(struct world *w)
{
	struct waiter *x;

	while ((x = places_due(&w->match.places, w->rig.now.mono)))
		waiter_over(&w->match.places, x);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &w->connections[i];

		if (c->used && c->at && c->at <= w->rig.now.mono)
			happens(w, c);
		if (c->used && c->match.paused && c->resumed_at <= w->rig.now.mono)
			match_resume(&w->match, w->rig.now, &c->match);
	}
	while ((x = places_asking(&w->match.places))) {
		struct match_flow *f = container(x, struct match_flow, waiter);

		if (!f->nready)
			continue;
		match_link(&w->match, w->rig.now, f);
		match_look(&w->match, w->rig.now, f);
	}
	if (w->rig.now.mono % 1000 == 0) {
		match_tick(&w->match, w->rig.now.mono);
		policy_tick(w->rig.policy, w->rig.now);
		match_freed(&w->match, NULL, NULL, 256);
	}
	assert_true(slots_counted(w->rig.policy));
}

static void run(struct world *w, ms_t ms)
{
	for (ms_t end = w->rig.now.mono + ms; w->rig.now.mono < end; rig_pass(&w->rig, 5))
		turn(w);
}

static void deinit(struct world *w)
{
	w->lacks = 0;
	match_drain(&w->match);
	run(w, 20000); /* all have quit: none is forgotten in a list */
	assert_int_equal(w->match.nconnections, 0);
	assert_true(list_empty(&w->match.idle) && list_empty(&w->match.all));
	for (unsigned i = 0; i < HOSTS; i++)
		assert_true(!w->hosts[i].up && !w->hosts[i].opening && !w->hosts[i].nidle &&
			    !turns_ranks(&w->hosts[i].turns));
	for (unsigned i = 0; i < FLOWS; i++) {
		assert_true(!w->flows[i].match.opening && !w->flows[i].match.nready);
		match_flow_deinit(&w->match, &w->flows[i].match);
	}
	match_deinit(&w->match);
	rig_deinit(&w->rig);
}

static unsigned seeds(unsigned normal)
{
	const char *s = getenv("SCHED_SEEDS");

	return s && atoi(s) > 0 ? (unsigned)atoi(s) / 10 + 1 : normal;
}

/* Bursts, single messages, pauses; at some seeds the driver lacks memory. All arrive. */
static void test_nothing_is_lost(void **state)
{
	static struct world w;

	for (uint32_t seed = 1; seed <= seeds(60); seed++) {
		init(&w, seed);
		w.lacks = seed % 3 ? 0 : 20;
		w.match.connections_max = seed % 2 ? 0 : 5;
		for (unsigned i = 0; i < 40; i++) {
			give(&w, (unsigned)rng_below(&w.rng, FLOWS),
				1 + (unsigned)rng_below(&w.rng, 20));
			run(&w, (ms_t)rng_below(&w.rng, 200) * 5);
		}
		w.lacks = 0;
		run(&w, 30000);
		assert_int_equal(w.done, w.nworks);
		/* two /24s, six places at each */
		assert_true(w.peak <= (w.match.connections_max ? 5 : 12));
		deinit(&w);
	}
}

/* One domain has very much for a receiver; another comes with a single message now and then, and a
 * third whose pool has one source alone: each gets a place within moments. */
static void test_nobody_starves(void **state)
{
	static struct world w;

	for (uint32_t seed = 1; seed <= seeds(20); seed++) {
		init(&w, seed);
		give(&w, 0, 8000);
		run(&w, 2000);
		for (unsigned i = 0; i < 10; i++) {
			give(&w, 2 * HOSTS, 1);	    /* the same hosts, the same pool */
			give(&w, 2 * HOSTS + 1, 1); /* the other pool */
			run(&w, 500);
		}
		run(&w, 3000);
		assert_int_equal(w.flows[2 * HOSTS].sent, 10);
		assert_int_equal(w.flows[2 * HOSTS + 1].sent, 10);
		assert_true(w.flows[2 * HOSTS].longest < 1000);
		assert_true(w.flows[2 * HOSTS + 1].longest < 4000);
		run(&w, 60000);
		assert_int_equal(w.done, w.nworks);
		deinit(&w);
	}
}

/* The longest that one of ten messages waited for its transaction, which came one after the other to
 * domain 7 in that rank; all: every other domain has hundreds of messages of the same pool. */
static ms_t waits_of(struct world *w, uint32_t seed, unsigned rank, bool all)
{
	struct flow *f = &w->flows[2 * 7 + 1];
	ms_t longest;

	init(w, seed);
	w->rig.providers[1].messages_per_connection = 50; /* as for Microsoft */
	for (unsigned i = 1; i < FLOWS; i += 2) {
		w->flows[i].pool = 0;
		w->flows[i].match.pool = w->has[0];
		w->flows[i].match.party = &w->has[0][3];
	}
	match_rank(&w->match, &f->match, rank);
	for (unsigned i = 0; all && i < FLOWS; i += 2)
		give(w, i, 400);
	run(w, 3000);
	for (unsigned i = 0; i < 10; i++) {
		give(w, 2 * 7 + 1, 1);
		run(w, 400);
	}
	assert_true(!all || w->nworks - w->done > 5000);
	assert_int_equal(f->sent, 10);
	longest = f->longest;
	run(w, 300000);
	assert_int_equal(w->done, w->nworks);
	deinit(w);
	return longest;
}

/* A code behind sixteen thousand newsletters, all of one pool and one sender, at receivers that are at
 * their cap: it is on its way in the time that it takes when nothing waits. Both ranks are served
 * while both have much. */
static void test_ranks(void **state)
{
	static struct world w;

	for (uint32_t seed = 1; seed <= seeds(10); seed++) {
		ms_t alone = waits_of(&w, seed, 0, false), first = waits_of(&w, seed, 0, true),
		     plain = waits_of(&w, seed, RANK_NORMAL, true);

		if (first > 2 * alone + SENDING)
			fail_msg("seed %u: %d ms, and %d with nothing else", seed, (int)first,
				(int)alone);
		assert_true(first < plain);
	}
	init(&w, 1);
	w.rig.providers[1].messages_per_connection = 50;
	match_rank(&w.match, &w.flows[2].match, 0);
	give(&w, 0, 5000);
	give(&w, 2, 5000);
	for (unsigned i = 0; i < 2; i++) /* at the same hosts */
		w.flows[2].host[i] = w.flows[0].host[i], w.flows[2].hosts[i] = w.flows[0].hosts[i];
	run(&w, 4000);
	assert_true(w.flows[2].sent > 8 * w.flows[0].sent);
	assert_true(w.flows[0].sent > w.flows[2].sent / 40);
	run(&w, 60000);
	assert_int_equal(w.done, w.nworks);
	deinit(&w);
}

/* A place that an idle connection holds is given up for a flow that it cannot serve. */
static void test_idle_makes_room(void **state)
{
	static struct world w;
	unsigned before;

	init(&w, 1);
	w.rig.providers[1].connections_per_cluster = 1;
	give(&w, 0, 1);
	run(&w, 100);
	assert_int_equal(w.done, 1);
	assert_int_equal(w.match.nconnections, 1);
	before = w.quits;
	give(&w, 2, 1); /* of another host, in the same cluster */
	w.flows[2].host[0] = w.flows[2].host[1] = 2;
	w.flows[2].hosts[0].addr.ip[3] = w.flows[2].hosts[1].addr.ip[3] = 3;
	run(&w, 200);
	assert_int_equal(w.quits, before + 1);
	assert_int_equal(w.done, 2);
	deinit(&w);
}

/* An open connection is used before another is opened, and a second transaction is given to one that
 * has one only where none is without. */
static void test_open_ones_first(void **state)
{
	static struct world w;

	init(&w, 1);
	give(&w, 0, 1);
	run(&w, 100);
	give(&w, 0, 1);
	turn(&w);
	assert_int_equal(w.opened, 1);
	run(&w, 100);
	assert_int_equal(w.done, 2);
	w.match.stalled = true; /* nothing new is begun */
	give(&w, 0, 1);
	run(&w, 1000);
	assert_int_equal(w.done, 2);
	w.match.stalled = false;
	waiter_ask(&w.match.places, &w.flows[0].match.waiter);
	run(&w, 1000);
	assert_int_equal(w.done, 3);
	deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_lost),
		cmocka_unit_test(test_nobody_starves),
		cmocka_unit_test(test_ranks),
		cmocka_unit_test(test_idle_makes_room),
		cmocka_unit_test(test_open_ones_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
