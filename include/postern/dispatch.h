/* The dispatcher: one thread that owns policy, timers and what is in work. It takes fresh messages
 * from the queue's mailbox and due ones from the due index in bounded windows, which a thread of
 * its own reads, routes them (domain → MX → hosts; resolver.h), lets the policy choose, gives
 * transactions to the workers' connections, and settles the verdicts. */
#pragma once

#include "postern/classify.h"
#include "postern/dns.h"
#include "postern/dsn.h"
#include "postern/history.h"
#include "postern/log.h"
#include "postern/policy.h"
#include "postern/queue.h"
#include "postern/worker.h"

struct dispatch_endpoint {
	struct addr addr;
	uint16_t port;
};
struct dispatch_params {
	const char *hostname, *postmaster;
	const struct dispatch_endpoint *listening; /* where this relay takes mail; copied */
	unsigned nlistening;
	struct dns_params dns;
	uint32_t window;	    /* recipients in memory of one domain at most; 0: 200 */
	uint32_t work_max;	    /* recipients in memory in all; 0: 4000 */
	uint32_t outbound_max;	    /* connections in all; 0: no limit */
	uint64_t transcript_memory; /* bytes of sessions kept to be shown; 0: none */
	uint64_t transcript_disk;   /* of them in the queue's file; 0: none */
	bool transcript_addresses;  /* there in clear */
	uint64_t transcript_secret; /* of their hashes otherwise */
	uint64_t body_memory_max;   /* over it fresh bodies are dropped from memory and read back */
	ms_t drain_deadline;	    /* SIGTERM: running transactions get this long; 0: 30 s */
};

struct dispatch;
/* Everything given is borrowed for its life. events mailbox of the workers: dispatch_events. */
int dispatch_new(struct dispatch **ret, const struct dispatch_params *p,
	const struct policy_params *policy, struct classifier *rules, struct queue *queue,
	struct log *log, char *error, size_t error_max);
struct mpsc *dispatch_events(struct dispatch *d); /* for worker_params.events */
int dispatch_start(struct dispatch *d, struct worker **workers, unsigned nworkers);
/* Starts no more transactions; done (on the dispatcher's thread) when none runs and all is settled,
 * or at the deadline. */
void dispatch_drain(struct dispatch *d, void (*done)(void *arg), void *arg);
/* When this returns the workers have its last orders: they may be freed, and before it they must
 * not. NULL-safe; any thread but its own. */
void dispatch_quiet(struct dispatch *d);

/* Stops its thread. Before it: the workers are freed; after drain's done no orders are posted to
 * them. The queue must still be open; mail that is committed from now on waits in it. Returns NULL.
 * NULL-safe; any thread but its own. */
struct dispatch *dispatch_free(struct dispatch *d);

/* Runs fn on the dispatcher's thread. Any thread; the call struct is the caller's until fn ran. */
struct dispatch_call {
	struct mpsc_node node;
	void (*fn)(struct dispatch *d, void *arg);
	void *arg;
};
void dispatch_call(struct dispatch *d, struct dispatch_call *c);

/* ---- on the dispatcher's thread (from dispatch_call) ---- */
struct policy *dispatch_policy(struct dispatch *d);
struct policy_now dispatch_now(struct dispatch *d);
struct history *dispatch_history(struct dispatch *d);
/* The last good and the last refused session of each lane; fn false: no more. All is borrowed for the
 * call. */
struct dispatch_transcript {
	const char *source, *subnet, *cluster, *provider, *session,
		*address; /* cluster "": not known */
	uint64_t message; /* of its last transaction; 0: it came to none */
	ms_t at;	  /* wall; when that ended */
	const struct transcript *said;
};
void dispatch_transcripts(
	struct dispatch *d, bool (*fn)(void *arg, const struct dispatch_transcript *t), void *arg);
/* Something that waiting mail waits for was ended by the operator: it is asked again within a
 * second. */
void dispatch_relieved(struct dispatch *d);

/* A reload. Reserved on any thread (contexts of TLS read files), adopted on the dispatcher's: all
 * of it or, with an error, nothing. What is adopted is borrowed until the next one; of p that is
 * hostname, postmaster, window, work_max, drain_deadline and listening (copied). */
struct dispatch_change {
	const struct dispatch_params *p;
	const struct policy_params *policy;
	struct classifier *rules;
	/* the change's own: what is to be adopted, and afterwards what was replaced */
	struct tls_context **tls;
	unsigned ntls;
};
int dispatch_change_init(struct dispatch_change *c, const struct dispatch_params *p,
	const struct policy_params *policy, struct classifier *rules, char *error,
	size_t error_max);
void dispatch_change_deinit(struct dispatch_change *c); /* any thread; zeroed is fine */
int dispatch_reload(struct dispatch *d, struct dispatch_change *c);

enum dispatch_op {
	DISPATCH_RETRY,
	DISPATCH_REMOVE,
	DISPATCH_BOUNCE,
	DISPATCH_HOLD,
	DISPATCH_RELEASE,
	DISPATCH_FREE, /* what was held by an order that has ended; the dispatcher's own */
	DISPATCH_SAVE  /* no recipient: what the policy knows, and what it was told, is recorded */
};
/* Queue operations of the operator on what the selector means. A hold by an order also holds what
 * comes, until the release of the same selector or of everything, over restarts; -ENOSPC: there are
 * too many. Goes through the dispatcher, because it knows what is in work: that is not interrupted,
 * but not started again. done: with the number of recipients concerned; may come later. -ENOENT:
 * messages were named by id, and none is there. so_far: is kept at their number until then, for
 * another thread to read; NULL: not wanted. */
/* Whether what only the relay knows of a recipient fits: its cluster, and why it waits. On the
 * dispatcher's thread, for recipients that fit by all else. */
typedef bool dispatch_fits(struct dispatch *d, const struct message *m, uint32_t k,
	const struct queue_rcpt_state *s, const struct selector *which);
/* A standing order. Texts are borrowed; who and reason have no line ends. */
struct dispatch_order {
	uint32_t number;
	const struct selector *which;
	const char *who, *reason; /* NULL or "": not said */
	ms_t since, until;	  /* wall; until 0: until it is released */
};
/* On the dispatcher's thread. ending: its mail is being let go. */
void dispatch_orders(struct dispatch *d,
	void (*fn)(void *arg, const struct dispatch_order *o, bool ending), void *arg);

struct dispatch_task {
	enum dispatch_op op;
	struct selector *which; /* borrowed until done; NULL or without words: all that waits */
	dispatch_fits *fits;	/* needed where selector_asks(which) */
	bool dry;		/* counted, not changed */
	/* DISPATCH_HOLD: by a standing order, which also holds what comes; which is all that counts
	 * of it. NULL: only what waits */
	const struct dispatch_order *order;
	uint32_t number; /* DISPATCH_RELEASE: of an order, in place of which; 0: none */
};
int dispatch_operate(struct dispatch *d, const struct dispatch_task *t,
	void (*done)(void *arg, int result, uint64_t changed), void *arg, _Atomic uint64_t *so_far);

/* What selectors look at. */
void dispatch_who(const struct message *m, struct selector_message *ret);
struct selector_rcpt dispatch_whom(const struct recipient *r, const struct queue_rcpt_state *s);
/* The cluster of the host of its last attempt, as it is known now; "". On the dispatcher's thread. */
void dispatch_cluster(struct dispatch *d, const struct queue_rcpt_state *s, char out[40]);

/* Of this recipient domain, as far as is known now; "". On the dispatcher's thread. */
void dispatch_provider(struct dispatch *d, const char *domain, char *out, size_t max);
/* The number of the order that holds this recipient, or would when it is due; 0: none. */
uint32_t dispatch_order_of(struct dispatch *d, const struct message *m, uint32_t k);
/* Why does this recipient wait, and until when (wall; 0: until somebody acts, or unknown)? What
 * waits for a place has the time at which it is looked at again at the latest. k: number
 * in m's recipients. Text into reason.
 * From memory when it is in work, else from its stored state. */
void dispatch_reason(struct dispatch *d, const struct message *m, uint32_t k,
	const struct queue_rcpt_state *s, char *reason, size_t reason_max, ms_t *until);

/* Domains with waiting mail as the dispatcher sees them. */
struct dispatch_domain_info {
	const char *domain, *provider;
	uint32_t ready, in_flight;
	ms_t next_due;	    /* wall; 0: none */
	const char *reason; /* why it waits; "" when it does not */
	ms_t until;
	bool held; /* by the operator, with what still comes; it may have no mail */
};
void dispatch_domains(
	struct dispatch *d, void (*fn)(void *arg, const struct dispatch_domain_info *i), void *arg);

/* What the mail of one pool for one domain waits for. */
struct dispatch_wait {
	const char *domain, *pool; /* asked */
	enum hold_reason reason;   /* NONE: nothing, or for others of its domain */
	enum policy_limit limit;
	unsigned provider; /* index; ~0u: not known */
	uint64_t cluster;  /* its id in the policy; 0: none */
	char where[32];	   /* its name; "" not known */
	ms_t until;	   /* wall; 0: until somebody acts, or not known */
	uint32_t aside;	   /* recipients in memory that wait for their sender alone */
	uint32_t paced;	   /* and those that take no more for now */
};
void dispatch_wait(struct dispatch *d, struct dispatch_wait *w);

/* What this host is found to offer without doing it, "" when nothing: "CHUNKING, STARTTLS from a1".
 * On the dispatcher's thread. */
void dispatch_host_without(struct dispatch *d, const struct addr *host, char *out, size_t max);

#define DISPATCH_POLICY_EVENTS 24
struct dispatch_stats {
	struct policy_summary policy;			/* at most a second old */
	uint64_t policy_events[DISPATCH_POLICY_EVENTS]; /* by enum policy_event_kind */
	uint64_t attempts, delivered, deferred, bounced, expired, held, in_doubt, dsns, connects,
		connect_failures;
	uint64_t in_doubt_ended;		   /* returned after too many doubts */
	uint64_t extensions_off[EXTENSIONS_COUNT]; /* by bit of enum extension */
	uint64_t by_verdict[VERDICT_COUNT];
	uint32_t domains, work, in_flight, connections, connections_idle;
	struct dns_stats dns;
};
void dispatch_stats(struct dispatch *d,
	struct dispatch_stats
		*ret); /* any thread: a snapshot under a lock, taken once a second or asked */
