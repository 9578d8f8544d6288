/* What is kept: the open minute goes into the rings of its minute, hour and day; what is too old
 * or too much goes out of them; each change is put, to be saved, and what was saved is loaded.
 * Called by history.c, on the owner's thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "inner.h"

#define KEY_MAX 64
#define AHEAD	(2 * 86400000ll) /* what is later than that was counted by a wrong clock */

static const char levels[HISTORY_LEVELS] = { 'm', 'h', 'd' };
static const char classes[CLASSES] = { 'r', 'l', 'w' };
/* Parts of the memory that a ring may use when all want more. */
static const unsigned shares[HISTORY_LEVELS][CLASSES] = {
	[HISTORY_MINUTE] = { 12, 4, 0 },
	[HISTORY_HOUR] = { 2, 4, 0 },
	[HISTORY_DAY] = { 3, 2, 1 },
};

/* ---- keys: history/LEVEL/CLASS/PERIOD; history/LEVEL/CLASS/cut ---- */

static struct slice key_of(char out[KEY_MAX], unsigned l, unsigned c, int64_t period)
{
	int n = snprintf(
		out, KEY_MAX, HISTORY_PREFIX "%c/%c/%013" PRId64, levels[l], classes[c], period);

	return (struct slice){ out, (size_t)n };
}

static void put_cut(const struct history *h, unsigned l, unsigned c, const struct keeping *k)
{
	char key[KEY_MAX], value[KEY_MAX];
	int n = snprintf(key, sizeof(key), HISTORY_PREFIX "%c/%c/cut", levels[l], classes[c]);
	int m = snprintf(value, sizeof(value), "%" PRId64, h->rings[l][c].cut);

	k->put(k->arg, (struct slice){ key, (size_t)n }, (struct slice){ value, (size_t)m });
}

static void forget(
	struct history *h, unsigned l, unsigned c, struct segment *s, const struct keeping *k)
{
	char key[KEY_MAX];

	h->bytes -= s->n;
	k->put(k->arg, key_of(key, l, c, s->period), (struct slice){ 0 });
	segment_unref(s);
}

/* ---- bounds ---- */

static void keep_span(struct history *h, unsigned l, unsigned c, const struct keeping *k)
{
	struct ring *r = &h->rings[l][c];
	ms_t length = history_length((enum history_level)l);
	int64_t last = (h->minute * 60000 + AHEAD) / length;

	while (r->n > r->max)
		forget(h, l, c, ring_take_first(r), k);
	while (r->n && r->a[r->n - 1]->period > last)
		forget(h, l, c, ring_take_last(r), k);
}

/* The one that is farthest over its share loses its oldest period; the last one stays. */
static bool keep_less(struct history *h, const struct keeping *k)
{
	unsigned level = 0, class = 0;
	double most = 0;
	struct ring *r;

	for (unsigned l = 0; l < HISTORY_LEVELS; l++)
		for (unsigned c = 0; c < CLASSES; c++)
			if (h->rings[l][c].n > 1 &&
				(double)h->rings[l][c].bytes / shares[l][c] > most) {
				most = (double)h->rings[l][c].bytes / shares[l][c];
				level = l;
				class = c;
			}
	if (most <= 0)
		return false;
	r = &h->rings[level][class];
	r->cut = r->a[0]->period + 1;
	forget(h, level, class, ring_take_first(r), k);
	put_cut(h, level, class, k);
	return true;
}

static void keep_bounds(struct history *h, const struct keeping *k)
{
	for (unsigned l = 0; l < HISTORY_LEVELS; l++)
		for (unsigned c = 0; c < CLASSES; c++)
			keep_span(h, l, c, k);
	while (h->bytes > h->p.memory && keep_less(h, k))
		;
}

/* ---- the minute ---- */

static void add(struct history *h, const struct segment_head *head, struct open *const *cells,
	size_t n, const struct keeping *k)
{
	struct ring *r = &h->rings[head->level][head->class];
	struct segment *old = ring_find(r, head->period), *s;
	size_t before = old ? old->n : 0;
	char key[KEY_MAX];

	if (segment_merge(&s, head, old, cells, n) || !s)
		return;
	/* nothing new, as of a ramp that is not used: nothing to be written */
	if (old && old->n == s->n && !memcmp(old->data, s->data, s->n)) {
		segment_unref(s);
		return;
	}
	h->bytes += s->n - before;
	if (ring_put(r, s)) {
		h->bytes -= s->n;
		segment_unref(s);
		return;
	}
	k->put(k->arg, key_of(key, head->level, head->class, s->period),
		(struct slice){ s->data, s->n });
}

/* Their days are those of their time zone: around midnight there may be two. */
static void add_ramps(struct history *h, struct open **cells, size_t n, const struct keeping *k)
{
	size_t first = 0, end;

	while (first < n && cells[first]->cell.kind != HISTORY_RAMP)
		first++;
	while (first < n) {
		struct segment_head head = { HISTORY_DAY, CLASS_RAMP, cells[first]->day };

		for (end = first; end < n && cells[end]->day == cells[first]->day; end++)
			;
		add(h, &head, cells + first, end - first, k);
		first = end;
	}
}

void keep_minute(struct history *h, const struct keeping *k)
{
	struct open **cells;
	size_t n = 0;

	for (unsigned i = 0; i < h->nbad; i++) {
		k->put(k->arg, slice_of(h->bad[i]), (struct slice){ 0 });
		free(h->bad[i]);
	}
	h->nbad = 0;
	table_roll_up(&h->open);
	cells = table_sorted(&h->open, &n);
	for (unsigned l = 0; cells && l < HISTORY_LEVELS; l++)
		for (unsigned c = 0; c <= CLASS_LANE; c++) {
			struct segment_head head = { (enum history_level)l, (enum class)c,
				h->minute * 60000 / history_length((enum history_level)l) };

			add(h, &head, cells, n, k);
		}
	if (cells)
		add_ramps(h, cells, n, k);
	free(cells);
	table_clear(&h->open);
	keep_bounds(h, k);
}

/* ---- what was saved ---- */

static int find(const char *of, unsigned n, char c)
{
	const char *p = memchr(of, c, n);

	return p ? (int)(p - of) : -1;
}

/* 0, -EINVAL what no version of ours has written, -ENOMEM. */
static int load(struct history *h, struct slice key, struct slice value)
{
	struct slice rest = slice_from(key, sizeof(HISTORY_PREFIX) - 1);
	char again[KEY_MAX];
	struct segment *s;
	uint64_t cut;
	int l, c, r;

	if (rest.n < 5 || rest.p[1] != '/' || rest.p[3] != '/')
		return -EINVAL;
	l = find(levels, HISTORY_LEVELS, rest.p[0]);
	c = find(classes, CLASSES, rest.p[2]);
	if (l < 0 || c < 0 || !h->rings[l][c].max)
		return -EINVAL;
	if (slice_eq(slice_from(rest, 4), SLICE_LIT("cut"))) {
		r = slice_u64(value, &cut);
		if (r || cut > (uint64_t)1 << 40)
			return -EINVAL;
		h->rings[l][c].cut = (int64_t)cut;
		return 0;
	}
	r = segment_load(&s, (enum history_level)l, (enum class)c, value);
	if (r)
		return r;
	if (!slice_eq(key_of(again, (unsigned)l, (unsigned)c, s->period), key) ||
		ring_find(&h->rings[l][c], s->period) || ring_put(&h->rings[l][c], s)) {
		segment_unref(s);
		return -EINVAL;
	}
	h->bytes += s->n;
	return 0;
}

int history_load(struct history *h, struct slice key, struct slice value)
{
	int r = load(h, key, value);

	/* -ENOMEM: it stays where it is */
	if (r == -EINVAL && h->nbad < BAD_KEYS && !memchr(key.p, '\0', key.n)) {
		h->bad[h->nbad] = slice_dup(key);
		h->nbad += h->bad[h->nbad] != NULL;
	}
	return r;
}
