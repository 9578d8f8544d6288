/* The views of the whole as HTML, each out of its model: now, what waits, ramps, delays. Called by
 * page.c on HTTP's thread. Colours only repeat what words and figures say. */
#include <math.h>
#include <string.h>

#include "page.h"
#include "postern/text.h"

static json_t *list(const struct page *p, const char *key)
{
	return json_object_get(p->model, key);
}

static void put_sentence(struct page *p)
{
	put(p, "<p class=\"say\" aria-live=\"polite\">");
	put_text(p, page_text(p->model, "sentence"));
	put(p, "</p>\n");
}

/* ---- now ---- */

static void card(struct page *p, const char *name, double v)
{
	put(p, "<div><dt>%s</dt><dd>%.0f</dd></div>", name, v);
}

static double last_minutes(const json_t *rows, const char *key, size_t n)
{
	size_t all = json_array_size(rows);
	double sum = 0;

	for (size_t i = all > n + 1 ? all - n - 1 : 0; i + 1 < all; i++)
		sum += page_number(json_array_get(rows, i), key);
	return all > 1 ? sum / (double)(all - 1 < n ? all - 1 : n) : 0;
}

void page_view_now(struct page *p)
{
	const json_t *c = list(p, "counts");
	json_t *minutes = list(p, "minutes");
	char age[32] = "";

	if (json_is_true(list(p, "accepting")))
		put(p, "<p class=\"good\">New mail is accepted.</p>\n");
	else
		put(p, "<p class=\"bad\" role=\"alert\">");
	if (!json_is_true(list(p, "accepting"))) {
		put_text(p, page_text(p->model, "not_accepting_because"));
		put(p, "</p>\n");
	}
	put_sentence(p);
	duration_format(age, (ms_t)page_number(p->model, "oldest_s") * 1000);
	put(p, "<dl class=\"cards\">");
	card(p, "Recipients waiting", page_number(c, "recipients"));
	put(p, "<div><dt>The oldest</dt><dd>%s</dd></div>",
		page_number(p->model, "oldest_s") > 0 ? age : "-");
	card(p, "Delivered a minute", last_minutes(minutes, "delivered", 5));
	card(p, "Deferred a minute", last_minutes(minutes, "deferred", 5));
	card(p, "Connections", page_number(c, "connections"));
	put(p, "<div><dt>Queue file used</dt><dd>%.1f %%</dd></div>",
		page_number(c, "queue_max_bytes") > 0 ? 100 * page_number(c, "queue_used_bytes") /
								page_number(c, "queue_max_bytes")
						      : 0);
	put(p, "</dl>\n<h2>Open alarms</h2>\n");
	if (page_number(c, "deferrals_high") > 0)
		put(p, "<p class=\"bad\">%.0f providers defer more than a tenth of the attempts.</p>\n",
			page_number(c, "deferrals_high"));
	if (page_number(c, "unknown_recipients_high") > 0)
		put(p, "<p class=\"bad\">Many recipients do not exist, at %.0f domains or of clients.</p>\n",
			page_number(c, "unknown_recipients_high"));
	page_findings(p, list(p, "alarms"));
	put(p, "<h2>The last hour, by minute</h2>\n<p class=\"small\">Delivered, and above it deferred.</p>\n");
	put_bars(p, minutes, "Delivered and deferred a minute", "delivered", "deferred");
}

/* ---- what waits ---- */

void page_view_waits(struct page *p)
{
	static const struct column sums[] = {
		{ "Pool", "pool", CELL_TEXT, NULL },
		{ "Provider", "provider", CELL_TEXT, "not known yet" },
		{ "Waits for", "reason", CELL_TEXT, NULL },
		{ "Recipients", "recipients", CELL_COUNT, NULL },
		{ "Oldest", "oldest_s", CELL_SPAN, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};
	static const struct column bottlenecks[] = {
		{ "Pool", "pool", CELL_TEXT, NULL },
		{ "Cluster", "cluster", CELL_TEXT, NULL },
		{ "Recipients", "recipients", CELL_COUNT, NULL },
		{ "Domains", "domains", CELL_COUNT, NULL },
		{ "A minute", "a_minute", CELL_TENTHS, NULL },
		{ "What holds it", "text", CELL_TEXT, NULL },
		{ "What would lift it", "lift", CELL_TEXT, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};
	static const struct column ages[] = {
		{ "Younger than", "younger_than_s", CELL_SPAN, "older" },
		{ "Recipients", "recipients", CELL_COUNT, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};
	static const struct column domains[] = {
		{ "Domain", "domain", CELL_TEXT, NULL },
		{ "Pool", "pool", CELL_TEXT, NULL },
		{ "Provider", "provider", CELL_TEXT, NULL },
		{ "Waits for", "reason", CELL_TEXT, NULL },
		{ "Recipients", "recipients", CELL_COUNT, NULL },
		{ "Oldest", "oldest_s", CELL_SPAN, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};

	put_sentence(p);
	if (!json_is_true(list(p, "counted")))
		return;
	put(p, "<p class=\"small\">The queue was counted %.0f s ago.</p>\n<h2>By reason</h2>\n",
		page_number(p->model, "counted_ago_s"));
	put_table(p, "All that waits", sums, list(p, "by_reason"));
	put(p, "<h2>Bottlenecks</h2>\n");
	put_table(p, "What holds it, the widest of each pool first", bottlenecks,
		list(p, "bottlenecks"));
	put(p, "<h2>By age</h2>\n");
	put_table(p, "Recipients by the age of their message", ages, list(p, "ages"));
	put(p, "<h2>By domain</h2>\n");
	put_table(p, "Domains with the most mail", domains, list(p, "domains"));
}

/* ---- ramps ---- */

static void put_days(struct page *p, const json_t *r)
{
	const json_t *days = json_object_get(r, "days");
	size_t n = json_array_size(days), i;
	double most = 1, width = n ? fmin(40, 640.0 / (double)n) : 0;
	json_t *d;

	if (!n)
		return;
	json_array_foreach(days, i, d) most =
		fmax(most, fmax(page_number(d, "used"), page_number(d, "allowance")));
	put(p,
		"<svg viewBox=\"0 0 700 120\" width=\"700\" height=\"120\" role=\"img\" aria-label=\"Used by day, "
		"and the allowance; at most %.0f\">",
		most);
	json_array_foreach(days, i, d)
	{
		double x = 50 + width * (double)i, used = 100 * page_number(d, "used") / most;
		double allowed = 100 * page_number(d, "allowance") / most;

		put(p, "<rect class=\"a\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
			x, 110 - used, width * 0.8, used);
		if (allowed > 0)
			put(p, "<line class=\"l\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
				x, 110 - allowed, x + width, 110 - allowed);
	}
	put(p, "<text x=\"0\" y=\"14\">%.0f</text></svg>\n", most);
}

static void put_day_table(struct page *p, const json_t *r)
{
	static const struct column columns[] = {
		{ "Day", "start", CELL_TEXT, NULL },
		{ "Rung", "rung", CELL_COUNT, NULL },
		{ "Allowance", "allowance", CELL_COUNT, NULL },
		{ "Used", "used", CELL_COUNT, NULL },
		{ "Deferred", "deferral_share", CELL_SHARE, NULL },
		{ "What the day before did", "change", CELL_TEXT, NULL },
		{ "Why", "why", CELL_TEXT, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};

	put(p, "<details><summary>Days in figures</summary>");
	put_table(p, "The newest last", columns, json_object_get(r, "days"));
	put(p, "</details>\n");
}

void page_view_ramps(struct page *p)
{
	json_t *r;
	size_t i;

	json_array_foreach(list(p, "ramps"), i, r)
	{
		put(p, "<h2>");
		put_text(p, page_text(r, "source"));
		put(p, " at ");
		put_text(p, page_text(r, "provider"));
		put(p, "</h2>\n<p>%s, rung %.0f of %.0f. Today %.0f used", page_text(r, "state"),
			page_number(r, "rung"), page_number(r, "rungs"), page_number(r, "used"));
		if (json_is_null(json_object_get(r, "allowance")))
			put(p, ", no limit");
		else
			put(p, " of %.0f", page_number(r, "allowance"));
		put(p, "; <span%s>%.2f %% deferred</span>.",
			page_number(r, "deferral_share") > 0.05 ? " class=\"bad\"" : "",
			100 * page_number(r, "deferral_share"));
		if (page_text(r, "warm_on")[0])
			put(p, " Warm on %s if every day advances, with %.0f a day.",
				page_text(r, "warm_on"), page_number(r, "warm_volume"));
		put(p, " <span class=\"small\">");
		put_text(p, page_text(r, "last_day"));
		put(p, " ");
		put_text(p, page_text(r, "why"));
		put(p, "</span></p>\n");
		put_days(p, r);
		put_day_table(p, r);
	}
	if (!i)
		put(p, "<p>No source is being warmed up.</p>\n");
}

/* ---- delays ---- */

void page_view_delays(struct page *p)
{
	static const struct column columns[] = {
		{ "Hour", "start", CELL_WHEN, NULL },
		{ "Provider", "provider", CELL_TEXT, NULL },
		{ "Delivered", "delivered", CELL_COUNT, NULL },
		{ "Half within", "delay_p50", CELL_SECONDS, NULL },
		{ "95 % within", "delay_p95", CELL_SECONDS, NULL },
		{ "99 % within", "delay_p99", CELL_SECONDS, NULL },
		{ NULL, NULL, CELL_TEXT, NULL },
	};

	put(p, "<p>From the 250 to our client until the receiver's.</p>\n");
	put_table(p, "The last 24 hours", columns + 1, list(p, "day"));
	put(p, "<h2>Hour by hour</h2>\n");
	put_table(p, "By hour (UTC), the newest last", columns, list(p, "hours"));
}
