/* A model of the world in virtual time: receivers with clusters, hosts, tenants, round trips,
 * throttles and noise, that count connections as a receiver does; and a driver of the relay's own
 * scheduler (postern/match.h) over the policy. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "postern/policy.h"

bool slots_counted(struct policy *p); /* relay/policy/slot.h */

#define MODEL_SOURCES	 20
#define MODEL_CLUSTERS	 40
#define MODEL_SUBNETS	 10
#define MODEL_HOSTS	 16
#define MODEL_WALL	 1795000000000
#define MODEL_RATE_MAX	 1024
#define MODEL_GEOS	 2
#define MODEL_SENDERS	 64
#define MODEL_RECIPIENTS 8 /* of each tenant, by the message's number */
#define SECONDS(n)	 ((ms_t)(n)*1000)
#define MINUTES(n)	 ((ms_t)(n)*60000)

struct model;

/* What a receiver says to a transaction. */
struct model_reply {
	enum verdict verdict;
	enum verdict_scope scope;
	uint16_t code;
	const char *text; /* a tail is added */
	enum voice voice;
};
struct model_try {
	unsigned source, subnet, cluster, tenant, sender;
	uint64_t message;
	ms_t now;
};

struct model_cluster {
	char name[16], forest[16];
	bool old_form; /* the banner names the cluster */
	unsigned geography;
	unsigned nets; /* /24s that its hosts lie in */
	unsigned nhosts;
	uint32_t cap; /* of the receiver; connections over it get 421 PRX8; 0: none */
	ms_t rtt;
	/* as the receiver counts */
	uint32_t now, peak, by_source[MODEL_SOURCES], by_source_peak[MODEL_SOURCES],
		by_subnet[MODEL_SUBNETS], by_subnet_peak[MODEL_SUBNETS];
	uint64_t opened, attempts, delivered, refused, refused_connections;
	uint64_t tries[MODEL_SOURCES], good[MODEL_SOURCES];
	ms_t delivered_at;
};

struct model_params {
	uint64_t seed;
	unsigned sources, per_subnet, clusters,
		tenants; /* tenants are spread over the clusters by turns */
	unsigned hosts_per_tenant;
	unsigned senders; /* domains that send, by the message's number; 0: not told */
	bool everybody;	  /* the receivers have nothing in common: provider "default" */
	struct provider_params provider;
	struct model_reply (*answer)(struct model *m, const struct model_try *t);
	void *arg;
};

struct model_totals {
	uint64_t sent, delivered, bounced, deferred, diverted, held, opened, attempts;
};

struct model {
	struct model_params p;
	struct source_params sources[MODEL_SOURCES];
	char source_names[MODEL_SOURCES][8];
	struct pool_params pool;
	struct provider_params providers[2];
	ms_t schedule[6];
	struct policy_params params;
	struct policy *policy;
	struct rng rng;
	ms_t now;
	struct model_cluster clusters[MODEL_CLUSTERS];
	struct model_totals total;
	uint32_t provider_now, provider_peak, geo_now[MODEL_GEOS], geo_peak[MODEL_GEOS];
	/* connections opened beyond the lane's window; counted when asked for, since it takes time
	 */
	bool check_windows;
	unsigned window_breaches;
	/* rates, as the receiver sees them */
	struct model_rate {
		ms_t times[MODEL_RATE_MAX];
		uint32_t n;
	} * rates; /* source × cluster: messages, then connections */
	unsigned rate_breaches;
	/* what the policy told */
	struct model_blame {
		char cluster[40], subnet[56], source[64], domain[256], sender[256], cause[12];
		enum policy_event_kind kind;
		bool over;
		ms_t at;
	} * events;
	unsigned nevents, events_cap;
	struct model_inner *inner;
};

void model_init(struct model *m, const struct model_params *p);
void model_deinit(struct model *m);
/* A message for this tenant arrives at that time. */
uint64_t model_send(struct model *m, ms_t at, unsigned tenant);
/* Even traffic from..until to tenants first..first+n-1 (of all when n is 0), this many a second. */
void model_traffic(
	struct model *m, ms_t from, ms_t until, double per_second, unsigned first, unsigned n);
void model_run(struct model *m, ms_t until);
/* Until nothing waits; at most until then. */
void model_finish(struct model *m, ms_t until);
/* Takes what the policy has to tell now, not at the next full second. */
void model_look(struct model *m);
void model_save(struct model *m);
void model_restart(
	struct model *m); /* as after a crash: what was saved is loaded, all connections are gone */
unsigned model_blamed(
	const struct model *m, const char *cause, const char *where); /* events: rests begun */
uint64_t model_waiting(const struct model *m);
/* POLICY_SEEDS overrides; so does the program's argument. */
unsigned model_seeds(unsigned normal);
int model_arguments(int argc, char **argv); /* "[SEEDS [TEST]]", a pattern; 0, or an exit status */
struct provider_params model_provider(void);
/* A world of the usual size: four sources in two subnets, two clusters, 400 tenants of 4 hosts. */
struct model_params model_usual(uint64_t seed,
	struct model_reply (*answer)(struct model *, const struct model_try *), void *arg);
/* No cap of the provider's parameters was passed, as the receiver counted. NULL, or which. */
const char *model_caps(const struct model *m);
