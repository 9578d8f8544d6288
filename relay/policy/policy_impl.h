/* struct policy: what all the policy's state hangs on. Owned by the dispatcher's thread alone.
 *
 * host → cluster → lane (× source) and path (× subnet of sources). Names of sources, pools and
 * providers are looked up in the parameters; their state is an array beside them (provider.h). */
#pragma once

#include "ban.h"
#include "persist.h"
#include "postern/policy.h"
#include "provider.h"
#include "ramp.h"
#include "slot.h"

struct recipients;
struct unknown;
struct watched;
struct findings;
struct suspension;

/* How the process began (policy_begin), and what it is to leave for the next one. */
struct process_start {
	ms_t at;       /* mono; rates of lanes are empty then; 0: full at first */
	bool begun;    /* policy_begin was called */
	bool loaded;   /* an earlier process has left something */
	bool unmarked; /* this one has not yet */
	bool again;    /* lanes may have been forgotten: as if the process began now */
	uint64_t mark_ticket;
};

/* What happened and has not been asked for yet; the last one is overwritten when it is full. */
struct event_list {
	struct policy_event *all;
	unsigned n;
	uint64_t lost;
};

/* Transactions are numbered as they begin; 0 is none. */
struct txn_serials {
	uint32_t last;
	uint32_t before_reload; /* up to this one they know pools by other numbers */
};

struct policy {
	const struct policy_params *params;
	struct source_state *sources;
	struct pool_state *pools;
	struct provider_state *providers;
	unsigned nsubnets;
	struct cluster *clusters; /* hash */
	struct host *hosts;
	uint32_t ntroubled; /* hosts with marks */
	struct network *networks;
	struct name *names;
	struct tenant *tenants;
	struct watched *watched;       /* domains that send; longest quiet first */
	struct recipients *recipients; /* that have much, or were refused; NULL: none yet */
	struct unknown *unknown;       /* domains and clients with recipients that do not exist */
	struct ban *bans;	       /* those said longest ago come first */
	uint32_t nbans[BAN_KINDS];
	uint64_t cluster_seq;
	uint32_t provider_seq;
	struct slot *slots;
	uint32_t nslots, free_slot; /* free list by index; ~0u: none */
	struct txn_serials txns;
	struct suspension *suspensions;
	size_t nsuspensions;
	ms_t next_expiry;	   /* wall; of a suspension; 0: none */
	struct findings *findings; /* finding.c; NULL: none yet */
	struct event_list events;
	uint64_t health_changes;
	struct gone_keys gone;
	bool urgent; /* something is worth saving now */
	unsigned nramps;
	struct ramp_clock ramp_clock;
	struct policy_now clock;       /* at the last tick */
	uint64_t ramp_ticket;	       /* of the save under way or the last one */
	bool ramps_saving, ramps_wait; /* wait: the last save failed; again after a tick */
	struct process_start start;
	ms_t swept; /* mono */
	struct rng rng;
};

struct tables {
	struct source_state *sources;
	struct pool_state *pools;
	struct provider_state *providers;
	unsigned nsubnets;
};
int tables_new(struct tables *t, const struct policy_params *p);
void tables_free(struct tables *t, const struct policy_params *p);

/* NULL: no plan names it. */
static inline struct ramp *ramp_of(const struct policy *p, unsigned provider, unsigned source)
{
	return p->nramps && provider != ~0u && source != ~0u ? p->providers[provider].ramps[source]
							     : NULL;
}
/* The provider is one that was named: its hosts have something in common. */
static inline bool named(const struct policy *p, unsigned provider)
{
	return provider + 1 < p->params->nproviders;
}
