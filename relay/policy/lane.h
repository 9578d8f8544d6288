/* Source × cluster, and path: subnet of sources × cluster. Owned by their cluster, made when first
 * used (cluster.h). Slots are counted in both. */
#pragma once

#include "door.h"
#include "evidence.h"
#include "habit.h"
#include "health.h"
#include "pace.h"
#include "rate.h"
#include "uses.h"
#include "witness.h"

struct cluster;

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
	bool dirty, saved;
};

/* source × cluster */
struct lane {
	struct cluster *cluster;
	struct path *path;
	unsigned source;
	struct uses uses;
	uint32_t window;    /* connections allowed at present */
	uint32_t unshrunk;  /* what it was before refusals made it smaller; 0: it has grown again */
	uint32_t good;	    /* deliveries since the window changed */
	bool slow;	    /* slow start after a rest */
	ms_t shrunk, grown; /* mono */
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

#define GUESSED_KEPT 3u
/* subnet of ours × cluster */
struct path {
	struct cluster *cluster;
	unsigned subnet;
	struct uses uses;
	struct evidence evidence;
	struct health health;
	struct door door;
	ms_t good_at;  /* mono; mail was accepted last */
	ms_t paired;   /* mono; a tenant that does not want it was found last */
	uint8_t pairs; /* found */
	struct habit habit;
	/* mono; mail was accepted last at hosts whose cluster is a guess: it stands for the path where
	 * others are asked about, and says nothing of what is refused at hosts that are known */
	ms_t guessed_good[GUESSED_KEPT];
	struct pace
		pace; /* what the receiver takes of its sources together, where they are several */
};
