/* The index of young recipients in memory; see young.h. Changed by the writer after its commits,
 * read by any thread, under one lock.
 *
 * Nodes lie in slabs and name each other by number. Two hash tables find them, by message and by
 * domain; the entries of a domain are linked in order of due time. */
#include "young.h"
#include "postern/hash.h"

#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/rng.h"

#define SLAB	    1024u /* entries allocated at once: an idle relay has none */
#define SLABS	    (YOUNG_MAX / SLAB)
#define TABLE_SIZE  (2 * YOUNG_MAX)
#define DOMAIN_SIZE (2 * YOUNG_MAX)
#define NONE	    UINT32_MAX
/* New entries come nearly in order of due time: looking further back for their place would be
 * a cost that grows. */
#define BACK_MAX 64u

struct node {
	struct young_entry e;
	uint32_t domain;     /* number of it */
	uint32_t prev, next; /* within the domain; free list: next */
};

struct domain {
	uint64_t hash;
	char *name; /* NULL: slot never used or unused again */
	uint32_t len;
	uint32_t first, last;
};

struct young {
	pthread_mutex_t lock;
	uint64_t seed; /* clients choose the names: they must not choose the slots */
	struct node *slab[SLABS];
	uint32_t nslabs, free_node, count;
	uint64_t min_id;
	/* both open-addressed, with deletion by shifting back; slots hold 1 + number, 0 is free */
	uint32_t by_id[TABLE_SIZE];
	uint32_t by_name[DOMAIN_SIZE];
	struct domain *domains; /* YOUNG_MAX of them at most, grown by doubling */
	uint32_t ndomains, domains_cap, free_domain;
};

static struct node *node_at(const struct young *y, uint32_t i)
{
	return &y->slab[i / SLAB][i % SLAB];
}

static uint64_t hash_id(uint64_t id, uint32_t index)
{
	uint64_t h = (id ^ ((uint64_t)index << 40)) * 0x9e3779b97f4a7c15ull;

	return h ^ (h >> 29);
}

static uint64_t hash_name(const struct young *y, struct slice s)
{
	return hash_fold(hash_bytes(HASH_START ^ y->seed, s.p, s.n));
}

/* ---- the two tables ---- */

static uint64_t id_slot_hash(const struct young *y, uint32_t slot)
{
	const struct node *n = node_at(y, y->by_id[slot] - 1);

	return hash_id(n->e.id, n->e.index);
}

static uint64_t name_slot_hash(const struct young *y, uint32_t slot)
{
	return y->domains[y->by_name[slot] - 1].hash;
}

/* Empties a slot of a table with linear probing: later ones of its run move up where they may. */
static void table_remove(const struct young *y, uint32_t *table, uint32_t mask, uint32_t hole,
	uint64_t (*hash_of)(const struct young *y, uint32_t slot))
{
	uint32_t i = hole;

	for (;;) {
		uint32_t home;

		i = (i + 1) & mask;
		if (!table[i])
			break;
		home = (uint32_t)hash_of(y, i) & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			table[hole] = table[i];
			hole = i;
		}
	}
	table[hole] = 0;
}

static uint32_t find_id(const struct young *y, uint64_t id, uint32_t index)
{
	uint32_t i = (uint32_t)hash_id(id, index) & (TABLE_SIZE - 1);

	for (; y->by_id[i]; i = (i + 1) & (TABLE_SIZE - 1)) {
		const struct young_entry *e = &node_at(y, y->by_id[i] - 1)->e;

		if (e->id == id && e->index == index)
			break;
	}
	return i;
}

static uint32_t find_name(const struct young *y, struct slice name, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & (DOMAIN_SIZE - 1);

	for (; y->by_name[i]; i = (i + 1) & (DOMAIN_SIZE - 1)) {
		const struct domain *d = &y->domains[y->by_name[i] - 1];

		if (d->hash == hash && slice_eq((struct slice){ d->name, d->len }, name))
			break;
	}
	return i;
}

/* ---- domains ---- */

static int domains_grow(struct young *y)
{
	uint32_t cap = y->domains_cap ? 2 * y->domains_cap : 64;
	struct domain *d = realloc(y->domains, cap * sizeof(*d));

	if (!d)
		return -ENOMEM;
	y->domains = d;
	y->domains_cap = cap;
	return 0;
}

static int domain_get(struct young *y, struct slice name, uint32_t *ret)
{
	uint64_t hash = hash_name(y, name);
	uint32_t slot = find_name(y, name, hash), i;
	char *copy;

	if (y->by_name[slot]) {
		*ret = y->by_name[slot] - 1;
		return 0;
	}
	if (y->free_domain == NONE && y->ndomains == y->domains_cap && domains_grow(y))
		return -ENOMEM;
	copy = slice_dup(name);
	if (!copy)
		return -ENOMEM;
	i = y->free_domain;
	if (i != NONE)
		y->free_domain = y->domains[i].first;
	else
		i = y->ndomains++;
	y->domains[i] = (struct domain){ hash, copy, (uint32_t)name.n, NONE, NONE };
	y->by_name[slot] = i + 1;
	*ret = i;
	return 0;
}

static void domain_drop_if_empty(struct young *y, uint32_t i)
{
	struct domain *d = &y->domains[i];
	uint32_t slot;

	if (d->first != NONE)
		return;
	slot = find_name(y, (struct slice){ d->name, d->len }, d->hash);
	table_remove(y, y->by_name, DOMAIN_SIZE - 1, slot, name_slot_hash);
	free(d->name);
	d->name = NULL;
	d->first = y->free_domain;
	y->free_domain = i;
}

/* ---- entries ---- */

int young_order(const struct young_entry *a, const struct young_entry *b)
{
	if (a->due != b->due)
		return a->due < b->due ? -1 : 1;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

static int node_get(struct young *y, uint32_t *ret)
{
	if (y->free_node == NONE) {
		struct node *s;

		if (y->nslabs == SLABS)
			return -ENOBUFS;
		s = calloc(SLAB, sizeof(*s));
		if (!s)
			return -ENOMEM;
		y->slab[y->nslabs] = s;
		for (uint32_t i = SLAB; i-- > 0;) {
			s[i].next = y->free_node;
			y->free_node = y->nslabs * SLAB + i;
		}
		y->nslabs++;
	}
	*ret = y->free_node;
	y->free_node = node_at(y, *ret)->next;
	return 0;
}

static void node_put(struct young *y, uint32_t i)
{
	node_at(y, i)->next = y->free_node;
	y->free_node = i;
}

/* The entry after which e belongs; false when that is too far back. */
static bool find_place(
	const struct young *y, const struct domain *d, const struct young_entry *e, uint32_t *after)
{
	uint32_t at = d->last;

	for (unsigned steps = 0; at != NONE && young_order(e, &node_at(y, at)->e) < 0; steps++) {
		if (steps == BACK_MAX)
			return false;
		at = node_at(y, at)->prev;
	}
	*after = at;
	return true;
}

static void link_after(struct young *y, struct domain *d, uint32_t i, uint32_t after)
{
	struct node *n = node_at(y, i);

	n->prev = after;
	n->next = after == NONE ? d->first : node_at(y, after)->next;
	if (after == NONE)
		d->first = i;
	else
		node_at(y, after)->next = i;
	if (n->next == NONE)
		d->last = i;
	else
		node_at(y, n->next)->prev = i;
}

static int add_locked(struct young *y, struct slice name, const struct young_entry *e)
{
	uint32_t slot, domain, after = NONE, i;
	int r;

	slot = find_id(y, e->id, e->index);
	if (y->by_id[slot])
		return -EEXIST; /* only a damaged tree has it twice */
	r = domain_get(y, name, &domain);
	if (r)
		return r;
	r = find_place(y, &y->domains[domain], e, &after) ? node_get(y, &i) : -ENOBUFS;
	if (r) {
		domain_drop_if_empty(y, domain);
		return r;
	}
	node_at(y, i)->e = *e;
	node_at(y, i)->domain = domain;
	link_after(y, &y->domains[domain], i, after);
	y->by_id[slot] = i + 1;
	y->count++;
	if (e->id < y->min_id)
		y->min_id = e->id;
	return 0;
}

int young_add(struct young *y, struct slice domain, const struct young_entry *e)
{
	int r;

	pthread_mutex_lock(&y->lock);
	r = add_locked(y, domain, e);
	pthread_mutex_unlock(&y->lock);
	return r;
}

static void remove_locked(struct young *y, uint32_t slot)
{
	uint32_t i = y->by_id[slot] - 1;
	struct node *n = node_at(y, i);
	struct domain *d = &y->domains[n->domain];

	table_remove(y, y->by_id, TABLE_SIZE - 1, slot, id_slot_hash);
	if (n->prev == NONE)
		d->first = n->next;
	else
		node_at(y, n->prev)->next = n->next;
	if (n->next == NONE)
		d->last = n->prev;
	else
		node_at(y, n->next)->prev = n->prev;
	domain_drop_if_empty(y, n->domain);
	node_put(y, i);
	y->count--;
	/* a lower bound is enough, and free to keep */
	if (y->count == 0)
		y->min_id = UINT64_MAX;
}

bool young_remove(struct young *y, uint64_t id, uint32_t index)
{
	uint32_t slot;
	bool found;

	pthread_mutex_lock(&y->lock);
	slot = find_id(y, id, index);
	found = y->by_id[slot] != 0;
	if (found)
		remove_locked(y, slot);
	pthread_mutex_unlock(&y->lock);
	return found;
}

bool young_has(struct young *y, uint64_t id, uint32_t index)
{
	bool found;

	pthread_mutex_lock(&y->lock);
	found = y->by_id[find_id(y, id, index)] != 0;
	pthread_mutex_unlock(&y->lock);
	return found;
}

uint32_t young_count(struct young *y)
{
	uint32_t n;

	pthread_mutex_lock(&y->lock);
	n = y->count;
	pthread_mutex_unlock(&y->lock);
	return n;
}

uint64_t young_min_id(struct young *y)
{
	uint64_t id;

	pthread_mutex_lock(&y->lock);
	id = y->min_id;
	pthread_mutex_unlock(&y->lock);
	return id;
}

uint32_t young_peek(struct young *y, struct slice domain, const struct young_entry *after,
	struct young_entry *out, uint32_t max)
{
	uint32_t slot, n = 0;

	pthread_mutex_lock(&y->lock);
	slot = find_name(y, domain, hash_name(y, domain));
	if (y->by_name[slot]) {
		uint32_t i = y->domains[y->by_name[slot] - 1].first;

		for (; i != NONE && n < max; i = node_at(y, i)->next)
			if (!after || young_order(&node_at(y, i)->e, after) > 0)
				out[n++] = node_at(y, i)->e;
	}
	pthread_mutex_unlock(&y->lock);
	return n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(
		((const struct young_domain *)a)->name, ((const struct young_domain *)b)->name);
}

int young_domains(struct young *y, struct young_domain **ret, uint32_t *n)
{
	struct young_domain *d;
	int r = 0;

	*n = 0;
	pthread_mutex_lock(&y->lock);
	d = calloc(y->ndomains + 1, sizeof(*d));
	if (!d)
		r = -ENOMEM;
	for (uint32_t i = 0; i < y->ndomains && !r; i++) {
		if (!y->domains[i].name)
			continue;
		d[*n].name = strdup(y->domains[i].name);
		d[*n].due = node_at(y, y->domains[i].first)->e.due;
		if (d[*n].name)
			++*n;
		else
			r = -ENOMEM;
	}
	pthread_mutex_unlock(&y->lock);
	if (r) {
		young_domains_free(d, *n);
		return r;
	}
	qsort(d, *n, sizeof(*d), by_name);
	*ret = d;
	return 0;
}

void young_domains_free(struct young_domain *d, uint32_t n)
{
	for (uint32_t i = 0; d && i < n; i++)
		free(d[i].name);
	free(d);
}

struct young *young_new(void)
{
	struct young *y = calloc(1, sizeof(*y));

	if (!y)
		return NULL;
	pthread_mutex_init(&y->lock, NULL);
	y->free_node = y->free_domain = NONE;
	y->min_id = UINT64_MAX;
	y->seed = rng_entropy();
	return y;
}

struct young *young_free(struct young *y)
{
	if (!y)
		return NULL;
	for (uint32_t i = 0; i < y->nslabs; i++)
		free(y->slab[i]);
	for (uint32_t i = 0; i < y->ndomains; i++)
		free(y->domains[i].name);
	free(y->domains);
	pthread_mutex_destroy(&y->lock);
	free(y);
	return NULL;
}
