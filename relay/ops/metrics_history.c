/* Counts by provider, cluster and source as metrics, and lanes' health. Called on HTTP's thread.
 * Bounded: the history tells 2,000 lanes apart and calls all others "other"; so many lanes' health
 * is told, those that are not well first. */
#include "metrics_history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "metrics_label.h"
#include "postern/history.h"

#define PROVIDERS_MAX 32u
#define LANES_MAX     2000u

/* ---- deliveries ---- */

struct counting {
	struct buf *out;
	int r;
	unsigned n;
	struct by_provider {
		char name[LABEL_MAX];
		uint64_t delay[HISTORY_BINS], sum_ms;
	} providers[PROVIDERS_MAX];
	struct history_view *view;
};

static void look(struct dispatch *d, void *arg)
{
	struct counting *c = arg;

	c->view = history_ever(dispatch_history(d));
}

static void put_outcome(
	struct counting *c, const struct history_cell *cell, const char *outcome, uint64_t n)
{
	char provider[LABEL_MAX], cluster[LABEL_MAX], source[LABEL_MAX];

	if (!c->r && n)
		c->r = buf_printf(c->out,
			"postern_deliveries_total{provider=\"%s\",cluster=\"%s\",source=\"%s\","
			"outcome=\"%s\"} %llu\n",
			metrics_label(provider, cell->name[3]),
			metrics_label(cluster, cell->name[1]), metrics_label(source, cell->name[0]),
			outcome, (unsigned long long)n);
}

static void add_delays(struct counting *c, const struct history_cell *cell)
{
	char name[LABEL_MAX];
	struct by_provider *p;
	unsigned i = 0;

	metrics_label(name, cell->name[3]);
	while (i < c->n && strcmp(c->providers[i].name, name) != 0)
		i++;
	if (i == PROVIDERS_MAX)
		return;
	p = &c->providers[i];
	if (i == c->n) {
		memcpy(p->name, name, sizeof(name));
		c->n++;
	}
	for (unsigned k = 0; k < HISTORY_BINS; k++)
		p->delay[k] += cell->delay[k];
	p->sum_ms += cell->n[HISTORY_DELAY_MS];
}

static bool put_lane(void *arg, ms_t start, const struct history_cell *cell)
{
	struct counting *c = arg;

	(void)start;
	put_outcome(c, cell, "delivered", cell->n[HISTORY_DELIVERED]);
	put_outcome(c, cell, "deferred", history_deferred(cell));
	put_outcome(c, cell, "bounced", cell->n[HISTORY_BOUNCED]);
	add_delays(c, cell);
	return !c->r;
}

/* Bounds are those of every second bin: 8 ms, 16 ms … */
static int put_delays(struct buf *out, const struct by_provider *p)
{
	static const char name[] = "postern_delivery_delay_seconds";
	const char *provider = p->name;
	uint64_t sum = 0;
	int r = 0;

	for (unsigned k = 0; k < HISTORY_BINS && !r; k++) {
		ms_t end = history_bin_end(k);

		sum += p->delay[k];
		if (k % 2 == 0 && end)
			r = buf_printf(out, "%s_bucket{provider=\"%s\",le=\"%.15g\"} %llu\n", name,
				provider, (double)end / 1000, (unsigned long long)sum);
	}
	if (!r)
		r = buf_printf(out,
			"%s_bucket{provider=\"%s\",le=\"+Inf\"} %llu\n"
			"%s_sum{provider=\"%s\"} %.3f\n%s_count{provider=\"%s\"} %llu\n",
			name, provider, (unsigned long long)sum, name, provider,
			(double)p->sum_ms / 1000, name, provider, (unsigned long long)sum);
	return r;
}

static int put_deliveries(struct buf *out, const struct ops_context *ctx)
{
	struct counting *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->out = out;
	ask(ctx->dispatch, look, c);
	c->r = c->view ? buf_add_str(out,
				 "# HELP postern_deliveries_total Attempts that met a receiver, by what "
				 "became of the recipient.\n# TYPE postern_deliveries_total counter\n")
		       : -ENOMEM;
	r = c->r ? c->r : history_view_each(c->view, put_lane, c);
	r = r ? r : c->r;
	if (!r)
		r = buf_add_str(out,
			"# HELP postern_delivery_delay_seconds Time from acceptance to delivery.\n"
			"# TYPE postern_delivery_delay_seconds histogram\n");
	for (unsigned i = 0; i < c->n && !r; i++)
		r = put_delays(out, &c->providers[i]);
	history_view_free(c->view);
	free(c);
	return r;
}

/* ---- health ---- */

struct lanes {
	unsigned n;
	bool well;
	struct lane {
		char source[64], cluster[64];
		uint8_t health;
	} a[LANES_MAX];
};

static unsigned number_of(enum policy_state health)
{
	static const enum policy_state known[] = { POLICY_HEALTHY, POLICY_THROTTLED, POLICY_PROBING,
		POLICY_RESTING };

	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (health == known[i])
			return i;
	return 4; /* by the operator, or refused for a whole provider */
}

static void add_lane(void *arg, const struct policy_lane_info *i)
{
	struct lanes *l = arg;
	unsigned health = number_of(i->health);
	struct lane *a;

	if (l->n == LANES_MAX || l->well != !health)
		return;
	a = &l->a[l->n++];
	strncpy(a->source, i->source, sizeof(a->source) - 1);
	strncpy(a->cluster, i->cluster, sizeof(a->cluster) - 1);
	a->health = (uint8_t)health;
}

static void gather(struct dispatch *d, void *arg)
{
	struct lanes *l = arg;

	policy_lanes(dispatch_policy(d), dispatch_now(d), add_lane, l);
	l->well = true;
	policy_lanes(dispatch_policy(d), dispatch_now(d), add_lane, l);
}

static int put_health(struct buf *out, const struct ops_context *ctx)
{
	struct lanes *l = calloc(1, sizeof(*l));
	char source[LABEL_MAX], cluster[LABEL_MAX];
	int r;

	if (!l)
		return -ENOMEM;
	ask(ctx->dispatch, gather, l);
	r = buf_add_str(out,
		"# HELP postern_lane_health Health of a lane: 0 healthy, 1 throttled, 2 probing, 3 "
		"resting, 4 blocked or suspended.\n# TYPE postern_lane_health gauge\n");
	for (unsigned i = 0; i < l->n && !r; i++)
		r = buf_printf(out, "postern_lane_health{source=\"%s\",cluster=\"%s\"} %u\n",
			metrics_label(source, slice_of(l->a[i].source)),
			metrics_label(cluster, slice_of(l->a[i].cluster)), l->a[i].health);
	free(l);
	return r;
}

int metrics_history(struct buf *out, const struct ops_context *ctx)
{
	int r = put_deliveries(out, ctx);

	return r ? r : put_health(out, ctx);
}
