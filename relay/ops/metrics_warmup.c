/* Ramps as metrics: a sample for each source and provider that has a plan. Called by metrics.c on
 * HTTP's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "metrics_rows.h"
#include "metrics_warmup.h"

struct ramp_row {
	char source[64], provider[64];
	struct policy_warmup_info info; /* its texts are not used */
};
struct rows {
	struct ramp_row *a;
	size_t n;
	bool failed;
};

static void add(void *arg, const struct policy_warmup_info *i)
{
	struct rows *rows = arg;
	struct ramp_row *r = rows_more(&rows->a, &rows->n, sizeof(*r), &rows->failed);

	if (!r)
		return;
	/* names have 63 characters at most */
	strncpy(r->source, i->source, sizeof(r->source) - 1);
	strncpy(r->provider, i->provider, sizeof(r->provider) - 1);
	r->info = *i;
}

static void gather(struct dispatch *d, void *arg)
{
	policy_warmups(dispatch_policy(d), dispatch_now(d), add, arg);
}

static double limit(uint32_t n)
{
	return n == UINT32_MAX ? __builtin_inf() : n;
}

/* name, help, value of a row */
#define WARMUP_METRICS(X)                                                                          \
	X(allowance, "Messages that the source may send to the provider today; +Inf: warm.",       \
		limit(r->info.allowance))                                                          \
	X(used, "Messages of today's allowance that are used.", r->info.used)                      \
	X(left_now, "Messages that pacing lets go at once.", limit(r->info.left_now))              \
	X(rung, "Rung of the plan, from 1; one more than there are: warm.", r->info.rung)          \
	X(rungs, "Rungs of the plan.", r->info.nrungs)                                             \
	X(deferral_ratio, "Share of today's messages deferred for the source's sake.",             \
		r->info.share)                                                                     \
	X(paused, "1 while the ramp is paused or probed.", r->info.paused)                         \
	X(held, "1 while an operator holds the rung.", r->info.operator_hold)

static int put_value(struct buf *out, double v)
{
	return __builtin_isinf(v) ? buf_add_str(out, "+Inf\n") : buf_printf(out, "%.17g\n", v);
}

int metrics_warmup(struct buf *out, const struct ops_context *ctx)
{
	struct rows rows = { 0 };
	int e;

	ask(ctx->dispatch, gather, &rows);
	e = rows.failed ? -ENOMEM : 0;
#define X(name, help, value)                                                                       \
	if (!e && rows.n)                                                                          \
		e = buf_add_str(out, "# HELP postern_warmup_" #name " " help                       \
				     "\n# TYPE postern_warmup_" #name " gauge\n");                 \
	for (size_t i = 0; i < rows.n && !e; i++) {                                                \
		const struct ramp_row *r = &rows.a[i];                                             \
                                                                                                   \
		e = buf_printf(out, "postern_warmup_" #name "{source=\"%s\",provider=\"%s\"} ",    \
			r->source, r->provider);                                                   \
		if (!e)                                                                            \
			e = put_value(out, value);                                                 \
	}
	WARMUP_METRICS(X)
#undef X
	free(rows.a);
	return e;
}
