/* What a worker hands back of a transaction: result.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void result_take(struct dispatch *d, struct connection *c, struct outbound_transact *t);
/* A reply that ended the session before this waiting work could be offered. */
void result_refused(struct dispatch *d, struct connection *c, struct work *w,
	const struct classification *k, const struct reply *r);
