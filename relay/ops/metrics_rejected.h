#pragma once

#include "postern/ops.h"

int metrics_rejected(struct buf *out, const struct ops_context *ctx); /* 0, -ENOMEM */
