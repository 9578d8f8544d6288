/* Places for connections to hosts that nobody has seen well: a share of all outbound places. A host
 * may accept and never greet, or greet and never answer a command, and a thousand of them would hold
 * every place for minutes each.
 *
 *   first try, hasty ──silent──► slow lane: longer each time ──silent──► (the policy's marks)
 *        └───────well────► proven: no place of these is needed any more ◄──┘
 *
 * A host is proven once it has answered a transaction. While many places are in use, a first try
 * gets as long as hosts that were well took lately to greet; whoever was silent then waits for a
 * place of the slow lane, and gets more time there. So a flood of silent hosts goes through the
 * places within moments, and a host that only greets slowly is still heard.
 *
 * Who has many of the places gets no more of them: a party (whoever the mail is of) may have up to
 * three times as many as are free. One party alone leaves a quarter free, two leave a seventh, and
 * whoever comes finds some. Over its share a party gets some slowly, for what has just come, and the
 * last eighth goes slowly to anybody. While many are in use an unproven host has one at a time.
 *
 * Pure: time is an argument, mono. One thread. Bounded by the places; the tables have a fixed size,
 * and what does not fit pushes out what was entered first. */
#pragma once

#include "postern/addr.h"
#include "postern/clock.h"
#include "postern/list.h"

#define OPENING_PATIENT 5000  /* ms; a first try gets less while places are short, others more */
#define OPENING_SLOWEST 45000 /* ms; the slow lane's longest, while places are short */

struct opening_party {
	uint32_t n; /* places that it has */
};

/* Places that are given away slowly: the last of all, and those over a party's share. */
enum opening_drop { DROPS_LAST, DROPS_MUCH, DROPS };
struct opening_drops {
	uint32_t used; /* of late */
	ms_t at;       /* one of them was free again */
};

/* A connection's place, from opening_begin to opening_end. Zeroed before. */
struct opening_place {
	struct opening_party *party; /* NULL: none; else it outlives the place */
	struct addr to;
	ms_t begun, patience; /* patience: 0: as long as it likes */
	enum opening_drop drop;
	bool held, slow;
};

struct opening {
	uint32_t max; /* UINT32_MAX: no limit */
	uint32_t n, slow;
	struct opening_drops drops[DROPS];
	ms_t usual, spread; /* of the time until a host was up that was well */
	struct opening_table *well, *silent;
	/* who waits; the second of each: whose party has many places */
	struct list first_tries[2], slow_lane[2];
	unsigned turn;
};

void opening_init(struct opening *o);
void opening_deinit(struct opening *o);
void opening_limit(struct opening *o, uint32_t outbound_max); /* 0: no limit */

bool opening_proven(const struct opening *o, const struct addr *a);
/* How often it was silent, one time after the other. */
unsigned opening_silent(const struct opening *o, const struct addr *a);

/* What is asked: a place for one of these hosts. */
struct opening_ask {
	const struct opening_party *party; /* NULL: of many */
	bool proven;			   /* one of them is */
	bool silent;			   /* all of them were silent when they were tried last */
	bool busy;			   /* all of them have a place already */
	ms_t since;			   /* when its route came */
};
bool opening_room(struct opening *o, const struct opening_ask *a, ms_t now);
/* Refused: in order behind the others of its kind. */
void opening_wait(struct opening *o, const struct opening_ask *a, struct list *waiter);
/* Who may ask again after a place was left; NULL: nobody, or none is left. Taken out of its list. */
struct list *opening_next(struct opening *o);

/* Takes a place, for a host that is not proven. */
void opening_begin(struct opening *o, struct opening_place *p, struct opening_party *party,
	const struct addr *to, ms_t now);
void opening_up(struct opening *o, struct opening_place *p, ms_t now); /* it greeted */
/* WELL: it answered a transaction. SILENT: it did not answer in time. Without effect when the place
 * was left before. */
enum opening_end { OPENING_WELL, OPENING_IS_SILENT, OPENING_OTHER };
void opening_end(struct opening *o, struct opening_place *p, enum opening_end how);
