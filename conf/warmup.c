/* Warm-up plans: from what is written to what the policy takes. Called by check.c after the
 * sections were bound, on the thread that loads the configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ladders.h"
#include "postern/zone.h"
#include "source.h"

struct plan {
	struct source *s;
	unsigned index;
	const struct scan_section *lines;
	const struct config_warmup *w;
	struct warmup_params *p;
};

static unsigned line(const struct plan *plan, const char *option)
{
	return scan_line(plan->lines, option);
}

/* ---- rungs ---- */

static int set_rungs(struct warmup_params *p, const uint32_t *daily, unsigned n)
{
	p->daily = malloc(n * sizeof(*daily));
	if (!p->daily)
		return -ENOMEM;
	memcpy(p->daily, daily, n * sizeof(*daily));
	p->ndaily = n;
	return 0;
}

static int bind_growth(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;
	uint32_t daily[LADDER_MAX];
	double v = w->first;
	unsigned n = 0;

	if (w->ceiling < w->first) {
		diag_error(plan->s->diag, line(plan, "ceiling"),
			"warmup \"%s\": ceiling: must not be less than first", w->name);
		return 0;
	}
	while (n < LADDER_MAX) {
		daily[n++] = v >= w->ceiling ? w->ceiling : (uint32_t)(v + 0.5);
		if (v >= w->ceiling)
			return set_rungs(plan->p, daily, n);
		v *= w->growth;
		/* small numbers: each day is a step all the same */
		if (v < daily[n - 1] + 1)
			v = daily[n - 1] + 1;
	}
	diag_error(plan->s->diag, line(plan, "growth"),
		"warmup \"%s\": growth: ceiling would be reached after more than %u days: let it "
		"grow faster, or begin higher",
		w->name, LADDER_MAX);
	return 0;
}

static int bind_ladder(const struct plan *plan)
{
	const struct ladder *l = ladder_find(plan->w->ladder ? plan->w->ladder : "outlook");

	if (l)
		return set_rungs(plan->p, l->daily, l->ndaily);
	diag_error(plan->s->diag, line(plan, "ladder"),
		"warmup \"%s\": ladder: there is no plan \"%s\": write \"outlook\", \"sendgrid\", "
		"\"sparkpost\" or \"ses\", or give daily",
		plan->w->name, plan->w->ladder);
	return 0;
}

static int bind_rungs(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;
	unsigned ways =
		(w->ladder != NULL) + (w->first > 0) + (scan_given(plan->lines, "daily") != NULL);

	if (ways > 1) {
		diag_error(plan->s->diag,
			line(plan, scan_given(plan->lines, "daily") ? "daily" : "first"),
			"warmup \"%s\": give one of ladder, daily and first", w->name);
		return 0;
	}
	if (w->first > 0)
		return bind_growth(plan);
	if (!scan_given(plan->lines, "daily"))
		return bind_ladder(plan);
	if (w->ndaily > 0)
		return set_rungs(plan->p, w->daily, w->ndaily);
	if (scan_given(plan->lines, "daily")->nvalues == 0) /* else they were refused one by one */
		diag_error(plan->s->diag, line(plan, "daily"),
			"warmup \"%s\": daily: at least one day is needed, such as {50, 100, 200}",
			w->name);
	return 0;
}

/* ---- hours ---- */

/* "8", "08", "08:30", "24" */
static bool time_parse(unsigned *ret, struct slice s)
{
	const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
	struct slice hour = { s.p, colon ? (size_t)(colon - s.p) : s.n };
	uint64_t h, m = 0;

	if (hour.n > 2 || slice_u64(hour, &h))
		return false;
	if (colon) {
		struct slice minute = slice_from(s, hour.n + 1);

		if (minute.n != 2 || slice_u64(minute, &m) || m > 59)
			return false;
	}
	if (h * 60 + m > 1440)
		return false;
	*ret = (unsigned)(h * 60 + m);
	return true;
}

static bool hours_parse(struct warmup_params *p, struct slice s)
{
	const char *dash = s.n ? memchr(s.p, '-', s.n) : NULL;
	struct slice from = { s.p, dash ? (size_t)(dash - s.p) : 0 };

	return dash && time_parse(&p->hours_from, from) &&
	       time_parse(&p->hours_to, slice_from(s, from.n + 1)) && p->hours_from < 1440 &&
	       p->hours_to > 0 && p->hours_from != p->hours_to;
}

static void bind_pace(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;

	plan->p->pace = w->pace;
	if (w->pace != PACE_HOURS) {
		if (w->hours)
			diag_warning(plan->s->diag, line(plan, "hours"),
				"warmup \"%s\": hours: only used with pace = \"hours\"", w->name);
		return;
	}
	if (!w->hours)
		diag_error(plan->s->diag, line(plan, "pace"),
			"warmup \"%s\": pace: \"hours\" needs the hours: write hours = \"08-18\"",
			w->name);
	else if (!hours_parse(plan->p, slice_of(w->hours)))
		diag_error(plan->s->diag, line(plan, "hours"),
			"warmup \"%s\": hours: \"%.40s\" is no time of day such as \"08-18\", "
			"\"08:30-18\" or \"22-06\"",
			w->name, w->hours);
}

/* ---- shares, overflow, sources ---- */

static void bind_shares(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;
	struct warmup_params *p = plan->p;

	p->advance_at = w->advance_at;
	p->hold_at = w->hold_at;
	p->step_back_at = w->step_back_at;
	p->pause_at = w->pause_at;
	p->idle_reset = (int32_t)(w->idle_reset / 86400000);
	if (!(w->hold_at < w->step_back_at))
		diag_error(plan->s->diag, line(plan, "step_back_at"),
			"warmup \"%s\": step_back_at: must be more than hold_at", w->name);
	if (!(w->step_back_at < w->pause_at))
		diag_error(plan->s->diag, line(plan, "pause_at"),
			"warmup \"%s\": pause_at: must be more than step_back_at", w->name);
	if (w->idle_reset % 86400000 != 0)
		diag_error(plan->s->diag, line(plan, "idle_reset"),
			"warmup \"%s\": idle_reset: write whole days, such as \"30d\"", w->name);
}

static void bind_overflow(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;
	const struct policy_params *all = &plan->s->config->policy;
	const char *overflow = w->overflow ? w->overflow : "";

	if (strcmp(overflow, "pool") == 0) {
		plan->p->overflow = OVERFLOW_POOL;
		return;
	}
	if (strcmp(overflow, "wait") == 0) {
		plan->p->overflow = OVERFLOW_WAIT;
		return;
	}
	if (strncmp(overflow, "pool:", 5) != 0) {
		diag_error(plan->s->diag, line(plan, "overflow"),
			"warmup \"%s\": overflow: \"%.40s\" is none of \"pool\", \"wait\", "
			"\"pool:NAME\"",
			w->name, overflow);
		return;
	}
	plan->p->overflow = OVERFLOW_NAMED;
	for (unsigned i = 0; i < all->npools; i++) {
		if (strcmp(all->pools[i].name, overflow + 5) == 0) {
			plan->p->overflow_pool = i;
			return;
		}
	}
	plan->p->overflow = OVERFLOW_WAIT;
	diag_error(plan->s->diag, line(plan, "overflow"),
		"warmup \"%s\": overflow: there is no pool \"%.63s\"", w->name, overflow + 5);
}

static int bind_sources(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;
	struct warmup_params *p = plan->p;

	p->sources = calloc(w->nsources + 1, sizeof(*p->sources));
	if (!p->sources)
		return -ENOMEM;
	for (unsigned k = 0; k < w->nsources; k++) {
		int source = config_find_source(plan->s->config, slice_of(w->sources[k]));

		if (source >= 0)
			p->sources[p->nsources++] = (unsigned)source;
		else
			diag_error(plan->s->diag, scan_value_line(plan->lines, "sources", k),
				"warmup \"%s\": sources: there is no source \"%.63s\"", w->name,
				w->sources[k]);
	}
	if (w->nsources == 0 && scan_given(plan->lines, "sources"))
		diag_error(plan->s->diag, line(plan, "sources"),
			"warmup \"%s\": sources: at least one is needed", w->name);
	return 0;
}

static void bind_references(const struct plan *plan)
{
	const struct config_warmup *w = plan->w;
	const struct policy_params *all = &plan->s->config->policy;
	const char *provider = w->provider ? w->provider : "";

	plan->p->provider = all->nproviders;
	for (unsigned i = 0; i < all->nproviders; i++) {
		if (strcmp(all->providers[i].name, provider) == 0)
			plan->p->provider = i;
	}
	if (plan->p->provider == all->nproviders)
		diag_error(plan->s->diag, line(plan, "provider"),
			"warmup \"%s\": provider: there is no provider \"%s\"", w->name, provider);
	if (w->start && zone_date_parse(&plan->p->start, slice_of(w->start)))
		diag_error(plan->s->diag, line(plan, "start"),
			"warmup \"%s\": start: \"%.40s\" is not a date such as \"2026-11-01\"",
			w->name, w->start);
	else if (!w->start && scan_given(plan->lines, "start"))
		diag_error(plan->s->diag, line(plan, "start"),
			"warmup \"%s\": start: a date is needed, such as \"2026-11-01\"", w->name);
}

int source_bind_warmups(struct source *s)
{
	struct config *c = s->config;
	int r = 0;

	c->policy.warmups = calloc(c->nwarmups + 1, sizeof(*c->policy.warmups));
	if (!c->policy.warmups)
		return -ENOMEM;
	c->policy.nwarmups = c->nwarmups;
	for (unsigned i = 0; i < c->nwarmups && !r; i++) {
		struct plan plan = { s, i, scan_find(&s->scan, &sections[SECTION_WARMUP], i),
			&c->warmups[i], &c->policy.warmups[i] };

		plan.p->name = plan.w->name; /* borrowed: both live as long as the configuration */
		bind_references(&plan);
		r = bind_sources(&plan);
		if (!r)
			r = bind_rungs(&plan);
		bind_pace(&plan);
		bind_shares(&plan);
		bind_overflow(&plan);
	}
	return r;
}

void config_free_warmups(struct policy_params *p)
{
	for (unsigned i = 0; i < p->nwarmups; i++) {
		free(p->warmups[i].sources);
		free(p->warmups[i].daily);
	}
	free(p->warmups);
	zone_free(p->zone);
}
