/* The inside of the resolver: one table for domains, MX hosts and address names, least recently
 * used go first. */
#pragma once

#include "dns_query.h"

#define HASH_NONFATAL_OOM      1
#define uthash_nonfatal_oom(e) ((e)->lost = true)
#include <uthash.h>

enum entry_kind { ENTRY_DOMAIN = 'd', ENTRY_HOST = 'h', ENTRY_PTR = 'p' };

/* First member of what the table holds. */
struct dns_entry {
	UT_hash_handle hh;
	struct dns_entry *prev, *next; /* in order of use, the latest last */
	bool lost;		       /* memory was out when it was added */
	unsigned pins;		       /* look-ups that need it: it stays */
	size_t key_size;
	char *name; /* points into key, behind the kind */
	char key[1 + DNS_NAME_MAX];
};

struct dns_job;
struct dns_domain {
	struct dns_entry e;
	struct dns_job *job; /* while being looked up */
	struct dns_route *route;
	ms_t mx_expires; /* 0: ask again */
	ms_t mx_good;	 /* what the last answer was good for; 0: never, or forgotten */
	bool implicit;
	unsigned nmx;
	struct dns_mx *mx;
};

struct seen_addr {
	struct addr addr;
	ms_t left; /* when it was missing from an answer; 0: current */
};

struct host_wait {
	struct host_wait *next;
	struct dns_job *job;
};

/* status: DNS_OK, DNS_NO_ADDRESS, DNS_OTHER_FAMILY, DNS_NXDOMAIN, DNS_TEMPORARY or DNS_BAD. */
struct dns_host_entry {
	struct dns_entry e;
	struct dns *dns;
	struct dns_query q4, q6;
	bool looking, silent; /* silent: somebody did not answer the last look-up */
	unsigned running;
	bool asked4, asked6;
	enum dns_status status4, status6; /* DNS_NO_ADDRESS: no record */
	unsigned nnew;
	struct addr *new; /* answers of this look-up */
	ms_t ttl;
	enum dns_status status;
	ms_t expires;
	unsigned n;
	struct seen_addr *addrs; /* current first, then by when they left */
	struct host_wait *waiting;
	char detail[128];
};

struct dns_ptr_wait;
struct dns_ptr_entry {
	struct dns_entry e;
	struct dns *dns;
	struct dns_query q;
	bool looking;
	ms_t expires;
	char *answer; /* NULL: none */
	struct dns_ptr_wait *waiting;
};

struct dns_cache {
	struct dns_entry *table;
	struct dns_entry *used; /* in order of use */
	unsigned n, max;
};

struct dns {
	struct loop *loop;
	struct dns_channel *channel;
	struct dns_params params; /* with the defaults filled in; servers not kept */
	struct dns_cache cache;
	bool closing;
	struct dns_route *no_memory; /* the answer when none can be made */
	unsigned waiters;	     /* callers to be answered, in all */
	struct dns_job *slow;	     /* renewals that somebody waits for, oldest first */
	struct loop_timer slow_timer;
	uint64_t answers_cached, coalesced;
};

/* dns_cache.c. name: lower case, valid. */
struct dns_entry *cache_find(struct dns_cache *c, enum entry_kind kind, const char *name);
/* Finds or makes (zeroed); may drop others that are not busy. NULL: out of memory. */
struct dns_entry *cache_get(struct dns_cache *c, enum entry_kind kind, const char *name);
/* Down to max of them, as far as they are not busy: what was pinned when the cache was full is
 * still there. */
void cache_trim(struct dns_cache *c, unsigned max);
/* It is the next to go, unless it is used again. */
void cache_age(struct dns_cache *c, struct dns_entry *e);
void cache_deinit(struct dns_cache *c);
ms_t dns_clamp_ttl(const struct dns *d, uint32_t seconds);
ms_t dns_temporary_ttl(const struct dns *d);

/* dns_host.c. The addresses of one host, which the job has pinned: it is told by host_arrived,
 * unless they are there already (true). */
bool host_resolve(
	struct dns *d, struct dns_host_entry *h, struct host_wait *w, struct dns_job *job);
void host_forget(struct dns_host_entry *h);
/* dns_job.c */
void host_arrived(struct dns_job *job);
