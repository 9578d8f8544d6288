/* Between postfix.c (what parameters mean) and postfix_cf.c (Postfix's files as texts). */
#pragma once

#include "import.h"

#define CF_OVERRIDES_MAX 64u

struct cf_param {
	struct cf_param *next;
	char *name, *raw;
	struct origin at;
	bool used;
};
struct cf {
	struct import *im;
	struct cf_param *first, *last;
	unsigned n;
	const char *pool;   /* of what comes in; NULL: the only one */
	const char *reason; /* of the table that is being noted */
};
/* Of master.cf. */
struct cf_service {
	char *name, *type, *command;
	char *names[CF_OVERRIDES_MAX], *values[CF_OVERRIDES_MAX]; /* of -o */
	unsigned n;
};

/* The next logical line into line, *first its number. False: there is none. */
bool cf_line(struct slice *left, unsigned *number, struct buf *line, unsigned *first);
void cf_read(struct cf *cf, const char *file, struct slice text);
void cf_set(struct cf *cf, struct slice line, const struct origin *at);
const struct cf_param *cf_find(struct cf *cf, const char *name);
const char *cf_expand(struct cf *cf, const char *text); /* never NULL */
const char *cf_value(struct cf *cf, const char *name);	/* expanded; NULL: not set */
bool cf_service(struct import *im, struct slice line, struct cf_service *ret);
/* As the service has it: its own, else main.cf's. */
const char *cf_service_value(struct cf *cf, const struct cf_service *s, const char *name);
void cf_table(struct cf *cf, const char *table, const struct origin *from,
	void (*each)(void *arg, struct slice key, struct slice value, const struct origin *at),
	void *arg);
