/* Others' mail behind what fills a domain's window: ahead.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void ahead_turn(struct dispatch *d);
ms_t ahead_next(const struct dispatch *d); /* mono; when to have a turn; 0: not needed */
void ahead_taken(struct dispatch *d);
