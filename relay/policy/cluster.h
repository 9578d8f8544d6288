/* Hosts that share limits, and their lanes and paths. Owned by the policy's hash and listed at their
 * provider; refs keeps one that hosts, networks or slots count at.
 * NULL of a *_get: no memory, or the table is full. */
#pragma once

#include "lane.h"
#include "names.h"
#include "table.h"
#include "uses.h"

#define CLUSTERS_MAX 20000u

/* Keys hold a number that a provider keeps over reloads; the index into the parameters is beside.
 */
struct cluster_key {
	uint32_t uid;
	char name[CLUSTER_NAME]; /* zero padded */
};
/* Hosts that share limits. */
struct cluster {
	UT_hash_handle hh;
	struct cluster *next, *prev; /* of the provider */
	struct cluster_key key;
	unsigned provider;
	uint64_t id;
	uint32_t refs; /* hosts, networks, slots */
	uint8_t geography;
	struct uses uses;
	struct lane **lanes; /* by source; NULL until used */
	struct path **paths; /* by subnet */
	ms_t *suspended;     /* by source, wall; NULL: none */
	ms_t *pinned;
	/* a cap of the receiver's that is lower than ours, as it showed */
	uint32_t limit; /* 0: none */
	ms_t limit_at;	/* mono */
	bool limit_dirty, limit_saved;
	struct limits *limits; /* limit.c; NULL: none */
	const void *door;      /* the host that refused a connection last, nobody got in since */
	ms_t door_at;	       /* mono */
	/* after a rest: connections and transactions allowed, doubling; 0: no limit */
	uint32_t slow_start;
	ms_t slow_start_at;  /* mono */
	bool slow_start_fed; /* a delivery since */
	ms_t shed;	     /* mono; a connection was ended for the sake of an unknown host */
	struct evidence evidence;
	struct health health;
	ms_t rested; /* mono; when it was last found sick or came back */
	ms_t heard;  /* mono; mail was answered; 0: never */
};

struct cluster *cluster_get(struct policy *p, unsigned provider, const char *name);
struct cluster *cluster_named(const struct policy *p, unsigned provider, const char *name);
void cluster_free(struct policy *p, struct cluster *c);
void cluster_set_geography(struct policy *p, struct cluster *c, const char *name);
struct lane *lane_get(struct policy *p, struct cluster *c, unsigned source);
struct path *path_get(struct policy *p, struct cluster *c, unsigned subnet);
/* As they are when the process begins. */
void rates_begin(const struct policy *p, struct lane *l);
/* Hosts that counted at from count at to now: what was used up there goes with them; and where to
 * has no lanes yet, what was learned and found, too. */
void cluster_inherit(struct policy *p, struct cluster *from, struct cluster *to, ms_t mono);
