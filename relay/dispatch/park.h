/* Mail that waits long, in the queue alone: park.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void park_flow(struct dispatch *d, struct flow *f); /* all that is ready in it */
/* This has come, and waits with what is parked of its pool. */
void park_joined(
	struct dispatch *d, struct domain *m, const struct party *p, const struct message *msg);
void park_gone(struct dispatch *d, const struct flow *f); /* something of it goes */
void park_ask(struct dispatch *d, struct domain *m); /* the operator wants its mail to be tried */
void park_forget(struct dispatch *d, struct domain *m);
void park_over(struct dispatch *d); /* the time of some has come */
void park_wake(struct dispatch *d); /* something that they may wait for has ended */
