/* Parties, and what they have in memory: party.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* The pool's mail of the class and the sender's domain; NULL: no memory. It lives while it has mail or flows. */
struct party *party_get(struct dispatch *d, const struct message *m);
struct party *party_ref(struct party *p); /* NULL-safe, as the next */
void party_unref(struct dispatch *d, struct party *p);
struct pool *party_pool(const struct party *p);
unsigned party_rank(const struct party *p);	      /* NULL: of many */
void parties_adopt(struct dispatch *d);		      /* new parameters */
struct opening_party *party_opening(struct party *p); /* of NULL: NULL */
/* An item, and its work's others, take their party's share of memory; an item gives it back. */
void party_charge(struct dispatch *d, struct party *p, struct work *w);
void party_discharge(struct dispatch *d, struct item *i);
/* It has as much in memory as others have, or more: what is scarce goes to others first. */
bool party_has_much(const struct dispatch *d, const struct party *p);
bool pool_has_much(const struct dispatch *d, const struct pool *pool);
bool party_sent(const struct party *p, const struct message *m); /* any thread */
