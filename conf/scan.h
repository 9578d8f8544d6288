/* Where things stand in the file. libconfuse parses the values, but tells no lines, and stops at
 * the first name it does not know. So the text is walked before it: each known option and section
 * is noted with its lines; unknown and doubled ones are reported, and blanked out of the text, so
 * that what libconfuse then sees is sound in that respect. */
#pragma once

#include "diag.h"
#include "option.h"

struct scan_option {
	struct scan_option *next;
	const struct option *option;
	unsigned line, nvalues;
	unsigned *value_lines; /* nvalues; one array grows with += */
};
struct scan_section {
	struct scan_section *next;
	const struct section *kind;
	unsigned index; /* among those of its kind, as libconfuse counts them */
	unsigned line;
	const char *title; /* as written, without quotes; NULL for none */
	struct scan_option *options;
};
struct scan {
	struct arena arena;
	struct scan_section *first, *last;
	bool stopped; /* at bad syntax: what comes after is not known */
	unsigned stop_line;
	const char *stop_why;
};

/* text is NUL-terminated and changed. 0, -ENOMEM. */
int scan_text(struct scan *s, const struct schema *schema, char *text, struct diag *d);
void scan_deinit(struct scan *s);
const struct scan_section *scan_find(
	const struct scan *s, const struct section *kind, unsigned index);
/* NULL: not given. sec may be NULL. */
const struct scan_option *scan_given(const struct scan_section *sec, const char *option);
/* Line of an option, or of one of its values (from 0); that of the section when it is not given. */
unsigned scan_line(const struct scan_section *sec, const char *option);
unsigned scan_value_line(const struct scan_section *sec, const char *option, unsigned value);
