/* A policy with ramps in virtual time: days of mail in milliseconds. */
#include "warmup_world.h"

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* Pool "main": a1, a2, b1 (1:1:2); "other": b1 alone. The plan is b1's. */
void world_init(struct world *w, const uint32_t *daily, unsigned ndaily)
{
	static __typeof__(*((struct pool_params *)0)->members) only_b1[] = { { 2, 1 } };

	memset(w, 0, sizeof(*w));
	rig_params(&w->r);
	assert_true(ndaily <= COUNT(w->daily));
	memcpy(w->daily, daily, ndaily * sizeof(*daily));
	w->plan_sources[0] = 2;
	w->r.pools[1].members = (void *)only_b1;
	w->plans[0] = (struct warmup_params){
		.name = text("m365"),
		.sources = w->plan_sources,
		.nsources = 1,
		.start = START_DAY,
		.daily = w->daily,
		.ndaily = ndaily,
		.pace = PACE_NONE,
		.advance_at = 0.9,
		.hold_at = 0.005,
		.step_back_at = 0.05,
		.pause_at = 0.2,
		.idle_reset = 30,
	};
	w->r.params.warmups = w->plans;
	w->r.params.nwarmups = 1;
	w->r.now = (struct policy_now){ 1000, START };
	w->r.hosts[0] = (struct policy_host){ rig_addr("203.0.113.1"), 10, false };
	w->r.want = (struct policy_want){
		.pool = 1, .domain = "t0.example", .hosts = w->r.hosts, .nhosts = 1
	};
	rng_seed(&w->rng, 1);
	world_start(w);
}

static void put(void *arg, struct slice key, struct slice value)
{
	struct world *w = arg;
	unsigned i = 0;

	if ((!memmem(key.p, key.n, "/ramp/", 6) && !memmem(key.p, key.n, "/share/", 7)) ||
		w->disk_full)
		return;
	while (i < w->nstore &&
		(strlen(w->store[i].key) != key.n || memcmp(w->store[i].key, key.p, key.n)))
		i++;
	if (!value.p) {
		if (i < w->nstore)
			w->store[i] = w->store[--w->nstore];
		return;
	}
	if (i == w->nstore)
		w->nstore++;
	assert_true(i < STORE && key.n < sizeof(w->store[i].key) &&
		    value.n < sizeof(w->store[i].value));
	snprintf(w->store[i].key, sizeof(w->store[i].key), "%.*s", (int)key.n, key.p);
	snprintf(w->store[i].value, sizeof(w->store[i].value), "%.*s", (int)value.n, value.p);
}

void world_save(struct world *w)
{
	while (policy_warmup_wants(w->r.policy)) {
		uint64_t ticket;

		policy_save_warmup(w->r.policy, w->r.now, put, w, &ticket);
		policy_warmup_saved(w->r.policy, w->r.now, ticket, !w->disk_full);
	}
}

void world_start(struct world *w)
{
	assert_int_equal(policy_new(&w->r.policy, &w->r.params, rng_next(&w->rng)), 0);
	for (unsigned i = 0; i < w->nstore; i++)
		assert_int_equal(policy_load(w->r.policy, slice_of(w->store[i].key),
					 slice_of(w->store[i].value)),
			0);
	world_pass(w, 0);
}

void world_kill(struct world *w)
{
	w->r.policy = policy_free(w->r.policy);
}

void world_keep(struct world *w)
{
	policy_save(w->r.policy, put, w);
}

void world_stop(struct world *w)
{
	policy_end(w->r.policy, w->r.now);
	world_keep(w);
	world_kill(w);
}

void world_deinit(struct world *w)
{
	w->r.policy = policy_free(w->r.policy);
}

static void on_event(void *arg, const struct policy_event *e)
{
	struct world *w = arg;

	if (e->kind == POLICY_EVENT_HEALTH)
		return;
	w->last = *e;
	w->events[e->kind]++;
}

static void tick(struct world *w)
{
	policy_tick(w->r.policy, w->r.now);
	policy_events(w->r.policy, on_event, w);
	world_save(w);
}

void world_pass(struct world *w, ms_t ms)
{
	while (ms > 0) {
		ms_t step = ms < 60000 ? ms : 60000;

		rig_pass(&w->r, step);
		tick(w);
		ms -= step;
	}
	tick(w);
}

void world_answer(struct world *w, uint32_t slot, enum heard h)
{
	static const struct {
		enum verdict verdict;
		uint16_t code;
		bool reached;
	} rows[] = {
		[HEARD_ACCEPTED] = { VERDICT_DELIVERED, 0, true },
		[HEARD_THROTTLE] = { VERDICT_SOURCE_THROTTLE, 451, false },
		[HEARD_BLOCK] = { VERDICT_SOURCE_BLOCK, 550, false },
		[HEARD_BAD_RCPT] = { VERDICT_RECIPIENT_INVALID, 550, false },
		[HEARD_BAD_CONTENT] = { VERDICT_MESSAGE_REJECTED, 550, true },
		[HEARD_LOST] = { VERDICT_COUNT, 0, false },
	};
	struct policy_tried tried = { .message = rng_next(&w->rng) | 1 };
	const struct classification c = { .verdict = rows[h].verdict, .code = rows[h].code };
	struct policy_verdict v;

	if (h != HEARD_LOST)
		rig_hear(&w->r, slot, w->r.want.domain, &c, &tried, &v);
	rig_end_if_any(&w->r, slot, rows[h].reached ? TXN_SENT : TXN_CUT);
}

bool world_send(struct world *w, const char *domain, enum heard h, int *source)
{
	struct policy_choice c, why;
	bool retire;

	w->r.want.domain = domain;
	if (source)
		*source = -1;
	c = rig_choose(&w->r);
	if (!c.go) {
		world_save(w);
		c = rig_choose(&w->r);
	}
	w->reason = c.reason;
	w->until = c.until;
	if (!c.go)
		return false;
	if (!rig_admit(&w->r, c.slot, &why, &retire)) {
		w->reason = why.reason;
		w->until = why.until;
		rig_end(&w->r, c.slot);
		return false;
	}
	world_answer(w, c.slot, h);
	if (source)
		*source = (int)c.source;
	if (h != HEARD_BAD_RCPT && h != HEARD_LOST)
		w->seen[c.source]++;
	w->accepted[c.source] += h == HEARD_ACCEPTED;
	rig_end(&w->r, c.slot);
	policy_events(w->r.policy, on_event, w);
	return true;
}

uint32_t world_traffic(struct world *w, ms_t span, uint32_t n, enum heard h)
{
	uint32_t went = 0;
	ms_t done = 0;

	for (uint32_t i = 0; i < n; i++) {
		char domain[32];
		ms_t at = (ms_t)((double)span * (i + 1) / n);

		snprintf(domain, sizeof(domain), "t%u.example", (unsigned)rng_below(&w->rng, 1000));
		went += world_send(w, domain, h, NULL);
		if (at - done >= 1000) {
			world_pass(w, at - done);
			done = at;
		}
	}
	world_pass(w, span - done);
	return went;
}

struct looking {
	const char *source;
	struct policy_warmup_info info;
};

static void look(void *arg, const struct policy_warmup_info *i)
{
	static char why[160];
	struct looking *l = arg;

	if (strcmp(l->source, i->source))
		return;
	l->info = *i;
	snprintf(why, sizeof(why), "%s", i->why);
	l->info.why = why;
}

struct policy_warmup_info world_info(struct world *w, const char *source)
{
	struct looking l = { .source = source };

	policy_warmups(w->r.policy, w->r.now, look, &l);
	assert_non_null(l.info.source);
	return l.info;
}

bool world_offer(struct world *w, unsigned cluster, world_takes *takes, void *arg, unsigned *source,
	bool *good)
{
	char domain[32], address[32];
	struct policy_choice c, why;
	bool retire, went;

	snprintf(domain, sizeof(domain), "t%u-%u.example", cluster,
		(unsigned)rng_below(&w->rng, 500));
	snprintf(address, sizeof(address), "203.0.%u.1", 113 + cluster);
	w->r.hosts[0].addr = rig_addr(address);
	w->r.want.domain = domain;
	c = rig_choose(&w->r);
	if (!c.go) {
		world_save(w);
		c = rig_choose(&w->r);
	}
	if (!c.go)
		return false;
	went = rig_admit(&w->r, c.slot, &why, &retire);
	if (went) {
		*source = c.source;
		*good = takes(w, c.source, cluster, arg);
		world_answer(w, c.slot, *good ? HEARD_ACCEPTED : HEARD_THROTTLE);
		w->seen[c.source]++;
	}
	rig_end(&w->r, c.slot);
	return went;
}
