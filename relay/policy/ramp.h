/* The ramp of one source at one provider. Room-internal.
 *
 * ramp.c is its arithmetic: days, rungs, pacing; ramp_judge.c what a day earns. warmup.c is its
 * place in the policy: who asks it, what is told to it; warmup_control.c with whom it is compared.
 *
 * An allowance is never passed: a transaction reserves its message before it goes (reserved), keeps
 * it when the receiver saw it (used), and nothing is reserved that the saved state does not already
 * hold as used (granted). After a restart all that was granted counts as used. */
#pragma once

#include "health.h"
#include "postern/policy.h"
#include "postern/zone.h"

#define RAMP_EXCUSES	16u
#define RAMP_UNLIMITED	UINT32_MAX
#define RAMP_CATCH_UP	3.0    /* times the even pace: what goes in an hour while less was used */
#define RAMP_BEGIN	96u    /* of a day's allowance: what may go with its first moment */
#define RAMP_HOUR_MIN	20.0   /* messages an hour that are no burst, however small the allowance */
#define RAMP_MOMENT	50.0   /* messages that may go in one moment in any case */
#define RAMP_LEAD_MOST	24u    /* hours of the allowance that may go ahead of their time */
#define RAMP_LEAD_SLOW	5u     /* up to so many go at an hour's pace */
#define RAMP_STEADY	13u    /* such hours a day: mail does not come in few bursts */
#define RAMP_BUSY	5u     /* times that mail was there in an hour, beyond what might go */
#define RAMP_SPREAD	120000 /* ms over which an hour's part is spread when it comes all at once */
#define RAMP_GRANTS	100u   /* of a day's allowance: twice this part is reserved in one save */
#define RAMP_GRANT_MAX	2500u
#define RAMP_DAY_MIN	(20 * 3600000) /* ms between two allowances, whatever the clock says */
#define RAMP_CLOCK_STEP 3600000 /* ms by which the clocks may differ before it counts as set */
#define RAMP_PAUSE_MIN	5u /* deferrals that a pause needs, and a step back 3: one is no share */
#define RAMP_STEP_MIN	3u
#define RAMP_PATIENCE	1000 /* ms that mail waits for a save; then it goes elsewhere */
#define RAMP_RECENT	400u /* outcomes that a pause looks at */
#define RAMP_PEERS_MOST 50u  /* of them, that count beside one own outcome */
#define RAMP_MATCHED                                                                               \
	10.0 /* outcomes of warm peers from which on they are something to compare with */

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
	RAMP_HELD_CLUSTERS, /* the numbers are saved: new ones at the end */
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
	/* Of them, those that warm sources had outcomes beside: at the same cluster, in the same
	 * half hour; the outcomes of those; and what is expected of a source that is like them: the sum
	 * of their shares. */
	uint32_t matched, peers;
	double expected;
};

/* How much more is deferred than of the warm ones, or at all where there are none. */
struct ramp_excess {
	double own, peers, excess;
	double sure; /* the excess is at least this, nineteen times in twenty */
	bool compared;
};

/* How the day's allowance is spread over it. */
struct ramp_pacing {
	double tokens;	    /* what is due by now and not used, at most that of some hours */
	double spout;	    /* of it, what may go at once */
	ms_t at;	    /* mono, up to which it is counted; 0: not begun */
	ms_t left;	    /* wall, up to which an earlier process counted it; 0: none did */
	ms_t hour;	    /* number of it, by the wall clock … */
	uint32_t hour_used; /* … and what went in it */
	/* What the shape of the traffic has shown, for the days to come: hours' parts of the
	 * allowance that are due with the day's first moment. */
	uint8_t lead;
	uint8_t waited; /* times in this hour that mail was there and had to wait or go elsewhere */
	uint8_t busy;	/* hours of the day in which that was so, RAMP_BUSY times or more */
	bool kept;	/* it was so today, while there was allowance left */
	bool odd;	/* the last day with mail was not used up for that */
};

/* What the last day did, and by which figures. */
struct ramp_judged {
	uint8_t change; /* enum ramp_change */
	uint8_t from;	/* the rung before */
	uint32_t used, allowance;
	uint32_t aside, clusters;
	struct ramp_day seen;
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
	struct ramp_pacing pacing;
	/* saving */
	uint32_t asked; /* granted, when the save under way is done */
	uint64_t ticket;
	bool want, dirty;
	ms_t unsaved; /* mono, since when there is allowance, only not on disk yet; 0: not so */
	/* over days */
	int32_t first, last; /* day numbers of the first and the last with mail; 0: none */
	uint32_t idle_steps; /* taken down since then */
	uint32_t recent_seen, recent_bad;
	double recent_expected;
	ms_t looked; /* mono; when the clusters were looked over last for a pause */
	/* clusters with outcomes today; of them, those that refuse it while others do not */
	uint32_t clusters, aside;
	uint32_t settled; /* the half hour in which the others were set beside it last */
	bool most_refuse; /* of them, as was just found */
	struct health pause;
	bool hold;	 /* by the operator … */
	ms_t hold_until; /* … until; 0: released by him */
	struct ramp_judged judged;
	uint32_t expected; /* connections that have not carried anything yet */
	struct ramp_excuse excuses[RAMP_EXCUSES];
};

/* When the clocks were looked at last; mono 0: never. One that is set is noticed. */
struct ramp_clock {
	ms_t mono, wall;
};
/* A clock that is set is noticed: nothing is granted for the hours that did not pass. Was the wall
 * clock put forward by more than an hour since the last check? */
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
/* No more goes for now: what is granted and not used need not count as used after a restart. */
void ramp_give_back(struct ramp *r);
/* What is due is asked for before it is wanted: the first of a burst need not wait for the disk. */
void ramp_prepare(struct ramp *r, struct policy_now now);
double ramp_share(const struct ramp_day *d);
void ramp_compare(const struct ramp_day *d, struct ramp_excess *ret);
/* What the day has earned. */
enum ramp_change ramp_judge(const struct ramp *r);
/* When more may go at the earliest, wall; 0: now. */
ms_t ramp_until(const struct ramp *r, const struct zone *z, struct policy_now now);

/* What the last day did, for people. */
void ramp_why(const struct ramp *r, char *out, size_t max);
const char *ramp_change_name(const struct ramp *r);
