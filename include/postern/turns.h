/* Turns at a host: pools take turns there, in each its parties (senders' domains), in each their
 * flows (recipient domains), one transaction each. Rings, of which the first goes last when it had
 * its turn; all is done in constant time, whatever waits. Every seat has the same weight. Pure; one
 * thread. Seats are allocated as flows join, and few are kept for the next. */
#pragma once

#include "postern/list.h"

struct seat;
/* Of all hosts together. */
struct turns {
	struct seat *seats, *unused;
	unsigned nunused;
};
/* A flow's place at one host; zero: none. */
struct turn_link {
	struct list in_seat;
	struct seat *seat;
};
void turns_deinit(struct turns *ts); /* when nobody sits anywhere */

/* host: the ring in it, list_init'ed, and its identity. Pools and parties are told apart by their
 * addresses, which must differ. False: no memory. */
bool turns_join(struct turns *ts, struct list *host, const void *pool, const void *party,
	struct turn_link *l);
void turns_leave(struct turns *ts, struct turn_link *l);

/* Whose turn it is, of pools that serve (serves NULL: of all); NULL: none. It is the last then. */
struct turn_link *turns_next(
	struct list *host, bool (*serves)(const void *arg, const void *pool), const void *arg);

/* All links there, in no order that counts; NULL: no more. */
struct turn_link *turns_first(const struct list *host);
struct turn_link *turns_after(const struct list *host, const struct turn_link *l);
