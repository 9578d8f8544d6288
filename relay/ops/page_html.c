/* Text, figures, tables and bars as HTML. Called by page.c and the views on HTTP's thread; no state
 * but the page. Every text goes through put_text: names of receivers and their replies are others'.
 * Nothing is styled or scripted in the text, which the policy of the answer forbids. */
#include "page_html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "postern/foreign.h"
#include "postern/text.h"

const char *page_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

double page_number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

void put(struct page *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!p->r)
		p->r = buf_vprintf(p->out, fmt, ap);
	va_end(ap);
}

void put_text(struct page *p, const char *s)
{
	struct buf shown;
	size_t plain = strcspn(s, "&<>\"'");

	buf_init(&shown, 64 * 1024);
	if (!p->r)
		p->r = foreign_show(&shown, slice_of(s), FOREIGN_TERMINAL);
	if (!p->r && !s[plain]) {
		p->r = buf_add(p->out, buf_slice(&shown).p, buf_size(&shown));
	} else {
		for (size_t i = 0; !p->r && i < buf_size(&shown); i++) {
			char c = buf_slice(&shown).p[i];

			if (strchr("&<>\"'", c) && c)
				p->r = buf_printf(p->out, "&#%d;", c);
			else
				p->r = buf_add(p->out, &c, 1);
		}
	}
	buf_deinit(&shown);
}

void put_url(struct page *p, const char *s)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *s && !p->r; s++) {
		if (strchr(plain, *s))
			p->r = buf_add(p->out, s, 1);
		else
			p->r = buf_printf(p->out, "%%%02X", (unsigned char)*s);
	}
}

/* ---- tables ---- */

static void put_span(struct page *p, double seconds, const char *without)
{
	char text[32] = "";

	duration_format(text, (ms_t)seconds * 1000);
	if (seconds > 0 || !without)
		put(p, "<td class=\"n\">%s</td>", seconds > 0 ? text : "");
	else
		put(p, "<td>%s</td>", without);
}

static void put_cell(struct page *p, const struct column *c, const json_t *row)
{
	const char *s = page_text(row, c->key);
	double n = page_number(row, c->key);

	switch (c->kind) {
	case CELL_TEXT:
		put(p, "<td>");
		put_text(p, *s || !c->without ? s : c->without);
		put(p, "</td>");
		return;
	case CELL_COUNT:
		put(p, "<td class=\"n\">%.0f</td>", n);
		return;
	case CELL_TENTHS:
		put(p, "<td class=\"n\">%.1f</td>", n);
		return;
	case CELL_SHARE:
		put(p, "<td class=\"n\">%.2f %%</td>", 100 * n);
		return;
	case CELL_SECONDS:
		put(p, "<td class=\"n\">%.2f s</td>", n);
		return;
	case CELL_SPAN:
		put_span(p, n, c->without);
		return;
	case CELL_WHEN:
		put(p, "<td class=\"t\">%.10s %.5s</td>", s, strlen(s) > 16 ? s + 11 : "");
		return;
	}
}

static bool is_figure(enum cell_kind kind)
{
	return kind != CELL_TEXT && kind != CELL_WHEN;
}

void put_table(struct page *p, const char *caption, const struct column *columns, json_t *rows)
{
	const struct column *c;
	json_t *row;
	size_t i;

	put(p, "<div class=\"wide\" tabindex=\"0\"><table><caption>%s</caption><thead><tr>",
		caption);
	for (c = columns; c->head; c++)
		put(p, "<th scope=\"col\"%s>%s</th>", is_figure(c->kind) ? " class=\"n\"" : "",
			c->head);
	put(p, "</tr></thead><tbody>\n");
	json_array_foreach(rows, i, row)
	{
		put(p, "<tr>");
		for (c = columns; c->head; c++)
			put_cell(p, c, row);
		put(p, "</tr>\n");
	}
	put(p, "</tbody></table></div>\n%s", i ? "" : "<p>None.</p>\n");
}

/* ---- pictures ---- */

void put_bars(struct page *p, json_t *rows, const char *what, const char *a, const char *b)
{
	size_t n = json_array_size(rows), i;
	double most = 1, width = n ? fmin(40, 720.0 / (double)n) : 0;
	json_t *row;

	json_array_foreach(rows, i, row) most =
		fmax(most, page_number(row, a) + page_number(row, b));
	put(p,
		"<svg viewBox=\"0 0 760 130\" width=\"760\" height=\"130\" role=\"img\" "
		"aria-label=\"%s; at most %.0f\">",
		what, most);
	json_array_foreach(rows, i, row)
	{
		double x = 35 + width * (double)i, ha = 110 * page_number(row, a) / most;
		double hb = 110 * page_number(row, b) / most;

		put(p, "<rect class=\"a\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
			x, 115 - ha, width * 0.8, ha);
		if (hb > 0)
			put(p, "<rect class=\"b\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
				x, 115 - ha - hb, width * 0.8, hb);
	}
	put(p, "<text x=\"0\" y=\"14\">%.0f</text><text x=\"0\" y=\"115\">0</text></svg>\n", most);
}
