/* What is wrong with a configuration: collected in any order, told by file and line.
 *
 * A `line`, here and in all of conf, counts the lines of all files that were read, one file behind the
 * other: so it says the file, too, and the first file's lines have their own numbers. */
#pragma once

#include "postern/arena.h"
#include "postern/buf.h"

struct diag_entry {
	struct diag_entry *next;
	unsigned line, number; /* number: order of finding, for equal lines */
	bool warning;
	const char *text;
};
/* A file that was read: its lines are base + 1 and on. */
struct diag_file {
	struct diag_file *next;
	char *path;
	unsigned base;
};
struct diag {
	struct diag_file *files, *last;
	unsigned lines; /* of all files so far */
	struct arena arena;
	struct diag_entry *first;
	unsigned count, errors;
	bool no_memory;
};

void diag_init(struct diag *d);
void diag_deinit(struct diag *d);
#define DIAG_WHERE_MAX 400
/* Adds a file; *base is the line before its first. 0, -ENOMEM. */
int diag_add_file(struct diag *d, const char *path, struct slice text, unsigned *base);
/* "line 5", and of which file, if that is not the one of line `from`. */
const char *diag_where(
	const struct diag *d, unsigned line, unsigned from, char out[DIAG_WHERE_MAX]);
void diag_error(struct diag *d, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void diag_warning(struct diag *d, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "file:line: text" each. 0, -ENOMEM. */
int diag_print(const struct diag *d, struct buf *out);
