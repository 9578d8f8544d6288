/* Fair shares: who gets memory, and which domain is read next. Called by the other parts of the
 * dispatcher, on its thread.
 *
 * A party is the mail of one pool and one sender's domain. Parties count what they have in memory,
 * and so do pools; one has "much" if that is at least the mean, of its pool's parties and its pool
 * of all pools. Memory in all is for everyone up to a part that is kept for parties without much;
 * the last of that is for pools without much. A domain's window has such a part, too. So who comes
 * new finds room at once, however much others have waiting, and whoever takes the room that was
 * kept has much soon, and stops. */
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/must.h"

#define KEPT	     8u	 /* a part of so many of memory is kept for parties without much */
#define KEPT_POOLS   16u /* of so many, for pools without much */
#define KEPT_READING 16u /* up to there domains are read that have nothing in memory */
#define KEPT_WINDOW  8u	 /* of so many of a domain's window, over it, for senders of few there */
#define OLD_EVERY    4u	 /* one domain of so many that are read has mail in memory */
#define SENDER_MAX   255u

struct party {
	UT_hash_handle hh;
	uint32_t refs, n; /* recipients in memory; each is a reference, too */
	struct pool *pool;
	size_t key_n;
	char key[];
};

/* ---- parties ---- */

static size_t key_of(char *ret, const struct pool *pool, const char *sender)
{
	const char *at = strrchr(sender, '@');
	size_t n = sizeof(pool);

	memcpy(ret, &pool, n);
	for (const char *s = at ? at + 1 : ""; *s && n < sizeof(pool) + SENDER_MAX; s++)
		ret[n++] = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;
	return n;
}

static struct party *party_new(struct dispatch *d, struct pool *pool, const char *key, size_t n)
{
	struct party *p = calloc(1, sizeof(*p) + n);

	if (!p)
		return NULL;
	memcpy(p->key, key, n);
	p->key_n = n;
	p->pool = pool;
	HASH_ADD_KEYPTR(hh, d->fair.parties, p->key, n, p);
	if (!p->hh.tbl) {
		free(p);
		return NULL;
	}
	return p;
}

struct party *party_get(struct dispatch *d, const struct message *m)
{
	struct pool *pool = pool_get(d, m->pool);
	char key[sizeof(pool) + SENDER_MAX];
	struct party *p = d->fair.last;
	size_t n;

	if (!pool)
		return NULL;
	n = key_of(key, pool, m->sender);
	/* mail comes by the sender */
	if (!p || p->key_n != n || memcmp(p->key, key, n))
		HASH_FIND(hh, d->fair.parties, key, n, p);
	if (!p)
		p = party_new(d, pool, key, n);
	d->fair.last = p;
	return party_ref(p);
}

bool party_sent(const struct party *p, const struct message *m)
{
	char key[sizeof(p->pool) + SENDER_MAX];
	size_t n = key_of(key, p->pool, m->sender);

	return n == p->key_n && !memcmp(key, p->key, n) && !strcmp(p->pool->name, m->pool);
}

struct party *party_ref(struct party *p)
{
	if (p)
		p->refs++;
	return p;
}

void party_unref(struct dispatch *d, struct party *p)
{
	if (!p)
		return;
	must(p->refs > 0);
	if (--p->refs)
		return;
	if (d->fair.last == p)
		d->fair.last = NULL;
	HASH_DEL(d->fair.parties, p);
	free(p);
}

struct pool *party_pool(const struct party *p)
{
	return p->pool;
}

/* ---- shares of memory ---- */

void party_charge(struct dispatch *d, struct party *p, struct work *w)
{
	struct pool *pool = p ? p->pool : NULL;

	for (struct item *i = p ? w->items : NULL; i; i = i->next) {
		must(!i->party);
		i->party = party_ref(p);
		d->fair.charged++;
		if (!p->n++)
			pool->parties++;
		if (!pool->in_memory++)
			d->fair.busy++;
	}
}

void party_discharge(struct dispatch *d, struct item *i)
{
	struct party *p = i->party;

	if (!p)
		return;
	must(p->n > 0 && p->pool->in_memory > 0);
	d->fair.charged--;
	if (!--p->n)
		p->pool->parties--;
	if (!--p->pool->in_memory)
		d->fair.busy--;
	i->party = NULL;
	party_unref(d, p);
}

static bool pool_has_much(const struct dispatch *d, const struct pool *pool)
{
	return (uint64_t)pool->in_memory * d->fair.busy >= d->fair.charged;
}

bool party_has_much(const struct dispatch *d, const struct party *p)
{
	/* NULL: of many senders, set aside */
	return !p || (pool_has_much(d, p->pool) &&
			     (uint64_t)p->n * p->pool->parties >= p->pool->in_memory);
}

static uint32_t without_part(uint32_t n, uint32_t part)
{
	return n - (n + part - 1) / part;
}

static uint32_t memory_for(const struct dispatch *d, const struct party *p)
{
	if (party_has_much(d, p))
		return without_part(d->p.work_max, KEPT);
	if (pool_has_much(d, p->pool))
		return without_part(d->p.work_max, KEPT_POOLS);
	return d->p.work_max;
}

uint32_t fair_window_end(const struct dispatch *d)
{
	return d->p.window + d->p.window / KEPT_WINDOW + 1;
}

/* What is kept of a domain's window is taken in ever smaller parts: there is always some left. */
static bool window_room(struct dispatch *d, struct domain *m, const struct party *p)
{
	const struct flow_kind k = { .pool = p->pool, .party = (struct party *)(uintptr_t)p };
	uint32_t n = m->in_memory - m->gathered, end = fair_window_end(d);
	const struct flow *f;

	if (n < d->p.window || n >= end)
		return n < d->p.window;
	f = flow_find(d, m, &k);
	return !f || f->works < (end - n) / 4;
}

bool fair_room(struct dispatch *d, struct domain *m, const struct party *p)
{
	return d->held.work + d->reads.reserved < memory_for(d, p) && window_room(d, m, p) &&
	       unrouted_room(d, m);
}

uint64_t fair_body_max(const struct dispatch *d, const struct party *p)
{
	uint64_t max = d->p.body_memory_max;

	return party_has_much(d, p) ? max / 2 : max - max / 4;
}

/* ---- who is read from the queue ---- */

uint32_t fair_due_max(const struct dispatch *d, const struct domain *m)
{
	return m->in_memory ? due_max(d) : without_part(d->p.work_max, KEPT_READING);
}

struct domain *fair_due(struct dispatch *d)
{
	const uint32_t used = d->held.work + d->reads.reserved;
	struct list *all[2] = { &d->reads.due_new, &d->reads.due };
	bool old_first = d->reads.due_turn % OLD_EVERY == 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct list *l = all[i ^ old_first];
		struct domain *m;

		if (list_empty(l))
			continue;
		m = container(l->next, struct domain, in_due);
		if (used < fair_due_max(d, m))
			return m;
	}
	return NULL;
}
