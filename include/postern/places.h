/* Flows with work look for connections, and wait where they get none: for a time, or for a place
 * that somebody leaves. Which of those that wait looks next, when, and in which order. Pure: time
 * is an argument, mono. One thread; a waiter is embedded in its flow, and costs nothing more.
 *
 *             waiter_ask            places_asking               waiter_wait
 *   quiet ─────────────────► asking ──────────────► (looks) ───────────────────► waiting
 *     ▲                        ▲                       │                            │
 *     └─── it has got one ─────┼───────────────────────┘                            │
 *                              └── its time (places_due), a place (places_freed), ──┘
 *                                  or its reason has ended (waiter_over)
 *
 * Those that ask look in turn: ranks by their weights (ranks.h), in each the first who asked. A place
 * that is left has those of each rank ask that have waited longest for one at that cluster, else
 * some of all. Of these, flows of senders with little in memory come first, and one place of four
 * is for those that have much. */
#pragma once

#include "postern/list.h"
#include "postern/policy.h"
#include "postern/ranks.h"
#include "postern/wake.h"

struct waiter {
	bool asking, waiting;
	bool for_place; /* waiting: whoever leaves a place may end it */
	bool unserved;	/* the owner's: no connection could take its work when it met a cap */
	uint8_t rank;	/* below RANKS; it changes by waiter_rank alone */
	/* what it waits for; also of the last wait */
	enum hold_reason reason;
	enum policy_limit limit;
	uint64_t cluster; /* its id in the policy; 0: unknown */
	char where[32];	  /* its name; "" unknown */
	ms_t until;	  /* mono; 0: until a place is free */
	ms_t look_at; /* mono; places_due names it then at the latest; 0: it waits for nothing */
	struct wake wake; /* waiting: it looks again then at the latest */
	struct list in_asking, in_places;
};
struct places {
	struct places_rank {
		struct list asking;
		struct list few, much; /* waiting for a place, longest first */
		unsigned turn;
	} of[RANKS];
	struct ranks ranks; /* by connections that they got */
	struct wake_heap wakes;
};

void places_init(struct places *ps);
void places_deinit(struct places *ps);
/* Room for so many waiters in all: before each is used. False: no memory. */
bool places_reserve(struct places *ps, uint32_t waiters);
void waiter_init(struct waiter *w);
void waiter_deinit(struct places *ps, struct waiter *w);
/* It waits no longer, and asks, if it waited. */
void waiter_rank(struct places *ps, struct waiter *w, unsigned rank);

void waiter_ask(struct places *ps, struct waiter *w);
/* Who looks next; NULL: nobody. */
struct waiter *places_asking(struct places *ps);
bool places_any_asking(const struct places *ps);

/* It got a place: its rank had one. */
void waiter_took(struct places *ps, const struct waiter *w);
/* It got none; much: its sender has much in memory. It looks again within the minute at least: as
 * often as that places_due names it, however often it is asked and refused in between. */
void waiter_wait(
	struct places *ps, struct waiter *w, const struct policy_choice *why, bool much, ms_t now);
void waiter_over(struct places *ps, struct waiter *w); /* waits no longer, and asks; if it waited */
void waiter_stop(struct places *ps, struct waiter *w); /* it has no work any more */

/* A place at that cluster is free: those that wait for one there ask. */
void places_freed(struct places *ps, const char *where);
/* Some of all that wait for a place ask. */
void places_freed_any(struct places *ps, unsigned n);

ms_t places_at(const struct places *ps); /* when places_due is to be asked next; 0: nobody waits */
/* Whose time has come, to be looked at: its mail may be over. It waits still, until waiter_over;
 * NULL: no more. */
struct waiter *places_due(struct places *ps, ms_t now);
