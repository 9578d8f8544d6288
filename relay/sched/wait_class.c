/* Who waits for the same: see the header. Called by relay/dispatch/park.c, and by tests in virtual
 * time. Within a class domains wait in order; a class lives while something is parked in it, or a
 * probe of it is under way. */
#include "postern/wait_class.h"

#include <stdlib.h>
#include <string.h>

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "postern/must.h"

#define PROBES	 16u   /* let go at once, when the wait is over */
#define AGAIN	 1000  /* ms; then as many more, as long as nothing is heard */
#define PER_GONE 2u    /* let go for each domain of which something goes */
#define LOOK	 60000 /* ms; until what was let go when an end came is looked at again */
#define LONG	 5000  /* ms; shorter waits are waited in memory */
#define SCARCE	 8u    /* memory is, from that part of it on */
#define ASKED	 100   /* ms; until what an operator wants is looked at, with what he wants next */

struct wait_class {
	UT_hash_handle hh;
	struct class_key {
		uint64_t place; /* cluster; or the domain that waits alone */
		const void *pool;
		uint64_t provider; /* UINT64_MAX: alone */
	} key;
	struct list waiting; /* longest waiting first */
	uint32_t refs;	     /* those, and their probes */
	enum hold_reason reason;
	enum policy_limit limit;
	char where[32];
	struct wake wake; /* the wait is over; or some more are let go */
};

/* One domain's mail of one pool: parked, or a probe. */
struct parked {
	struct parked *next; /* of the domain */
	struct parking *parking;
	struct wait_class *class;
	struct list in_class; /* empty: a probe */
	struct wake end;      /* some of it is over then, or its sender to be told */
	bool looks;	      /* let go for that */
};

static bool is_parked(const struct parked *p)
{
	return !list_empty(&p->in_class);
}

static struct parked *find(const struct parking *pk, const void *pool)
{
	struct parked *p = pk->all;

	while (p && p->class->key.pool != pool)
		p = p->next;
	return p;
}

void waits_init(struct waits *ws)
{
	*ws = (struct waits){ 0 };
	list_init(&ws->unparked);
}

void waits_deinit(struct waits *ws)
{
	must(!ws->classes && !ws->nall);
	wake_heap_deinit(&ws->wakes);
	wake_heap_deinit(&ws->ends);
}

void parking_init(struct parking *pk)
{
	*pk = (struct parking){ 0 };
	list_init(&pk->in_unparked);
}

void parking_deinit(struct waits *ws, struct parking *pk)
{
	wait_forget(ws, pk);
	list_del(&pk->in_unparked);
}

/* ---- classes ---- */

static struct wait_class *class_new(struct waits *ws, const struct class_key *key)
{
	struct wait_class *c;

	/* a place among the wakes with each: to set one cannot fail */
	if (!wake_reserve(&ws->wakes, HASH_COUNT(ws->classes) + 1))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->key = *key;
	list_init(&c->waiting);
	HASH_ADD(hh, ws->classes, key, sizeof(c->key), c);
	if (!c->hh.tbl) {
		free(c);
		return NULL;
	}
	return c;
}

static struct wait_class *class_get(
	struct waits *ws, const struct parking *pk, const struct wait_for *f)
{
	struct class_key key = { f->cluster, f->pool, f->provider };
	struct wait_class *c;

	if (f->alone) {
		key.place = (uintptr_t)pk;
		key.provider = UINT64_MAX;
	}
	HASH_FIND(hh, ws->classes, &key, sizeof(key), c);
	return c ? c : class_new(ws, &key);
}

static void class_unref(struct waits *ws, struct wait_class *c)
{
	must(c->refs > 0);
	if (--c->refs)
		return;
	wake_clear(&ws->wakes, &c->wake);
	HASH_DEL(ws->classes, c);
	free(c);
}

/* ---- what is waited for ---- */

void wait_of(struct wait_for *ret, const struct waiter *w, const void *pool, unsigned provider)
{
	*ret = (struct wait_for){
		.pool = pool,
		.alone = hold_is_domains(w->reason) || w->reason == HOLD_NO_HOST ||
			 w->limit == LIMIT_REFUSED,
		.cluster = w->cluster,
		.provider = provider,
		.reason = w->reason,
		.limit = w->limit,
		.until = w->until,
	};
	memcpy(ret->where, w->where, sizeof(ret->where));
}

bool wait_is_long(ms_t wait, uint64_t used, uint64_t most)
{
	return wait > LONG && used > most / SCARCE;
}

/* ---- parked, and let go ---- */

static void unpark(struct waits *ws, struct parked *p)
{
	if (!is_parked(p))
		return;
	list_del(&p->in_class);
	p->parking->nparked--;
	if (list_empty(&p->parking->in_unparked))
		list_add(&ws->unparked, &p->parking->in_unparked);
}

static void forget(struct waits *ws, struct parked *p)
{
	struct parked **at = &p->parking->all;

	unpark(ws, p);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	wake_clear(&ws->ends, &p->end);
	ws->nall--;
	class_unref(ws, p->class);
	free(p);
}

static struct parked *parked_new(struct waits *ws, struct parking *pk, struct wait_class *c)
{
	struct parked *p = NULL;

	/* as with classes: to set one cannot fail */
	if (wake_reserve(&ws->ends, ws->nall + 1))
		p = calloc(1, sizeof(*p));
	if (!p) {
		if (!c->refs++)
			class_unref(ws, c);
		return NULL;
	}
	p->parking = pk;
	p->class = c;
	c->refs++;
	ws->nall++;
	list_init(&p->in_class);
	p->next = pk->all;
	pk->all = p;
	return p;
}

static void note_end(struct waits *ws, struct parked *p, ms_t at)
{
	if (at && (!p->end.pos || at < p->end.at))
		wake_put(&ws->ends, &p->end, at);
}

void wait_ends(struct waits *ws, struct parking *pk, const void *pool, ms_t at)
{
	struct parked *p = find(pk, pool);

	if (p)
		note_end(ws, p, at);
}

bool wait_park(struct waits *ws, struct parking *pk, const struct wait_for *f, ms_t now)
{
	ms_t until = f->until ? f->until : now + AGAIN;
	struct wait_class *c = class_get(ws, pk, f);
	struct parked *old = find(pk, f->pool), *p = old;
	bool probe = old && !is_parked(old);

	if (!c)
		return false;
	if (!p || p->class != c) {
		p = parked_new(ws, pk, c);
		if (p && old && old->end.pos)
			note_end(ws, p, old->end.at);
		if (old) /* another class's until now */
			forget(ws, old);
		if (!p)
			return false;
	}
	/* a probe brings news; who comes new, again and again, must not put the others off */
	if (probe || list_empty(&c->waiting) || until < c->wake.at) {
		c->reason = f->reason;
		c->limit = f->limit;
		memcpy(c->where, f->where, sizeof(c->where));
		wake_put(&ws->wakes, &c->wake, until);
	}
	if (!is_parked(p)) {
		list_add(&c->waiting, &p->in_class);
		pk->nparked++;
	}
	p->looks = false;
	note_end(ws, p, f->end);
	return true;
}

static void let_go(struct waits *ws, struct wait_class *c, unsigned n)
{
	while (n-- && !list_empty(&c->waiting))
		unpark(ws, container(c->waiting.next, struct parked, in_class));
}

void wait_gone(struct waits *ws, struct parking *pk, const void *pool)
{
	struct parked *p = find(pk, pool);

	if (!p)
		return;
	/* before the class may go with its last domain */
	let_go(ws, p->class, PER_GONE);
	forget(ws, p);
}

void wait_forget(struct waits *ws, struct parking *pk)
{
	while (pk->all)
		forget(ws, pk->all);
}

/* Not each at once: there may be a million of them. */
void wait_ask(struct waits *ws, struct parking *pk, ms_t now)
{
	for (struct parked *p = pk->all; p; p = p->next) {
		struct wait_class *c = p->class;

		if (!is_parked(p))
			continue;
		list_del(&p->in_class);
		list_add(c->waiting.next, &p->in_class); /* the first of them */
		if (c->wake.at > now + ASKED)
			wake_put(&ws->wakes, &c->wake, now + ASKED);
	}
}

void waits_wake(struct waits *ws, ms_t now)
{
	struct wait_class *c, *next;

	HASH_ITER (hh, ws->classes, c, next)
		if (!list_empty(&c->waiting))
			wake_put(&ws->wakes, &c->wake, now);
}

ms_t waits_at(const struct waits *ws)
{
	const struct wake *w = wake_first(&ws->wakes), *e = wake_first(&ws->ends);

	if (w && e)
		return w->at < e->at ? w->at : e->at;
	return w ? w->at : e ? e->at : 0;
}

/* What is let go takes no place of its class's probes. */
static void run_ends(struct waits *ws, ms_t now, unsigned max)
{
	struct wake *w;

	while (max-- && (w = wake_first(&ws->ends)) && w->at <= now) {
		struct parked *p = container(w, struct parked, end);

		if (!is_parked(p)) { /* being looked at already */
			wake_put(&ws->ends, w, now + LOOK);
			continue;
		}
		wake_clear(&ws->ends, w);
		p->looks = true;
		unpark(ws, p);
	}
}

void waits_run(struct waits *ws, ms_t now, unsigned max)
{
	struct wake *w;

	run_ends(ws, now, max);
	while (max-- && (w = wake_first(&ws->wakes)) && w->at <= now) {
		struct wait_class *c = container(w, struct wait_class, wake);

		wake_clear(&ws->wakes, w);
		let_go(ws, c, PROBES);
		if (!list_empty(&c->waiting))
			wake_put(&ws->wakes, w, now + AGAIN);
	}
}

struct parking *waits_unparked(struct waits *ws)
{
	struct list *l = ws->unparked.next;

	if (l == &ws->unparked)
		return NULL;
	list_del(l);
	return container(l, struct parking, in_unparked);
}

/* ---- who asks ---- */

bool wait_is_parked(const struct parking *pk, const void *pool)
{
	const struct parked *p = find(pk, pool);

	return p && is_parked(p);
}

unsigned wait_pools(const struct parking *pk, const void **ret, unsigned max)
{
	unsigned n = 0;

	for (const struct parked *p = pk->all; p && n < max; p = p->next)
		if (is_parked(p))
			ret[n++] = p->class->key.pool;
	return n;
}

bool wait_tell(const struct parking *pk, const void *pool, struct wait_for *ret)
{
	const struct parked *p = pk->all;
	const struct wait_class *c;

	while (p && (!is_parked(p) || (pool && p->class->key.pool != pool)))
		p = p->next;
	if (!p)
		return false;
	c = p->class;
	*ret = (struct wait_for){
		.pool = c->key.pool,
		.alone = c->key.provider == UINT64_MAX,
		.reason = c->reason,
		.limit = c->limit,
		.until = c->wake.at,
	};
	if (!ret->alone) {
		ret->cluster = c->key.place;
		ret->provider = (unsigned)c->key.provider;
	}
	memcpy(ret->where, c->where, sizeof(ret->where));
	return true;
}

bool wait_looks(const struct parking *pk, const void *pool)
{
	const struct parked *p = pk->all;

	while (p && !(p->looks && (!pool || p->class->key.pool == pool)))
		p = p->next;
	return p;
}

enum hold_reason wait_known_reason(const struct parking *pk, const void *pool)
{
	const struct parked *p = find(pk, pool);

	return p ? p->class->reason : HOLD_NONE;
}
