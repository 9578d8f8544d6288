#pragma once

#include "postern/ops.h"

/* Deliveries and their delays by lane and provider; the health of lanes. 0, -ENOMEM, -ENOBUFS. */
int metrics_history(struct buf *out, const struct ops_context *ctx);
/* The process, in the names that Prometheus' own clients use. */
int metrics_process(struct buf *out, const struct ops_context *ctx);
