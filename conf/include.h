/* Files that a configuration includes. */
#pragma once

#include <glob.h>
#include <stdbool.h>
#include <sys/types.h>

#include "postern/buf.h"

#define INCLUDE_DEPTH 8u
#define INCLUDE_FILES 1000u
/* Bytes of all files together: room for tens of thousands of sources. */
#define CONFIG_BYTES (16u << 20)

struct include_list {
	glob_t found;
	unsigned n;
};
/* What a pattern in the file `from` names. 0, -ENOENT: a name without a file, -errno. */
int include_find(struct include_list *ret, const char *from, const char *pattern);
void include_list_free(struct include_list *l); /* also after a failure */

/* A file being read, and those that led to it. */
struct include_file {
	const char *path;
	const struct include_file *outer;
	unsigned depth;
	dev_t device;
	ino_t inode;
};
/* The first file, which was read already. */
void include_is(struct include_file *f, const char *path);
/* Reads it. -ELOOP: it is open already; -EINVAL: no regular file; -errno. */
int include_open(struct include_file *f, const char *path, const struct include_file *outer,
	struct buf *text);
