/* Connections by number, and the orders to workers: connection.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

int connection_open(struct dispatch *d, struct flow *f, const struct policy_choice *c);
void connection_up(struct dispatch *d, struct outbound_event *e);
void connection_down(struct dispatch *d, struct outbound_event *e);
void connection_ended(
	struct dispatch *d, struct connection *c); /* a transaction of one that is down came back */
struct connection *connection_by_number(struct dispatch *d, uint64_t number);
bool connection_quit(struct dispatch *d, struct connection *c); /* false: no memory */
void connections_wake(struct dispatch *d);
void connection_woken(struct dispatch *d, struct connection *c);
void order_post(struct dispatch *d, struct connection *c, struct outbound_order *o);
