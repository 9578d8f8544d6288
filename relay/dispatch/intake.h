/* What comes into memory, fresh or due: intake.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void intake_fresh(void *arg, struct mpsc_node *first);
void intake_due(struct dispatch *d); /* has readings made */
void intake_readings(void *arg, struct mpsc_node *first);
int intake_start(struct dispatch *d);
/* Expires and notifies what waits in a flow for long. */
void flow_age(struct dispatch *d, struct flow *f);
