/* Turns at a host: ranks take turns there by their weights (ranks.h), in each its pools, in each of
 * these its parties (senders' domains), in each their flows (recipient domains), one transaction
 * each. Rings, of which the first goes last when it had its turn; all is done in constant time,
 * whatever waits. Within a ring every seat has the same weight. Pure; one thread. Seats are
 * allocated as flows join, and few are kept for the next. */
#pragma once

#include <stdbool.h>

#include "postern/list.h"
#include "postern/ranks.h"

struct seat;
/* Of all hosts together. */
struct turns {
	struct seat *seats, *unused;
	unsigned nunused;
};
/* At one host, which it also stands for. */
struct turns_here {
	struct list rings[RANKS];
	struct ranks ranks;
};
/* A flow's place at one host; zero: none. */
struct turn_link {
	struct list in_seat;
	struct seat *seat;
};
/* Which seats it takes. Pools and parties are told apart by their addresses, which must differ. */
struct turn_for {
	const void *pool, *party;
	unsigned rank;
};
void turns_deinit(struct turns *ts); /* when nobody sits anywhere */
void turns_here_init(struct turns_here *h);

/* False: no memory. */
bool turns_join(
	struct turns *ts, struct turns_here *h, const struct turn_for *f, struct turn_link *l);
void turns_leave(struct turns *ts, struct turn_link *l);

/* Ranks that somebody sits in, as bits. */
unsigned turns_ranks(const struct turns_here *h);
/* Whose turn it is in that rank, of pools that serve (serves NULL: of all); NULL: none. It is the
 * last of it then. The rank pays for what it takes: ranks_took. */
struct turn_link *turns_next(struct turns_here *h, unsigned rank,
	bool (*serves)(const void *arg, const void *pool), const void *arg);

/* All links there, the higher ranks first; NULL: no more. */
struct turn_link *turns_first(const struct turns_here *h);
struct turn_link *turns_after(const struct turns_here *h, const struct turn_link *l);
