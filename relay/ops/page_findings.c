/* What is held against whom, as a list: on the view of now, and on that of a lane. Called by the
 * views on HTTP's thread. An alarm stands open; a limit that was found, and a suspicion, are folded
 * away: they ask nothing of anybody. */
#include <string.h>

#include "page.h"

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

void page_findings(struct page *p, const json_t *rows)
{
	size_t alarms = 0, others = 0, i;
	json_t *w;

	put(p, "<ul class=\"alarms\">\n");
	json_array_foreach(rows, i, w)
	{
		alarms += json_is_true(json_object_get(w, "alarm"));
		others += !json_is_true(json_object_get(w, "alarm"));
		if (json_is_true(json_object_get(w, "alarm")))
			put_finding(p, w);
	}
	put(p, "</ul>\n");
	if (!alarms)
		put(p, "<p class=\"good\">Nothing is held against a source, a receiver or a sender.</p>\n");
	if (!others)
		return;
	put(p, "<details><summary>Limits that were found, and suspicions: %zu</summary><ul class=\"alarms\">\n",
		others);
	json_array_foreach(rows, i, w) if (!json_is_true(json_object_get(w, "alarm")))
		put_finding(p, w);
	put(p, "</ul></details>\n");
}
