/* Places for connections to hosts that were never seen well: opening.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

bool opening_proven(const struct dispatch *d, const struct addr *a);
void opening_prove(struct dispatch *d, struct host *h);
/* May a connection be opened for the domain, as far as the share of unproven hosts goes? */
bool opening_room(struct dispatch *d, const struct domain *m);
void opening_begin(struct dispatch *d, struct connection *c, struct client_timeouts *t);
void opening_end(struct dispatch *d, struct connection *c, bool well); /* up or down */
