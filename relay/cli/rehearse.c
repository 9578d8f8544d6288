/* postern rehearse: reads configuration and scenario, runs the rehearsal (relay/rehearse), prints
 * what came of it by rehearse_print.c, rehearse_json.c or rehearse_svg.c. Asks no relay; main
 * thread of a tool. */
#include "rehearse.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "postern/clock.h"

#define HOUR ((ms_t)3600000)

void view_row(const struct view *v, unsigned row, struct rehearsal_hour *ret)
{
	unsigned from = row * v->step, to = from + v->step;

	*ret = v->r->hours[from];
	for (unsigned i = from + 1; i < to && i < v->r->nhours; i++) {
		const struct rehearsal_hour *h = &v->r->hours[i];

		ret->n.arrived += h->n.arrived;
		ret->n.delivered += h->n.delivered;
		ret->n.deferred += h->n.deferred;
		ret->n.diverted += h->n.diverted;
		ret->n.bounced += h->n.bounced;
		ret->n.expired += h->n.expired;
		ret->delay_sum += h->delay_sum;
		ret->queue_end = h->queue_end;
		ret->oldest = h->oldest;
		if (h->queue_max > ret->queue_max)
			ret->queue_max = h->queue_max;
		if (h->stored_max > ret->stored_max)
			ret->stored_max = h->stored_max;
		memcpy(ret->held, h->held, sizeof(ret->held));
	}
}

struct rehearsal_cell view_source(const struct view *v, unsigned row, unsigned source)
{
	struct rehearsal_cell sum = { 0 };

	for (unsigned i = row * v->step; i < (row + 1) * v->step && i < v->r->nhours; i++) {
		const struct rehearsal_cell *c =
			&v->r->by_source[(size_t)i * v->r->nsources + source];

		sum.delivered += c->delivered;
		sum.deferred += c->deferred;
	}
	return sum;
}

struct rehearsal_cell view_path(
	const struct view *v, unsigned row, unsigned subnet, unsigned cluster)
{
	struct rehearsal_cell sum = { 0 };

	for (unsigned i = row * v->step; i < (row + 1) * v->step && i < v->r->nhours; i++) {
		const struct rehearsal_cell *c =
			&v->r->by_path[((size_t)i * v->r->nsubnets + subnet) * v->r->nclusters +
				       cluster];

		sum.delivered += c->delivered;
		sum.deferred += c->deferred;
	}
	return sum;
}

void when(char out[48], const struct rehearsal_result *r, ms_t wall, bool with_day)
{
	const struct zone *z = r->policy->zone;
	ms_t local = wall + (ms_t)zone_offset(z, wall) * 1000;
	struct zone_day first, d;
	char date[ZONE_DATE_MAX];
	size_t n = 0;

	out[0] = '\0';
	if (!wall)
		return;
	zone_day(z, r->scenario->start, &first);
	zone_day(z, wall, &d);
	zone_date_format(date, d.number);
	if (with_day)
		n = (size_t)snprintf(out, 48, "day %d ", d.number - first.number + 1);
	snprintf(out + n, 48 - n, "%s %02d:%02d", date, (int)(local / HOUR % 24),
		(int)(local / 60000 % 60));
}

const char *grouped(char out[32], uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n), at = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}

/* ---- running ---- */

static int play(struct rehearsal *r, const struct scenario *s)
{
	uint64_t told = clock_mono_us();
	int e = 0;

	for (ms_t t = 0; t < s->duration && !e;) {
		t = t + HOUR < s->duration ? t + HOUR : s->duration;
		e = rehearsal_run(r, s->start + t);
		if (clock_mono_us() - told < 200000)
			continue;
		told = clock_mono_us();
		print_progress("%3d %%", (int)(t * 100 / s->duration));
	}
	print_progress_end();
	return e;
}

static int load_rules(const struct config *c, struct classifier **ret)
{
	struct buf errors;
	int r;

	buf_init(&errors, 1 << 20);
	r = config_classifier(c, ret, &errors);
	if (buf_size(&errors))
		print_text(stderr, buf_slice(&errors));
	buf_deinit(&errors);
	return r;
}

struct asked {
	bool json;
	unsigned step; /* 0: chosen by duration */
	const char *svg;
};

static int show(const struct rehearsal *r, const struct asked *q)
{
	struct rehearsal_result result;
	struct view v = { .r = &result };
	int e;

	rehearsal_result(r, &result);
	v.step = q->step ? q->step : result.nhours > 72 ? 24 : 1;
	v.nrows = (result.nhours + v.step - 1) / v.step;
	if (q->json) {
		if (rehearse_json(&v))
			return EX_SOFTWARE;
	} else {
		rehearse_print(&v);
	}
	e = q->svg ? rehearse_svg(&v, q->svg) : 0;
	if (e)
		print_error("%s: cannot be written: %s\n", q->svg, strerror(-e));
	return e ? EX_CANTCREAT : EX_OK;
}

static int rehearse(const struct config *c, const struct scenario *s, const struct asked *q)
{
	struct rehearsal_params p = {
		.scenario = s, .policy = &c->policy, .queue_room = queue_room(&c->queue)
	};
	struct classifier *rules = NULL;
	struct rehearsal *r = NULL;
	int e = EX_CONFIG;

	if (load_rules(c, &rules))
		goto out;
	p.rules = rules;
	e = rehearsal_new(&r, &p);
	if (!e)
		e = play(r, s);
	if (e) {
		print_error("postern rehearse: %s\n", strerror(-e));
		e = EX_OSERR;
		goto out;
	}
	e = show(r, q);
out:
	rehearsal_free(r);
	classifier_free(rules);
	return e;
}

static int load_and_run(const struct cli_arguments *a, const char *path, const struct asked *q)
{
	struct config *c = cli_config(a, true);
	struct scenario *s = NULL;
	struct buf errors;
	int r;

	if (!c)
		return EX_CONFIG;
	buf_init(&errors, 1 << 20);
	r = scenario_load(&s, path, c, &errors);
	if (r && !buf_size(&errors))
		print_error("%s: %s\n", path, strerror(-r));
	if (buf_size(&errors))
		print_text(stderr, buf_slice(&errors));
	buf_deinit(&errors);
	r = !r ? rehearse(c, s, q) : r == -EINVAL ? EX_DATAERR : EX_NOINPUT;
	scenario_free(s);
	config_free(c);
	return r;
}

static int describe(bool roff)
{
	struct buf b;
	int r;

	buf_init(&b, 0);
	r = scenario_describe(&b, roff);
	if (!r)
		print_text(stdout, buf_slice(&b));
	buf_deinit(&b);
	return r ? EX_OSERR : EX_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct asked q = { 0 };
	const char *by;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (cli_value(self, &a, "scenario-help"))
		return describe(false);
	by = cli_value(self, &a, "by");
	if (by && strcmp(by, "hour") && strcmp(by, "day")) {
		print_error("postern rehearse: --by %s: write hour or day\n", by);
		return EX_USAGE;
	}
	if (a.nrest != 1) {
		print_error("postern rehearse: %s\n",
			a.nrest ? "one scenario at a time" : "which scenario? Give its file");
		cli_usage(self, stderr);
		return EX_USAGE;
	}
	q.step = !by ? 0 : !strcmp(by, "hour") ? 1 : 24;
	q.json = cli_value(self, &a, "json") != NULL;
	q.svg = cli_value(self, &a, "svg");
	return load_and_run(&a, a.rest[0], &q);
}

static const struct cli_option options[] = {
	{ "by", 'b', "hour|day", "rows of the table (default: hours up to three days, then days)" },
	{ "json", 'j', NULL, "one JSON document" },
	{ "svg", 's', "FILE", "write plots: volume, queue, deferrals" },
	{ "scenario-help", 0, NULL, "print what a scenario may say" },
	{ 0 },
};
const struct cli_command command_rehearse = {
	.name = "rehearse",
	.arguments = "SCENARIO",
	.summary = "Play a scenario against the configuration, without a network.",
	.help = "Runs the relay's own policy against a virtual clock and a modelled receiver, and "
		"tells how deep the\nqueue gets, when the last message is out, what expires, and "
		"when a warm-up is done. Sources, pools,\nproviders, caps, warm-up and retries are "
		"those of the configuration; mail and receivers those of the\nscenario. Nothing is "
		"sent, and the running relay is not asked.",
	.options = options,
	.run = run,
	.takes_id = true,
};
