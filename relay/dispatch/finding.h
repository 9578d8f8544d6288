/* What we found out ourselves about waiting work, and what that means for all its recipients:
 * finding.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

enum finding_end { FINDING_DEFERS, FINDING_BOUNCES };
struct own_finding {
	enum finding_end end;
	const char *status;	 /* of a notification; it decides nothing */
	const char *text;	 /* NULL: the reason's */
	enum hold_reason reason; /* of one that defers */
};
void finding_local(struct dispatch *d, struct work *w, const struct own_finding *f);
/* It goes back to the queue for a while; no retry is used up. */
void finding_waits(struct dispatch *d, struct work *w, ms_t wait, enum hold_reason why);
/* All that waits for this domain meets it. */
void finding_domain(struct dispatch *d, struct domain *m, enum finding_end end, const char *status,
	const char *text);
void finding_no_host(struct dispatch *d, struct domain *m); /* none is left: defers all */
