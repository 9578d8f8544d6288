/* What the files of the model share. */
#pragma once

#include <uthash.h>

#include "model.h"
#include "postern/match.h"

#define QUEUE_MAX 1000000u

enum event_kind { ARRIVE, UP, DONE, CLOSED, CONNECTION_WAKE, TICK };
struct event {
	ms_t at;
	uint64_t order;
	enum event_kind kind;
	uint32_t index, generation;
};

struct letter {
	struct match_work match; /* first */
	uint64_t id;
	uint32_t index;
	unsigned tenant, attempts;
	bool ended;
};

struct flow {			 /* tenant; the second one: diverted */
	struct match_flow match; /* first */
	unsigned tenant;
};

struct connection {
	struct match_connection match; /* first */
	bool used;
	uint32_t index, generation;
	unsigned cluster, host;
	struct letter *running;
	bool refused, counted;
};

struct stored {
	UT_hash_handle hh;
	char key[400], value[200];
};

struct model_inner {
	struct stored *stored;
	struct event *heap;
	size_t nheap, heap_cap;
	uint64_t order;
	struct letter **messages;
	size_t nmessages, messages_cap;
	struct match match;
	struct match_domain *domains; /* by tenant */
	struct flow *flows;
	struct match_host hosts[MODEL_CLUSTERS][MODEL_HOSTS];
	struct connection **connections;
	uint32_t nconnections;
	bool serves[MODEL_SOURCES]; /* all true: the pool has each source */
	/* of the want asked for last */
	struct policy_host want_hosts[MODEL_HOSTS];
	char want_domain[32];
	uint64_t waiting;
	struct classification prx8;
	char senders[MODEL_SENDERS][24];
};

/* model_world.c: what is due next, and who is where */
void post(struct model *m, ms_t at, enum event_kind kind, uint32_t index, uint32_t generation);
struct event take(struct model_inner *x);
struct policy_now now_of(const struct model *m);
unsigned cluster_of(const struct model *m, unsigned tenant);
struct addr host_addr(unsigned cluster, unsigned nets, unsigned host);
unsigned tenant_host(const struct model *m, unsigned tenant, unsigned k);
unsigned hosts_of(const struct model *m, unsigned tenant);
unsigned subnet_of(const struct model *m, unsigned source);
void domain_of(unsigned tenant, char out[32]);
void breach(struct model *m, struct model_rate *r, const struct rate *limit);
void counted(struct model *m, struct connection *k, uint32_t step);
ms_t trip(struct model *m, unsigned cluster, unsigned n);

/* model.c */
extern const struct match_driver model_driver;
