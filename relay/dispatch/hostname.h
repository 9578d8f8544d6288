/* PTR names of hosts: hostname.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void hostname_want(struct dispatch *d, const struct connection *c); /* is up */
void hostname_answer(void *dispatch, void *of, const char *name);
