/* The form in which a period is kept and saved.
 *
 * version, level and class (a byte each), a sum of all that follows (4 bytes), the period; the
 * names that occur, each once; the cells in strict order. A cell: its kind, its names as numbers,
 * which counts are not 0, these, and its delays as bins and counts. Numbers are little-endian base
 * 128.
 *
 * What is read may be anything: nothing is believed that was not checked. */
#include <errno.h>

#include "inner.h"
#include "postern/hash.h"

#define VERSION	  1
#define HEAD	  7u
#define NAMES_MAX 65536u
#define LARGEST	  (8u << 20)

/* ---- references ---- */

struct segment *segment_ref(struct segment *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct segment *segment_unref(struct segment *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		free(s);
	return NULL;
}

static struct segment *segment_new(int64_t period, struct slice data)
{
	struct segment *s = malloc(sizeof(*s) + data.n);

	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->period = period;
	s->n = data.n;
	memcpy(s->data, data.p, data.n);
	return s;
}

static uint32_t sum_of(struct slice s)
{
	return hash32_bytes(HASH32_START, s.p, s.n);
}

/* ---- numbers ---- */

static int put_number(struct buf *b, uint64_t n)
{
	char out[10];
	size_t k = 0;

	while (n >= 128) {
		out[k++] = (char)(n | 128);
		n >>= 7;
	}
	out[k++] = (char)n;
	return buf_add(b, out, k);
}

static uint64_t take_number(struct slice *s, bool *bad)
{
	uint64_t n = 0;

	for (unsigned shift = 0; s->n && shift < 64; shift += 7) {
		unsigned char c = (unsigned char)*s->p;

		*s = slice_from(*s, 1);
		if (shift == 63 && c > 1)
			break;
		n |= (uint64_t)(c & 127) << shift;
		if (!(c & 128))
			return n;
	}
	*bad = true;
	return 0;
}

/* ---- writing ---- */

struct known {
	UT_hash_handle hh;
	uint32_t number;
};
struct writer {
	struct buf names, cells;
	struct known *known;
	uint32_t nnames, ncells;
};

static int number_of(struct writer *w, struct slice name, uint32_t *ret)
{
	struct known *k;
	int r;

	HASH_FIND(hh, w->known, name.p, name.n, k);
	if (k) {
		*ret = k->number;
		return 0;
	}
	k = w->nnames < NAMES_MAX ? calloc(1, sizeof(*k)) : NULL;
	if (!k)
		return -ENOMEM;
	k->number = w->nnames;
	/* the name lives as long as the writing does */
	HASH_ADD_KEYPTR(hh, w->known, name.p, name.n, k);
	if (!k->hh.tbl) {
		free(k);
		return -ENOMEM;
	}
	w->nnames++;
	*ret = k->number;
	r = put_number(&w->names, name.n);
	return r ? r : buf_add_slice(&w->names, name);
}

static int put_counts(struct buf *b, const struct history_cell *c)
{
	uint32_t mask = 0;
	int r;

	for (unsigned i = 0; i < HISTORY_COUNTS; i++)
		mask |= c->n[i] ? 1u << i : 0;
	r = put_number(b, mask);
	for (unsigned i = 0; i < HISTORY_COUNTS && !r; i++)
		if (c->n[i])
			r = put_number(b, c->n[i]);
	return r;
}

static int put_delays(struct buf *b, const struct history_cell *c)
{
	unsigned used = 0;
	int r;

	for (unsigned i = 0; i < HISTORY_BINS; i++)
		used += c->delay[i] != 0;
	r = put_number(b, used);
	for (unsigned i = 0; i < HISTORY_BINS && !r; i++)
		if (c->delay[i]) {
			r = put_number(b, i);
			r = r ? r : put_number(b, c->delay[i]);
		}
	return r;
}

static int put_cell(struct writer *w, const struct history_cell *c)
{
	int r = put_number(&w->cells, c->kind);

	for (unsigned i = 0; i < cell_names(c->kind) && !r; i++) {
		uint32_t n = 0;

		r = number_of(w, c->name[i], &n);
		r = r ? r : put_number(&w->cells, n);
	}
	r = r ? r : put_counts(&w->cells, c);
	r = r ? r : put_delays(&w->cells, c);
	w->ncells++;
	return r;
}

static int finish(struct segment **ret, struct writer *w, const struct segment_head *h)
{
	char head[HEAD] = { VERSION, (char)h->level, (char)h->class };
	struct buf b;
	uint32_t sum;
	int r;

	buf_init(&b, LARGEST);
	r = buf_add(&b, head, sizeof(head));
	r = r ? r : put_number(&b, (uint64_t)h->period);
	r = r ? r : put_number(&b, w->nnames);
	r = r ? r : buf_add_slice(&b, buf_slice(&w->names));
	r = r ? r : put_number(&b, w->ncells);
	r = r ? r : buf_add_slice(&b, buf_slice(&w->cells));
	if (!r) {
		sum = sum_of(slice_from(buf_slice(&b), HEAD));
		for (unsigned i = 0; i < 4; i++)
			b.p[3 + i] = (char)(sum >> 8 * i);
		*ret = segment_new(h->period, buf_slice(&b));
		r = *ret ? 0 : -ENOMEM;
	}
	buf_deinit(&b);
	return r ? -ENOMEM : 0;
}

static void writer_free(struct writer *w)
{
	struct known *k, *next;

	HASH_ITER (hh, w->known, k, next) {
		HASH_DEL(w->known, k);
		free(k);
	}
	buf_deinit(&w->names);
	buf_deinit(&w->cells);
}

/* Both are in order. */
static int merge(struct writer *w, struct segment_reader *old, enum class class,
	struct open *const *cells, size_t n)
{
	struct history_cell a;
	bool have = segment_next(old, &a);
	size_t i = 0;
	int r = 0;

	while (!r) {
		int first;

		while (i < n && class_of(cells[i]->cell.kind) != class)
			i++;
		if (!have && i == n)
			break;
		first = !have ? 1 : i == n ? -1 : cell_compare(&a, &cells[i]->cell);
		if (!first)
			cell_merge(&a, &cells[i]->cell);
		r = put_cell(w, first > 0 ? &cells[i]->cell : &a);
		i += first >= 0;
		if (first <= 0)
			have = segment_next(old, &a);
	}
	return r;
}

int segment_merge(struct segment **ret, const struct segment_head *head, const struct segment *old,
	struct open *const *cells, size_t n)
{
	struct segment_reader reader = { 0 };
	struct writer w = { 0 };
	int r = 0;

	*ret = NULL;
	buf_init(&w.names, LARGEST);
	buf_init(&w.cells, LARGEST);
	if (old)
		r = segment_read(&reader, (struct slice){ old->data, old->n });
	r = r ? r : merge(&w, &reader, head->class, cells, n);
	if (!r && w.ncells)
		r = finish(ret, &w, head);
	segment_read_end(&reader);
	writer_free(&w);
	return r ? -ENOMEM : 0;
}

/* ---- reading ---- */

static bool take_names(struct segment_reader *r)
{
	for (uint64_t i = 0; i < r->nnames && !r->bad; i++) {
		uint64_t n = take_number(&r->rest, &r->bad);

		if (n > NAME_LONGEST || n > r->rest.n || (n && memchr(r->rest.p, '\0', n)))
			r->bad = true;
		if (r->bad)
			break;
		r->names[i] = (struct slice){ r->rest.p, n };
		r->rest = slice_from(r->rest, n);
	}
	return !r->bad;
}

int segment_read(struct segment_reader *r, struct slice data)
{
	*r = (struct segment_reader){ .rest = slice_from(data, HEAD) };
	take_number(&r->rest, &r->bad); /* the period */
	r->nnames = take_number(&r->rest, &r->bad);
	/* each takes a byte at least */
	if (r->bad || r->nnames > NAMES_MAX || r->nnames > r->rest.n) {
		r->nnames = 0;
		r->bad = true;
		return -EINVAL;
	}
	r->names = calloc(r->nnames ? r->nnames : 1, sizeof(*r->names));
	if (!r->names)
		return -ENOMEM;
	if (take_names(r))
		r->cells = take_number(&r->rest, &r->bad);
	return r->bad ? -EINVAL : 0;
}

static bool take_delays(struct segment_reader *r, struct history_cell *c)
{
	uint64_t used = take_number(&r->rest, &r->bad), before = 0;

	if (used > HISTORY_BINS)
		return false;
	for (uint64_t i = 0; i < used && !r->bad; i++) {
		uint64_t bin = take_number(&r->rest, &r->bad), n = take_number(&r->rest, &r->bad);

		if (bin >= HISTORY_BINS || (i && bin <= before) || !n || n > UINT32_MAX)
			return false;
		c->delay[bin] = (uint32_t)n;
		before = bin;
	}
	return !r->bad;
}

static bool take_cell(struct segment_reader *r, struct history_cell *c)
{
	uint64_t kind = take_number(&r->rest, &r->bad), mask;

	memset(c, 0, sizeof(*c));
	if (r->bad || kind >= KINDS_KEPT)
		return false;
	c->kind = (enum history_kind)kind;
	for (unsigned i = 0; i < cell_names(c->kind); i++) {
		uint64_t n = take_number(&r->rest, &r->bad);

		if (r->bad || n >= r->nnames)
			return false;
		c->name[i] = r->names[n];
	}
	mask = take_number(&r->rest, &r->bad);
	if (mask >> HISTORY_COUNTS)
		return false;
	for (unsigned i = 0; i < HISTORY_COUNTS; i++)
		if (mask >> i & 1)
			c->n[i] = take_number(&r->rest, &r->bad);
	return take_delays(r, c);
}

bool segment_next(struct segment_reader *r, struct history_cell *c)
{
	if (!r->cells || r->bad)
		return false;
	r->cells--;
	if (!take_cell(r, c))
		r->bad = true;
	return !r->bad;
}

void segment_read_end(struct segment_reader *r)
{
	free(r->names);
	r->names = NULL;
}

static bool cells_well(struct segment_reader *r, enum class class)
{
	struct history_cell a[2];
	unsigned i = 0;
	bool first = true;

	while (segment_next(r, &a[i])) {
		if (class_of(a[i].kind) != class || (!first && cell_compare(&a[!i], &a[i]) >= 0))
			return false;
		first = false;
		i = !i;
	}
	return !r->bad && !r->rest.n && !first;
}

int segment_load(struct segment **ret, enum history_level l, enum class c, struct slice saved)
{
	struct slice rest = slice_from(saved, HEAD);
	struct segment_reader reader;
	uint32_t sum = 0;
	bool bad = false;
	uint64_t period;
	int r;

	if (saved.n < HEAD || saved.n > LARGEST || saved.p[0] != VERSION || saved.p[1] != (char)l ||
		saved.p[2] != (char)c)
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++)
		sum |= (uint32_t)(unsigned char)saved.p[3 + i] << 8 * i;
	period = take_number(&rest, &bad);
	if (sum != sum_of(slice_from(saved, HEAD)) || bad || period > (uint64_t)1 << 40)
		return -EINVAL;
	r = segment_read(&reader, saved);
	if (!r && !cells_well(&reader, c))
		r = -EINVAL;
	segment_read_end(&reader);
	if (r)
		return r;
	*ret = segment_new((int64_t)period, saved);
	return *ret ? 0 : -ENOMEM;
}
