/* Clusters, and what hangs on them: lanes by source, paths by subnet. Called by whatever meets a
 * host (learn.c, choose.c, slot.c), and by save.c. Pure; bounded: those that nothing depends on
 * go. */
#include <stdio.h>
#include <stdlib.h>

#include "cluster.h"
#include "evidence.h"
#include "health.h"
#include "lane_save.h"
#include "limit.h"
#include "names.h"
#include "params.h"
#include "persist.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "provider.h"
#include "rate.h"
#include "source.h"
#include "suspend.h"
#include "table.h"
#include "window.h"

void cluster_free(struct policy *p, struct cluster *c)
{
	struct provider_state *v = &p->providers[c->provider];

	must(!c->refs);
	HASH_DEL(p->clusters, c);
	if (c->prev)
		c->prev->next = c->next;
	else
		v->clusters = c->next;
	if (c->next)
		c->next->prev = c->prev;
	for (unsigned i = 0; i < p->params->nsources; i++)
		free(c->lanes[i]);
	for (unsigned i = 0; i < p->nsubnets; i++)
		free(c->paths[i]);
	free(c->lanes);
	free(c->paths);
	free(c->limits);
	free(c->suspended);
	free(c->pinned);
	free(c);
}

static bool worth_keeping(const struct health *h)
{
	return sick(h) || h->dirty;
}

/* Holds nothing that a new one would not have. */
static bool forgettable(const struct policy *p, const struct cluster *c)
{
	if (c->refs || c->uses.in_use || worth_keeping(&c->health) || limits_kept(c->limits))
		return false;
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i] &&
			(worth_keeping(&c->lanes[i]->health) || c->lanes[i]->window_dirty))
			return false;
	for (unsigned i = 0; i < p->nsubnets; i++)
		if (c->paths[i] && worth_keeping(&c->paths[i]->health))
			return false;
	return !lanes_kept(p, c);
}

static void forget_saved(struct policy *p, const struct cluster *c)
{
	const char *provider = p->params->providers[c->provider].name;
	char key[400], subnet[ADDR_TEXT_MAX + 4];

	if (c->health.saved && !save_key(key, sizeof(key), "cluster", c->key.name, "", provider))
		forget_key(p, key);
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i] && c->lanes[i]->health.saved &&
			!save_key(key, sizeof(key), "lane", p->params->sources[i].name, c->key.name,
				provider))
			forget_key(p, key);
	for (unsigned i = 0; i < p->nsubnets; i++) {
		if (!c->paths[i] || !c->paths[i]->health.saved)
			continue;
		path_subnet_text(p, i, subnet);
		if (!save_key(key, sizeof(key), "path", subnet, c->key.name, provider))
			forget_key(p, key);
	}
	lanes_forget(p, c);
}

/* The tables are bounded, mail is not. */
static void clusters_sweep(struct policy *p)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next)
		if (forgettable(p, c)) {
			forget_saved(p, c);
			cluster_free(p, c);
		}
}

static void key_of(
	const struct policy *p, struct cluster_key *key, unsigned provider, const char *name)
{
	memset(key, 0, sizeof(*key));
	key->uid = p->providers[provider].uid;
	memcpy(key->name, name, strnlen(name, sizeof(key->name) - 1));
}

struct cluster *cluster_named(const struct policy *p, unsigned provider, const char *name)
{
	struct cluster_key key;
	struct cluster *c;

	key_of(p, &key, provider, name);
	HASH_FIND(hh, p->clusters, &key, sizeof(key), c);
	return c;
}

static uint8_t geography_index(struct provider_state *v, const char *name)
{
	unsigned i = 1;

	if (!name[0])
		return 0;
	while (i < v->ngeographies && strcmp(v->geographies[i].name, name))
		i++;
	if (i == GEOGRAPHIES_MAX)
		return 0;
	if (i == v->ngeographies) {
		snprintf(v->geographies[i].name, sizeof(v->geographies[i].name), "%s", name);
		v->ngeographies++;
	}
	return (uint8_t)i;
}

void cluster_set_geography(struct policy *p, struct cluster *c, const char *name)
{
	struct provider_state *v = &p->providers[c->provider];
	uint8_t to = geography_index(v, name);

	if (to == c->geography)
		return;
	uses_add(&v->geographies[c->geography].uses, &c->uses, (uint32_t)-1);
	uses_add(&v->geographies[to].uses, &c->uses, 1);
	c->geography = to;
}

struct cluster *cluster_get(struct policy *p, unsigned provider, const char *name)
{
	struct provider_state *v = &p->providers[provider];
	struct cluster *c = cluster_named(p, provider, name);
	char geography[8];

	if (c)
		return c;
	if (HASH_COUNT(p->clusters) >= CLUSTERS_MAX)
		clusters_sweep(p);
	if (HASH_COUNT(p->clusters) >= CLUSTERS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->lanes = calloc(p->params->nsources ? p->params->nsources : 1, sizeof(struct lane *));
	c->paths = calloc(p->nsubnets ? p->nsubnets : 1, sizeof(struct path *));
	if (!c->lanes || !c->paths) {
		free(c->lanes);
		free(c->paths);
		free(c);
		return NULL;
	}
	key_of(p, &c->key, provider, name);
	c->provider = provider;
	c->id = ++p->cluster_seq;
	HASH_ADD(hh, p->clusters, key, sizeof(c->key), c);
	if (!c->hh.tbl) {
		free(c->lanes);
		free(c->paths);
		free(c);
		return NULL;
	}
	c->next = v->clusters;
	if (c->next)
		c->next->prev = c;
	v->clusters = c;
	geography_of_cluster(geography, c->key.name);
	cluster_set_geography(p, c, geography);
	suspensions_apply_cluster(p, c, 0);
	return c;
}

struct path *path_get(struct policy *p, struct cluster *c, unsigned subnet)
{
	struct path *h = c->paths[subnet];

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->cluster = c;
	h->subnet = subnet;
	c->paths[subnet] = h;
	return h;
}

static void health_inherit(struct health *from, struct health *to)
{
	if (!sick(from) && !from->length)
		return;
	*to = *from;
	to->saved = false;
	to->dirty = true;
	from->state = HEALTHY;
	from->until = 0;
	from->dirty = true;
}

static void door_inherit(struct door *from, struct door *to)
{
	if (!from->limit)
		return;
	*to = *from;
	to->saved = false;
	to->dirty = true;
	*from = (struct door){ .dirty = from->saved, .saved = from->saved };
}

static void pace_inherit(struct pace *from, struct pace *to)
{
	if (from->rate <= 0)
		return;
	*to = *from;
	*from = (struct pace){ .dirty = true };
	to->dirty = true;
}

static void lane_inherit(struct lane *from, struct lane *to)
{
	to->window = from->window;
	to->good = from->good;
	to->slow = from->slow;
	to->shrunk = from->shrunk;
	to->grown = from->grown;
	to->messages = from->messages;
	to->connects = from->connects;
	to->evidence = from->evidence;
	evidence_clear(&from->evidence);
	health_inherit(&from->health, &to->health);
	door_inherit(&from->door, &to->door);
	pace_inherit(&from->pace, &to->pace);
	to->ramp = from->ramp;
	to->ramp.dirty = true;
	to->ramp.saved = false;
	from->ramp = (struct lane_ramp){ .dirty = true, .saved = from->ramp.saved };
}

/* Both were used: what was sent to one was sent to the other. */
static bool pour_rates(struct policy *p, struct cluster *from, struct cluster *to, ms_t mono)
{
	const struct provider_params *v = &p->params->providers[to->provider];
	bool used = false;

	for (unsigned i = 0; i < p->params->nsources; i++)
		used |= to->lanes[i] != NULL;
	for (unsigned i = 0; used && i < p->params->nsources; i++) {
		struct lane *l = from->lanes[i] ? lane_get(p, to, i) : NULL;

		if (!l)
			continue;
		bucket_pour(&from->lanes[i]->messages, &l->messages, &v->lane_message_rate, mono);
		bucket_pour(&from->lanes[i]->connects, &l->connects, &v->lane_connect_rate, mono);
	}
	return used;
}

void cluster_inherit(struct policy *p, struct cluster *from, struct cluster *to, ms_t mono)
{
	if (pour_rates(p, from, to, mono))
		return;
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = from->lanes[i] ? lane_get(p, to, i) : NULL;

		if (l)
			lane_inherit(from->lanes[i], l);
	}
	for (unsigned i = 0; i < p->nsubnets; i++) {
		if (!from->paths[i] || !to->paths[i])
			continue;
		to->paths[i]->evidence = from->paths[i]->evidence;
		evidence_clear(&from->paths[i]->evidence);
		health_inherit(&from->paths[i]->health, &to->paths[i]->health);
		door_inherit(&from->paths[i]->door, &to->paths[i]->door);
		pace_inherit(&from->paths[i]->pace, &to->paths[i]->pace);
	}
	to->evidence = from->evidence;
	evidence_clear(&from->evidence);
	health_inherit(&from->health, &to->health);
	to->limit = from->limit;
	to->limit_at = from->limit_at;
	to->limit_dirty |= to->limit != 0;
	to->slow_start = from->slow_start;
	to->slow_start_at = from->slow_start_at;
	to->slow_start_fed = from->slow_start_fed;
	to->heard = from->heard;
	from->heard = 0;
}

void rates_begin(const struct policy *p, struct lane *l)
{
	l->messages = l->connects = (struct bucket){ .at = p->start.at };
}

struct lane *lane_get(struct policy *p, struct cluster *c, unsigned source)
{
	struct lane *l = c->lanes[source];

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->path = path_get(p, c, p->sources[source].subnet);
	if (!l->path) {
		free(l);
		return NULL;
	}
	l->cluster = c;
	l->source = source;
	l->window = window_start(p->params->providers[c->provider].connections_per_lane);
	l->window_dirty = true;
	rates_begin(p, l);
	c->lanes[source] = l;
	return l;
}
