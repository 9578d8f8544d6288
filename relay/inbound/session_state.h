/* The states of an inbound session, and which may follow which. Pure; for inbound*.c and their tests.
 *
 * What its client may still send:
 *
 *     FLOWS ◄──► PAUSED       nothing is read: replies, the queue, a password or memory are waited for
 *       │           │
 *       ├───────────┴──► ENDED    the client sends no more, and may wait for its answers
 *       │                  │
 *       └──► CLOSED ◄──────┘      also from PAUSED; final: only jobs of it may still be under way
 *
 * What is to follow as soon as a slot for a part of the content is free:
 *
 *     NOTHING ◄──► FLUSH ──► DISCARD ──► NOTHING      the content is moved on, or forgotten: then
 *         └─────────────────────▲                     there is nothing to move on
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum session_input { SESSION_FLOWS, SESSION_PAUSED, SESSION_ENDED, SESSION_CLOSED };
enum slot_due { DUE_NOTHING, DUE_FLUSH, DUE_DISCARD };

static inline bool session_may(enum session_input from, enum session_input to)
{
	static const uint8_t next[] = {
		[SESSION_FLOWS] = 1u << SESSION_PAUSED | 1u << SESSION_ENDED | 1u << SESSION_CLOSED,
		[SESSION_PAUSED] = 1u << SESSION_FLOWS | 1u << SESSION_ENDED | 1u << SESSION_CLOSED,
		[SESSION_ENDED] = 1u << SESSION_CLOSED,
		[SESSION_CLOSED] = 0,
	};

	return next[from] >> to & 1u;
}

static inline bool due_may(enum slot_due from, enum slot_due to)
{
	static const uint8_t next[] = {
		[DUE_NOTHING] = 1u << DUE_FLUSH | 1u << DUE_DISCARD,
		[DUE_FLUSH] = 1u << DUE_NOTHING | 1u << DUE_DISCARD,
		[DUE_DISCARD] = 1u << DUE_NOTHING,
	};

	return next[from] >> to & 1u;
}
