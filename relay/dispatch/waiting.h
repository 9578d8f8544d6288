/* Flows that wait: waiting.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void flow_wait(struct dispatch *d, struct flow *f, enum hold_reason reason, ms_t until);
/* The same with the place that the policy named. */
void flow_wait_at(struct dispatch *d, struct flow *f, const struct policy_choice *why);
void flow_crowded(struct dispatch *d, struct flow *f); /* something was put into it */
void flows_make_room(struct dispatch *d);	       /* once a second */
void flows_wake(
	struct dispatch *d); /* those that wait for a rest or back-off of the policy to end */
void work_place(struct dispatch *d, struct work *w, struct domain *m); /* into its flow */
