/* Inside conf/import: what is made of another relay's configuration, before it is written. The readers
 * (postfix.c, powermta.c) say what they found in the words of the option tables; write.c writes it,
 * and takes out again what the reader of configurations has something against. */
#pragma once

#include "../option.h"
#include "postern/arena.h"
#include "postern/import.h"

#define IMPORT_SECTIONS_MAX 2000u
#define IMPORT_VALUES_MAX   4000u /* of one section */
#define IMPORT_FILES_MAX    200u
#define IMPORT_MEMORY_MAX   (64u << 20)

/* Where a thing was found. */
struct origin {
	const char *file;
	unsigned line;	  /* 0: the whole file */
	const char *name; /* of the parameter or directive; NULL: none */
};

/* One value, on a line of its own, so that a wrong one goes alone. */
struct import_value {
	struct import_value *next;
	const struct option *option;
	const char *text;
	const char *origin; /* for the comment */
	unsigned line;	    /* in what was written */
	bool dropped;
};
struct import_section {
	struct import_section *next;
	const struct section *kind;
	const char *title; /* NULL: has none */
	const char *origin;
	struct import_value *first, **end;
	unsigned n, line;
	bool dropped;
};
struct import {
	struct arena memory;
	struct import_section *first, **end;
	unsigned n;
	struct buf *notes;
	import_read_fn *read;
	void *arg;
	unsigned nfiles;
	int error; /* sticky: after it nothing is added */
};

void import_init(struct import *im, struct buf *notes, import_read_fn *read, void *arg);
void import_deinit(struct import *im);

/* Memory of the import; NULL after an error. */
char *import_dup(struct import *im, struct slice s);
char *import_printf(struct import *im, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A file's text in the import's memory; p NULL: it could not be read, which is noted at from. */
struct slice import_file(struct import *im, const char *path, const struct origin *from);

/* The section of that title, made when there is none. NULL after an error. */
struct import_section *import_section(
	struct import *im, enum section_id id, const char *title, const struct origin *from);
struct import_section *import_find(struct import *im, enum section_id id, const char *title);
/* A value of an option: one more of a list, or in place of the one before. sec NULL: nothing. */
void import_value(struct import *im, struct import_section *sec, const char *option,
	struct slice text, const struct origin *from);
bool import_has(const struct import_section *sec, const char *option);
/* Something that was not taken over, and why. */
void import_note(struct import *im, const struct origin *from, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A title or pool out of another's word: other characters than a name's become "-". */
char *import_name(struct import *im, struct slice s);

/* What no configuration can do without. Then all of it is written, checked, and what is wrong taken
 * out. As import_postfix. */
int import_write(struct import *im, const char *what, struct buf *out);

/* Words of a line, separated by blanks (and, with commas, by these). The next one, empty at the end;
 * *left is moved behind it. */
struct slice import_word(struct slice *left, bool commas);
