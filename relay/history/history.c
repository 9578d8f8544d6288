/* The history as its owner sees it: counting into the open minute, and what time brings. Called by
 * the dispatcher, on its thread; pure (time is an argument).
 *
 * open minute (table.c) → closed: into the rings of minute, hour and day (keep.c) → saved as
 * segments (segment.c); asked by views (view.c) */
#include <errno.h>

#include "inner.h"

int history_new(struct history **ret, const struct history_params *p)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->p = *p;
	if (!h->p.memory)
		h->p.memory = 22u << 20;
	h->rings[HISTORY_MINUTE][CLASS_ROLLUP].max = h->rings[HISTORY_MINUTE][CLASS_LANE].max =
		26 * 60;
	h->rings[HISTORY_HOUR][CLASS_ROLLUP].max = h->rings[HISTORY_HOUR][CLASS_LANE].max = 8 * 24;
	for (unsigned c = 0; c < CLASSES; c++)
		h->rings[HISTORY_DAY][c].max = 400;
	h->ever.lanes_max = EVER_LANES;
	*ret = h;
	return 0;
}

struct history *history_free(struct history *h)
{
	if (!h)
		return NULL;
	table_clear(&h->open);
	table_clear(&h->ever);
	for (unsigned l = 0; l < HISTORY_LEVELS; l++)
		for (unsigned c = 0; c < CLASSES; c++)
			ring_free(&h->rings[l][c]);
	for (unsigned i = 0; i < h->nbad; i++)
		free(h->bad[i]);
	free(h);
	return NULL;
}

uint64_t history_memory(const struct history *h)
{
	uint64_t n = sizeof(*h) + table_memory(&h->open) + table_memory(&h->ever);

	for (unsigned l = 0; l < HISTORY_LEVELS; l++)
		for (unsigned c = 0; c < CLASSES; c++)
			n += h->rings[l][c].bytes + h->rings[l][c].cap * sizeof(struct segment *) +
			     h->rings[l][c].n * (sizeof(struct segment) + 16);
	return n;
}

/* ---- counting ---- */

static struct open *lane_cell(struct history *h, const struct history_lane *l)
{
	const struct slice names[HISTORY_NAMES] = { slice_of(l->source), slice_of(l->cluster),
		slice_of(l->subnet), slice_of(l->provider) };

	struct open *o = table_cell(&h->open, HISTORY_LANE, names);

	if (o && !o->ever)
		o->ever = table_cell(&h->ever, HISTORY_LANE, names);
	return o;
}

static void count(struct open *o, const struct history_result *r)
{
	uint32_t *delay;

	if (!o)
		return;
	o->cell.n[HISTORY_ATTEMPTS]++;
	switch (r->what) {
	case HISTORY_IS_DELIVERED:
		o->cell.n[HISTORY_DELIVERED]++;
		o->cell.n[HISTORY_BYTES] += r->bytes;
		o->cell.n[HISTORY_DELAY_MS] += r->delay > 0 ? (uint64_t)r->delay : 0;
		delay = &o->cell.delay[history_bin(r->delay)];
		*delay += *delay < UINT32_MAX;
		break;
	case HISTORY_IS_DEFERRED:
		o->cell.n[HISTORY_DEFERRED +
			  (r->verdict < HISTORY_VERDICTS ? r->verdict : HISTORY_VERDICTS - 1)]++;
		break;
	case HISTORY_IS_BOUNCED:
		o->cell.n[HISTORY_BOUNCED]++;
		break;
	}
}

void history_result(struct history *h, const struct history_lane *l, const char *pool,
	const struct history_result *r)
{
	const struct slice names[HISTORY_NAMES] = { slice_of(pool) };

	struct open *o = l ? lane_cell(h, l) : NULL;

	count(o, r);
	count(o ? o->ever : NULL, r);
	count(table_cell(&h->open, HISTORY_POOL, names), r);
}

void history_connected(struct history *h, const struct history_lane *l, bool well)
{
	struct open *o = lane_cell(h, l);

	for (; o; o = o->ever)
		o->cell.n[well ? HISTORY_CONNECTIONS : HISTORY_CONNECT_FAILURES]++;
}

void history_waiting(struct history *h, const char *pool, const char *provider, const char *reason,
	uint64_t recipients, uint64_t oldest_s)
{
	const struct slice names[HISTORY_NAMES] = { slice_of(pool), slice_of(provider),
		slice_of(reason) };
	struct history_cell c = { .kind = HISTORY_QUEUE };
	struct open *o = table_cell(&h->open, HISTORY_QUEUE, names);

	c.n[HISTORY_WAITING] = recipients;
	c.n[HISTORY_OLDEST] = oldest_s;
	if (o)
		cell_merge(&o->cell, &c);
}

void history_ramp(struct history *h, const struct history_ramp *r)
{
	const struct slice names[HISTORY_NAMES] = { slice_of(r->source), slice_of(r->provider),
		slice_of(r->change), slice_of(r->why) };
	struct open *o = table_cell(&h->open, HISTORY_RAMP, names);

	if (o && (!slice_eq(o->cell.name[2], names[2]) || !slice_eq(o->cell.name[3], names[3]))) {
		table_remove(&h->open, o); /* it says something else now */
		o = table_cell(&h->open, HISTORY_RAMP, names);
	}
	if (!o)
		return;
	o->day = r->day;
	o->cell.n[HISTORY_RAMP_RUNG] = r->rung;
	o->cell.n[HISTORY_RAMP_RUNGS] = r->rungs;
	o->cell.n[HISTORY_RAMP_ALLOWANCE] = r->allowance;
	o->cell.n[HISTORY_RAMP_USED] = r->used;
	o->cell.n[HISTORY_RAMP_DELIVERED] = r->delivered;
	o->cell.n[HISTORY_RAMP_DEFERRED] = r->deferred;
}

/* ---- time ---- */

void history_begin(struct history *h, ms_t wall)
{
	h->minute = wall > 0 ? wall / 60000 : 0;
}

bool history_due(const struct history *h, ms_t wall)
{
	return wall >= 0 && wall / 60000 != h->minute;
}

void history_tick(struct history *h, ms_t wall, history_put *put, void *arg)
{
	if (!history_due(h, wall))
		return;
	history_flush(h, wall, put, arg);
	h->minute = wall / 60000;
}

void history_flush(struct history *h, ms_t wall, history_put *put, void *arg)
{
	const struct keeping k = { put, arg };

	(void)wall; /* what was counted belongs to the minute that was open */
	if (h->open.cells || h->nbad)
		keep_minute(h, &k);
}
