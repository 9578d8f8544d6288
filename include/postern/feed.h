/* When a domain's due mail is read from the queue: one state a domain, changed by feed_step alone.
 * Pure: time is an argument. Owned by whoever owns the domain, on that thread.
 *
 *            FEED_MAIL, and nothing stops it
 *   EMPTY ───────────────────────────────────┐
 *     ▲                                      ▼
 *     │ nothing is left          ┌───► where it belongs ◄───────────────────────┐
 *     │                          │     STOPPED  held, put off or parked         │
 *     │                 LOOK,    │     LATER    its time has not come: f->at    │
 *     │                 MAIL,    │     FULL     its window has no room          │
 *     │                 STOP,    │     DUE      waits for its reading           │
 *     │                 LEFT     └────────┘  │     │                            │
 *     │                                      │     │ ASK (DUE), ASK_AHEAD (FULL)│
 *     │                                      ▼     ▼                            │
 *     └───────────── DONE ◄── READING ── STALE ──► READING_STALE ── DONE ───────┘
 *
 * From DUE its turn may end otherwise: NO_ROOM (to FULL), NO_MEMORY (to LATER, for a second). While
 * a reading is under way nothing else is asked for: what happens then is remembered, and decides
 * with DONE where the domain belongs.
 *
 * The owner keeps to it: in state DUE the domain is in a list of those to be read, in LATER a timer
 * runs to f->at (and brings FEED_LOOK), in FULL whatever leaves memory brings FEED_LEFT. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/clock.h"

#define FEED_STATES(X)                                                                             \
	X(EMPTY)	 /* the queue has nothing of it that may not be in memory */               \
	X(LATER)	 /* looked at again at f->at */                                            \
	X(FULL)		 /* due, and there is no room for it in memory */                          \
	X(STOPPED)	 /* not to be read: held, put off or parked */                             \
	X(DUE)		 /* to be read, in its turn */                                             \
	X(READING)	 /* a reading is under way */                                              \
	X(READING_STALE) /* the same, and not to be used */
enum feed_state {
#define X(name) FEED_##name,
	FEED_STATES(X)
#undef X
		FEED_STATES_N
};

#define FEED_EVENTS(X)                                                                             \
	X(MAIL)	     /* the queue has mail, due at in.due, that may not be in memory */            \
	X(LOOK)	     /* f->at has come; or what stopped it is over; or the clock was set */        \
	X(LEFT)	     /* something of it left memory */                                             \
	X(STOP)	     /* it is stopped, or has less room: DUE is no longer taken for granted */     \
	X(STALE)     /* what is being read has changed since */                                    \
	X(ASK)	     /* its turn: a reading is asked for */                                        \
	X(NO_ROOM)   /* its turn, and memory has no room for it any more */                        \
	X(NO_MEMORY) /* its turn, and it cannot be asked for now */                                \
	X(ASK_AHEAD) /* what lies behind its window is asked for */                                \
	X(FOUND)     /* the reading is there, and about to be taken */                             \
	X(DONE)	     /* it was taken, or is not used */
enum feed_event {
#define X(name) FEED_ON_##name,
	FEED_EVENTS(X)
#undef X
		FEED_EVENTS_N
};

/* A place in the domain's due index; id 0: none. */
struct feed_place {
	ms_t due; /* wall */
	uint64_t id;
	uint32_t index;
};

enum feed_kind {
	FEED_WINDOW, /* what is due, oldest first */
	FEED_FAR,    /* from f->far: what another clock recorded */
	FEED_BEHIND, /* from f->ahead: what senders of few have behind the window */
};

struct feed {
	enum feed_state state;
	enum feed_kind kind; /* of the reading under way, or the last */
	bool whatever_time;  /* the reading takes what is due at any time */
	ms_t next;	     /* wall; earliest in the index that may not be in memory; 0: nothing */
	ms_t at;	     /* LATER: mono */
	ms_t resume;	     /* while reading FAR or BEHIND: next as it was */
	/* what other pools than the parked ones have was looked for as far as there */
	struct feed_place cursor;
	struct feed_place far;	 /* read from there; id 0: there is no such mail */
	struct feed_place ahead; /* looked behind the window as far as there */
	ms_t ahead_from;	 /* wall; what lies behind that is due from then on */
};

enum feed_use { FEED_USED, FEED_UNUSED, FEED_FAILED };

/* What the owner knows. The first five with each event. */
struct feed_in {
	ms_t mono, wall;
	ms_t longest; /* ms; what is due later than that was recorded by another clock */
	bool stopped;
	bool room; /* in the domain's window */
	/* MAIL */
	ms_t due;    /* wall */
	bool parked; /* of a pool whose mail is parked */
	/* FOUND: of the reading */
	struct feed_place last; /* the last entry that was looked at; id 0: none */
	bool some_parked;	/* it left out pools whose mail is parked */
	/* FOUND and DONE */
	bool more;     /* entries that are due were left out for the limit */
	ms_t next_due; /* wall; of the first entry not taken; 0: none */
	/* DONE */
	enum feed_use use;
	ms_t pause; /* ms; read again not before; 0: at once */
};

/* Events that the state does not allow end the process: ASK, NO_ROOM and NO_MEMORY belong to DUE,
 * ASK_AHEAD to FULL, FOUND to READING, DONE to both that read. */
void feed_step(struct feed *f, enum feed_event e, const struct feed_in *in);
bool feed_allows(enum feed_state s, enum feed_event e);

static inline bool feed_reading(const struct feed *f)
{
	return f->state == FEED_READING || f->state == FEED_READING_STALE;
}
/* Its place in memory matters: who leaves says so. */
static inline bool feed_waits_for_room(const struct feed *f)
{
	return f->state == FEED_FULL || f->state == FEED_STOPPED;
}
/* Due later than any retry can be. */
static inline bool feed_by_other_clock(ms_t due, ms_t wall, ms_t longest)
{
	return due > wall && due - wall > longest;
}

const char *feed_state_name(enum feed_state s); /* "EMPTY" …; for tests and messages */
const char *feed_event_name(enum feed_event e);
