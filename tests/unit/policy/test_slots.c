/* All that a connection is counted in, recounted after each step of a random walk: opened, up, found to
 * be at another cluster, with work, without, closed, and reloads that take away what it belongs to. */
#include "../../../relay/policy/policy_impl.h"
#include "rig.h"

#include <stdio.h>

#define STEPS 4000
#define MOST  24

struct walk {
	struct rig r;
	struct rig params[2]; /* those in force, and those of the next reload */
	unsigned turn;
	struct rng rng;
	uint32_t slot[MOST];
	unsigned under_way[MOST];
	unsigned n;
};

static unsigned draw(struct walk *w, unsigned n)
{
	return (unsigned)(rng_next(&w->rng) % n);
}

static void counted(struct walk *w)
{
	assert_true(slots_counted(w->r.policy));
}

static void open_one(struct walk *w)
{
	struct policy_choice c;

	if (w->n == MOST)
		return;
	w->r.hosts[0].addr.ip[3] = (uint8_t)(1 + draw(w, 3));
	w->r.hosts[0].addr.ip[2] = (uint8_t)(113 + draw(w, 3));
	c = rig_choose(&w->r);
	if (!c.go)
		return;
	w->slot[w->n] = c.slot;
	w->under_way[w->n++] = 0;
}

static void close_one(struct walk *w, unsigned i)
{
	rig_end(&w->r, w->slot[i]);
	w->slot[i] = w->slot[--w->n];
	w->under_way[i] = w->under_way[w->n];
}

static void up_one(struct walk *w, unsigned i)
{
	static const char *const banners[] = { "DB5EUR01FT043", "SN1NAM02FT0049", "mx",
		"CH3PEPF00000015" };
	struct smtp_client_info info = { 0 };

	snprintf(info.banner, sizeof(info.banner),
		"%s.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready",
		banners[draw(w, COUNT(banners))]);
	policy_connected(w->r.policy, w->r.now, w->slot[i], &info);
}

static void work(struct walk *w, unsigned i)
{
	struct policy_choice why;
	bool retire;

	w->under_way[i] += rig_admit(&w->r, w->slot[i], &why, &retire);
}

static void work_over(struct walk *w, unsigned i)
{
	static const enum verdict verdicts[] = { VERDICT_DELIVERED, VERDICT_DELIVERED,
		VERDICT_SOURCE_THROTTLE, VERDICT_DESTINATION_BUSY };
	struct policy_tried tried = { 0 };

	if (!w->under_way[i])
		return;
	w->under_way[i]--;
	if (draw(w, 4))
		rig_result(&w->r, w->slot[i], verdicts[draw(w, COUNT(verdicts))], 451, &tried);
	else
		rig_txn_end(&w->r, w->slot[i], TXN_NOT_BEGUN);
}

/* Fewer sources, another subnet of one, a provider less, or all as at first. */
static void reload(struct walk *w)
{
	struct rig *next = &w->params[w->turn ^= 1];

	rig_params(next);
	next->providers[0].clusters = CLUSTERS_MICROSOFT;
	switch (draw(w, 4)) {
	case 0:
		next->params.nsources = 1;
		next->params.npools = 1;
		next->pools[0].nmembers = 1;
		break;
	case 1:
		next->sources[1].subnet = net_of(&next->sources[1].address, 28, 64);
		break;
	case 2:
		next->params.providers = &next->providers[1];
		next->params.nproviders = 1;
		break;
	default:
		break;
	}
	assert_int_equal(policy_reload(w->r.policy, &next->params), 0);
	w->r.want.provider = draw(w, next->params.nproviders);
}

static void step(struct walk *w)
{
	unsigned i = w->n ? draw(w, w->n) : 0;

	rig_pass(&w->r, draw(w, 2000));
	switch (w->n ? draw(w, 12) : 0) {
	case 0:
	case 1:
	case 2:
		open_one(w);
		break;
	case 3:
	case 4:
		up_one(w, i);
		break;
	case 5:
	case 6:
	case 7:
		work(w, i);
		break;
	case 8:
	case 9:
		work_over(w, i);
		break;
	case 10:
		close_one(w, i);
		break;
	default:
		if (!draw(w, 20))
			reload(w);
		policy_tick(w->r.policy, w->r.now);
	}
	counted(w);
}

static void test_walk(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct walk *w = calloc(1, sizeof(*w));

		assert_non_null(w);
		rig_init(&w->r);
		w->r.providers[0].clusters = CLUSTERS_MICROSOFT;
		w->r.want.nhosts = 1;
		rng_seed(&w->rng, seed);
		for (unsigned i = 0; i < STEPS; i++)
			step(w);
		while (w->n)
			close_one(w, 0);
		rig_deinit(&w->r);
		free(w);
	}
}

/* The check notices what it is for. */
static void test_a_leak_shows(void **state)
{
	struct policy_choice c;
	struct rig r;
	uint32_t *counts[8];
	struct slot *s;

	rig_init(&r);
	c = rig_choose(&r);
	assert_true(c.go);
	s = &r.policy->slots[c.slot];
	counts[0] = &s->lane->uses.in_use;
	counts[1] = &s->path->uses.up;
	counts[2] = &s->cluster->uses.outstanding;
	counts[3] = &s->host->uses.in_use;
	counts[4] = &r.policy->providers[0].uses.unknown;
	counts[5] = &r.policy->providers[0].blocks[s->source].uses.busy;
	counts[6] = &r.policy->providers[0].geographies[s->cluster->geography].uses.in_use;
	counts[7] = &r.policy->providers[0].unknown_source[3];
	for (size_t i = 0; i < COUNT(counts); i++) {
		++*counts[i];
		assert_false(slots_counted(r.policy));
		--*counts[i];
		assert_true(slots_counted(r.policy));
	}
	rig_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_a_leak_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
