#pragma once

#include "postern/ops.h"

/* What waits, by pool, provider and reason, and the oldest of each pool, as counted last; nothing
 * before the first count. 0, -ENOMEM, -ENOBUFS. */
int metrics_queue(struct buf *out, const struct ops_context *ctx);
