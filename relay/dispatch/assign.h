/* What the scheduler decides, carried out: assign.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* What the scheduler decides is carried out here. */
extern const struct match_driver dispatch_driver;
void assign_flow(struct dispatch *d, struct flow *f);
