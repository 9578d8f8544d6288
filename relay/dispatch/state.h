/* Entries of the learned state on their way to disk: state.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* One entry, with the next commit; value.p NULL: it goes. 0, -ENOMEM. */
int state_put(struct dispatch *d, struct slice key, struct slice value);
void warmup_save(struct dispatch *d); /* what may be used soon, before it is */
void state_answer(struct dispatch *d, struct queue_job *j);
struct saving;
struct saving *saving_new(void); /* NULL: no memory */
void saving_add(void *saving, struct slice key, struct slice value);
void saving_post(struct dispatch *d, struct saving *s); /* or frees it, when it is empty */
