/* Inside relay/cli: the running relay: everything that `postern run` starts, in the order in which
 * it must start and stop. */
#pragma once

#include "postern/config.h"
#include "postern/ops.h"

struct service;
/* Binds, opens the queue, drops privileges, starts all threads. Takes c. On failure the reason is
 * in error. Returns an exit code of sysexits.h, 0 when it runs. */
int service_start(struct service **ret, struct config *c, char *error, size_t error_max);
/* Reads the configuration file again; on errors the old one stays. Appends errors, or what needs a
 * restart, to why. Any thread. */
int service_reload(struct service *s, struct buf *why);
/* Ends politely: no new mail, running transactions finish within the deadline. stop: descriptor
 * that becomes readable when there is no more time (a second SIGTERM); -1 for none. */
void service_drain(struct service *s, int stop);
struct service *service_free(struct service *s);
struct log *service_log(struct service *s);
const char *service_pid_file(const struct service *s); /* of the start; NULL: none */
