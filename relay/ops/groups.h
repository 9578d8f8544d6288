/* Inside relay/ops: what waits, counted in groups. */
#pragma once

#include "control.h"

struct groups;
struct groups *groups_new(ms_t wall); /* NULL: no memory */
/* One recipient more of that name. Those of one message follow each other. */
void groups_add(struct groups *g, struct slice name, uint64_t id, ms_t arrived);
/* The most first, limit at most; frees them. */
void groups_say(struct control_client *c, struct groups *g, const char *by, uint64_t limit);
