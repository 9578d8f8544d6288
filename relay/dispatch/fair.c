/* Fair shares: who gets memory, and whose turn it is at a receiver. Called by the other parts of
 * the dispatcher, on its thread.
 *
 * A party is the mail of one pool and one sender's domain. Parties count what they have in memory,
 * and so do pools; one has "much" if that is at least the mean, of its pool's parties and its pool
 * of all pools. Memory in all is for everyone up to a part that is kept for parties without much;
 * the last of that is for pools without much. A domain's window has such a part, too. So who comes
 * new finds room at once, however much others have waiting, and whoever takes the room that was
 * kept has much soon, and stops.
 *
 * Turns at a host: pools, in each its senders, in each their recipient domains, one transaction at
 * a time. Host → seats of pools → seats of parties → links of flows: rings, of which the first goes
 * last when it had its turn. All is done in constant time, whatever waits. Every seat has the same
 * weight; a class of mail could have several turns in a row here. */
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/must.h"

#define KEPT	     8u	 /* a part of so many of memory is kept for parties without much */
#define KEPT_POOLS   16u /* of so many, for pools without much */
#define KEPT_READING 16u /* up to there domains are read that have nothing in memory */
#define KEPT_WINDOW  8u	 /* of so many of a domain's window, over it, for senders of few there */
#define OLD_EVERY    4u	 /* one domain of so many that are read has mail in memory */
#define SENDER_MAX   255u
#define SEATS_FREE   64u /* kept for the next */

struct party {
	UT_hash_handle hh;
	uint32_t refs, n; /* recipients in memory; each is a reference, too */
	struct pool *pool;
	size_t key_n;
	char key[];
};

/* A pool's or a party's place at a host: in use while it has members. */
struct seat {
	UT_hash_handle hh;
	struct seat_key {
		const void *host, *of;
	} key;
	struct seat *up;	 /* a party's: its pool's */
	struct list in_up;	 /* its ring; or in seats_free */
	struct list members;	 /* of a pool: seats; of a party: links */
	const struct pool *pool; /* of a pool */
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
	HASH_ADD_KEYPTR(hh, d->parties, p->key, n, p);
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
	struct party *p = d->party_last;
	size_t n;

	if (!pool)
		return NULL;
	n = key_of(key, pool, m->sender);
	/* mail comes by the sender */
	if (!p || p->key_n != n || memcmp(p->key, key, n))
		HASH_FIND(hh, d->parties, key, n, p);
	if (!p)
		p = party_new(d, pool, key, n);
	d->party_last = p;
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
	if (d->party_last == p)
		d->party_last = NULL;
	HASH_DEL(d->parties, p);
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
		d->charged++;
		if (!p->n++)
			pool->parties++;
		if (!pool->in_memory++)
			d->npools_busy++;
	}
}

void party_discharge(struct dispatch *d, struct item *i)
{
	struct party *p = i->party;

	if (!p)
		return;
	must(p->n > 0 && p->pool->in_memory > 0);
	d->charged--;
	if (!--p->n)
		p->pool->parties--;
	if (!--p->pool->in_memory)
		d->npools_busy--;
	i->party = NULL;
	party_unref(d, p);
}

static bool pool_has_much(const struct dispatch *d, const struct pool *pool)
{
	return (uint64_t)pool->in_memory * d->npools_busy >= d->charged;
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
	return d->work + d->reserved < memory_for(d, p) && window_room(d, m, p) &&
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
	const uint32_t used = d->work + d->reserved;
	struct list *all[2] = { &d->due_new, &d->due };
	bool old_first = d->due_turn % OLD_EVERY == 0;

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

/* ---- turns at a host ---- */

static struct seat *seat_find(const struct dispatch *d, const struct host *h, const void *of)
{
	const struct seat_key key = { h, of };
	struct seat *s;

	HASH_FIND(hh, d->seats, &key, sizeof(key), s);
	return s;
}

static struct seat *seat_take(struct dispatch *d)
{
	struct seat *s = d->seats_free;

	if (!s)
		return calloc(1, sizeof(*s));
	d->seats_free = s->up;
	d->nseats_free--;
	memset(s, 0, sizeof(*s));
	return s;
}

static void seat_put(struct dispatch *d, struct seat *s)
{
	if (d->nseats_free >= SEATS_FREE) {
		free(s);
		return;
	}
	s->up = d->seats_free;
	d->seats_free = s;
	d->nseats_free++;
}

static struct seat *seat_new(
	struct dispatch *d, const struct host *h, const void *of, struct list *ring)
{
	struct seat *s = seat_take(d);

	if (!s)
		return NULL;
	s->key = (struct seat_key){ h, of };
	list_init(&s->members);
	HASH_ADD(hh, d->seats, key, sizeof(s->key), s);
	if (!s->hh.tbl) {
		seat_put(d, s);
		return NULL;
	}
	list_add(ring, &s->in_up);
	return s;
}

/* Nobody sits there any more. */
static void seat_leave(struct dispatch *d, struct seat *s)
{
	while (s && list_empty(&s->members)) {
		struct seat *up = s->up;

		list_del(&s->in_up);
		HASH_DEL(d->seats, s);
		seat_put(d, s);
		s = up;
	}
}

bool fair_link(struct dispatch *d, struct link *l)
{
	const struct flow *f = l->flow;
	struct seat *s = seat_find(d, l->host, f->party), *up;

	if (!s) {
		up = seat_find(d, l->host, f->pool);
		if (!up)
			up = seat_new(d, l->host, f->pool, &l->host->turns);
		if (!up)
			return false;
		up->pool = f->pool;
		s = seat_new(d, l->host, f->party, &up->members);
		if (!s) {
			seat_leave(d, up);
			return false;
		}
		s->up = up;
	}
	list_add(&s->members, &l->in_seat);
	l->seat = s;
	return true;
}

void fair_unlink(struct dispatch *d, struct link *l)
{
	list_del(&l->in_seat);
	seat_leave(d, l->seat);
	l->seat = NULL;
}

static struct list *turn(struct list *ring)
{
	struct list *l = ring->next;

	list_del(l);
	list_add(ring, l);
	return l;
}

struct flow *fair_turn(struct host *h, unsigned source)
{
	const struct list *last = h->turns.prev;

	while (!list_empty(&h->turns)) {
		struct list *l = turn(&h->turns);
		struct seat *pool = container(l, struct seat, in_up);
		struct seat *party;

		if (pool->pool->has[source]) {
			party = container(turn(&pool->members), struct seat, in_up);
			return container(turn(&party->members), struct link, in_seat)->flow;
		}
		if (l == last)
			break;
	}
	return NULL;
}

static struct link *first_of(const struct list *seats)
{
	const struct seat *s = container(seats->next, const struct seat, in_up);

	return container(s->members.next, struct link, in_seat);
}

struct link *fair_first(const struct host *h)
{
	if (list_empty(&h->turns))
		return NULL;
	return first_of(&container(h->turns.next, struct seat, in_up)->members);
}

struct link *fair_after(const struct host *h, const struct link *l)
{
	const struct seat *party = l->seat, *pool = party->up;

	if (l->in_seat.next != &party->members)
		return container(l->in_seat.next, struct link, in_seat);
	if (party->in_up.next != &pool->members)
		return first_of(&party->in_up);
	if (pool->in_up.next != &h->turns)
		return first_of(&container(pool->in_up.next, struct seat, in_up)->members);
	return NULL;
}

void fair_free(struct dispatch *d)
{
	while (d->seats_free) {
		struct seat *s = d->seats_free;

		d->seats_free = s->up;
		free(s);
	}
}
