/* Outcomes as a log likelihood ratio: is what is asked about sick, or is it noise? One for each lane,
 * path, cluster, tenant and watched sender. Times are mono. No memory of its own, nothing can fail. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/clock.h"

#define RING	      16u
#define ACCUSERS      6u
#define SCORE_BAD     2.485 /* ln(0.60 / 0.05): what a refusal says for "sick" against "noise" */
#define SCORE_VAGUE   1.9   /* the same, of words that do not speak of us */
#define SCORE_GOOD    0.865 /* ln(0.95 / 0.40): what an acceptance says against it */
#define SCORE_SUSPECT 4.9
#define SCORE_BLAME   14.3 /* six refusals within a minute more than acceptances explain */
#define SCORE_MAX     30.0

struct evidence {
	double score;	     /* log likelihood ratio, never below 0; halves in ten minutes */
	ms_t at, onset;	     /* mono; last change; first refusal of the present rise, 0: none */
	float gap;	     /* ms between outcomes, on average */
	double good, bad;    /* decaying counts */
	uint32_t when[RING]; /* mono, cut to 32 bits */
	uint16_t bads;	     /* bit by place in the ring */
	uint8_t n, next;
	uint8_t naccusers;
	uint8_t counted[ACCUSERS];
	uint32_t accuser[ACCUSERS]; /* tenants whose refusals are in the score */
};
/* accuser: the tenant, 0: nobody in particular. A tenant's refusals count twice, unless it has an
 * alibi: was accepted elsewhere meanwhile. */
void evidence_bad(struct evidence *e, ms_t mono, uint32_t accuser, bool alibi, double weight);
void evidence_good(struct evidence *e, ms_t mono);
void evidence_note(struct evidence *e, ms_t mono, bool bad); /* remembers, without judging */
void evidence_take_back(struct evidence *e); /* a refusal that something else explains */
void evidence_forgive(struct evidence *e);   /* nothing is held against it; it is remembered */
void evidence_clear(struct evidence *e);
double evidence_score(const struct evidence *e, ms_t mono);
/* Refusals of the last n outcomes; n at most RING. */
unsigned evidence_last(const struct evidence *e, unsigned n);
/* mono; how far back the last n outcomes reach, and not before the onset. */
ms_t evidence_reach(const struct evidence *e, unsigned n, ms_t mono);
/* Outcomes since then. */
void evidence_since(const struct evidence *e, ms_t since, unsigned *good, unsigned *bad);
double wilson_low(unsigned part, unsigned n);
double wilson_high(unsigned part, unsigned n);
void evidence_decayed(const struct evidence *e, ms_t mono, double *good, double *bad);
