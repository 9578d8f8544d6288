/* JSON-line logs: the event log and the delivery log. A line is built by its thread in a log_line
 * (no locks, no allocation in the steady state), handed over whole, and written by the log's own
 * thread in batches. Bounded: past the buffer's limit lines are dropped and counted, never waited
 * for; the count is written as an event of its own when there is room again. When standard output
 * is the journal of systemd, each line has its priority in front, "<6>", which the journal takes off. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/buf.h"
#include "postern/clock.h"
#include "postern/events.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DBG };

struct log;
struct log_params {
	const char *file; /* "-": standard output */
	enum log_level level;
	uint64_t buffer_max; /* bytes waiting at most; 0: 16 MiB */
};

int log_open(
	struct log **ret, const struct log_params *p); /* 0, -errno of open or pthread_create */
struct log *log_close(struct log *l);		       /* writes what waits; NULL-safe */
int log_reopen(struct log *l); /* after SIGUSR1; any thread. Later lines go to the new file */
bool log_wants(const struct log *l, enum log_level level);
void log_set_level(struct log *l, enum log_level level);
uint64_t log_dropped(const struct log *l);

/* One JSON object under construction. `time`, and `event` or `level`+`message`, come first.
 * Text is escaped as JSON; invalid UTF-8 is replaced by U+FFFD. Values are cut at 2 KiB. */
struct log_line {
	struct buf b;
	bool failed; /* a part is missing (memory): log_emit drops the line and counts it */
	/* Priority in the journal: log_line_begin sets LOG_INFO, and its caller may set another. */
	enum log_level level;
};
void log_line_init(struct log_line *ln);
void log_line_deinit(struct log_line *ln);
/* event: a name of one of the tables of events. */
void log_line_begin(struct log_line *ln, ms_t wall, const char *event);
void log_line_str(
	struct log_line *ln, const char *key, struct slice v); /* left out when v.p is NULL */
void log_line_cstr(struct log_line *ln, const char *key, const char *v); /* left out when NULL */
void log_line_int(struct log_line *ln, const char *key, int64_t v);
void log_line_bool(struct log_line *ln, const char *key, bool v);
void log_line_time(struct log_line *ln, const char *key, ms_t wall); /* RFC 3339 */
/* Lines "Name: text" as an object {"Name":"text"}. */
void log_line_fields(struct log_line *ln, const char *key, struct slice lines);
void log_line_raw(struct log_line *ln, const char *key, struct slice json);
/* Closes the object and hands it over. Any thread. The line may be used again. l may be NULL: no
 * log. */
void log_emit(struct log *l, struct log_line *ln);
/* A service event: {"time","level","event","message"}. Any thread. Not for per-message use. */
void log_event(struct log *l, enum log_level level, enum log_event_kind event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Appends s as a quoted JSON string to b. */
int json_quote(struct buf *b, struct slice s);
