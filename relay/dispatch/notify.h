/* Notifications that wait for company: notify.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* Takes those whose notification waits for company; returns the others. */
struct item *notify_gather(struct dispatch *d, struct message *m, struct item *items);
void notify_tell(struct dispatch *d, struct gathering *g);
void notify_tell_all(struct dispatch *d);
void notify_sweep(struct dispatch *d);
void notify_free(struct dispatch *d);
