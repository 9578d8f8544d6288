/* A configuration being read: what its files hold (scan.h), together with what is made of it:
 *
 *   text --scan.c--> options and values as text --bind.c--> parameters --check*.c--> judged together
 */
#pragma once

#include "diag.h"
#include "option.h"
#include "scan.h"

struct source {
	struct scan scan;
	const struct schema *schema;
	void *base;	       /* struct config or struct scenario */
	struct config *config; /* base, when it is that */
	struct diag *diag;
	bool on_machine; /* for this machine: look at it, too */
};

/* ---- bind.c: values into the parameters ---- */
int source_bind(struct source *s);
/* A flag that has no place in the parameters. */
bool source_flag(const struct scan_section *sec, const char *option);
/* Of the configuration or scenario, by its tables. */
void schema_free(const struct schema *k, void *base);

/* ---- check.c, check_listener.c, check_warmup.c: what no single option can tell ---- */
int source_check(struct source *s);
int source_check_listeners(struct source *s);
/* What the plans mean together; after warmup.c. */
void source_check_warmups(struct source *s);
/* check_machine.c */
void source_check_machine(struct source *s);
/* check_dkim.c. 0, -ENOMEM */
int source_check_dkims(struct source *s);

/* ---- find.c, read.c ---- */

bool config_has_pool(const struct config *c, const char *name);
int config_find_source(const struct config *c, struct slice name); /* index, or -1 */
/* The whole of it. 0, -EFBIG over CONFIG_BYTES, -ENOMEM, or the errno of reading. */
int config_read_file(const char *path, struct buf *out);

/* ---- warmup.c: plans into the policy's parameters ---- */

/* Tells what is wrong with a plan by itself. What could not be understood has no rungs or no
 * sources then, and is passed over in further checks. 0, -ENOMEM. */
int source_bind_warmups(struct source *s);
void config_free_warmups(struct policy_params *p);

/* "listener \"internal\": " for messages, borrowed until the next call with the same buffer. */
const char *section_label(char out[96], const struct section *kind, const char *title);
