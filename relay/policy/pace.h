/* What a receiver takes a minute, as it showed: found by its refusals, tested again now and then,
 * forgotten when it no longer holds. One for each lane, and one for a tenant that has a limit of
 * its own. Pure; owned by the dispatcher's thread like all of the policy. No memory of its own,
 * nothing can fail.
 *
 * States, by the members: no limit known (rate 0) → a refusal after much was accepted → limited
 * (rate below ceiling) → held there, longer each time the ceiling is confirmed → grows until it is
 * refused again (limited), or until far more than the ceiling was accepted (no limit known).
 * Refusals that go on at the same share however slowly mail goes are noise: no limit is believed
 * for a while then. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/clock.h"

struct policy_now;

#define PACE_SLOTS 25u /* of 2.5 s: the last minute, and the one in which now is */

struct pace {
	float rate;    /* messages a minute that go now; 0: no limit known */
	float ceiling; /* messages a minute at which the receiver refused; 0: none known */
	float last; /* what had been accepted in the minute before the last refusal that counted */
	uint8_t confirmed; /* refusals in a row at about the same ceiling */
	uint8_t runs;	   /* refusals that counted, since anything was accepted */
	uint8_t over;	/* accepted beyond a rate that was met once only: a sign that it is none */
	uint8_t failed; /* such that were refused */
	bool testing;	/* one such is under way */
	uint8_t lower;	/* refusals in a row at less than was accepted before: a sign of noise */
	uint8_t noise;	/* times in a row that it was noise */
	uint32_t ring;	/* outcomes, a bit each, newest lowest: 1 refused */
	bool dirty;	/* to be saved */
	ms_t cut;	/* mono of the last refusal that counted; 0: none */
	ms_t hold;	/* mono until which the rate does not grow */
	ms_t grown;	/* mono up to which growth is counted in */
	ms_t bound;	/* mono at which it last kept mail waiting */
	ms_t test, gap; /* mono of the next message beyond such a rate; ms to the one after it */
	ms_t deaf;	/* mono until which refusals are taken for noise */
	ms_t next;	/* mono of the next message in even steps */
	ms_t found, tested; /* wall: the ceiling was found, was met last */
	int64_t newest;	    /* number of the slot in which now is */
	uint16_t taken[PACE_SLOTS];
};

/* n messages were accepted. */
void pace_accepted(struct pace *p, ms_t mono, uint32_t n);
/* One was refused that was sent at that time (mono). */
enum pace_finding {
	PACE_UNRELATED, /* hardly anything was accepted lately: no limit explains it */
	PACE_SAME,	/* it left before the last refusal was known: nothing new */
	PACE_NOISE,	/* such refusals come at any rate */
	PACE_LIMIT	/* more was accepted than the receiver takes: the rate is cut */
};
enum pace_finding pace_refused(struct pace *p, struct policy_now now, ms_t sent);
/* Something else explains what was refused lately. */
void pace_excuse(struct pace *p);
/* It is to rest, after it had taken this much: a limit looks like that when it is met for the first
 * time. So it begins again with what it had taken, and outgrows that soon where it was none. */
void pace_suspect(struct pace *p, struct policy_now now);
/* Of all that was refused since then (wall): a limit found in that time is none. */
void pace_retract(struct pace *p, ms_t since);
/* May one more go, with so many under way? false: *until (mono) says when to ask again. */
bool pace_ready(struct pace *p, ms_t mono, uint32_t pending, ms_t *until);
/* n go now. */
void pace_take(struct pace *p, ms_t mono, uint32_t n);
/* They did not go after all. */
void pace_give_back(struct pace *p, uint32_t n);
/* Messages accepted in the last minute. */
double pace_minute(struct pace *p, ms_t mono);
/* What an earlier process had found; times are wall times. */
void pace_load(struct pace *p, double rate, double ceiling, ms_t found, ms_t tested);
