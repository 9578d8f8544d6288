/* Causes by comparison: words say little, what is taken elsewhere in the same minutes says who it
 * is. */
#include <stdio.h>

#include "rig.h"

/* One open connection of each source. */
struct ways {
	struct rig r;
	uint32_t slot[3];
	unsigned message;
};

static void up(struct rig *r, uint32_t slot)
{
	struct smtp_client_info info = { 0 };

	policy_connected(r->policy, r->now, slot, &info);
}

static void ways_open(struct ways *w)
{
	bool have[3] = { false };

	memset(w, 0, sizeof(*w));
	rig_init(&w->r);
	w->r.want.nhosts = 1;
	w->r.providers[0].messages_per_connection = 0;
	w->r.providers[0].connection_age_max = 0;
	for (unsigned n = 0; n < 40 && !(have[0] && have[1] && have[2]); n++) {
		struct policy_choice c = rig_choose(&w->r);

		assert_true(c.go);
		if (have[c.source]) {
			rig_end(&w->r, c.slot);
			continue;
		}
		have[c.source] = true;
		w->slot[c.source] = c.slot;
		up(&w->r, c.slot);
	}
	assert_true(have[0] && have[1] && have[2]);
}

/* One message of a sender's to a recipient of its own at the domain, over that source. */
static struct policy_verdict say(
	struct ways *w, unsigned source, const char *domain, const char *sender, enum verdict v)
{
	struct policy_tried tried = { .sender = sender };
	struct policy_choice why;
	struct classification c = { .verdict = v };
	bool retire;

	tried.message = ++w->message;
	tried.recipient = 1000 + w->message;
	rig_pass(&w->r, 200);
	w->r.want.domain = domain;
	w->r.want.sender = sender;
	rig_admit(&w->r, w->slot[source], &why, &retire);
	return rig_result_of(
		&w->r, w->slot[source], domain, &c, v == VERDICT_DELIVERED ? 250 : 451, &tried);
}

struct found {
	const char *cause;
	unsigned events[POLICY_EVENT_COUNT];
	char sender[64], source[64];
};

static void on_event(void *arg, const struct policy_event *e)
{
	struct found *f = arg;

	f->events[e->kind]++;
	if (e->sender[0])
		snprintf(f->sender, sizeof(f->sender), "%.63s", e->sender);
	if (e->source[0])
		snprintf(f->source, sizeof(f->source), "%.63s", e->source);
}

static struct found look(struct ways *w)
{
	struct found f = { 0 };

	policy_events(w->r.policy, on_event, &f);
	return f;
}

static const char *tenant(unsigned i)
{
	static char name[4][32];
	static unsigned n;

	n = (n + 1) % 4;
	snprintf(name[n], sizeof(name[n]), "tenant%u.example", i);
	return name[n];
}

static void lane(void *arg, const struct policy_lane_info *i)
{
	if (!strcmp(i->source, "b1") && i->health == POLICY_RESTING)
		++*(unsigned *)arg;
}

static unsigned b_rests(struct ways *w)
{
	unsigned n = 0;

	policy_lanes(w->r.policy, w->r.now, lane, &n);
	return n;
}

/* Words that no rule knows, or that speak of load: the subnet that alone hears them is sick. Heard
 * by all, they are the cluster's, and no subnet's. */
static void test_words_do_not_matter(void **state)
{
	static const enum verdict words[] = { VERDICT_TRANSIENT_OTHER, VERDICT_DESTINATION_BUSY,
		VERDICT_SOURCE_THROTTLE };

	for (unsigned k = 0; k < COUNT(words); k++) {
		struct ways w;
		struct found f;
		unsigned tries = 0;

		ways_open(&w);
		for (unsigned i = 0; i < 20; i++)
			say(&w, i % 3, tenant(i), "app.example", VERDICT_DELIVERED);
		for (unsigned i = 0; i < 30 && !b_rests(&w); i++, tries++) {
			say(&w, 2, tenant(i), "app.example", words[k]);
			say(&w, i % 2, tenant(i), "app.example", VERDICT_DELIVERED);
			say(&w, (i + 1) % 2, tenant(i + 40), "app.example", VERDICT_DELIVERED);
		}
		assert_in_range(tries, 5, 12);
		rig_deinit(&w.r);

		ways_open(&w);
		for (unsigned i = 0; k == 0 && i < 60; i++)
			say(&w, i % 3, tenant(i), "app.example", words[k]);
		if (k == 0) {
			f = look(&w);
			assert_int_equal(f.events[POLICY_EVENT_CLUSTER_DEFERS], 1);
			assert_int_equal(f.events[POLICY_EVENT_HEALTH], 0);
		}
		rig_deinit(&w.r);
	}
}

/* Refused from one subnet a dozen times within seconds, while nothing was sent from the others: they
 * are waited for, and what they say decides. Silent for longer, it is the cluster. */
static void test_unheard(void **state)
{
	for (unsigned heard = 0; heard < 2; heard++) {
		struct ways w;

		ways_open(&w);
		for (unsigned i = 0; i < 12; i++)
			say(&w, 2, tenant(i), "app.example", VERDICT_DESTINATION_BUSY);
		assert_int_equal(look(&w).events[POLICY_EVENT_CLUSTER_DEFERS], 0);
		rig_pass(&w.r, heard ? 5000 : 25000);
		for (unsigned i = 0; heard && i < 6; i++)
			say(&w, i % 2, tenant(i + 20), "app.example", VERDICT_DELIVERED);
		for (unsigned i = 0; i < 3; i++)
			say(&w, 2, tenant(i + 40), "app.example", VERDICT_DESTINATION_BUSY);
		assert_int_equal(look(&w).events[POLICY_EVENT_CLUSTER_DEFERS], !heard);
		if (heard)
			assert_int_equal(b_rests(&w), 1);
		rig_deinit(&w.r);
	}
}

/* The same while the others have each a message under way: their answers are waited for, however slow
 * they or we are, for two minutes. */
static void test_slow_answers(void **state)
{
	for (unsigned late = 0; late < 2; late++) {
		const struct classification good = { .verdict = VERDICT_DELIVERED };
		struct policy_tried tried = { .message = 900, .recipient = 900 };
		struct policy_choice why;
		bool retire;
		struct ways w;

		ways_open(&w);
		w.r.want.domain = "t90.example";
		for (unsigned i = 0; i < 2; i++)
			rig_admit(&w.r, w.slot[i], &why, &retire);
		for (unsigned i = 0; i < 12; i++)
			say(&w, 2, tenant(i), "app.example", VERDICT_DESTINATION_BUSY);
		rig_pass(&w.r, late ? 130000 : 50000);
		for (unsigned i = 0; i < 3; i++)
			say(&w, 2, tenant(i + 40), "app.example", VERDICT_DESTINATION_BUSY);
		assert_int_equal(look(&w).events[POLICY_EVENT_CLUSTER_DEFERS], late);
		for (unsigned i = 0; i < 2; i++)
			rig_result_of(&w.r, w.slot[i], "t90.example", &good, 250, &tried);
		rig_deinit(&w.r);
	}
}

/* A domain whose mail is refused from everywhere is the cause, and waits by itself; other mail, and
 * every source, goes on. */
static void test_sender(void **state)
{
	struct ways w;
	struct found f;
	struct policy_choice why;
	unsigned refused = 0;
	bool retire;

	ways_open(&w);
	for (unsigned i = 0; i < 30; i++) {
		struct policy_verdict v =
			say(&w, i % 3, tenant(i), "news.example", VERDICT_SOURCE_THROTTLE);

		refused++;
		say(&w, (i + 1) % 3, tenant(i + 30), "app.example", VERDICT_DELIVERED);
		say(&w, (i + 2) % 3, tenant(i + 60), "app.example", VERDICT_DELIVERED);
		if (v.what == DISPOSE_HOLD) {
			assert_int_equal(v.reason, HOLD_SENDER);
			break;
		}
	}
	assert_in_range(refused, 4, 12);
	f = look(&w);
	assert_int_equal(f.events[POLICY_EVENT_SENDER_HELD], 1);
	assert_string_equal(f.sender, "news.example");
	assert_int_equal(f.events[POLICY_EVENT_HEALTH] + f.events[POLICY_EVENT_CLUSTER_DEFERS], 0);
	w.r.want.domain = "other.example";
	w.r.want.sender = "news.example";
	assert_false(rig_admit(&w.r, w.slot[0], &why, &retire));
	w.r.want.sender = "app.example";
	assert_true(rig_admit(&w.r, w.slot[0], &why, &retire));
	rig_deinit(&w.r);
}

/* A tenant that takes no mail from one subnet, while others do and while it takes it from another:
 * these two are kept apart, and the subnet goes on for the others. */
static void test_pair(void **state)
{
	struct policy_choice why;
	struct ways w;
	unsigned n = 0;
	bool retire;

	ways_open(&w);
	for (; n < 12; n++) {
		for (unsigned i = 0; i < 4; i++)
			say(&w, 2, tenant(i), "app.example", VERDICT_DELIVERED);
		say(&w, 2, "choosy.example", "app.example", VERDICT_SOURCE_THROTTLE);
		say(&w, n % 2, "choosy.example", "app.example", VERDICT_DELIVERED);
		w.r.want.domain = "choosy.example";
		if (!rig_admit(&w.r, w.slot[2], &why, &retire))
			break;
		rig_txn_end(&w.r, w.slot[2], TXN_NOT_BEGUN);
	}
	assert_in_range(n, 1, 6);
	assert_int_equal(b_rests(&w), 0);
	w.r.want.domain = tenant(1);
	assert_true(rig_admit(&w.r, w.slot[2], &why, &retire));
	w.r.want.domain = "choosy.example";
	assert_true(rig_admit(&w.r, w.slot[0], &why, &retire));
	rig_deinit(&w.r);
}

/* A tenant's own limit slows that tenant down, and nobody else. */
static void test_tenants_limit(void **state)
{
	struct policy_choice why;
	unsigned limited = 0;
	struct ways w;
	bool retire;

	ways_open(&w);
	for (unsigned i = 0; i < 60; i++) {
		bool over = i > 6 && i % 2;

		say(&w, i % 3, "busy.example", "app.example",
			over ? VERDICT_SOURCE_THROTTLE : VERDICT_DELIVERED);
		for (unsigned k = 1; k < 4; k++)
			say(&w, (i + k) % 3, tenant(i + k * 7), "app.example", VERDICT_DELIVERED);
		w.r.want.domain = "busy.example";
		if (!rig_admit(&w.r, w.slot[0], &why, &retire))
			limited += why.reason == HOLD_DOMAIN_RATE || why.reason == HOLD_BACKOFF;
		else
			rig_txn_end(&w.r, w.slot[0], TXN_NOT_BEGUN);
	}
	assert_true(limited > 10);
	assert_int_equal(b_rests(&w), 0);
	w.r.want.domain = tenant(1);
	for (unsigned i = 0; i < 3; i++)
		assert_true(rig_admit(&w.r, w.slot[i], &why, &retire));
	rig_deinit(&w.r);
}

/* A tenant that takes nothing from the start, after everybody else's mail has gone: it waits, and no rate of the lane's is
 * believed for it. */
static void test_tenant_alone_refuses(void **state)
{
	struct policy_choice why = { 0 };
	struct ways w;
	bool retire;

	ways_open(&w);
	for (unsigned i = 0; i < 22; i++)
		say(&w, i % 3, tenant(i), "app.example", VERDICT_DELIVERED);
	for (unsigned i = 0; i < 12; i++)
		say(&w, i % 3, "busy.example", "app.example", VERDICT_SOURCE_THROTTLE);
	w.r.want.domain = "busy.example";
	assert_false(rig_admit(&w.r, w.slot[0], &why, &retire));
	assert_int_equal(why.reason, HOLD_BACKOFF);
	w.r.want.domain = tenant(1);
	assert_true(rig_admit(&w.r, w.slot[0], &why, &retire));
	rig_deinit(&w.r);
}

/* Connections that die, of one subnet alone, are as good evidence as words. */
static void test_dead_connections(void **state)
{
	struct ways w;
	unsigned tries = 0;

	ways_open(&w);
	rig_end(&w.r, w.slot[2]);
	for (unsigned i = 0; i < 40 && !b_rests(&w); i++) {
		struct policy_choice c;

		for (unsigned k = 0; k < 3; k++)
			say(&w, k % 2, tenant(i + k), "app.example", VERDICT_DELIVERED);
		c = rig_choose(&w.r);
		if (!c.go)
			continue;
		tries += c.source == 2;
		policy_disconnected(w.r.policy, w.r.now, c.slot, NULL, c.source == 2 ? -104 : 0);
		rig_pass(&w.r, 61000); /* the host's own mark ends */
	}
	assert_int_equal(b_rests(&w), 1);
	assert_in_range(tries, 3, 12);
	rig_deinit(&w.r);
}

/* A receiver that counts the connections of a subnet: what it takes is found, kept, and tried again
 * now and then. */
static void test_door(void **state)
{
	static const struct classification many = { .verdict = VERDICT_SOURCE_THROTTLE };
	struct policy_choice c;
	unsigned more = 0;
	struct ways w;

	ways_open(&w); /* a1, a2 of one subnet, b1 */
	for (unsigned i = 0; i < 20; i++) {
		c = rig_choose(&w.r);
		if (!c.go)
			break;
		if (c.source != 2) {
			assert_true(policy_no_room(w.r.policy, c.slot, &many));
			policy_disconnected(w.r.policy, w.r.now, c.slot, &many, 0);
			more++;
		}
	}
	assert_in_range(more, 1, 2);
	assert_int_equal(b_rests(&w), 0);
	rig_pass(&w.r, 35000);
	for (more = 0; (c = rig_choose(&w.r)).go && more < 10;)
		more += c.source != 2;
	assert_in_range(more, 1, 2);
	rig_deinit(&w.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_do_not_matter),
		cmocka_unit_test(test_unheard),
		cmocka_unit_test(test_slow_answers),
		cmocka_unit_test(test_sender),
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_tenants_limit),
		cmocka_unit_test(test_tenant_alone_refuses),
		cmocka_unit_test(test_dead_connections),
		cmocka_unit_test(test_door),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
