/* Inside relay/cli: what the process is to its system. */
#pragma once

#include <stddef.h>

/* Tells the service manager (sd_notify(3) protocol: a datagram to $NOTIFY_SOCKET); does nothing
 * when there is none. */
void notify_manager(const char *state);
/* Changes to user and group for good, with no supplementary groups. NULL user: stays. 0 or -errno
 * with a sentence in error. */
int drop_privileges(const char *user, const char *group, char *error, size_t error_max);
/* Raises the limit of open files as far as allowed. Returns it. */
unsigned long raise_file_limit(void);
