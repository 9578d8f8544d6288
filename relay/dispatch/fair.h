/* Who gets room in memory, and which domain is read next: fair.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

bool fair_room(struct dispatch *d, struct domain *m, const struct party *p);
uint32_t fair_window_end(const struct dispatch *d);   /* what is kept of a window included */
uint32_t fair_unrouted_max(const struct dispatch *d); /* recipients without a route, in memory */
uint64_t fair_body_max(const struct dispatch *d, const struct party *p); /* bytes */
/* Recipients in memory up to which this domain is read. */
uint32_t fair_due_max(const struct dispatch *d, const struct domain *m);
struct domain *fair_due(struct dispatch *d); /* the next to be read now; NULL: none */
