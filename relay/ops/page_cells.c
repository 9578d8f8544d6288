/* The view of subnets and clusters as HTML, and that of one of its lanes, each out of its model
 * (page_heat.c). Called by page.c on HTTP's thread. Colours only repeat what words and figures say. */
#include <stdio.h>
#include <string.h>

#include "page.h"

/* ---- subnet × cluster ---- */

/* What a cell says, and its class: words first. */
static const char *cell_class(const json_t *c, bool live, char *text, size_t max)
{
	double share = page_number(c, "deferral_share");
	double good = page_number(c, "lately_accepted"), bad = page_number(c, "lately_refused");

	if (live && json_is_true(json_object_get(c, "rests"))) {
		snprintf(text, max, "%s", page_text(c, "health"));
		return "rest";
	}
	if (live)
		share = good + bad >= 0.5 ? bad / (good + bad) : -1;
	else if (json_is_null(json_object_get(c, "deferral_share")))
		share = -1;
	if (share < 0)
		snprintf(text, max, "·");
	else
		snprintf(
			text, max, share > 0 && share < 0.01 ? "&lt;1 %%" : "%.0f %%", 100 * share);
	return share < 0      ? ""
	       : share < 0.01 ? "c0"
	       : share < 0.05 ? "c1"
	       : share < 0.1  ? "c2"
	       : share < 0.3  ? "c3"
	       : share < 0.7  ? "c4"
			      : "c5";
}

static void put_heat_cell(struct page *p, const json_t *c, bool live)
{
	char text[32];
	const char *class = cell_class(c, live, text, sizeof(text));

	put(p, "<td class=\"%s\"><a href=\"/lane?subnet=", class);
	put_url(p, page_text(c, "subnet"));
	put(p, "&amp;cluster=");
	put_url(p, page_text(c, "cluster"));
	put(p, "\" title=\"");
	put_text(p, page_text(c, "subnet"));
	put(p, " at ");
	put_text(p, page_text(c, "cluster"));
	if (live)
		put(p, ": %s %s, %.0f of %.0f in use", page_text(c, "health"),
			page_text(c, "cause"), page_number(c, "in_use"), page_number(c, "window"));
	else
		put(p, ": %.0f delivered, %.0f deferred, %.0f bounced", page_number(c, "delivered"),
			page_number(c, "deferred"), page_number(c, "bounced"));
	put(p, "\">%s</a></td>", text);
}

/* Cells are in the order of subnets, then clusters, as are both lists. */
static void put_heat_rows(struct page *p, bool live)
{
	const json_t *cells = json_object_get(p->model, "cells"),
		     *clusters = json_object_get(p->model, "clusters");
	size_t next = 0, i, k;
	json_t *subnet, *cluster;

	json_array_foreach(json_object_get(p->model, "subnets"), i, subnet)
	{
		const char *name = json_string_value(subnet);

		put(p, "<tr><th scope=\"row\">");
		put_text(p, name ? name : "");
		put(p, "</th>");
		json_array_foreach(clusters, k, cluster)
		{
			const json_t *c = json_array_get(cells, next);

			if (c && name && !strcmp(page_text(c, "subnet"), name) &&
				!strcmp(page_text(c, "cluster"), page_text(cluster, "cluster"))) {
				put_heat_cell(p, c, live);
				next++;
			} else {
				put(p, "<td></td>");
			}
		}
		put(p, "</tr>\n");
	}
}

void page_view_heat(struct page *p)
{
	bool live = strcmp(page_text(p->model, "span"), "24h") != 0;
	json_t *cluster;
	size_t k;

	put(p,
		"<p>%s, by subnet of ours and cluster of theirs. A cell opens its lane; arrow keys go from cell to cell. "
		"<a href=\"/heat\"%s>Now</a> <a href=\"/heat?span=24h\"%s>24 hours</a></p>\n",
		live ? "What is refused lately (an answer counts half after ten minutes), and which lanes rest"
		     : "Share of the attempts of 24 hours that were deferred",
		live ? " aria-current=\"page\"" : "", live ? "" : " aria-current=\"page\"");
	put(p,
		"<p class=\"key small\"><span class=\"c0\">under 1 %%</span><span class=\"c1\">5 %%</span>"
		"<span class=\"c2\">10 %%</span><span class=\"c3\">30 %%</span><span class=\"c4\">70 %%</span>"
		"<span class=\"c5\">more</span>%s · no answers</p>\n",
		live ? "<span class=\"rest\">rests, or is probed</span>" : "");
	put(p, "<div class=\"wide\"><table class=\"heat\"><thead><tr><th></th>");
	json_array_foreach(json_object_get(p->model, "clusters"), k, cluster)
	{
		put(p, "<th scope=\"col\" title=\"");
		put_text(p, page_text(cluster, "provider"));
		put(p, "\">");
		put_text(p, page_text(cluster, "cluster"));
		put(p, "</th>");
	}
	put(p, "</tr></thead><tbody>\n");
	put_heat_rows(p, live);
	put(p, "</tbody></table></div>\n");
	if (!k)
		put(p, "<p>No receiver was met yet.</p>\n");
	if (page_number(p->model, "subnets_left_out") + page_number(p->model, "clusters_left_out") >
		0)
		put(p, "<p>Those with the most mail; %.0f subnets and %.0f clusters are left out.</p>\n",
			page_number(p->model, "subnets_left_out"),
			page_number(p->model, "clusters_left_out"));
}

/* ---- one lane ---- */

/* > we, < they, * a note; seconds since the connection was begun. */
static void put_session(struct page *p, const json_t *s)
{
	json_t *l;
	size_t i;

	put(p, "<h3>");
	put_text(p, page_text(s, "outcome"));
	put(p, ": ");
	put_text(p, page_text(s, "source"));
	put(p, " to ");
	put_text(p, page_text(s, "address"));
	put(p, "</h3><p class=\"small\">Session %s, ended %.19sZ</p>\n<pre tabindex=\"0\">",
		page_text(s, "session"), page_text(s, "at"));
	json_array_foreach(json_object_get(s, "lines"), i, l)
	{
		const char *who = page_text(l, "who");

		put(p, "%8.3f %s ", page_number(l, "ms") / 1000,
			*who == 'u'   ? "&gt;"
			: *who == 't' ? "&lt;"
				      : "*");
		put_text(p, page_text(l, "line"));
		put(p, "\n");
	}
	put(p, "</pre>\n");
}

void page_view_lane(struct page *p)
{
	static const struct column columns[] = {
		{ "Source", "source", CELL_TEXT, NULL },
		{ "Provider", "provider", CELL_TEXT, NULL },
		{ "Health", "health", CELL_TEXT, NULL },
		{ "Cause", "cause", CELL_TEXT, NULL },
		{ "In use", "in_use", CELL_COUNT, NULL },
		{ "Window", "window", CELL_COUNT, NULL },
		{ "Accepted lately", "lately_accepted", CELL_COUNT, NULL },
		{ "Refused lately", "lately_refused", CELL_COUNT, NULL },
		{ "Takes a minute", "takes_a_minute", CELL_COUNT, NULL },
		{ "Delivered", "delivered", CELL_COUNT, NULL },
		{ "Deferred", "deferred", CELL_COUNT, NULL },
		{ "Since", "since", CELL_WHEN, NULL },
		{ "Until", "until", CELL_WHEN, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};
	json_t *l;
	size_t i;

	put(p, "<p class=\"say\">");
	put_text(p, page_text(p->model, "subnet"));
	put(p, " at ");
	put_text(p, page_text(p->model, "cluster"));
	put(p, "</p>\n");
	put_table(p, "Sources of this subnet", columns, json_object_get(p->model, "lanes"));
	put(p, "<h2>What is held against it</h2>\n");
	page_findings(p, json_object_get(p->model, "why"));
	put(p, "<h2>24 hours</h2>\n<p class=\"small\">Delivered by hour, and above it deferred.</p>\n");
	put_bars(p, json_object_get(p->model, "hours"), "Delivered and deferred an hour",
		"delivered", "deferred");
	put(p, "<h2>Sessions: the last good, and the last refused</h2>\n");
	json_array_foreach(json_object_get(p->model, "transcripts"), i, l) put_session(p, l);
	if (!i)
		put(p, "<p>None is kept.</p>\n");
}
