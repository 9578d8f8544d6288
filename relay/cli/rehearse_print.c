/* A rehearsal for people: a table, what happened, what it means. Called by rehearse.c; all text
 * goes through print.c. */
#include "rehearse.h"

#include <string.h>

static void head(const struct view *v)
{
	const struct rehearsal_result *r = v->r;
	char from[48], to[48], n[32];

	when(from, r, r->scenario->start, false);
	when(to, r, r->now, false);
	print("%s: %s to %s, %u sources, %u clusters, seed %u\n", r->scenario->path, from, to,
		r->nsources, r->nclusters, r->scenario->seed);
	if (r->batch > 1)
		print("Played in steps of at most %s messages: those that one connection delivers "
		      "in a row; "
		      "refusals are single.\n",
			grouped(n, r->batch));
	print("\n");
}

static void wait_text(char out[16], ms_t t)
{
	if (t < 60000)
		snprintf(out, 16, "%ds", (int)(t / 1000));
	else if (t < 3600000)
		snprintf(out, 16, "%dm", (int)(t / 60000));
	else
		snprintf(out, 16, "%dh%02d", (int)(t / 3600000), (int)(t / 60000 % 60));
}

static const char *main_reason(const struct rehearsal_hour *h)
{
	unsigned best = 0;

	for (unsigned i = 1; i < 16; i++)
		if (h->held[i] > h->held[best] || (!best && h->held[i]))
			best = i;
	return best ? hold_reason_text((enum hold_reason)best) : "";
}

static void row(const struct view *v, unsigned i)
{
	struct rehearsal_hour h;
	uint64_t tries;
	char at[48], n[4][32], oldest[16], share[16] = "-", stored[24];

	view_row(v, i, &h);
	when(at, v->r, h.start, false);
	if (v->step == 24)
		at[10] = '\0';
	tries = h.n.delivered + h.n.deferred;
	if (tries)
		snprintf(share, sizeof(share), "%.1f%%",
			100.0 * (double)h.n.deferred / (double)tries);
	wait_text(oldest, h.oldest);
	rehearsal_bytes(stored, h.stored_max);
	print("%-16s %11s %11s %7s %9llu %7llu %8llu %11s %8s %11s %7s  %s\n", at,
		grouped(n[0], h.n.arrived), grouped(n[1], h.n.delivered), share,
		(unsigned long long)h.n.diverted, (unsigned long long)h.n.bounced,
		(unsigned long long)h.n.expired, grouped(n[2], h.queue_max), stored,
		grouped(n[3], h.queue_end), h.queue_end ? oldest : "-", main_reason(&h));
}

static void table(const struct view *v)
{
	print("%-16s %11s %11s %7s %9s %7s %8s %11s %8s %11s %7s  %s\n",
		v->step == 24 ? "day" : "hour", "came in", "delivered", "defer", "diverted",
		"bounced", "expired", "queue most", "on disk", "at the end", "oldest", "held by");
	for (unsigned i = 0; i < v->nrows; i++)
		row(v, i);
	print("\n");
}

/* Where some of it has a class: what it means to have one. */
static void classes(const struct rehearsal_result *r)
{
	const struct scenario *s = r->scenario;
	bool any = false;

	for (unsigned i = 0; i < s->ntraffic; i++)
		any |= s->traffic[i].class != NULL;
	if (!any)
		return;
	print("%-16s %-16s %11s %11s %8s %10s %8s\n", "traffic", "class", "came in", "delivered",
		"expired", "mean delay", "longest");
	for (unsigned i = 0; i < s->ntraffic; i++) {
		const struct rehearsal_traffic *t = &r->by_traffic[i];
		char n[2][32], mean[16] = "-", longest[16] = "-";

		if (t->delivered) {
			wait_text(mean, t->delay_sum / (ms_t)t->delivered);
			wait_text(longest, t->delay_max);
		}
		print("%-16s %-16s %11s %11s %8llu %10s %8s\n", s->traffic[i].name,
			s->traffic[i].class ? s->traffic[i].class : "-", grouped(n[0], t->arrived),
			grouped(n[1], t->delivered), (unsigned long long)t->expired, mean, longest);
	}
	print("\n");
}

static void event(const struct rehearsal_result *r, const struct rehearsal_event *e)
{
	char from[48], to[48] = "the end";

	when(from, r, e->first, false);
	if (!e->open)
		when(to, r, e->over, false);
	print("%s %-16s", e->alarm ? "!" : " ", from);
	if (e->over || e->times > 1)
		print(" - %-16s", to);
	else
		print("   %-16s", "");
	print(" %-17s", policy_event_name(e->kind));
	if (e->source[0])
		print(" source %s", e->source);
	if (e->subnet[0] && !e->source[0])
		print(" subnet %s", e->subnet);
	if (e->domain[0])
		print(" domain %s", e->domain);
	if (e->cluster[0])
		print(" at %s", e->cluster);
	else if (e->provider[0])
		print(" at %s", e->provider);
	print(": %s", e->text);
	if (e->times > 1)
		print(", %u times", e->times);
	print("\n");
}

static void events(const struct rehearsal_result *r)
{
	if (!r->nevents)
		return;
	print("%s\n", "What happened (! : the relay would raise an alarm)");
	for (unsigned i = 0; i < r->nevents; i++)
		event(r, &r->events[i]);
	if (r->events_lost)
		print("  and %u more\n", r->events_lost);
	print("\n");
}

static void ramps(const struct rehearsal_result *r)
{
	char date[ZONE_DATE_MAX];

	if (!r->nramps)
		return;
	print("%s\n", "Warm-up, at the end of each day");
	print("%-11s %-10s %-13s %8s %10s %10s %7s  %-10s %s\n", "day", "source", "provider",
		"rung", "allowance", "used", "defer", "state", "the day before");
	for (unsigned i = 0; i < r->nramps; i++) {
		const struct rehearsal_ramp *w = &r->ramps[i];
		char allowance[32] = "-", used[32];

		if (w->allowance != UINT32_MAX)
			grouped(allowance, w->allowance);
		zone_date_format(date, w->day);
		print("%-11s %-10s %-13s %4u/%-3u %10s %10s %6.1f%%  %-10s %s\n", date,
			r->policy->sources[w->source].name, r->policy->providers[w->provider].name,
			w->rung, w->nrungs, allowance, grouped(used, w->used), 100 * w->share,
			w->state, w->why[0] ? w->why : w->change);
	}
	print("\n");
}

static void finding(void *arg, enum finding_level level, const char *text)
{
	static const char *const marks[] = { "  ", "* ", "! " };
	unsigned column = 2;

	print("%s", marks[level]);
	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > 2 && column + 1 + n > 100) {
			print("\n  ");
			column = 2;
		} else if (column > 2) {
			print(" ");
			column++;
		}
		print("%.*s", (int)n, text);
		column += (unsigned)n;
		text += n + (text[n] == ' ');
	}
	print("\n");
}

void rehearse_print(const struct view *v)
{
	head(v);
	table(v);
	classes(v->r);
	ramps(v->r);
	events(v->r);
	print("%s\n", "What it means");
	rehearsal_findings(v->r, finding, NULL);
}
