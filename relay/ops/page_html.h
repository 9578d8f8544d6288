/* Inside relay/ops: HTML out of a view's model. (page_html.c)
 *
 * Errors are sticky: once memory is out or the page is full, nothing more is added, and page_render
 * tells. Texts are anybody's: each goes through put_text. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "postern/buf.h"

struct page {
	struct buf *out;
	int r; /* sticky */
	const json_t *model;
};

/* What a model has under a key: "" and 0 where there is none. */
const char *page_text(const json_t *o, const char *key);
double page_number(const json_t *o, const char *key);

void put(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void put_text(struct page *p, const char *s);
void put_url(struct page *p, const char *s); /* as the value of an argument */

/* ---- tables ---- */

enum cell_kind {
	CELL_TEXT,
	CELL_COUNT,   /* a whole number */
	CELL_TENTHS,  /* with one digit behind the point */
	CELL_SHARE,   /* of 1, in percent */
	CELL_SECONDS, /* with hundredths */
	CELL_SPAN,    /* seconds, in the largest units; empty for 0 */
	CELL_WHEN,    /* RFC 3339, to the minute */
};
struct column {
	const char *head; /* NULL: no more columns */
	const char *key;  /* of the row's object */
	enum cell_kind kind;
	const char *without; /* text for CELL_TEXT and CELL_SPAN where there is nothing; NULL "" */
};
/* One row of the table for each object of rows, and "None." when there is none. */
void put_table(struct page *p, const char *caption, const struct column *columns, json_t *rows);

/* ---- pictures ---- */

/* Bars of two keys, one above the other. what: words for those who do not see them. */
void put_bars(struct page *p, json_t *rows, const char *what, const char *a, const char *b);
