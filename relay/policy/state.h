/* What the policy remembers. Room-internal. Rests and blocks are kept in wall time, because they
 * are saved over restarts; pacing is in mono time. Names of sources, pools and providers are looked
 * up in the parameters; their state is an array beside them, moved by name at a reload. */
#pragma once

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "postern/policy.h"

#define CLUSTERS_MAX	20000u
#define SUSPENSIONS_MAX 1000u

struct bucket {
	double tokens;
	ms_t at; /* mono of the last refill; 0: never used, full */
};

/* source × cluster */
struct lane {
	struct cluster *cluster;
	unsigned source;
	uint32_t in_use;
	uint32_t window;  /* connections allowed at present; 0: no limit configured */
	uint32_t good;	  /* deliveries since the last throttle or growth of the window */
	ms_t rest_until;  /* wall; 0: not resting */
	ms_t since;	  /* wall: when it went to rest */
	ms_t rest_length; /* of the last rest: doubles */
	struct bucket messages, connects;
	uint64_t delivered, deferred, rejected;
	bool dirty;
};

struct cluster_key {
	uint32_t provider;
	struct addr net;
};
/* Hosts that share limits: here the /24 (or /48) of the host's address at one provider. */
struct cluster {
	UT_hash_handle hh;
	struct cluster_key key;
	char name[ADDR_TEXT_MAX + 4];
	struct addr host; /* one of them */
	ms_t learned;	  /* wall */
	uint32_t connections;
	struct lane **lanes; /* by source; NULL until used */
};

struct block {		   /* source × provider */
	ms_t until, since; /* wall */
	bool dirty;
};

struct provider_state {
	uint32_t connections;
	struct block *blocks; /* by source */
};

struct source_state {
	unsigned subnet;	/* number of its subnet: equal means same subnet */
	ms_t unavailable_until; /* wall: its address could not be bound */
};

struct pool_state {
	int64_t *credit; /* by member: smooth weighted round robin */
};

struct suspension {
	char *source, *where; /* NULL: all */
	ms_t until;	      /* wall; 0: for ever */
	bool dirty, gone;     /* gone: resumed or over, kept until the deletion is saved */
};

struct slot {
	bool used, up;
	unsigned source, provider, pool;
	struct cluster *cluster;
	struct lane *lane;
	ms_t opened; /* mono */
	uint32_t messages;
	uint32_t next_free;
};

struct policy {
	const struct policy_params *params;
	struct source_state *sources;
	struct pool_state *pools;
	struct provider_state *providers;
	struct cluster *clusters; /* hash */
	struct slot *slots;
	uint32_t nslots, free_slot; /* free list by index; ~0u: none */
	struct suspension *suspensions;
	size_t nsuspensions;
	struct rng rng;
};

/* table.c */
struct cluster *cluster_get(
	struct policy *p, unsigned provider, const struct addr *host, ms_t wall);
struct cluster *cluster_of_net(struct policy *p, unsigned provider, const struct net *n, ms_t wall);
void cluster_free(struct policy *p, struct cluster *c);
struct lane *lane_get(struct policy *p, struct cluster *c, unsigned source);
uint32_t cluster_subnet_in_use(const struct policy *p, const struct cluster *c, unsigned subnet);
struct slot *slot_get(struct policy *p, uint32_t number);
int slot_new(struct policy *p, uint32_t *ret);
void slot_release(struct policy *p, uint32_t number);
int source_by_name(const struct policy_params *params, const char *name);
int provider_by_name(const struct policy_params *params, const char *name);
/* Takes one token of the rate. false: none; *until (mono) says when there is one. */
bool bucket_take(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until);
bool bucket_ready(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until);
void bucket_give_back(struct bucket *b, const struct rate *r);

/* choose.c: what keeps a source from being used at a lane or provider, whatever the caps say */
enum hold_reason source_obstacle(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall);
bool source_tried(const struct policy *p, const struct policy_tried *tried, unsigned source);

/* operate.c */
bool suspended(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall);
