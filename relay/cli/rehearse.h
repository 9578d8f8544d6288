/* How a rehearsal is shown. */
#pragma once

#include "postern/scenario.h"

#include "cli.h"

/* Rows of the table and points of the plots: so many hours each, from the beginning of a day. */
struct view {
	const struct rehearsal_result *r;
	unsigned step; /* hours a row: 1 or 24 */
	unsigned nrows;
};
void view_row(const struct view *v, unsigned row, struct rehearsal_hour *ret);
struct rehearsal_cell view_source(const struct view *v, unsigned row, unsigned source);
struct rehearsal_cell view_path(
	const struct view *v, unsigned row, unsigned subnet, unsigned cluster);
/* "day 3 2026-11-04 10:00" in the configuration's time zone; 0: "". */
void when(char out[48], const struct rehearsal_result *r, ms_t wall, bool with_day);
const char *grouped(char out[32], uint64_t n); /* 1,234,567 */

void rehearse_print(const struct view *v);
int rehearse_json(const struct view *v);
int rehearse_svg(const struct view *v, const char *path); /* 0, -errno */
