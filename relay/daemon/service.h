/* Inside relay/daemon: the running relay: everything that `postern run` starts, in the order in which
 * it must start and stop. */
#pragma once

#include "postern/config.h"
#include "postern/ops.h"

struct service;
/* Binds, opens the queue, drops privileges, starts all threads. Takes c. On failure the reason is
 * in error. Returns an exit code of sysexits.h, 0 when it runs. */
int service_start(struct service **ret, struct config *c, char *error, size_t error_max);
/* Reads the configuration and the files that it names again; on errors the old ones stay, whole.
 * Appends errors, or warnings, to why, and to restart the options that differ and that only a
 * restart takes over. Any thread. */
int service_reload(struct service *s, struct buf *why, struct buf *restart);
/* The values in force, as `postern check --dump` has them. Any thread. */
int service_running(struct service *s, struct buf *out);
/* Whether the last reload failed; certificates. Any thread. */
void service_files(struct service *s, struct ops_files *ret);
/* Ends politely: no new mail, running transactions finish within the deadline. stop: descriptor
 * that becomes readable when there is no more time (a second SIGTERM); -1 for none. */
void service_drain(struct service *s, int stop);
struct service *service_free(struct service *s);
/* ---- watchdog.c ---- */

struct watchdog;
/* NULL: the manager asks for none. Freed after the service. */
struct watchdog *watchdog_new(struct service *s);
int watchdog_wait(const struct watchdog *w); /* ms until the next tick; -1: none. NULL-safe */
void watchdog_tick(struct watchdog *w); /* says so, if it is time and all are well. NULL-safe */
struct watchdog *watchdog_free(struct watchdog *w);

struct log *service_log(struct service *s);
const char *service_pid_file(const struct service *s); /* of the start; NULL: none */
