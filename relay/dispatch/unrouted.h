/* Mail whose domain never had a route: unrouted.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void unrouted_known(struct dispatch *d, struct domain *m); /* has a route */
void unrouted_asked(struct dispatch *d, struct domain *m);
void unrouted_answered(struct dispatch *d, struct domain *m);
struct domain *unrouted_next(struct dispatch *d); /* to be read; NULL: none now */
