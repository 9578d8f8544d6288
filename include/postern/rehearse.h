/* Rehearsal: the relay's policy against a virtual clock and a modelled receiver. Pure: no clock,
 * socket, file or thread; the same scenario and seed give the same result. Memory grows with what
 * waits and with the number of rows, which conf/ bounds.
 *
 * What is modelled, and what is not: recipients are messages of one recipient; tenants are grouped
 * (one queue for many, each message keeps its own tenant's name); messages that a receiver takes
 * one after the other on one connection are one step of at most scenario.batch messages, and a
 * refused message is always a step of its own, so that everything that the policy judges is seen
 * as it would be. A message has a size by its number, one of its traffic's: it takes its time on
 * the connection and its room in the queue. Connections do not slow each other down. DNS answers at
 * once; TLS is part of connect_time. A queue that is full is told, and takes the mail nevertheless.
 */
#pragma once

#include "postern/classify.h"
#include "postern/policy.h"

/* ---- the scenario (filled in by conf/; borrowed for the rehearsal's life) ---- */

struct scenario_change {
	ms_t at; /* wall */
	uint32_t daily;
};
struct scenario_size {	 /* of messages */
	double below;	 /* share of them that are of this size or of one before it */
	uint64_t bytes;	 /* on the wire */
	uint64_t stored; /* in the queue's file */
};
struct scenario_traffic {
	char *name, *pool, *class; /* class NULL: none */
	unsigned pool_index;
	uint32_t daily;		    /* messages a day */
	unsigned shape;		    /* enum scenario_shape */
	uint32_t *hours, *weekdays; /* weights; 24 and 7 (from Monday), or none */
	unsigned nhours, nweekdays;
	char **changes; /* as written: "day 5: 4000000" */
	unsigned nchanges;
	struct scenario_change *steps; /* of changes; in order */
	char *from_text, *until_text;
	ms_t from, until; /* wall; 0: from the beginning, to the end */
	char **clusters;  /* only to these; none: to all */
	unsigned nclusters;
	char **sizes; /* as written: "5%: 2MiB" */
	unsigned nsizes;
	struct scenario_size *mix; /* of sizes */
};
enum scenario_shape { SHAPE_EVEN, SHAPE_OFFICE, SHAPE_EVENING, SHAPE_NIGHT, SHAPE_HOURLY };
struct scenario_cluster {
	char *name, *provider;
	unsigned provider_index;
	uint32_t share, tenants, hosts;
	ms_t connect_time, message_time;
	uint64_t bandwidth; /* bytes a second on a connection */
	uint32_t connections, connections_per_source, connections_per_subnet; /* that the receiver
										 takes; 0: any */
	double noise, invalid;						      /* shares */
};
/* How much a provider takes from a source in a day, by what it is used to. */
struct scenario_reputation {
	char *name; /* the provider's */
	unsigned provider_index;
	uint32_t first;	    /* messages a day from an address that it does not know */
	double growth;	    /* tomorrow: so many times what it took today */
	uint32_t trusted;   /* from this volume on there is no limit */
	double hourly;	    /* share of the day's that may come within an hour; 1: all */
	double tolerance;   /* share of refusals above which it does not grow */
	uint32_t idle_days; /* without mail, after which it halves */
};
struct scenario_history {
	char *name; /* the source's */
	unsigned source_index;
	uint32_t daily; /* that every provider is used to */
};
enum incident_kind {
	INCIDENT_THROTTLE,    /* 4xx, for the source's sake */
	INCIDENT_BUSY,	      /* 4xx, the receiver's own trouble */
	INCIDENT_BAN,	      /* 5xx, for the source's sake */
	INCIDENT_TENANT,      /* 4xx of some tenants, for their own sake */
	INCIDENT_UNREACHABLE, /* no connection */
	INCIDENT_COUNT
};
extern const char *const incident_replies[INCIDENT_COUNT]; /* what is said where the scenario does
							      not say it */
struct scenario_incident {
	char *name;
	unsigned kind;					 /* enum incident_kind */
	char *source, *cluster, *provider;		 /* NULL: any */
	struct net subnet;				 /* family ADDR_NONE: any */
	int source_index, cluster_index, provider_index; /* -1: any */
	uint32_t tenants; /* INCIDENT_TENANT: how many of the cluster's */
	char *from_text, *until_text;
	ms_t from, until; /* wall */
	double share;
	char *reply;
};
struct scenario {
	char *path, *start_text;
	ms_t start; /* wall */
	ms_t duration;
	uint32_t seed;
	uint32_t batch; /* messages that one step may stand for; 0: chosen by volume */
	struct scenario_traffic *traffic;
	struct scenario_cluster *clusters;
	struct scenario_reputation *reputations;
	struct scenario_history *histories;
	struct scenario_incident *incidents;
	unsigned ntraffic, nclusters, nreputations, nhistories, nincidents;
};
#define SCENARIO_CLUSTERS_MAX 200u
#define SCENARIO_SIZES_MAX    20u
#define SCENARIO_ROWS_MAX     9000u /* hours */

/* ---- the rehearsal ---- */

struct rehearsal;
struct rehearsal_params {
	const struct scenario *scenario;
	const struct policy_params *policy; /* the relay's, from its configuration */
	const struct classifier *rules;
	uint64_t queue_room; /* bytes that mail may take in the queue's file; 0: any */
};
/* 0; -ENOMEM. */
int rehearsal_new(struct rehearsal **ret, const struct rehearsal_params *p);
struct rehearsal *rehearsal_free(struct rehearsal *r); /* NULL-safe, returns NULL */
/* Runs on to that moment (wall), at most to the scenario's end. 0; -ENOMEM: it cannot go on. */
int rehearsal_run(struct rehearsal *r, ms_t until);

/* ---- what came of it ---- */

struct rehearsal_count {
	uint64_t arrived, delivered, deferred, diverted, bounced, expired;
	uint64_t attempts; /* messages offered to a receiver */
};
/* Of one traffic section: what became of its mail, and how long that took. */
struct rehearsal_traffic {
	uint64_t arrived, delivered, expired;
	ms_t delay_sum, delay_max; /* of those delivered */
};
struct rehearsal_hour {
	ms_t start; /* wall */
	struct rehearsal_count n;
	uint64_t queue_end, queue_max; /* messages waiting */
	uint64_t stored_max;	       /* bytes that they take in the queue's file */
	uint64_t held[16]; /* of queue_end, by enum hold_reason; 0: retry times and work */
	ms_t oldest;	   /* age of the oldest at the end */
	ms_t delay_sum;	   /* of those delivered */
};
/* Per hour and: source; subnet × cluster. */
struct rehearsal_cell {
	uint32_t delivered, deferred;
};
/* Something that lasted, with all its repetitions. */
struct rehearsal_event {
	enum policy_event_kind kind;
	char provider[32], cluster[40], source[64], subnet[56], domain[64], cause[12];
	char text[160];
	ms_t first, last, over; /* wall; over 0: not at the end of the rehearsal */
	uint32_t times;
	bool alarm, open;
};
/* A ramp's day, as it stood when the day ended. */
struct rehearsal_ramp {
	unsigned source, provider;
	int32_t day;
	ms_t at;
	unsigned rung, nrungs;
	uint32_t allowance, used;
	double share;
	char state[16], change[16], why[96];
	int32_t full;
	uint32_t full_volume;
};
/* What most of a pool's waiting messages waited for, in the minutes in which they did. */
struct rehearsal_wait {
	ms_t time;	  /* all those minutes; 0: never */
	ms_t first, last; /* wall; of them */
	uint64_t most;	  /* messages */
};
/* By enum hold_reason; and those that wait for a place or a rate, by enum policy_limit. */
#define REHEARSAL_REASONS 32u
#define REHEARSAL_LIMITS  16u
#define REHEARSAL_WAITS	  (REHEARSAL_REASONS + REHEARSAL_LIMITS)
/* "all sources blocked" */
const char *rehearsal_wait_text(unsigned wait);
#define REHEARSAL_DELAYS 12
extern const uint32_t rehearsal_delay_bounds[REHEARSAL_DELAYS]; /* seconds; the last: above */
struct rehearsal_result {
	const struct scenario *scenario;
	const struct policy_params *policy;
	unsigned nhours, nsources, nsubnets, nclusters;
	const struct rehearsal_hour *hours;
	const struct rehearsal_cell *by_source; /* [hour * nsources + source] */
	const struct rehearsal_cell
		*by_path; /* [(hour * nsubnets + subnet) * nclusters + cluster] */
	const struct net *subnets;
	const unsigned *subnet_of; /* by source */
	const struct rehearsal_event *events;
	unsigned nevents, events_lost;
	const struct rehearsal_traffic *by_traffic; /* by the scenario's traffic */
	const struct rehearsal_wait *waits;	    /* [pool * REHEARSAL_WAITS + wait] */
	const struct rehearsal_ramp *ramps;	    /* by day, then source */
	unsigned nramps;
	struct rehearsal_count total;
	uint64_t waiting, queue_max, connects, batch, steps;
	uint64_t stored_max, queue_room;	/* bytes in the queue's file: taken; for mail */
	uint64_t full_arrived;			/* messages that came in while it had no room */
	ms_t full_from;				/* wall; 0: it never was */
	double queue_mean;			/* messages waiting, over the time rehearsed */
	uint64_t delays[REHEARSAL_DELAYS];	/* deliveries by age */
	ms_t queue_max_at, last_out, delay_max; /* wall, wall, ms */
	ms_t now;				/* wall */
	uint64_t waiting_for_warmup;
	uint32_t most_connections; /* at the same time */
};
/* Borrowed until the rehearsal runs on or is freed. */
void rehearsal_result(const struct rehearsal *r, struct rehearsal_result *ret);

/* "3.4 GiB", for people. */
void rehearsal_bytes(char out[24], uint64_t n);

/* What it means, in plain words: what happened, what it means, what to do. One paragraph a call of
 * fn; level: 0 well, 1 look, 2 act. */
enum finding_level { FINDING_WELL, FINDING_LOOK, FINDING_ACT };
void rehearsal_findings(const struct rehearsal_result *r,
	void (*fn)(void *arg, enum finding_level level, const char *text), void *arg);
