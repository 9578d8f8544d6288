/* Inside relay/ops: the history's answers as JSON, for the control socket and HTTP. (history.c) */
#pragma once

#include <jansson.h>

#include "postern/history.h"
#include "postern/ops.h"

/* What was asked, as texts; NULL: the default. */
struct history_asked {
	const char *by;	   /* lane, source, subnet … ; total */
	const char *step;  /* minute, hour, day; hour */
	const char *since; /* duration until now; 24h */
	const char *of;	   /* only lines with this name; all */
	bool sum;	   /* all of the time as one */
};
struct history_answer {
	struct history_question q;
	struct history_view *view;
};
/* Puts the question to the dispatcher's thread. 0; -EINVAL with a sentence, -ENOMEM. */
int history_ask(struct history_answer *a, const struct ops_context *ctx,
	const struct history_asked *asked, char *error, size_t error_max);
void history_answer_free(struct history_answer *a);
/* by, step, from, to, and complete_since: earlier periods had to go; null: nothing had to. */
json_t *history_about(const struct history_answer *a);
/* One line. */
json_t *history_row(const struct history_answer *a, ms_t start, const struct history_cell *c);
