/* What the policy remembers. Room-internal.
 *
 * Rests, blocks and suspensions are kept in wall time, because they are saved over restarts; pacing
 * and evidence in mono time. Names of sources, pools and providers are looked up in the parameters;
 * their state is an array beside them, moved by name at a reload.
 *
 * host → cluster → lane (× source) and path (× subnet of sources). A slot is a connection, from the
 * moment it is chosen until it has ended; it is counted in all of these at the same time, so that
 * no cap is passed while a connection is being made. */
#pragma once

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "pace.h"
#include "postern/policy.h"

#define CLUSTERS_MAX	20000u
#define HOSTS_MAX	50000u
#define NAMES_MAX	50000u
#define TENANTS_MAX	20000u
#define SUSPENSIONS_MAX 1000u
#define BANS_MAX	20000u
#define SENDER_NAME	254u
#define GEOGRAPHIES_MAX 48u
#define EVENTS_MAX	256u
#define CLUSTER_NAME	40u
#define BANNER_NAME	32u
#define FOR_EVER	INT64_MAX

/* The monotonic time of a wall time that is to come; now, when it has come. */
static inline ms_t mono_at(struct policy_now now, ms_t wall)
{
	return wall > now.wall ? now.mono + (wall - now.wall) : now.mono;
}

/* ---- evidence.c ---- */

#define RING	      16u
#define ACCUSERS      6u
#define SCORE_BAD     2.485 /* ln(0.60 / 0.05): what a refusal says for "sick" against "noise" */
#define SCORE_VAGUE   1.9   /* the same, of words that do not speak of us */
#define SCORE_GOOD    0.865 /* ln(0.95 / 0.40): what an acceptance says against it */
#define SCORE_SUSPECT 4.9
#define SCORE_BLAME   14.3 /* six refusals within a minute more than acceptances explain */
#define SCORE_MAX     30.0

struct evidence {
	double score;	     /* log likelihood ratio, never below 0; halves in ten minutes */
	ms_t at, onset;	     /* mono; last change; first refusal of the present rise, 0: none */
	float gap;	     /* ms between outcomes, on average */
	double good, bad;    /* decaying counts */
	uint32_t when[RING]; /* mono, cut to 32 bits */
	uint16_t bads;	     /* bit by place in the ring */
	uint8_t n, next;
	uint8_t naccusers;
	uint8_t counted[ACCUSERS];
	uint32_t accuser[ACCUSERS]; /* tenants whose refusals are in the score */
};
/* accuser: the tenant, 0: nobody in particular. A tenant's refusals count twice, unless it has an
 * alibi: was accepted elsewhere meanwhile. */
void evidence_bad(struct evidence *e, ms_t mono, uint32_t accuser, bool alibi, double weight);
void evidence_good(struct evidence *e, ms_t mono);
void evidence_note(struct evidence *e, ms_t mono, bool bad); /* remembers, without judging */
void evidence_take_back(struct evidence *e); /* a refusal that something else explains */
void evidence_clear(struct evidence *e);
double evidence_score(const struct evidence *e, ms_t mono);
/* Refusals of the last n outcomes; n at most RING. */
unsigned evidence_last(const struct evidence *e, unsigned n);
/* Outcomes since then. */
void evidence_since(const struct evidence *e, ms_t since, unsigned *good, unsigned *bad);
double wilson_low(unsigned part, unsigned n);
double wilson_high(unsigned part, unsigned n);
void evidence_decayed(const struct evidence *e, ms_t mono, double *good, double *bad);

/* ---- contrast.c ---- */

struct tally {
	double good, bad; /* decayed counts */
};
struct tally tally_of(const struct evidence *e, ms_t mono);
/* How much better "these are refused at a share of their own" explains it than "like the rest of
 * all". Log likelihood ratio; 0: no worse than the rest. */
double contrast(const struct tally *v, const struct tally *all);
/* A tenant that refuses one of our subnets and takes mail from another. */
#define PAIRS 4u
struct pair {
	uint16_t subnet;
	uint8_t bad; /* refused in a row; 0: no pair */
	uint8_t rests;
	uint64_t recipient; /* a hash; that was refused last: one alone is no tenant */
	ms_t last, before;  /* mono of the last refusal, and of the one before it */
};
/* True: it had refused mail from there. */
bool pair_good(struct pair *pairs, unsigned subnet);
/* NULL: too many subnets. */
struct pair *pair_bad(struct pair *pairs, unsigned subnet, uint64_t recipient, ms_t mono);
/* Subnets other than the slot's own, in its pool: each of their sources once in next(). */
struct others {
	unsigned count;	  /* usable sources of other subnets */
	unsigned tested;  /* of them: with outcomes since the onset, counted by source */
	unsigned well;	  /* accepted, clearly better than what is asked about */
	unsigned ill;	  /* refused */
	unsigned resting; /* found sick */
};

/* ---- health.c ---- */

enum health_state { HEALTHY, RESTING, PROBING };
enum cause {
	CAUSE_NONE,
	CAUSE_MESSAGE,
	CAUSE_DOMAIN,
	CAUSE_SOURCE,
	CAUSE_SUBNET,
	CAUSE_CLUSTER,
	CAUSE_PROVIDER,
	CAUSE_OPERATOR /* a suspension */
};
#define CAUSES (CAUSE_OPERATOR + 1u)
const char *cause_name(enum cause c);

struct health {
	uint8_t state;
	uint8_t probes_good;
	bool dirty, saved;
	ms_t since, until; /* wall */
	ms_t length;	   /* of the last rest */
	ms_t onset;	   /* wall; when the trouble began; 0: not known */
	ms_t back;	   /* wall; when it came back last; 0: never */
};
struct health_kind {
	enum cause cause;
	ms_t first, longest;
	double share;	/* a rest lasts so much of the time since the onset; 0: */
	double relapse; /* so many times the last one, as after a relapse */
};
extern const struct health_kind health_lane, health_path, health_cluster, health_tenant,
	health_ramp, health_share;

/* ---- rate.c ---- */

struct bucket {
	double tokens;
	ms_t at; /* mono of the last refill; 0: never used, full; -1: empty at the first use */
};
/* Takes one token of the rate. false: none; *until (mono) says when there is one. */
bool bucket_take(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until);
bool bucket_ready(struct bucket *b, const struct rate *r, ms_t mono, ms_t *until);
/* The same, when some of what there is, is kept for others. */
bool bucket_spare(struct bucket *b, const struct rate *r, uint32_t kept, ms_t mono, ms_t *until);
/* What was used of one counts against the other, and no longer here. */
void bucket_pour(struct bucket *from, struct bucket *to, const struct rate *r, ms_t mono);
/* n more were used; may make it owe some. */
void bucket_charge(struct bucket *b, const struct rate *r, uint32_t n, ms_t mono);
/* After bucket_ready: as many of n as there are; at least one. */
uint32_t bucket_take_some(struct bucket *b, const struct rate *r, uint32_t n);
void bucket_give_back(struct bucket *b, const struct rate *r, uint32_t n);

/* ---- witness.c ---- */

#define WITNESSES 6u
/* Unrelated receivers that said the same, since it was last contradicted. */
struct witnesses {
	uint32_t org[WITNESSES], net[WITNESSES];
	uint8_t n;
};
/* Whom a domain belongs to, as a number that is not 0. */
uint32_t organisation(const char *domain);
/* One more says it. net: of its host, 0: does not count. How many do that have nothing in common;
 * WITNESSES at most. */
unsigned witness_add(struct witnesses *w, uint32_t org, uint32_t net);

/* ---- what there is ---- */

/* Outcomes as ramps count them: taken, or refused for the source's sake; of this half hour and the
 * one before. */
struct lane_seen {
	uint32_t span; /* number of the half hour, by mono time */
	uint32_t good, bad, good_before, bad_before;
};
/* The part of a ramp that goes to one cluster. */
struct lane_ramp {
	struct health
		share;	  /* while it is sick, that part is held and the ramp goes on elsewhere */
	double score;	  /* as in evidence, but by outcomes alone: new sources have few */
	uint32_t rise;	  /* refusals since the score was 0 … */
	int32_t rise_day; /* … on that day */
	int32_t day, aside_day; /* the last with an outcome, and with the share held */
	uint32_t seen, bad;	/* lately */
	double expected;	/* of bad, as the warm ones' shares were */
	/* own outcomes of one half hour, that are to be set beside those of the pool's warm ones */
	uint32_t pending, pending_span, pending_pool;
};

/* Connections that the receiver takes, as it showed. door.c */
struct door {
	uint32_t limit; /* 0: none known */
	uint8_t confirmed;
	ms_t at; /* mono; it was met last */
};

/* source × cluster */
struct lane {
	struct cluster *cluster;
	struct path *path;
	unsigned source;
	uint32_t in_use, up, busy; /* slots; of them connected; of them with a transaction */
	uint32_t unknown;	   /* slots whose cluster is not known yet */
	uint32_t outstanding;	   /* transactions */
	uint32_t window;	   /* connections allowed at present */
	uint32_t good;		   /* deliveries since the window changed */
	bool slow;		   /* slow start after a rest */
	ms_t shrunk, grown;	   /* mono */
	struct evidence evidence;
	struct health health;
	struct bucket messages, connects;
	struct witnesses said_by; /* receivers at the cluster that refuse the source */
	struct door door;
	struct pace pace;      /* what the receiver takes of it */
	uint64_t refused_last; /* the recipient, a hash; 0: not known */
	struct lane_seen seen;
	struct lane_ramp ramp;
	uint64_t delivered, deferred, rejected;
	bool window_dirty;
};

/* subnet of ours × cluster */
struct path {
	struct cluster *cluster;
	unsigned subnet;
	uint32_t in_use, up, unknown, outstanding;
	struct evidence evidence;
	struct health health;
	struct door door;
	ms_t good_at;	 /* mono; mail was accepted last */
	ms_t paired;	 /* mono; a tenant that does not want it was found last */
	uint8_t pairs;	 /* found */
	uint8_t twice;	 /* tenants that refused it twice in a row */
	uint8_t cleared; /* tenants that took mail from it again: what they refused was noise */
};

/* Keys hold a number that a provider keeps over reloads; the index into the parameters is beside.
 */
struct cluster_key {
	uint32_t uid;
	char name[CLUSTER_NAME]; /* zero padded */
};
/* Hosts that share limits. */
struct cluster {
	UT_hash_handle hh;
	struct cluster *next, *prev; /* of the provider */
	struct cluster_key key;
	unsigned provider;
	uint64_t id;
	uint32_t refs; /* hosts, networks, slots */
	uint8_t geography;
	uint32_t in_use, up, unknown, outstanding;
	struct lane **lanes; /* by source; NULL until used */
	struct path **paths; /* by subnet */
	ms_t *suspended;     /* by source, wall; NULL: none */
	ms_t *pinned;
	/* a cap of the receiver's that is lower than ours, as it showed */
	uint32_t limit;	       /* 0: none */
	ms_t limit_at;	       /* mono */
	struct limits *limits; /* limits.c; NULL: none */
	const void *door;      /* the host that refused a connection last, nobody got in since */
	ms_t door_at;	       /* mono */
	/* after a rest: connections and transactions allowed, doubling; 0: no limit */
	uint32_t ramp;
	ms_t ramp_at;  /* mono */
	bool ramp_fed; /* a delivery since */
	ms_t shed;     /* mono; a connection was ended for the sake of an unknown host */
	struct evidence evidence;
	struct health health;
	ms_t rested; /* mono; when it was last found sick or came back */
	ms_t heard;  /* mono; mail was answered; 0: never */
};

struct ramp;
/* When the clocks were looked at last; mono 0: never. One that is set is noticed. */
struct ramp_clock {
	ms_t mono, wall;
};

enum how { HOW_NONE, HOW_PTR, HOW_NAME, HOW_BANNER, HOW_TAIL };
struct host_key {
	struct addr addr;
	uint32_t uid; /* of the provider */
};
/* One address of a receiver. In the order of use: the first is the longest unused. */
struct host {
	UT_hash_handle hh;
	struct host_key key;
	unsigned provider;
	struct network *network;
	struct cluster *cluster; /* its own; NULL: not known, the network's counts */
	uint8_t how;
	bool dirty;
	uint32_t slots;
	ms_t ptr_at;		      /* mono; its PTR name was asked for last; 0: never */
	ms_t learned, seen;	      /* wall */
	struct limits *limits;	      /* limits.c; NULL: none */
	struct host_trouble *trouble; /* host.c; NULL: none */
	uint32_t up;		      /* slots that are */
	ms_t up_at;		      /* mono; a connection came up last; 0: never */
	uint32_t opening_ms;	      /* that took so long */
	float good, bad;	      /* host.c: outcomes, halved every ten minutes */
	ms_t counted;		      /* mono; up to which they are halved */
};
struct network {
	UT_hash_handle hh;
	struct host_key key; /* /24 or /48 */
	unsigned provider;
	struct cluster *own;	/* of its own name: counts while nothing better is known */
	struct cluster *agreed; /* of all its hosts that are known; NULL: none, or several */
	bool mixed;
	bool tails;   /* some are known by the tails of their errors alone */
	bool settled; /* a banner was seen that names no cluster: its own it is */
	uint32_t hosts;
	ms_t used; /* mono */
};
/* Banner host → forest, from earlier tails. */
struct name {
	UT_hash_handle hh;
	char host[BANNER_NAME];
	char cluster[CLUSTER_NAME];
	bool dirty;
	ms_t learned, seen; /* wall */
};

struct block {			   /* source × provider */
	ms_t until, since, length; /* wall */
	bool told;		   /* it is a block, not a suspicion */
	struct witnesses said_by;
	uint8_t probes_good;
	ms_t good_at; /* mono; last delivery from there */
	uint32_t good_lately, in_use, outstanding;
	bool dirty, saved;
};

struct geography {
	char name[8];
	uint32_t in_use, unknown;
};

#define ALARM_SPAN    30000 /* ms of one bucket */
#define ALARM_BUCKETS 10
struct provider_state {
	uint32_t uid;
	uint32_t in_use, unknown;
	uint32_t *unknown_source;		       /* by source */
	uint32_t *unknown_subnet;		       /* by subnet */
	struct block *blocks;			       /* by source */
	struct ramp **ramps;			       /* by source; NULL: no plan for it */
	ms_t *suspended, *pinned;		       /* by source, wall */
	struct cluster *clusters;		       /* list */
	struct geography geographies[GEOGRAPHIES_MAX]; /* the first: not known */
	unsigned ngeographies;
	unsigned wanted_source; /* from there; it asked last at … */
	ms_t wanted_asked;
	ms_t wanted;	     /* mono; an unknown host has asked in vain until then */
	uint64_t wanted_at;  /* where that host counts; id */
	ms_t wanted_connect; /* the same, for want of a connection's worth of rate */
	struct {
		uint32_t attempts, deferred;
	} buckets[ALARM_BUCKETS];
	unsigned bucket;
	ms_t bucket_at; /* mono */
	struct {
		uint64_t rests, returns;
	} changes[CAUSES];
	struct evidence seen; /* counts of all mail there */
	bool deferring;	      /* alarm */
	bool provider_sick;   /* most clusters defer */
};

struct source_state {
	unsigned subnet;	/* number of its subnet: equal means same subnet */
	ms_t unavailable_until; /* wall: its address could not be bound */
};

struct pool_state {
	int64_t *credit; /* by member: smooth weighted round robin */
	bool *backlog;	 /* by provider: more waits for its ramps than can go in time; alarmed */
};

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

/* ban.c: what one receiver refuses */
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

struct suspension {
	char *source, *where; /* NULL: all */
	ms_t until;	      /* wall; 0: for ever */
	bool pin;	      /* the contrary: no rests of our own */
	bool dirty, gone;     /* gone: resumed or over, kept until the deletion is saved */
};

struct slot {
	bool used, up, unknown, surplus, in_probe;
	bool good_told, bad_told; /* this transaction's outcome is in the evidence */
	bool blamed;		  /* a refusal of this session is in the evidence */
	bool foreign;		  /* its host is none of the provider's */
	bool host_told;		  /* its host's failure was */
	bool probes_host;	  /* it finds out whether its host is well again */
	unsigned source, provider, pool;
	struct host *host;
	struct cluster *cluster;
	struct lane *lane;
	struct path *path;
	ms_t opened;   /* mono */
	ms_t began[2]; /* mono; the last transaction, and the one before it */
	uint32_t messages, outstanding;
	uint32_t taken;	       /* messages, in this session */
	bool session_ended;    /* by the receiver */
	uint32_t probes_limit; /* it may carry so many, more than was learned; 0: none */
	char banner[BANNER_NAME];
	/* warm-up */
	uint32_t weight;   /* messages that a transaction stands for */
	uint32_t reserved; /* of the ramp's allowance, by the transactions under way */
	bool expects;	   /* counted in the ramp: a connection that has not carried anything yet */
	bool reached, accepted, refused; /* the transaction, by its receiver */
	uint32_t next_free;
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
	struct watched *watched; /* domains that send; longest quiet first */
	struct ban *bans;	 /* those said longest ago come first */
	uint32_t nbans[BAN_KINDS];
	uint64_t cluster_seq;
	uint32_t provider_seq;
	struct slot *slots;
	uint32_t nslots, free_slot; /* free list by index; ~0u: none */
	struct suspension *suspensions;
	size_t nsuspensions;
	ms_t next_expiry;	   /* wall; of a suspension; 0: none */
	struct findings *findings; /* finding.c; NULL: none yet */
	struct policy_event *events;
	unsigned nevents;
	uint64_t events_lost, health_changes;
	char **gone; /* keys of saved entries that are no more */
	size_t ngone, gone_cap;
	bool urgent; /* something is worth saving now */
	unsigned nramps;
	struct ramp_clock ramp_clock;
	struct policy_now clock;       /* at the last tick */
	uint64_t ramp_ticket;	       /* of the save under way or the last one */
	bool ramps_saving, ramps_wait; /* wait: the last save failed; again after a tick */
	ms_t began;		       /* mono; rates of lanes are empty then; 0: full at first */
	bool begun;		       /* policy_begin was called */
	bool loaded;		       /* an earlier process has left something */
	bool unmarked;		       /* this one has not yet */
	bool begins_again; /* lanes may have been forgotten: as if the process began now */
	uint64_t mark_ticket;
	ms_t swept; /* mono */
	struct rng rng;
};

/* An element of a hash to the end of its order, without taking memory. */
#define HASH_TO_END(type, head, e)                                                                 \
	do {                                                                                       \
		UT_hash_table *table_ = (e)->hh.tbl;                                               \
		type *next_ = (e)->hh.next, *prev_ = (e)->hh.prev, *last_;                         \
		if (!next_)                                                                        \
			break;                                                                     \
		if (prev_)                                                                         \
			prev_->hh.next = next_;                                                    \
		else                                                                               \
			(head) = next_;                                                            \
		next_->hh.prev = prev_;                                                            \
		last_ = (type *)((uintptr_t)table_->tail - (uintptr_t)table_->hho);                \
		last_->hh.next = (e);                                                              \
		(e)->hh.prev = last_;                                                              \
		(e)->hh.next = NULL;                                                               \
		table_->tail = &(e)->hh;                                                           \
	} while (0)

struct saver {
	void (*put)(void *arg, struct slice key, struct slice value);
	void *arg;
};

/* policy.c */
int source_by_name(const struct policy_params *params, const char *name);
int provider_by_name(const struct policy_params *params, const char *name);
struct tables {
	struct source_state *sources;
	struct pool_state *pools;
	struct provider_state *providers;
	unsigned nsubnets;
};
int tables_new(struct tables *t, const struct policy_params *p);
void tables_free(struct tables *t, const struct policy_params *p);

/* names.c: what texts say */
struct host_name {
	char host[BANNER_NAME];	    /* upper case, without its domain */
	char cluster[CLUSTER_NAME]; /* "" when it does not say */
	char geography[8];	    /* "" when it does not say */
};
void name_of_banner(struct host_name *ret, const char *banner);
bool name_of_tail(struct host_name *ret, struct slice reply);
bool name_of_ptr(struct host_name *ret, struct slice ptr);
void geography_of_cluster(char out[8], const char *cluster);
void geography_of_addr(char out[8], const struct addr *a);

/* cluster.c */
struct cluster *cluster_get(struct policy *p, unsigned provider, const char *name);
struct cluster *cluster_named(const struct policy *p, unsigned provider, const char *name);
void cluster_free(struct policy *p, struct cluster *c);
void cluster_set_geography(struct policy *p, struct cluster *c, const char *name);
const char *geography_name(const struct policy *p, const struct cluster *c);
struct lane *lane_get(struct policy *p, struct cluster *c, unsigned source);
struct path *path_get(struct policy *p, struct cluster *c, unsigned subnet);
/* As they are when the process begins. */
void rates_begin(const struct policy *p, struct lane *l);
/* Hosts that counted at from count at to now: what was used up there goes with them; and where to
 * has no lanes yet, what was learned and found, too. */
void cluster_inherit(struct policy *p, struct cluster *from, struct cluster *to, ms_t mono);

/* learn.c */
/* Where this host's connections count now. *known: false before its first banner. NULL: no memory,
 * or the tables are full. */
struct cluster *host_cluster(
	struct policy *p, unsigned provider, const struct addr *a, ms_t mono, bool *known);
struct host *host_get(
	struct policy *p, unsigned provider, const struct addr *a, struct policy_now now);
struct host *host_find(const struct policy *p, unsigned provider, const struct addr *a);
struct cluster *host_place(const struct host *h);
void host_learn(
	struct policy *p, struct host *h, const char *name, enum how how, struct policy_now now);
void host_free(struct policy *p, struct host *h);
void network_free(struct policy *p, struct network *n);
void learn_banner(struct policy *p, struct slot *s, const struct smtp_client_info *info,
	struct policy_now now);
void learn_tail(struct policy *p, struct slot *s, const struct reply *r, struct policy_now now);
struct name *name_get(
	struct policy *p, const char *host, const char *cluster, struct policy_now now);
void learned_sweep(struct policy *p, struct policy_now now);
const char *how_name(const struct host *h);
/* Does it count at a cluster only because a neighbour's error named that one? Forests lie side by
 * side in one network, and one that never errs never says its name: such a host is counted there
 * for the sake of caps, and is otherwise neither sick with the others nor a witness that they are
 * well. */
bool host_guessed(const struct host *h);
bool address_guessed(const struct policy *p, unsigned provider, const struct addr *a);

/* caps.c */
struct slot *slot_get(struct policy *p, uint32_t number);
int slot_new(struct policy *p, uint32_t *ret);
void slot_release(struct policy *p, uint32_t number);
void slot_attach(struct policy *p, struct slot *s, struct cluster *c, struct lane *l);
void slot_detach(struct policy *p, struct slot *s);
/* charge: what it has sent counts against the lane that it turned out to be on. */
void slot_move(struct policy *p, struct slot *s, struct cluster *c, bool charge, ms_t mono);
void slot_known(struct policy *p, struct slot *s);
/* LIMIT_NONE: a connection more may be opened there. */
enum policy_limit cluster_room(const struct policy *p, const struct cluster *c, ms_t mono);
enum policy_limit lane_room(
	const struct policy *p, const struct cluster *c, unsigned source, ms_t mono);
/* *until: LIMIT_CONNECTS. */
enum policy_limit unknown_room(
	struct policy *p, const struct cluster *at, unsigned source, ms_t mono, ms_t *until);
/* Connections' worth of a lane's rate that is kept for hosts that are not known yet. */
uint32_t connects_kept(const struct policy *p, unsigned provider, unsigned source, ms_t mono);
bool cluster_over(const struct policy *p, const struct slot *s);
/* A host not known yet has asked in vain, and would ending this connection help? */
bool in_the_way(const struct policy *p, const struct slot *s, ms_t mono);
uint32_t cluster_limit(const struct cluster *c, ms_t mono);
uint32_t cluster_ramp(struct policy *p, struct cluster *c, ms_t mono);

/* door.c */
/* Connections allowed now; 0: no limit known. */
uint32_t door_limit(const struct door *d, ms_t mono);
/* This connection, which is not up, was refused: is it because so many of its source or subnet are
 * inside? */
bool door_counts(const struct policy *p, const struct slot *s);
/* The same, and remembers it. */
bool door_refused(struct policy *p, struct policy_now now, struct slot *s);

/* window.c */
uint32_t window_start(uint32_t cap);
void window_good(struct policy *p, struct lane *l, uint32_t n, ms_t mono);
void window_throttled(struct lane *l, ms_t mono, bool at_connect);
void window_slow_start(struct lane *l, ms_t mono);

/* health.c */
/* May traffic go now? HOLD_NONE, or HOLD_RESTING with *until (wall; 0: when the probe under way has
 * ended). busy: what a probe may not be beside. */
enum hold_reason health_gate(const struct health *h, ms_t wall, bool busy, ms_t *until);
void health_probe(
	struct health *h, struct policy_now now); /* traffic goes: a due rest becomes a probe */
void health_rest(struct policy *p, struct health *h, const struct health_kind *k,
	struct policy_now now, ms_t cooldown);
/* An outcome while probing. true: it came back by this. */
bool health_probed(struct policy *p, struct health *h, const struct health_kind *k, bool good,
	struct policy_now now);
void health_well(struct health *h, struct policy_now now);
static inline bool sick(const struct health *h)
{
	return h->state != HEALTHY;
}

/* contrast.c */
struct slot;
void look_at_others(struct policy *p, struct policy_now now, const struct slot *s, ms_t onset,
	double worse_than, struct others *ret);

/* cause.c: who is to blame */
enum kind {
	KIND_THROTTLE, /* words about the address we come from */
	KIND_BUSY,     /* about the receiver's load */
	KIND_DOMAIN,   /* about the recipient's domain */
	KIND_UNKNOWN,  /* for a while, and no rule knows why */
	KIND_DEAD      /* no words: the connection never came up */
};
struct refusal {
	enum kind kind;
	const char *domain;
	uint64_t message, recipient;
	const struct policy_tried *tried; /* sources that refused the message before; NULL: none */
	ms_t cooldown;
	const char *sender; /* domain of the envelope sender; NULL: none */
	enum found {
		FOUND_NONE,
		FOUND_PAIR,  /* the tenant does not want this subnet, and others do */
		FOUND_SENDER /* what this domain sends is refused, and other mail is not */
	} found;
};
enum cause blame(struct policy *p, struct policy_now now, struct slot *s, struct refusal *f);
void acquit(struct policy *p, struct policy_now now, struct slot *s, const char *domain);
bool pinned(const struct policy *p, const struct cluster *c, unsigned source, ms_t wall);

/* tenant.c */
struct tenant *tenant_find(const struct policy *p, const char *domain);
struct tenant *tenant_get(struct policy *p, const char *domain, ms_t mono);
void tenant_drop(struct policy *p, struct tenant *t);
enum hold_reason tenant_gate(
	struct policy *p, const struct tenant *t, struct policy_now now, ms_t *until);
void tenants_sweep(struct policy *p, struct policy_now now);
void tenant_unblame(struct policy *p, struct tenant *t, struct policy_now now);

/* block.c */
enum hold_reason block_gate(const struct block *b, ms_t wall, bool busy, ms_t *until);
/* The provider is one that was named: its hosts have something in common. */
static inline bool named(const struct policy *p, unsigned provider)
{
	return provider + 1 < p->params->nproviders;
}
/* A receiver refuses this source; domain NULL: a host, before it knew for whom. Blocks the source
 * at the provider when there are enough that do. */
void block_said(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, const char *domain);
bool block_good_lately(const struct block *b, ms_t mono);
void block_good(struct policy *p, struct policy_now now, struct slot *s);
/* By the operator. false: there was none. */
bool block_end(struct policy *p, struct policy_now now, unsigned provider, unsigned source);

/* ban.c */
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

/* ---- clock_step.c: the wall clock was set back ---- */
/* The end of a rest of that length, no later than one that begins now. */
ms_t clock_bounded(ms_t until, ms_t length, ms_t wall);
void clock_bound(struct policy *p, ms_t wall);
void policy_clock_tick(struct policy *p, struct policy_now now);
/* What the source was refused there since then was the provider's doing. */
void bans_explained(struct policy *p, const char *source, unsigned provider, ms_t since);
/* By the operator; NULL: all. How many were in force. */
unsigned bans_end(struct policy *p, struct policy_now now, const char *source, const char *where);
void bans_save(struct policy *p, const struct saver *s);
int ban_load(struct policy *p, enum ban_kind kind, const char *who, const char *place,
	unsigned provider, const int64_t n[4]);
void bans_free(struct policy *p);

/* sender_watch.c */
void sender_good(struct policy *p, unsigned provider, const char *sender, ms_t mono);
/* Does the domain that sends explain this refusal, better than something else that has this log
 * likelihood ratio? To be asked once a refusal. */
struct refusal;
bool sender_explains(struct policy *p, struct policy_now now, const struct slot *s,
	const struct refusal *f, double otherwise);
void senders_sweep(struct policy *p, ms_t mono);
void senders_free(struct policy *p);

/* sender.c */
/* What it sends is refused everywhere at the provider, by what was seen: it is held. How long, ms.
 */
ms_t sender_found(struct policy *p, struct policy_now now, const struct slot *s,
	const struct policy_tried *tried);
bool sender_held(const struct policy *p, unsigned provider, const char *domain);
bool sender_name(char out[SENDER_NAME], const char *domain);
/* It is held: *until wall. false: nothing can hold it. */
bool sender_refused(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct classification *c, const struct policy_tried *tried,
	ms_t *until);
bool sender_waits(struct policy *p, struct policy_now now, uint32_t slot,
	const struct policy_want *w, ms_t *until);

/* warmup.c */
int ramps_new(struct tables *t, const struct policy_params *p);
void ramps_free(struct provider_state *v, unsigned nsources);
void ramps_move(struct provider_state *to, struct provider_state *from, const int *source,
	unsigned nsources);
void ramps_recount(struct policy *p); /* after slots were moved */
struct ramp *ramp_of(const struct policy *p, unsigned provider, unsigned source);
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
/* The pool to which mail goes that this source cannot take; -1: none of its own. */
/* Is there allowance for it that waits only for a save? */
bool warmup_saving(
	const struct policy *p, struct policy_now now, unsigned provider, unsigned source);
int warmup_overflow(const struct policy *p, unsigned provider, unsigned source);
void warmup_expect(struct policy *p, struct slot *s);
void warmup_admitted(struct policy *p, struct policy_now now, struct slot *s, uint32_t n);
void warmup_unadmitted(struct policy *p, struct slot *s);
void warmup_accepted(struct policy *p, struct policy_now now, struct slot *s);
void warmup_refused(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	enum cause guilty);
void warmup_finished(struct policy *p, struct slot *s);
void warmup_slot_gone(struct policy *p, struct slot *s);
/* It was the cluster (domain NULL), or that tenant, after all. */
void warmup_excuse(
	struct policy *p, struct policy_now now, const struct cluster *c, const char *domain);
void warmup_tick(struct policy *p, struct policy_now now);
/* A new source has the first pick of what comes, until what is due is used. */
bool warmup_first(const struct policy *p, unsigned provider, unsigned source);

/* warmup_control.c */
/* The outcomes of all sources are counted, to compare with. */
void control_note(struct lane *l, ms_t mono, uint32_t n, bool bad);
/* Is the ramp's part at that cluster held? */
bool share_sick(const struct policy *p, const struct lane *l);
void share_good(struct policy *p, struct policy_now now, struct lane *l);
/* Nothing is held any more: the source's, at all clusters of the provider. */
void shares_release(struct policy *p, struct policy_now now, unsigned provider, unsigned source);

/* warmup_save.c */
void ramps_save(struct policy *p, const struct saver *s);
int ramp_load(
	struct policy *p, unsigned provider, unsigned source, const int64_t n[4], const char *rest);

/* host.c: hosts that fail, from where */
enum host_rank { HOST_USABLE, HOST_AVOIDED, HOST_FAILED /* in this cycle */, HOST_NONE };
/* What comes first: how well a host is for one of our subnets, then the preference. */
struct host_tier {
	enum host_rank rank;
	uint16_t preference;
};
struct host_tier host_tier_of(const struct policy *p, const struct policy_want *w, unsigned i,
	unsigned subnet, ms_t mono);
struct host_tier host_best_tier(const struct policy *p, const struct policy_want *w, uint8_t family,
	unsigned subnet, ms_t mono);
bool hosts_alike(const struct policy *p, const struct policy_want *w);
bool host_tier_before(struct host_tier a, struct host_tier b);
void host_slot_opens(struct policy *p, struct slot *s, ms_t mono);
void host_slot_up(struct policy *p, struct slot *s, ms_t mono);
void host_slot_good(struct policy *p, struct slot *s); /* mail was taken */
void host_slot_gone(struct policy *p, struct slot *s);
bool host_caps_cluster(struct slot *s, ms_t mono); /* refused at the door */
bool host_alone_ill(const struct slot *s);
bool host_may_admit(
	struct policy *p, struct policy_now now, struct slot *s, const struct policy_want *w);
void host_untroubled(struct policy *p, struct host *h); /* forgets all marks */
/* What came of mail given to it; for people. */
void host_noted(struct host *h, ms_t mono, bool bad);
struct tally host_tally(const struct host *h, ms_t mono);

/* family.c. True: it was for IPv6, and goes over IPv4 now. */
bool family_refused(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct reply *r, struct policy_tried *tried);

/* limits.c: what receivers take, as it showed */
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
void limits_taken(struct policy *p, struct policy_now now, struct slot *s);
/* Messages that this connection may carry; 0: no limit. */
uint32_t limits_session(const struct policy *p, const struct slot *s);
void limits_opens(struct policy *p, struct policy_now now, struct slot *s);
uint32_t limits_of(const struct limits *l, enum learned_kind k); /* l may be NULL */
bool limits_kept(const struct limits *l);			 /* something is to be remembered */
/* where: the host's address or the cluster's name */
void limits_save(struct policy *p, const struct saver *s, struct limits *l, const char *where,
	unsigned provider);
void limits_forget(struct policy *p, struct limits *l, const char *where, unsigned provider);
int limits_load(struct policy *p, const char *where, const char *kind, unsigned provider,
	const int64_t n[4]);

/* choose.c */
enum hold_reason source_obstacle(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall);
bool source_tried(const struct policy *p, const struct policy_tried *tried, unsigned source);

/* operate.c */
int suspension_add(
	struct policy *p, const char *source, const char *where, ms_t until, bool pin, bool dirty);
void suspensions_apply(struct policy *p, ms_t wall); /* into the tables that are asked */
void suspensions_expire(struct policy *p, struct policy_now now);
void suspensions_apply_cluster(struct policy *p, struct cluster *c, ms_t wall);

/* events.c */
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

/* finding.c */
/* Something is found to blame: the figures are kept, before its evidence is cleared. */
void finding_note(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, enum cause cause, const struct evidence *e, const char *domain);
void findings_free(struct policy *p);

/* save.c */
void save_mark(const struct saver *s);
void save_numbers(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, const int64_t n[4]);
/* One entry of four numbers; gone: it is deleted. */
void save_entry(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, bool gone, const int64_t n[4]);
int save_key(char *out, size_t max, const char *kind, const char *a, const char *b, const char *c);
void path_subnet_text(const struct policy *p, unsigned subnet, char out[ADDR_TEXT_MAX + 4]);
