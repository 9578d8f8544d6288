/* What receivers take in a session and in a transaction, as it showed. Tested again now and then. */
#pragma once

#include "postern/policy.h"

struct saver;
struct slot;

enum learned_kind { LEARNED_SESSION, LEARNED_TRANSACTION, LEARNED_COUNT };
struct learned {
	uint32_t n;	/* 0: none known */
	uint32_t guess; /* where it showed once */
	uint32_t held;	/* probes in a row that found it as it was */
	ms_t probe_at;	/* wall; more is tried then */
	bool dirty, saved;
};
struct limits {
	struct learned of[LEARNED_COUNT];
};
/* Something is to be remembered; l may be NULL. */
static inline bool limits_kept(const struct limits *l)
{
	for (unsigned i = 0; l && i < LEARNED_COUNT; i++)
		if (l->of[i].n || l->of[i].dirty)
			return true;
	return false;
}
void limits_taken(struct policy *p, struct policy_now now, struct slot *s);
/* Messages that this connection may carry; 0: no limit. */
uint32_t limits_session(const struct policy *p, const struct slot *s);
void limits_opens(struct policy *p, struct policy_now now, struct slot *s);
uint32_t limits_of(const struct limits *l, enum learned_kind k); /* l may be NULL */
/* where: the host's address or the cluster's name */
void limits_save(struct policy *p, const struct saver *s, struct limits *l, const char *where,
	unsigned provider);
void limits_forget(struct policy *p, struct limits *l, const char *where, unsigned provider);

/* Where hosts name their clusters they are of clusters, else of hosts. */
bool limits_by_cluster(const struct policy *p, unsigned provider);
/* *at: those of that host or cluster, made when they are the first. -EINVAL: not an entry of ours. */
int limits_load(struct limits **at, const char *kind, const int64_t n[4]);
