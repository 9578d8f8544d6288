/* What happened, for the log: a ring of EVENTS_MAX; those beyond it are counted as lost. */
#pragma once

#include "health.h"
#include "postern/policy.h"

struct cluster;
struct evidence;
struct tenant;

#define EVENTS_MAX 256u

struct policy_event *event_add(
	struct policy *p, enum policy_event_kind kind, struct policy_now now);
/* What began to rest, or came back. c NULL: not known where. */
void event_health(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, const struct health *h, enum cause cause, const struct evidence *e,
	const char *domain);
void event_tenant(struct policy *p, struct policy_now now, const struct tenant *t);
void event_operator(struct policy *p, struct policy_now now, enum policy_event_kind kind,
	const char *source, const char *where, ms_t until, const char *text);
void count_change(struct policy *p, unsigned provider, enum cause c, bool rests);
void provider_outcome(struct policy *p, unsigned provider, bool deferred, uint32_t n, ms_t mono);
void forget_key(struct policy *p, const char *key);
