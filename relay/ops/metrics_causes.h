#pragma once

#include "control.h"

int metrics_causes(struct buf *out, const struct ops_context *ctx); /* 0, -ENOMEM */
