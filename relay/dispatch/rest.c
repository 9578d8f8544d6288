/* Memory is for what can go: mail that waits long is put back, and waits in the queue alone. It
 * does so by domain and pool. Mostly many domains wait for the same, a resting cluster or an
 * allowance that is used up, and then one of them learns for all how long it goes on. They stand in
 * one line, and a few at a time are let in to find out; each that gets something away lets in more.
 *
 * The due index knows no pools. When mail of some of a domain's pools waits, the rest of it is
 * looked for behind and among that: from the place that was reached, and each entry once. */
#include <stdlib.h>
#include <string.h>

#include "dispatcher.h"
#include "postern/must.h"

#define SCOUTS	 16u  /* let in at once, when the wait is over */
#define AGAIN	 1000 /* ms; then as many more are let in, as long as nothing is heard */
#define PER_GONE 2u   /* let in for each domain of which something goes */
#define ASKED	 100  /* ms; until what an operator wants is looked at, with what he wants next */

struct rest {
	UT_hash_handle hh;
	struct rest_key {
		uint64_t place; /* cluster; or the domain that waits alone */
		const struct pool *pool;
		uint64_t provider;
	} key;
	struct list waiting; /* longest waiting first */
	uint32_t refs;	     /* those, and the ones let in */
	enum hold_reason reason;
	uint8_t limit;	  /* enum policy_limit */
	char where[32];	  /* cluster; "" unknown */
	struct wake wake; /* the wait is over; or some more are let in */
};

/* What of a domain was put back: its mail of one pool. In line, or let in and not heard of yet. */
struct back {
	struct back *next; /* of the domain */
	struct domain *domain;
	struct rest *rest;
	struct list in_rest;
};

static bool in_line(const struct back *b)
{
	return !list_empty(&b->in_rest);
}

static struct back *back_of(const struct domain *m, const struct pool *pool)
{
	struct back *b = m->backs;

	while (b && b->rest->key.pool != pool)
		b = b->next;
	return b;
}

static struct back *first_in_line(const struct domain *m)
{
	struct back *b = m->backs;

	while (b && !in_line(b))
		b = b->next;
	return b;
}

/* ---- what they wait for ---- */

static struct rest *rest_get(struct dispatch *d, const struct rest_key *key)
{
	struct rest *r;

	HASH_FIND(hh, d->rests, key, sizeof(*key), r);
	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->key = *key;
	r->wake.kind = WAKE_REST;
	list_init(&r->waiting);
	HASH_ADD(hh, d->rests, key, sizeof(r->key), r);
	if (!r->hh.tbl) {
		free(r);
		return NULL;
	}
	return r;
}

static void rest_unref(struct dispatch *d, struct rest *r)
{
	must(r->refs > 0);
	if (--r->refs)
		return;
	wake_clear(&d->wakes, &r->wake);
	HASH_DEL(d->rests, r);
	free(r);
}

/* One domain's own wait, or one of which nothing is known that others share. */
static bool is_shared(const struct flow *f)
{
	return !f->diverted && !hold_is_domains(f->reason) && f->reason != HOLD_NO_HOST &&
	       f->limit != LIMIT_REFUSED;
}

static struct rest *rest_for(struct dispatch *d, const struct flow *f)
{
	struct rest_key shared = { f->cluster, f->pool, f->domain->provider };
	struct rest_key alone = { (uintptr_t)f->domain, f->pool, UINT64_MAX };

	return rest_get(d, is_shared(f) ? &shared : &alone);
}

/* ---- into the line, and out of it ---- */

/* What lies before the place that was reached may go now. */
static void leave_line(struct dispatch *d, struct back *b)
{
	struct domain *m = b->domain;

	if (!in_line(b))
		return;
	list_del(&b->in_rest);
	m->nwaiting--;
	domain_feed(d, m, FEED_ON_STALE, NULL);
	m->feed.cursor = (struct feed_place){ 0 };
	domain_due(d, m, loop_wall(d->loop));
}

static void forget(struct dispatch *d, struct back *b)
{
	struct back **p = &b->domain->backs;

	leave_line(d, b);
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	rest_unref(d, b->rest);
	free(b);
}

static struct back *back_new(struct dispatch *d, struct flow *f)
{
	struct back *b = back_of(f->domain, f->pool);
	struct rest *r = rest_for(d, f);

	if (b && b->rest == r)
		return b;
	if (b)
		forget(d, b);
	b = r ? calloc(1, sizeof(*b)) : NULL;
	if (!b) {
		if (r && !r->refs++)
			rest_unref(d, r);
		return NULL;
	}
	b->domain = f->domain;
	b->rest = r;
	r->refs++;
	list_init(&b->in_rest);
	b->next = f->domain->backs;
	f->domain->backs = b;
	return b;
}

/* Not without memory for it: then it stays in memory. */
void rest_put_back(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;
	ms_t until =
		f->until ? f->until : loop_mono(d->loop) + AGAIN; /* for a place: at any time */
	bool scout = back_of(m, f->pool) && !rest_is_for(m, f->pool);
	struct back *b = back_new(d, f);

	if (!b)
		return;
	/* who was let in brings news; who comes new, again and again, must not put the others off
	 */
	if (scout || list_empty(&b->rest->waiting) || until < b->rest->wake.at) {
		b->rest->reason = f->reason;
		b->rest->limit = f->limit;
		memcpy(b->rest->where, f->where, sizeof(f->where));
		wake_set(&d->wakes, &b->rest->wake, until);
	}
	if (!in_line(b)) {
		list_add(&b->rest->waiting, &b->in_rest);
		m->nwaiting++;
	}
	while (!list_empty(&f->ready))
		work_evict(d, container(f->ready.next, struct work, in_flow));
	m->idle_since = 0; /* its route goes with the next sweep */
	domain_feed(d, m, FEED_ON_STOP, NULL);
}

static void let_in(struct dispatch *d, struct rest *r, unsigned n)
{
	while (n-- && !list_empty(&r->waiting))
		leave_line(d, container(r->waiting.next, struct back, in_rest));
}

void rest_over(struct dispatch *d, struct wake *w)
{
	struct rest *r = container(w, struct rest, wake);

	let_in(d, r, SCOUTS);
	if (!list_empty(&r->waiting))
		wake_set(&d->wakes, &r->wake, loop_mono(d->loop) + AGAIN);
}

void rest_gone(struct dispatch *d, const struct flow *f)
{
	struct back *b = back_of(f->domain, f->pool);

	if (!b)
		return;
	/* before it may go with its last domain */
	let_in(d, b->rest, PER_GONE);
	forget(d, b);
	domain_feed(d, f->domain, FEED_ON_LOOK, NULL);
}

void rest_forget(struct dispatch *d, struct domain *m)
{
	while (m->backs)
		forget(d, m->backs);
}

/* Not each at once: there may be a million of them. */
void rest_ask(struct dispatch *d, struct domain *m)
{
	ms_t at = loop_mono(d->loop) + ASKED;

	for (struct back *b = m->backs; b; b = b->next) {
		struct rest *r = b->rest;

		if (!in_line(b))
			continue;
		list_del(&b->in_rest);
		list_add(r->waiting.next, &b->in_rest); /* the first in line */
		if (r->wake.at > at)
			wake_set(&d->wakes, &r->wake, at);
	}
}

void rests_wake(struct dispatch *d)
{
	struct rest *r, *next;

	HASH_ITER (hh, d->rests, r, next)
		if (!list_empty(&r->waiting))
			wake_set(&d->wakes, &r->wake, loop_mono(d->loop));
}

/* ---- who asks ---- */

bool rest_waits(const struct dispatch *d, const struct domain *m)
{
	unsigned pools = d->npools > d->params->npools ? d->npools : d->params->npools;

	return m->nwaiting >= pools;
}

bool rest_is_for(const struct domain *m, const struct pool *pool)
{
	const struct back *b = back_of(m, pool);

	return b && in_line(b);
}

unsigned rest_pools(const struct domain *m, const struct pool **ret, unsigned max)
{
	unsigned n = 0;

	for (const struct back *b = m->backs; b && n < max; b = b->next)
		if (in_line(b))
			ret[n++] = b->rest->key.pool;
	return n;
}

enum hold_reason rest_reason(const struct domain *m, const struct pool *pool, ms_t *until)
{
	const struct back *b = pool ? back_of(m, pool) : first_in_line(m);

	if (!b || !in_line(b))
		return HOLD_NONE;
	*until = b->rest->wake.at;
	return b->rest->reason;
}

bool rest_tell(const struct domain *m, const struct pool *pool, struct dispatch_wait *w)
{
	const struct back *b = back_of(m, pool);

	if (!b || !in_line(b))
		return false;
	w->reason = b->rest->reason;
	w->limit = (enum policy_limit)b->rest->limit;
	w->cluster = b->rest->key.provider == UINT64_MAX ? 0 : b->rest->key.place;
	memcpy(w->where, b->rest->where, sizeof(w->where));
	w->until = b->rest->wake.at;
	return true;
}
