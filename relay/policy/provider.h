/* What there is for each provider, source and pool of the parameters: arrays beside theirs, moved by
 * name at a reload. */
#pragma once

#include "block.h"
#include "evidence.h"
#include "health.h"
#include "uses.h"

struct ramp;
struct cluster;

#define GEOGRAPHIES_MAX 48u

struct geography {
	char name[8];
	struct uses uses;
};

#define ALARM_SPAN    30000 /* ms of one bucket */
#define ALARM_BUCKETS 10
struct provider_state {
	uint32_t uid;
	struct uses uses;
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
