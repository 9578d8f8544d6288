/* What the waiting mail of each pool waits for: the queue is counted by pool and domain on the
 * asking thread, a slice of messages in each read transaction; then the dispatcher is asked, a slice
 * of domains at a time, what each waits for; and what waits for the same is one group, the widest
 * first. Called for "postern why" and by the survey, on their threads.
 *
 * Memory grows with the number of pairs of domain and pool, up to a bound at which those counted so
 * far are sorted in and forgotten; then a domain may count more than once among a group's domains,
 * its recipients never. */
#include "waits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "ask.h"
#include "control.h"
#include "postern/hash.h"

#define SLICE	   256u
#define ASKED	   256u /* domains in one question to the dispatcher */
#define PAIRS_MAX  1000000u
#define GROUPS_MAX 4096u /* told apart by cluster and limit; beyond: by pool, provider, reason */
#define TOLD	   12u	 /* of one pool */

/* Mail of one pool for one domain. */
struct pair {
	UT_hash_handle hh;
	struct part {
		uint64_t n;  /* recipients */
		ms_t oldest; /* wall; when it came */
	} due, later, held;
	ms_t first_later; /* wall */
	char *pool;	  /* behind the domain, in name */
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
	ms_t until, oldest; /* wall; the earliest; 0: not known */
	char domain[256];   /* one of them */
	char where[32];
};
enum { WHAT_WAITS, WHAT_LATER, WHAT_HELD };

struct counting {
	const struct waits_asked *a;
	struct pair *pairs;
	struct group *groups;
	struct pair *next; /* to be asked about */
	struct waits *ret;
	ms_t wall;
	bool failed;
	unsigned told[64]; /* by pool */
};

static const ms_t age_ends[WAITS_AGES] = { 5 * 60000, 3600000, 6 * 3600000, 24 * 3600000, 0 };

ms_t waits_age(unsigned i)
{
	return age_ends[i];
}

/* ---- the queue ---- */

static struct pair *pair_new(struct counting *w, const char *key, size_t n, size_t domain)
{
	struct pair *e = calloc(1, sizeof(*e) + n + 1);

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

static struct pair *pair_of(struct counting *w, struct slice domain, struct slice pool)
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

static void count_part(struct part *p, ms_t arrived)
{
	p->n++;
	if (!p->oldest || arrived < p->oldest)
		p->oldest = arrived;
}

static void count_age(struct counting *w, const struct queue_brief *m)
{
	unsigned i = 0;

	while (age_ends[i] && w->wall - m->who.arrived >= age_ends[i])
		i++;
	w->ret->ages[i] += m->n;
	w->ret->recipients += m->n;
}

static void count(void *arg, const struct queue_brief *m)
{
	struct counting *w = arg;

	if (!m->who.pool.p || (w->a->pool && !slice_eq(m->who.pool, slice_of(w->a->pool))))
		return;
	count_age(w, m);
	for (uint32_t i = 0; i < m->n; i++) {
		struct pair *e = pair_of(w, m->rcpts[i].who.domain, m->who.pool);

		if (!e) {
			w->failed = true;
			return;
		}
		if (m->held) {
			count_part(&e->held, m->who.arrived);
		} else if (m->rcpts[i].due > w->wall) {
			count_part(&e->later, m->who.arrived);
			if (!e->first_later || m->rcpts[i].due < e->first_later)
				e->first_later = m->rcpts[i].due;
		} else {
			count_part(&e->due, m->who.arrived);
		}
	}
}

/* ---- what each waits for, on the dispatcher's thread ---- */

static bool names(
	const struct counting *w, const struct policy_params *p, const struct dispatch_wait *i)
{
	return !w->a->at || !strcmp(w->a->at, i->domain) || !strcmp(w->a->at, i->where) ||
	       (i->provider < p->nproviders && !strcmp(w->a->at, p->providers[i->provider].name));
}

static struct group *group_of(struct counting *w, const struct group_key *asked)
{
	struct group_key key = *asked;
	struct group *g;

	HASH_FIND(hh, w->groups, &key, sizeof(key), g);
	if (!g && HASH_COUNT(w->groups) >= GROUPS_MAX) {
		key.cluster = key.limit = 0;
		HASH_FIND(hh, w->groups, &key, sizeof(key), g);
	}
	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->key = key;
	HASH_ADD(hh, w->groups, key, sizeof(g->key), g);
	if (!g->hh.tbl) {
		free(g);
		return NULL;
	}
	return g;
}

static const char *reason_text(const struct group_key *k)
{
	return k->what == WHAT_LATER ? "backing off"
	       : k->reason	     ? hold_reason_text((enum hold_reason)k->reason)
				     : "on its way";
}

static const char *provider_name(const struct policy_params *p, uint32_t provider)
{
	return provider < p->nproviders ? p->providers[provider].name : "";
}

static void copy(char *out, size_t max, const char *s)
{
	snprintf(out, max, "%.*s", (int)max - 1, s);
}

struct adding {
	const struct dispatch_wait *i;
	const struct policy_params *params;
	struct group_key key;
};

static void add(struct counting *w, const struct adding *a, const struct part *p, ms_t until)
{
	struct group *g = group_of(w, &a->key);

	if (!g) {
		w->failed = true;
		return;
	}
	if (!g->domains) {
		copy(g->domain, sizeof(g->domain), a->i->domain);
		memcpy(g->where, a->i->where, sizeof(g->where));
	}
	g->recipients += p->n;
	g->domains++;
	if (p->oldest && (!g->oldest || p->oldest < g->oldest))
		g->oldest = p->oldest;
	if (until && (!g->until || until < g->until))
		g->until = until;
}

/* Among those with the most mail, with what most of it waits for. */
static void rank_domain(struct counting *w, const struct pair *e, const struct adding *a)
{
	struct waits *ret = w->ret;
	uint64_t n = e->due.n + e->later.n + e->held.n;
	const struct part *most = e->due.n >= e->later.n && e->due.n >= e->held.n ? &e->due
				  : e->later.n >= e->held.n			  ? &e->later
										  : &e->held;
	struct group_key key = a->key;
	struct waits_domain *t;
	unsigned k = ret->ndomains;

	if (k == WAITS_DOMAINS && ret->domains[k - 1].recipients >= n)
		return;
	if (k < WAITS_DOMAINS)
		ret->ndomains++;
	else
		k--;
	for (; k > 0 && ret->domains[k - 1].recipients < n; k--)
		ret->domains[k] = ret->domains[k - 1];
	t = &ret->domains[k];
	*t = (struct waits_domain){ .recipients = n, .oldest = most->oldest };
	key.what = most == &e->later ? WHAT_LATER : WHAT_WAITS;
	key.reason = most == &e->held ? HOLD_OPERATOR : a->i->reason;
	copy(t->name, sizeof(t->name), e->name);
	copy(t->pool, sizeof(t->pool), e->pool);
	copy(t->provider, sizeof(t->provider), provider_name(a->params, key.provider));
	copy(t->reason, sizeof(t->reason), reason_text(&key));
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Mail that is due: what waits for its sender or its recipient alone, and all others. */
static void sort_due(struct counting *w, struct adding *a, const struct pair *e)
{
	const struct dispatch_wait *i = a->i;
	struct part aside = { lesser(i->aside, e->due.n), e->due.oldest };
	struct part paced = { lesser(i->paced, e->due.n - aside.n), e->due.oldest };
	struct part rest = { e->due.n - aside.n - paced.n, e->due.oldest };

	a->key.what = WHAT_WAITS;
	a->key.reason = HOLD_SENDER;
	if (aside.n)
		add(w, a, &aside, 0);
	a->key.reason = HOLD_RECIPIENT;
	if (paced.n)
		add(w, a, &paced, 0);
	a->key.reason = i->reason;
	a->key.limit = i->limit;
	a->key.cluster = hold_is_domains(i->reason) ? 0 : i->cluster;
	if (rest.n)
		add(w, a, &rest, i->until);
}

static uint32_t remembered(
	struct counting *w, const struct policy_params *p, const struct dispatch_wait *i)
{
	struct waits_memory *m = w->a->memory;
	uint64_t hash;
	size_t place;

	if (!m)
		return i->provider;
	if (m->nproviders != p->nproviders) { /* the first time, or reloaded */
		memset(m->hash, 0, sizeof(m->hash));
		m->nproviders = p->nproviders;
	}
	hash = hash_text(HASH_START ^ m->secret, i->domain);
	place = hash_fold(hash) % WAITS_MEMORY;
	if (i->provider == ~0u)
		return m->hash[place] == hash ? m->provider[place] : i->provider;
	m->hash[place] = hash;
	m->provider[place] = i->provider;
	return i->provider;
}

static void sort_in(struct counting *w, struct dispatch *d, const struct pair *e)
{
	struct policy *p = dispatch_policy(d);
	struct dispatch_wait i = { .domain = e->name, .pool = e->pool };
	struct adding a = { .i = &i, .params = policy_parameters(p) };
	int pool = policy_pool(p, e->pool);

	dispatch_wait(d, &i);
	i.provider = remembered(w, a.params, &i);
	if (pool < 0 || !names(w, a.params, &i))
		return;
	a.key.pool = (uint32_t)pool;
	a.key.provider = i.provider;
	rank_domain(w, e, &a);
	a.key.what = WHAT_HELD;
	a.key.reason = HOLD_OPERATOR;
	if (e->held.n)
		add(w, &a, &e->held, 0);
	a.key.what = WHAT_LATER;
	a.key.reason = HOLD_BACKOFF;
	if (e->later.n)
		add(w, &a, &e->later, e->first_later);
	sort_due(w, &a, e);
}

static void sort_slice(struct dispatch *d, void *arg)
{
	struct counting *w = arg;

	for (unsigned n = 0; w->next && n < ASKED; n++, w->next = w->next->hh.next)
		sort_in(w, d, w->next);
}

static bool go_on(const struct counting *w)
{
	return !w->failed && (!w->a->go_on || w->a->go_on(w->a->arg));
}

static void sort_all(struct counting *w)
{
	struct pair *e, *next;

	w->next = w->pairs;
	while (w->next && go_on(w))
		ask(w->a->dispatch, sort_slice, w);
	HASH_ITER (hh, w->pairs, e, next) {
		HASH_DEL(w->pairs, e);
		free(e);
	}
}

static int count_all(struct counting *w)
{
	uint32_t max = w->a->pairs_max ? w->a->pairs_max : PAIRS_MAX;
	uint64_t id = 1;
	int r = 0;

	while (!r && go_on(w)) {
		r = queue_walk(w->a->queue, &id, SLICE, count, w);
		if (HASH_COUNT(w->pairs) >= max)
			sort_all(w);
	}
	if (r == -ENOENT)
		r = 0;
	if (!r)
		sort_all(w);
	return r ? r : w->failed ? -ENOMEM : go_on(w) ? 0 : -ECANCELED;
}

/* ---- the answers ---- */

static void tell_group(struct counting *w, struct dispatch *d, const struct group *g)
{
	struct policy *p = dispatch_policy(d);
	const struct policy_params *params = policy_parameters(p);
	struct waits_group *t = &w->ret->groups[w->ret->ngroups++];
	struct policy_bottleneck b;
	struct policy_wait i = { .pool = g->key.pool,
		.provider = g->key.provider,
		.cluster = g->key.cluster,
		.reason = (enum hold_reason)g->key.reason,
		.limit = (enum policy_limit)g->key.limit,
		.recipients = g->recipients,
		.domains = g->domains,
		.domain = g->domain };

	policy_bottleneck(p, dispatch_now(d), &i, &b);
	*t = (struct waits_group){ .recipients = g->recipients,
		.domains = g->domains,
		.until = g->until,
		.per_minute = b.per_minute,
		.lasts = b.lasts };
	copy(t->pool, sizeof(t->pool), params->pools[g->key.pool].name);
	copy(t->provider, sizeof(t->provider), provider_name(params, g->key.provider));
	copy(t->cluster, sizeof(t->cluster), g->key.cluster ? g->where : "");
	copy(t->reason, sizeof(t->reason), reason_text(&g->key));
	copy(t->limit, sizeof(t->limit), policy_limit_text((enum policy_limit)g->key.limit));
	copy(t->domain, sizeof(t->domain), g->domain);
	copy(t->text, sizeof(t->text), b.text);
	copy(t->lift, sizeof(t->lift), b.lift);
}

/* Groups differ in more than a sum's names: those of one sum are added to it. */
static void add_sum(struct waits *ret, const struct policy_params *params, const struct group *g)
{
	const char *pool = params->pools[g->key.pool].name, *reason = reason_text(&g->key);
	const char *provider = provider_name(params, g->key.provider);
	struct waits_sum *s = ret->sums;

	while (s < ret->sums + ret->nsums &&
		(strcmp(s->pool, pool) != 0 || strcmp(s->provider, provider) != 0 ||
			strcmp(s->reason, reason) != 0))
		s++;
	if (s == ret->sums + ret->nsums) {
		ret->nsums++;
		*s = (struct waits_sum){ .recipients = 0 };
		copy(s->pool, sizeof(s->pool), pool);
		copy(s->provider, sizeof(s->provider), provider);
		copy(s->reason, sizeof(s->reason), reason);
	}
	s->recipients += g->recipients;
	if (g->oldest && (!s->oldest || g->oldest < s->oldest))
		s->oldest = g->oldest;
}

static void tell_groups(struct dispatch *d, void *arg)
{
	struct counting *w = arg;
	const struct policy_params *params = policy_parameters(dispatch_policy(d));
	struct group *g, *next;

	HASH_ITER (hh, w->groups, g, next) {
		/* a reload may have come between */
		if (g->key.pool >= params->npools)
			continue;
		add_sum(w->ret, params, g);
		if (g->key.pool < sizeof(w->told) / sizeof(*w->told) &&
			w->told[g->key.pool]++ >= TOLD)
			continue;
		tell_group(w, d, g);
	}
}

static int widest(const struct group *a, const struct group *b)
{
	if (a->key.pool != b->key.pool)
		return a->key.pool < b->key.pool ? -1 : 1;
	return a->recipients == b->recipients ? 0 : a->recipients < b->recipients ? 1 : -1;
}

static int by_names(const void *a, const void *b)
{
	const struct waits_sum *x = a, *y = b;
	int r = strcmp(x->pool, y->pool);

	r = r ? r : strcmp(x->provider, y->provider);
	return r ? r : strcmp(x->reason, y->reason);
}

static int tell(struct counting *w)
{
	size_t n = HASH_COUNT(w->groups);
	struct waits_group *fewer;

	w->ret->groups = calloc(n + 1, sizeof(*w->ret->groups));
	w->ret->sums = calloc(n + 1, sizeof(*w->ret->sums));
	if (!w->ret->groups || !w->ret->sums)
		return -ENOMEM;
	HASH_SORT(w->groups, widest);
	ask(w->a->dispatch, tell_groups, w);
	qsort(w->ret->sums, w->ret->nsums, sizeof(*w->ret->sums), by_names);
	fewer = realloc(w->ret->groups, (w->ret->ngroups + 1) * sizeof(*fewer));
	if (fewer)
		w->ret->groups = fewer;
	return 0;
}

int waits_take(struct waits **ret, const struct waits_asked *a)
{
	struct counting w = { .a = a, .wall = clock_wall_ms() };
	struct group *g, *next;
	int r;

	w.ret = calloc(1, sizeof(*w.ret));
	if (!w.ret)
		return -ENOMEM;
	r = count_all(&w);
	if (!r)
		r = tell(&w);
	HASH_ITER (hh, w.groups, g, next) {
		HASH_DEL(w.groups, g);
		free(g);
	}
	if (r)
		waits_free(w.ret);
	else
		*ret = w.ret;
	return r;
}

struct waits *waits_free(struct waits *w)
{
	if (!w)
		return NULL;
	free(w->groups);
	free(w->sums);
	free(w);
	return NULL;
}

json_t *waits_group_json(const struct waits_group *g)
{
	return json_pack("{so so so so so so so sI sI so sf sI so so}", "row",
		json_text("bottleneck"), "pool", json_text(g->pool), "provider",
		json_text(g->provider), "cluster", json_text(g->cluster), "domain",
		json_text(g->domain), "reason", json_text(g->reason), "limit", json_text(g->limit),
		"recipients", (json_int_t)g->recipients, "domains", (json_int_t)g->domains, "until",
		json_time(g->until), "a_minute", g->per_minute, "lasts_ms", (json_int_t)g->lasts,
		"text", json_text(g->text), "lift", json_text(g->lift));
}
