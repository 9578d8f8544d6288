/* Inside relay/ops: counters of all workers together. */
#pragma once

#include "postern/ops.h"

void inbound_totals(const struct ops_context *ctx, struct inbound_stats *ret);
void outbound_totals(const struct ops_context *ctx, struct outbound_stats *ret);
