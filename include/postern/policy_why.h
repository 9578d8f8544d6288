/* Why the policy does what it does, for people: what it holds against whom with the figures that it
 * was found by, and what the waiting mail of a pool waits for. Reads the policy's state and changes
 * nothing. Pure; on the thread that owns the policy; allocates nothing and cannot fail. All text is
 * of the configuration, or names of domains that the relay has checked. */
#pragma once

#include "postern/policy.h"

/* Figures of one thing: messages accepted and refused lately, halved every ten minutes or so. */
struct policy_why_row {
	char what[96];
	double accepted, refused;
	/* how much better "it is refused at a share of its own" explains the figures than "it is
	 * refused like all else there": log likelihood ratio; 0: no worse than all else there */
	double ratio;
};
#define POLICY_WHY_ROWS 8u
struct policy_why {
	const char *kind; /* "source" "subnet" "cluster" "domain" "sender" "recipient" */
	enum policy_state state;
	char source[64], subnet[56], cluster[40], provider[32], domain[256], sender[256];
	ms_t since;	      /* wall; 0: not known */
	ms_t until;	      /* wall; tested next then; 0: at once, or text says when */
	ms_t found;	      /* wall; when the rows were counted; 0: now */
	double score, needed; /* log likelihood ratio when it was found (or as it is), and from
				 which on it is believed; needed 0: found in another way */
	unsigned nrows;
	struct policy_why_row rows[POLICY_WHY_ROWS];
	char text[500]; /* a sentence or two */
};
/* The parameters that it goes by now; until the next reload. */
const struct policy_params *policy_parameters(const struct policy *p);
bool policy_has_source(const struct policy *p, const char *name);

struct policy_why_filter {
	const char *source; /* NULL: all */
	const char *at;	    /* cluster, provider or recipient domain; NULL: all */
	const char *pool;   /* its sources alone; NULL: all */
};
#define POLICY_WHY_MAX 500u
/* At most that many; true: there are more. */
bool policy_why(const struct policy *p, struct policy_now now, const struct policy_why_filter *f,
	void (*fn)(void *arg, const struct policy_why *w), void *arg);

/* Mail of one pool that waits for one thing, counted by the caller. */
struct policy_wait {
	unsigned pool, provider; /* index; provider ~0u: not known */
	uint64_t cluster;	 /* its id; 0: none */
	enum hold_reason reason; /* NONE: nothing, it is on its way */
	enum policy_limit limit;
	uint64_t recipients, domains;
	const char *domain; /* one of them */
};
struct policy_bottleneck {
	char text[640];	   /* what holds it, and how fast it goes */
	char lift[240];	   /* what would lift it; "" nothing that anybody can do */
	double per_minute; /* messages that go there a minute at present; 0: none, or not known */
	ms_t lasts;	   /* ms until all of it has gone at this pace; 0: not known */
};
void policy_bottleneck(const struct policy *p, struct policy_now now, const struct policy_wait *w,
	struct policy_bottleneck *ret);
