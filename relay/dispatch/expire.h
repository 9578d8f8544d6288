/* What is told of an end, and what we found out ourselves: expire.c, result.c. The dispatcher's thread
 * alone. */
#pragma once

#include "dispatcher.h"

struct report *report_for(
	struct message *m, struct item *i, enum dsn_action action, const char *status);
void settle_expire(struct dispatch *d, struct message *m, struct item *i);

/* ---- result.c ---- */
/* What we found out ourselves about waiting work, and what that means for all its recipients. */
enum finding_end { FINDING_DEFERS, FINDING_BOUNCES };
struct own_finding {
	enum finding_end end;
	const char *status;	 /* of a notification; it decides nothing */
	const char *text;	 /* NULL: the reason's */
	enum hold_reason reason; /* of one that defers */
};
void result_local(struct dispatch *d, struct work *w, const struct own_finding *f);
