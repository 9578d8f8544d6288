/* The page structure of the data file, verified without LMDB: each page is reached once, lies
 * inside the file, and its keys are in order. Called by open.c before LMDB may map the file, for
 * as long as a start may wait, and by check-queue for the whole of it. One thread; reads only. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "postern/clock.h"
#include "postern/rawfile.h"
#include "rawbytes.h"

#define HEADER	      16u
#define NODE_HEADER   8u
#define DEPTH_MAX     32u
#define KEY_MAX	      511u
#define NO_PAGE	      UINT64_MAX
#define LINES_MAX     100u
#define LOOK_AT_CLOCK 256u

enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4 };
enum { NODE_BIG = 1, NODE_TREE = 2 };
enum tree_kind { TREE_FREE, TREE_MAIN, TREE_RECORDS };

struct walk {
	int fd;
	const struct raw_meta *m;
	uint64_t deadline_us, looked;
	bool late; /* leaf pages are left out from now on */
	void (*say)(void *arg, const char *line);
	void *arg;
	uint64_t *seen;			/* a bit a page: used, or listed as free */
	unsigned char *page[DEPTH_MAX]; /* one a level */
	unsigned found;
	int r;
};

struct tree {
	struct walk *w;
	enum tree_kind kind;
	const char *name;
	uint16_t depth;
};

__attribute__((format(printf, 3, 4))) static void wrong(
	const struct tree *t, uint64_t page, const char *fmt, ...)
{
	struct walk *w = t->w;
	char line[256];
	va_list ap;
	int n;

	if (w->found++ >= LINES_MAX || !w->say)
		return;
	n = snprintf(line, sizeof(line), "page %" PRIu64 " of %s: ", page, t->name);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	w->say(w->arg, line);
}

/* False, and told, when the number is out of range or the page known already. */
static bool claim(const struct tree *t, uint64_t page, uint64_t n, uint64_t from)
{
	struct walk *w = t->w;

	if (page < 2 || n > w->m->last_page || page > w->m->last_page + 1 - n) {
		wrong(t, from, "points to page %" PRIu64 ", which does not exist", page);
		return false;
	}
	for (uint64_t i = page; i < page + n; i++) {
		if (w->seen[i / 64] >> (i % 64) & 1) {
			wrong(t, from, "page %" PRIu64 " is used twice", i);
			return false;
		}
		w->seen[i / 64] |= 1ull << (i % 64);
	}
	return true;
}

static bool read_page(const struct tree *t, uint64_t page, unsigned char *to, size_t n)
{
	ssize_t got = pread(t->w->fd, to, n, (off_t)(page * t->w->m->page_size));

	if (got < 0)
		t->w->r = -errno;
	else if ((size_t)got < n)
		wrong(t, page, "lies behind the end of the file");
	return got == (ssize_t)n;
}

static bool over_time(struct walk *w)
{
	if (!w->late && w->deadline_us && ++w->looked % LOOK_AT_CLOCK == 0)
		w->late = clock_mono_us() > w->deadline_us;
	return w->late;
}

/* ---- values ---- */

static void check_free_list(const struct tree *t, uint64_t page, const unsigned char *v, size_t n)
{
	uint64_t count = n >= 8 ? get64(v) : 0;

	if (n < 8 || n % 8 != 0 || count > n / 8 - 1) {
		wrong(t, page, "a list of free pages makes no sense");
		return;
	}
	for (uint64_t i = 1; i <= count && !t->w->r; i++) {
		if (!claim(t, get64(v + 8 * i), 1, page))
			return;
	}
}

/* A value on pages of its own. Its content is read only where it steers LMDB: lists of free pages.
 */
static void check_big(const struct tree *t, uint64_t page, const unsigned char *ref, uint64_t size)
{
	const uint64_t psize = t->w->m->page_size, first = get64(ref),
		       n = (size + HEADER + psize - 1) / psize;
	unsigned char head[HEADER], *all;
	uint32_t pages;

	if (!claim(t, first, n, page) || over_time(t->w) ||
		!read_page(t, first, head, sizeof(head)))
		return;
	memcpy(&pages, head + 12, sizeof(pages));
	if (get64(head) != first || get16(head + 10) != PAGE_OVERFLOW || pages != n) {
		wrong(t, first, "should hold a value of %" PRIu64 " bytes and does not", size);
		return;
	}
	if (t->kind != TREE_FREE)
		return;
	all = malloc(n * psize);
	if (!all)
		t->w->r = -ENOMEM;
	else if (read_page(t, first, all, n * psize))
		check_free_list(t, first, all + HEADER, size);
	free(all);
}

static void walk_page(const struct tree *t, uint64_t page, uint64_t from, unsigned level);

static void walk_subtree(const struct tree *t, uint64_t page, const unsigned char *key, size_t nkey,
	const unsigned char *v, size_t n)
{
	char name[32];
	struct tree sub = { .w = t->w, .kind = TREE_RECORDS, .name = name };
	uint64_t root;

	snprintf(name, sizeof(name), "tree %.*s", (int)(nkey < 16 ? nkey : 16), (const char *)key);
	if (t->kind != TREE_MAIN || n != 48) {
		wrong(t, page, "a description of a tree where none belongs");
		return;
	}
	sub.depth = get16(v + 6);
	root = get64(v + 40);
	/* flags would change what LMDB takes the pages for; none of our trees has any */
	if ((root == NO_PAGE) != (sub.depth == 0) || sub.depth >= DEPTH_MAX / 2 || get16(v + 4))
		wrong(&sub, page, "its description makes no sense");
	else if (root != NO_PAGE)
		walk_page(&sub, root, page, DEPTH_MAX / 2);
}

/* ---- pages ---- */

static bool key_before(const unsigned char *a, size_t na, const unsigned char *b, size_t nb)
{
	int d = memcmp(a, b, na < nb ? na : nb);

	return d < 0 || (d == 0 && na < nb);
}

/* The free list's keys are numbers of the machine's own byte order. */
static bool in_order(
	const struct tree *t, const unsigned char *a, size_t na, const unsigned char *b, size_t nb)
{
	if (t->kind != TREE_FREE)
		return key_before(a, na, b, nb);
	return na == 8 && nb == 8 && get64(a) < get64(b);
}

struct node {
	const unsigned char *key, *data;
	uint64_t number; /* of a leaf: size; of a branch: page */
	uint16_t nkey, flags;
};

static bool get_node(
	const struct walk *w, const unsigned char *p, unsigned i, bool leaf, struct node *n)
{
	const uint64_t psize = w->m->page_size;
	uint64_t off = get16(p + HEADER + 2 * i), stored;
	uint16_t lo, hi;

	if (off < get16(p + 14) || off + NODE_HEADER > psize)
		return false;
	lo = get16(p + off);
	hi = get16(p + off + 2);
	n->flags = get16(p + off + 4);
	n->nkey = get16(p + off + 6);
	n->key = p + off + NODE_HEADER;
	n->data = n->key + n->nkey;
	n->number = (uint64_t)lo | (uint64_t)hi << 16;
	if (!leaf)
		n->number |= (uint64_t)n->flags << 32;
	stored = leaf ? (n->flags & NODE_BIG ? 8 : n->number) : 0;
	if (leaf && n->flags & ~(NODE_BIG | NODE_TREE))
		return false;
	return n->nkey <= KEY_MAX && off + NODE_HEADER + n->nkey + stored <= psize;
}

static void walk_node(
	const struct tree *t, uint64_t page, const struct node *n, bool leaf, unsigned level)
{
	if (!leaf)
		walk_page(t, n->number, page, level + 1);
	else if (n->flags & NODE_BIG)
		check_big(t, page, n->data, n->number);
	else if (n->flags & NODE_TREE)
		walk_subtree(t, page, n->key, n->nkey, n->data, n->number);
	else if (t->kind == TREE_FREE)
		check_free_list(t, page, n->data, n->number);
}

static void walk_nodes(
	const struct tree *t, uint64_t page, const unsigned char *p, bool leaf, unsigned level)
{
	const unsigned count = (get16(p + 12) - HEADER) / 2u;
	struct node n, last = { 0 };

	for (unsigned i = 0; i < count && !t->w->r; i++) {
		if (!get_node(t->w, p, i, leaf, &n)) {
			wrong(t, page, "entry %u reaches out of the page", i);
			return;
		}
		/* the first key of a branch page stands for all that is less, and is empty or stale
		 */
		if (i > (leaf ? 0u : 1u) && !in_order(t, last.key, last.nkey, n.key, n.nkey)) {
			wrong(t, page, "entry %u is out of order", i);
			return;
		}
		last = n;
		walk_node(t, page, &n, leaf, level);
	}
}

static void walk_page(const struct tree *t, uint64_t page, uint64_t from, unsigned level)
{
	struct walk *w = t->w;
	unsigned base = t->kind == TREE_RECORDS ? DEPTH_MAX / 2 : 0;
	bool leaf = level - base + 1 == t->depth;
	unsigned char *p = w->page[level];
	uint16_t lower, upper;

	if (w->r || !claim(t, page, 1, from) || (leaf && t->kind == TREE_RECORDS && over_time(w)) ||
		!read_page(t, page, p, w->m->page_size))
		return;
	lower = get16(p + 12);
	upper = get16(p + 14);
	if (get64(p) != page)
		wrong(t, page, "is another page, or none");
	else if (get16(p + 10) != (leaf ? PAGE_LEAF : PAGE_BRANCH))
		wrong(t, page, "is of another kind than its place");
	else if (lower < HEADER || lower % 2 || lower > upper || upper > w->m->page_size ||
		 lower == HEADER || (!leaf && lower < HEADER + 4))
		wrong(t, page, "its free space makes no sense");
	else
		walk_nodes(t, page, p, leaf, level);
}

static void walk_tree(
	struct walk *w, const struct raw_tree *raw, enum tree_kind kind, const char *name)
{
	const struct tree t = { .w = w, .kind = kind, .name = name, .depth = raw->depth };

	if (raw->root == NO_PAGE)
		return;
	if (raw->depth >= DEPTH_MAX / 2)
		wrong(&t, 0, "is too deep");
	else
		walk_page(&t, raw->root, 0, 0);
}

int raw_walk(int fd, const struct raw_meta *m, uint64_t deadline_us,
	void (*say)(void *arg, const char *line), void *arg)
{
	struct walk w = { .fd = fd, .m = m, .deadline_us = deadline_us, .say = say, .arg = arg };

	w.seen = calloc(m->last_page / 64 + 1, sizeof(*w.seen));
	if (!w.seen)
		w.r = -ENOMEM;
	for (unsigned i = 0; i < DEPTH_MAX && !w.r; i++) {
		w.page[i] = malloc(m->page_size);
		if (!w.page[i])
			w.r = -ENOMEM;
	}
	if (!w.r)
		walk_tree(&w, &m->free, TREE_FREE, "the free list");
	if (!w.r)
		walk_tree(&w, &m->main, TREE_MAIN, "the root tree");
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		free(w.page[i]);
	free(w.seen);
	return w.r ? w.r : w.found > 0;
}
