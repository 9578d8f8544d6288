/* Pools by name: pool.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* For new parameters: what pools_adopt needs, before anything is changed. 0, -ENOMEM. */
int pools_reserve(struct dispatch *d, unsigned nsources, bool ***ret);
void pools_unreserve(struct dispatch *d, bool **has); /* NULL-safe */
void pools_adopt(struct dispatch *d, bool **has); /* binds all to the policy's numbers; takes has */
struct pool *pool_get(struct dispatch *d, const char *name);
