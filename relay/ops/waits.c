/* The bottlenecks of pools, for "postern why": the queue is counted by pool and domain on the
 * asking client's thread, a slice of messages in each read transaction; then the dispatcher is
 * asked, a slice of domains at a time, what each waits for; and what waits for the same is one
 * line, the widest first. Memory grows with the number of domains, of which there are PAIRS_MAX at
 * most. */
#include "waits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "ask.h"
#include "control.h"

#define SLICE	   256u
#define ASKED	   256u /* domains in one question to the dispatcher */
#define PAIRS_MAX  1000000u
#define GROUPS_MAX 4096u
#define TOLD	   12u /* of one pool */

/* Mail of one pool for one domain. */
struct pair {
	UT_hash_handle hh;
	uint64_t due, later, held; /* recipients */
	ms_t first_later;	   /* wall */
	char *pool;		   /* behind the domain, in name */
	size_t n;
	char name[];
};

/* What waits for one thing. */
struct group {
	UT_hash_handle hh;
	struct group_key {
		uint64_t cluster;
		uint32_t pool, provider, reason, limit, what;
	} key;
	uint64_t recipients, domains;
	ms_t until;	  /* wall; the earliest; 0: not known */
	char domain[256]; /* one of them */
	char where[32];
};
enum { WHAT_WAITS, WHAT_LATER, WHAT_HELD };

struct waits {
	const struct waits_asked *a;
	struct pair *pairs;
	struct group *groups;
	struct pair *next; /* to be asked about */
	bool failed;
	unsigned told[64]; /* by pool */
};

/* ---- the queue ---- */

static struct pair *pair_new(struct waits *w, const char *key, size_t n, size_t domain)
{
	struct pair *e = HASH_COUNT(w->pairs) < PAIRS_MAX ? calloc(1, sizeof(*e) + n + 1) : NULL;

	if (!e)
		return NULL;
	memcpy(e->name, key, n);
	e->pool = e->name + domain + 1;
	e->n = n;
	HASH_ADD_KEYPTR(hh, w->pairs, e->name, e->n, e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	return e;
}

static struct pair *pair_of(struct waits *w, struct slice domain, struct slice pool)
{
	char key[600];
	size_t n = domain.n + 1 + pool.n;
	struct pair *e = NULL;

	if (n > sizeof(key))
		return NULL;
	memcpy(key, domain.p, domain.n);
	key[domain.n] = '\0';
	memcpy(key + domain.n + 1, pool.p, pool.n);
	HASH_FIND(hh, w->pairs, key, n, e);
	return e ? e : pair_new(w, key, n, domain.n);
}

static void count(void *arg, const struct queue_brief *m)
{
	struct waits *w = arg;
	ms_t wall = clock_wall_ms();

	if (!m->pool.p || (w->a->pool && !slice_eq(m->pool, slice_of(w->a->pool))))
		return;
	for (uint32_t i = 0; i < m->n; i++) {
		struct pair *e = pair_of(w, m->rcpts[i].domain, m->pool);

		if (!e) {
			w->failed = true;
			return;
		}
		if (m->held) {
			e->held++;
		} else if (m->rcpts[i].due > wall) {
			e->later++;
			if (!e->first_later || m->rcpts[i].due < e->first_later)
				e->first_later = m->rcpts[i].due;
		} else {
			e->due++;
		}
	}
}

static int count_all(struct control_client *c, struct waits *w)
{
	uint64_t id = 1;
	int r = 0;

	while (!r && !w->failed && !c->broken)
		r = queue_walk(c->ctx->queue, &id, SLICE, count, w);
	return w->failed ? -ENOMEM : r == -ENOENT ? 0 : r;
}

/* ---- what each waits for, on the dispatcher's thread ---- */

static bool names(
	const struct waits *w, const struct policy_params *p, const struct dispatch_wait *i)
{
	return !w->a->at || !strcmp(w->a->at, i->domain) || !strcmp(w->a->at, i->where) ||
	       (i->provider < p->nproviders && !strcmp(w->a->at, p->providers[i->provider].name));
}

static void add(struct waits *w, const struct dispatch_wait *i, const struct group_key *key,
	uint64_t n, ms_t until)
{
	struct group *g;

	HASH_FIND(hh, w->groups, key, sizeof(*key), g);
	if (!g) {
		g = HASH_COUNT(w->groups) < GROUPS_MAX ? calloc(1, sizeof(*g)) : NULL;
		if (!g)
			return; /* a small one: the widest are many domains' */
		g->key = *key;
		snprintf(g->domain, sizeof(g->domain), "%.255s", i->domain);
		memcpy(g->where, i->where, sizeof(g->where));
		HASH_ADD(hh, w->groups, key, sizeof(g->key), g);
		if (!g->hh.tbl) {
			free(g);
			return;
		}
	}
	g->recipients += n;
	g->domains++;
	if (until && (!g->until || until < g->until))
		g->until = until;
}

static void sort_in(struct waits *w, struct dispatch *d, const struct pair *e)
{
	struct policy *p = dispatch_policy(d);
	const struct policy_params *params = policy_parameters(p);
	struct dispatch_wait i = { .domain = e->name, .pool = e->pool };
	int pool = policy_pool(p, e->pool);
	struct group_key key = { 0 };
	uint64_t aside, paced;

	dispatch_wait(d, &i);
	if (pool < 0 || !names(w, params, &i))
		return;
	key.pool = (uint32_t)pool;
	key.provider = i.provider;
	key.what = WHAT_HELD;
	key.reason = HOLD_OPERATOR;
	if (e->held)
		add(w, &i, &key, e->held, 0);
	key.what = WHAT_LATER;
	key.reason = HOLD_BACKOFF;
	if (e->later)
		add(w, &i, &key, e->later, e->first_later);
	key.what = WHAT_WAITS;
	key.reason = HOLD_SENDER;
	aside = i.aside < e->due ? i.aside : e->due;
	if (aside)
		add(w, &i, &key, aside, 0);
	paced = i.paced < e->due - aside ? i.paced : e->due - aside;
	key.reason = HOLD_RECIPIENT;
	if (paced)
		add(w, &i, &key, paced, 0);
	aside += paced;
	if (e->due == aside)
		return;
	key.reason = i.reason;
	key.limit = i.limit;
	key.cluster = hold_is_domains(i.reason) ? 0 : i.cluster;
	add(w, &i, &key, e->due - aside, i.until);
}

static void sort_slice(struct dispatch *d, void *arg)
{
	struct waits *w = arg;

	for (unsigned n = 0; w->next && n < ASKED; n++, w->next = w->next->hh.next)
		sort_in(w, d, w->next);
}

/* ---- the answers ---- */

static json_t *group_json(const struct policy_params *params, const struct group *g,
	const struct policy_bottleneck *b)
{
	const char *reason = g->key.what == WHAT_LATER ? "backing off"
			     : g->key.reason ? hold_reason_text((enum hold_reason)g->key.reason)
					     : "on its way";
	const char *provider =
		g->key.provider < params->nproviders ? params->providers[g->key.provider].name : "";

	return json_pack("{so so so so so so so sI sI so sf sI so so}", "row",
		json_text("bottleneck"), "pool", json_text(params->pools[g->key.pool].name),
		"provider", json_text(provider), "cluster",
		json_text(g->key.cluster ? g->where : ""), "domain", json_text(g->domain), "reason",
		json_text(reason), "limit",
		json_text(policy_limit_text((enum policy_limit)g->key.limit)), "recipients",
		(json_int_t)g->recipients, "domains", (json_int_t)g->domains, "until",
		json_time(g->until), "a_minute", b->per_minute, "lasts_ms", (json_int_t)b->lasts,
		"text", json_text(b->text), "lift", json_text(b->lift));
}

static void tell_groups(struct dispatch *d, void *arg)
{
	struct waits *w = arg;
	struct policy *p = dispatch_policy(d);
	const struct policy_params *params = policy_parameters(p);
	struct group *g, *next;

	HASH_ITER (hh, w->groups, g, next) {
		struct policy_bottleneck b;
		struct policy_wait i = { .pool = g->key.pool,
			.provider = g->key.provider,
			.cluster = g->key.cluster,
			.reason = (enum hold_reason)g->key.reason,
			.limit = (enum policy_limit)g->key.limit,
			.recipients = g->recipients,
			.domains = g->domains,
			.domain = g->domain };

		/* a reload may have come between */
		if (g->key.pool >= params->npools)
			continue;
		if (g->key.pool < sizeof(w->told) / sizeof(*w->told) &&
			w->told[g->key.pool]++ >= TOLD)
			continue;
		policy_bottleneck(p, dispatch_now(d), &i, &b);
		answers_add(w->a->array, group_json(params, g, &b));
	}
}

static int widest(const struct group *a, const struct group *b)
{
	if (a->key.pool != b->key.pool)
		return a->key.pool < b->key.pool ? -1 : 1;
	return a->recipients == b->recipients ? 0 : a->recipients < b->recipients ? 1 : -1;
}

int waits_gather(struct control_client *c, const struct waits_asked *a)
{
	struct waits w = { .a = a };
	struct group *g, *next_group;
	struct pair *e, *next;
	int r = count_all(c, &w);

	w.next = w.pairs;
	while (!r && w.next && !c->broken)
		ask(c->ctx->dispatch, sort_slice, &w);
	HASH_SORT(w.groups, widest);
	if (!r)
		ask(c->ctx->dispatch, tell_groups, &w);
	HASH_ITER (hh, w.pairs, e, next) {
		HASH_DEL(w.pairs, e);
		free(e);
	}
	HASH_ITER (hh, w.groups, g, next_group) {
		HASH_DEL(w.groups, g);
		free(g);
	}
	return r;
}
