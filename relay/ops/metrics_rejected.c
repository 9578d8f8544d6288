/* Refusals as a metric: a sample for each listener and reason that there was. Called by metrics.c
 * on HTTP's thread. */
#include "metrics_rejected.h"

#include "metrics_label.h"

struct rendering {
	struct buf *out;
	int r;
};

static void put(void *arg, const char *listener, enum smtp_reject why, uint64_t n)
{
	struct rendering *g = arg;
	char name[LABEL_MAX];

	if (!g->r)
		g->r = buf_printf(g->out,
			"postern_rejected_total{listener=\"%s\",reason=\"%s\"} %llu\n",
			metrics_label(name, slice_of(listener)), smtp_reject_name(why),
			(unsigned long long)n);
}

int metrics_rejected(struct buf *out, const struct ops_context *ctx)
{
	struct rendering g = { .out = out };

	g.r = buf_add_str(out,
		"# HELP postern_rejected_total What clients were refused, by reason.\n"
		"# TYPE postern_rejected_total counter\n");
	if (ctx->limits)
		session_limits_rejected(ctx->limits, put, &g);
	return g.r;
}
