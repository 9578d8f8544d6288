#pragma once

#include "postern/ops.h"

/* Whether the configuration in force is what the files say; when certificates end. */
int metrics_files(struct buf *out, const struct ops_context *ctx); /* 0, -ENOMEM, -ENOBUFS */
