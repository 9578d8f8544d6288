/* What is watched of the dispatcher's neighbours: watch.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void watch_tick(struct dispatch *d); /* once a second */
