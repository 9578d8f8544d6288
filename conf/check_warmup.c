/* Warm-up plans as they stand to each other, to the pools and to the calendar: one plan for a
 * source at a provider, and warnings of what was hardly meant. */
#include <stdlib.h>
#include <string.h>

#include "postern/clock.h"
#include "postern/zone.h"
#include "source.h"

#define STEP_MAX   2.5
#define FUTURE_MAX 60 /* days */

static unsigned line(const struct source *s, unsigned i, const char *option)
{
	return scan_line(scan_find(&s->scan, &sections[SECTION_WARMUP], i), option);
}

static const char *source_name(const struct source *s, unsigned i)
{
	return s->config->policy.sources[i].name;
}

/* The plan of this source at this provider among those before (plan, k); in *again its place. */
static bool planned_before(
	const struct policy_params *p, unsigned plan, unsigned k, unsigned *again)
{
	const struct warmup_params *w = &p->warmups[plan];

	for (unsigned i = 0; i <= plan; i++) {
		unsigned n = i < plan ? p->warmups[i].nsources : k;

		if (p->warmups[i].provider != w->provider)
			continue;
		for (unsigned j = 0; j < n; j++) {
			if (p->warmups[i].sources[j] == w->sources[k]) {
				*again = i;
				return true;
			}
		}
	}
	return false;
}

static void check_once(struct source *s, unsigned i)
{
	const struct policy_params *p = &s->config->policy;
	const struct warmup_params *w = &p->warmups[i];
	unsigned other = 0;
	char where[DIAG_WHERE_MAX];

	for (unsigned k = 0; k < w->nsources; k++) {
		if (!planned_before(p, i, k, &other))
			continue;
		if (other == i)
			diag_error(s->diag, line(s, i, "sources"),
				"warmup \"%s\": sources: \"%s\" is in it twice", w->name,
				source_name(s, w->sources[k]));
		else
			diag_error(s->diag, line(s, i, "sources"),
				"warmup \"%s\": sources: warmup \"%s\" in %s has a plan for "
				"source \"%s\" at the same provider: take it out of one of them",
				w->name, p->warmups[other].name,
				diag_where(
					s->diag, line(s, other, ""), line(s, i, "sources"), where),
				source_name(s, w->sources[k]));
	}
}

/* Of what the operator wrote; what is built in is so on purpose. */
static void check_steps(struct source *s, unsigned i)
{
	const struct warmup_params *w = &s->config->policy.warmups[i];
	const struct config_warmup *written = &s->config->warmups[i];
	const char *option = written->ndaily > 0 ? "daily" : "growth";

	if (written->ndaily == 0 && written->first == 0)
		return;
	for (unsigned k = 1; k < w->ndaily; k++) {
		uint32_t before = w->daily[k - 1], now = w->daily[k];

		if (now <= before)
			diag_warning(s->diag, line(s, i, option),
				"warmup \"%s\": %s: day %u (%u) is not more than the day before it "
				"(%u): nothing grows there",
				w->name, option, k + 1, now, before);
		else if (now > before * STEP_MAX)
			diag_warning(s->diag, line(s, i, option),
				"warmup \"%s\": %s: from day %u to %u the step is from %u to %u: "
				"receivers throttle a growth like this; 10 to 40 %% are usual",
				w->name, option, k, k + 1, before, now);
		else
			continue;
		return; /* one is enough to look there */
	}
}

static bool pool_has(const struct pool_params *p, unsigned source)
{
	for (unsigned i = 0; i < p->nmembers; i++) {
		if (p->members[i].source == source)
			return true;
	}
	return false;
}

static bool plan_has(const struct warmup_params *w, unsigned source)
{
	for (unsigned i = 0; i < w->nsources; i++) {
		if (w->sources[i] == source)
			return true;
	}
	return false;
}

static void check_members(struct source *s, unsigned i)
{
	const struct policy_params *p = &s->config->policy;
	const struct warmup_params *w = &p->warmups[i];

	for (unsigned k = 0; k < w->nsources; k++) {
		bool found = false;

		for (unsigned j = 0; j < p->npools; j++)
			found |= pool_has(&p->pools[j], w->sources[k]);
		if (!found)
			diag_warning(s->diag, line(s, i, "sources"),
				"warmup \"%s\": sources: source \"%s\" is in no pool: nothing will "
				"go from it, so it will never be warm",
				w->name, source_name(s, w->sources[k]));
	}
}

/* Has the pool a source that is not new itself? */
static bool has_other(const struct pool_params *pool, const struct warmup_params *w)
{
	for (unsigned k = 0; k < pool->nmembers; k++) {
		if (!plan_has(w, pool->members[k].source))
			return true;
	}
	return pool->nmembers == 0;
}

static bool shares_source(const struct pool_params *pool, const struct warmup_params *w)
{
	for (unsigned k = 0; k < w->nsources; k++) {
		if (pool_has(pool, w->sources[k]))
			return true;
	}
	return false;
}

static void check_overflow(struct source *s, unsigned i)
{
	const struct policy_params *p = &s->config->policy;
	const struct warmup_params *w = &p->warmups[i];

	if (w->overflow == OVERFLOW_NAMED && !has_other(&p->pools[w->overflow_pool], w))
		diag_warning(s->diag, line(s, i, "overflow"),
			"warmup \"%s\": overflow: all sources of pool \"%s\" are new ones of this "
			"plan: mail over the day's amount will wait",
			w->name, p->pools[w->overflow_pool].name);
	if (w->overflow != OVERFLOW_POOL)
		return;
	for (unsigned j = 0; j < p->npools; j++) {
		if (shares_source(&p->pools[j], w) && !has_other(&p->pools[j], w)) {
			diag_warning(s->diag, line(s, i, "overflow"),
				"warmup \"%s\": overflow: pool \"%s\" has no other sources than "
				"those of this plan: mail over the day's amount will wait (if that "
				"is wanted, write overflow = \"wait\")",
				w->name, p->pools[j].name);
			return;
		}
	}
}

static void check_start(struct source *s, unsigned i)
{
	const struct warmup_params *w = &s->config->policy.warmups[i];
	struct zone_day today;

	zone_day(s->config->policy.zone, clock_wall_ms(), &today);
	if (w->start > today.number + FUTURE_MAX)
		diag_warning(s->diag, line(s, i, "start"),
			"warmup \"%s\": start: %d days from today; until then nothing goes from "
			"its sources to this provider",
			w->name, (int)(w->start - today.number));
}

void source_check_warmups(struct source *s)
{
	for (unsigned i = 0; i < s->config->policy.nwarmups; i++) {
		check_once(s, i);
		check_steps(s, i);
		check_members(s, i);
		check_overflow(s, i);
		check_start(s, i);
	}
}
