/* What is told of an end: expire.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

struct report *report_for(
	struct message *m, struct item *i, enum dsn_action action, const char *status);
void settle_expire(struct dispatch *d, struct message *m, struct item *i);
