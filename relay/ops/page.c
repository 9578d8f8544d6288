/* The page for people at "/": what waits and why, lanes, clusters that are not well, warm-ups.
 * Static HTML without a script, made anew for each request. Called by HTTP on its thread; rows are
 * written on the dispatcher's, ROWS_MAX of a table at most, so that looking costs mail nothing.
 * Every text goes through put_text: names of receivers and their replies are others'. */
#include "page.h"

#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "postern/foreign.h"

#define ROWS_MAX    200u
#define REASONS_MAX 64u

struct page {
	const struct ops_context *ctx;
	struct buf *out;
	int r; /* sticky */
	unsigned rows, left_out;
};

__attribute__((format(printf, 2, 3))) static void put(struct page *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!p->r)
		p->r = buf_vprintf(p->out, fmt, ap);
	va_end(ap);
}

static void put_text(struct page *p, const char *s)
{
	struct buf shown;

	buf_init(&shown, 64 * 1024);
	if (!p->r)
		p->r = foreign_show(&shown, slice_of(s ? s : ""), FOREIGN_TERMINAL);
	for (size_t i = 0; !p->r && i < buf_size(&shown); i++) {
		char c = buf_slice(&shown).p[i];

		if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
			p->r = buf_printf(p->out, "&#%d;", c);
		else
			p->r = buf_add(p->out, &c, 1);
	}
	buf_deinit(&shown);
}

static void cell(struct page *p, const char *s)
{
	put(p, "<td>");
	put_text(p, s);
	put(p, "</td>");
}

static void cell_number(struct page *p, uint64_t n)
{
	put(p, "<td class=\"n\">%llu</td>", (unsigned long long)n);
}

static void cell_time(struct page *p, ms_t wall)
{
	char text[CLOCK_RFC3339_MAX] = "";
	size_t n = wall ? clock_rfc3339(text, wall) : 0;

	text[n < sizeof(text) ? n : 0] = '\0';
	cell(p, text);
}

/* Another row? */
static bool row(struct page *p)
{
	if (p->rows >= ROWS_MAX) {
		p->left_out++;
		return false;
	}
	p->rows++;
	return true;
}

static void table(struct page *p, const char *title, const char *heads)
{
	put(p, "<h2>%s</h2>\n<table><thead><tr>", title);
	for (const char *h = heads; *h;) {
		size_t n = strcspn(h, "|");

		put(p, "<th>%.*s</th>", (int)n, h);
		h += n + (h[n] == '|');
	}
	put(p, "</tr></thead><tbody>\n");
	p->rows = p->left_out = 0;
}

static void table_end(struct page *p)
{
	put(p, "</tbody></table>\n");
	if (!p->rows)
		put(p, "<p>None.</p>\n");
	if (p->left_out)
		put(p, "<p>And %u more: the command line lists all.</p>\n", p->left_out);
}

/* ---- why mail waits: domains by reason ---- */

struct reasons {
	struct why {
		char reason[96], provider[64];
		uint32_t domains, ready, in_flight;
		ms_t until; /* the earliest */
	} all[REASONS_MAX];
	unsigned n;
};

static void add_reason(void *arg, const struct dispatch_domain_info *i)
{
	const char *reason = *i->reason	    ? i->reason
			     : i->in_flight ? "being delivered"
			     : i->ready	    ? "ready"
					    : "its time has not come";
	ms_t until = i->until ? i->until : i->next_due;
	struct reasons *r = arg;
	unsigned k = 0;

	while (k < r->n &&
		(strncmp(r->all[k].reason, reason, sizeof(r->all[k].reason) - 1) ||
			strncmp(r->all[k].provider, i->provider, sizeof(r->all[k].provider) - 1)))
		k++;
	if (k == REASONS_MAX)
		return;
	if (k == r->n) {
		r->n++;
		r->all[k] = (struct why){ 0 };
		snprintf(r->all[k].reason, sizeof(r->all[k].reason), "%s", reason);
		snprintf(r->all[k].provider, sizeof(r->all[k].provider), "%s", i->provider);
	}
	r->all[k].domains++;
	r->all[k].ready += i->ready;
	r->all[k].in_flight += i->in_flight;
	if (until && (!r->all[k].until || until < r->all[k].until))
		r->all[k].until = until;
}

static void ask_reasons(struct dispatch *d, void *arg)
{
	dispatch_domains(d, add_reason, arg);
}

static void put_reasons(struct page *p)
{
	static const struct reasons none;
	struct reasons r = none;

	ask(p->ctx->dispatch, ask_reasons, &r);
	table(p, "Why mail waits", "Reason|Provider|Domains|In memory|In flight|Next at");
	for (unsigned i = 0; i < r.n && row(p); i++) {
		put(p, "<tr>");
		cell(p, r.all[i].reason);
		cell(p, r.all[i].provider);
		cell_number(p, r.all[i].domains);
		cell_number(p, r.all[i].ready);
		cell_number(p, r.all[i].in_flight);
		cell_time(p, r.all[i].until);
		put(p, "</tr>\n");
	}
	table_end(p);
}

/* ---- lanes, those that are not well first; warm-ups ---- */

struct lanes {
	struct page *p;
	bool well;
};

static void put_lane(void *arg, const struct policy_lane_info *i)
{
	struct lanes *l = arg;
	struct page *p = l->p;

	if (l->well != !strcmp(i->health, "healthy") || !row(p))
		return;
	put(p, l->well ? "<tr>" : "<tr class=\"bad\">");
	cell(p, i->source);
	cell(p, i->subnet);
	cell(p, i->cluster);
	cell(p, i->provider);
	cell(p, i->health);
	cell(p, i->cause);
	put(p, "<td class=\"n\">%u / %u</td>", i->in_use, i->window);
	put(p, "<td class=\"n\">%.0f / %.0f</td>", i->recent_good, i->recent_bad);
	cell_time(p, i->until);
	put(p, "</tr>\n");
}

static void ask_lanes(struct dispatch *d, void *arg)
{
	struct lanes *l = arg;

	l->well = false;
	policy_lanes(dispatch_policy(d), dispatch_now(d), put_lane, l);
	l->well = true;
	policy_lanes(dispatch_policy(d), dispatch_now(d), put_lane, l);
}

static void put_warmup(void *arg, const struct policy_warmup_info *i)
{
	struct page *p = arg;

	if (!row(p))
		return;
	put(p, "<tr>");
	cell(p, i->source);
	cell(p, i->provider);
	put(p, "<td class=\"n\">%u / %u</td>", i->rung, i->nrungs);
	if (i->allowance == UINT32_MAX)
		cell(p, "no limit");
	else
		cell_number(p, i->allowance);
	cell_number(p, i->used);
	put(p, "<td class=\"n\">%.2f %%</td>", i->share * 100);
	cell(p, i->state);
	cell_time(p, i->until);
	put(p, "</tr>\n");
}

static void ask_warmups(struct dispatch *d, void *arg)
{
	policy_warmups(dispatch_policy(d), dispatch_now(d), put_warmup, arg);
}

/* ---- the whole ---- */

static void put_head(struct page *p)
{
	char why[400] = "", hostname[256];
	struct queue_stats q;
	struct dispatch_stats d;
	bool bad = health_check(p->ctx, why, sizeof(why));

	p->ctx->hostname(p->ctx->arg, hostname);
	queue_stats(p->ctx->queue, &q);
	dispatch_stats(p->ctx->dispatch, &d);
	put(p, "<!doctype html>\n<html lang=\"en\"><head><meta "
	       "charset=\"utf-8\"><title>Postern</title>"
	       "<meta name=\"viewport\" content=\"width=device-width\">"
	       "<link rel=\"stylesheet\" href=\"/style.css\"></head><body>\n<h1>");
	put_text(p, hostname);
	put(p, "</h1>\n<p class=\"%s\">", bad ? "bad" : "good");
	put_text(p, bad ? why : "New mail is accepted.");
	put(p, "</p>\n<p>");
	put(p,
		"%llu messages for %llu recipients wait. Since the start: %llu recipients "
		"delivered, %llu "
		"attempts deferred, %llu returned, %llu expired. %u connections out, %u recipients "
		"in "
		"flight.</p>\n",
		(unsigned long long)q.messages, (unsigned long long)q.recipients,
		(unsigned long long)d.delivered, (unsigned long long)d.deferred,
		(unsigned long long)d.bounced, (unsigned long long)d.expired, d.connections,
		d.in_flight);
}

int page_render(struct buf *out, const struct ops_context *ctx)
{
	struct page p = { .ctx = ctx, .out = out };
	struct lanes lanes = { .p = &p };

	put_head(&p);
	put_reasons(&p);
	table(&p, "Lanes",
		"Source|Subnet|Cluster|Provider|Health|Cause|In use / window|Lately accepted / "
		"refused|Until");
	ask(ctx->dispatch, ask_lanes, &lanes);
	table_end(&p);
	table(&p, "Warm-ups", "Source|Provider|Rung|Allowance|Used|Deferred|State|Until");
	ask(ctx->dispatch, ask_warmups, &p);
	table_end(&p);
	put(&p, "<p class=\"small\">Postern " POSTERN_VERSION
		". As of the moment it was loaded; read only. <a href=\"/metrics\">/metrics</a> is "
		"for "
		"Prometheus, <a href=\"/health\">/health</a> for load "
		"balancers.</p>\n</body></html>\n");
	return p.r;
}

const char page_style[] =
	"body{font:15px/1.4 sans-serif;margin:1.5em;color:#222;background:#fff}"
	"table{border-collapse:collapse}th,td{text-align:left;padding:.15em .8em .15em 0;"
	"border-bottom:1px solid #ddd;vertical-align:top}.n{text-align:right}"
	"tr.bad{background:#fde8e8}p.bad{color:#a00;font-weight:bold}p.good{color:#060}"
	".small{color:#666;font-size:13px}"
	"@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8bf}"
	"th,td{border-color:#444}tr.bad{background:#402020}p.bad{color:#f88}p.good{color:#8c8}}\n";
