/* Inside relay/ops: the page for people. */
#pragma once

#include "postern/ops.h"

/* Asks the dispatcher; not on its thread. 0, -ENOMEM/-ENOBUFS. */
int page_render(struct buf *out, const struct ops_context *ctx);
extern const char page_style[];
