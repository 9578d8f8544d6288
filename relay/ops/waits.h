/* Inside relay/ops: what waits, by what it waits for. (waits.c) */
#pragma once

#include <jansson.h>

#include "postern/dispatch.h"
#include "postern/policy_why.h"
#include "postern/queue.h"

#define WAITS_NAME    64u
#define WAITS_DOMAINS 20u /* those with the most mail */
#define WAITS_AGES    5u

/* What waits for one thing: a bottleneck. */
struct waits_group {
	char pool[WAITS_NAME], provider[WAITS_NAME], cluster[32], reason[96], limit[96];
	char domain[256]; /* one of them */
	char text[640], lift[240];
	uint64_t recipients, domains;
	ms_t until;	   /* wall; the earliest; 0: not known */
	double per_minute; /* as of struct policy_bottleneck */
	ms_t lasts;
};
/* All that waits, added up: no recipient is in two of them. */
struct waits_sum {
	char pool[WAITS_NAME], provider[WAITS_NAME], reason[96]; /* provider "": not known yet */
	uint64_t recipients;
	ms_t oldest; /* wall; when the oldest came */
};
struct waits_domain {
	char name[256], pool[WAITS_NAME], provider[WAITS_NAME], reason[96];
	uint64_t recipients;
	ms_t oldest;
};
struct waits {
	struct waits_group *groups; /* by pool, in each the widest first, so many of each at most */
	size_t ngroups;
	struct waits_sum *sums; /* in the order of their names */
	size_t nsums;
	struct waits_domain domains[WAITS_DOMAINS]; /* the most first */
	unsigned ndomains;
	uint64_t recipients,
		ages[WAITS_AGES]; /* younger than waits_age(i), not than the one before */
};
ms_t waits_age(unsigned i); /* 0: no limit */

/* Which provider a domain was seen at: the dispatcher forgets that with the domain, when all its mail
 * backs off. A place by its name's hash, which the next one takes; the whole hash tells them apart.
 * Zeroed at first; the asker's thread alone. */
#define WAITS_MEMORY 65536u
struct waits_memory {
	uint64_t secret, hash[WAITS_MEMORY];
	uint32_t provider[WAITS_MEMORY];
	uint32_t nproviders; /* of the configuration that the numbers are of */
};

struct waits_asked {
	struct queue *queue;
	struct dispatch *dispatch;
	const char *pool;	     /* NULL: all */
	const char *at;		     /* cluster, provider or recipient domain; NULL: all */
	struct waits_memory *memory; /* NULL: none */
	uint32_t pairs_max;	     /* of pool and domain in memory at once; 0: a million */
	/* Between slices; false: nobody wants it any more. NULL: it is done at a stretch. */
	bool (*go_on)(void *arg);
	void *arg;
};
/* Counts the queue on the asking thread, which must not be the dispatcher's. 0, -ECANCELED, -errno.
 * The caller frees *ret. */
int waits_take(struct waits **ret, const struct waits_asked *a);
struct waits *waits_free(struct waits *w);	       /* NULL-safe */
json_t *waits_group_json(const struct waits_group *g); /* NULL: no memory */
