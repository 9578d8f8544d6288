/* Inside relay/dispatch: the set of standing orders; see orders.c. */
#pragma once

#include "dispatcher.h"

#define ORDERS_PREFIX "order/"
#define ORDER_KEY     24
struct order {
	struct order *next;
	uint32_t number;
	struct selector *which;
	bool ending, of_domain;
	ms_t since, until; /* wall; until 0: until it is released */
	char who[64], reason[256];
};
int order_load(void *dispatch, struct slice key, struct slice value);
int order_set(struct dispatch *d, const struct dispatch_order *given, struct order **ret);
void order_drop(struct dispatch *d, struct order *o);
void order_key(const struct order *o, char key[ORDER_KEY]);
int order_record(const struct order *o, struct buf *out);
struct order *order_same(const struct dispatch *d, const struct selector *which);
struct order *order_numbered(const struct dispatch *d, uint32_t number);
/* That holds this recipient; NULL: none. Those of domains are not looked at: hold.c. */
const struct order *order_of(
	const struct dispatch *d, const struct message *m, const struct recipient *r);
void orders_free(struct dispatch *d);
