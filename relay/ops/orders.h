/* Inside relay/ops: standing orders. */
#pragma once

#include "control.h"

struct order_words {
	char who[64];
	const char *reason; /* of the request */
	ms_t until;	    /* wall; 0: until it is released */
};
/* Who gives the order, why ("reason") and for how long ("for"). False: told the client what is
 * wrong. */
bool order_given(struct control_client *c, const json_t *request, struct order_words *ret);
void run_orders(struct control_client *c, const json_t *request);
