/* Which DNS question is asked next: a budget of those under way. Pure: time is an argument. See
 * dns_budget.c for the rules. */
#pragma once

#include "dns_query.h"

struct dns_silence {
	uint64_t hash; /* of the name; 0: unused */
	ms_t until;
	uint8_t level;
};

struct dns_budget {
	unsigned running_max, first_max, slow_max;
	unsigned running, by_lane[DNS_LANES];
	unsigned waiting, first_waiting, slow_waiting;
	struct dns_query *known, *slow, *given_up;
	struct dns_zone *zones, *used, *fresh, *old;
	unsigned nzones;
	ms_t reserved_at;     /* one of the places kept for those that just came was given away */
	bool newest;	      /* the next first-time name is the newest one's */
	struct dns_zone *any; /* stands in where memory is out */
	ms_t answered_at;     /* by anyone */
	const struct dns_zone *silent_zone; /* without answer since then; only compared */
	bool several;			    /* and others, too */
	uint64_t seed;
	struct dns_silence *silences;
};

int budget_init(struct dns_budget *b, unsigned running_max, uint64_t seed); /* 0, -ENOMEM */
void budget_deinit(struct dns_budget *b);
/* A question comes to wait. known: this name was answered before. */
void budget_add(struct dns_budget *b, struct dns_query *q, bool known, ms_t now);
/* The next one to be asked; it is running then. Or (its lane is DNS_GIVEN_UP) one that is not
 * going to be asked. NULL: none may. */
struct dns_query *budget_next(struct dns_budget *b, ms_t now);
/* How much patience it gets: as long as many wait, less. */
enum dns_patience budget_patience(const struct dns_budget *b, const struct dns_query *q);
/* A running one has come to its end. silent: there was no answer. True: and others had one
 * meanwhile, so that it is the name's own trouble. */
bool budget_ended(struct dns_budget *b, struct dns_query *q, bool silent, ms_t now);
/* After that: may it wait for a second try, in the slow lane? */
bool budget_slower(struct dns_budget *b, struct dns_query *q);
/* All that wait, one by one, at the end. */
struct dns_query *budget_drain(struct dns_budget *b);

/* Until when a name is not asked for again; 0: it may be. base: the least time. */
ms_t budget_silent_until(const struct dns_budget *b, const char *name, ms_t now);
void budget_note_silent(struct dns_budget *b, const char *name, ms_t base, ms_t now);
void budget_note_heard(struct dns_budget *b, const char *name);
