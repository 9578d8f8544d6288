/* What a log line tells of: its `event`. All are in one of two tables: this one, and POLICY_EVENTS
 * (policy.h) for what the policy finds. The manual page postern(8) names each (tests/lint/docs.py). */
#pragma once

#include <stdbool.h>

/* X(ID, name, ends an attempt: one is counted with it) */
#define LOG_EVENTS(X)                                                                              \
	/* of a recipient */                                                                       \
	X(ACCEPTED, "accepted", false)                                                             \
	X(DELIVERED, "delivered", true)                                                            \
	X(DEFERRED, "deferred", true)                                                              \
	X(HELD, "held", false)                                                                     \
	X(BOUNCED, "bounced", true)                                                                \
	X(EXPIRED, "expired", false)                                                               \
	X(REMOVED, "removed", false)                                                               \
	/* of clients */                                                                           \
	X(REJECTED, "rejected", false)                                                             \
	X(NOT_ACCEPTED, "not-accepted", false)                                                     \
	X(NOT_SIGNED, "not-signed", false)                                                         \
	X(SESSION_ENDED, "session-ended", false)                                                   \
	/* of receivers */                                                                         \
	X(CONNECT_FAILED, "connect-failed", false)                                                 \
	X(SOURCE_UNAVAILABLE, "source-unavailable", false)                                         \
	X(TLS_FAILED, "tls-failed", false)                                                         \
	X(EXTENSION_FAILED, "extension-failed", false)                                             \
	/* of the relay's life */                                                                  \
	X(STARTED, "started", false)                                                               \
	X(DESCRIPTORS, "descriptors", false)                                                       \
	X(LISTENING, "listening", false)                                                           \
	X(LISTEN_FAILED, "listen-failed", false)                                                   \
	X(HTTP, "http", false)                                                                     \
	X(ROOT, "root", false)                                                                     \
	X(UNREADABLE, "unreadable", false)                                                         \
	X(RELOADED, "reloaded", false)                                                             \
	X(RELOAD_FAILED, "reload-failed", false)                                                   \
	X(LOG_REOPEN, "log-reopen", false)                                                         \
	X(LOG_DROPPED, "log-dropped", false)                                                       \
	X(STOPPING, "stopping", false)                                                             \
	X(DRAINED, "drained", false)                                                               \
	/* of its queue, memory and clock */                                                       \
	X(QUEUE_READER, "queue-reader", false)                                                     \
	X(QUEUE_READ_FAILED, "queue-read-failed", false)                                           \
	X(QUEUE_DAMAGED, "queue-damaged", false)                                                   \
	X(SETTLE_FAILED, "settle-failed", false)                                                   \
	X(NOTIFICATION_FAILED, "notification-failed", false)                                       \
	X(STATE_IGNORED, "state-ignored", false)                                                   \
	X(STATE_UNREAD, "state-unread", false)                                                     \
	X(HISTORY_UNREAD, "history-unread", false)                                                 \
	X(HISTORY_DAMAGED, "history-damaged", false)                                               \
	X(OUT_OF_MEMORY, "out-of-memory", false)                                                   \
	X(CLOCK_SET, "clock-set", false)

enum log_event_kind {
#define X(id, name, ends_attempt) EVENT_##id,
	LOG_EVENTS(X)
#undef X
		EVENT_COUNT
};
const char *log_event_name(enum log_event_kind e);
bool log_event_ends_attempt(enum log_event_kind e);
