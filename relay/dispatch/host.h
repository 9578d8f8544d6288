/* Hosts that fail, and where mail goes then: host.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* A connection that did not come up; k: what was said, NULL: nothing. Gives the work of f, if any,
 * another way or a pause. */
void host_not_reached(struct dispatch *d, struct connection *c, struct flow *f,
	const struct classification *k, const char *text);
/* It was given little time, and is to have more later. */
void host_cut_short(struct dispatch *d, struct connection *c, struct flow *f);
/* The same, refused for the source's sake. False: the domain has no other host to ask. */
bool host_refuses(struct dispatch *d, struct connection *c, struct flow *f,
	const struct classification *k, const char *text);
/* The host failed in a session: what the domain has left is to be tried at once. False: nothing. */
bool host_broke(struct dispatch *d, struct connection *c, struct domain *m,
	enum policy_host_fault fault, const char *why);
/* No source has a host left in this cycle. False: it is for nothing that failed. */
bool host_used_up(struct dispatch *d, struct domain *m);
/* It is not up yet: others may go another way. */
void host_late(struct dispatch *d, struct connection *c);
