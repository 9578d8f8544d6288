/* What a reply changes: lanes, causes, what becomes of the recipient. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The verdict table, on a pool where another subnet is free. */
static void test_dispositions(void **state)
{
	static const struct {
		const char *name;
		enum verdict verdict;
		uint16_t code;
		enum disposition what;
	} rows[] = {
		{ "accepted", VERDICT_DELIVERED, 250, DISPOSE_DELIVERED },
		{ "throttled", VERDICT_SOURCE_THROTTLE, 451, DISPOSE_RETRY_SUBNET },
		{ "blocked", VERDICT_SOURCE_BLOCK, 450, DISPOSE_RETRY_SUBNET },
		{ "blocked for good", VERDICT_SOURCE_BLOCK, 550, DISPOSE_RETRY_SUBNET },
		{ "busy", VERDICT_DESTINATION_BUSY, 451, DISPOSE_DEFER },
		{ "busy, says 5xx", VERDICT_DESTINATION_BUSY, 554, DISPOSE_DEFER },
		{ "wrong region", VERDICT_DESTINATION_CONFIG, 451, DISPOSE_RESOLVE },
		{ "no such tenant", VERDICT_DESTINATION_CONFIG, 550, DISPOSE_BOUNCE },
		{ "too many at once", VERDICT_SPLIT_RECIPIENTS, 452, DISPOSE_RETRY_FEWER },
		{ "no such user", VERDICT_RECIPIENT_INVALID, 550, DISPOSE_BOUNCE },
		{ "full mailbox", VERDICT_RECIPIENT_INVALID, 452, DISPOSE_DEFER },
		{ "spam", VERDICT_MESSAGE_REJECTED, 554, DISPOSE_BOUNCE },
		{ "perhaps spam", VERDICT_MESSAGE_REJECTED, 451, DISPOSE_DEFER },
		{ "anything", VERDICT_TRANSIENT_OTHER, 451, DISPOSE_DEFER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_tried tried = { 0 };
		struct policy_choice c;
		struct rig r;

		rig_init(&r);
		c = rig_choose(&r);
		assert_int_equal(rig_result(&r, c.slot, rows[i].verdict, rows[i].code, &tried).what,
			rows[i].what);
		assert_int_equal(tried.n, rows[i].what == DISPOSE_RETRY_SUBNET);
		rig_deinit(&r);
	}
}

/* One subnet after the other, each once; then the message backs off. */
static void test_throttle(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct policy_verdict v;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	v = rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	assert_int_equal(v.what, DISPOSE_RETRY_SUBNET);
	rig_end(&r, c.slot);
	r.want.tried = &tried;
	c = rig_choose(&r);
	assert_true(c.go);
	assert_true((c.source == 2) != (tried.source[0] == 2));
	v = rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
	assert_int_equal(v.what, DISPOSE_DEFER);
	assert_string_equal(v.cause, "message"); /* two subnets were told the same */
	rig_end(&r, c.slot);
	rig_deinit(&r);
}

static void only_source(struct rig *r)
{
	rig_init(r);
	r->pools[0].nmembers = 1;
}

/* One refusal is no verdict; six in a row are. 60 s, then twice as long, a quarter of an hour at
 * most; forgotten when it was well for long. */
static void test_rest(void **state)
{
	ms_t expect = 60000, began;
	struct rig r;

	only_source(&r);
	began = r.now.wall;
	for (int i = 0; i < 12; i++) {
		struct policy_choice c = rig_choose(&r), why;
		struct policy_tried tried = { 0 };
		bool retire;

		assert_true(c.go);
		if (i) { /* a probe: refused once, it rests again */
			assert_true(rig_admit(&r, c.slot, &why, &retire));
			rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
		} else {
			rig_result(&r, c.slot, VERDICT_SOURCE_THROTTLE, 451, &tried);
			assert_true(rig_admit(&r, c.slot, &why, &retire));
			policy_unadmit(r.policy, r.now, c.slot);
			rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
		}
		assert_false(rig_admit(&r, c.slot, &why, &retire));
		assert_int_equal(why.reason, HOLD_RESTING);
		assert_true(retire);
		rig_end(&r, c.slot);
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RESTING);
		assert_true(
			c.until >= r.now.mono + expect && c.until <= r.now.mono + expect * 11 / 10);
		rig_pass(&r, expect * 11 / 10);
		/* half of the time since it began, a minute at least, ten at most */
		expect = (r.now.wall - began) / 2;
		expect = expect < 60000 ? 60000 : expect > 600000 ? 600000 : expect;
	}
	rig_deinit(&r);
}

/* A probe is one transaction; two that succeed bring it back, with a window of one. */
static void test_probe(void **state)
{
	struct policy_choice c, why;
	struct policy_tried tried = { 0 };
	bool retire;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	rig_pass(&r, 66000);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING); /* one is under way */
	for (int i = 0; i < 2; i++) {
		assert_true(rig_admit(&r, c.slot, &why, &retire));
		assert_false(rig_admit(&r, c.slot, &why, &retire));
		assert_false(retire);
		rig_result(&r, c.slot, VERDICT_DELIVERED, 250, &tried);
	}
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	assert_int_equal(rig_choose(&r).reason, HOLD_WINDOW);
	rig_deinit(&r);
}

/* Never bounced: held when no source is left, and looked at again after minutes. */
static void test_block(void **state)
{
	struct policy_tried tried = { 0 };
	struct policy_choice c;
	struct policy_verdict v;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	assert_int_equal(rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	/* another subnet, then the other source of the first */
	for (int i = 0; i < 2; i++) {
		r.want.tried = &tried;
		c = rig_choose(&r);
		if (!c.go) { /* only the sibling is left: the message may go there, too */
			tried.n = 0;
			c = rig_choose(&r);
		}
		assert_true(c.go);
		v = rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
		if (v.what == DISPOSE_HOLD)
			break;
	}
	r.want.tried = NULL;
	while ((c = rig_choose(&r)).go) {
		tried.n = 0;
		v = rig_result(&r, c.slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	}
	assert_int_equal(v.what, DISPOSE_HOLD);
	assert_int_equal(v.reason, HOLD_BLOCKED);
	assert_true(v.hold > 0 && v.hold <= 330000);
	assert_int_equal(c.reason, HOLD_BLOCKED);
	/* at another provider nobody is blocked */
	r.want.provider = 1;
	assert_true(rig_choose(&r).go);
	r.want.provider = 0;
	rig_pass(&r, 330000);
	for (uint32_t slot = 0; slot < 3; slot++)
		rig_end(&r, slot);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* A tenant's own block list keeps the source from that tenant alone. */
static void test_tenant_block(void **state)
{
	struct classification k = { .verdict = VERDICT_SOURCE_BLOCK, .scope = SCOPE_DOMAIN };
	struct policy_tried tried = { 0 };
	struct policy_choice c, why;
	bool retire;
	struct rig r;

	rig_init(&r);
	r.pools[0].nmembers = 2; /* a1 and a2, of one subnet */
	c = rig_choose(&r);
	assert_int_equal(rig_result_of(&r, c.slot, "example.org", &k, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	assert_false(rig_admit(&r, c.slot, &why, &retire));
	assert_int_equal(why.reason, HOLD_NO_SOURCE);
	assert_false(retire);
	for (int i = 0; i < 2; i++) {
		struct policy_choice other = rig_choose(&r);

		assert_true(other.go);
		assert_true(other.source != c.source);
	}
	r.want.domain = "example.net";
	assert_true(rig_admit(&r, c.slot, &why, &retire));
	r.want.domain = "example.org";
	for (uint32_t slot = 0; slot < 3; slot++)
		rig_end(&r, slot);
	rig_pass(&r, 4 * 3600000);
	assert_true(rig_choose(&r).source != rig_choose(&r).source);
	rig_deinit(&r);
}

/* A message that is refused as from a blocked source by all, while others go: it may be the
 * message, and others are tried soon. */
static void test_poison(void **state)
{
	struct policy_tried tried = { .message = 7 };
	struct policy_choice c[2], why;
	bool retire;
	struct rig r;

	rig_init(&r);
	c[0] = rig_choose(&r);
	do
		c[1] = rig_choose(&r);
	while (c[1].source / 2 == c[0].source / 2);
	for (int i = 0; i < 8; i++) {
		struct policy_tried fresh = { 0 };

		rig_result(&r, c[i % 2].slot, VERDICT_DELIVERED, 250, &fresh);
	}
	assert_int_equal(rig_result(&r, c[0].slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET);
	assert_false(rig_admit(&r, c[0].slot, &why, &retire));
	assert_int_equal(rig_result(&r, c[1].slot, VERDICT_SOURCE_BLOCK, 550, &tried).what,
		DISPOSE_RETRY_SUBNET); /* the sibling is left */
	rig_pass(&r, 60000);
	assert_true(rig_admit(&r, c[1].slot, &why, &retire));
	assert_true(rig_admit(&r, c[0].slot, &why, &retire)); /* as a probe */
	/* a second message tells the same: it is the source */
	tried = (struct policy_tried){ .message = 8 };
	rig_result(&r, c[1].slot, VERDICT_SOURCE_BLOCK, 550, &tried);
	assert_false(rig_admit(&r, c[1].slot, &why, &retire));
	assert_int_equal(why.reason, HOLD_NO_SOURCE);
	rig_deinit(&r);
}

static void test_bind_failure(void **state)
{
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	policy_disconnected(r.policy, r.now, c.slot, NULL, POLICY_E_BIND);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_NO_SOURCE);
	assert_int_equal(c.until, r.now.mono + 60000);
	rig_pass(&r, 60000);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

static void test_refused_session(void **state)
{
	struct classification k = { .verdict = VERDICT_SOURCE_THROTTLE };
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	for (int i = 0; i < 6; i++) {
		c = rig_choose(&r);
		assert_true(c.go);
		policy_disconnected(r.policy, r.now, c.slot, &k, 0);
	}
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING);
	rig_deinit(&r);
}

static void test_backoff(void **state)
{
	static const ms_t schedule[] = { 300000, 600000, 1200000, 1200000, 1200000 };
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < COUNT(schedule); i++) {
		ms_t low = INT64_MAX, high = 0;

		for (int k = 0; k < 1000; k++) {
			ms_t d = policy_backoff(r.policy, (unsigned)i + 1);

			low = d < low ? d : low;
			high = d > high ? d : high;
		}
		assert_true(low >= schedule[i] * 8 / 10 && low < schedule[i] * 85 / 100);
		assert_true(high <= schedule[i] * 12 / 10 && high > schedule[i] * 115 / 100);
	}
	rig_deinit(&r);
}

/* ---- operator ---- */

static void test_suspend(void **state)
{
	static const struct {
		const char *source, *where;
		bool a1_here, a1_there; /* may a1 go to the first provider, to the second? */
	} rows[] = {
		{ "a1", NULL, false, false },
		{ "a1", "microsoft365", false, true },
		{ "a1", "203.0.113.0/24", false, false },
		{ "b1", NULL, true, true },
		{ NULL, "default", true, false },
		{ NULL, NULL, false, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct policy_choice c;
		struct rig r;

		only_source(&r);
		assert_true(policy_suspend(r.policy, r.now, rows[i].source, rows[i].where,
				    WALL + 5000) >= 0);
		c = rig_choose(&r);
		assert_int_equal(c.go, rows[i].a1_here);
		if (!c.go) {
			assert_int_equal(c.reason, HOLD_SUSPENDED);
			assert_int_equal(c.until, r.now.mono + 5000);
		}
		r.want.provider = 1;
		assert_int_equal(rig_choose(&r).go, rows[i].a1_there);
		r.want.provider = 0;
		rig_pass(&r, 5000);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
	}
}

/* What mail has not come to yet may be named; and what cannot be a place may not. */
static void test_places(void **state)
{
	static const struct {
		const char *where;
		int result;
		bool here; /* holds what goes to 203.0.113.0/24 */
	} rows[] = {
		{ "203.0.113.0/24", POLICY_NOT_MET, true },
		{ "203.0.112.0/23", POLICY_NOT_MET, true },
		{ "microsoft365", 0, true },
		{ "203.0.112.0/24", POLICY_NOT_MET, false },
		{ "2001:db8::/32", POLICY_NOT_MET, false },
		{ "2001:db8::/64", -ENXIO, false },
		{ "203.0.113.7", -ENXIO, false },
		{ "EUR01", POLICY_NOT_MET, false },
		{ "eurprd05", POLICY_NOT_MET, false },
		{ "JPNP286", POLICY_NOT_MET, false },
		{ "ptr-NAMpr12", POLICY_NOT_MET, false },
		{ "EUR", POLICY_NOT_MET, false },
		{ "eur", POLICY_NOT_MET, false },
		{ "XYZ", -ENXIO, false },
		{ "", -ENXIO, false },
		{ "EUR0l", -ENXIO, false },
		{ "EUR 01", -ENXIO, false },
		{ "t1.example", -ENXIO, false },
		{ "Microsoft365", -ENXIO, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rig r;

		only_source(&r);
		assert_int_equal(
			policy_suspend(r.policy, r.now, "a1", rows[i].where, 0), rows[i].result);
		assert_int_equal(rig_choose(&r).go, !rows[i].here);
		assert_int_equal(policy_keep(r.policy, r.now, "a1", rows[i].where, 0) < 0,
			rows[i].result < 0);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
	}
}

static void test_resume(void **state)
{
	struct rig r;

	only_source(&r);
	assert_int_equal(policy_suspend(r.policy, r.now, "nobody", NULL, 0), -ENOENT);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", "nowhere", 0), -ENXIO);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", NULL), -ENOENT);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", NULL, 0), 0);
	assert_false(rig_choose(&r).go);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", NULL), 0);
	assert_true(rig_choose(&r).go);
	rig_deinit(&r);
}

/* Rests of our own may be ended, and forbidden for a time. */
static void test_keep(void **state)
{
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	assert_false(rig_choose(&r).go);
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "203.0.113.0/24"), 0);
	c = rig_choose(&r);
	assert_true(c.go);
	assert_int_equal(policy_keep(r.policy, r.now, "a1", "microsoft365", r.now.wall + 30000), 0);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	c = rig_choose(&r);
	assert_true(c.go);
	rig_end(&r, c.slot);
	rig_pass(&r, 30001);
	policy_tick(r.policy, r.now);
	assert_int_equal(rig_choose(&r).reason, HOLD_RESTING);
	rig_deinit(&r);
}

struct kept {
	char keys[16][400], values[16][200];
	size_t n;
};

static void keep(void *arg, struct slice key, struct slice value)
{
	struct kept *k = arg;

	assert_true(k->n < 16 && value.p);
	memcpy(k->keys[k->n], key.p, key.n);
	memcpy(k->values[k->n++], value.p, value.n);
}

static void drop_all(void *arg, struct slice key, struct slice value)
{
	assert_null(value.p);
	++*(unsigned *)arg;
}

static void load(struct rig *r, const struct kept *k)
{
	for (size_t i = 0; i < k->n; i++)
		assert_int_equal(
			policy_load(r->policy, slice_of(k->keys[i]), slice_of(k->values[i])), 0);
}

/* A rest that was begun when the clock was ten years ahead: loaded, or while it lasts. */
static void test_clock_set_back(void **state)
{
	const ms_t years = 10ll * 365 * 86400000;

	for (int running = 0; running < 2; running++) {
		struct kept *k = calloc(1, sizeof(*k));
		struct policy_choice c;
		struct rig r;
		ms_t rest;

		only_source(&r);
		policy_tick(r.policy, r.now);
		c = rig_choose(&r);
		rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
		rig_end(&r, c.slot);
		rest = rig_choose(&r).until - r.now.mono;
		r.now.wall -= years;
		if (running) {
			policy_tick(r.policy, r.now);
		} else {
			policy_save(r.policy, keep, k);
			rig_deinit(&r);
			only_source(&r);
			r.now.wall -= years;
			load(&r, k);
			policy_begin(r.policy, r.now);
		}
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_RESTING);
		assert_in_range(c.until - r.now.mono, 1, rest + rest / 10);
		rig_deinit(&r);
		free(k);
	}
}

static void test_save(void **state)
{
	struct kept *k = calloc(1, sizeof(*k)), *again = calloc(1, sizeof(*again));
	struct policy_choice c;
	unsigned dropped = 0;
	ms_t until;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	rig_end(&r, c.slot);
	until = rig_choose(&r).until;
	assert_true(policy_urgent(r.policy));
	policy_save(r.policy, keep, k);
	assert_int_equal(k->n, 2); /* the path, and the lane's window */
	policy_save(r.policy, keep, again);
	assert_int_equal(again->n, 0); /* only what has changed */
	rig_deinit(&r);

	only_source(&r);
	load(&r, k);
	c = rig_choose(&r);
	assert_int_equal(c.reason, HOLD_RESTING);
	assert_int_equal(c.until, until);
	assert_int_equal(policy_suspend(r.policy, r.now, "a1", "default", 0), 0);
	policy_save(r.policy, keep, again);
	assert_int_equal(again->n, 1);
	assert_int_equal(policy_resume(r.policy, r.now, "a1", "default"), 0);
	policy_save(r.policy, drop_all, &dropped);
	assert_int_equal(dropped, 1);
	rig_deinit(&r);

	only_source(&r);
	load(&r, again);
	r.want.provider = 1;
	assert_int_equal(rig_choose(&r).reason, HOLD_SUSPENDED);
	/* what is damaged or of another version is refused, not believed */
	assert_int_equal(
		policy_load(r.policy, slice_of("policy/lane/a1"), slice_of("2 5 5 5 5 ")), -EINVAL);
	assert_int_equal(
		policy_load(r.policy, slice_of(k->keys[0]), slice_of("1 5 5 5 5 ")), -EINVAL);
	assert_int_equal(policy_load(r.policy, slice_of(k->keys[0]), slice_of("")), -EINVAL);
	rig_deinit(&r);
	free(k);
	free(again);
}

static void count_lane(void *arg, const struct policy_lane_info *i)
{
	++*(unsigned *)arg;
	assert_string_equal(i->health, "resting");
	assert_string_equal(i->cause, "subnet");
	assert_string_equal(i->cluster, "203.0.113.0/24");
	assert_int_equal(i->deferred, 6);
	assert_true(i->recent_bad > 5 && i->recent_good < 1);
	assert_true(i->until >= WALL + 60000);
}

static void count_cluster(void *arg, const struct policy_cluster_info *i)
{
	++*(unsigned *)arg;
	assert_int_equal(i->connections, 1);
	assert_int_equal(i->cap, 6);
	assert_string_equal(i->how, "network");
}

/* What an operator ordered for an hour lasts an hour, by whatever clock. */
static void test_orders_after_a_step(void **state)
{
	const ms_t days = 3 * 86400000, hour = 3600000;

	for (int running = 0; running < 2; running++) {
		struct kept *k = calloc(1, sizeof(*k));
		struct policy_choice c;
		struct rig r;

		only_source(&r);
		policy_tick(r.policy, r.now);
		assert_true(policy_suspend(r.policy, r.now, "a1", NULL, r.now.wall + hour) >= 0);
		rig_pass(&r, 1000);
		r.now.wall -= days;
		if (running) {
			policy_tick(r.policy, r.now);
		} else {
			policy_save(r.policy, keep, k);
			rig_deinit(&r);
			only_source(&r);
			r.now.wall -= days;
			load(&r, k);
			policy_begin(r.policy, r.now);
		}
		c = rig_choose(&r);
		assert_int_equal(c.reason, HOLD_SUSPENDED);
		assert_in_range(c.until - r.now.mono, hour / 2, hour);
		rig_pass(&r, hour);
		policy_tick(r.policy, r.now);
		assert_true(rig_choose(&r).go);
		rig_deinit(&r);
		free(k);
	}
}

static void test_listing(void **state)
{
	unsigned lanes = 0, clusters = 0;
	struct policy_summary s;
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	policy_lanes(r.policy, r.now, count_lane, &lanes);
	policy_clusters(r.policy, r.now, count_cluster, &clusters);
	assert_int_equal(lanes, 1);
	assert_int_equal(clusters, 1);
	policy_summary(r.policy, r.now, &s);
	assert_int_equal(s.resting, 1);
	assert_int_equal(s.health_changes, 1);
	rig_deinit(&r);
}

struct by_cause {
	const char *cause; /* of the first provider */
	struct policy_cause_info info;
	unsigned rows;
};

static void keep_cause(void *arg, const struct policy_cause_info *i)
{
	struct by_cause *b = arg;

	b->rows++;
	if (!strcmp(i->cause, b->cause) && !strcmp(i->provider, "microsoft365"))
		b->info = *i;
}

static struct policy_cause_info cause_row(struct rig *r, const char *cause)
{
	struct by_cause b = { .cause = cause };

	policy_causes(r->policy, r->now, keep_cause, &b);
	/* seven causes but the message, at two providers */
	assert_int_equal(b.rows, 14);
	return b.info;
}

static void keep_kind(void *arg, const struct policy_event *e)
{
	struct policy_event *last = arg;

	*last = *e;
}

/* Each kind of rest, and of its end, is counted with its cause, and told. */
static void test_causes(void **state)
{
	struct policy_event last;
	struct policy_choice c;
	struct rig r;

	only_source(&r);
	c = rig_choose(&r);
	assert_int_equal(cause_row(&r, "").lanes, 1);
	rig_sicken(&r, c.slot, VERDICT_SOURCE_THROTTLE);
	assert_int_equal(cause_row(&r, "subnet").lanes, 1);
	assert_int_equal(cause_row(&r, "subnet").rests, 1);
	assert_int_equal(cause_row(&r, "subnet").returns, 0);
	assert_int_equal(policy_resume(r.policy, r.now, NULL, "microsoft365"), 0);
	rig_pass(&r, 60000); /* its window was halved just now */
	assert_int_equal(cause_row(&r, "subnet").lanes, 0);
	assert_int_equal(cause_row(&r, "subnet").returns, 1);
	policy_events(r.policy, keep_kind, &last);
	assert_int_equal(last.kind, POLICY_EVENT_RESUMED);
	assert_string_equal(last.cause, "operator");
	assert_string_equal(last.provider, "microsoft365");
	rig_deinit(&r);

	rig_init(&r);
	c = rig_choose(&r);
	rig_result_of(&r, c.slot, "example.org",
		&(struct classification){
			.verdict = VERDICT_SOURCE_BLOCK, .voice = VOICE_PROVIDER },
		550, &(struct policy_tried){ 0 });
	assert_int_equal(cause_row(&r, "source").rests, 1);
	assert_int_equal(cause_row(&r, "source").lanes, 1);
	assert_int_equal(policy_resume(r.policy, r.now, r.sources[c.source].name, NULL), 0);
	assert_int_equal(cause_row(&r, "source").returns, 1);
	assert_int_equal(
		policy_suspend(r.policy, r.now, NULL, "203.0.113.0/24", r.now.wall + 1000), 0);
	policy_events(r.policy, keep_kind, &last);
	assert_int_equal(last.kind, POLICY_EVENT_SUSPENDED);
	assert_string_equal(last.cluster, "203.0.113.0/24");
	assert_int_equal(last.until, r.now.wall + 1000);
	assert_int_equal(cause_row(&r, "operator").lanes, 1);
	rig_pass(&r, 1000);
	policy_tick(r.policy, r.now);
	policy_events(r.policy, keep_kind, &last);
	assert_int_equal(last.kind, POLICY_EVENT_RESUMED);
	assert_true(last.over);
	rig_deinit(&r);
}

static void keep_alarm(void *arg, const struct policy_event *e)
{
	enum policy_event_kind *kinds = arg;
	unsigned i = 0;

	while (kinds[i])
		i++;
	if (e->alarm || e->over)
		kinds[i] = e->kind;
}

/* Ten minutes, a message a second: one in seven is refused with words of that scope, and all of
 * the first ones. The kinds of the alarms of the first two minutes, and of all, are added. */
static void alarm_run(struct rig *r, uint32_t slot, enum verdict_scope scope, int first,
	enum policy_event_kind *early, enum policy_event_kind *kinds)
{
	for (int i = 0; i < 600; i++) {
		struct policy_tried tried = { 0 };
		char domain[32];
		struct classification k = { .verdict = i % 7 && i > first
							       ? VERDICT_DELIVERED
							       : VERDICT_DESTINATION_BUSY,
			.scope = scope };

		snprintf(domain, sizeof(domain), "t%d.example", i);
		rig_result_of(r, slot, domain, &k, k.verdict ? 451 : 250, &tried);
		rig_pass(r, 1000);
		policy_tick(r->policy, r->now);
		policy_events(r->policy, keep_alarm, i <= 120 ? early : kinds);
	}
}

/* Full mailboxes and messages that are put off say nothing of sources and clusters. */
static void test_no_alarm(void **state)
{
	static const enum verdict_scope scopes[] = { SCOPE_RECIPIENT, SCOPE_MESSAGE, SCOPE_SENDER };

	for (size_t i = 0; i < COUNT(scopes); i++) {
		enum policy_event_kind kinds[16] = { 0 };
		struct policy_summary summary;
		struct policy_choice c;
		struct rig r;

		rig_init(&r);
		c = rig_choose(&r);
		alarm_run(&r, c.slot, scopes[i], 60, kinds, kinds);
		assert_int_equal(kinds[0], 0);
		policy_summary(r.policy, r.now, &summary);
		assert_int_equal(summary.deferrals_high, 0);
		rig_deinit(&r);
	}
}

/* Over ten per cent for minutes; a moment alone is nothing. */
static void test_alarm(void **state)
{
	enum policy_event_kind early[16] = { 0 }, kinds[16] = { 0 };
	struct policy_summary summary;
	struct policy_choice c;
	struct rig r;

	rig_init(&r);
	c = rig_choose(&r);
	alarm_run(&r, c.slot, SCOPE_CLUSTER, 3, early, kinds);
	assert_int_equal(early[0], 0);
	policy_events(r.policy, keep_alarm, kinds);
	assert_int_equal(kinds[0], POLICY_EVENT_DEFERRALS_HIGH);
	assert_int_equal(kinds[1], 0);
	policy_summary(r.policy, r.now, &summary);
	assert_int_equal(summary.deferrals_high, 1);
	/* it is over when less than half of that is deferred */
	for (int i = 0; i < 600 && summary.deferrals_high; i++) {
		rig_result(&r, c.slot, VERDICT_DELIVERED, 250, &(struct policy_tried){ 0 });
		rig_pass(&r, 1000);
		policy_tick(r.policy, r.now);
		policy_summary(r.policy, r.now, &summary);
	}
	assert_int_equal(summary.deferrals_high, 0);
	policy_events(r.policy, keep_alarm, kinds);
	assert_int_equal(kinds[1], POLICY_EVENT_DEFERRALS_NORMAL);
	assert_int_equal(kinds[2], 0);
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispositions),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_tenant_block),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_bind_failure),
		cmocka_unit_test(test_refused_session),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_save),
		cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_orders_after_a_step),
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_causes),
		cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_no_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
