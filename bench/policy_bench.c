/* What a scheduling decision costs: 20 sources, 40 clusters, 100,000 tenants, a million due
 * messages.
 *
 * Usage: policy_bench [MESSAGES]. Prints one JSON object a line. A decision is one policy_choose or
 * policy_admit; beside them what a message costs the policy in all, and what choosing costs where
 * all is full, or the tenants table holds many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/clock.h"
#include "postern/must.h"
#include "postern/policy.h"

#define SOURCES	   20u
#define PER_SUBNET 4u
#define CLUSTERS   40u
#define HOSTS	   8u /* of a cluster */
#define MINE	   4u /* of them a tenant resolves to */
#define TENANTS	   100000u
#define OPEN_MAX   1024u

struct bench {
	struct source_params sources[SOURCES];
	char names[SOURCES][8];
	struct pool_params pool;
	struct provider_params provider;
	struct policy_params params;
	struct policy *policy;
	struct policy_now now;
	struct rng rng;
	char (*domains)[24];
	struct {
		uint32_t slot;
		unsigned cluster;
	} open[OPEN_MAX];
	unsigned nopen;
};

static void set_up(struct bench *b)
{
	b->pool.name = (char *)(uintptr_t) "main";
	b->pool.nmembers = SOURCES;
	b->pool.members = calloc(SOURCES, sizeof(*b->pool.members));
	b->domains = calloc(TENANTS, sizeof(*b->domains));
	must(b->pool.members && b->domains);
	for (unsigned i = 0; i < SOURCES; i++) {
		struct source_params *s = &b->sources[i];

		snprintf(b->names[i], sizeof(b->names[i]), "s%u", i);
		s->name = s->ehlo = b->names[i];
		s->address = (struct addr){ .family = ADDR_V4,
			.ip = { 10, 0, (uint8_t)(i / PER_SUBNET), (uint8_t)(i + 1) } };
		s->subnet = net_of(&s->address, 24, 64);
		b->pool.members[i].source = i;
		b->pool.members[i].weight = 1;
	}
	for (unsigned t = 0; t < TENANTS; t++)
		snprintf(b->domains[t], sizeof(b->domains[t]), "tenant%u.example.com", t);
	b->provider = (struct provider_params){ .name = (char *)(uintptr_t) "microsoft365",
		.clusters = CLUSTERS_MICROSOFT,
		.connections_per_cluster = 20,
		.connections_per_cluster_subnet = 10,
		.connections_per_lane = 5,
		.messages_per_connection = 50 };
	b->params = (struct policy_params){ .sources = b->sources,
		.nsources = SOURCES,
		.pools = &b->pool,
		.npools = 1,
		.providers = &b->provider,
		.nproviders = 1,
		.retry = { .subnets_per_cycle = 3, .jitter = 0.2 } };
	b->now = (struct policy_now){ 1000, 1795000000000 };
	rng_seed(&b->rng, 1);
	must(policy_new(&b->policy, &b->params, 1) == 0);
}

static void want_of(
	struct bench *b, unsigned tenant, struct policy_want *w, struct policy_host hosts[MINE])
{
	unsigned cluster = tenant % CLUSTERS;

	*w = (struct policy_want){ .domain = b->domains[tenant], .hosts = hosts, .nhosts = MINE };
	for (unsigned k = 0; k < MINE; k++)
		hosts[k] = (struct policy_host){
			.addr = { .family = ADDR_V4,
				.ip = { 52, 101, (uint8_t)cluster,
					(uint8_t)(1 + (tenant / CLUSTERS + k) % HOSTS) } }
		};
}

static void report(const char *what, uint64_t n, uint64_t us)
{
	printf("{\"what\":\"%s\",\"n\":%llu,\"ns\":%.0f}\n", what, (unsigned long long)n,
		n ? (double)us * 1000 / (double)n : 0);
}

static void up(struct bench *b, uint32_t slot, unsigned cluster)
{
	static struct smtp_client_info info;

	snprintf(info.banner, sizeof(info.banner), "DB5EUR%02uFT001.mail.protection.outlook.com",
		cluster);
	policy_connected(b->policy, b->now, slot, &info);
}

/* Fills all clusters to their caps, with the deliveries that open the windows. */
static void fill(struct bench *b)
{
	struct classification good = { .verdict = VERDICT_DELIVERED };

	for (unsigned round = 0; round < 400; round++)
		for (unsigned c = 0; c < CLUSTERS; c++) {
			struct policy_host hosts[MINE];
			struct policy_choice choice;
			struct policy_tried tried = { 0 };
			struct policy_verdict v;
			struct policy_want w;

			want_of(b, c + CLUSTERS * round, &w, hosts);
			policy_choose(b->policy, b->now, &w, &choice);
			b->now.mono++;
			b->now.wall++;
			if (!choice.go)
				continue;
			up(b, choice.slot, c);
			must(b->nopen < OPEN_MAX);
			b->open[b->nopen].slot = choice.slot;
			b->open[b->nopen++].cluster = c;
			for (unsigned n = 0; n < 20; n++)
				policy_refused(b->policy, b->now, choice.slot, w.domain, &good,
					&tried, &v);
		}
	printf("{\"what\":\"connections open\",\"n\":%u}\n", b->nopen);
}

/* Each due message: a connection takes it, and it is delivered; one in fifty needs a new connection
 * first. */
static void messages(struct bench *b, uint64_t n)
{
	struct classification good = { .verdict = VERDICT_DELIVERED };
	uint64_t start = clock_mono_us(), refused = 0, chosen = 0;

	for (uint64_t i = 0; i < n; i++) {
		unsigned k = (unsigned)rng_below(&b->rng, b->nopen);
		unsigned tenant = (unsigned)rng_below(&b->rng, TENANTS / CLUSTERS) * CLUSTERS +
				  b->open[k].cluster;
		struct policy_tried tried = { .message = i + 1 };
		struct policy_host hosts[MINE];
		struct policy_choice why;
		struct policy_verdict v;
		struct policy_want w;
		struct policy_txn txn = { 0 };

		want_of(b, tenant, &w, hosts);
		if (!policy_admit(b->policy, b->now, b->open[k].slot, &w, &txn, &why)) {
			must(why.retire);
			refused++;
			policy_disconnected(b->policy, b->now, b->open[k].slot, NULL, 0);
			policy_choose(b->policy, b->now, &w, &why);
			must(why.go);
			chosen++;
			up(b, why.slot, b->open[k].cluster);
			b->open[k].slot = why.slot;
			must(policy_admit(b->policy, b->now, b->open[k].slot, &w, &txn, &why));
		}
		policy_result(b->policy, b->now, &txn, w.domain, &good, &tried, &v);
		policy_txn_end(b->policy, &txn, TXN_SENT);
		if (i % 8 == 0) {
			b->now.mono++;
			b->now.wall++;
		}
	}
	report("a message in all: admit, result, and a new connection where one is worn out", n,
		clock_mono_us() - start);
	printf("{\"what\":\"of them new connections\",\"n\":%llu}\n", (unsigned long long)chosen);
	must(refused == chosen);
}

static void choose_full(struct bench *b, uint64_t n)
{
	uint64_t start = clock_mono_us(), go = 0;

	for (uint64_t i = 0; i < n; i++) {
		struct policy_host hosts[MINE];
		struct policy_choice choice;
		struct policy_want w;

		want_of(b, (unsigned)rng_below(&b->rng, TENANTS), &w, hosts);
		policy_choose(b->policy, b->now, &w, &choice);
		go += choice.go;
		if (choice.go)
			policy_disconnected(b->policy, b->now, choice.slot, NULL, 0);
	}
	report("choose where the cluster is full", n, clock_mono_us() - start);
	must(go < n / 100);
}

static void choose_free(struct bench *b, uint64_t n)
{
	uint64_t start;

	while (b->nopen)
		policy_disconnected(b->policy, b->now, b->open[--b->nopen].slot, NULL, 0);
	start = clock_mono_us();
	for (uint64_t i = 0; i < n; i++) {
		struct policy_host hosts[MINE];
		struct policy_choice choice;
		struct policy_want w;

		want_of(b, (unsigned)rng_below(&b->rng, TENANTS), &w, hosts);
		policy_choose(b->policy, b->now, &w, &choice);
		must(choice.go);
		policy_disconnected(b->policy, b->now, choice.slot, NULL, 0);
	}
	report("choose and end, all 20 sources free", n, clock_mono_us() - start);
}

/* Refusals by many tenants: the table of those that refused something is full. */
static void refusals(struct bench *b, uint64_t n)
{
	struct classification bad = { .verdict = VERDICT_DESTINATION_BUSY, .scope = SCOPE_DOMAIN };
	uint64_t start = clock_mono_us();
	static struct reply r;

	reply_make(&r, 451, "4.7.3 busy [DB5EUR01FT001.eop-EUR01.prod.protection.outlook.com]");
	classify_facts(&r, &bad);
	for (uint64_t i = 0; i < n; i++) {
		unsigned tenant = (unsigned)rng_below(&b->rng, TENANTS);
		struct policy_tried tried = { .message = i + 1 };
		struct policy_host hosts[MINE];
		struct policy_choice choice;
		struct policy_verdict v;
		struct policy_want w;

		want_of(b, tenant, &w, hosts);
		policy_choose(b->policy, b->now, &w, &choice);
		if (!choice.go)
			continue;
		policy_refused(b->policy, b->now, choice.slot, w.domain, &bad, &tried, &v);
		policy_disconnected(b->policy, b->now, choice.slot, NULL, 0);
	}
	report("choose, a refusal by one of 100,000 tenants, and end", n, clock_mono_us() - start);
}

static void tick(struct bench *b)
{
	struct policy_summary s;
	uint64_t start = clock_mono_us();

	for (unsigned i = 0; i < 100; i++) {
		policy_tick(b->policy, b->now);
		policy_summary(b->policy, b->now, &s);
		b->now.mono += 1000;
		b->now.wall += 1000;
	}
	report("what is done once a second", 100, clock_mono_us() - start);
	printf("{\"what\":\"lanes\",\"n\":%u}\n", s.lanes);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	struct bench b = { 0 };

	set_up(&b);
	fill(&b);
	choose_full(&b, n);
	messages(&b, n);
	tick(&b);
	choose_free(&b, n);
	refusals(&b, n / 4);
	policy_free(b.policy);
	free(b.pool.members);
	free(b.domains);
	return 0;
}
