/* Warm-up plans: the references and the form of what is written. */
#include <string.h>

#include "postern/clock.h"
#include "source.h"

static unsigned line(const struct source *s, unsigned i, const char *option)
{
	return scan_line(scan_find(&s->scan, &sections[SECTION_WARMUP], i), option);
}

static bool is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* "2026-11-01" */
static bool date_valid(struct slice v)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t year, month, day;

	if (v.n != 10 || v.p[4] != '-' || v.p[7] != '-' ||
		slice_u64((struct slice){ v.p, 4 }, &year) ||
		slice_u64((struct slice){ v.p + 5, 2 }, &month) ||
		slice_u64((struct slice){ v.p + 8, 2 }, &day))
		return false;
	if (year < 2000 || month < 1 || month > 12 || day < 1)
		return false;
	return day <= days[month - 1] + (unsigned)(month == 2 && is_leap((unsigned)year));
}

static bool has_provider(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->policy.nproviders; i++) {
		if (strcmp(c->policy.providers[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool has_source(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->policy.nsources; i++) {
		if (strcmp(c->policy.sources[i].name, name) == 0)
			return true;
	}
	return false;
}

static void check_words(struct source *s, unsigned i, const struct config_warmup *w)
{
	const char *pace = w->pace ? w->pace : "", *overflow = w->overflow ? w->overflow : "";

	if (strcmp(pace, "even") != 0 && strcmp(pace, "hours") != 0 && strcmp(pace, "none") != 0)
		diag_error(s->diag, line(s, i, "pace"),
			"warmup \"%s\": pace: \"%.40s\" is none of \"even\", \"hours\", \"none\"",
			w->name, pace);
	if (strncmp(overflow, "pool:", 5) == 0) {
		if (!config_has_pool(s->config, overflow + 5))
			diag_error(s->diag, line(s, i, "overflow"),
				"warmup \"%s\": overflow: there is no pool \"%.63s\"", w->name,
				overflow + 5);
	} else if (strcmp(overflow, "pool") != 0 && strcmp(overflow, "wait") != 0) {
		diag_error(s->diag, line(s, i, "overflow"),
			"warmup \"%s\": overflow: \"%.40s\" is none of \"pool\", \"wait\", "
			"\"pool:NAME\"",
			w->name, overflow);
	}
}

static void check_plan(struct source *s, unsigned i, const struct config_warmup *w)
{
	const struct scan_section *lines = scan_find(&s->scan, &sections[SECTION_WARMUP], i);

	if (w->provider && !has_provider(s->config, w->provider))
		diag_error(s->diag, line(s, i, "provider"),
			"warmup \"%s\": provider: there is no provider \"%s\"", w->name,
			w->provider);
	for (unsigned k = 0; k < w->nsources; k++) {
		if (!has_source(s->config, w->sources[k]))
			diag_error(s->diag, scan_value_line(lines, "sources", k),
				"warmup \"%s\": sources: there is no source \"%.63s\"", w->name,
				w->sources[k]);
	}
	if (w->start && !date_valid(slice_of(w->start)))
		diag_error(s->diag, line(s, i, "start"),
			"warmup \"%s\": start: \"%.40s\" is not a date such as \"2026-11-01\"",
			w->name, w->start);
	if (!w->ladder == !w->ndaily)
		diag_error(s->diag, line(s, i, w->ladder ? "daily" : ""),
			"warmup \"%s\": give either ladder or daily", w->name);
	check_words(s, i, w);
	/* said rather than passed over: who writes a plan relies on it */
	diag_warning(s->diag, line(s, i, ""),
		"warmup \"%s\": this version checks the plan but does not enforce it: the sources "
		"send without "
		"a daily limit",
		w->name);
}

void source_check_warmups(struct source *s)
{
	for (unsigned i = 0; i < s->config->nwarmups; i++)
		check_plan(s, i, &s->config->warmups[i]);
}
