/* Flows, and the work in them: flow.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

static inline void flow_ask(struct dispatch *d, struct flow *f) /* looked at in this turn */
{
	waiter_ask(&d->match.places, &f->match.waiter);
}
/* Which flow: of this pool and sender's domain; and whether its work is diverted, or set aside. */
struct flow_kind {
	struct pool *pool;
	struct party *party;
	bool diverted;
	enum hold_reason aside; /* SENDER, RECIPIENT or NONE */
};
struct flow *flow_find(struct dispatch *d, struct domain *m, const struct flow_kind *k);
struct flow *flow_get(struct dispatch *d, struct domain *m, const struct flow_kind *k);
void flows_sweep(struct dispatch *d); /* at the end of a turn: when many are empty */
void flow_push(struct dispatch *d, struct flow *f, struct work *w, bool front);
void flow_remove(struct dispatch *d, struct work *w);
void flow_wait_over(struct dispatch *d, struct flow *f);
void flow_link(struct dispatch *d, struct flow *f);
void want_of(const struct flow *f, const struct work *w, struct policy_want *ret);
bool flows_idle(const struct domain *m);
void flows_free(struct dispatch *d, struct domain *m);
