/* The states of a stream, and which may follow which. Pure; for stream*.c and their tests.
 *
 * The stream itself, for its owner:
 *
 *     CONNECTING ──► OPEN ──► FAILED ──► LINGER ──► CLOSING
 *         └───────────┼──► FAILED          ▲           ▲
 *                     └────────────────────┘   from any of them
 *
 * FAILED was told to the owner, who has not closed it yet; after a clean end of the other side what
 * the owner says last still goes out (LINGER). CLOSING ends in the handle's close callback.
 *
 * Beside it, each by itself:
 *
 *     reading:  STOPPED ◄──► ON            ──► ENDED    the other side sent its end
 *     taker:    TAKES ──► PAUSED ──► RESUMED ──► TAKES  RESUMED: held input is due
 *                 ▲          ▲ │        │               (or nothing was held, and it takes at once)
 *                 └──────────┼─┘        │
 *                            └──────────┘
 *     writing:  FREE ◄──► BUSY             ──► BROKEN   BUSY: the socket is full, libuv waits for it
 *     end:      NONE ──► BEHIND ──► NOW    ──► NONE     an end that has still to be told: behind the
 *                 └───────────────────▲                 held input, or with this iteration's work
 *
 * ENDED and BROKEN are final. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum stream_state {
	STREAM_CONNECTING,
	STREAM_OPEN,
	STREAM_FAILED,
	STREAM_LINGER,
	STREAM_CLOSING,
};
enum stream_reading { READING_STOPPED, READING_ON, READING_ENDED };
enum stream_taker { TAKER_TAKES, TAKER_PAUSED, TAKER_RESUMED };
enum stream_writing { WRITING_FREE, WRITING_BUSY, WRITING_BROKEN };
enum stream_end { END_NONE, END_BEHIND, END_NOW };

#define STREAM_BIT(x) (uint8_t)(1u << (x))

static inline bool stream_may(enum stream_state from, enum stream_state to)
{
	static const uint8_t next[] = {
		[STREAM_CONNECTING] = STREAM_BIT(STREAM_OPEN) | STREAM_BIT(STREAM_FAILED) |
				      STREAM_BIT(STREAM_CLOSING),
		[STREAM_OPEN] = STREAM_BIT(STREAM_FAILED) | STREAM_BIT(STREAM_LINGER) |
				STREAM_BIT(STREAM_CLOSING),
		[STREAM_FAILED] = STREAM_BIT(STREAM_LINGER) | STREAM_BIT(STREAM_CLOSING),
		[STREAM_LINGER] = STREAM_BIT(STREAM_CLOSING),
		[STREAM_CLOSING] = 0,
	};

	return next[from] & STREAM_BIT(to);
}

static inline bool reading_may(enum stream_reading from, enum stream_reading to)
{
	static const uint8_t next[] = {
		[READING_STOPPED] = STREAM_BIT(READING_ON) | STREAM_BIT(READING_ENDED),
		[READING_ON] = STREAM_BIT(READING_STOPPED) | STREAM_BIT(READING_ENDED),
		[READING_ENDED] = 0,
	};

	return next[from] & STREAM_BIT(to);
}

static inline bool taker_may(enum stream_taker from, enum stream_taker to)
{
	static const uint8_t next[] = {
		[TAKER_TAKES] = STREAM_BIT(TAKER_PAUSED),
		[TAKER_PAUSED] = STREAM_BIT(TAKER_TAKES) | STREAM_BIT(TAKER_RESUMED),
		[TAKER_RESUMED] = STREAM_BIT(TAKER_TAKES) | STREAM_BIT(TAKER_PAUSED),
	};

	return next[from] & STREAM_BIT(to);
}

static inline bool writing_may(enum stream_writing from, enum stream_writing to)
{
	static const uint8_t next[] = {
		[WRITING_FREE] = STREAM_BIT(WRITING_BUSY) | STREAM_BIT(WRITING_BROKEN),
		[WRITING_BUSY] = STREAM_BIT(WRITING_FREE) | STREAM_BIT(WRITING_BROKEN),
		[WRITING_BROKEN] = 0,
	};

	return next[from] & STREAM_BIT(to);
}

static inline bool end_may(enum stream_end from, enum stream_end to)
{
	static const uint8_t next[] = {
		[END_NONE] = STREAM_BIT(END_BEHIND) | STREAM_BIT(END_NOW),
		[END_BEHIND] = STREAM_BIT(END_NOW) | STREAM_BIT(END_NONE),
		[END_NOW] = STREAM_BIT(END_NONE),
	};

	return next[from] & STREAM_BIT(to);
}
