/* The history's parts. Room-internal.
 *
 * Events are counted in the open minute, a table of cells. When the minute is over it is sorted and
 * written as a segment, and merged into the segments of its hour and its day. A segment is what is
 * kept in memory, what is saved, and what a view holds by reference: it never changes. */
#pragma once

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "postern/history.h"
#include "postern/must.h"

#define NAME_LONGEST 159u
#define OPEN_LANES   12288u /* beyond: under the name "other" */
#define OPEN_OTHERS  4096u  /* beyond: lost */
#define OTHER_LANES  64u    /* of that name: one a provider */
#define EVER_LANES   2000u

/* Lanes go before roll-ups where memory is short. Ramps have days only. */
enum class { CLASS_ROLLUP, CLASS_LANE, CLASS_RAMP, CLASSES };
static inline enum class class_of(enum history_kind k) {
	return k == HISTORY_LANE   ? CLASS_LANE
	       : k == HISTORY_RAMP ? CLASS_RAMP
				   : CLASS_ROLLUP;
}

/* ---- cell.c ---- */

/* Kinds that are kept, not made: the first so many. */
#define KINDS_KEPT HISTORY_PATH
unsigned cell_names(enum history_kind k);    /* that it has */
unsigned cell_identity(enum history_kind k); /* of them, those that tell cells apart */
int cell_compare(const struct history_cell *a, const struct history_cell *b);
/* b, the later one, into a: sums, the most, or the last, as the kind wants it. Names as in a. */
void cell_merge(struct history_cell *a, const struct history_cell *b);

/* ---- table.c ---- */

struct open {
	UT_hash_handle hh; /* by text */
	struct history_cell cell;
	struct open *ever; /* open lanes: the same since the start; NULL: not looked up yet */
	int32_t day;	   /* RAMP */
	size_t n;
	char text[]; /* kind, then the names that identify it, each with a NUL; then the others */
};
struct table {
	struct open *cells;
	unsigned nlanes, nothers, lanes_max, others_max; /* 0: OPEN_LANES, OPEN_OTHERS */
	uint64_t lost;
};
/* A cell to count in; NULL: it is lost. Names are copied, and cut at NAME_LONGEST. */
struct open *table_cell(struct table *t, enum history_kind k, const struct slice *names);
void table_remove(struct table *t, struct open *o);
void table_clear(struct table *t);
/* All cells in order; the array is the caller's. NULL: no memory. */
struct open **table_sorted(const struct table *t, size_t *n);
/* Makes the cells that lanes roll up into, anew. */
void table_roll_up(struct table *t);
uint64_t table_memory(const struct table *t);

/* ---- segment.c ---- */

struct segment {
	atomic_uint refs;
	int64_t period; /* number of the period since 1970; of ramps: of the day */
	size_t n;
	char data[];
};
struct segment *segment_ref(struct segment *s);
struct segment *segment_unref(struct segment *s); /* NULL-safe; returns NULL */
/* Checks all of it. 0, -EINVAL, -ENOMEM. */
int segment_load(struct segment **ret, enum history_level l, enum class c, struct slice saved);
struct segment_head {
	enum history_level level;
	enum class class;
	int64_t period;
};
/* The cells of old (NULL: none) and those of that class among the n in order. *ret NULL: there is
 * none. 0, -ENOMEM. */
int segment_merge(struct segment **ret, const struct segment_head *head, const struct segment *old,
	struct open *const *cells, size_t n);

struct segment_reader {
	struct slice rest;
	struct slice *names;
	uint64_t nnames, cells;
	bool bad;
};
int segment_read(struct segment_reader *r, struct slice data);	     /* 0, -EINVAL, -ENOMEM */
bool segment_next(struct segment_reader *r, struct history_cell *c); /* false: the end, or bad */
void segment_read_end(struct segment_reader *r);

/* ---- ring.c ---- */

struct ring {
	struct segment **a; /* by period */
	uint32_t n, max, cap;
	uint64_t bytes;
	int64_t cut; /* periods before it had to go; 0: none */
};
struct segment *ring_find(const struct ring *r, int64_t period); /* borrowed */
uint32_t ring_place(const struct ring *r, int64_t period);	 /* the first from there on */
/* Takes s, in place of one of the same period. 0, -ENOMEM (s is the caller's still). */
int ring_put(struct ring *r, struct segment *s);
struct segment *ring_take_first(struct ring *r);
struct segment *ring_take_last(struct ring *r);
void ring_free(struct ring *r);

/* ---- history.c ---- */

#define BAD_KEYS 64u
struct history {
	struct history_params p;
	struct table open, ever;
	int64_t minute; /* the open one's number */
	struct ring rings[HISTORY_LEVELS][CLASSES];
	uint64_t bytes; /* of all segments */
	char *bad[BAD_KEYS];
	unsigned nbad;
};

/* ---- keep.c ---- */

struct keeping {
	history_put *put;
	void *arg;
};
/* The open minute goes into the rings, what is over the bounds goes out of them. */
void keep_minute(struct history *h, const struct keeping *k);
