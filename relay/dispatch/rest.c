/* Memory is for what can go: mail that waits long is put back, and waits in the queue alone. Mostly
 * many domains wait for the same, a resting cluster or an allowance that is used up, and then one
 * of them learns for all how long it goes on. They stand in one line, and a few at a time are let
 * in to find out; each that gets something away lets in more. */
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/must.h"

#define SCOUTS	 16u  /* let in at once, when the wait is over */
#define AGAIN	 1000 /* ms; then as many more are let in, as long as nothing is heard */
#define PER_GONE 2u   /* let in for each domain of which something goes */
#define ASKED	 100  /* ms; until what an operator wants is looked at, with what he wants next */

struct rest {
	UT_hash_handle hh;
	struct rest_key {
		uint64_t cluster;
		const struct pool *pool;
		uint64_t provider;
	} key;
	struct list waiting; /* domains, longest waiting first */
	uint32_t refs;	     /* domains: those, and the ones let in */
	enum hold_reason reason;
	ms_t until; /* mono */
	struct wake wake;
};

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

void rest_leave(struct dispatch *d, struct domain *m)
{
	struct rest *r = m->rest;

	m->put_back = false;
	m->not_before = 0;
	if (!r)
		return;
	m->rest = NULL;
	list_del(&m->in_rest);
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
	return !f->diverted && !hold_is_domains(f->reason) && f->reason != HOLD_NO_HOST;
}

static struct rest *join(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;
	struct rest_key key = { f->cluster, f->pool, m->provider };
	struct rest *r = is_shared(f) ? rest_get(d, &key) : NULL;

	if (m->rest != r)
		rest_leave(d, m);
	if (r && !m->rest)
		r->refs++;
	m->rest = r;
	return r;
}

void rest_put_back(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;
	struct rest *r = join(d, f);
	ms_t until = f->until;

	m->put_back = true;
	m->put_back_for = f->reason;
	m->not_before = until;
	if (r) {
		r->reason = f->reason;
		r->until = until;
		if (list_empty(&m->in_rest))
			list_add(&r->waiting, &m->in_rest);
		wake_set(&d->wakes, &r->wake, until);
	}
	list_del(&m->in_due);
	m->in_due_list = false;
	while (!list_empty(&f->ready))
		work_evict(d, container(f->ready.next, struct work, in_flow));
	m->idle_since = 0; /* its route goes with the next sweep */
}

bool rest_waits(const struct domain *m)
{
	return !list_empty(&m->in_rest);
}

bool rest_is_for(const struct domain *m, const struct pool *pool)
{
	return m->rest ? rest_waits(m) && m->rest->key.pool == pool : m->not_before != 0;
}

enum hold_reason rest_reason(const struct domain *m, ms_t *until)
{
	if (!m->not_before)
		return HOLD_NONE;
	*until = rest_waits(m) ? m->rest->wake.at : m->not_before;
	return rest_waits(m) ? m->rest->reason : m->put_back_for;
}

static void let_in(struct dispatch *d, struct rest *r, unsigned n)
{
	while (n-- && !list_empty(&r->waiting)) {
		struct domain *m = container(r->waiting.next, struct domain, in_rest);

		list_del(&m->in_rest);
		m->not_before = 0;
		domain_look(d, m);
	}
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
	struct domain *m = f->domain;
	struct rest *r = m->rest;

	if (r && r->key.pool != f->pool)
		return;
	/* before it may go with its last domain */
	if (r)
		let_in(d, r, PER_GONE);
	rest_leave(d, m);
	domain_look(d, m);
}

/* Not each at once: there may be a million of them. */
void rest_ask(struct dispatch *d, struct domain *m)
{
	struct rest *r = m->rest;
	ms_t at = loop_mono(d->loop) + ASKED;

	if (!rest_waits(m)) {
		m->not_before = 0;
		domain_look(d, m);
		return;
	}
	list_del(&m->in_rest);
	list_add(r->waiting.next, &m->in_rest); /* the first in line */
	if (r->wake.at > at)
		wake_set(&d->wakes, &r->wake, at);
}

void rests_wake(struct dispatch *d)
{
	struct rest *r, *next;

	HASH_ITER (hh, d->rests, r, next)
		if (!list_empty(&r->waiting))
			wake_set(&d->wakes, &r->wake, loop_mono(d->loop));
}
