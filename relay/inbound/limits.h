/* What the workers of a process share about their clients: how many sessions are open, in all, by
 * listener and by client; who has proved to be a client; what their open transactions hold; failed
 * passwords; and what was refused. One idea is behind all of it: the unproven have a share and no
 * more, and the silent pay first.
 *
 * Touched when a session opens or closes, by a log-in, by a refusal, and by transactions that take
 * more than one read: never by an ordinary message. One lock is enough; what is atomic needs none.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "guesses.h"
#include "logins.h"
#include "postern/inbound.h"

enum limits_outcome { LIMITS_OK = 0, LIMITS_TOTAL, LIMITS_CLIENT };

/* Clients are known by their network: /32, or /64. */
struct client {
	struct addr net;
	uint32_t sessions;		 /* refer to it; under the lock */
	atomic_size_t content, envelope; /* bytes of its open transactions */
	atomic_llong proven_until;	 /* mono */
	bool checking;			 /* a password of it is checked; under the lock */
	struct client *prev, *next;	 /* in idle: proven, without a session */
	UT_hash_handle hh;
};

struct limits_entry;

/* Refusals of a client in the log of late. Kept apart from clients: those that are told of most
 * come and go. Few ways a set; the oldest is given up. */
#define TELLING_SETS 1024u
#define TELLING_WAYS 4u
struct telling {
	struct addr net;
	ms_t since; /* mono */
	uint32_t told;
	uint64_t untold;
};

struct session_limits {
	pthread_mutex_t lock;
	struct limits_entry *entries;
	struct client *clients, *idle;
	uint32_t nidle;
	struct guesses *guesses;
	struct logins *logins;
	uint32_t checking, checking_max; /* passwords that are checked now; under the lock */
	atomic_uint sessions;
	uint32_t sessions_max; /* in all listeners; 0: no limit */
	atomic_size_t envelope;
	size_t envelope_max; /* 0: no limit */
	struct reject_counts *rejects;
	struct telling tellings[TELLING_SETS][TELLING_WAYS];
};

/* Counts a session of listener p in. LIMITS_TOTAL when p->sessions_max are open, or as many as the
 * process may have (or memory is out): nothing was counted. in_use: of what may be open, with this
 * one, in thousandths. */
enum limits_outcome limits_enter(
	struct session_limits *l, const struct listener_params *p, unsigned *in_use);
/* Counts it for its client, whose address may be known only after the PROXY preface. IPv6 clients
 * count by /64. LIMITS_CLIENT: nothing was counted. */
enum limits_outcome limits_enter_client(
	struct session_limits *l, const struct listener_params *p, const struct addr *client);
/* Takes both back; client NULL: limits_enter alone was done. */
void limits_leave(
	struct session_limits *l, const struct listener_params *p, const struct addr *client);
/* Thousandths of the sessions that may be open. */
unsigned limits_in_use(struct session_limits *l, const struct listener_params *p);

/* ---- clients.c ---- */

/* The client that a belongs to, for one more session. NULL when memory is out. */
struct client *client_enter(struct session_limits *l, const struct addr *a);
void client_leave(struct session_limits *l, struct client *c, ms_t now);
/* It had a message accepted within the last hour. */
bool client_is_proven(const struct client *c, ms_t now);
void client_prove(struct client *c, ms_t now);
bool client_was_proven(
	struct session_limits *l, const struct addr *a, ms_t now); /* no session yet */
void clients_free(struct session_limits *l);
/* May the open envelopes of c hold so many bytes more? */
bool client_has_room(const struct session_limits *l, const struct client *c, size_t more, ms_t now);
/* Changes what it holds, by the differences. */
void client_charge(
	struct session_limits *l, struct client *c, ptrdiff_t content, ptrdiff_t envelope);
/* May a refusal of the client be told in the log? Else it is counted; *untold: those since the last
 * that was. */
bool client_may_tell(struct session_limits *l, const struct addr *a, ms_t now, uint64_t *untold);

/* ---- rejects.c ---- */

/* The counters of a listener, by name; NULL when there are too many names. They live as long as l.
 */
struct reject_counts;
struct reject_counts *reject_counts_of(struct session_limits *l, const char *listener);
void reject_count(struct reject_counts *c, enum smtp_reject why);
void reject_counts_free(struct session_limits *l);
