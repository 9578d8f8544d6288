/* A configuration being read: the text's two readings, the lines (scan) and the values
 * (libconfuse), together with what is made of them. */
#pragma once

#include <confuse.h>

#include "diag.h"
#include "option.h"
#include "scan.h"

struct source {
	struct scan scan;
	cfg_t *cfg;
	const struct schema *schema;
	void *base; /* struct config or struct scenario */
	cfg_opt_t *opts[SCHEMA_SECTIONS_MAX];
	struct config *config; /* base, when it is that */
	struct diag *diag;
	bool on_machine; /* for this machine: look at it, too */
	bool whole;	 /* read to its end: what is missing is really missing */
};

/* ---- parse.c: the text through libconfuse ---- */

/* text is NUL-terminated and changed. 0, -ENOMEM; errors of syntax go to the diagnosis. */
int source_parse(struct source *s, char *text);
void source_deinit(struct source *s);
/* The section as libconfuse has it; NULL when it was not given, or not reached. */
cfg_t *source_section(const struct source *s, unsigned id, unsigned i);
unsigned source_count(const struct source *s, unsigned id);
/* Number of values given for an option, and one of them. */
unsigned source_values(cfg_t *cfg, const char *option);
const char *source_value(cfg_t *cfg, const char *option, unsigned i);
bool source_flag(cfg_t *cfg, const char *option);

/* ---- bind.c: values into the parameters ---- */
int source_bind(struct source *s);
/* Of the configuration or scenario, by its tables. */
void schema_free(const struct schema *k, void *base);

/* ---- check.c, check_listener.c, check_warmup.c: what no single option can tell ---- */
int source_check(struct source *s);
int source_check_listeners(struct source *s);
/* What the plans mean together; after warmup.c. */
void source_check_warmups(struct source *s);
/* check_machine.c */
void source_check_machine(struct source *s);
bool config_has_pool(const struct config *c, const char *name);
int config_find_source(const struct config *c, struct slice name); /* index, or -1 */

/* ---- warmup.c: plans into the policy's parameters ---- */

/* Tells what is wrong with a plan by itself. What could not be understood has no rungs or no
 * sources then, and is passed over in further checks. 0, -ENOMEM. */
int source_bind_warmups(struct source *s);
void config_free_warmups(struct policy_params *p);

/* Bounded. 0, -errno. */
int config_read_file(const char *path, struct buf *out);

/* "listener \"internal\": " for messages, borrowed until the next call with the same buffer. */
const char *section_label(char out[96], const struct section *kind, const char *title);
