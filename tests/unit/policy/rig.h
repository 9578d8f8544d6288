/* A small world for the policy: four sources in three subnets, one pool of the first three, two
 * providers. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "postern/policy.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WALL	 1795000000000

/* relay/policy/slot.h: do all counts of connections say what the slots are? After each step. */
bool slots_counted(struct policy *p);

#define RIG_TXNS 512
struct rig {
	struct source_params sources[4];
	struct pool_params pools[2];
	struct provider_params providers[2];
	ms_t schedule[3];
	struct policy_params params;
	struct policy *policy;
	struct policy_now now;
	struct policy_host hosts[3];
	struct policy_want want;
	struct policy_txn txns[RIG_TXNS]; /* those under way, the last admitted last */
	unsigned ntxns;
};

static inline struct addr rig_addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_of(text)), 0);
	return a;
}

static inline void rig_source(struct rig *r, unsigned i, const char *name, const char *address)
{
	r->sources[i] = (struct source_params){
		.name = (char *)(uintptr_t)name,
		.address = rig_addr(address),
		.ehlo = (char *)(uintptr_t) "out.example.net",
	};
	r->sources[i].subnet = net_of(&r->sources[i].address, 24, 64);
}

static inline void rig_params(struct rig *r)
{
	static char *mx[] = { (char *)(uintptr_t) "*.mail.protection.outlook.com" };
	static __typeof__(*((struct pool_params *)0)->members) main_members[] = { { 0, 1 },
		{ 1, 1 }, { 2, 2 } };
	static __typeof__(*((struct pool_params *)0)->members) other_members[] = { { 3, 1 } };

	memset(r, 0, sizeof(*r));
	rig_source(r, 0, "a1", "192.0.2.10");
	rig_source(r, 1, "a2", "192.0.2.11");
	rig_source(r, 2, "b1", "198.51.100.10");
	rig_source(r, 3, "v6", "2001:db8::1");
	r->pools[0] = (struct pool_params){ (char *)(uintptr_t) "main", 3, (void *)main_members };
	r->pools[1] = (struct pool_params){ (char *)(uintptr_t) "other", 1, (void *)other_members };
	for (unsigned i = 0; i < 2; i++)
		r->providers[i] = (struct provider_params){
			.connections_per_cluster = 6,
			.connections_per_cluster_subnet = 4,
			.connections_per_lane = 3,
			.messages_per_connection = 5,
			.connection_age_max = 900000,
		};
	r->providers[0].name = (char *)(uintptr_t) "microsoft365";
	r->providers[0].mx = mx;
	r->providers[0].nmx = 1;
	r->providers[1].name = (char *)(uintptr_t) "default";
	r->schedule[0] = 300000;
	r->schedule[1] = 600000;
	r->schedule[2] = 1200000;
	r->params = (struct policy_params){
		.sources = r->sources,
		.nsources = 4,
		.pools = r->pools,
		.npools = 2,
		.providers = r->providers,
		.nproviders = 2,
		.retry = { .schedule = r->schedule,
			.nschedule = 3,
			.jitter = 0.2,
			.expire = 172800000,
			.subnets_per_cycle = 3 },
	};
}

static inline void rig_init(struct rig *r)
{
	rig_params(r);
	assert_int_equal(policy_new(&r->policy, &r->params, 7), 0);
	r->now = (struct policy_now){ 1000, WALL };
	r->hosts[0] = (struct policy_host){ rig_addr("203.0.113.1"), 10, false };
	r->hosts[1] = (struct policy_host){ rig_addr("203.0.113.2"), 10, false };
	r->hosts[2] = (struct policy_host){ rig_addr("203.0.114.1"), 20, false };
	r->want = (struct policy_want){ .domain = "example.org", .hosts = r->hosts, .nhosts = 3 };
}

static inline void rig_deinit(struct rig *r)
{
	r->policy = policy_free(r->policy);
}

static inline void rig_pass(struct rig *r, ms_t ms)
{
	r->now.mono += ms;
	r->now.wall += ms;
}

static inline struct policy_choice rig_choose(struct rig *r)
{
	struct policy_choice c;

	policy_choose(r->policy, r->now, &r->want, &c);
	assert_true(slots_counted(r->policy));
	return c;
}

static inline bool rig_admit(struct rig *r, uint32_t slot, struct policy_choice *why, bool *retire)
{
	struct policy_txn *t = &r->txns[r->ntxns];
	bool go;

	assert_true(r->ntxns < RIG_TXNS);
	*t = (struct policy_txn){ 0 };
	go = policy_admit(r->policy, r->now, slot, &r->want, t, why);
	*retire = why->retire;
	r->ntxns += go;
	assert_true(slots_counted(r->policy));
	return go;
}

/* The last transaction that was admitted on the slot and is under way; NULL: none. */
static inline struct policy_txn *rig_txn(struct rig *r, uint32_t slot)
{
	for (unsigned i = r->ntxns; i-- > 0;)
		if (r->txns[i].slot == slot)
			return &r->txns[i];
	return NULL;
}

static inline void rig_forget(struct rig *r, struct policy_txn *t)
{
	memmove(t, t + 1, (size_t)(&r->txns[r->ntxns] - (t + 1)) * sizeof(*t));
	r->ntxns--;
}

static inline void rig_txn_end(struct rig *r, uint32_t slot, enum policy_txn_end how)
{
	struct policy_txn *t = rig_txn(r, slot);

	assert_non_null(t);
	policy_txn_end(r->policy, t, how);
	rig_forget(r, t);
	assert_true(slots_counted(r->policy));
}

/* A result of the slot's transaction; where a test has admitted none, of a refused connection. */
static inline void rig_hear(struct rig *r, uint32_t slot, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	struct policy_txn *t = rig_txn(r, slot);

	if (t)
		policy_result(r->policy, r->now, t, domain, c, tried, ret);
	else
		policy_refused(r->policy, r->now, slot, domain, c, tried, ret);
}

static inline void rig_end_if_any(struct rig *r, uint32_t slot, enum policy_txn_end how)
{
	if (rig_txn(r, slot))
		rig_txn_end(r, slot, how);
}

/* One transaction on the slot, for that tenant, that ends with this verdict and code. */
static inline struct policy_verdict rig_result_of(struct rig *r, uint32_t slot, const char *domain,
	const struct classification *c, uint16_t code, struct policy_tried *tried)
{
	struct classification coded = *c;
	struct policy_verdict ret;

	coded.code = code >= 400 ? code : 0;
	rig_hear(r, slot, domain, &coded, tried, &ret);
	rig_end_if_any(r, slot, TXN_CUT);
	assert_true(slots_counted(r->policy));
	return ret;
}

static inline struct policy_verdict rig_result(
	struct rig *r, uint32_t slot, enum verdict v, uint16_t code, struct policy_tried *tried)
{
	struct classification c = { .verdict = v };

	return rig_result_of(r, slot, "example.org", &c, code, tried);
}

/* Six tenants in a row are told the same from this source's only lane. */
static inline void rig_sicken(struct rig *r, uint32_t slot, enum verdict v)
{
	static const char *const domains[] = { "a.example", "b.example", "c.example", "d.example",
		"e.example", "f.example" };
	struct classification c = { .verdict = v };

	for (size_t i = 0; i < COUNT(domains); i++) {
		struct policy_tried tried = { 0 };

		rig_result_of(r, slot, domains[i], &c, 451, &tried);
	}
}

/* The connection is up; of the host nothing is told. */
static inline void rig_up(struct rig *r, uint32_t slot)
{
	struct smtp_client_info info;

	memset(&info, 0, sizeof(info));
	policy_connected(r->policy, r->now, slot, &info);
}

static inline void rig_end(struct rig *r, uint32_t slot)
{
	policy_disconnected(r->policy, r->now, slot, NULL, 0);
	for (struct policy_txn *t; (t = rig_txn(r, slot));)
		rig_forget(r, t);
	assert_true(slots_counted(r->policy));
}

/* A pool with the first source alone. */
static inline void rig_only_source(struct rig *r)
{
	rig_init(r);
	r->pools[0].nmembers = 1;
}

/* ---- what is saved ---- */

struct rig_saved {
	char keys[32][400], values[32][200];
	bool gone[32]; /* the key is to be deleted */
	size_t n;
};

/* For policy_save; arg is the struct rig_saved, zeroed at first. */
static inline void rig_keep(void *arg, struct slice key, struct slice value)
{
	struct rig_saved *k = arg;

	assert_true(k->n < COUNT(k->keys) && key.n < sizeof(k->keys[0]) &&
		    value.n < sizeof(k->values[0]));
	memcpy(k->keys[k->n], key.p, key.n);
	if (value.p)
		memcpy(k->values[k->n], value.p, value.n);
	k->gone[k->n++] = !value.p;
}

static inline void rig_load(struct rig *r, const struct rig_saved *k)
{
	for (size_t i = 0; i < k->n; i++) {
		assert_false(k->gone[i]);
		assert_int_equal(
			policy_load(r->policy, slice_of(k->keys[i]), slice_of(k->values[i])), 0);
	}
}
