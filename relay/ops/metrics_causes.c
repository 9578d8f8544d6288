/* Health by cause as metrics: samples for each provider and cause, which are few. Called by
 * metrics.c on HTTP's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "metrics_causes.h"
#include "metrics_rows.h"

struct cause_row {
	char provider[64], cause[16];
	struct policy_cause_info info; /* its texts are not used */
};
struct rows {
	struct cause_row *a;
	size_t n;
	bool failed;
};

static void add(void *arg, const struct policy_cause_info *i)
{
	struct rows *rows = arg;
	struct cause_row *r = rows_more(&rows->a, &rows->n, sizeof(*r), &rows->failed);

	if (!r)
		return;
	/* names have 63 characters at most */
	strncpy(r->provider, i->provider, sizeof(r->provider) - 1);
	strncpy(r->cause, i->cause[0] ? i->cause : "none", sizeof(r->cause) - 1);
	r->info = *i;
}

static void gather(struct dispatch *d, void *arg)
{
	policy_causes(dispatch_policy(d), dispatch_now(d), add, arg);
}

static int put_lanes(struct buf *out, const struct rows *rows)
{
	int e = buf_add_str(out, "# HELP postern_policy_lanes Lanes (source and cluster) by the "
				 "cause of their health.\n# TYPE postern_policy_lanes gauge\n");

	for (size_t i = 0; i < rows->n && !e; i++) {
		const struct cause_row *r = &rows->a[i];

		if (r->info.of_lanes)
			e = buf_printf(out,
				"postern_policy_lanes{provider=\"%s\",cause=\"%s\"} %u\n",
				r->provider, r->cause, r->info.lanes);
	}
	return e;
}

static int put_changes(struct buf *out, const struct rows *rows)
{
	static const char name[] = "postern_policy_changes_total";
	int e = buf_printf(out,
		"# HELP %s Changes of health by their cause: rests begun (to resting) and ended "
		"(to "
		"healthy).\n# TYPE %s counter\n",
		name, name);

	for (size_t i = 0; i < rows->n && !e; i++) {
		const struct cause_row *r = &rows->a[i];

		if (r->info.of_changes)
			e = buf_printf(out,
				"%s{provider=\"%s\",cause=\"%s\",to=\"resting\"} %llu\n"
				"%s{provider=\"%s\",cause=\"%s\",to=\"healthy\"} %llu\n",
				name, r->provider, r->cause, (unsigned long long)r->info.rests,
				name, r->provider, r->cause, (unsigned long long)r->info.returns);
	}
	return e;
}

int metrics_causes(struct buf *out, const struct ops_context *ctx)
{
	struct rows rows = { 0 };
	int e;

	ask(ctx->dispatch, gather, &rows);
	e = rows.failed ? -ENOMEM : put_lanes(out, &rows);
	if (!e)
		e = put_changes(out, &rows);
	free(rows.a);
	return e;
}
