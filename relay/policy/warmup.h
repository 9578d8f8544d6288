/* Where ramps have their place in the policy: who asks them, what is told to them. *until is mono. */
#pragma once

#include "health.h"
#include "postern/policy.h"

struct cluster;
struct provider_state;
struct ramp;
struct slot;
struct tables;

int ramps_new(struct tables *t, const struct policy_params *p);
void ramps_free(struct provider_state *v, unsigned nsources);
void ramps_move(struct provider_state *to, struct provider_state *from, const int *source,
	unsigned nsources);
void ramps_recount(struct policy *p); /* after slots were moved */
/* May messages go from this source at this provider today, and how many of n? *count 0 with
 * HOLD_WARMUP; *until mono, 0: when what is under way has ended. opening: for a connection that
 * others may be opened beside. */
enum hold_reason warmup_gate(struct policy *p, struct policy_now now, unsigned provider,
	unsigned source, uint32_t n, bool opening, uint32_t *count, ms_t *until);
/* The same, asked by the way: nothing is begun or judged by it. */
bool warmup_may(const struct policy *p, struct policy_now now, unsigned provider, unsigned source);
/* The source that a domain has to wait for in this pool, -1: none. */
int warmup_owner(const struct policy *p, unsigned provider, unsigned pool, const char *domain);
bool warmup_waits(const struct policy *p, unsigned provider, unsigned source);

/* Is there allowance for it that waits only for a save? */
bool warmup_saving(
	const struct policy *p, struct policy_now now, unsigned provider, unsigned source);

/* The pool to which mail goes that this source cannot take; -1: none of its own. */

int warmup_overflow(const struct policy *p, unsigned provider, unsigned source);
void warmup_expect(struct policy *p, struct slot *s);
void warmup_admitted(struct policy *p, struct policy_now now, struct slot *s, uint32_t n);
/* Of its n messages none was sent; or it is over. reached: its content was sent to the end. */
void warmup_not_begun(struct policy *p, struct slot *s, uint32_t n);
void warmup_ended(struct policy *p, struct slot *s, uint32_t n, bool reached);
void warmup_accepted(struct policy *p, struct policy_now now, struct slot *s);
void warmup_refused(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	enum cause guilty);
void warmup_slot_gone(struct policy *p, struct slot *s);
/* It was the cluster (domain NULL), or that tenant, after all. */
void warmup_excuse(
	struct policy *p, struct policy_now now, const struct cluster *c, const char *domain);
void warmup_tick(struct policy *p, struct policy_now now);
/* A new source has the first pick of what comes, until what is due is used. */
bool warmup_first(const struct policy *p, unsigned provider, unsigned source);
