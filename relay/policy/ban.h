/* What one receiver refuses: a source, or a domain that sends. Owned by the policy's hash, bounded.
 * Times are wall where not said otherwise. NULL: no room to remember it. */
#pragma once

#include "postern/policy.h"
#include "table.h"
#include "witness.h"

struct cluster;
struct saver;
struct slot;
struct tenant;

#define BANS_MAX 20000u

enum ban_kind {
	BAN_DOMAIN,	/* source × recipient domain */
	BAN_CLUSTER,	/* source × cluster */
	BAN_SENDER,	/* sender domain × recipient domain */
	BAN_SENDER_ALL, /* sender domain × provider */
	BAN_KINDS
};
struct ban {
	UT_hash_handle hh;
	struct ban_key {
		uint64_t who, place; /* hashes of the names */
		uint32_t provider;   /* uid */
		uint32_t kind;
	} key;
	ms_t until, since, length; /* wall; until 0: suspected only */
	ms_t said;		   /* mono; when it was refused last */
	uint64_t message;	   /* that showed it */
	struct witnesses said_by;
	/* a probe is on its way: over this slot; out: in a transaction */
	ms_t probe_at; /* mono; 0: none */
	uint32_t probe_slot;
	bool probe_out, dirty, saved;
	const char *who, *place; /* in text; place "" for all of the provider */
	char text[];
};

struct ban_what {
	enum ban_kind kind;
	unsigned provider;
	const char *who, *place;
	uint64_t message;
	ms_t cooldown;
};
struct ban *ban_find(const struct policy *p, enum ban_kind kind, unsigned provider, const char *who,
	const char *place);
/* It was refused. NULL: no room to remember it. */
struct ban *ban_set(struct policy *p, struct policy_now now, const struct ban_what *w);
/* To gather witnesses in; in force or not. NULL: no memory. */
struct ban *ban_suspect(struct policy *p, struct policy_now now, enum ban_kind kind,
	unsigned provider, const char *who, const char *place);
/* It lasts no longer than that from now. */
void ban_soon(struct policy *p, struct ban *b, struct policy_now now, ms_t length);
void ban_lift(struct policy *p, struct policy_now now, struct ban *b, const char *by);
/* slot: on which connection; ~0u: before one. *until wall. b NULL: no. */
bool ban_holds(struct ban *b, struct policy_now now, uint32_t slot, ms_t *until);
bool source_banned(struct policy *p, struct policy_now now, uint32_t slot, unsigned source,
	unsigned provider, const struct tenant *t, ms_t *until);
bool source_banned_at(struct policy *p, struct policy_now now, uint32_t slot, unsigned source,
	const struct cluster *c, ms_t *until);
/* Something goes that is a probe of all bans that concern it. out: in a transaction, else a
 * connection for it is made. */
void bans_probe(struct policy *p, struct policy_now now, uint32_t slot, const struct slot *s,
	const char *domain, const char *sender, bool out);
void bans_answered(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const char *sender, bool good);
void bans_sweep(struct policy *p, struct policy_now now);
void bans_bound(struct policy *p, ms_t wall); /* see clock_step.c */

/* What the source was refused there since then was the provider's doing. */
void bans_explained(struct policy *p, const char *source, unsigned provider, ms_t since);
/* By the operator; NULL: all. How many were in force. */
unsigned bans_end(struct policy *p, struct policy_now now, const char *source, const char *where);
void bans_save(struct policy *p, const struct saver *s);
int ban_load(struct policy *p, enum ban_kind kind, const char *who, const char *place,
	unsigned provider, const int64_t n[4]);
void bans_free(struct policy *p);
