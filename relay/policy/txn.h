/* The handle of a transaction: see policy_txn in include/postern/policy.h. What counts for it is taken
 * when it begins, and given back here when it never did. */
#pragma once

#include "postern/policy.h"

struct slot;

/* Its slot, pool and count are set; the lane's rate has been charged for so many. */
void transaction_begin(struct policy *p, struct policy_now now, struct policy_txn *t);
/* A result of it is about to be told: its connection. */
struct slot *transaction_heard(struct policy *p, struct policy_txn *t);
