/* Parties, and what they have in memory. A party is the mail of one pool, one class and one
 * sender's domain; it lives while it has mail or flows. Parties count what they have in memory, and so do pools; one has
 * "much" if that is at least the mean, of its pool's parties and its pool of all pools; a
 * class that goes first has not until it fills a part of memory. What
 * follows from that for who gets room: fair.c. Called by flow.c, item.c and those above, on the
 * dispatcher's thread. */
#include "party.h"

#include <stdlib.h>

#include "pool.h"
#include "postern/must.h"

#define SENDER_MAX 255u
#define KEY_MAX	   (sizeof(struct pool *) + CLASS_NAME_MAX + 1 + SENDER_MAX)
#define FIRST_PART 16u /* of so many of memory: more is much, also of a class that goes first */

struct party {
	UT_hash_handle hh;
	uint32_t refs, n; /* recipients in memory; each is a reference, too */
	struct pool *pool;
	unsigned rank; /* of its class: ranks.h */
	struct opening_party opening;
	size_t key_n;
	char key[];
};

/* Pool, class with its end, sender's domain. */
static size_t key_of(char ret[KEY_MAX], const struct pool *pool, const struct message *m)
{
	const char *at = strrchr(m->sender, '@'), *class = m->class ? m->class : "";
	size_t n = sizeof(pool);

	memcpy(ret, &pool, n);
	for (; *class && n < sizeof(pool) + CLASS_NAME_MAX; class ++)
		ret[n++] = *class;
	ret[n++] = '\0';
	for (const char *s = at ? at + 1 : ""; *s && n < KEY_MAX; s++)
		ret[n++] = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;
	return n;
}

static const char *class_in(const struct party *p)
{
	return p->key + sizeof(p->pool);
}

static struct party *party_new(struct dispatch *d, struct pool *pool, const char *key, size_t n)
{
	struct party *p = calloc(1, sizeof(*p) + n);

	if (!p)
		return NULL;
	memcpy(p->key, key, n);
	p->key_n = n;
	p->pool = pool;
	p->rank = class_rank(policy_class(d->params, class_in(p)));
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
	char key[KEY_MAX];
	struct party *p = d->fair.last;
	size_t n;

	if (!pool)
		return NULL;
	n = key_of(key, pool, m);
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
	char key[KEY_MAX];
	size_t n = key_of(key, p->pool, m);

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

struct opening_party *party_opening(struct party *p)
{
	return p ? &p->opening : NULL;
}

struct pool *party_pool(const struct party *p)
{
	return p->pool;
}

unsigned party_rank(const struct party *p)
{
	return p ? p->rank : RANK_NORMAL;
}

void parties_adopt(struct dispatch *d)
{
	struct party *p, *next;

	HASH_ITER (hh, d->fair.parties, p, next)
		p->rank = class_rank(policy_class(d->params, class_in(p)));
}

/* ---- what is in memory ---- */

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

bool pool_has_much(const struct dispatch *d, const struct pool *pool)
{
	return (uint64_t)pool->in_memory * d->fair.busy >= d->fair.charged;
}

bool party_has_much(const struct dispatch *d, const struct party *p)
{
	if (p && p->rank < RANK_NORMAL && p->n < d->p.work_max / FIRST_PART)
		return false;
	/* NULL: of many senders, set aside */
	return !p || (pool_has_much(d, p->pool) &&
			     (uint64_t)p->n * p->pool->parties >= p->pool->in_memory);
}
