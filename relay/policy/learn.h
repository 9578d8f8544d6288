/* Hosts, the networks in which they lie, and at which cluster their connections count. Owned by the
 * policy's hashes, bounded; the longest unused go first. NULL of a *_get: no memory, or full. */
#pragma once

#include "names.h"
#include "postern/policy.h"
#include "table.h"
#include "uses.h"

struct cluster;
struct limits;
struct host_trouble;
struct slot;

#define HOSTS_MAX 50000u
#define NAMES_MAX 50000u

enum how { HOW_NONE, HOW_PTR, HOW_NAME, HOW_BANNER, HOW_TAIL };
struct host_key {
	struct addr addr;
	uint32_t uid; /* of the provider */
};
/* One address of a receiver. In the order of use: the first is the longest unused. */
struct host {
	UT_hash_handle hh;
	struct host_key key;
	unsigned provider;
	struct network *network;
	struct cluster *cluster; /* its own; NULL: not known, the network's counts */
	uint8_t how;
	bool dirty;
	struct uses uses;
	ms_t ptr_at;		      /* mono; its PTR name was asked for last; 0: never */
	ms_t learned, seen;	      /* wall */
	struct limits *limits;	      /* limit.c; NULL: none */
	struct host_trouble *trouble; /* host.c; NULL: none */
	ms_t up_at;		      /* mono; a connection came up last; 0: never */
	uint32_t opening_ms;	      /* that took so long */
	float good, bad;	      /* host.c: outcomes, halved every ten minutes */
	ms_t counted;		      /* mono; up to which they are halved */
};
struct network {
	UT_hash_handle hh;
	struct host_key key; /* /24 or /48 */
	unsigned provider;
	struct cluster *own;	/* of its own name: counts while nothing better is known */
	struct cluster *agreed; /* of all its hosts that are known; NULL: none, or several */
	bool mixed;
	bool tails;   /* some are known by the tails of their errors alone */
	bool settled; /* a banner was seen that names no cluster: its own it is */
	uint32_t hosts;
	ms_t used; /* mono */
};
/* Banner host → forest, from earlier tails. */
struct name {
	UT_hash_handle hh;
	char host[BANNER_NAME];
	char cluster[CLUSTER_NAME];
	bool dirty;
	ms_t learned, seen; /* wall */
};

/* Where this host's connections count now; known: false before its first banner. guessed: as
 * host_guessed, also for a host that was not met yet. cluster NULL: no memory, or the tables are
 * full. One look-up for all three: it is asked for each host of each choice. */
struct host_standing {
	struct cluster *cluster;
	bool known, guessed;
};
struct host_standing host_standing(
	struct policy *p, unsigned provider, const struct addr *a, ms_t mono);
struct host *host_get(
	struct policy *p, unsigned provider, const struct addr *a, struct policy_now now);
struct host *host_find(const struct policy *p, unsigned provider, const struct addr *a);
struct cluster *host_place(const struct host *h);
void host_learn(
	struct policy *p, struct host *h, const char *name, enum how how, struct policy_now now);
void host_free(struct policy *p, struct host *h);
void network_free(struct policy *p, struct network *n);
void learn_banner(struct policy *p, struct slot *s, const struct smtp_client_info *info,
	struct policy_now now);
/* By the server that a refusal names. */
void learn_tail(
	struct policy *p, struct slot *s, const struct classification *c, struct policy_now now);
struct name *name_get(
	struct policy *p, const char *host, const char *cluster, struct policy_now now);
void learned_sweep(struct policy *p, struct policy_now now);
const char *how_name(const struct host *h);
/* Does it count at a cluster only because a neighbour's error named that one? Forests lie side by
 * side in one network, and one that never errs never says its name: such a host is counted there
 * for the sake of caps, and is otherwise neither sick with the others nor a witness that they are
 * well. */
bool host_guessed(const struct host *h);

/* Forgets all marks of its failures (host.c). */
void host_untroubled(struct policy *p, struct host *h);
