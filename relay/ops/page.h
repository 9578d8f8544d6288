/* Inside relay/ops: the pages for people. (page.c)
 *
 * Each view is gathered once, as JSON (page_model.c, page_heat.c), and shown as that, or as HTML made of it
 * (page_views.c, page_cells.c): so both have the same figures. */
#pragma once

#include <jansson.h>

#include "page_html.h"
#include "postern/ops.h"

#define PAGE_MAX (6u << 20) /* bytes of one answer */

/* Arguments of the address; NULL where there is none. */
struct page_asked {
	const char *span, *subnet, *cluster;
};
/* path: "/", "/heat", "/heat.json" … *json says which type out is. 0, -ENOENT no such view, -ENOMEM,
 * -ENOBUFS. On HTTP's thread. */
int page_render(struct buf *out, const struct ops_context *ctx, const char *path,
	const struct page_asked *asked, bool *json);
extern const char page_style[], page_script[];

/* ---- models: NULL no memory ---- */
json_t *page_model_now(const struct ops_context *ctx, const struct page_asked *asked);
json_t *page_model_waits(const struct ops_context *ctx, const struct page_asked *asked);
json_t *page_model_ramps(const struct ops_context *ctx, const struct page_asked *asked);
json_t *page_model_delays(const struct ops_context *ctx, const struct page_asked *asked);
json_t *page_model_heat(const struct ops_context *ctx, const struct page_asked *asked);
json_t *page_model_lane(const struct ops_context *ctx, const struct page_asked *asked);
/* Rows of the history, at most so many of the last; an empty list when it cannot be had. */
struct history_asked;
json_t *page_history(const struct ops_context *ctx, const struct history_asked *asked, size_t max);
/* What the policy holds against whom. at, subnet: NULL all. */
json_t *page_why(const struct ops_context *ctx, const char *at, const char *subnet);

/* ---- HTML ---- */
/* Rows of page_why. */
void page_findings(struct page *p, const json_t *rows);
void page_view_now(struct page *p);
void page_view_waits(struct page *p);
void page_view_ramps(struct page *p);
void page_view_delays(struct page *p);
void page_view_heat(struct page *p);
void page_view_lane(struct page *p);
