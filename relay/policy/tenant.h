/* Recipient domains: what one of them refuses or limits, whoever sends. Owned by the policy's hash,
 * bounded; the longest unseen go first. NULL of tenant_get: no memory. */
#pragma once

#include "contrast.h"
#include "evidence.h"
#include "health.h"
#include "pace.h"
#include "postern/policy.h"
#include "table.h"

#define TENANTS_MAX 20000u

struct tenant {
	UT_hash_handle hh;
	uint64_t key;
	struct evidence evidence;
	struct health health;
	uint64_t subnets; /* bits of those that it refused, since the onset */
	uint64_t message; /* that it refused last */
	uint32_t messages;
	struct pace pace; /* what it takes of us, whoever sends */
	struct pair pairs[PAIRS];
	ms_t probe_at; /* mono; 0: none under way */
	ms_t good_at;  /* mono */
	unsigned good_subnet;
	uint64_t cluster;     /* id of the one where it was refused last */
	uint32_t provider;    /* uid; 0: not known */
	ms_t blamed;	      /* mono */
	ms_t seen;	      /* mono */
	uint32_t bans;	      /* sources that it does not want */
	uint64_t odd_message; /* refused as from such a source, while others were taken */
	char name[];
};

struct tenant *tenant_find(const struct policy *p, const char *domain);
struct tenant *tenant_get(struct policy *p, const char *domain, ms_t mono);
void tenant_drop(struct policy *p, struct tenant *t);
enum hold_reason tenant_gate(
	struct policy *p, const struct tenant *t, struct policy_now now, ms_t *until);
void tenants_sweep(struct policy *p, struct policy_now now);
void tenant_unblame(struct policy *p, struct tenant *t, struct policy_now now);
