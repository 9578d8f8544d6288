/* Inside relay/daemon: what the process is to its system. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Tells the service manager (sd_notify(3) protocol: a datagram to $NOTIFY_SOCKET); does nothing
 * when there is none. */
void notify_manager(const char *state);

/* ---- privilege.c ---- */

/* For every relay, whoever it runs as: no_new_privs, no ambient capabilities, not dumpable, umask
 * 0027. Before any thread is made. */
void privilege_harden(void);
/* Changes to user and group for good, with no supplementary groups and an empty bounding set. NULL
 * user: stays. 0 or -errno with a sentence in error. */
int privilege_drop(const char *user, const char *group, char *error, size_t error_max);
/* Root, and nobody wrote that it is to be. */
bool privilege_stays_root(const char *user);

/* ---- pid_file.c ---- */

struct pid_file {
	char *path; /* NULL: none */
	int fd;	    /* locked */
};
/* 0, or -errno with a sentence in error. path NULL: none is wanted. */
int pid_file_write(struct pid_file *f, const char *path, char *error, size_t error_max);
void pid_file_remove(struct pid_file *f); /* if it is ours still */

/* Raises the limit of open files as far as allowed. Returns it. */
unsigned long raise_file_limit(void);
