/* What waits as metrics, out of the survey's last count. Called on HTTP's thread. Bounded: pools are
 * the configuration's, reasons the program's, and both have few providers; past SAMPLES_MAX what is
 * left is one sample under the name "other". */
#include "metrics_queue.h"

#include <string.h>

#include "metrics_label.h"
#include "survey.h"

#define SAMPLES_MAX 2000u

static int put_recipients(struct buf *out, const struct waits *w)
{
	char pool[LABEL_MAX], provider[LABEL_MAX], reason[LABEL_MAX];
	uint64_t other = 0;
	int r = buf_add_str(out,
		"# HELP postern_queue_recipients Recipients that wait, by what they wait for, as "
		"counted last.\n# TYPE postern_queue_recipients gauge\n");

	for (size_t i = 0; i < w->nsums && !r; i++) {
		const struct waits_sum *s = &w->sums[i];

		if (i >= SAMPLES_MAX) {
			other += s->recipients;
			continue;
		}
		r = buf_printf(out,
			"postern_queue_recipients{pool=\"%s\",provider=\"%s\",reason=\"%s\"} "
			"%llu\n",
			metrics_label(pool, slice_of(s->pool)),
			metrics_label(provider, slice_of(s->provider[0] ? s->provider : "unknown")),
			metrics_label(reason, slice_of(s->reason)),
			(unsigned long long)s->recipients);
	}
	if (other && !r)
		r = buf_printf(out,
			"postern_queue_recipients{pool=\"other\",provider=\"other\",reason=\"other\"}"
			" %llu\n",
			(unsigned long long)other);
	return r;
}

/* Sums are in the order of pools. */
static int put_oldest(struct buf *out, const struct surveyed *s)
{
	const struct waits *w = s->waits;
	char pool[LABEL_MAX];
	size_t i = 0;
	int r = buf_add_str(out,
		"# HELP postern_queue_oldest_seconds Age of the oldest message that waits.\n"
		"# TYPE postern_queue_oldest_seconds gauge\n");

	while (i < w->nsums && i < SAMPLES_MAX && !r) {
		const char *name = w->sums[i].pool;
		ms_t oldest = w->sums[i].oldest;

		for (; i < w->nsums && !strcmp(w->sums[i].pool, name); i++)
			if (w->sums[i].oldest && w->sums[i].oldest < oldest)
				oldest = w->sums[i].oldest;
		r = buf_printf(out, "postern_queue_oldest_seconds{pool=\"%s\"} %.3f\n",
			metrics_label(pool, slice_of(name)),
			oldest && s->ended > oldest ? (double)(s->ended - oldest + s->age) / 1000
						    : 0);
	}
	return r;
}

int metrics_queue(struct buf *out, const struct ops_context *ctx)
{
	struct surveyed s;
	int r;

	if (!survey_look(ctx->survey, &s))
		return 0;
	r = put_recipients(out, s.waits);
	if (!r)
		r = put_oldest(out, &s);
	if (!r)
		r = buf_printf(out,
			"# HELP postern_queue_survey_age_seconds How old postern_queue_recipients "
			"and postern_queue_oldest_seconds are.\n"
			"# TYPE postern_queue_survey_age_seconds gauge\n"
			"postern_queue_survey_age_seconds %.3f\n",
			(double)s.age / 1000);
	survey_done(&s);
	return r;
}
