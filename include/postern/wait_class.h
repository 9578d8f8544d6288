/* Mail that waits long is parked: put back, so that it waits in the queue alone and memory is for
 * what can go. It is parked by domain and pool. Mostly many domains wait for the same, a resting
 * cluster or an allowance that is used up: they are of one wait class, and one of them learns for
 * all how long it goes on. When the wait is over a few of them are let go as probes, to find out;
 * each that gets something away lets more go, and some more go as long as nothing is heard.
 *
 *   (nothing) ──wait_park──► parked ──time, a mail that went, an operator──► probe ──wait_gone──►
 *                              ▲                                                │      (nothing)
 *                              └────────────wait_park (it waits still)──────────┘
 *
 * Mail ends while it waits, or its sender is to be told of the delay: the first time at which that is
 * so is kept with what is parked. It is let go then, whatever it waits for, to be looked at.
 *
 * Pure: time is an argument, mono. One thread. Effects come out in order: domains that may be read
 * again (waits_unparked), to be taken after each call that may let some go; and the time at which
 * waits_run wants to be called (waits_at). Bounded by the domains that are parked: some 100 bytes
 * each. */
#pragma once

#include "postern/list.h"
#include "postern/places.h"
#include "postern/policy.h"
#include "postern/wake.h"

struct wait_class;
struct parked;

struct waits {
	struct wait_class *classes;
	struct wake_heap wakes, ends;
	uint32_t nall; /* parked, and probes */
	struct list unparked;
};
/* In a domain: what of it is parked, or was let go and not heard of since. */
struct parking {
	struct parked *all;
	unsigned nparked; /* pools whose mail is parked */
	struct list in_unparked;
};

void waits_init(struct waits *ws);
void waits_deinit(struct waits *ws); /* when nothing is parked any more */
void parking_init(struct parking *pk);
void parking_deinit(struct waits *ws, struct parking *pk);

/* What mail waits for. */
struct wait_for {
	const void *pool;
	bool alone; /* the domain's own: no other waits for it */
	uint64_t cluster;
	unsigned provider;
	enum hold_reason reason;
	enum policy_limit limit;
	char where[32]; /* cluster; "" unknown */
	ms_t until;	/* mono; 0: for a place, at any time */
	ms_t end;	/* mono; some of it is over then, or its sender to be told; 0: unknown */
};
/* From a flow's wait. alone where no other may wait for it: the domain's own, or for no host. */
void wait_of(struct wait_for *ret, const struct waiter *w, const void *pool, unsigned provider);
/* A wait of that time is waited in the queue alone, with so much of memory in use. */
bool wait_is_long(ms_t wait, uint64_t used, uint64_t most);
/* Parks the domain's mail of that pool, with all that waits for the same. False: no memory. */
bool wait_park(struct waits *ws, struct parking *pk, const struct wait_for *f, ms_t now);
/* More of it has come, that has an end then (mono); if it is parked. */
void wait_ends(struct waits *ws, struct parking *pk, const void *pool, ms_t at);
/* Something of a probe's went: it is none any more, and more of its class are let go. */
void wait_gone(struct waits *ws, struct parking *pk, const void *pool);
/* An operator wants the domain's mail to be tried: first, and soon. */
void wait_ask(struct waits *ws, struct parking *pk, ms_t now);
void wait_forget(struct waits *ws, struct parking *pk); /* nothing of it is parked */
/* Something that they may wait for has ended: some of each class are let go with waits_run. */
void waits_wake(struct waits *ws, ms_t now);

ms_t waits_at(const struct waits *ws); /* when waits_run is to be called next; 0: nothing waits */
/* Lets probes go in classes whose time has come, and what has something that ends now; at most max
 * of each. */
void waits_run(struct waits *ws, ms_t now, unsigned max);
/* The next domain of which something may be read again, each once; NULL: no more. */
struct parking *waits_unparked(struct waits *ws);

/* ---- who asks ---- */

bool wait_is_parked(const struct parking *pk, const void *pool);
/* The pools whose mail is parked; how many, at most max. */
unsigned wait_pools(const struct parking *pk, const void **ret, unsigned max);
/* What its mail of that pool (NULL: of any) waits for; until: mono. False: it is not parked. */
bool wait_tell(const struct parking *pk, const void *pool, struct wait_for *ret);
/* Was its mail of that pool (NULL: of any) let go because some of it ends? Until it is parked again. */
bool wait_looks(const struct parking *pk, const void *pool);
/* The same for its mail of that pool, and for a probe: what it waited for when that was last heard
 * of. HOLD_NONE: nothing. */
enum hold_reason wait_known_reason(const struct parking *pk, const void *pool);
