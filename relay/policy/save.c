/* What outlives a restart: written as entries that the driver puts into the queue, read back
 * before the first choice. Keys: policy/KIND/A|B|C. Values: a version, numbers, and a name at the
 * end where there is one. Called by the drivers, at the start, each half minute and at the end. A
 * saved value may be anything: what makes no sense is left out. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ban.h"
#include "clock_step.h"
#include "cluster.h"
#include "health.h"
#include "lane_save.h"
#include "learn.h"
#include "limit.h"
#include "names.h"
#include "pace.h"
#include "params.h"
#include "persist.h"
#include "policy_impl.h"
#include "suspend.h"
#include "table.h"
#include "tenant.h"
#include "warmup_save.h"

/* ---- health ---- */

static bool health_changed(struct health *h, bool *gone)
{
	if (!h->dirty)
		return false;
	h->dirty = false;
	/* one that is well is kept a while for how long its rests were */
	*gone = false;
	h->saved = true;
	return true;
}

static void save_health(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, struct health *h, int64_t extra)
{
	struct save_record e = { kind, a, b, c, .n = { h->state, h->until, h->length, extra } };

	if (!health_changed(h, &e.gone))
		return;
	if (h->state == HEALTHY && !extra) {
		e.gone = true;
		h->saved = false;
	}
	save_put(s, &e);
}

/* Rates in hundredths of a message a minute. */
static void save_pace(const struct saver *s, const char *kind, const char *whose,
	const char *cluster, const char *provider, struct pace *pace)
{
	struct save_record e = { kind, whose, cluster, provider, .gone = pace->rate <= 0,
		.n = { (int64_t)((double)pace->rate * 100), (int64_t)((double)pace->ceiling * 100),
			pace->found, pace->tested } };

	if (!pace->dirty)
		return;
	pace->dirty = false;
	save_put(s, &e);
}

static void save_cluster(struct policy *p, const struct saver *s, struct cluster *c)
{
	const char *provider = p->params->providers[c->provider].name;
	char subnet[ADDR_TEXT_MAX + 4];

	save_health(s, "cluster", c->key.name, "", provider, &c->health, 0);
	limits_save(p, s, c->limits, c->key.name, c->provider);
	for (unsigned i = 0; i < p->nsubnets; i++) {
		struct path *h = c->paths[i];

		if (!h || (!h->health.dirty && !h->pace.dirty))
			continue;
		path_subnet_text(p, i, subnet);
		save_health(s, "path", subnet, c->key.name, provider, &h->health, 0);
		save_pace(s, "pace-subnet", subnet, c->key.name, provider, &h->pace);
	}
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = c->lanes[i];

		if (!l)
			continue;
		l->health.dirty |= l->window_dirty;
		l->window_dirty = false;
		save_health(s, "lane", p->params->sources[i].name, c->key.name, provider,
			&l->health, l->window);
		save_pace(s, "pace", p->params->sources[i].name, c->key.name, provider, &l->pace);
	}
	doors_save(p, s, c);
	shares_save(p, s, c);
}

static void save_blocks(struct policy *p, const struct saver *s)
{
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct block *b = &p->providers[k].blocks[i];
			struct save_record e = { "block", p->params->sources[i].name, "",
				p->params->providers[k].name, .gone = !b->until,
				.n = { b->until, b->since, b->length, 0 } };

			/* a suspicion is not kept */
			if (b->dirty && (b->told || !b->until))
				save_put(s, &e);
			b->dirty = false;
		}
}

static void save_tenants(struct policy *p, const struct saver *s)
{
	struct tenant *t, *next;

	HASH_ITER (hh, p->tenants, t, next)
		save_health(s, "tenant", t->name, "", "", &t->health, 0);
}

static void save_learned(struct policy *p, const struct saver *s)
{
	struct host *h, *next;
	struct name *n, *next_name;

	HASH_ITER (hh, p->hosts, h, next) {
		char addr[ADDR_TEXT_MAX];
		struct save_record e = { "host", addr, "", p->params->providers[h->provider].name,
			.n = { h->how, h->learned, h->seen } };

		if (!h->limits && !h->dirty)
			continue;
		addr_format(addr, &h->key.addr);
		limits_save(p, s, h->limits, addr, h->provider);
		if (!h->dirty || !h->cluster)
			continue;
		h->dirty = false;
		e.name = h->cluster->key.name;
		save_put(s, &e);
	}
	HASH_ITER (hh, p->names, n, next_name) {
		struct save_record e = { "name", n->host, "", "", .n = { 0, n->learned, n->seen },
			.name = n->cluster };

		if (n->dirty)
			save_put(s, &e);
		n->dirty = false;
	}
}

static void save_suspensions(struct policy *p, const struct saver *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->nsuspensions; i++) {
		struct suspension *x = &p->suspensions[i];
		struct save_record e = { x->pin ? "keep" : "suspend", x->source ? x->source : "",
			x->where ? x->where : "", "", .gone = x->gone,
			.n = { x->t.until, x->t.length } };

		if (x->dirty)
			save_put(s, &e);
		x->dirty = false;
		if (x->gone) {
			free(x->source);
			free(x->where);
			continue;
		}
		p->suspensions[kept++] = *x;
	}
	p->nsuspensions = kept;
}

void policy_save(
	struct policy *p, void (*put)(void *arg, struct slice key, struct slice value), void *arg)
{
	struct saver s = { put, arg };
	struct cluster *c, *next;

	for (size_t i = 0; i < p->gone.n; i++) {
		put(arg, slice_of(p->gone.keys[i]), (struct slice){ NULL, 0 });
		free(p->gone.keys[i]);
	}
	p->gone.n = 0;
	HASH_ITER (hh, p->clusters, c, next)
		save_cluster(p, &s, c);
	save_blocks(p, &s);
	save_tenants(p, &s);
	bans_save(p, &s);
	save_learned(p, &s);
	save_suspensions(p, &s);
	ramps_save(p, &s);
	p->urgent = false;
}

/* ---- back ---- */

/* What was found in a value and its key. */
struct loaded {
	const char *a, *b, *c;
	int64_t n[4];
	const char *name;
	int source, provider;
};

static void health_restore(struct health *h, const struct loaded *l)
{
	h->state = l->n[0] == HEALTHY ? HEALTHY : RESTING;
	h->until = l->n[1];
	h->length = l->n[2];
	h->since = h->until - h->length;
	h->saved = true;
}

static struct cluster *cluster_of(struct policy *p, const struct loaded *l, const char *name)
{
	return l->provider < 0 || !name[0] || strlen(name) >= CLUSTER_NAME
		       ? NULL
		       : cluster_get(p, (unsigned)l->provider, name);
}

static int load_cluster(struct policy *p, const struct loaded *l)
{
	struct cluster *c = cluster_of(p, l, l->a);

	if (c)
		health_restore(&c->health, l);
	return 0;
}

/* NULL with 0: of a subnet or a cluster that there is no more. */
static int path_of(struct policy *p, const struct loaded *l, struct path **ret)
{
	struct cluster *c = cluster_of(p, l, l->b);
	struct net n;

	*ret = NULL;
	if (net_parse(&n, slice_of(l->a)))
		return -EINVAL;
	for (unsigned i = 0; c && i < p->params->nsources; i++) {
		const struct net *mine = &p->params->sources[i].subnet;

		if (mine->bits != n.bits || !addr_eq(&mine->addr, &n.addr))
			continue;
		*ret = path_get(p, c, p->sources[i].subnet);
		return *ret ? 0 : -ENOMEM;
	}
	return 0;
}

static int load_path(struct policy *p, const struct loaded *l)
{
	struct path *h;
	int r = path_of(p, l, &h);

	if (h)
		health_restore(&h->health, l);
	return r;
}

static void restore_pace(struct pace *pace, const struct loaded *l)
{
	pace_load(pace, (double)l->n[0] / 100, (double)l->n[1] / 100, l->n[2], l->n[3]);
}

static int load_pace_subnet(struct policy *p, const struct loaded *l)
{
	struct path *h;
	int r = path_of(p, l, &h);

	if (h)
		restore_pace(&h->pace, l);
	return r;
}

static int load_lane(struct policy *p, const struct loaded *l)
{
	struct cluster *c = l->source < 0 ? NULL : cluster_of(p, l, l->b);
	uint32_t cap = c ? p->params->providers[l->provider].connections_per_lane : 0;
	struct lane *n;

	if (!c)
		return 0;
	if (l->n[3] < 1 || l->n[3] > 1000000)
		return -EINVAL;
	n = lane_get(p, c, (unsigned)l->source);
	if (!n)
		return -ENOMEM;
	health_restore(&n->health, l);
	n->window = (uint32_t)l->n[3];
	if (cap && n->window > cap)
		n->window = cap;
	n->window_dirty = false;
	n->messages.at = n->connects.at = -1;
	return 0;
}

static int load_pace(struct policy *p, const struct loaded *l)
{
	struct cluster *c = l->source < 0 ? NULL : cluster_of(p, l, l->b);
	struct lane *n;

	if (!c)
		return 0;
	n = lane_get(p, c, (unsigned)l->source);
	if (!n)
		return -ENOMEM;
	restore_pace(&n->pace, l);
	return 0;
}

static int load_door(struct policy *p, const struct loaded *l)
{
	struct cluster *c = l->source < 0 ? NULL : cluster_of(p, l, l->b);

	return c ? door_load(p, c, (unsigned)l->source, NULL, l->n) : 0;
}

static int load_door_subnet(struct policy *p, const struct loaded *l)
{
	struct cluster *c = cluster_of(p, l, l->b);

	return c ? door_load(p, c, 0, l->a, l->n) : 0;
}

static int load_door_all(struct policy *p, const struct loaded *l)
{
	struct cluster *c = cluster_of(p, l, l->a);

	return c ? door_all_load(c, l->n) : 0;
}

static int load_share(struct policy *p, const struct loaded *l)
{
	struct cluster *c = l->source < 0 ? NULL : cluster_of(p, l, l->b);

	return c ? share_load(p, c, (unsigned)l->source, l->n, l->name) : 0;
}

static int load_mark(struct policy *p, const struct loaded *l)
{
	(void)p;
	(void)l;
	return 0;
}

static int load_block(struct policy *p, const struct loaded *l)
{
	if (l->source < 0 || l->provider < 0)
		return 0;
	p->providers[l->provider].blocks[l->source] = (struct block){ .until = l->n[0],
		.since = l->n[1],
		.length = l->n[2],
		.told = l->n[0] > 0,
		.saved = true };
	return 0;
}

static int load_tenant(struct policy *p, const struct loaded *l)
{
	struct tenant *t = tenant_get(p, l->a, 0);

	if (!t)
		return -ENOMEM;
	health_restore(&t->health, l);
	return 0;
}

/* Of earlier versions: without the provider, and for hours that nobody tested. */
static int load_tenant_block(struct policy *p, const struct loaded *l)
{
	char key[KEY_MAX];

	if (!save_key(key, sizeof(key), "tenant-block", l->a, l->b, l->c))
		forget_key(p, key);
	return 0;
}

static int load_ban(struct policy *p, const struct loaded *l, enum ban_kind kind)
{
	return l->provider < 0 || ban_load(p, kind, l->a, l->b, (unsigned)l->provider, l->n) == 0
		       ? 0
		       : -EINVAL;
}

static int load_ban_domain(struct policy *p, const struct loaded *l)
{
	return load_ban(p, l, BAN_DOMAIN);
}

static int load_ban_cluster(struct policy *p, const struct loaded *l)
{
	return load_ban(p, l, BAN_CLUSTER);
}

static int load_ban_sender(struct policy *p, const struct loaded *l)
{
	return load_ban(p, l, BAN_SENDER);
}

static int load_ban_sender_all(struct policy *p, const struct loaded *l)
{
	return load_ban(p, l, BAN_SENDER_ALL);
}

static int load_host(struct policy *p, const struct loaded *l)
{
	struct host *h;
	struct addr a;

	if (addr_parse(&a, slice_of(l->a)) || l->n[0] < HOW_PTR || l->n[0] > HOW_TAIL ||
		!l->name[0] || strlen(l->name) >= CLUSTER_NAME)
		return -EINVAL;
	if (l->provider < 0)
		return 0;
	h = host_get(p, (unsigned)l->provider, &a, (struct policy_now){ 0, 0 });
	if (!h)
		return -ENOMEM;
	host_learn(p, h, l->name, (enum how)l->n[0], (struct policy_now){ 0, 0 });
	h->learned = l->n[1];
	h->seen = l->n[2];
	h->dirty = false;
	return 0;
}

static int load_name(struct policy *p, const struct loaded *l)
{
	struct name *n;

	if (!l->a[0] || strlen(l->a) >= BANNER_NAME || !l->name[0] ||
		strlen(l->name) >= CLUSTER_NAME)
		return -EINVAL;
	n = name_get(p, l->a, l->name, (struct policy_now){ 0, 0 });
	if (!n)
		return -ENOMEM;
	n->learned = l->n[1];
	n->seen = l->n[2];
	n->dirty = false;
	return 0;
}

static int load_suspension(struct policy *p, const struct loaded *l, bool pin)
{
	/* of earlier versions: without a length */
	const struct order_time t = { l->n[0], l->n[1] > 0 ? l->n[1] : 0 };
	int r = suspension_add(p, *l->a ? l->a : NULL, *l->b ? l->b : NULL, t, pin, false);

	if (!r)
		suspensions_apply(p, 0);
	return r;
}

static int load_ramp(struct policy *p, const struct loaded *l)
{
	return l->source < 0 || l->provider < 0
		       ? 0
		       : ramp_load(p, (unsigned)l->provider, (unsigned)l->source, l->n, l->name);
}

/* NULL: no such place, or no memory for it. */
static struct limits **limits_at(struct policy *p, const char *where, unsigned provider)
{
	struct cluster *c;
	struct addr a;
	struct host *h;

	if (limits_by_cluster(p, provider)) {
		c = where[0] && strlen(where) < CLUSTER_NAME ? cluster_get(p, provider, where)
							     : NULL;
		return c ? &c->limits : NULL;
	}
	if (addr_parse(&a, slice_of(where)))
		return NULL;
	h = host_get(p, provider, &a, (struct policy_now){ 0, 0 });
	return h ? &h->limits : NULL;
}

static int load_limit(struct policy *p, const struct loaded *l)
{
	struct limits **at;

	if (l->provider < 0)
		return 0;
	at = limits_at(p, l->a, (unsigned)l->provider);
	return at ? limits_load(at, l->b, l->n) : -EINVAL;
}

static int load_suspend(struct policy *p, const struct loaded *l)
{
	return load_suspension(p, l, false);
}

static int load_keep(struct policy *p, const struct loaded *l)
{
	return load_suspension(p, l, true);
}

static const struct {
	const char *kind;
	int (*load)(struct policy *p, const struct loaded *l);
	int source; /* which part of the key names one: 0 none, 1 the first */
} kinds[] = {
	{ "cluster", load_cluster, 0 },
	{ "path", load_path, 0 },
	{ "lane", load_lane, 1 },
	{ "pace", load_pace, 1 },
	{ "pace-subnet", load_pace_subnet, 0 },
	{ "door", load_door, 1 },
	{ "door-subnet", load_door_subnet, 0 },
	{ "door-all", load_door_all, 0 },
	{ "share", load_share, 1 },
	{ "block", load_block, 1 },
	{ "tenant", load_tenant, 0 },
	{ "tenant-block", load_tenant_block, 0 },
	{ "ban-domain", load_ban_domain, 0 },
	{ "ban-cluster", load_ban_cluster, 0 },
	{ "ban-sender", load_ban_sender, 0 },
	{ "ban-sender-all", load_ban_sender_all, 0 },
	{ "host", load_host, 0 },
	{ "name", load_name, 0 },
	{ "suspend", load_suspend, 0 },
	{ "keep", load_keep, 0 },
	{ "ramp", load_ramp, 1 },
	{ "limit", load_limit, 0 },
	{ "began", load_mark, 0 },
};

/* "policy/KIND/A|B|C", cut into pieces in place. */
static char *split_key(char *key, struct loaded *l)
{
	char *kind = key + 7, *a, *b, *c;

	if (strncmp(key, "policy/", 7) || !(a = strchr(kind, '/')))
		return NULL;
	*a++ = '\0';
	b = strchr(a, '|');
	c = b ? strchr(b + 1, '|') : NULL;
	if (!c)
		return NULL;
	*b++ = '\0';
	*c++ = '\0';
	l->a = a;
	l->b = b;
	l->c = c;
	return kind;
}

int policy_load(struct policy *p, struct slice key, struct slice value)
{
	char k[KEY_MAX], v[VALUE_MAX], *kind;
	struct loaded l = { .source = -1 };
	int version, at = 0;

	p->start.loaded = true;
	if (key.n >= sizeof(k) || value.n >= sizeof(v))
		return -EINVAL;
	memcpy(k, key.p, key.n);
	k[key.n] = '\0';
	memcpy(v, value.p, value.n);
	v[value.n] = '\0';
	if (sscanf(v, "%d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %n", &version, &l.n[0],
		    &l.n[1], &l.n[2], &l.n[3], &at) < 5 ||
		version != 2 || !at)
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++) /* times and counts: they are added to others */
		if (l.n[i] > NUMBER_MAX || l.n[i] < -NUMBER_MAX)
			return -EINVAL;
	l.name = v + at;
	kind = split_key(k, &l);
	if (!kind)
		return -EINVAL;
	l.provider = provider_by_name(p->params, l.c);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].kind, kind))
			continue;
		if (kinds[i].source)
			l.source = source_by_name(p->params, l.a);
		return kinds[i].load(p, &l);
	}
	return -EINVAL;
}

void policy_begin(struct policy *p, struct policy_now now)
{
	struct cluster *c, *next;

	p->start.begun = true;
	p->start.unmarked = !p->start.loaded;
	p->start.at = p->start.loaded ? now.mono : 0;
	p->clock = now;
	clock_bound(p, now.wall); /* what was loaded may be of a clock that was ahead */
	HASH_ITER (hh, p->clusters, c, next) {
		doors_begin(p, c, now);
		for (unsigned i = 0; i < p->params->nsources; i++)
			if (c->lanes[i])
				rates_begin(p, c->lanes[i]);
	}
}
