/* Connections of a lane: a window that grows by deliveries and shrinks by refusals. Times are mono. */
#pragma once

#include "postern/policy.h"

struct lane;

uint32_t window_start(uint32_t cap);
void window_good(struct policy *p, struct lane *l, uint32_t n, ms_t mono);
void window_throttled(struct lane *l, ms_t mono, bool at_connect);
/* Something else explains the refusals that made it smaller. */
void window_excuse(struct lane *l);
void window_slow_start(struct lane *l, ms_t mono);
