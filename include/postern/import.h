/* Configurations of other relays, read and written anew as Postern's: `postern import`. No threads;
 * nothing is read but through the caller's function, and files that options name are looked at as
 * `postern check` does. */
#pragma once

#include "postern/buf.h"

/* The text of a file of the other relay. 0, or -errno: it is then said in the notes. */
typedef int import_read_fn(void *arg, const char *path, struct buf *out);

/* Append to out a configuration that `postern check` has nothing against, each line with where it
 * comes from, and to notes a line for each thing that was not taken over, with the reason; the same
 * lines end the configuration as comments. 0; 1: something needs a hand before the configuration is
 * right, which notes tells; -ENOMEM, -EFBIG (more than a megabyte of sections). */

/* dir: where main.cf and master.cf are (each may be missing); tables that they name are read as
 * texts, the ones that postmap reads. */
int import_postfix(
	struct buf *out, struct buf *notes, const char *dir, import_read_fn *read, void *arg);
/* path: the configuration file; those that it includes are read as well. */
int import_powermta(
	struct buf *out, struct buf *notes, const char *path, import_read_fn *read, void *arg);
