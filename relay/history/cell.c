/* One line of the history: its kind and names, its counts, its delays. Called by table.c,
 * segment.c and view.c; pure. */
#include <errno.h>
#include <math.h>

#include "inner.h"

enum merging { SUM, MOST, LAST };
static const struct kind {
	const char *name;
	uint8_t names, identity;
	enum merging merging;
} kinds[HISTORY_KIND_COUNT] = {
	[HISTORY_LANE] = { "lane", 4, 4, SUM },
	[HISTORY_SOURCE] = { "source", 1, 1, SUM },
	[HISTORY_SUBNET] = { "subnet", 1, 1, SUM },
	[HISTORY_CLUSTER] = { "cluster", 2, 2, SUM },
	[HISTORY_PROVIDER] = { "provider", 1, 1, SUM },
	[HISTORY_POOL] = { "pool", 1, 1, SUM },
	[HISTORY_QUEUE] = { "queue", 3, 3, MOST },
	[HISTORY_RAMP] = { "ramp", 4, 2, LAST },
	[HISTORY_PATH] = { "path", 2, 2, SUM },
	[HISTORY_TOTAL] = { "total", 0, 0, SUM },
};

const char *history_kind_name(enum history_kind k)
{
	return k < HISTORY_KIND_COUNT ? kinds[k].name : "";
}

int history_kind_parse(const char *name)
{
	for (int k = 0; k < HISTORY_KIND_COUNT; k++)
		if (!strcmp(name, kinds[k].name))
			return k;
	return -EINVAL;
}

ms_t history_length(enum history_level l)
{
	return l == HISTORY_MINUTE ? 60000 : l == HISTORY_HOUR ? 3600000 : 86400000;
}

const char *history_level_name(enum history_level l)
{
	return l == HISTORY_MINUTE ? "minute" : l == HISTORY_HOUR ? "hour" : "day";
}

unsigned cell_names(enum history_kind k)
{
	return kinds[k].names;
}

unsigned cell_identity(enum history_kind k)
{
	return kinds[k].identity;
}

static int compare(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;

	return r ? r : (a.n > b.n) - (a.n < b.n);
}

int cell_compare(const struct history_cell *a, const struct history_cell *b)
{
	int r = (a->kind > b->kind) - (a->kind < b->kind);

	for (unsigned i = 0; !r && i < kinds[a->kind].identity; i++)
		r = compare(a->name[i], b->name[i]);
	return r;
}

void cell_merge(struct history_cell *a, const struct history_cell *b)
{
	switch (kinds[a->kind].merging) {
	case SUM:
		for (unsigned i = 0; i < HISTORY_COUNTS; i++)
			a->n[i] += b->n[i];
		for (unsigned i = 0; i < HISTORY_BINS; i++) {
			uint64_t sum = (uint64_t)a->delay[i] + b->delay[i];

			a->delay[i] = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
		}
		break;
	case MOST:
		for (unsigned i = 0; i < HISTORY_COUNTS; i++)
			a->n[i] = a->n[i] > b->n[i] ? a->n[i] : b->n[i];
		break;
	case LAST:
		for (unsigned i = kinds[a->kind].identity; i < kinds[a->kind].names; i++)
			a->name[i] = b->name[i];
		memcpy(a->n, b->n, sizeof(a->n));
		break;
	}
}

uint64_t history_deferred(const struct history_cell *c)
{
	uint64_t sum = 0;

	for (unsigned i = HISTORY_DEFERRED; i < HISTORY_COUNTS; i++)
		sum += c->n[i];
	return sum;
}

/* ---- delays: bin 0 is below FIRST; bin k ends at FIRST × 2^(k/2); the last one has no end ---- */

#define FIRST 8.0

unsigned history_bin(ms_t delay)
{
	unsigned octave, bin;
	uint64_t d = delay < 8 ? 0 : (uint64_t)delay / 8;

	if (!d)
		return 0;
	octave = 63 - (unsigned)__builtin_clzll(d); /* [8 × 2^octave, 8 × 2^(octave + 1)) */
	if (octave >= HISTORY_BINS / 2)
		return HISTORY_BINS - 1;
	bin = 2 * octave + 1;
	/* its upper half begins at 2^½ */
	bin += (double)delay >= FIRST * (double)(1ull << octave) * 1.4142135623730951;
	return bin < HISTORY_BINS ? bin : HISTORY_BINS - 1;
}

ms_t history_bin_end(unsigned bin)
{
	return bin + 1 < HISTORY_BINS ? (ms_t)ceil(FIRST * pow(2, bin / 2.0)) : 0;
}

ms_t history_quantile(const uint32_t delay[HISTORY_BINS], double q)
{
	uint64_t all = 0, sum = 0, want;
	unsigned k = 0;

	for (unsigned i = 0; i < HISTORY_BINS; i++)
		all += delay[i];
	if (!all)
		return 0;
	want = (uint64_t)ceil(q * (double)all);
	if (!want)
		want = 1;
	while (k < HISTORY_BINS - 1 && (sum += delay[k]) < want)
		k++;
	/* the middle of the bin, as its edges are a factor apart */
	return k ? (ms_t)(FIRST * pow(2, ((double)k - 0.5) / 2) + 0.5) : (ms_t)FIRST / 2;
}
