/* Traffic policy: which source address, which host, whether now, and what a verdict changes. Pure:
 * time and randomness are arguments; no I/O, no threads, no globals. Owned and called by the
 * dispatcher alone (and by `postern rehearse` with a virtual clock).
 *
 * The caller asks before it acts and reports after: policy_choose before a connection, policy_admit
 * before each transaction on it, policy_connected / policy_disconnected around it, policy_result
 * and policy_txn_end after each transaction. Slots are counted from policy_choose on (before connecting) until
 * policy_disconnected, so a cap is never passed while a connection is being made. */
#pragma once

#include "postern/addr.h"
#include "postern/class.h"
#include "postern/classify.h"
#include "postern/clock.h"
#include "postern/policy_state.h"
#include "postern/rng.h"
#include "postern/smtp_client.h"
#include "postern/text.h"
#include "postern/transport.h"
#include "postern/zone.h"

/* ---- parameters (filled in by conf/; immutable, borrowed for the policy's life) ---- */

struct source_params {
	char *name;
	struct addr address;
	char *ehlo;
	struct net subnet; /* /24 or /64 unless configured */
};
struct pool_params {
	char *name;
	unsigned nmembers;
	struct {
		unsigned source; /* index into sources */
		unsigned weight; /* 1..1000 */
	} * members;
};
/* What a cluster is. NETWORK: the /24 (or /48) of the host. MICROSOFT: what banners and error tails
 * name, and the network only where they do not. */
enum cluster_naming { CLUSTERS_NETWORK, CLUSTERS_MICROSOFT };
struct provider_params {
	char *name;
	char **mx; /* host name patterns (glob) */
	unsigned nmx;
	uint32_t recipients_per_transaction;
	enum cluster_naming clusters;
	/* connections at most; 0: no limit of this kind */
	uint32_t connections, connections_per_geography, connections_per_cluster,
		connections_per_cluster_subnet, connections_per_lane;
	uint32_t messages_per_connection;
	ms_t connection_age_max, connection_idle_max;
	struct rate lane_message_rate, lane_connect_rate; /* count 0: none */
	struct rate recipient_message_rate; /* of one recipient, a third of it from one sender */
	struct transport_params transport;  /* no file of the policy reads it */
};
/* A ramp for each of its sources at one provider: messages a day, growing only on days that were
 * used and went well. A source × provider has one plan at most; conf sees to it. */
enum warmup_pace {
	PACE_EVEN,  /* over the whole day */
	PACE_HOURS, /* over the hours given */
	PACE_NONE   /* the day's amount may go at once */
};
enum warmup_overflow {
	OVERFLOW_POOL, /* what is over goes to the pool's other sources, inside their own limits */
	OVERFLOW_WAIT, /* each recipient domain has its source in the pool, by weight, and waits for
			* it
			*/
	OVERFLOW_NAMED /* to the sources of another pool */
};
struct warmup_params {
	char *name;
	unsigned provider; /* index */
	unsigned *sources; /* indexes */
	unsigned nsources;
	int32_t start; /* day number in the time zone; before it nothing goes from these sources */
	uint32_t *daily; /* messages a day by rung, each at least 1; after the last one the source
			  * is warm: no limit */
	unsigned ndaily; /* at least 1 */
	enum warmup_pace pace;
	unsigned hours_from, hours_to; /* PACE_HOURS: minutes of the day, 0..1440; from > to: over
					  midnight */
	double advance_at;   /* share of the allowance that must be used for the next rung; 0.9 */
	double hold_at;	     /* share of deferrals from which on the rung stays; 0.005 */
	double step_back_at; /* from which on it goes one down; 0.05 */
	double pause_at;     /* from which on nothing goes for hours, then probes; 0.2 */
	int32_t idle_reset;  /* days without mail after which it starts lower; 30; 0: never */
	enum warmup_overflow overflow;
	unsigned overflow_pool; /* index; OVERFLOW_NAMED */
};

struct retry_params {
	ms_t *schedule; /* delay before attempt 2, 3, …; the last one repeats */
	unsigned nschedule;
	double jitter;		    /* 0.2: each delay times 0.8 … 1.2 */
	ms_t expire;		    /* 24–72 h */
	ms_t delay_notice;	    /* 4 h; 0: never */
	uint32_t in_doubt_max;	    /* lost after the end of content so often: no more; 0: 3 */
	unsigned subnets_per_cycle; /* subnets one message visits before it backs off; 3 */
};
struct policy_params {
	struct source_params *sources;
	unsigned nsources;
	struct pool_params *pools;
	unsigned npools;
	struct provider_params *providers; /* the last one is "default" and matches everything */
	unsigned nproviders;
	struct retry_params retry;
	struct class_params *classes; /* the first that fits is a message's */
	unsigned nclasses;
	struct warmup_params *warmups;
	unsigned nwarmups;
	struct net *never_connect; /* networks that no connection is made to */
	unsigned nnever_connect;
	struct zone *zone; /* in which a day of a warm-up begins; NULL: UTC */
};

/* ---- the policy ---- */

struct policy;
struct policy_now {
	ms_t mono, wall;
};

int policy_new(struct policy **ret, const struct policy_params *p, uint64_t seed);
struct policy *policy_free(struct policy *p);
/* New parameters after a reload. Sources, pools and providers keep their state by name; slots of
 * open connections stay counted. The old params may be freed after it. */
int policy_reload(struct policy *p, const struct policy_params *params);

unsigned policy_provider(const struct policy *p, struct slice mx_host); /* index; never fails */
int policy_pool(const struct policy *p, const char *name);		/* index or -ENOENT */

#define POLICY_TRIED_MAX 8
enum { POLICY_FAMILY_V4 = 1, POLICY_FAMILY_V6 = 2 };
/* What one message has seen in this cycle: sources whose subnet refused it. Kept by the caller with
 * the work. */
struct policy_tried {
	uint64_t message;   /* its id; 0: not known */
	uint64_t recipient; /* a hash of whom the result told next is about; 0: not known */
	/* Its last attempt was put off for nobody's sake from this source, + 1; 0: none. A receiver
	 * that greylists by address wants to see the same one again. */
	uint16_t prefer;
	uint8_t families;   /* of the hosts of the domain that the result told next is about: bits
			     * POLICY_FAMILY_*; 0: not known */
	const char *sender; /* the domain that sends; borrowed with the message; NULL: none */
	const char *client; /* who handed it in; borrowed with the message; NULL: none */
	uint64_t from;	    /* a hash of the sender's address; 0: none */
	uint8_t n;
	uint16_t source[POLICY_TRIED_MAX];
};

struct policy_host { /* a candidate address, in the caller's array */
	struct addr addr;
	uint16_t preference;  /* MX preference: lower first */
	bool failed;	      /* it failed in this cycle: only if nothing else is left */
	uint64_t failed_from; /* bits of our subnets for which it did: policy_host_failed */
	bool foreign; /* its name is not one of the provider's: it speaks for itself alone */
};

struct policy_want {
	unsigned provider, pool;
	const char *domain; /* recipient domain: the tenant */
	const char *sender; /* the domain that sends; NULL: none, or not known */
	const struct policy_host *hosts;
	unsigned nhosts;
	const struct policy_tried *tried; /* of the message at the head; NULL: none */
	uint32_t count; /* messages that it stands for, all alike; 0: 1. More only in a rehearsal,
			 * which would else take a month for a month */
};

#define HOLD_REASONS(X)                                                                            \
	X(NONE, "")                                                                                \
	X(CAP, "connection cap")                                                                   \
	X(RATE, "rate limit")                                                                      \
	X(WINDOW, "window")                                                                        \
	X(RESTING, "lane resting")                                                                 \
	X(BLOCKED, "all sources blocked")                                                          \
	X(WARMUP, "warm-up allowance used")                                                        \
	X(SUSPENDED, "suspended by operator")                                                      \
	X(NO_SOURCE, "no usable source in pool")                                                   \
	X(BACKOFF, "backing off")                                                                  \
	X(DNS, "DNS")                                                                              \
	X(OPERATOR, "held by operator")                                                            \
	X(NO_HOST, "no address of a family that the pool has")                                     \
	X(SENDER, "the sender's domain is refused there")                                          \
	X(DOMAIN_RATE, "rate that the recipient domain takes")                                     \
	X(RECIPIENT, "rate that the recipient takes")
enum hold_reason {
#define X(name, text) HOLD_##name,
	HOLD_REASONS(X)
#undef X
};
const char *hold_reason_text(enum hold_reason r);
/* It is the recipient domain's own: no connection is to offer its work until then. */
bool hold_is_domains(enum hold_reason r);

/* Which of our own limits it was. */
#define POLICY_LIMITS(X)                                                                           \
	X(NONE, "")                                                                                \
	X(PROVIDER, "connections to the provider")                                                 \
	X(GEOGRAPHY, "connections to the geography")                                               \
	X(CLUSTER, "connections to the cluster")                                                   \
	X(SUBNET, "connections to the cluster from the subnet")                                    \
	X(LANE, "connections to the cluster from the source")                                      \
	X(WINDOW, "window of the lane")                                                            \
	X(RECEIVER, "connections that the receiver allows")                                        \
	X(UNKNOWN, "cluster of the host not known yet")                                            \
	X(SLOW_START, "slow start of the cluster")                                                 \
	X(MESSAGES, "message rate of the lane")                                                    \
	X(CONNECTS, "connect rate of the lane")                                                    \
	X(REFUSED, "this receiver refuses them")                                                   \
	X(PACE, "messages a minute that the receiver takes")
enum policy_limit {
#define X(name, text) LIMIT_##name,
	POLICY_LIMITS(X)
#undef X
};
const char *policy_limit_text(enum policy_limit l);

struct policy_choice {
	bool go;
	/* go: */
	unsigned source; /* index into sources */
	unsigned host;	 /* index into want->hosts */
	uint32_t count;	 /* admit: messages that may go, at most want->count */
	uint32_t slot;	 /* names the connection from now on; give back with policy_disconnected */
	/* not go: */
	enum hold_reason reason;
	ms_t until; /* mono; earliest time at which asking again makes sense; 0: when a slot becomes
		       free */
	unsigned blocking_source; /* whose limit it was, or ~0u */
	unsigned blocking_provider;
	enum policy_limit limit;
	uint64_t cluster_id;
	char cluster[32]; /* where; "" unknown */
	bool retire;	  /* admit: the connection should end, after this transaction if it goes */
};
/* May a new connection be opened for this work, and from where to where? Counts the slot when go.
 */
void policy_choose(struct policy *p, struct policy_now now, const struct policy_want *w,
	struct policy_choice *ret);
/* Is mail of this sender held there now (HOLD_SENDER)? DUE: one message may find out. *until mono:
 * look again then. For works that were set aside for that. */
enum sender_state { SENDER_FREE, SENDER_HELD, SENDER_DUE };
enum sender_state policy_sender(
	struct policy *p, struct policy_now now, const struct policy_want *w, ms_t *until);
/* Single recipients that have much of us, or have said that they get too much: are there any? Then
 * it is to be asked for each recipient before its work is given out, with t->recipient
 * (policy_recipient_hash) and t->from set. HELD: it waits alone until then (mono, HOLD_RECIPIENT);
 * DUE: one message may find out, and policy_recipient_goes tells that it does. */
uint64_t policy_recipient_hash(const char *address); /* never 0 */
bool policy_recipients_watched(const struct policy *p);
enum sender_state policy_recipient(const struct policy *p, struct policy_now now, unsigned provider,
	const struct policy_tried *t, ms_t *until);
void policy_recipient_goes(
	struct policy *p, struct policy_now now, unsigned provider, const struct policy_tried *t);
/* A refused choice for work that other subnets have refused (diverted): is it to go back to the
 * schedule, because no other can take it soon? */
bool policy_impatient(const struct policy_choice *why, ms_t mono);
/* One transaction on a connection: handed out by policy_admit, given back to policy_txn_end. In the
 * caller's storage, zero before its first use and free for another after its end.
 *
 *     NONE ── policy_admit says go ──► ADMITTED ── policy_result ──► HEARD ◄─┐ policy_result,
 *      ▲                                  │                            │ └───┘ once a recipient
 *      └──────── policy_txn_end ◄─────────┴────────────────────────────┘
 *
 * Any other order is the caller's fault and ends the process (must). A connection may have several
 * under way; the results of one are told without those of another between them. policy_disconnected
 * ends what is under way, and no handle of it may be used after it. */
enum policy_txn_state { TXN_NONE, TXN_ADMITTED, TXN_HEARD };
struct policy_txn {
	enum policy_txn_state state;
	uint32_t slot, serial; /* the connection; which of all transactions */
	unsigned pool;	       /* of the mail, when it was admitted */
	uint32_t count;	       /* messages that it stands for: policy_want.count, or fewer */
};
/* May this open connection carry one more transaction, for this work? Counts the message against
 * the lane when it says go; why->retire then says that it is the last one that the connection may
 * carry. On refusal reason/until are set, and retire when the connection should be ended (age,
 * messages); the handle stays as it was. */
bool policy_admit(struct policy *p, struct policy_now now, uint32_t slot,
	const struct policy_want *w, struct policy_txn *t, struct policy_choice *why);
/* A refusal for want of a slot: would ending this idle connection help? */
bool policy_frees(const struct policy *p, uint32_t slot, const struct policy_choice *why);
enum policy_txn_end {
	TXN_NOT_BEGUN, /* it came back untried, without a result: the count is taken back */
	TXN_CUT,       /* its content was not sent to the end */
	TXN_SENT       /* it was, whatever was answered: a warm-up counts it */
};
void policy_txn_end(struct policy *p, struct policy_txn *t, enum policy_txn_end how);
/* The connection is up: banner and EHLO tell the cluster better; moves the slot's reservation. */
void policy_connected(struct policy *p, struct policy_now now, uint32_t slot,
	const struct smtp_client_info *info);
/* What reverse DNS says about a host's address; helps while nothing better is known. */
/* Would the PTR name of the slot's host help to know its cluster? True seldom for one host. */
bool policy_wants_ptr(struct policy *p, struct policy_now now, uint32_t slot);
void policy_ptr(struct policy *p, struct policy_now now, unsigned provider, const struct addr *host,
	struct slice name);
/* Was this connection refused because the receiver has as many as it takes? Then its host is well,
 * and the work waits. To be asked before policy_disconnected. */
bool policy_no_room(const struct policy *p, uint32_t slot, const struct classification *c);
/* The outbound event's error for a source address that could not be bound (STREAM_E_BIND, which
 * only relay/net knows). */
enum { POLICY_E_BIND = -10002 };
/* ---- a host's own failures ---- */

enum policy_host_fault {
	HOST_SILENT,	   /* no connection, or one that broke before it was up */
	HOST_LOST,	   /* a session broke without a word */
	HOST_SAYS_AT_DOOR, /* greeting or EHLO refused, for nobody's sake */
	HOST_SAYS,	   /* trouble of its own, told in a session */
	HOST_REFUSES /* greeting or EHLO refused for the source's sake: no mark, from there alone */
};
#define POLICY_FROM_ALL UINT64_MAX
/* Before policy_disconnected. The host is left alone for seconds to minutes: from the slot's subnet
 * where others may get through, else from all. For whom: bits for policy_host.failed_from, or
 * POLICY_FROM_ALL, also when the pool has nothing else to try it with. */
uint64_t policy_host_failed(
	struct policy *p, struct policy_now now, uint32_t slot, enum policy_host_fault fault);
/* The receiver ended the session, with 421 or without a word. True: after it had taken messages, so
 * it has a limit of so many, or of time; a number that shows twice is kept to from then on, one
 * that is no small one at once, when it was said. Once a session; more change nothing. */
bool policy_session_ended(struct policy *p, struct policy_now now, uint32_t slot, bool said);
/* Recipients that one transaction may have there; 0: no limit known. */
uint32_t policy_recipients(struct policy *p, struct policy_now now, uint32_t slot);
/* Of `sent` recipients it took so many, and said that more are too many. */
void policy_too_many(
	struct policy *p, struct policy_now now, uint32_t slot, uint32_t sent, uint32_t taken);
/* A transaction with so many recipients was not too large. */
void policy_took(struct policy *p, struct policy_now now, uint32_t slot, uint32_t recipients);
/* When a connection that was asked for should be up; ms from the beginning. */
ms_t policy_late_after(const struct policy *p, uint32_t slot);
/* It is not: nothing more is opened there from the subnet until it is, or has failed. True: for
 * this work there is another way meanwhile. */
bool policy_host_late(
	struct policy *p, struct policy_now now, uint32_t slot, const struct policy_want *w);
/* Hosts at which a connection may carry the work now; reach: nhosts of them. True: some are left
 * alone for a while, and it changes when that is over. */
bool policy_reach(
	const struct policy *p, struct policy_now now, const struct policy_want *w, bool *reach);
/* It ended. failure: classified reply when the receiver refused the session (banner, EHLO, 421),
 * else NULL. error: as in outbound_event. */
void policy_disconnected(struct policy *p, struct policy_now now, uint32_t slot,
	const struct classification *failure, int error);

enum disposition {
	DISPOSE_DELIVERED,
	DISPOSE_BOUNCE,	      /* permanent for this recipient */
	DISPOSE_RETRY_SUBNET, /* try another subnet now; source was added to tried; no retry used up
			       */
	DISPOSE_RETRY_SPLIT,  /* again now, one recipient a transaction */
	DISPOSE_RETRY_FEWER,  /* again now, as many as the receiver takes in one: policy_too_many */
	DISPOSE_RESOLVE,      /* forget the DNS route, then back off */
	DISPOSE_DEFER,	      /* back off by schedule; uses up a retry */
	DISPOSE_HOLD,	      /* wait without using up a retry, and ask again: whatever refused it
			       * holds it, and may be over at any time */
};
struct policy_verdict {
	enum disposition what;
	ms_t hold; /* HOLD: for how long as things are, ms from now; for people */
	enum hold_reason reason;
	char cause[16]; /* "message" "domain" "source" "subnet" "cluster" "provider" "sender" or ""
			 */
};
/* What one recipient's reply means and what to do with that recipient. Called once a recipient;
 * adjusts lanes. tried is updated. */
void policy_result(struct policy *p, struct policy_now now, struct policy_txn *t,
	const char *domain, const struct classification *c, struct policy_tried *tried,
	struct policy_verdict *ret);
/* The same for a recipient whose connection was refused before a transaction could begin. */
void policy_refused(struct policy *p, struct policy_now now, uint32_t slot, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret);

/* Delay before the next attempt, with jitter; c NULL: of mail without a class. attempts: those made,
 * from 1. */
ms_t policy_backoff(struct policy *p, const struct class_params *c, unsigned attempts);
/* NULL: there is none of that name (NULL: none either), and the mail goes as all other. */
const struct class_params *policy_class(const struct policy_params *p, const char *name);
/* How long mail of that class (NULL: none) is kept, and when it is told to be late. */
static inline ms_t class_expire(const struct policy_params *p, const struct class_params *c)
{
	return c ? c->expire : p->retry.expire;
}
static inline ms_t class_notice(const struct policy_params *p, const struct class_params *c)
{
	return c ? c->delay_notice : p->retry.delay_notice;
}

/* What a slot is, for logs: cluster name and where its knowledge comes from. Borrowed until the
 * next call. */
struct policy_slot_info {
	unsigned source, provider;
	const char *cluster;
	uint32_t messages;
	bool retire; /* it should end soon: its cluster turned out to be another, which is full */
};
void policy_slot(const struct policy *p, uint32_t slot, struct policy_slot_info *ret);

/* ---- operator and observation ---- */

/* Suspends source (name; NULL: all) at a place (cluster, geography, network, provider; NULL: all)
 * until wall time (0: for ever). 0; POLICY_NOT_MET: done, for what has the form of a place and no
 * mail has come to it yet; -ENOENT: no such source; -ENXIO: no place could have that name; -ENOSPC,
 * -ENOMEM. */
#define POLICY_NOT_MET 1
int policy_suspend(
	struct policy *p, struct policy_now now, const char *source, const char *where, ms_t until);
int policy_resume(struct policy *p, struct policy_now now, const char *source, const char *where);
/* Resumes, and until that wall time (0: for ever) the relay does not rest them by itself either.
 * Ended by policy_suspend of the same, and with its results. where may be a recipient domain, too, in policy_resume: its
 * back-off ends. */
int policy_keep(
	struct policy *p, struct policy_now now, const char *source, const char *where, ms_t until);
struct policy_lane_info {
	const char *source, *subnet, *cluster, *provider, *cause;
	enum policy_state health;
	uint32_t window, in_use, idle;
	struct rate rate;
	ms_t since, until;		/* wall; 0: none */
	double recent_good, recent_bad; /* evidence: outcomes, halved every ten minutes */
	double score; /* log likelihood that the refusals are more than noise; blamed from 15 on */
	uint64_t delivered, deferred, rejected; /* since start */
	/* messages a minute that the receiver takes, as it showed, and those that go now; 0: no
	 * limit known */
	double takes, pace;
	bool takes_of_subnet;		/* of its subnet's sources together */
	ms_t takes_found, takes_tested; /* wall; its limit was met first, and last */
};
void policy_lanes(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_lane_info *i), void *arg);
/* What decides the health of lanes now, and what was found since the start, by provider and cause:
 * "" nothing, "operator" a suspension or the contrary, else as in policy_verdict. */
struct policy_cause_info {
	const char *provider, *cause;
	bool of_lanes;	 /* else lanes is of no meaning */
	bool of_changes; /* else rests and returns */
	uint32_t lanes;
	uint64_t rests, returns; /* begun, for whatever rests: lane, path, cluster, domain; ended */
};
void policy_causes(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_cause_info *i), void *arg);
/* What one receiver refuses: a source, or a domain that sends. */
struct policy_ban_info {
	const char *source, *sender;  /* one of them; "" the other */
	const char *domain, *cluster; /* where; both "": at all of the provider */
	const char *provider;
	ms_t since, until; /* wall; until 0: one message is to find out, or does so now */
	bool probing;
};
void policy_bans(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_ban_info *i), void *arg);
/* The cluster at which this host counts, as far as is known: its name, or "". */
void policy_host_cluster(const struct policy *p, const struct addr *host, char out[40]);
struct policy_cluster_info {
	const char *cluster, *provider, *geography, *how; /* how it was learned */
	struct addr host;
	ms_t learned; /* wall */
	uint32_t connections, cap;
	uint32_t messages, recipients; /* that it takes in a session, in a transaction, as it
					  showed; 0: not known */
	enum policy_state health;      /* of the cluster */
	ms_t until;		       /* wall; 0: none */
};
void policy_clusters(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_cluster_info *i), void *arg);

/* Learned state, to be kept over restarts: entries changed since the last call (value.p NULL: to be
 * deleted). Keys begin with "policy/": the dispatcher loads that prefix. Values are versioned by
 * policy. */
void policy_save(
	struct policy *p, void (*put)(void *arg, struct slice key, struct slice value), void *arg);
int policy_load(struct policy *p, struct slice key, struct slice value);
/* A process of the relay begins; after policy_load, before the first choice. What an earlier one
 * sent in its last moments is not known: the rates of all lanes are taken to be used up now. Where
 * nothing was loaded there was none, and nothing goes until it is on disk that there is one now
 * (policy_warmup_wants). Not called: rates are full, as in a rehearsal. */
void policy_begin(struct policy *p, struct policy_now now);
/* Something was learned that should not wait for the next regular save. Asking takes it back. */
bool policy_urgent(struct policy *p);

/* ---- warm-up ---- */

/* What a day may use is reserved in the saved state before it is used, a small part at a time, so
 * that not even a kill lets an allowance be passed. True: policy_save_warmup has something that is
 * waited for, that or what policy_begin waits for. Cheap: to be asked often. */
bool policy_warmup_wants(const struct policy *p);
/* The entries to be saved. *ticket names them; when they are on disk, policy_warmup_saved says so
 * (false: they could not be saved; they are asked for again after a second). */
void policy_save_warmup(struct policy *p, struct policy_now now,
	void (*put)(void *arg, struct slice key, struct slice value), void *arg, uint64_t *ticket);
void policy_warmup_saved(struct policy *p, struct policy_now now, uint64_t ticket, bool saved);
/* The process is about to end: what is granted and not used is given back, to be written by the
 * policy_save that follows. What goes nevertheless is asked for as before. */
void policy_end(struct policy *p, struct policy_now now);

struct policy_warmup_info {
	const char *plan, *source, *provider;
	int32_t day;   /* number of the current day */
	int32_t since; /* of its first day with mail; 0: none yet */
	unsigned rung; /* from 1; nrungs + 1: warm */
	unsigned nrungs;
	uint32_t allowance; /* today; UINT32_MAX: no limit */
	uint32_t used; /* today, under way included; at most this much was seen by the receiver */
	uint32_t left_now;	      /* of it that pacing lets go at once */
	uint64_t delivered, deferred; /* today; deferred: for the source's sake */
	double share;		      /* of deferrals today */
	const char *state; /* "before start" "ramping" "held" "paused" "probing" "warm" */
	bool paused;	   /* for what receivers say: it rests, or is probed */
	const char
		*change; /* what the last day did: "" "advanced" "held" "stepped back" "idle" … */
	const char *why; /* and why, for people */
	ms_t until;	 /* wall: earliest time at which more may go; 0: now */
	bool operator_hold;   /* the rung stays until … */
	ms_t hold_until;      /* … wall; 0: released */
	int32_t full;	      /* day on which it is warm when every day from now on advances */
	uint32_t full_volume; /* of the last rung */
};
void policy_warmups(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_warmup_info *i), void *arg);

enum policy_warmup_op {
	WARMUP_SET,	/* to that rung (from 1; beyond the last: warm) */
	WARMUP_HOLD,	/* the rung stays until the wall time (0: until released) */
	WARMUP_RELEASE, /* ends a hold or a pause */
	WARMUP_SKIP,	/* to the next rung */
	WARMUP_RESET	/* to the first */
};
/* provider NULL: at all where it has a plan. What was used today stays used. -ENOENT: no such plan;
 * -ERANGE: no such rung. */
int policy_warmup_operate(struct policy *p, struct policy_now now, enum policy_warmup_op op,
	const char *source, const char *provider, unsigned rung, ms_t until);
/* How many recipients wait for the allowance of this pool at this provider (0: none any more): the
 * policy alarms when they cannot all go before they expire. */
void policy_warmup_backlog(struct policy *p, struct policy_now now, unsigned provider,
	unsigned pool, uint64_t waiting);

/* ---- what happened ---- */

#define POLICY_EVENTS(X)                                                                           \
	X(HEALTH, "health")                                                                        \
	X(CLUSTER_LEARNED, "cluster-learned")                                                      \
	X(SOURCE_BLOCKED, "source-blocked")                                                        \
	X(SOURCE_UNBLOCKED, "source-unblocked")                                                    \
	X(CLUSTER_DEFERS, "cluster-defers")                                                        \
	X(CLUSTER_WELL, "cluster-well")                                                            \
	X(PROVIDER_DEFERS, "provider-defers")                                                      \
	X(PROVIDER_WELL, "provider-well")                                                          \
	X(DEFERRALS_HIGH, "deferrals-high")                                                        \
	X(DEFERRALS_NORMAL, "deferrals-normal")                                                    \
	X(ALL_SOURCES_BLOCKED, "all-sources-blocked")                                              \
	X(SOURCE_UNWELCOME, "source-unwelcome") /* one receiver refuses it */                      \
	X(SOURCE_WELCOME, "source-welcome")                                                        \
	X(SENDER_HELD, "sender-held") /* a domain that sends is refused */                         \
	X(SENDER_RELEASED, "sender-released")                                                      \
	X(UNKNOWN_HIGH, "unknown-recipients-high") /* at a domain, or of a client */               \
	X(UNKNOWN_NORMAL, "unknown-recipients-normal")                                             \
	X(SUSPENDED, "suspended")                                                                  \
	X(RESUMED, "resumed")	    /* by the operator, or the suspension is over */               \
	X(WARMUP_DAY, "warmup-day") /* a ramp's day was judged */                                  \
	X(WARMUP_PAUSED, "warmup-paused")                                                          \
	X(WARMUP_RESUMED, "warmup-resumed")                                                        \
	X(WARMUP_BACKLOG, "warmup-backlog") /* it cannot go before it expires */                   \
	X(WARMUP_BACKLOG_OVER, "warmup-backlog-over")
enum policy_event_kind {
#define X(name, text) POLICY_EVENT_##name,
	POLICY_EVENTS(X)
#undef X
};
#define X(name, text) +1
enum { POLICY_EVENT_COUNT = 0 POLICY_EVENTS(X) };
#undef X
const char *policy_event_name(enum policy_event_kind k);
struct policy_event {
	enum policy_event_kind kind;
	bool alarm; /* an operator should look */
	bool over;  /* the end of what was an alarm, or of a rest: traffic may go again */
	char provider[32], cluster[40], source[64], subnet[56], domain[256], sender[256],
		client[64];
	char health[12], cause[12];
	ms_t wall, until; /* until: wall; 0: none */
	double good, bad; /* the evidence */
	char text[160];	  /* for people */
};
/* Those since the last call, oldest first. */
void policy_events(
	struct policy *p, void (*fn)(void *arg, const struct policy_event *e), void *arg);
/* Once a second: what time alone changes. */
void policy_tick(struct policy *p, struct policy_now now);
struct policy_summary {
	/* lanes, and by health; the others are healthy. blocked: source × provider */
	uint32_t lanes, throttled, resting, probing, blocked, suspended;
	uint32_t clusters, clusters_deferring, hosts, hosts_known, domains_backing_off;
	uint32_t unwelcome, senders_held; /* pairs that one receiver refuses; senders held */
	uint32_t deferrals_high;	  /* providers with that alarm */
	uint32_t unknown_high;		  /* recipient domains and clients with that alarm */
	uint32_t recipients_waiting;	  /* that have said that they get too much */
	uint64_t health_changes, events_lost;
};
void policy_summary(const struct policy *p, struct policy_now now, struct policy_summary *ret);
