/* Plots of a rehearsal: volume by source, the queue, deferrals by subnet × cluster. Called by
 * rehearse.c; writes one file. */
#include <errno.h>
#include <math.h>

#include "rehearse.h"

#define WIDTH	1000.0
#define LEFT	90.0
#define RIGHT	20.0
#define PLOT	(WIDTH - LEFT - RIGHT)
#define TALL	230.0
#define GAP	88.0
#define TOP	70.0
#define CELL	22.0
#define COLOURS 10u

static const char *const colours[COLOURS] = { "#3366aa", "#dd8833", "#339966", "#aa4455", "#7766bb",
	"#887755", "#cc77aa", "#55aacc", "#99aa33", "#666666" };

struct plot {
	FILE *f;
	const struct view *v;
	double y; /* top of the present one */
	double most;
};

static void text(const struct plot *p, double x, double y, const char *anchor, const char *class,
	const char *s)
{
	fprintf(p->f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
		class);
	for (; *s; s++) {
		if (*s == '<')
			fputs("&lt;", p->f);
		else if (*s == '&')
			fputs("&amp;", p->f);
		else
			fputc(*s, p->f);
	}
	fputs("</text>\n", p->f);
}

static double x_of(const struct plot *p, double row)
{
	return LEFT + PLOT * row / p->v->nrows;
}

static double x_at(const struct plot *p, ms_t wall)
{
	double hours = (double)(wall - p->v->r->scenario->start) / 3600000 / p->v->step;

	hours = hours < 0 ? 0 : hours > p->v->nrows ? p->v->nrows : hours;
	return x_of(p, hours);
}

static double y_of(const struct plot *p, double value)
{
	return p->y + TALL - TALL * (p->most > 0 ? value / p->most : 0);
}

/* 1, 2 or 5 times a power of ten, so that about four lines fit. */
static double tick(double most)
{
	double raw = most / 4, ten = pow(10, floor(log10(raw > 0 ? raw : 1))), m = raw / ten;

	return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * ten;
}

static void short_number(char out[32], double n)
{
	if (n >= 1e6)
		snprintf(out, 32, "%.4gM", n / 1e6);
	else if (n >= 1e3)
		snprintf(out, 32, "%.4gk", n / 1e3);
	else
		snprintf(out, 32, "%.4g", n);
}

static void label_row(const struct plot *p, unsigned row, char out[48])
{
	ms_t start = p->v->r->hours[row * p->v->step].start;
	char all[48];

	when(all, p->v->r, start, false);
	/* "2026-11-03 10:00": the month and day, or the hour */
	if (p->v->step == 24)
		snprintf(out, 48, "%.5s", all + 5);
	else
		snprintf(out, 48, "%s", all + 11);
}

static void x_axis(const struct plot *p, double y)
{
	unsigned every = p->v->nrows / 12 + 1;
	char s[48];

	for (unsigned i = 0; i < p->v->nrows; i += every) {
		label_row(p, i, s);
		text(p, x_of(p, i + (p->v->step == 24 ? 0.5 : 0)), y + 17, "middle", "small", s);
	}
}

/* When the scenario says that something is wrong. */
static void incidents(const struct plot *p, double height)
{
	const struct scenario *s = p->v->r->scenario;
	double last = -1000;
	unsigned level = 0;

	for (unsigned i = 0; i < s->nincidents; i++) {
		const struct scenario_incident *x = &s->incidents[i];
		double a = x_at(p, x->from), b = x_at(p, x->until);

		if (b - a < 0.5)
			continue;
		fprintf(p->f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
			"class=\"incident\"/>\n",
			a, p->y, b - a, height);
		level = a - last < 150 ? (level + 1) % 3 : 0;
		last = a;
		text(p, a + 3, p->y + 12 + 13 * level, "start", "note", x->name);
	}
}

static void frame(struct plot *p, const char *title, const char *unit, double most)
{
	double step = tick(most), v;
	char s[32];

	p->most = most > 0 ? ceil(most / step) * step : 1;
	if (most <= 0)
		step = 1;
	text(p, LEFT, p->y - 30, "start", "title", title);
	text(p, LEFT - 8, p->y - 10, "end", "small", unit);
	incidents(p, TALL);
	for (v = 0; v <= p->most * 1.001; v += step) {
		fprintf(p->f,
			"<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
			LEFT, LEFT + PLOT, y_of(p, v), y_of(p, v), v > 0 ? "grid" : "axis");
		short_number(s, v);
		text(p, LEFT - 8, y_of(p, v) + 4, "end", "small", s);
	}
	x_axis(p, p->y + TALL);
}

static void legend(const struct plot *p)
{
	double x = LEFT + PLOT;

	/* from the right, above the plot; the first source leftmost */
	for (unsigned i = p->v->r->nsources; i-- > 0;) {
		const char *name = p->v->r->policy->sources[i].name;

		x -= 24 + 7.5 * (double)strlen(name);
		if (x < LEFT + 380)
			return;
		fprintf(p->f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"11\" fill=\"%s\"/>\n", x,
			p->y - 20, colours[i % COLOURS]);
		text(p, x + 15, p->y - 10, "start", "small", name);
	}
}

static void volume(struct plot *p)
{
	const struct view *v = p->v;
	double most = 0, bar = PLOT / v->nrows;

	for (unsigned i = 0; i < v->nrows; i++) {
		double sum = 0;

		for (unsigned k = 0; k < v->r->nsources; k++)
			sum += view_source(v, i, k).delivered;
		most = sum > most ? sum : most;
	}
	frame(p, v->step == 24 ? "Delivered by day and source" : "Delivered by hour and source",
		"messages", most);
	legend(p);
	for (unsigned i = 0; i < v->nrows; i++) {
		double sum = 0;

		for (unsigned k = 0; k < v->r->nsources; k++) {
			double n = view_source(v, i, k).delivered, top = y_of(p, sum + n);

			if (n > 0)
				fprintf(p->f,
					"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
					"height=\"%.2f\" fill=\"%s\"/>\n",
					x_of(p, i) + bar * 0.08, top, bar * 0.84,
					y_of(p, sum) - top, colours[k % COLOURS]);
			sum += n;
		}
	}
	p->y += TALL + GAP;
}

/* Always by hour: a day's mean would hide its peak. */
static void queue(struct plot *p)
{
	const struct rehearsal_result *r = p->v->r;
	char title[96], stored[24];
	double most = 0;

	rehearsal_bytes(stored, r->stored_max);
	snprintf(title, sizeof(title),
		"Waiting in the queue (most within each hour; at most %s on disk)", stored);
	for (unsigned i = 0; i < r->nhours; i++)
		most = (double)r->hours[i].queue_max > most ? (double)r->hours[i].queue_max : most;
	frame(p, title, "messages", most);
	fprintf(p->f, "<path class=\"queue\" d=\"M%.1f %.1f", LEFT, y_of(p, 0));
	for (unsigned i = 0; i < r->nhours; i++) {
		double y = y_of(p, (double)r->hours[i].queue_max);

		fprintf(p->f, "L%.1f %.1fL%.1f %.1f", x_of(p, (double)i / p->v->step), y,
			x_of(p, (double)(i + 1) / p->v->step), y);
	}
	fprintf(p->f, "L%.1f %.1fZ\"/>\n", x_of(p, (double)r->nhours / p->v->step), y_of(p, 0));
	p->y += TALL + GAP;
}

/* White, yellow, red: by the root, so that a per cent can be told from none. */
static void heat(char out[32], double share)
{
	double t = sqrt(share > 1 ? 1 : share);

	if (t < 0.5)
		snprintf(out, 32, "rgb(%d,%d,%d)", (int)(238 + 10 * t), (int)(243 - 50 * t),
			(int)(238 - 260 * t));
	else
		snprintf(out, 32, "rgb(%d,%d,%d)", (int)(243 - 130 * (t - 0.5)),
			(int)(218 - 390 * (t - 0.5)), (int)(108 - 140 * (t - 0.5)));
}

static void scale(const struct plot *p)
{
	static const double shares[] = { 0, 0.01, 0.05, 0.2, 0.5, 1 };
	double x = LEFT + PLOT - 6 * 52;
	char colour[32], s[16];

	for (unsigned i = 0; i < 6; i++) {
		heat(colour, shares[i]);
		fprintf(p->f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"11\" fill=\"%s\" "
			"stroke=\"#999\" stroke-width=\"0.5\"/>\n",
			x + i * 52, p->y - 20, colour);
		snprintf(s, sizeof(s), "%.0f %%", shares[i] * 100);
		text(p, x + i * 52 + 18, p->y - 10, "start", "small", s);
	}
}

static void heat_row(const struct plot *p, unsigned subnet, unsigned cluster, double y)
{
	const struct view *v = p->v;

	for (unsigned i = 0; i < v->nrows; i++) {
		struct rehearsal_cell c = view_path(v, i, subnet, cluster);
		uint64_t all = (uint64_t)c.delivered + c.deferred;
		char colour[32] = "#ffffff", tip[64];

		if (all)
			heat(colour, (double)c.deferred / (double)all);
		snprintf(tip, sizeof(tip), "%u of %llu deferred", c.deferred,
			(unsigned long long)all);
		fprintf(p->f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" "
			"fill=\"%s\"><title>%s</title></rect>\n",
			x_of(p, i), y, PLOT / v->nrows + 0.2, CELL - 2, colour, tip);
	}
}

#define HEAT_ROWS 60u

static unsigned heat_rows(const struct rehearsal_result *r)
{
	unsigned n = r->nsubnets * r->nclusters;

	return n < HEAT_ROWS ? n : HEAT_ROWS;
}

static void heat_map(struct plot *p)
{
	const struct rehearsal_result *r = p->v->r;
	unsigned rows = heat_rows(r), at = 0;
	char net[ADDR_TEXT_MAX + 4];

	text(p, LEFT, p->y - 30, "start", "title",
		"Share of attempts deferred, by subnet and cluster (white: none made)");
	scale(p);
	for (unsigned s = 0; s < r->nsubnets && at < rows; s++) {
		net_format(net, &r->subnets[s]);
		text(p, LEFT, p->y + at * CELL + 13, "start", "net", net);
		p->y += 18;
		for (unsigned c = 0; c < r->nclusters && at < rows; c++, at++) {
			text(p, LEFT - 8, p->y + at * CELL + 14, "end", "small",
				r->scenario->clusters[c].name);
			heat_row(p, s, c, p->y + at * CELL);
		}
	}
	x_axis(p, p->y + at * CELL);
	p->y += at * CELL;
}

static void style(FILE *f)
{
	fputs("<style>text{font-family:Helvetica,Arial,sans-serif;fill:#222}"
	      ".title{font-size:15px;font-weight:bold}.head{font-size:18px;font-weight:bold}"
	      ".small{font-size:11px;fill:#444}.note{font-size:10.5px;fill:#8a3a2a}"
	      ".net{font-size:11px;font-weight:bold}"
	      ".grid{stroke:#ddd;stroke-width:1}.axis{stroke:#555;stroke-width:1}"
	      ".incident{fill:#d9694a;fill-opacity:0.13}"
	      ".queue{fill:#3366aa;fill-opacity:0.45;stroke:#24487a;stroke-width:1}</style>\n",
		f);
}

int rehearse_svg(const struct view *v, const char *path)
{
	const struct rehearsal_result *r = v->r;
	struct plot p = { .v = v, .y = TOP + 36 };
	double height = p.y + 2 * (TALL + GAP) + heat_rows(r) * CELL + r->nsubnets * 18 + 40;
	char from[48], to[48], title[256];
	int e;

	p.f = fopen(path, "we");
	if (!p.f)
		return -errno;
	fprintf(p.f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"viewBox=\"0 0 %.0f %.0f\">\n",
		WIDTH, height, WIDTH, height);
	style(p.f);
	fprintf(p.f, "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n");
	when(from, r, r->scenario->start, false);
	when(to, r, r->now, false);
	snprintf(title, sizeof(title), "%.120s: %s to %s", r->scenario->path, from, to);
	text(&p, LEFT, 34, "start", "head", title);
	volume(&p);
	queue(&p);
	heat_map(&p);
	fputs("</svg>\n", p.f);
	e = ferror(p.f) ? -EIO : 0;
	if (fclose(p.f) && !e)
		e = -errno;
	return e;
}
