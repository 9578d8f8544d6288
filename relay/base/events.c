/* The names of log events. Called by whoever logs, on any thread; pure. */
#include "postern/events.h"

static const struct {
	const char *name;
	bool ends_attempt;
} rows[EVENT_COUNT] = {
#define X(id, name, ends_attempt) [EVENT_##id] = { name, ends_attempt },
	LOG_EVENTS(X)
#undef X
};

const char *log_event_name(enum log_event_kind e)
{
	return rows[e].name;
}

bool log_event_ends_attempt(enum log_event_kind e)
{
	return rows[e].ends_attempt;
}
