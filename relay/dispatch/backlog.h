/* Mail that waits for new sources, counted: backlog.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void backlog_tick(struct dispatch *d); /* once a second */
void backlog_reset(struct dispatch *d);
