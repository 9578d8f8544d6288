/* The views as HTML, each out of its model. Called on HTTP's thread. Colours only repeat what words and
 * figures say; nothing is styled or scripted in the text, which the policy of the answer forbids. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "page.h"
#include "postern/text.h"

/* ---- parts ---- */

static void put_cell(struct page *p, const char *s)
{
	put(p, "<td>");
	put_text(p, s);
	put(p, "</td>");
}

static void put_count(struct page *p, double n)
{
	put(p, "<td class=\"n\">%.0f</td>", n);
}

static void put_span(struct page *p, double seconds)
{
	char text[32] = "";

	duration_format(text, (ms_t)seconds * 1000);
	put(p, "<td class=\"n\">%s</td>", seconds > 0 ? text : "");
}

/* RFC 3339 without its fraction. */
static void put_when(struct page *p, const char *time)
{
	put(p, "<td class=\"t\">%.10s %.5s</td>", time, strlen(time) > 16 ? time + 11 : "");
}

static void table(struct page *p, const char *caption, const char *heads)
{
	put(p, "<div class=\"wide\" tabindex=\"0\"><table><caption>%s</caption><thead><tr>",
		caption);
	for (const char *h = heads; *h;) {
		size_t n = strcspn(h, "|");
		bool number = *h == '#';

		put(p, "<th scope=\"col\"%s>%.*s</th>", number ? " class=\"n\"" : "",
			(int)(n - number), h + number);
		h += n + (h[n] == '|');
	}
	put(p, "</tr></thead><tbody>\n");
}

static void table_end(struct page *p, size_t rows)
{
	put(p, "</tbody></table></div>\n");
	if (!rows)
		put(p, "<p>None.</p>\n");
}

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

/* Bars of one or two keys, one above the other. */
static void bars(struct page *p, const json_t *rows, const char *what, const char *a, const char *b)
{
	size_t n = json_array_size(rows), i;
	double most = 1, width = n ? fmin(40, 720.0 / (double)n) : 0;
	json_t *row;

	json_array_foreach(rows, i, row) most =
		fmax(most, page_number(row, a) + (b ? page_number(row, b) : 0));
	put(p,
		"<svg viewBox=\"0 0 760 130\" width=\"760\" height=\"130\" role=\"img\" "
		"aria-label=\"%s; at most %.0f\">",
		what, most);
	json_array_foreach(rows, i, row)
	{
		double x = 35 + width * (double)i, ha = 110 * page_number(row, a) / most;
		double hb = b ? 110 * page_number(row, b) / most : 0;

		put(p, "<rect class=\"a\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
			x, 115 - ha, width * 0.8, ha);
		if (hb > 0)
			put(p, "<rect class=\"b\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
				x, 115 - ha - hb, width * 0.8, hb);
	}
	put(p, "<text x=\"0\" y=\"14\">%.0f</text><text x=\"0\" y=\"115\">0</text></svg>\n", most);
}

static void put_figures(struct page *p, const json_t *figures)
{
	json_t *f;
	size_t k;

	json_array_foreach(figures, k, f)
	{
		put(p, "%s", k ? "; " : "<br><span class=\"small\">Accepted and refused lately: ");
		put_text(p, page_text(f, "what"));
		put(p, " %.0f and %.0f", page_number(f, "accepted"), page_number(f, "refused"));
	}
	put(p, "%s", k ? "</span>" : "");
}

/* Who it is about, as far as that is known. */
static void put_subject(struct page *p, const json_t *w)
{
	static const char *const keys[] = { "source", "subnet", "domain", "sender", "cluster",
		"provider" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!page_text(w, keys[i])[0])
			continue;
		put(p, " %s <b>", keys[i]);
		put_text(p, page_text(w, keys[i]));
		put(p, "</b>");
	}
}

static void put_finding(struct page *p, const json_t *w)
{
	put(p, "<li><span class=\"bad\">");
	put_text(p, page_text(w, "kind"));
	put(p, " ");
	put_text(p, page_text(w, "state"));
	put(p, "</span>:");
	put_subject(p, w);
	if (page_text(w, "since")[0])
		put(p, " since <time>%.16sZ</time>", page_text(w, "since"));
	if (page_text(w, "subnet")[0] && page_text(w, "cluster")[0]) {
		put(p, ", <a href=\"/lane?subnet=");
		put_url(p, page_text(w, "subnet"));
		put(p, "&amp;cluster=");
		put_url(p, page_text(w, "cluster"));
		put(p, "\">its lane</a>");
	}
	put(p, "<br>");
	put_text(p, page_text(w, "text"));
	put(p, " <span class=\"small\">");
	put_text(p, page_text(w, "remedy"));
	put(p, "</span>");
	put_figures(p, json_object_get(w, "figures"));
	put(p, "</li>\n");
}

/* A limit that was found, or a suspicion, asks nothing of anybody. */
static bool is_alarm(const json_t *w)
{
	const char *state = page_text(w, "state");

	return strcmp(state, "limited") != 0 && strcmp(state, "suspected") != 0;
}

static void put_why(struct page *p, const json_t *rows)
{
	size_t alarms = 0, others = 0, i;
	json_t *w;

	put(p, "<ul class=\"alarms\">\n");
	json_array_foreach(rows, i, w)
	{
		alarms += is_alarm(w);
		others += !is_alarm(w);
		if (is_alarm(w))
			put_finding(p, w);
	}
	put(p, "</ul>\n");
	if (!alarms)
		put(p, "<p class=\"good\">Nothing is held against a source, a receiver or a sender.</p>\n");
	if (!others)
		return;
	put(p, "<details><summary>Limits that were found, and suspicions: %zu</summary><ul class=\"alarms\">\n",
		others);
	json_array_foreach(rows, i, w) if (!is_alarm(w)) put_finding(p, w);
	put(p, "</ul></details>\n");
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
	const json_t *minutes = list(p, "minutes");
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
	put_why(p, list(p, "alarms"));
	put(p, "<h2>The last hour, by minute</h2>\n<p class=\"small\">Delivered, and above it deferred.</p>\n");
	bars(p, minutes, "Delivered and deferred a minute", "delivered", "deferred");
}

/* ---- what waits ---- */

static void put_sums(struct page *p)
{
	const json_t *rows = list(p, "by_reason");
	json_t *w;
	size_t i;

	table(p, "All that waits", "Pool|Provider|Waits for|#Recipients|#Oldest");
	json_array_foreach(rows, i, w)
	{
		put(p, "<tr>");
		put_cell(p, page_text(w, "pool"));
		put_cell(p,
			page_text(w, "provider")[0] ? page_text(w, "provider") : "not known yet");
		put_cell(p, page_text(w, "reason"));
		put_count(p, page_number(w, "recipients"));
		put_span(p, page_number(w, "oldest_s"));
		put(p, "</tr>\n");
	}
	table_end(p, i);
}

static void put_bottlenecks(struct page *p)
{
	const json_t *rows = list(p, "bottlenecks");
	json_t *w;
	size_t i;

	table(p, "What holds it, the widest of each pool first",
		"Pool|Cluster|#Recipients|#Domains|#A minute|What holds it|What would lift it");
	json_array_foreach(rows, i, w)
	{
		put(p, "<tr>");
		put_cell(p, page_text(w, "pool"));
		put_cell(p, page_text(w, "cluster"));
		put_count(p, page_number(w, "recipients"));
		put_count(p, page_number(w, "domains"));
		put(p, "<td class=\"n\">%.1f</td>", page_number(w, "a_minute"));
		put_cell(p, page_text(w, "text"));
		put_cell(p, page_text(w, "lift"));
		put(p, "</tr>\n");
	}
	table_end(p, i);
}

static void put_domains(struct page *p)
{
	const json_t *rows = list(p, "domains");
	json_t *w;
	size_t i;

	table(p, "Domains with the most mail",
		"Domain|Pool|Provider|Waits for|#Recipients|#Oldest");
	json_array_foreach(rows, i, w)
	{
		put(p, "<tr>");
		put_cell(p, page_text(w, "domain"));
		put_cell(p, page_text(w, "pool"));
		put_cell(p, page_text(w, "provider"));
		put_cell(p, page_text(w, "reason"));
		put_count(p, page_number(w, "recipients"));
		put_span(p, page_number(w, "oldest_s"));
		put(p, "</tr>\n");
	}
	table_end(p, i);
}

void page_view_waits(struct page *p)
{
	json_t *w;
	size_t i;

	put_sentence(p);
	if (!json_is_true(list(p, "counted")))
		return;
	put(p, "<p class=\"small\">The queue was counted %.0f s ago.</p>\n<h2>By reason</h2>\n",
		page_number(p->model, "counted_ago_s"));
	put_sums(p);
	put(p, "<h2>Bottlenecks</h2>\n");
	put_bottlenecks(p);
	put(p, "<h2>By age</h2>\n");
	table(p, "Recipients by the age of their message", "Younger than|#Recipients");
	json_array_foreach(list(p, "ages"), i, w)
	{
		put(p, "<tr>");
		if (page_number(w, "younger_than_s") > 0)
			put_span(p, page_number(w, "younger_than_s"));
		else
			put_cell(p, "older");
		put_count(p, page_number(w, "recipients"));
		put(p, "</tr>\n");
	}
	table_end(p, i);
	put(p, "<h2>By domain</h2>\n");
	put_domains(p);
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
	const json_t *days = json_object_get(r, "days");
	json_t *d;
	size_t i;

	put(p, "<details><summary>Days in figures</summary>");
	table(p, "The newest last",
		"Day|#Rung|#Allowance|#Used|#Deferred|What the day before did|Why");
	json_array_foreach(days, i, d)
	{
		put(p, "<tr>");
		put_cell(p, page_text(d, "start"));
		put_count(p, page_number(d, "rung"));
		put_count(p, page_number(d, "allowance"));
		put_count(p, page_number(d, "used"));
		put(p, "<td class=\"n\">%.2f %%</td>", 100 * page_number(d, "deferral_share"));
		put_cell(p, page_text(d, "change"));
		put_cell(p, page_text(d, "why"));
		put(p, "</tr>\n");
	}
	table_end(p, i);
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

static void put_delay_rows(struct page *p, const json_t *rows, bool hours)
{
	json_t *r;
	size_t i;

	table(p, hours ? "By hour (UTC), the newest last" : "The last 24 hours",
		hours ? "Hour|Provider|#Delivered|#Half within|#95 % within|#99 % within"
		      : "Provider|#Delivered|#Half within|#95 % within|#99 % within");
	json_array_foreach(rows, i, r)
	{
		put(p, "<tr>");
		if (hours)
			put_when(p, page_text(r, "start"));
		put_cell(p, page_text(r, "provider"));
		put_count(p, page_number(r, "delivered"));
		put(p, "<td class=\"n\">%.2f s</td><td class=\"n\">%.2f s</td><td class=\"n\">%.2f s</td></tr>\n",
			page_number(r, "delay_p50"), page_number(r, "delay_p95"),
			page_number(r, "delay_p99"));
	}
	table_end(p, i);
}

void page_view_delays(struct page *p)
{
	put(p, "<p>From the 250 to our client until the receiver's.</p>\n");
	put_delay_rows(p, list(p, "day"), false);
	put(p, "<h2>Hour by hour</h2>\n");
	put_delay_rows(p, list(p, "hours"), true);
}

/* ---- subnet × cluster ---- */

/* What a cell says, and its class: words first. */
static const char *cell_class(const json_t *c, bool live, char *text, size_t max)
{
	const char *health = page_text(c, "health");
	double share = page_number(c, "deferral_share");
	double good = page_number(c, "lately_accepted"), bad = page_number(c, "lately_refused");

	if (live && health[0] && strcmp(health, "healthy") != 0 &&
		strcmp(health, "throttled") != 0) {
		snprintf(text, max, "%s", health);
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
	const json_t *cells = list(p, "cells"), *clusters = list(p, "clusters");
	size_t next = 0, i, k;
	json_t *subnet, *cluster;

	json_array_foreach(list(p, "subnets"), i, subnet)
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
	json_array_foreach(list(p, "clusters"), k, cluster)
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
	json_t *l;
	size_t i;

	put(p, "<p class=\"say\">");
	put_text(p, page_text(p->model, "subnet"));
	put(p, " at ");
	put_text(p, page_text(p->model, "cluster"));
	put(p, "</p>\n");
	table(p, "Sources of this subnet",
		"Source|Provider|Health|Cause|#In use|#Window|#Accepted lately|#Refused lately|#Takes a minute|"
		"#Delivered|#Deferred|Since|Until");
	json_array_foreach(list(p, "lanes"), i, l)
	{
		put(p, "<tr>");
		put_cell(p, page_text(l, "source"));
		put_cell(p, page_text(l, "provider"));
		put_cell(p, page_text(l, "health"));
		put_cell(p, page_text(l, "cause"));
		put_count(p, page_number(l, "in_use"));
		put_count(p, page_number(l, "window"));
		put_count(p, page_number(l, "lately_accepted"));
		put_count(p, page_number(l, "lately_refused"));
		put_count(p, page_number(l, "takes_a_minute"));
		put_count(p, page_number(l, "delivered"));
		put_count(p, page_number(l, "deferred"));
		put_when(p, page_text(l, "since"));
		put_when(p, page_text(l, "until"));
		put(p, "</tr>\n");
	}
	table_end(p, i);
	put(p, "<h2>What is held against it</h2>\n");
	put_why(p, list(p, "why"));
	put(p, "<h2>24 hours</h2>\n<p class=\"small\">Delivered by hour, and above it deferred.</p>\n");
	bars(p, list(p, "hours"), "Delivered and deferred an hour", "delivered", "deferred");
	put(p, "<h2>Sessions: the last good, and the last refused</h2>\n");
	json_array_foreach(list(p, "transcripts"), i, l) put_session(p, l);
	if (!i)
		put(p, "<p>None is kept.</p>\n");
}
