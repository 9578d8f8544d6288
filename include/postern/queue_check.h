/* The queue as a whole looked at, and mended. */
#pragma once

#include "postern/queue.h"

/* Reads the whole queue and reports each inconsistency as one line; damaged records are counted
 * and, with repair, set aside into the `damaged` database. Without, in snapshots of less than a
 * second (of pages: five), so that a relay that writes meanwhile can use the space it frees; what
 * could not be compared for that is told in lines that begin with "note: ". 0 when clean, 1 when
 * something was found, -errno. */
int queue_check(struct queue *q, bool repair, void (*say)(void *arg, const char *line), void *arg);
