/* What files of the configuration's syntax hold: known options and sections with their values, as text,
 * each with its line (diag.h). What is unknown, doubled or malformed is told and left out. */
#pragma once

#include "diag.h"
#include "lex.h"
#include "option.h"

struct scan_value {
	const char *text;
	unsigned line;
};
struct scan_option {
	struct scan_option *next;
	const struct option *option;
	unsigned line, nvalues;
	struct scan_value *values; /* a list grows with += */
};
struct scan_section {
	struct scan_section *next;
	const struct section *kind;
	unsigned line;
	const char *title; /* NULL for none */
	struct scan_option *options;
};
/* The sections of one kind, in the order of the files. */
struct scan_kind {
	struct scan_section **sections;
	unsigned n;
};
struct scan {
	struct arena arena;
	const struct schema *schema;
	struct scan_kind kinds[SCHEMA_SECTIONS_MAX]; /* as in the schema */
	bool broken; /* something could not be read to its end: what is missing may be there */
};

/* What is read. */
struct scan_input {
	const char *path;  /* for messages, and for what is included beside it */
	struct slice text; /* a NUL stands behind it */
	bool includes;	   /* path is a file, and may include others */
};

/* 0, -ENOMEM. */
int scan_text(
	struct scan *s, const struct schema *schema, const struct scan_input *in, struct diag *d);
void scan_deinit(struct scan *s);
/* All NULL-safe: a section that was not given has nothing. */
const struct scan_section *scan_find(
	const struct scan *s, const struct section *kind, unsigned index);
unsigned scan_count(const struct scan *s, const struct section *kind);
const struct scan_option *scan_given(const struct scan_section *sec, const char *option);
unsigned scan_values(const struct scan_section *sec, const char *option);
const char *scan_value(const struct scan_section *sec, const char *option, unsigned i);
/* Line of an option, or of one of its values (from 0); that of the section when it is not given. */
unsigned scan_line(const struct scan_section *sec, const char *option);
unsigned scan_value_line(const struct scan_section *sec, const char *option, unsigned value);

/* ---- unknown.c ---- */

/* A name that is not known in kind is told, with the likeliest remedy. */
void scan_tell_unknown(const struct scan *s, struct diag *d, const struct section *kind,
	const struct token *name, bool section);
const struct section *scan_kind_named(const struct schema *schema, struct slice name);
