/* Scenarios of `postern rehearse`: read by their table, then what no single option can tell.
 * Called by rehearse.c, on the main thread of a tool. */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../source.h"
#include "postern/scenario.h"

#define HOUR 3600000

/* One scenario being checked. */
struct reading {
	struct source *s;
	struct scenario *v;
	const struct config *c;
	const struct zone *zone;
	enum scenario_section id;
	unsigned i;
	const char *title;
	struct zone_day first; /* day 1 */
};

__attribute__((format(printf, 3, 4))) static void wrong(
	const struct reading *x, const char *option, const char *fmt, ...)
{
	const struct section *kind = &scenario_sections[x->id];
	char label[96], text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	diag_error(x->s->diag, scan_line(scan_find(&x->s->scan, kind, x->i), option), "%s%s%s%s",
		section_label(label, kind, x->title), option, option[0] ? ": " : "", text);
}

/* ---- times ---- */

/* "10:00", "10:00:30"; nothing: midnight. */
static bool clock_of(struct slice t, unsigned *second)
{
	uint64_t h, m, s = 0;

	*second = 0;
	if (!t.n)
		return true;
	if ((t.n != 5 && t.n != 8) || t.p[2] != ':' || slice_u64((struct slice){ t.p, 2 }, &h) ||
		slice_u64((struct slice){ t.p + 3, 2 }, &m))
		return false;
	if (t.n == 8 && (t.p[5] != ':' || slice_u64((struct slice){ t.p + 6, 2 }, &s)))
		return false;
	if (h > 24 || m > 59 || s > 59 || (h == 24 && (m || s)))
		return false;
	*second = (unsigned)(h * 3600 + m * 60 + s);
	return true;
}

/* The day that has this number: its noon lies in it wherever clocks are changed. */
static void day_of(const struct reading *x, int32_t number, struct zone_day *ret)
{
	ms_t noon = (ms_t)number * 24 * HOUR + 12 * HOUR;

	zone_day(x->zone, noon - (ms_t)zone_offset(x->zone, noon) * 1000, ret);
}

/* "day 3 10:00", "2026-11-04 10:00", either without its time. relative: day 1 is known. */
static bool moment(const struct reading *x, const char *text, bool relative, ms_t *ret)
{
	struct slice t = slice_trim(slice_of(text)), clock = { "", 0 }, day = t;
	const char *space;
	struct zone_day d;
	unsigned second;
	int32_t number;
	uint64_t n;

	if (relative && slice_case_prefix(t, SLICE_LIT("day "))) {
		t = slice_trim(slice_from(t, 4));
		space = t.n ? memchr(t.p, ' ', t.n) : NULL;
		day = (struct slice){ t.p, space ? (size_t)(space - t.p) : t.n };
		if (slice_u64(day, &n) || n < 1 || n > 1000)
			return false;
		number = x->first.number + (int32_t)n - 1;
	} else {
		space = t.n ? memchr(t.p, ' ', t.n) : NULL;
		day = (struct slice){ t.p, space ? (size_t)(space - t.p) : t.n };
		if (zone_date_parse(&number, day))
			return false;
	}
	if (space)
		clock = slice_trim(slice_from(t, day.n));
	if (!clock_of(clock, &second))
		return false;
	day_of(x, number, &d);
	*ret = zone_minute(x->zone, &d, second / 60) + second % 60 * 1000;
	return true;
}

static void check_moment(const struct reading *x, const char *option, const char *text, ms_t *ret)
{
	if (text && !moment(x, text, true, ret))
		wrong(x, option,
			"\"%.60s\" is no time: write \"day 3\", \"day 3 10:00\", \"2026-11-04\" or "
			"\"2026-11-04 10:00\"",
			text);
}

static void check_span(const struct reading *x, const char *from_text, const char *until_text,
	ms_t *from, ms_t *until)
{
	ms_t end = x->v->start + x->v->duration;

	check_moment(x, "from", from_text, from);
	check_moment(x, "until", until_text, until);
	if (*from && *until && *from >= *until)
		wrong(x, "until", "\"%.40s\" is not after from, \"%.40s\"", until_text, from_text);
	else if ((*from && *from >= end) || (*until && *until <= x->v->start))
		diag_warning(x->s->diag,
			scan_line(scan_find(&x->s->scan, &scenario_sections[x->id], x->i), "from"),
			"%s \"%.63s\": it lies outside the time that is rehearsed",
			scenario_sections[x->id].name, x->title);
}

/* ---- names ---- */

static int provider_of(const struct reading *x, const char *name)
{
	for (unsigned i = 0; i < x->c->policy.nproviders; i++)
		if (!strcmp(x->c->policy.providers[i].name, name))
			return (int)i;
	return -1;
}

static int source_of(const struct reading *x, const char *name)
{
	for (unsigned i = 0; i < x->c->policy.nsources; i++)
		if (!strcmp(x->c->policy.sources[i].name, name))
			return (int)i;
	return -1;
}

static int pool_of(const struct reading *x, const char *name)
{
	for (unsigned i = 0; i < x->c->policy.npools; i++)
		if (!strcmp(x->c->policy.pools[i].name, name))
			return (int)i;
	return -1;
}

static int class_of(const struct reading *x, const char *name)
{
	return policy_class(&x->c->policy, name) ? 0 : -1;
}

static int cluster_of(const struct reading *x, const char *name)
{
	for (unsigned i = 0; i < x->v->nclusters; i++)
		if (!strcmp(x->v->clusters[i].name, name))
			return (int)i;
	return -1;
}

/* Index of what is named, -1 (told) when there is no such; -1 for NULL, too. */
static int named(const struct reading *x, const char *option, const char *name,
	int (*find)(const struct reading *x, const char *name), const char *where)
{
	int i = name ? find(x, name) : -1;

	if (name && i < 0)
		wrong(x, option, "there is no %s \"%.63s\" in the %s", option[0] ? option : "such",
			name, where);
	return i;
}

static const char in_config[] = "configuration", in_scenario[] = "scenario";

/* ---- sections ---- */

static int step_order(const void *a, const void *b)
{
	const struct scenario_change *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static int check_changes(const struct reading *x, struct scenario_traffic *t)
{
	if (!t->nchanges)
		return 0;
	t->steps = calloc(t->nchanges, sizeof(*t->steps));
	if (!t->steps)
		return -ENOMEM;
	for (unsigned i = 0; i < t->nchanges; i++) {
		char *colon = strrchr(t->changes[i], ':');
		uint64_t n = 0;
		bool good;

		/* "day 5 10:00" has a colon, but no volume */
		good = colon && colon[1] && !slice_u64(slice_trim(slice_of(colon + 1)), &n) &&
		       n <= 1000000000;
		if (good) {
			*colon = '\0';
			good = moment(x, t->changes[i], true, &t->steps[i].at);
			*colon = ':';
		}
		if (!good)
			wrong(x, "changes",
				"\"%.60s\" is no change: write a time, a colon and messages a day, "
				"such as \"day 5: 4000000\"",
				t->changes[i]);
		t->steps[i].daily = (uint32_t)n;
	}
	qsort(t->steps, t->nchanges, sizeof(*t->steps), step_order);
	return 0;
}

/* One option's value by itself. 0, -EINVAL (told), -ENOMEM. */
static int part_of(const struct reading *x, const struct option *o, struct slice text, void *ret)
{
	char *copy = slice_dup(slice_trim(text));
	struct buf why;
	int r;

	if (!copy)
		return -ENOMEM;
	buf_init(&why, 0);
	r = value_set_text(o, ret, copy, &why);
	if (r == -EINVAL)
		wrong(x, o->name, "%.*s", (int)buf_size(&why), buf_slice(&why).p);
	buf_deinit(&why);
	free(copy);
	return r;
}

/* "5%: 2MiB"; without a share: *rest. 0, -EINVAL: told, -ENOMEM. */
static int size_of(
	const struct reading *x, const char *text, double *share, uint64_t *bytes, bool *rest)
{
	static const struct option percent = {
		.name = "sizes", .type = OPTION_PERCENT, .min = 0, .max = 1000
	};
	static const struct option size = {
		.name = "sizes", .type = OPTION_SIZE, .min = 1, .max = 1 << 30
	};
	const char *colon = strchr(text, ':');
	int r = 0;

	*share = 0;
	*bytes = 1;
	*rest = !colon;
	if (colon)
		r = part_of(x, &percent, (struct slice){ text, (size_t)(colon - text) }, share);
	return r ? r : part_of(x, &size, slice_of(colon ? colon + 1 : text), bytes);
}

static int check_sizes(const struct reading *x, struct scenario_traffic *t)
{
	double sum = 0, share[SCENARIO_SIZES_MAX], below = 0;
	int without = -1, r = 0;
	bool rest;

	if (!t->nsizes)
		wrong(x, "sizes", "how large are its messages? Write \"60KiB\", or leave it out");
	t->mix = calloc(t->nsizes + 1, sizeof(*t->mix));
	if (!t->mix)
		return -ENOMEM;
	for (unsigned i = 0; i < t->nsizes; i++) {
		r = size_of(x, t->sizes[i], &share[i], &t->mix[i].bytes, &rest);
		if (r)
			return r == -EINVAL ? 0 : r; /* told */
		if (rest && without >= 0)
			wrong(x, "sizes", "\"%.40s\" and \"%.40s\" are without a share: one may be",
				t->sizes[without], t->sizes[i]);
		without = rest ? (int)i : without;
		sum += share[i];
	}
	if (sum > 1 + 1e-9 || (without < 0 && t->nsizes && sum < 1 - 1e-9))
		wrong(x, "sizes", "the shares make %g %%: write 100, or leave one out", sum * 100);
	for (unsigned i = 0; i < t->nsizes; i++) {
		below += (int)i == without ? 1 - sum : share[i];
		t->mix[i].below = below;
		t->mix[i].stored = queue_footprint(t->mix[i].bytes);
	}
	return 0;
}

static int check_traffic(struct reading *x, struct scenario_traffic *t)
{
	int r;
	int pool = named(x, "pool", t->pool, pool_of, in_config);

	t->pool_index = pool < 0 ? 0 : (unsigned)pool;
	named(x, "class", t->class, class_of, in_config);
	if (t->nhours && t->nhours != 24)
		wrong(x, "hours", "%u weights, and there are 24 hours", t->nhours);
	if (t->nweekdays && t->nweekdays != 7)
		wrong(x, "weekdays", "%u weights, and there are 7 days, from Monday on",
			t->nweekdays);
	for (unsigned i = 0; i < t->nclusters; i++)
		if (cluster_of(x, t->clusters[i]) < 0)
			wrong(x, "clusters", "there is no cluster \"%.63s\" in the scenario",
				t->clusters[i]);
	check_span(x, t->from_text, t->until_text, &t->from, &t->until);
	r = check_changes(x, t);
	return r ? r : check_sizes(x, t);
}

static void check_cluster(struct reading *x, struct scenario_cluster *k)
{
	int provider = named(x, "provider", k->provider, provider_of, in_config);

	k->provider_index = provider < 0 ? 0 : (unsigned)provider;
}

static void check_named(struct reading *x)
{
	for (x->i = 0; x->i < x->v->nreputations; x->i++) {
		struct scenario_reputation *p = &x->v->reputations[x->i];
		int i;

		x->id = SCENARIO_REPUTATION;
		x->title = p->name;
		i = provider_of(x, p->name);
		if (i < 0)
			wrong(x, "", "there is no provider of this name in the configuration");
		p->provider_index = i < 0 ? 0 : (unsigned)i;
	}
	for (x->i = 0; x->i < x->v->nhistories; x->i++) {
		struct scenario_history *h = &x->v->histories[x->i];
		int i;

		x->id = SCENARIO_HISTORY;
		x->title = h->name;
		i = source_of(x, h->name);
		if (i < 0)
			wrong(x, "", "there is no source of this name in the configuration");
		h->source_index = i < 0 ? 0 : (unsigned)i;
	}
}

static bool any_in(const struct reading *x, const struct net *n)
{
	for (unsigned i = 0; i < x->c->policy.nsources; i++)
		if (net_contains(n, &x->c->policy.sources[i].address))
			return true;
	return false;
}

static void check_incident(struct reading *x, struct scenario_incident *k)
{
	char *end;
	unsigned long code;

	k->source_index = named(x, "source", k->source, source_of, in_config);
	k->cluster_index = named(x, "cluster", k->cluster, cluster_of, in_scenario);
	k->provider_index = named(x, "provider", k->provider, provider_of, in_config);
	if (k->subnet.addr.family != ADDR_NONE && !any_in(x, &k->subnet))
		wrong(x, "subnet", "no source of the configuration lies in it");
	check_span(x, k->from_text, k->until_text, &k->from, &k->until);
	if (!k->reply)
		return;
	code = strtoul(k->reply, &end, 10);
	if (code < 400 || code > 599 || *end != ' ')
		wrong(x, "reply",
			"\"%.60s\" is no refusal: write its code, 400 to 599, and its text",
			k->reply);
}

static void check_root(struct reading *x)
{
	struct scenario *v = x->v;

	x->id = SCENARIO_ROOT;
	if (v->start_text && !moment(x, v->start_text, false, &v->start))
		wrong(x, "start",
			"\"%.60s\" is no time: write \"2026-11-02\" or \"2026-11-02 08:00\"",
			v->start_text);
	zone_day(x->zone, v->start, &x->first);
	if (!v->ntraffic)
		wrong(x, "", "there is no traffic: add traffic \"main\" { pool = … daily = … }");
	if (!v->nclusters)
		wrong(x, "", "there is no cluster that mail goes to: add cluster \"EUR01\" { }");
	if (v->nclusters > SCENARIO_CLUSTERS_MAX)
		wrong(x, "", "%u clusters are too many: at most %u", v->nclusters,
			SCENARIO_CLUSTERS_MAX);
	if (!x->c->policy.nsources)
		wrong(x, "", "the configuration has no sources");
}

static int check(struct source *s, struct scenario *v, const struct config *c)
{
	struct reading x = { .s = s, .v = v, .c = c, .zone = c->policy.zone };
	int r = 0;

	check_root(&x);
	x.id = SCENARIO_CLUSTER;
	for (x.i = 0; x.i < v->nclusters; x.i++) {
		x.title = v->clusters[x.i].name;
		check_cluster(&x, &v->clusters[x.i]);
	}
	x.id = SCENARIO_TRAFFIC;
	for (x.i = 0; x.i < v->ntraffic && !r; x.i++) {
		x.title = v->traffic[x.i].name;
		r = check_traffic(&x, &v->traffic[x.i]);
	}
	check_named(&x);
	x.id = SCENARIO_INCIDENT;
	for (x.i = 0; x.i < v->nincidents; x.i++) {
		x.title = v->incidents[x.i].name;
		check_incident(&x, &v->incidents[x.i]);
	}
	return r;
}

/* ---- life ---- */

int scenario_parse(struct scenario **ret, const char *path, struct slice text,
	const struct config *c, struct buf *errors)
{
	struct scenario *v = calloc(1, sizeof(*v));
	char *copy = slice_dup(text);
	struct scan_input in = { .path = path, .text = { copy, text.n } };
	struct diag d;
	struct source s = { .schema = &scenario_schema, .base = v, .diag = &d };
	int r = -ENOMEM;

	diag_init(&d);
	if (!v || !copy)
		goto out;
	v->path = strdup(path);
	r = v->path ? scan_text(&s.scan, s.schema, &in, &d) : -ENOMEM;
	if (!r)
		r = source_bind(&s);
	if (!r && !s.scan.broken)
		r = check(&s, v, c);
	scan_deinit(&s.scan);
	if (!r)
		r = diag_print(&d, errors);
	if (!r && d.errors)
		r = -EINVAL;
	if (!r) {
		*ret = v;
		v = NULL;
	}
out:
	diag_deinit(&d);
	free(copy);
	scenario_free(v);
	return r;
}

int scenario_load(
	struct scenario **ret, const char *path, const struct config *c, struct buf *errors)
{
	struct buf text;
	int r;

	buf_init(&text, 0);
	r = config_read_file(path, &text);
	if (r)
		buf_printf(errors, "%s:1: cannot be read: %s\n", path, strerror(-r));
	else
		r = scenario_parse(ret, path, buf_slice(&text), c, errors);
	buf_deinit(&text);
	return r;
}

struct scenario *scenario_free(struct scenario *s)
{
	if (!s)
		return NULL;
	for (unsigned i = 0; i < s->ntraffic; i++) {
		free(s->traffic[i].steps);
		free(s->traffic[i].mix);
	}
	schema_free(&scenario_schema, s);
	free(s->path);
	free(s);
	return NULL;
}

int scenario_describe(struct buf *out, bool roff)
{
	int r = 0;

	for (unsigned id = 0; id < scenario_schema.n && !r; id++)
		r = section_describe(out, &scenario_schema.sections[id], roff);
	return r;
}
