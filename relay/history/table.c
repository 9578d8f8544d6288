/* Cells by kind and names: the open minute, cleared when it is closed; and one period of an answer.
 * Bounded: lanes beyond the bound are counted under the name "other", so that what they roll up
 * into by provider stays right. */
#include "inner.h"

static unsigned lanes_max(const struct table *t)
{
	return t->lanes_max ? t->lanes_max : OPEN_LANES;
}

static unsigned others_max(const struct table *t)
{
	return t->others_max ? t->others_max : OPEN_OTHERS;
}

/* A NUL in a name ends it. */
static size_t put_name(char *out, struct slice name)
{
	size_t n = name.p ? strnlen(name.p, name.n < NAME_LONGEST ? name.n : NAME_LONGEST) : 0;

	if (n)
		memcpy(out, name.p, n);
	out[n] = '\0';
	return n + 1;
}

static void set_names(struct open *o, enum history_kind k)
{
	const char *p = o->text + 1;

	for (unsigned i = 0; i < cell_names(k); i++) {
		o->cell.name[i] = (struct slice){ p, strlen(p) };
		p += o->cell.name[i].n + 1;
	}
}

static struct open *add(struct table *t, const char *text, size_t identity, size_t n)
{
	enum history_kind k = (enum history_kind)text[0];
	bool lane = k == HISTORY_LANE;
	struct open *o;

	/* some lanes more, called "other" */
	if (lane ? t->nlanes >= lanes_max(t) + OTHER_LANES : t->nothers >= others_max(t))
		return NULL;
	o = calloc(1, sizeof(*o) + n);
	if (!o)
		return NULL;
	memcpy(o->text, text, n);
	o->cell.kind = k;
	set_names(o, k);
	HASH_ADD_KEYPTR(hh, t->cells, o->text, identity, o);
	if (!o->hh.tbl) {
		free(o);
		return NULL;
	}
	if (lane)
		t->nlanes++;
	else
		t->nothers++;
	return o;
}

struct open *table_cell(struct table *t, enum history_kind k, const struct slice *names)
{
	const struct slice other = SLICE_LIT("other");
	char text[1 + HISTORY_NAMES * (NAME_LONGEST + 1)];
	size_t n = 1, identity = 1;
	struct open *o;

	text[0] = (char)k;
	for (unsigned i = 0; i < cell_names(k); i++) {
		n += put_name(text + n, names[i]);
		if (i < cell_identity(k))
			identity = n;
	}
	HASH_FIND(hh, t->cells, text, identity, o);
	if (!o && k == HISTORY_LANE && t->nlanes >= lanes_max(t) && !slice_eq(names[0], other))
		return table_cell(t, k, (struct slice[]){ other, other, other, names[3] });
	if (!o)
		o = add(t, text, identity, n);
	if (!o)
		t->lost++;
	return o;
}

void table_remove(struct table *t, struct open *o)
{
	HASH_DEL(t->cells, o);
	if (o->cell.kind == HISTORY_LANE)
		t->nlanes--;
	else
		t->nothers--;
	free(o);
}

void table_clear(struct table *t)
{
	struct open *o, *next;

	HASH_ITER (hh, t->cells, o, next)
		table_remove(t, o);
	t->lost = 0;
}

uint64_t table_memory(const struct table *t)
{
	/* about what the names, malloc and the table add */
	return (uint64_t)(t->nlanes + t->nothers) * (sizeof(struct open) + 96);
}

/* ---- roll-ups ---- */

static bool is_rolled(enum history_kind k)
{
	return k == HISTORY_SOURCE || k == HISTORY_SUBNET || k == HISTORY_CLUSTER ||
	       k == HISTORY_PROVIDER;
}

static void into(struct table *t, enum history_kind k, const struct open *lane, unsigned first,
	unsigned second)
{
	const struct slice names[HISTORY_NAMES] = { lane->cell.name[first],
		lane->cell.name[second] };
	struct open *o = names[0].n ? table_cell(t, k, names) : NULL;

	if (o)
		cell_merge(&o->cell, &lane->cell);
}

void table_roll_up(struct table *t)
{
	struct open *o, *last = NULL;

	for (o = t->cells; o; o = o->hh.next) {
		last = o;
		if (is_rolled(o->cell.kind)) { /* somebody looked before */
			memset(o->cell.n, 0, sizeof(o->cell.n));
			memset(o->cell.delay, 0, sizeof(o->cell.delay));
		}
	}
	/* what is added comes behind the last */
	for (o = t->cells; o; o = o == last ? NULL : o->hh.next) {
		if (o->cell.kind != HISTORY_LANE)
			continue;
		/* names of a lane: source, cluster, subnet, provider */
		into(t, HISTORY_SOURCE, o, 0, 0);
		into(t, HISTORY_SUBNET, o, 2, 2);
		into(t, HISTORY_CLUSTER, o, 1, 3);
		into(t, HISTORY_PROVIDER, o, 3, 3);
	}
}

static int order(const void *a, const void *b)
{
	return cell_compare(&(*(struct open *const *)a)->cell, &(*(struct open *const *)b)->cell);
}

struct open **table_sorted(const struct table *t, size_t *n)
{
	size_t count = HASH_COUNT(t->cells), i = 0;
	struct open **all = calloc(count ? count : 1, sizeof(struct open *));

	if (!all)
		return NULL;
	for (struct open *o = t->cells; o; o = o->hh.next)
		all[i++] = o;
	qsort(all, i, sizeof(struct open *), order);
	*n = i;
	return all;
}
