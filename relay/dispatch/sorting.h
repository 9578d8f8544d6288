/* What becomes of the recipients of one work, while they are sorted: each is settled, or goes back
 * into its flow. The dispatcher's thread alone.
 *
 * begin: {} with d, message, flow → each recipient to sorting_settle, _work, _bounce or _defer → end */
#pragma once

#include "dispatcher.h"

struct sorting {
	struct dispatch *d;
	struct connection *c;	     /* NULL: none */
	struct outbound_transact *t; /* NULL: none was made */
	struct policy_txn *txn;	     /* with t */
	struct message *message;
	struct policy_tried tried;
	struct flow *flow;
	const char *mx; /* of the recipients' own domain; with c */
	struct item *settled;
	struct work *again, *diverted; /* to be tried at once: the same way; on another subnet */
	bool went_wrong;	       /* the connection is ending */
	bool lesson;		       /* it failed by what the host offers and cannot do */
	uint32_t accepted;	       /* recipients that it took in this transaction */
	bool too_many;		       /* it said so */
};

/* What `show` and a later notification know of this attempt. */
void sorting_remember(
	struct sorting *s, struct item *i, const char *reply, uint16_t code, enum verdict v);
/* reply, verdict, cause, reason: NULL: none. next: wall; 0: none. */
void sorting_log(struct sorting *s, const struct item *i, enum log_event_kind event,
	const struct reply *r, const char *verdict, const char *cause, const char *reason,
	ms_t next);
void sorting_settle(struct sorting *s, struct item *i); /* its end is set */
void sorting_work(struct sorting *s, struct work **w, struct item *i);
void sorting_bounce(struct sorting *s, struct item *i, const char *status, const char *reason);
void sorting_defer(struct sorting *s, struct item *i, ms_t delay); /* uses up a retry */
void sorting_end(struct sorting *s);
