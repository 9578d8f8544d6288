/* Inside the rehearsal. Times: `now` counts milliseconds from the scenario's start; the policy's
 * mono is a little more, its wall the scenario's start and that.
 *
 * A letter is messages that are alike: same flow, same attempts, the same history. Letters wait in
 * a flow (tenants of one cluster × pool × class; diverted ones apart), are under way on a link
 * (connection), or wait in the event heap for their retry. */
#pragma once

#include "postern/match.h"
#include "postern/rehearse.h"

#define NONE   UINT32_MAX
#define MONO   1000 /* policy's mono at now = 0 */
#define GROUPS 4u
#define BLOCK  4096u /* letters */

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
	struct match_work match; /* first; count: its messages */
	uint64_t id;		 /* of its first message; the others follow */
	ms_t arrived;
	uint32_t index; /* its own; free: the next one's */
	uint32_t flow, tenant, traffic;
	uint16_t attempts;
};

/* Tenants of a cluster that share a queue here. */
struct flow {
	struct match_flow match; /* first */
	unsigned cluster, pool, group;
	const struct class_params *class; /* NULL: none */
	ms_t aged;			  /* now; when what has expired was looked for */
	ms_t astray; /* now; no letter that is not in order of arrival came before; 0: there is none */
};
struct group {
	uint32_t first, n; /* tenants */
	struct match_domain match;
};

/* What the receiver says to a step. */
enum outcome {
	SAYS_YES,
	SAYS_NOISE,
	SAYS_INVALID,
	SAYS_TOO_MUCH, /* for this source's standing */
	SAYS_INCIDENT  /* + number of the incident */
};
struct link {
	struct match_connection match;	  /* first */
	uint32_t index, generation, free; /* free: the next one that is */
	unsigned cluster, host;
	bool refused, unreachable, counted;
	/* fate is drawn for a run of messages at once: after then_after more of them comes one that
	 * gets this answer (SAYS_YES: none does); next_bad: it is the next */
	bool next_bad;
	unsigned then;
	uint32_t then_after;
	struct list running; /* letters */
	uint32_t count;	     /* of their messages */
	struct group *group; /* theirs */
	unsigned says;
};

struct standing {		     /* of a source with a provider, as the receiver keeps it */
	double allowed;		     /* messages a day; 0: no limit */
	uint32_t day, hour, refused; /* today */
	int64_t hour_number;
	uint32_t idle; /* days */
};

struct receiver { /* a cluster */
	struct policy_host hosts[MATCH_HOSTS];
	struct match_host at[MATCH_HOSTS];
	char (*domains)[40]; /* by tenant */
	struct group *groups;
	unsigned ngroups, nshared; /* the last ones are for many tenants each */
	uint32_t first_flow;
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

/* What is remembered for the report: record.c. */
struct record {
	struct rehearsal_hour *hours;
	struct rehearsal_cell *by_source, *by_path;
	struct rehearsal_traffic *by_traffic;
	unsigned nhours, hour;
	struct rehearsal_event *events;
	unsigned nevents, events_cap, events_lost;
	struct rehearsal_wait *waits; /* pool × what is waited for: bottleneck.c */
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

/* What has flows of its own: pools, in each classes. A group has two flows of each. */
struct kinds {
	struct kind {
		unsigned pool;
		const struct class_params *class;
	} * all;
	unsigned n, *of; /* of: by traffic */
};

struct rehearsal {
	const struct scenario *s;
	const struct policy_params *params;
	struct policy *policy;
	struct rng rng, receiver_rng; /* two: one more draw here must not change the other's luck */
	ms_t now;
	bool no_memory;
	struct heap heap;
	struct match match;
	struct flow *flows;
	uint32_t nflows;
	struct kinds kinds;
	bool *has;		 /* by pool, then source: may carry its mail */
	struct letter **letters; /* blocks of them */
	uint32_t nletters, letters_cap, free_letter;
	uint64_t ids;
	struct link **links;
	uint32_t nlinks, links_cap, free_link;
	unsigned says; /* what the receiver will say to the step that is being offered */
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
	struct net *subnets;
	unsigned *subnet_of, nsubnets;
	struct record record;
};

static inline struct letter *letter_at(const struct rehearsal *r, uint32_t i)
{
	return &r->letters[i / BLOCK][i % BLOCK];
}
static inline struct letter *letter_of(struct list *in_flow)
{
	return container(in_flow, struct letter, match.in_flow);
}
static inline struct flow *flow_of(struct match_flow *f)
{
	return container(f, struct flow, match);
}
/* It stands behind younger ones. */
static inline void is_astray(struct flow *f, const struct letter *g)
{
	if (!f->astray || g->arrived < f->astray)
		f->astray = g->arrived ? g->arrived : 1;
}
static inline struct link *link_of(struct match_connection *c)
{
	return container(c, struct link, match);
}
static inline const struct class_params *class_of(const struct rehearsal *r, const struct letter *g)
{
	return r->flows[g->flow].class;
}
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

/* ---- letter.c ---- */
struct letter *letter_new(struct rehearsal *r, const struct letter *like, uint32_t count);
void letter_free(struct rehearsal *r, struct letter *g);
/* All but the first n messages of a letter, as one of their own. NULL: no memory. */
struct letter *letter_rest(struct rehearsal *r, const struct letter *g, uint32_t n);
struct volume {
	uint64_t bytes, stored;
};
/* Of a letter's first n messages. */
struct volume letter_volume(const struct rehearsal *r, const struct letter *g, uint32_t n);

/* ---- flow.c ---- */
void mail_push(struct rehearsal *r, struct flow *f, struct letter *g, bool front);
/* Takes n messages from its head, as letters. False: no memory, the run ends. */
bool mail_take(struct rehearsal *r, struct flow *f, uint32_t n, struct list *ret);
/* Bytes of the first n messages of a list of letters. */
uint64_t mail_bytes(const struct rehearsal *r, const struct list *letters, uint32_t n);
/* ---- wait.c ---- */
/* It got no connection; the times of the choice are the policy's. */
void mail_wait(struct rehearsal *r, struct flow *f, const struct policy_choice *why);
void mail_due(struct rehearsal *r);   /* flows whose time has come */
void mail_asked(struct rehearsal *r); /* flows that look for connections */

/* ---- assign.c ---- */
extern const struct match_driver rehearsal_driver;

/* ---- link.c ---- */
bool link_open(struct rehearsal *r, struct flow *f, const struct policy_choice *choice);
void link_close(struct rehearsal *r, struct link *k);
ms_t link_about(struct rehearsal *r, ms_t t); /* takes about that long */
void on_up(struct rehearsal *r, struct link *k);
void on_done(struct rehearsal *r, struct link *k);
void on_closed(struct rehearsal *r, struct link *k);

/* ---- receiver.c ---- */
/* ms on the wire, as the scenario has it */
ms_t link_sending(const struct rehearsal *r, const struct link *k, uint64_t bytes);
/* Will there be a connection, and room for it? */
void receiver_connect(struct rehearsal *r, struct link *k);
void receiver_gone(struct rehearsal *r, struct link *k);
/* What it will say to the next messages of a list of letters on this connection: at most max, fewer
 * when what is said changes; says as in link. */
uint32_t receiver_judge(struct rehearsal *r, struct link *k, const struct list *letters,
	uint32_t max, unsigned *says);
/* It took them (or refused them for the source's sake). */
void receiver_saw(struct rehearsal *r, const struct link *k, uint32_t count, unsigned says);
/* NULL: no memory. */
const struct answer *receiver_answer(struct rehearsal *r, const struct link *k);
bool receiver_named(const char *cluster); /* a name that front ends carry: EUR01 */
void answer_make(const struct rehearsal *r, struct answer *a, unsigned cluster, uint16_t code,
	const char *text);
void receiver_day(struct rehearsal *r);
void receiver_edges(struct rehearsal *r);

/* ---- bottleneck.c ---- */
int bottlenecks_new(struct rehearsal *r); /* 0; -1: no memory */
void bottlenecks_free(struct rehearsal *r);
void bottlenecks_look(struct rehearsal *r); /* each BOTTLENECKS_EVERY */
#define BOTTLENECKS_EVERY 60		    /* seconds */

/* ---- settle.c ---- */
/* Tries it again then, as if it were new. */
void end_hold(struct rehearsal *r, struct letter *g, ms_t at);
void end_step(struct rehearsal *r, struct link *k);
void end_defer(struct rehearsal *r, struct letter *g);
void end_expire(struct rehearsal *r, struct letter *g);
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
