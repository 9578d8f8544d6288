/* The part of /metrics that is about ramps. */
#pragma once

#include "postern/ops.h"

/* Asks the dispatcher; not on its thread. 0, -ENOMEM/-ENOBUFS. */
int metrics_warmup(struct buf *out, const struct ops_context *ctx);
