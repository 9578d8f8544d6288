/* Answers. A view holds the segments that it needs by reference, so that the owner's thread is done
 * with it at once; what they say is read, added up and sorted on the asking thread, a period at a
 * time. */
#include <errno.h>

#include "inner.h"

#define LINES_MAX 20000u /* of one period, or of all as one */

struct history_view {
	struct history_question q;
	char name[NAME_LONGEST + 1];
	ms_t since;
	struct segment *open; /* NULL: nothing yet */
	uint32_t n;
	struct segment *a[];
};

/* The kind whose lines are read for it. */
static enum history_kind stored(enum history_kind by)
{
	return by == HISTORY_PATH ? HISTORY_LANE : by == HISTORY_TOTAL ? HISTORY_PROVIDER : by;
}

static int64_t period_at(ms_t wall, ms_t length)
{
	return wall <= 0 ? 0 : (wall + length - 1) / length;
}

/* The open minute in the form of a closed one. */
static struct segment *open_segment(struct history *h, enum class class)
{
	struct segment_head head = { HISTORY_MINUTE, class, h->minute };
	struct segment *s = NULL;
	struct open **cells;
	size_t n;

	table_roll_up(&h->open);
	cells = table_sorted(&h->open, &n);
	if (cells && segment_merge(&s, &head, NULL, cells, n))
		s = NULL;
	free(cells);
	return s;
}

struct history_view *history_look(struct history *h, const struct history_question *q)
{
	enum class class = class_of(stored(q->by));
	enum history_level level = class == CLASS_RAMP ? HISTORY_DAY : q->level;
	const struct ring *r = &h->rings[level][class];
	ms_t length = history_length(level);
	uint32_t first = ring_place(r, period_at(q->from, length));
	uint32_t end = ring_place(r, period_at(q->to, length));
	struct history_view *v;

	if (end < first)
		end = first;
	v = calloc(1, sizeof(*v) + (end - first) * sizeof(struct segment *));
	if (!v)
		return NULL;
	v->q = *q;
	v->q.level = level;
	if (q->name) {
		memcpy(v->name, q->name, strnlen(q->name, NAME_LONGEST));
		v->q.name = v->name;
	}
	v->since = r->cut * length;
	for (uint32_t i = first; i < end; i++)
		v->a[v->n++] = segment_ref(r->a[i]);
	/* ramps are taken over with the minute's end */
	if (class != CLASS_RAMP && h->open.cells)
		v->open = open_segment(h, class);
	return v;
}

struct history_view *history_ever(struct history *h)
{
	struct segment_head head = { HISTORY_MINUTE, CLASS_LANE, 0 };
	struct history_view *v = calloc(1, sizeof(*v) + sizeof(struct segment *));
	struct segment *s = NULL;
	struct open **cells;
	size_t n = 0;
	int r = -ENOMEM;

	cells = table_sorted(&h->ever, &n);
	if (v && cells)
		r = segment_merge(&s, &head, NULL, cells, n);
	free(cells);
	if (r) {
		free(v);
		return NULL;
	}
	v->q = (struct history_question){ .by = HISTORY_LANE, .sum = true };
	if (s)
		v->a[v->n++] = s;
	return v;
}

struct history_view *history_view_free(struct history_view *v)
{
	if (!v)
		return NULL;
	for (uint32_t i = 0; i < v->n; i++)
		segment_unref(v->a[i]);
	segment_unref(v->open);
	free(v);
	return NULL;
}

ms_t history_view_since(const struct history_view *v)
{
	return v->since;
}

static bool wanted(const struct history_view *v, const struct history_cell *c)
{
	struct slice name = slice_of(v->q.name);

	if (c->kind != stored(v->q.by))
		return false;
	if (!v->q.name)
		return true;
	for (unsigned i = 0; i < cell_identity(c->kind); i++)
		if (slice_eq(c->name[i], name))
			return true;
	return false;
}

static void take(struct table *t, enum history_kind by, const struct history_cell *c)
{
	struct slice names[HISTORY_NAMES];
	struct open *o;

	memcpy(names, c->name, sizeof(names));
	if (by == HISTORY_PATH) {
		names[0] = c->name[2];
		names[1] = c->name[1];
	}
	o = table_cell(t, by, names);
	if (o)
		cell_merge(&o->cell, c);
}

static int take_all(const struct history_view *v, struct table *t, const struct segment *s)
{
	struct segment_reader r;
	struct history_cell c;
	int e = segment_read(&r, (struct slice){ s->data, s->n });

	while (!e && segment_next(&r, &c))
		if (wanted(v, &c))
			take(t, v->q.by, &c);
	segment_read_end(&r);
	return e == -ENOMEM ? e : 0;
}

struct telling {
	bool (*fn)(void *arg, ms_t start, const struct history_cell *c);
	void *arg;
	bool over, lost;
};

static int tell(struct table *t, ms_t start, struct telling *g)
{
	size_t n = 0;
	struct open **all = table_sorted(t, &n);

	for (size_t i = 0; all && i < n && !g->over; i++)
		g->over = !g->fn(g->arg, start, &all[i]->cell);
	g->lost |= t->lost > 0;
	table_clear(t);
	free(all);
	return all ? 0 : -ENOMEM;
}

static ms_t start_of(const struct history_view *v, const struct segment *s)
{
	ms_t length = history_length(v->q.level);

	if (v->q.by == HISTORY_RAMP)
		return v->q.sum ? 0 : s->period;
	if (v->q.sum)
		return v->q.from;
	return s == v->open ? s->period * 60000 / length * length : s->period * length;
}

int history_view_each(struct history_view *v,
	bool (*fn)(void *arg, ms_t start, const struct history_cell *c), void *arg)
{
	struct table t = { .lanes_max = LINES_MAX, .others_max = LINES_MAX };
	struct telling g = { fn, arg, .over = false };
	ms_t start = 0, length = history_length(v->q.level);
	int r = 0;

	for (uint32_t i = 0; i <= v->n && !r && !g.over; i++) {
		const struct segment *s = i < v->n ? v->a[i] : v->open;

		if (!s)
			break;
		/* the open minute lies in a period that was asked for, or does not */
		if (s == v->open && (s->period * 60000 / length * length < v->q.from ||
					    s->period * 60000 >= v->q.to))
			break;
		if (t.cells && start_of(v, s) != start)
			r = tell(&t, start, &g);
		start = start_of(v, s);
		r = r ? r : take_all(v, &t, s);
	}
	if (!r && !g.over)
		r = tell(&t, start, &g);
	table_clear(&t);
	return r ? r : g.lost ? -E2BIG : 0;
}
