/* The pages for people: which view an address names, and its frame. Called by HTTP on its
 * thread. Order: the model is gathered, then shown as JSON or as HTML. */
#include "page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

static const struct view {
	const char *path, *title;
	bool in_nav;
	json_t *(*model)(const struct ops_context *ctx, const struct page_asked *asked);
	void (*show)(struct page *p);
} views[] = {
	{ "/", "Now", true, page_model_now, page_view_now },
	{ "/heat", "Subnets and clusters", true, page_model_heat, page_view_heat },
	{ "/lane", "One lane", false, page_model_lane, page_view_lane },
	{ "/waits", "Why it waits", true, page_model_waits, page_view_waits },
	{ "/ramps", "Ramps", true, page_model_ramps, page_view_ramps },
	{ "/delays", "Delays", true, page_model_delays, page_view_delays },
};
#define NVIEWS (sizeof(views) / sizeof(*views))

static void put_head(struct page *p, const struct view *v)
{
	put(p,
		"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s - Postern</title>"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
		"<link rel=\"stylesheet\" href=\"/style.css\"><script src=\"/script.js\" defer></script>"
		"</head><body>\n<header><strong>",
		v->title);
	put_text(p, page_text(p->model, "host"));
	put(p, "</strong><nav aria-label=\"Views\">");
	for (size_t i = 0; i < NVIEWS; i++)
		if (views[i].in_nav)
			put(p, "<a href=\"%s\"%s>%s</a>", views[i].path,
				&views[i] == v ? " aria-current=\"page\"" : "", views[i].title);
	put(p, "</nav></header>\n<main>\n<h1>%s</h1>\n", v->title);
}

static void put_foot(struct page *p, const struct view *v)
{
	put(p, "<p class=\"small\">As of ");
	put_text(p, page_text(p->model, "at"));
	put(p,
		".</p></main>\n<footer><span id=\"renew\"></span> Postern " POSTERN_VERSION
		", read only. The figures of this view as JSON: <a href=\"%s.json\">%s.json</a> (with the same "
		"arguments). <a href=\"/metrics\">/metrics</a> is for Prometheus, <a href=\"/history.json\">/history.json</a> "
		"for what was, <a href=\"/health\">/health</a> for load balancers.</footer>\n</body></html>\n",
		v->path[1] ? v->path : "/now", v->path[1] ? v->path : "/now");
}

static int add_common(json_t *model, const struct ops_context *ctx)
{
	char why[400] = "", hostname[256];
	bool bad = health_check(ctx, why, sizeof(why));
	int r;

	ctx->hostname(ctx->arg, hostname);
	r = json_object_set_new(model, "host", json_text(hostname));
	r |= json_object_set_new(model, "at", json_time(clock_wall_ms()));
	r |= json_object_set_new(model, "accepting", json_boolean(!bad));
	r |= json_object_set_new(model, "not_accepting_because", json_text(why));
	return r;
}

static int put_json(struct buf *out, const json_t *model)
{
	char *text = json_dumps(model, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	int r = text ? buf_add_str(out, text) : -ENOMEM;

	free(text);
	return r ? r : buf_add_str(out, "\n");
}

static const struct view *view_of(const char *path, bool *json)
{
	size_t n = strlen(path);

	*json = n > 5 && !strcmp(path + n - 5, ".json");
	if (*json)
		n -= 5;
	if (*json && n == 1)
		return NULL; /* that of the first view is called now.json */
	if (*json && n == 4 && !memcmp(path, "/now", 4))
		return &views[0];
	for (size_t i = 0; i < NVIEWS; i++)
		if (strlen(views[i].path) == n && !memcmp(views[i].path, path, n))
			return &views[i];
	return NULL;
}

int page_render(struct buf *out, const struct ops_context *ctx, const char *path,
	const struct page_asked *asked, bool *json)
{
	const struct view *v = view_of(path, json);
	struct page p = { .out = out };
	json_t *model;

	if (!v)
		return -ENOENT;
	model = v->model(ctx, asked);
	if (!model || add_common(model, ctx)) {
		json_decref(model);
		return -ENOMEM;
	}
	p.model = model;
	if (*json) {
		p.r = put_json(out, model);
	} else {
		put_head(&p, v);
		v->show(&p);
		put_foot(&p, v);
	}
	json_decref(model);
	return p.r;
}
