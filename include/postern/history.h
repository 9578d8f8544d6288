/* What happened, by minute, hour and day: counts for each lane and rolled up by source, subnet,
 * cluster, provider and pool; samples of what waits; the days of ramps. Pure: time is an argument.
 *
 * One thread, the dispatcher's, owns a history; a view that it gave out may be read by any other.
 * Bounded: when memory is used up the oldest periods go, those of lanes before those of roll-ups,
 * and every answer says from when on it is complete. Counts that cannot be kept for want of memory
 * are lost; nothing else ever depends on them. */
#pragma once

#include <stdbool.h>

#include "postern/buf.h"
#include "postern/clock.h"

#define HISTORY_NAMES	 4u
#define HISTORY_VERDICTS 12u
#define HISTORY_BINS	 56u
#define HISTORY_PREFIX	 "history/"

enum history_level { HISTORY_MINUTE, HISTORY_HOUR, HISTORY_DAY, HISTORY_LEVELS };
ms_t history_length(enum history_level l); /* of one period; days are UTC's */
/* "minute", "hour", "day" */
const char *history_level_name(enum history_level l);

/* What a line is about, and which names it has. PATH and TOTAL are made of others when asked. */
#define HISTORY_KINDS(X)                                                                           \
	X(LANE, "lane")		/* source, cluster, subnet, provider */                            \
	X(SOURCE, "source")	/* source */                                                       \
	X(SUBNET, "subnet")	/* subnet */                                                       \
	X(CLUSTER, "cluster")	/* cluster, provider */                                            \
	X(PROVIDER, "provider") /* provider */                                                     \
	X(POOL, "pool")		/* pool */                                                         \
	X(QUEUE, "queue")	/* pool, provider, reason */                                       \
	X(RAMP, "ramp")		/* source, provider, what its last day did, why */                 \
	X(PATH, "path")		/* subnet, cluster */                                              \
	X(TOTAL, "total")
enum history_kind {
#define X(name, text) HISTORY_##name,
	HISTORY_KINDS(X)
#undef X
		HISTORY_KIND_COUNT
};
const char *history_kind_name(enum history_kind k);
int history_kind_parse(const char *name); /* -EINVAL */

enum history_count { /* of all kinds but the next two */
	HISTORY_ATTEMPTS,
	HISTORY_DELIVERED,
	HISTORY_BOUNCED,
	HISTORY_CONNECTIONS,
	HISTORY_CONNECT_FAILURES,
	HISTORY_BYTES,	  /* of content, each recipient's */
	HISTORY_DELAY_MS, /* from 250 to delivery, all together */
	HISTORY_DEFERRED, /* and the verdict's number: saved, so that numbers may not change */
	HISTORY_COUNTS = HISTORY_DEFERRED + HISTORY_VERDICTS
};
enum { HISTORY_WAITING, HISTORY_OLDEST }; /* QUEUE: the most in the period; seconds */
enum {					  /* RAMP: as sampled last */
	HISTORY_RAMP_RUNG,
	HISTORY_RAMP_RUNGS,
	HISTORY_RAMP_ALLOWANCE, /* UINT32_MAX: no limit */
	HISTORY_RAMP_USED,
	HISTORY_RAMP_DELIVERED,
	HISTORY_RAMP_DEFERRED
};

struct history_cell {
	enum history_kind kind;
	struct slice name[HISTORY_NAMES]; /* borrowed; .n 0: this kind has no such name */
	uint64_t n[HISTORY_COUNTS];
	uint32_t delay[HISTORY_BINS]; /* deliveries by the time from 250 until then */
};
uint64_t history_deferred(const struct history_cell *c); /* all verdicts together */
/* Log-spaced: each bin is 2^½ as wide as the one before, so what is read out is right within a
 * fifth. ms; 0: nothing was delivered. q: 0..1 */
unsigned history_bin(ms_t delay);
ms_t history_quantile(const uint32_t delay[HISTORY_BINS], double q);
ms_t history_bin_end(unsigned bin); /* ms; its first value that is not in it; 0: it has no end */

struct history;
struct history_params {
	uint64_t
		memory; /* bytes for closed periods; 0: 22 MiB. Open ones take 9 MiB more at most */
};
int history_new(struct history **ret, const struct history_params *p); /* -ENOMEM */
struct history *history_free(struct history *h);		       /* NULL-safe */
uint64_t history_memory(const struct history *h);		       /* bytes in use, about */

/* ---- over restarts ---- */

/* value.p NULL: the entry is to be deleted. */
typedef void history_put(void *arg, struct slice key, struct slice value);
/* One entry that was put, before history_begin. -EINVAL: damaged, or of another version: left out,
 * and deleted by the next put. */
int history_load(struct history *h, struct slice key, struct slice value);
void history_begin(struct history *h, ms_t wall);
/* The next tick will close a minute: the moment for samples. */
bool history_due(const struct history *h, ms_t wall);
/* Once a second. Closes the minute when it is over and puts what changed by it: at most six entries
 * and what had to go, once a minute; nothing in a minute in which nothing happened. */
void history_tick(struct history *h, ms_t wall, history_put *put, void *arg);
/* The same before the minute is over: the process ends. */
void history_flush(struct history *h, ms_t wall, history_put *put, void *arg);

/* ---- what happens ---- */

struct history_lane {
	const char *source, *subnet, *cluster, *provider; /* cluster "": not known */
};
enum history_what { HISTORY_IS_DELIVERED, HISTORY_IS_DEFERRED, HISTORY_IS_BOUNCED };
struct history_result {
	enum history_what what;
	unsigned verdict; /* DEFERRED: number of the verdict, below HISTORY_VERDICTS */
	uint64_t bytes;	  /* DELIVERED */
	ms_t delay;	  /* DELIVERED: since 250 */
};
/* One attempt of one recipient. l NULL: it met no receiver. */
void history_result(struct history *h, const struct history_lane *l, const char *pool,
	const struct history_result *r);
void history_connected(struct history *h, const struct history_lane *l, bool well);
/* Samples. */
void history_waiting(struct history *h, const char *pool, const char *provider, const char *reason,
	uint64_t recipients, uint64_t oldest_s);
struct history_ramp {
	const char *source, *provider, *change, *why;
	int32_t day; /* number, in the ramps' time zone */
	uint32_t rung, rungs, allowance;
	uint64_t used, delivered, deferred;
};
void history_ramp(struct history *h, const struct history_ramp *r);

/* ---- answers ---- */

struct history_question {
	enum history_kind by;
	enum history_level level;
	ms_t from, to;	  /* wall; periods that begin in [from, to) */
	const char *name; /* only lines that have this name; NULL: all */
	bool sum;	  /* all periods as one, with start = from */
};
/* Everything that the answer needs, taken on the owner's thread in little time; the open minute
 * included. NULL: no memory. Read and freed on any thread, once. */
struct history_view;
struct history_view *history_look(struct history *h, const struct history_question *q);
struct history_view *history_view_free(struct history_view *v); /* NULL-safe */
/* Lanes since history_new, whatever became of their minutes: the first 2,000, the others of a
 * provider under the name "other". NULL: no memory. */
struct history_view *history_ever(struct history *h);
/* Complete from then on; earlier periods had to go. 0: nothing had to. */
ms_t history_view_since(const struct history_view *v);
/* The lines, whose names are borrowed until fn returns, by start, then by names. fn false: no
 * more. 0, -ENOMEM, -E2BIG: one period had more than 20,000, all others are left out. start: wall;
 * of RAMP: the number of the day. */
int history_view_each(struct history_view *v,
	bool (*fn)(void *arg, ms_t start, const struct history_cell *c), void *arg);
