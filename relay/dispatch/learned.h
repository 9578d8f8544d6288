/* The learned state, read and saved: learned.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void state_load(struct dispatch *d);
void state_save(struct dispatch *d);
