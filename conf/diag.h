/* What is wrong with a configuration: collected in any order, told by line. */
#pragma once

#include "postern/arena.h"
#include "postern/buf.h"

struct diag_entry {
	struct diag_entry *next;
	unsigned line, number; /* number: order of finding, for equal lines */
	bool warning;
	const char *text;
};
struct diag {
	struct arena arena;
	struct diag_entry *first;
	unsigned count, errors;
	bool no_memory;
};

void diag_init(struct diag *d);
void diag_deinit(struct diag *d);
void diag_error(struct diag *d, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void diag_warning(struct diag *d, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "file:line: text" each. 0, -ENOMEM. */
int diag_print(const struct diag *d, const char *file, struct buf *out);
