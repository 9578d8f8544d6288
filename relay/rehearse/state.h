/* Inside the rehearsal. Times: `now` counts milliseconds from the scenario's start; the policy's
 * mono is a little more, its wall the scenario's start and that.
 *
 * A letter is messages that are alike: same flow, same attempts, the same history. Letters wait in
 * a flow (tenants of one cluster × pool; diverted ones apart), are under way on a link
 * (connection), or wait in the event heap for their retry. */
#pragma once

#include "postern/match.h"
#include "postern/places.h"
#include "postern/rehearse.h"
#include "postern/turns.h"

#define NONE	  UINT32_MAX
#define MONO	  1000 /* policy's mono at now = 0 */
#define GROUPS	  4u
#define HOSTS_MAX 16u

enum event_kind {
	EVENT_TRAFFIC,
	EVENT_RETRY,
	EVENT_UP,
	EVENT_DONE,
	EVENT_CLOSED,
	EVENT_LINK,
	EVENT_TICK
};
struct event {
	ms_t at;
	uint64_t order;
	uint32_t index, generation;
	uint8_t kind;
};
struct heap {
	struct event *a;
	size_t n, cap;
	uint64_t order;
};
bool heap_post(struct heap *h, ms_t at, enum event_kind kind, uint32_t index, uint32_t generation);
struct event heap_take(struct heap *h);

struct letter {
	uint64_t id; /* of its first message; the others follow */
	ms_t arrived;
	uint32_t count, next, flow, tenant, traffic;
	uint16_t attempts;
	struct policy_tried tried;
};

/* Tenants of a cluster that share a queue here. */
struct flow {
	unsigned cluster, pool, group;
	bool diverted;
	uint32_t first, last;
	uint32_t letters, messages, opening;
	struct turn_link turn; /* at its receiver, while connections may be offered its mail */
	struct waiter waiter;
	ms_t aged; /* now; when what has expired was looked for */
};
struct group {
	uint32_t first, n; /* tenants */
};

enum link_state { LINK_FREE, LINK_OPENING, LINK_UP, LINK_CLOSING };
/* What the receiver says to a step. */
enum outcome {
	SAYS_YES,
	SAYS_NOISE,
	SAYS_INVALID,
	SAYS_TOO_MUCH, /* for this source's standing */
	SAYS_INCIDENT  /* + number of the incident */
};
struct link {
	enum link_state state;
	uint32_t slot, generation, flow;
	unsigned source, cluster, host;
	bool refused, unreachable, counted, waking;
	/* fate is drawn for a run of messages at once: after then_after more of them comes one that
	 * gets this answer (SAYS_YES: none does); next_bad: it is the next */
	bool next_bad;
	unsigned then;
	uint32_t then_after;
	uint32_t running, count; /* letters; messages */
	struct policy_txn txn;
	unsigned says;
	ms_t idle_since;
};

struct standing {		     /* of a source with a provider, as the receiver keeps it */
	double allowed;		     /* messages a day; 0: no limit */
	uint32_t day, hour, refused; /* today */
	int64_t hour_number;
	uint32_t idle; /* days */
};

struct receiver { /* a cluster */
	struct addr hosts[HOSTS_MAX];
	char (*domains)[40]; /* by tenant */
	struct group *groups;
	unsigned ngroups, nshared; /* the last ones are for many tenants each */
	uint32_t first_flow;
	struct list turns; /* of flows with something ready */
	uint32_t *links;
	uint32_t nlinks, links_cap;
	uint32_t connections, *by_source, *by_subnet; /* as the receiver counts */
	ms_t *bad_at; /* by source: last refusal for the environment's sake */
};

struct answer { /* reply and what the relay reads out of it */
	struct reply reply;
	struct classification is;
};

struct feed { /* traffic × cluster */
	unsigned traffic, cluster;
	double owed; /* messages that are due and not yet made */
	ms_t at;
};

struct rehearsal {
	const struct scenario *s;
	const struct policy_params *params;
	struct policy *policy;
	struct rng rng, receiver_rng; /* two: one more draw here must not change the other's luck */
	ms_t now;
	bool no_memory;
	struct heap heap;
	struct places places;
	struct turns turns;
	struct flow *flows;
	uint32_t nflows, flows_per_group;
	struct letter *letters;
	uint32_t nletters, letters_cap, free_letter;
	uint64_t ids;
	struct link *links;
	uint32_t nlinks, links_cap, free_link, links_used;
	struct receiver *receivers;
	struct standing *standings; /* source × provider */
	struct feed *feeds;
	unsigned nfeeds;
	const struct classifier *rules;
	struct answer **answers; /* by cluster and what is said; made when first used */
	struct answer no_room;
	ms_t next_edge; /* now; when an incident begins or ends next */
	struct zone_day day;
	bool day_told, ended, relieved;
	uint32_t batch;

	struct net *subnets;
	unsigned *subnet_of, nsubnets;
	struct rehearsal_hour *hours;
	struct rehearsal_cell *by_source, *by_path;
	unsigned nhours, hour;
	struct rehearsal_event *events;
	unsigned nevents, events_cap, events_lost;
	struct rehearsal_ramp *ramps;
	unsigned nramps, ramps_cap;
	struct rehearsal_count total;
	uint64_t waiting, queue_max, connects, steps;
	uint64_t stored, stored_max, queue_room, full_arrived; /* as in the result; stored: now */
	ms_t full_from;
	double queue_area; /* messages × ms, until area_at */
	ms_t area_at;
	uint64_t delays[REHEARSAL_DELAYS];
	ms_t queue_max_at, last_out, delay_max;
	uint32_t most_connections;
};

static inline struct policy_now policy_time(const struct rehearsal *r)
{
	return (struct policy_now){ r->now + MONO, r->s->start + r->now };
}
static inline ms_t wall_of(const struct rehearsal *r)
{
	return r->s->start + r->now;
}
static inline void post(
	struct rehearsal *r, ms_t at, enum event_kind kind, uint32_t index, uint32_t generation)
{
	if (!heap_post(&r->heap, at > r->now ? at : r->now, kind, index, generation))
		r->no_memory = true;
}

/* ---- setup.c ---- */
int setup(struct rehearsal *r, const struct classifier *rules);
void teardown(struct rehearsal *r);

/* ---- traffic.c ---- */
bool traffic_reaches(const struct scenario_traffic *t, const char *cluster);
void traffic_start(struct rehearsal *r);
void on_traffic(struct rehearsal *r, uint32_t feed);
struct volume {
	uint64_t bytes, stored;
};
/* Of a letter's first n messages. */
struct volume letter_volume(const struct rehearsal *r, const struct letter *g, uint32_t n);

/* ---- flow.c ---- */
uint32_t letter_new(struct rehearsal *r, const struct letter *like, uint32_t count);
void letter_free(struct rehearsal *r, uint32_t i);
void mail_push(struct rehearsal *r, uint32_t flow, uint32_t letter, bool front);
/* Takes at most n messages from its head; returns the letters as a list. */
uint32_t mail_take(struct rehearsal *r, uint32_t flow, uint32_t n);
/* Bytes of the first n messages of a list of letters. */
uint64_t mail_bytes(const struct rehearsal *r, uint32_t letter, uint32_t n);
void mail_ask(struct rehearsal *r, uint32_t flow);
/* It got no connection; the times of the choice are the policy's. */
void mail_wait(struct rehearsal *r, uint32_t flow, const struct policy_choice *why);
void mail_wait_over(struct rehearsal *r, uint32_t flow);
void mail_unlink(struct rehearsal *r, uint32_t flow); /* no connection is offered its mail */
void mail_due(struct rehearsal *r);		      /* flows whose time has come */
void mail_age(struct rehearsal *r, uint32_t flow);
void mail_want(const struct rehearsal *r, uint32_t flow, struct policy_want *w,
	struct policy_host hosts[HOSTS_MAX]);
/* A place at that cluster (as the policy calls it) is free: those that wait there look again, and n
 * of all. NULL: n of all alone. */
void link_freed(struct rehearsal *r, const char *where, unsigned n);
void asked(struct rehearsal *r); /* flows that look for connections */

/* ---- link.c ---- */
void link_open(struct rehearsal *r, uint32_t flow, const struct policy_choice *choice);
void link_close(struct rehearsal *r, uint32_t link);
void link_assign(struct rehearsal *r, uint32_t link);
void link_give_up_idle(struct rehearsal *r, const struct policy_choice *why);
void links_tick(struct rehearsal *r);
/* ms on the wire, as the scenario has it */
ms_t link_sending(const struct rehearsal *r, const struct link *k, uint64_t bytes);
void on_up(struct rehearsal *r, uint32_t link);
void on_done(struct rehearsal *r, uint32_t link);
void on_closed(struct rehearsal *r, uint32_t link);

/* ---- receiver.c ---- */
/* Will there be a connection, and room for it? */
void receiver_connect(struct rehearsal *r, struct link *k);
void receiver_gone(struct rehearsal *r, struct link *k);
/* What it will say to the next messages of a list of letters on this connection: at most max, fewer
 * when what is said changes; says as in link. */
uint32_t receiver_judge(
	struct rehearsal *r, struct link *k, uint32_t letter, uint32_t max, unsigned *says);
/* It took them (or refused them for the source's sake). */
void receiver_saw(struct rehearsal *r, const struct link *k, uint32_t count, unsigned says);
/* NULL: no memory. */
const struct answer *receiver_answer(struct rehearsal *r, const struct link *k);
bool receiver_named(const char *cluster); /* a name that front ends carry: EUR01 */
void answer_make(const struct rehearsal *r, struct answer *a, unsigned cluster, uint16_t code,
	const char *text);
void receiver_day(struct rehearsal *r);
void receiver_edges(struct rehearsal *r);

/* ---- settle.c ---- */
/* Tries it again then, as if it were new. */
void end_hold(struct rehearsal *r, uint32_t letter, ms_t at);
void end_step(struct rehearsal *r, struct link *k, uint32_t letters);
void end_defer(struct rehearsal *r, uint32_t letter);
void end_expire(struct rehearsal *r, uint32_t letter);
bool end_expired(const struct rehearsal *r, const struct letter *g);

/* ---- record.c ---- */
void record_arrived(struct rehearsal *r, const struct letter *g);
double record_queue_mean(const struct rehearsal *r);
void record_left(struct rehearsal *r, const struct letter *g);
void record_delivered(struct rehearsal *r, const struct link *k, const struct letter *g);
void record_deferred(struct rehearsal *r, const struct link *k);
void record_event(void *rehearsal, const struct policy_event *e);
void record_tick(struct rehearsal *r);
void record_end(struct rehearsal *r);
