/* What the files of the model share. */
#pragma once

#include <uthash.h>

#include "model.h"

#define QUEUE_MAX 1000000u

enum event_kind { ARRIVE, UP, DONE, CLOSED, FLOW_WAKE, CONNECTION_WAKE, TICK };
struct event {
	ms_t at;
	uint64_t order;
	enum event_kind kind;
	uint32_t index, generation;
};

struct letter {
	uint64_t id;
	unsigned tenant, attempts;
	struct policy_tried tried;
	int32_t next;
	bool ended;
};

struct flow { /* tenant; the second half: diverted */
	int32_t first, last;
	unsigned ready, opening;
	bool waiting, on_slots, queued[MODEL_HOSTS], asking;
	enum hold_reason reason;
	uint32_t generation;
};

struct ring {
	uint32_t *a;
	uint32_t head, n, cap;
};

struct host {
	struct ring flows; /* with ready work */
};

enum state { FREE, OPENING, CONNECTED, CLOSING };
struct connection {
	enum state state;
	uint32_t slot, generation, idle;
	unsigned source, cluster, host, flow;
	int32_t running;
	struct policy_txn txn;
	bool refused, retire, counted;
	ms_t idle_since;
	bool waking;
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
	struct letter *messages;
	size_t nmessages, messages_cap;
	struct flow *flows;
	struct host hosts[MODEL_CLUSTERS][MODEL_HOSTS];
	struct connection *connections;
	size_t nconnections;
	struct ring asking, on_slots;
	uint64_t waiting;
	struct classification prx8;
	char senders[MODEL_SENDERS][24];
};

/* model_world.c: what is due next, and who is where */
void ring_push(struct ring *r, uint32_t v);
bool ring_pop(struct ring *r, uint32_t *v);
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
void flow_wait_over(struct model *m, unsigned f);
void slot_freed(struct model *m, unsigned n);
