/* What is told of an end: expire.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

struct report *report_for(
	struct message *m, struct item *i, enum dsn_action action, const char *status);
/* Removed, or returned to its sender, by the operator; told in the log. */
void end_by_operator(struct dispatch *d, struct message *m, struct item *i, bool remove);
void settle_expire(struct dispatch *d, struct message *m, struct item *i);
