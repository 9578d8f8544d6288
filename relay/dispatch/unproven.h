/* Connections to hosts that nobody has seen well: unproven.c. The dispatcher's thread alone. party: the
 * places of whose mail it is; NULL: of many. */
#pragma once

#include "dispatcher.h"

void unproven_known(const struct dispatch *d, struct host *h); /* fills in what is remembered */
/* May a connection be opened for it, as far as the share of unproven hosts goes? If not, it looks
 * again when a place is left. */
bool unproven_room(struct dispatch *d, struct flow *f, const struct opening_party *party);
void unproven_begin(struct dispatch *d, struct connection *c, struct opening_party *party,
	struct client_timeouts *t);
void unproven_up(struct dispatch *d, struct connection *c);
void unproven_result(struct dispatch *d, struct connection *c, const struct outbound_transact *t);
void unproven_gone(struct dispatch *d, struct connection *c);
/* True: it did not come up in the time that we gave it, which was short. */
bool unproven_down(struct dispatch *d, struct connection *c, int error);
