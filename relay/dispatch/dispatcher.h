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
#include "postern/resolver.h"
#include "postern/rng.h"
#include "postern/stream.h"
#include "postern/wait_class.h"
#include "postern/wake.h"

#include "parts.h"
#include "state.h"

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
	bool unproven; /* opening, and counted as such */
	bool kept;     /* in one of the last places for those */
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
	bool proven; /* opening.c: was seen well once */
	char text[ADDR_TEXT_MAX];
	size_t key_n;
	char key[];
};

struct gathering; /* notify.c */

struct settle {
	struct queue_settle q; /* first: answers come back as its job */
	struct message *message;
	struct item *items;
	struct queue_settle_rcpt one;
	struct queue_accept *dsn[3];
	struct wake wake; /* failed: tried again then; gathering: told then */
	bool stalled;
	struct gathering *gathering; /* not posted yet: more may come to it */
};

struct operation; /* operate.c */

/* A reading of the due index, made by the reading thread for the dispatcher. */
#define READINGS_MAX 64u
#define WITHOUT_MAX  8u
struct reading {
	struct mpsc_node node;
	struct reading *next;
	struct domain *domain; /* the thread looks at its name, which stays as it is */
	ms_t wall;
	uint32_t limit;
	bool first;		/* of a domain that never had a route */
	struct item_key *known; /* what was in memory when it was asked for: a table with places */
	size_t size, mask;
	uint32_t nknown;
	const void *without[WITHOUT_MAX]; /* struct pool: whose mail is not wanted */
	unsigned nwithout;
	struct queue_place after;	 /* id 0: from the first */
	struct party *many[WITHOUT_MAX]; /* ahead.c: not theirs; a reference each */
	unsigned nmany;
	int result;
	struct queue_reading window;
};
struct reader; /* reader.c */

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
	struct dispatch_opening opening;
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

/* Where nobody knows yet whether mail can go, a little of it in memory is enough to find out: a
 * million messages for a receiver that is down are not to be read again and again. */
static inline bool domain_probing(const struct domain *m)
{
	return !m->route || m->parking.all;
}
/* Recipients in memory from which on no more are read: what is left is for mail that comes in. */
static inline uint32_t due_max(const struct dispatch *d)
{
	return d->p.work_max - d->p.work_max / 4;
}

/* ---- post.c ---- */
/* queue_job.tag. JOB_ASIDE: nobody waits for its answer */
enum job_tag { JOB_SETTLE = 1, JOB_OPERATION, JOB_STATE, JOB_FENCE, JOB_ASIDE };
void job_post(struct dispatch *d, struct queue_job *j,
	enum job_tag tag); /* posted at the end of the iteration */
/* As wake_put, and waits for memory if there is none: who is not woken would wait for ever. */
void wake_set(struct wake_heap *h, struct wake *w, ms_t at);

/* ---- pool.c ---- */
/* For new parameters: what pools_adopt needs, before anything is changed. 0, -ENOMEM. */
int pools_reserve(struct dispatch *d, unsigned nsources, bool ***ret);
void pools_unreserve(struct dispatch *d, bool **has); /* NULL-safe */
void pools_adopt(struct dispatch *d, bool **has); /* binds all to the policy's numbers; takes has */
struct pool *pool_get(struct dispatch *d, const char *name);

/* ---- domain.c ---- */
struct domain *domain_get(struct dispatch *d, const char *name); /* NULL: no memory */
struct domain *domain_find(struct dispatch *d, const char *name);
/* What decides when the domain is read; in NULL: the event has no more to tell. The one way to
 * change its feed: keeps the lists and the timer of its state. */
void domain_feed(struct dispatch *d, struct domain *m, enum feed_event e, struct feed_in *in);
void domain_due(struct dispatch *d, struct domain *m, ms_t due); /* FEED_ON_MAIL */
void domain_touch(struct dispatch *d, struct domain *m);	 /* after something left memory */
/* Nothing of it is in memory, in the queue, or parked. */
bool domain_empty(const struct domain *m);
void domain_sweep(struct dispatch *d);
void domains_free(struct dispatch *d);
/* Items come into memory; or leave it: < 0. */
void domain_holds(struct dispatch *d, struct domain *m, int items);

/* ---- flow.c ---- */
static inline void flow_ask(struct dispatch *d, struct flow *f) /* looked at in this turn */
{
	waiter_ask(&d->match.places, &f->match.waiter);
}
/* Which flow: of this pool and sender's domain; and whether its work is diverted, or set aside. */
struct flow_kind {
	struct pool *pool;
	struct party *party;
	bool diverted;
	enum hold_reason aside; /* SENDER, RECIPIENT or NONE */
};
struct flow *flow_find(struct dispatch *d, struct domain *m, const struct flow_kind *k);
struct flow *flow_get(struct dispatch *d, struct domain *m, const struct flow_kind *k);
void flows_sweep(struct dispatch *d); /* at the end of a turn: when many are empty */
void flow_push(struct dispatch *d, struct flow *f, struct work *w, bool front);
void flow_remove(struct dispatch *d, struct work *w);
void flow_wait_over(struct dispatch *d, struct flow *f);
void flow_link(struct dispatch *d, struct flow *f);
void want_of(const struct flow *f, const struct work *w, struct policy_want *ret);
bool flows_idle(const struct domain *m);
void flows_free(struct dispatch *d, struct domain *m);

/* ---- waiting.c ---- */
void flow_wait(struct dispatch *d, struct flow *f, enum hold_reason reason, ms_t until);
/* The same with the place that the policy named. */
void flow_wait_at(struct dispatch *d, struct flow *f, const struct policy_choice *why);
void flow_crowded(struct dispatch *d, struct flow *f); /* something was put into it */
void flows_make_room(struct dispatch *d);	       /* once a second */
void flows_wake(
	struct dispatch *d); /* those that wait for a rest or back-off of the policy to end */
void work_place(struct dispatch *d, struct work *w, struct domain *m); /* into its flow */

/* ---- party.c ---- */
/* The pool's mail of the sender's domain; NULL: no memory. It lives while it has mail or flows. */
struct party *party_get(struct dispatch *d, const struct message *m);
struct party *party_ref(struct party *p); /* NULL-safe, as the next */
void party_unref(struct dispatch *d, struct party *p);
struct pool *party_pool(const struct party *p);
/* An item, and its work's others, take their party's share of memory; an item gives it back. */
void party_charge(struct dispatch *d, struct party *p, struct work *w);
void party_discharge(struct dispatch *d, struct item *i);
/* It has as much in memory as others have, or more: what is scarce goes to others first. */
bool party_has_much(const struct dispatch *d, const struct party *p);
bool pool_has_much(const struct dispatch *d, const struct pool *pool);
bool party_sent(const struct party *p, const struct message *m); /* any thread */

/* ---- fair.c: see there ---- */
bool fair_room(struct dispatch *d, struct domain *m, const struct party *p);
uint32_t fair_window_end(const struct dispatch *d);   /* what is kept of a window included */
uint32_t fair_unrouted_max(const struct dispatch *d); /* recipients without a route, in memory */
uint64_t fair_body_max(const struct dispatch *d, const struct party *p); /* bytes */
/* Recipients in memory up to which this domain is read. */
uint32_t fair_due_max(const struct dispatch *d, const struct domain *m);
struct domain *fair_due(struct dispatch *d); /* the next to be read now; NULL: none */

/* ---- park.c ---- */
void park_flow(struct dispatch *d, struct flow *f);	  /* all that is ready in it */
void park_gone(struct dispatch *d, const struct flow *f); /* something of it goes */
void park_ask(struct dispatch *d, struct domain *m); /* the operator wants its mail to be tried */
void park_forget(struct dispatch *d, struct domain *m);
void park_over(struct dispatch *d); /* the time of some has come */
void park_wake(struct dispatch *d); /* something that they may wait for has ended */

/* ---- item.c ---- */
struct item *item_new(struct dispatch *d, struct domain *m, uint64_t id, const struct recipient *r,
	bool copy, ms_t due);
struct item *item_find(struct dispatch *d, uint64_t id, uint32_t index);
/* It is in memory, or was while its domain is being read. */
bool item_seen(struct dispatch *d, uint64_t id, uint32_t index);
/* The text it points to goes away: it gets its own (the domain's name is the domain's). False: no
 * memory. */
bool item_keep_text(struct item *i);
void item_state(struct item *i, const struct queue_rcpt_state *s);
void item_drop(struct dispatch *d, struct item *i); /* out of memory; it stays in the queue */
void items_forget_gone(struct dispatch *d, struct domain *m);
struct work *work_new(struct message *m); /* takes a reference */
void work_free(struct work *w);
void work_add(struct work *w, struct item **last, struct item *i); /* last: the poster's cursor */
void work_drop(struct dispatch *d, struct work *w);  /* as work_evict, of one in no list */
void work_evict(struct dispatch *d, struct work *w); /* waiting work back to the queue alone */

/* ---- ahead.c: see there ---- */
void ahead_turn(struct dispatch *d);
ms_t ahead_next(const struct dispatch *d); /* mono; when to have a turn; 0: not needed */
void ahead_taken(struct dispatch *d);

/* ---- reader.c ---- */
/* answers: the mailbox that readings come back to, by their node. 0, -ENOMEM … */
int reader_new(struct reader **ret, struct queue *queue, struct mpsc *answers);
int reader_start(struct reader *r);
struct reader *reader_free(struct reader *r); /* when no reading is under way; NULL-safe */
bool reader_room(const struct reader *r);
/* At most limit of what is due; posted by reader_flush. False: no memory. */
bool reader_ask(struct dispatch *d, struct domain *m, uint32_t limit);
/* Mail due that is none of these parties'; takes the references, if it can. */
bool reader_ask_ahead(
	struct dispatch *d, struct domain *m, uint32_t limit, struct party **many, unsigned nmany);
void reader_flush(struct reader *r);
void reader_done(struct dispatch *d, struct reading *r); /* was taken; it is the reader's again */

/* ---- intake.c ---- */
void intake_fresh(void *arg, struct mpsc_node *first);
void intake_due(struct dispatch *d); /* has readings made */
void intake_readings(void *arg, struct mpsc_node *first);
int intake_start(struct dispatch *d);
/* Expires and notifies what waits in a flow for long. */
void flow_age(struct dispatch *d, struct flow *f);

/* ---- opening.c ---- */
bool opening_proven(const struct dispatch *d, const struct addr *a);
void opening_prove(struct dispatch *d, struct host *h);
/* May a connection be opened for the domain, as far as the share of unproven hosts goes? */
bool opening_room(struct dispatch *d, const struct domain *m);
void opening_begin(struct dispatch *d, struct connection *c, struct client_timeouts *t);
void opening_end(struct dispatch *d, struct connection *c, bool well); /* up or down */

/* ---- unrouted.c ---- */
void unrouted_known(struct dispatch *d, struct domain *m); /* has a route */
void unrouted_asked(struct dispatch *d, struct domain *m);
void unrouted_answered(struct dispatch *d, struct domain *m);
struct domain *unrouted_next(struct dispatch *d); /* to be read; NULL: none now */

/* ---- route.c ---- */
bool route_ready(
	struct dispatch *d, struct domain *m); /* asks DNS if need be; the answer comes later */
void route_answer(void *dispatch, void *domain, struct dns_route *r);

/* ---- candidate.c ---- */
/* Referenced; NULL: no memory. name: with verification, a host is good for one name alone. */
struct host *host_by_address(
	struct dispatch *d, const struct addr *a, unsigned provider, const char *name);
void route_drop(struct dispatch *d, struct domain *m);
struct host_failure {
	uint64_t from;	 /* as policy_host_failed says */
	bool in_session; /* one transaction's: the domain's alone */
	bool refused;	 /* a source was, at the door */
	const char *why;
};
/* In this cycle. The domain that asked (NULL: nobody any more), and all that count on this host
 * now: each would only find out the same. */
void route_host_failed(
	struct dispatch *d, struct domain *m, struct host *h, const struct host_failure *f);
void route_relink(struct dispatch *d, struct domain *m);
bool route_all_failed(const struct domain *m);
void route_clear_failures(struct domain *m);
/* What the domain calls that host; NULL: it does not know it (any more). */
const char *route_name_of(const struct domain *m, const struct host *h);
void route_host_well(struct domain *m, const struct host *h);
void host_unref(struct dispatch *d, struct host *h);
void hosts_retire(struct dispatch *d);

/* ---- connection.c ---- */
int connection_open(struct dispatch *d, struct flow *f, const struct policy_choice *c);
void connection_up(struct dispatch *d, struct outbound_event *e);
void connection_down(struct dispatch *d, struct outbound_event *e);
void connection_ended(
	struct dispatch *d, struct connection *c); /* a transaction of one that is down came back */
struct connection *connection_by_number(struct dispatch *d, uint64_t number);
bool connection_quit(struct dispatch *d, struct connection *c); /* false: no memory */
void connections_wake(struct dispatch *d);
void connection_woken(struct dispatch *d, struct connection *c);
void order_post(struct dispatch *d, struct connection *c, struct outbound_order *o);

/* ---- host.c ---- */
/* A connection that did not come up; k: what was said, NULL: nothing. Gives the work of f, if any,
 * another way or a pause. */
void host_not_reached(struct dispatch *d, struct connection *c, struct flow *f,
	const struct classification *k, const char *text);
/* The same, refused for the source's sake. False: the domain has no other host to ask. */
bool host_refuses(struct dispatch *d, struct connection *c, struct flow *f,
	const struct classification *k, const char *text);
/* The host failed in a session: what the domain has left is to be tried at once. False: nothing. */
bool host_broke(struct dispatch *d, struct connection *c, struct domain *m,
	enum policy_host_fault fault, const char *why);
/* No source has a host left in this cycle. False: it is for nothing that failed. */
bool host_used_up(struct dispatch *d, struct domain *m);
/* It is not up yet: others may go another way. */
void host_late(struct dispatch *d, struct connection *c);

/* ---- assign.c ---- */
/* What the scheduler decides is carried out here. */
extern const struct match_driver dispatch_driver;
void assign_flow(struct dispatch *d, struct flow *f);

/* ---- aside.c ---- */
/* This work, ready in f, is held for its sender until then (mono). */
void aside_take(struct dispatch *d, struct flow *f, struct work *w, ms_t until);
void aside_look(struct dispatch *d, struct flow *a);
/* Recipients that take no more for now are set aside out of the flow's work. False: all of it. */
bool aside_recipients(struct dispatch *d, struct flow *f, struct work *w);
/* The work was given out: it may find out whether its recipients take mail again. */
void aside_gone(struct dispatch *d, const struct work *w);

/* ---- result.c ---- */
void result_take(struct dispatch *d, struct connection *c, struct outbound_transact *t);
/* A reply that ended the session before this waiting work could be offered. */
void result_refused(struct dispatch *d, struct connection *c, struct work *w,
	const struct classification *k, const struct reply *r);

/* ---- settle.c ---- */
/* Takes the items (ends and reports set) out of play: one job; a reference of m is taken. */
void settle_items(struct dispatch *d, struct message *m, struct item *items);
struct settle *settle_new(struct dispatch *d, struct message *m); /* always succeeds */
void settle_commit(struct dispatch *d, struct settle *s);	  /* with its items, q.n of them */
void settle_answer(struct dispatch *d, struct queue_job *j);
void settle_free(struct dispatch *d, struct settle *s); /* without recording */
void settle_again(struct dispatch *d, struct settle *s);
/* Deferred items: due clamped to the expiry, delay notice added when its time has come. */
void settle_defer(struct dispatch *d, struct message *m, struct item *i, ms_t delay);

/* ---- notify.c ---- */
/* Takes those whose notification waits for company; returns the others. */
struct item *notify_gather(struct dispatch *d, struct message *m, struct item *items);
void notify_tell(struct dispatch *d, struct gathering *g);
void notify_tell_all(struct dispatch *d);
void notify_sweep(struct dispatch *d);
void notify_free(struct dispatch *d);

/* ---- clock_step.c ---- */
void due_longest_set(struct dispatch *d); /* of the parameters */
struct feed_place far_begin(const struct dispatch *d);
void clock_begin(struct dispatch *d);
void clock_tick(struct dispatch *d); /* once a second */
/* Of a message that comes into memory: it came at a time that is, by this clock. */
void clock_restamp(struct dispatch *d, struct message *m);

/* ---- hostname.c ---- */
void hostname_want(struct dispatch *d, const struct connection *c); /* is up */
void hostname_answer(void *dispatch, void *of, const char *name);

/* ---- setup.c ---- */
int setup_tls(
	struct tls_context ***ret, const struct policy_params *p, char *error, size_t error_max);
void setup_tls_free(struct tls_context **all, unsigned n);
void dispatch_free_memory(struct dispatch *d);

/* ---- learned.c ---- */
void state_load(struct dispatch *d);
void state_save(struct dispatch *d);

/* ---- hold.c ---- */
bool hold_is_set(const struct dispatch *d, const char *domain);
int hold_add(struct dispatch *d, struct slice domain); /* 0, -ENOSPC: too many, -ENOMEM */
int hold_record(struct dispatch *d, const char *domain, bool held); /* 0, -ENOMEM, -EINVAL */
void hold_forget(struct dispatch *d, const char *domain);
void holds_load(struct dispatch *d);
void holds_free(struct dispatch *d);
/* fn may forget it. */
void holds_each(struct dispatch *d, void (*fn)(void *arg, const char *domain), void *arg);

/* ---- watch.c ---- */
void watch_tick(struct dispatch *d); /* once a second */

/* ---- backlog.c ---- */
void backlog_tick(struct dispatch *d); /* once a second */
void backlog_reset(struct dispatch *d);

/* ---- delivery_log.c ---- */
void policy_log(void *dispatch, const struct policy_event *e);
struct log_attempt {
	enum log_event_kind event;
	bool attempted; /* an attempt ended with it, which the item has not counted yet */
	const struct message *message;
	const struct item *item;
	const struct connection *connection; /* NULL: none */
	const char *mx;			     /* the host as the recipient's domain names it */
	const struct outbound_transact *transact;
	const struct reply *reply;
	const char *status, *text; /* our own finding, without a reply */
	const char *verdict, *cause, *reason;
	ms_t next; /* wall; 0: none */
};
void delivery_log(struct dispatch *d, const struct log_attempt *a);

/* ---- operate.c ---- */
void orders_tick(struct dispatch *d);  /* once a second: ends those whose time is over */
bool operate_step(struct dispatch *d); /* true: more to do in the next iteration */
void operate_answer(struct dispatch *d, struct queue_job *j);
void operate_free_all(struct dispatch *d);
