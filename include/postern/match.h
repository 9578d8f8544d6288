/* Work meets connections: who gets a place. Two loops. A flow that has more work than connections
 * offers its work to open ones, and opens more (match_look). A connection that can take work is
 * offered that of the flows at its host, in turn (match_assign). The policy says which source, which
 * host, whether now; what follows from that is here, once for all who drive it: the relay
 * (relay/dispatch/assign.c), the rehearsal (relay/rehearse/assign.c) and the model of the tests.
 *
 *   OPENING ──match_up──► UP: idle ◄──► half (one transaction) ◄──► full ──► QUITTING
 *      └───────────────────── match_down ─────────────────────────────────────┴──► match_gone
 *
 * Pure: time is an argument. One thread. What is decided is carried out by the driver at once, by
 * the functions of struct match_driver, in the order in which it was decided: each decision changes
 * what the policy answers to the next question, and a driver that has no memory says so then. The
 * structs are embedded in the driver's own, and allocated by nobody here but for a flow's links.
 * Bounded: MATCH_TRIES and MATCH_OPENS in each loop; connections by connections_max. */
#pragma once

#include "postern/list.h"
#include "postern/places.h"
#include "postern/policy.h"
#include "postern/turns.h"

#define MATCH_TRIES 8u	/* flows of each rank offered to one connection before it stays idle */
#define MATCH_OPENS 16u /* connections opened for one flow in one turn; then others come first */
#define MATCH_HOSTS 16u /* of one flow */
#define MATCH_WAYS  64u
#define MATCH_AGAIN 1000 /* ms; after a want of memory */

/* ---- what takes part ---- */

struct match_domain {
	uint32_t in_flight; /* under way, of all its flows; the driver counts */
};

struct match_work {
	struct list in_flow;
	uint32_t count; /* messages that it stands for; more than one in a rehearsal alone */
	struct policy_tried tried;
	struct policy_txn txn; /* under way: as the policy admitted it */
};

struct match_host {
	struct turns_here turns; /* of flows with ready work there */
	struct list idle, half;	 /* connections: without a transaction; with one */
	uint32_t nidle, up, opening;
	bool retired;			  /* nothing new is put on it */
	ms_t others_until;		  /* mono; domains with little under way have come lately */
	const struct match_domain *taker; /* of the last transaction; to compare with alone */
};

struct match_link {
	struct turn_link turn; /* first */
	struct match_flow *flow;
	struct match_host *host; /* NULL: not linked */
};

struct match_flow {
	struct waiter waiter; /* waiting: no new connection is asked for before */
	const struct match_domain *domain;
	const void *pool, *party; /* for turns */
	unsigned provider;	  /* of its hosts */
	bool diverted;		  /* work that other subnets refused */
	bool linked;
	struct list ready;
	uint32_t nready;	  /* works */
	uint64_t messages;	  /* that they stand for */
	uint32_t opening;	  /* connections being made for it */
	unsigned nlinks;	  /* by host, as in the want */
	struct match_link *links; /* NULL: none yet */
};

enum match_state { MATCH_OPENING, MATCH_UP, MATCH_QUITTING };
struct match_connection {
	enum match_state state;
	uint32_t slot;
	unsigned source, provider;
	struct match_host *host;
	struct match_flow *asked_by; /* while opening; its opening counts it */
	unsigned nrunning;	     /* transactions */
	bool retire;		     /* ends after what runs */
	bool paused;		     /* takes nothing before its time: match_resume */
	bool in_idle, in_half;
	struct list idle, half, all_idle; /* of the host, of the host, of all */
	struct list in_all;		  /* until it is down; the oldest first */
	ms_t idle_since;
};

/* ---- who drives ---- */

/* Those that may be NULL say so. arg is match.arg. */
struct match_driver {
	/* Fills in what the policy is to be asked for this work; c: for that connection, NULL: for a
	 * new one. ret's hosts stay as they are until the next question. */
	void (*want)(void *arg, struct match_flow *f, struct match_work *w,
		struct match_connection *c, struct policy_want *ret);
	/* The host with that number in the want. */
	struct match_host *(*host)(void *arg, struct match_flow *f, unsigned i);
	/* May this source carry mail of that pool? */
	bool (*serves)(const void *source, const void *pool);
	/* Asked where single recipients are watched. False: all of the work was set aside. NULL: it
	 * fits. */
	bool (*fits)(void *arg, struct match_flow *f, struct match_work *w);
	/* May one more be opened for it, as far as the driver goes? NULL: yes. */
	bool (*room)(void *arg, struct match_flow *f);

	/* Opens; calls match_opening. False: it could not, and has given the slot back. */
	bool (*open)(void *arg, struct match_flow *f, struct match_work *w,
		const struct policy_choice *c);
	/* Takes the work out of its flow and sends it, or as many messages as were admitted. False:
	 * it could not, and has the flow wait. */
	bool (*transact)(void *arg, struct match_connection *c, struct match_flow *f,
		struct match_work *w, uint32_t count);
	/* Ends a connection that has nothing under way, or will have nothing more. False: it could
	 * not; tried again. */
	bool (*quit)(void *arg, struct match_connection *c);
	/* match_resume is to be called then. */
	void (*pause)(void *arg, struct match_connection *c, ms_t until);
	/* The flow gets no connection now. Calls waiter_wait. */
	void (*wait)(void *arg, struct match_flow *f, const struct policy_choice *why);
	/* Its domain waits: as wait, of work that no connection is to be offered meanwhile. */
	void (*domain_waits)(void *arg, struct match_flow *f, const struct policy_choice *why);
	/* The work is its sender's to wait with until then: out of its flow. */
	void (*aside)(void *arg, struct match_flow *f, struct match_work *w, ms_t until);
	/* Diverted work that no other source may take: to the flow it came from. */
	void (*rejoin)(void *arg, struct match_flow *f, struct match_work *w);
	/* Diverted work that would wait long: put off by its schedule. */
	void (*give_up)(
		void *arg, struct match_flow *f, struct match_work *w, enum hold_reason why);
	/* No host is left. True: that has been dealt with. NULL: it waits. */
	bool (*used_up)(void *arg, struct match_flow *f);
};

struct match {
	const struct match_driver *driver;
	void *arg;
	struct policy *policy;
	const struct policy_params *params; /* of now */
	struct places places;
	struct turns turns;
	struct list idle;	   /* connections, longest idle first */
	struct list all;	   /* that are not down, the oldest first */
	uint32_t nconnections;	   /* until they are gone */
	uint32_t connections_max;  /* 0: no limit */
	unsigned pipeline;	   /* transactions given to one connection at a time */
	uint32_t batch;		   /* messages that go in one transaction; 1 but in a rehearsal */
	bool draining;		   /* nothing new is begun, and who is idle quits */
	bool stalled;		   /* nothing new is begun */
	ms_t way_made[MATCH_WAYS]; /* mono; by cluster, pool and rank */
};

void match_init(struct match *m, const struct match_driver *driver, void *arg);
void match_deinit(struct match *m); /* when nobody waits and nobody is linked any more */
void match_drain(struct match *m);

/* ---- flows ---- */

void match_flow_init(struct match_flow *f, const struct match_domain *domain); /* RANK_NORMAL */
void match_flow_deinit(struct match *m, struct match_flow *f); /* no work is in it */
void match_work_init(struct match_work *w);
/* Ready work; front: before all other. The flow asks, unless it waits and is offered anyway. */
void match_push(struct match *m, struct match_flow *f, struct match_work *w, bool front);
void match_remove(struct match *m, struct match_flow *f, struct match_work *w);
struct match_work *match_first(const struct match_flow *f); /* NULL: none */
/* To the hosts that its mail may go to now. True: some are left alone for a while, and it is to be
 * linked anew then. */
bool match_link(struct match *m, struct policy_now now, struct match_flow *f);
void match_unlink(struct match *m, struct match_flow *f);
/* Of work of that class; NULL: of none. */
static inline unsigned class_rank(const struct class_params *c)
{
	return c ? c->priority - 1 : RANK_NORMAL;
}
/* Where places are scarce it goes by that rank: ranks.h. Unlinked if it was another before; then,
 * if it has work, it asks. */
void match_rank(struct match *m, struct match_flow *f, unsigned rank);
void match_forget_hosts(struct match *m, struct match_flow *f); /* they will be others */
/* Marks in has, by source, those that may carry that pool's mail. */
void match_sources(const struct policy_params *p, unsigned pool, bool *has);
void match_look(struct match *m, struct policy_now now, struct match_flow *f);

/* ---- connections ---- */

/* From the driver's open. */
void match_opening(struct match *m, struct match_connection *c, struct match_flow *f,
	struct match_host *h, const struct policy_choice *choice);
void match_opening_over(struct match_connection *c); /* nobody waits for it any more */
void match_up(struct match_connection *c);
void match_down(struct match_connection *c); /* what it has under way may come back still */
void match_gone(struct match *m, struct match_connection *c);
/* Into the lists that fit what it does: after each change of that. */
void match_sort(struct match *m, struct policy_now now, struct match_connection *c);
void match_assign(struct match *m, struct policy_now now, struct match_connection *c);
void match_resume(struct match *m, struct policy_now now, struct match_connection *c);
void match_quit(struct match *m, struct match_connection *c);
void match_tick(struct match *m, ms_t mono); /* ends those that were idle for long */
/* May one more be opened, as far as connections_max goes? If not, an idle one is ended. */
bool match_room(struct match *m);
/* Work is held by a cap while a connection that counts against it does nothing: that one goes. */
bool match_give_up_idle(struct match *m, struct match_flow *f, const struct policy_choice *why);
/* Those that carry mail at the place would go on for as long as there is any, and what they cannot
 * carry (it has other sources, or other hosts) would wait until one is worn out: where none could
 * ever take this flow's work, one of them ends after what it carries. The flow is the next to be
 * asked then. pool: its number in the policy. */
void match_make_way(struct match *m, struct policy_now now, struct match_flow *f,
	const struct policy_choice *why, unsigned pool);
/* A place is free: those that wait for one at that cluster look (where NULL: none), some of the
 * flows at that host (NULL: none), and so many more of all. */
void match_freed(struct match *m, struct match_host *h, const char *where, unsigned more);
/* Flows linked there, in no order that counts; NULL: no more. */
struct match_link *match_links_first(const struct match_host *h);
struct match_link *match_links_after(const struct match_host *h, const struct match_link *l);
void match_host_init(struct match_host *h);
void match_leave_lists(struct match_connection *c);

/* ---- what follows from the policy's no ---- */

/* policy_choose said no. */
enum match_no {
	MATCH_ASIDE, /* this work is its sender's to wait with, until then; the next one is tried */
	MATCH_REJOIN,	  /* diverted, and no other source may take it: waits with the others */
	MATCH_GIVE_UP,	  /* diverted, and it would take long: deferred; the next one is tried */
	MATCH_WAIT_PLACE, /* waits; an idle connection that holds a place may be given up for it */
	MATCH_WAIT,	  /* waits, until then or for what the policy named */
};
enum match_no match_refused(const struct policy_choice *why, bool diverted, ms_t mono);

/* policy_admit said no. */
enum match_declined {
	MATCH_RETIRE,	 /* the connection has carried enough: it ends */
	MATCH_SET_ASIDE, /* the work is its sender's to wait with; the flow's next one is offered */
	MATCH_DOMAIN_WAITS, /* the flow waits: no connection is to offer its work until then */
	MATCH_OTHER_FLOW,   /* this connection cannot take it: another flow's may do */
	MATCH_PAUSE,	    /* the connection takes nothing before why.until */
	MATCH_STAY	    /* nor any other: it stays idle */
};
enum match_declined match_declined(const struct policy_choice *why);
