/* The dispatcher's parts. Everything here belongs to its one thread.
 *
 * recipient → item; items of one message and one domain that go together → work; work waits in a
 * flow (domain × pool, diverted work apart); a domain's flows are linked to the hosts that its MX
 * names resolve to; a connection to a host takes work from the flows linked there, in turn. */
#pragma once

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <pthread.h>
#include <uthash.h>
#include <uv.h>

#include "past.h"
#include "postern/dispatch.h"
#include "postern/feed.h"
#include "postern/list.h"
#include "postern/loop.h"
#include "postern/match.h"
#include "postern/opening.h"
#include "postern/resolver.h"
#include "postern/rng.h"
#include "postern/stream.h"
#include "postern/wait_class.h"
#include "postern/wake.h"

#include "parts.h"

#define PIPELINE 2u /* transactions given to one connection: one runs, one waits at the worker */
#define LOST_MAX 3u /* connections that one recipient may lose in a cycle */
#define INTAKE_GROUP                                                                               \
	100u /* recipients of one work at first; the provider's limit splits it later */
#define STALLED_MAX 2000u /* settlements that failed and wait, before new work is left alone */

struct dispatch;
struct history;
struct own;
struct domain;
struct flow;
struct host;
struct connection;
struct work;
struct settle;
struct party; /* party.c */

/* ---- wakes: one heap of points in time ---- */

enum wake_kind { WAKE_DOMAIN, WAKE_ROUTE, WAKE_CONNECTION, WAKE_SETTLE };

/* ---- what is in memory ---- */

struct pool {
	char *name;
	int index; /* in the policy's parameters; -ENOENT: no longer configured */
	bool *has; /* by source */
	/* party.c: recipients in memory, and parties that have some */
	uint32_t in_memory, parties;
};

enum item_cancel { CANCEL_NONE, CANCEL_REMOVE, CANCEL_BOUNCE };
enum item_end { END_DEFER, END_DELIVERED, END_BOUNCED, END_EXPIRED, END_REMOVED, END_HELD };

/* What a notification says about one recipient; made only for those that need one. */
struct report {
	enum dsn_action action;
	bool ours; /* what kept it is a matter of the system that sends */
	char status[16], mta[256], diagnostic[600], reason[900];
};

/* One recipient in memory, from intake until its settlement is committed and answered: while it is
 * in the table it is not read from the due index again. */
struct item {
	UT_hash_handle hh;
	struct item_key {
		uint64_t id;
		uint64_t index;
	} key;
	struct item *next;		   /* in its work or its settle */
	const struct recipient *recipient; /* in the message, or &own */
	struct recipient own;		   /* text in stored */
	char *stored;
	struct domain *domain;
	struct settle *settle;		      /* being settled */
	struct work *work;		      /* else waiting or running in this */
	struct party *party;		      /* whose share of memory it takes; NULL: none yet */
	ms_t old_due, last_attempt, next_due; /* wall */
	uint16_t attempts, code;
	uint8_t verdict, flags, lost, cancel, end;
	uint8_t waited;		     /* enum hold_reason: what kept it from being tried, if known */
	bool gone;		     /* left memory while its domain is being read */
	struct list in_domain;	     /* its items, or those gone */
	char *reply, *host, *source; /* of the last attempt; heap; NULL for none */
	struct report *report;
};

struct work {
	struct match_work match; /* first */
	struct message *message; /* a reference */
	struct flow *flow;
	struct item *items;
	uint32_t n;
	struct connection *connection; /* NULL: waits in its flow */
	struct dns_route *route;       /* with connection: by which it was given there */
	const char *mx; /* with connection: what its own domain calls that host; in route */
};

struct flow {
	UT_hash_handle hh; /* by the next five */
	struct domain *domain;
	struct pool *pool;
	struct party *party;	/* NULL: of many; set aside, never linked */
	bool diverted;		/* work that other subnets refused: must not hold up its others */
	enum hold_reason aside; /* work that waits alone, of senders or for recipients: aside.c */
	struct flow *next;	/* of the domain */
	uint32_t works;		/* ready, and running ones that were taken from it */
	struct list in_opening; /* waits for a place at hosts that nobody has seen well */
	struct match_flow match;
};

struct candidate {
	struct host *host;
	const char *name; /* in the route */
	bool in_session;  /* it failed when it was up: coming up again is no proof */
	bool refused;	  /* a source of ours, at its door */
};

struct domain {
	UT_hash_handle hh;
	struct flow *flows;
	struct list items, gone; /* gone: only while being read */
	uint32_t in_memory;	 /* items */
	uint32_t gathered;	 /* of them: only their notification is waited for */
	struct match_domain match;
	bool on_hold;	      /* the operator holds it: hold.c */
	struct feed feed;     /* when it is read; domain_feed changes it */
	ms_t recalled;	      /* wall; who was not tried since is due now: recall.c; 0: no */
	uint64_t recall_left; /* entries that may still be looked at for it */
	bool recall_again;    /* what was read for it was put back untried */
	struct wake wake;     /* LATER: to feed.at */
	struct list in_due;   /* DUE: in one of the lists of those to be read */
	struct list in_ahead; /* ahead.c */
	/* route */
	bool asked, rejected; /* DNS runs; rejected: its answer was no route */
	bool known;	      /* it had a route once */
	bool renewing;	      /* asked, and it had a route before */
	bool looked_up;	      /* an answer has come, whatever it was */
	bool put_off;	      /* asked, and its mail is in the queue alone until the answer */
	struct list in_asked;
	ms_t asked_at;		 /* mono */
	struct dns_route *route; /* NULL: none */
	struct wake route_wake;
	unsigned provider, nhosts;
	struct policy_host *hosts;
	struct candidate *candidates;
	char *failure;		  /* what the hosts said that failed in this cycle */
	ms_t failed_at;		  /* mono; when the first of them failed; 0: none */
	struct pool *warmup_pool; /* its mail waits for the allowance of that pool's sources */
	uint32_t counted;	  /* backlog round in which it was counted last */
	struct parking parking;	  /* pools whose mail was put back into the queue: park.c */
	uint8_t logged;		  /* hold reason logged last */
	ms_t idle_since;	  /* mono; when it became empty */
	char name[];
};

struct connection {
	uint64_t number;
	struct match_connection match;
	unsigned worker;
	struct host *host; /* as match.host */
	struct work *running[PIPELINE];
	bool down, refused; /* gone; freed when the last transaction has come back */
	struct classification refusal;
	int error;
	struct wake wake; /* opening: when it is late; paused: until then */
	unsigned without; /* enum extension: opened without them */
	bool broke;	  /* its host's failure was told, and for whom it failed */
	uint64_t broke_from;
	ms_t connect_ms, tls_ms; /* told by the first transaction's log line */
	bool told;
	struct opening_place place; /* unproven.c */
	struct party *place_of;	    /* a reference; NULL: none */
	char session[20], host_name[256], source_name[64], source_address[ADDR_TEXT_MAX],
		subnet[ADDR_TEXT_MAX + 4], tls[64];
};

/* An address of a provider (with verification: under one name), shared by all domains that resolve
 * to it. */
struct host {
	UT_hash_handle hh;
	struct addr addr;
	unsigned provider;
	struct match_host match;
	uint32_t refs;
	/* host_memory.c: what worked there while it is known; by source in 32 classes; something
	 * that worked has failed since */
	uint8_t worked;
	uint32_t tls_works;
	bool doubted;
	/* unproven.c: was seen well once; was silent when it was tried last; connections that have
	 * places for those */
	bool proven, silent;
	uint32_t places;
	char text[ADDR_TEXT_MAX];
	size_t key_n;
	char key[];
};

struct gathering; /* notify.c */

struct operation; /* operate.c */

/* What operators hold with what comes: hold.c, orders.c. */
struct dispatch_orders {
	struct hold *holds; /* recipient domains */
	struct order *first;
	uint32_t n, matched, last; /* matched: those compared with mail; last: the highest number */
};

struct dispatch {
	struct dispatch_params p;
	const struct policy_params *params;
	struct policy *policy;
	struct classifier *rules;
	struct queue *queue;
	struct log *log;
	struct loop *loop;
	struct resolver *resolver;
	struct own *own;
	struct rng rng;
	struct log_line line;
	struct tls_context **tls; /* by provider */
	struct wake_heap wakes;

	struct domain *domains;
	struct flow *flows;
	uint32_t flows_kept; /* by the last sweep */
	struct item *items;
	struct host *hosts;
	struct memory *memories; /* host_memory.c */
	struct match match;	 /* who gets a place: assign.c */
	struct waits waits;	 /* park.c */
	struct operation *operations;
	struct dispatch_orders orders;

	struct dispatch_out out;
	struct dispatch_boxes boxes;
	struct dispatch_turn turn;
	struct dispatch_fair fair;
	struct dispatch_table table;
	struct dispatch_reads reads;
	struct dispatch_routes routes;
	struct opening opening; /* unproven.c */
	struct dispatch_told told;
	struct dispatch_held held;
	struct dispatch_life life;
	struct dispatch_shown shown;
	struct dispatch_clock clock;
	struct dispatch_backlog backlog;

	bool relieved;		     /* a rest of the policy has ended */
	struct past *past;	     /* chronicle.c; never NULL */
	struct dispatch_stats stats; /* the thread's own */
};

static inline struct policy_now now_of(const struct dispatch *d)
{
	return (struct policy_now){ loop_mono(d->loop), loop_wall(d->loop) };
}
static inline const struct provider_params *provider_of(const struct dispatch *d, unsigned provider)
{
	return &d->params->providers[provider];
}

/* NULL: it has none, or one that is no longer configured. Borrowed until the next reload. */
static inline const struct class_params *class_of(const struct dispatch *d, const struct message *m)
{
	return policy_class(d->params, m->class);
}

/* Recipients in memory from which on no more are read: what is left is for mail that comes in. */
static inline uint32_t due_max(const struct dispatch *d)
{
	return d->p.work_max - d->p.work_max / 4;
}
