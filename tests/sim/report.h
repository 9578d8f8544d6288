#pragma once

#include "sim.h"

void report_gauge(struct buf *b, const struct gauge *g);
void report_gauges(struct buf *b, const struct ledger *l, int kind); /* kind < 0: all */
void report_violations(struct buf *b, const struct ledger *l);
void report_rules(struct buf *b, const struct scenario *sc);
