/* The ramp of one source at one provider. Room-internal.
 *
 * ramp.c is its arithmetic: days, rungs, pacing. warmup.c is its place in the policy: who asks it,
 * what is told to it, what is saved.
 *
 * An allowance is never passed: a transaction reserves its message before it goes (reserved), keeps
 * it when the receiver saw it (used), and nothing is reserved that the saved state does not already
 * hold as used (granted). After a restart all that was granted counts as used. */
#pragma once

#include "state.h"

#define RAMP_EXCUSES	16u
#define RAMP_UNLIMITED	UINT32_MAX
#define RAMP_CATCH_UP	3.0  /* times the even pace, while less than it was used */
#define RAMP_BURST	96u  /* of a day's allowance: what may go at once */
#define RAMP_GRANTS	100u /* of a day's allowance: twice this part is reserved in one save */
#define RAMP_GRANT_MAX	2500u
#define RAMP_DAY_MIN	(20 * 3600000) /* ms between two allowances, whatever the clock says */
#define RAMP_CLOCK_STEP 3600000 /* ms by which the clocks may differ before it counts as set */
#define RAMP_PAUSE_MIN	5u /* deferrals that a pause needs, and a step back 3: one is no share */
#define RAMP_STEP_MIN	3u
#define RAMP_PATIENCE	1000 /* ms that mail waits for a save; then it goes elsewhere */
#define RAMP_RECENT	400u /* outcomes that a pause looks at */

enum ramp_change {
	RAMP_NEW,
	RAMP_ADVANCED,
	RAMP_HELD_VOLUME,
	RAMP_HELD_DEFERRALS,
	RAMP_HELD_PAUSE,
	RAMP_HELD_OPERATOR,
	RAMP_STEPPED_BACK,
	RAMP_IDLE,
	RAMP_IDLE_RESET,
	RAMP_CLOCK_SET,
	RAMP_BY_OPERATOR,
	RAMP_PLAN_CHANGED,
	RAMP_CHANGES
};

/* Deferrals that may turn out to be the cluster's or the tenant's. */
struct ramp_excuse {
	uint64_t cluster, tenant;
	ms_t at; /* mono; of the last */
	uint32_t n;
	int32_t day;
};

struct ramp_day { /* what happened in it */
	uint32_t good, bad, other;
};

struct ramp {
	const struct warmup_params *plan;
	unsigned rung;	 /* from 0; plan->ndaily: warm */
	uint32_t volume; /* of that rung: what it means when the ladder is changed; 0: none yet */
	/* today */
	struct zone_day day;	   /* number 0: none yet */
	int32_t fresh;		   /* last day that began with nothing used */
	ms_t fresh_at;		   /* mono, when; 0: before this process */
	struct zone_day active[2]; /* start and next: when pacing lets mail go */
	unsigned nactive;
	uint32_t allowance, used, reserved, granted;
	struct ramp_day seen;
	bool paused_today;
	double tokens;
	ms_t tokens_at; /* mono; 0: not begun */
	/* saving */
	uint32_t asked; /* granted, when the save under way is done */
	uint64_t ticket;
	bool want, dirty;
	ms_t unsaved; /* mono, since when there is allowance, only not on disk yet; 0: not so */
	/* over days */
	int32_t first, last; /* day numbers of the first and the last with mail; 0: none */
	uint32_t idle_steps; /* taken down since then */
	uint32_t recent_seen, recent_bad;
	struct health pause;
	bool hold;		     /* by the operator … */
	ms_t hold_until;	     /* … until; 0: released by him */
	uint8_t change, change_from; /* what the last day did; and the rung before */
	uint32_t change_used, change_allowance;
	struct ramp_day change_seen;
	uint32_t expected; /* connections that have not carried anything yet */
	struct ramp_excuse excuses[RAMP_EXCUSES];
};

/* A clock that is set is noticed: nothing is granted for the hours that did not pass. Was the wall
 * clock put forward by more than an hour since the last look? */
bool ramp_clock_stepped(struct ramp_clock *c, struct policy_now now);

uint32_t ramp_volume(const struct warmup_params *plan, unsigned rung); /* RAMP_UNLIMITED: warm */
/* The rung of this plan at which a source stands that has come to that volume. */
unsigned ramp_rung_of(const struct warmup_params *plan, unsigned rung, uint32_t volume, bool warm);
void ramp_set_rung(struct ramp *r, unsigned rung);
/* To the day of now; judges the one before. True: a day has ended (r->change says how). */
bool ramp_roll(struct ramp *r, const struct zone *z, struct policy_now now, bool stepped);
static inline bool ramp_warm(const struct ramp *r)
{
	return r->rung >= r->plan->ndaily;
}
/* Messages that may go now, n at most, beside those expected. 0: *until (mono) tells when. */
uint32_t ramp_ready(struct ramp *r, const struct zone *z, struct policy_now now, uint32_t n,
	uint32_t expected, ms_t *until);
void ramp_take(struct ramp *r, uint32_t n);
/* Of n reserved: seen by the receiver, or given back. */
void ramp_done(struct ramp *r, uint32_t n, bool seen);
/* A connection is to come that will carry one. */
void ramp_expect(struct ramp *r);
/* What the day may use beyond what is granted is asked for in time. */
void ramp_grant(struct ramp *r);
double ramp_share(const struct ramp_day *d);
/* When more may go at the earliest, wall; 0: now. */
ms_t ramp_until(const struct ramp *r, const struct zone *z, struct policy_now now);

/* What the last day did, for people. */
void ramp_why(const struct ramp *r, char *out, size_t max);
const char *ramp_change_name(const struct ramp *r);
