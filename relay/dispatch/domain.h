/* Recipient domains, and when each is read: domain.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* Where nobody knows yet whether mail can go, a little of it in memory is enough to find out: a
 * million messages for a receiver that is down are not to be read again and again. */
static inline bool domain_probing(const struct domain *m)
{
	return !m->route || m->parking.all;
}

struct domain *domain_get(struct dispatch *d, const char *name); /* NULL: no memory */
struct domain *domain_find(struct dispatch *d, const char *name);
/* What decides when the domain is read; in NULL: the event has no more to tell. The one way to
 * change its feed: keeps the lists and the timer of its state. */
void domain_feed(struct dispatch *d, struct domain *m, enum feed_event e, struct feed_in *in);
void domain_due(struct dispatch *d, struct domain *m, ms_t due); /* FEED_ON_MAIL */
void domain_touch(struct dispatch *d, struct domain *m);	 /* after something left memory */
/* Nothing of it is in memory, in the queue, or parked. */
bool domain_empty(const struct domain *m);
void domain_sweep(struct dispatch *d);
void domains_free(struct dispatch *d);
/* Items come into memory; or leave it: < 0. */
void domain_holds(struct dispatch *d, struct domain *m, int items);
