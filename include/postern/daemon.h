/* The life of the relay as a process. */
#pragma once

#include "postern/config.h"

/* Starts the relay, serves until a signal ends it, and drains. Takes c. An exit code of sysexits.h;
 * what kept it from starting is in error. On the process's first thread, once. */
int daemon_run(struct config *c, const char *version, char *error, size_t error_max);
