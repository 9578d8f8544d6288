/* The log of deliveries and of the policy's events: delivery_log.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void policy_log(void *dispatch, const struct policy_event *e);
struct log_attempt {
	enum log_event_kind event;
	bool attempted; /* an attempt ended with it, which the item has not counted yet */
	const struct message *message;
	const struct item *item;
	const struct connection *connection; /* NULL: none */
	const char *mx;			     /* the host as the recipient's domain names it */
	const struct outbound_transact *transact;
	const struct reply *reply;
	const char *status, *text; /* our own finding, without a reply */
	const char *verdict, *cause, *reason;
	ms_t next; /* wall; 0: none */
};
void delivery_log(struct dispatch *d, const struct log_attempt *a);
