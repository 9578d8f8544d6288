/* A pool with new sources in virtual time: mail that wants to go, a receiver that counts what it
 * sees, a store that survives the process. */
#pragma once

#include <stdio.h>

#include "rig.h"

#define HOUR 3600000
#define DAY  86400000
/* midnight of 2026-11-01, UTC */
#define START	  1793491200000
#define START_DAY 20758
#define STORE	  64

enum heard {
	HEARD_ACCEPTED,
	HEARD_THROTTLE,
	HEARD_BLOCK,
	HEARD_BAD_RCPT,
	HEARD_BAD_CONTENT,
	HEARD_LOST
};

struct world {
	struct rig r;
	struct warmup_params plans[2];
	unsigned plan_sources[4];
	uint32_t daily[64];
	struct {
		char key[96], value[512];
	} store[STORE];
	unsigned nstore;
	bool disk_full;
	struct rng rng;
	/* as the receiver counts */
	uint32_t seen[4], accepted[4];
	enum hold_reason reason; /* of the last that could not go */
	ms_t until;		 /* mono */
	struct policy_event last;
	unsigned events[32];
};

void world_init(struct world *w, const uint32_t *daily, unsigned ndaily);
void world_start(struct world *w); /* the process, with what is stored */
void world_kill(struct world *w);
void world_keep(struct world *w); /* what is saved each half minute, and when it is urgent */
void world_stop(struct world *w);
void world_deinit(struct world *w);
void world_pass(struct world *w, ms_t ms); /* ticks and saves as it goes */
void world_save(struct world *w);
/* One message; what the receiver says. false: it cannot go now. source: -1, or whence it went. */
bool world_send(struct world *w, const char *domain, enum heard h, int *source);
/* A message to some tenant of that cluster goes, if one can, and the receiver says what takes() does.
 * False: it cannot go now. source: whence it went; good: it was accepted. */
typedef bool world_takes(struct world *w, unsigned source, unsigned cluster, void *arg);
bool world_offer(struct world *w, unsigned cluster, world_takes *takes, void *arg, unsigned *source,
	bool *good);
/* To what was admitted there. */
void world_answer(struct world *w, uint32_t slot, enum heard h);
/* n of them, spread over that time; those that cannot go are not tried again. Those that went. */
uint32_t world_traffic(struct world *w, ms_t span, uint32_t n, enum heard h);
struct policy_warmup_info world_info(struct world *w, const char *source);
