/* What follows when a hold begins or ends: standing.c. The dispatcher's thread alone. */
#pragma once

#include "operation.h"
#include "orders.h"

/* What the operation changes of what is held with what comes. 0, or why it cannot. */
int standing_change(struct dispatch *d, const struct operation *o, const struct dispatch_task *t);
/* The operation is done: orders that it let go are gone. */
void standing_forget(struct dispatch *d, const struct operation *o);
/* The order holds nothing from here on; its mail is let go by an operation. 0, or why it cannot. */
int order_end(struct dispatch *d, struct order *o);
bool operation_ends(const struct operation *o, const struct order *order);
