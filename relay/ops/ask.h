/* Asking the dispatcher something from another thread, and waiting for the answer. */
#pragma once

#include <pthread.h>

#include "postern/dispatch.h"

/* Runs fn on the dispatcher's thread; returns when it has returned. Not on that thread. */
void ask(struct dispatch *d, void (*fn)(struct dispatch *d, void *arg), void *arg);

/* One operator's action on the queue, until it is committed: its result (as
 * dispatch_task says: 0, -ENOENT, -EBUSY, -ENOSPC, -EIO), and *changed recipients.
 * tell: called about once a second meanwhile, in this thread; NULL: not. */
int ask_operate(struct dispatch *d, const struct dispatch_task *t, uint64_t *changed,
	void (*tell)(void *arg, uint64_t so_far), void *arg);
