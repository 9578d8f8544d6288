/* What operators see and say, and what outlives a restart. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

/* ---- suspensions ---- */

static bool in_force(const struct suspension *s, struct policy_now now)
{
	return !s->gone && (!s->until || s->until > now.wall);
}

bool suspended(const struct policy *p, struct policy_now now, unsigned source,
	const struct cluster *c, unsigned provider, ms_t *until_wall)
{
	for (size_t i = 0; i < p->nsuspensions; i++) {
		const struct suspension *s = &p->suspensions[i];

		if (!in_force(s, now))
			continue;
		if (s->source && strcmp(s->source, p->params->sources[source].name))
			continue;
		if (s->where && strcmp(s->where, p->params->providers[provider].name) &&
			!(c && !strcmp(s->where, c->name)))
			continue;
		*until_wall = s->until;
		return true;
	}
	return false;
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static struct suspension *suspension_find(struct policy *p, const char *source, const char *where)
{
	for (size_t i = 0; i < p->nsuspensions; i++)
		if (same(p->suspensions[i].source, source) && same(p->suspensions[i].where, where))
			return &p->suspensions[i];
	return NULL;
}

static int suspension_add(struct policy *p, const char *source, const char *where, ms_t until)
{
	struct suspension *s = suspension_find(p, source, where), *all;
	char *a = NULL, *b = NULL;

	if (s) {
		s->until = until;
		s->gone = false;
		s->dirty = true;
		return 0;
	}
	if (p->nsuspensions >= SUSPENSIONS_MAX)
		return -ENOSPC;
	all = realloc(p->suspensions, (p->nsuspensions + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	p->suspensions = all;
	a = source ? slice_dup(slice_of(source)) : NULL;
	b = where ? slice_dup(slice_of(where)) : NULL;
	if ((source && !a) || (where && !b)) {
		free(a);
		free(b);
		return -ENOMEM;
	}
	all[p->nsuspensions++] =
		(struct suspension){ .source = a, .where = b, .until = until, .dirty = true };
	return 0;
}

static struct cluster *cluster_named(const struct policy *p, const char *name)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

/* A network that no host has been seen in yet may be named as well. */
static bool known_place(const struct policy *p, const char *where)
{
	struct net n;

	return !where || provider_by_name(p->params, where) >= 0 || cluster_named(p, where) ||
	       !net_parse(&n, slice_of(where));
}

int policy_suspend(
	struct policy *p, struct policy_now now, const char *source, const char *where, ms_t until)
{
	if ((source && source_by_name(p->params, source) < 0) || !known_place(p, where))
		return -ENOENT;
	return suspension_add(p, source, where, until);
}

/* An operator's resume ends the relay's own rests of what it names, too. */
static unsigned end_rests(struct policy *p, struct policy_now now, int source, const char *where)
{
	struct cluster *c, *next;
	unsigned n = 0;

	HASH_ITER (hh, p->clusters, c, next) {
		const char *provider = p->params->providers[c->key.provider].name;

		if (where && strcmp(where, c->name) && strcmp(where, provider))
			continue;
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct lane *l = c->lanes[i];

			if (!l || (source >= 0 && (unsigned)source != i) ||
				l->rest_until <= now.wall)
				continue;
			l->rest_until = 0;
			l->dirty = true;
			n++;
		}
	}
	for (unsigned k = 0; k < p->params->nproviders; k++) {
		if (where && strcmp(where, p->params->providers[k].name))
			continue;
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct block *b = &p->providers[k].blocks[i];

			if ((source >= 0 && (unsigned)source != i) || b->until <= now.wall)
				continue;
			b->until = 0;
			b->dirty = true;
			n++;
		}
	}
	return n;
}

int policy_resume(struct policy *p, struct policy_now now, const char *source, const char *where)
{
	int number = source ? source_by_name(p->params, source) : -1;
	unsigned n = 0;

	if (source && number < 0)
		return -ENOENT;
	for (size_t i = 0; i < p->nsuspensions; i++) {
		struct suspension *s = &p->suspensions[i];

		if (!in_force(s, now) || (source && !same(s->source, source)) ||
			(where && !same(s->where, where)))
			continue;
		s->gone = true;
		s->dirty = true;
		n++;
	}
	n += end_rests(p, now, number, where);
	return n ? 0 : -ENOENT;
}

/* ---- observation ---- */

static void lane_info(const struct policy *p, struct policy_now now, const struct lane *l,
	struct policy_lane_info *ret, char subnet[ADDR_TEXT_MAX + 4])
{
	const struct cluster *c = l->cluster;
	const struct source_params *s = &p->params->sources[l->source];
	const struct provider_params *v = &p->params->providers[c->key.provider];
	ms_t until;
	enum hold_reason why = source_obstacle(p, now, l->source, c, c->key.provider, &until);

	net_format(subnet, &s->subnet);
	*ret = (struct policy_lane_info){
		.source = s->name,
		.subnet = subnet,
		.cluster = c->name,
		.provider = v->name,
		.health = "healthy",
		.cause = "",
		.window = l->window,
		.in_use = l->in_use,
		.rate = v->lane_message_rate,
		.until = until,
		.delivered = l->delivered,
		.deferred = l->deferred,
		.rejected = l->rejected,
	};
	if (why == HOLD_RESTING) {
		ret->health = "resting";
		ret->cause = "subnet";
		ret->since = l->since;
	} else if (why == HOLD_BLOCKED) {
		ret->health = "blocked";
		ret->cause = "source";
		ret->since = p->providers[c->key.provider].blocks[l->source].since;
	} else if (why == HOLD_SUSPENDED) {
		ret->health = "suspended";
		ret->cause = "operator";
	} else if (why == HOLD_NO_SOURCE) {
		ret->health = "unavailable";
		ret->cause = "source";
	} else if (l->window < v->connections_per_lane) {
		ret->health = "throttled";
		ret->cause = "subnet";
		ret->since = l->since;
	}
}

void policy_lanes(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_lane_info *i), void *arg)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			char subnet[ADDR_TEXT_MAX + 4];
			struct policy_lane_info info;

			if (!c->lanes[i])
				continue;
			lane_info(p, now, c->lanes[i], &info, subnet);
			fn(arg, &info);
		}
}

void policy_clusters(const struct policy *p,
	void (*fn)(void *arg, const struct policy_cluster_info *i), void *arg)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next) {
		const struct provider_params *v = &p->params->providers[c->key.provider];
		struct policy_cluster_info info = {
			.cluster = c->name,
			.provider = v->name,
			.geography = "",
			.how = "network of the host",
			.host = c->host,
			.learned = c->learned,
			.connections = c->connections,
			.cap = v->connections_per_cluster,
		};

		fn(arg, &info);
	}
}

/* ---- over restarts ---- */

/* Keys: policy/KIND/SOURCE/WHERE[/PROVIDER]; an empty name stands for all. Values: "1 UNTIL EXTRA",
 * 1 being the version. */
struct saver {
	void (*put)(void *arg, struct slice key, struct slice value);
	void *arg;
};

static void save_entry(const struct saver *s, const char *kind, const char *source,
	const char *where, const char *provider, bool gone, ms_t until, ms_t extra)
{
	char key[400], value[64];
	int k = snprintf(key, sizeof(key), "policy/%s/%s|%s|%s", kind, source, where, provider);
	int v = snprintf(value, sizeof(value), "1 %" PRId64 " %" PRId64, until, extra);

	if (k <= 0 || (size_t)k >= sizeof(key))
		return;
	s->put(s->arg, (struct slice){ key, (size_t)k },
		(struct slice){ gone ? NULL : value, gone ? 0 : (size_t)v });
}

static void save_lanes(struct policy *p, const struct saver *s)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct lane *l = c->lanes[i];

			if (!l || !l->dirty)
				continue;
			save_entry(s, "rest", p->params->sources[i].name, c->name,
				p->params->providers[c->key.provider].name, !l->rest_until,
				l->rest_until, l->rest_length);
			l->dirty = false;
		}
}

static void save_blocks(struct policy *p, const struct saver *s)
{
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			struct block *b = &p->providers[k].blocks[i];

			if (!b->dirty)
				continue;
			save_entry(s, "block", p->params->sources[i].name, "",
				p->params->providers[k].name, !b->until, b->until, b->since);
			b->dirty = false;
		}
}

void policy_save(
	struct policy *p, void (*put)(void *arg, struct slice key, struct slice value), void *arg)
{
	struct saver s = { put, arg };
	size_t kept = 0;

	save_lanes(p, &s);
	save_blocks(p, &s);
	for (size_t i = 0; i < p->nsuspensions; i++) {
		struct suspension *x = &p->suspensions[i];

		if (x->dirty)
			save_entry(&s, "suspend", x->source ? x->source : "",
				x->where ? x->where : "", "", x->gone, x->until, 0);
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

static int load_rest(struct policy *p, const char *source, const char *net, const char *provider,
	ms_t until, ms_t length)
{
	int s = source_by_name(p->params, source), v = provider_by_name(p->params, provider);
	struct cluster *c;
	struct lane *l;
	struct net n;

	if (s < 0 || v < 0)
		return 0; /* no longer configured */
	if (net_parse(&n, slice_of(net)))
		return -EINVAL;
	c = cluster_of_net(p, (unsigned)v, &n, 0);
	l = c ? lane_get(p, c, (unsigned)s) : NULL;
	if (!l)
		return -ENOMEM;
	l->rest_until = until;
	l->rest_length = length;
	return 0;
}

static int load_block(
	struct policy *p, const char *source, const char *provider, ms_t until, ms_t since)
{
	int s = source_by_name(p->params, source), v = provider_by_name(p->params, provider);

	if (s < 0 || v < 0)
		return 0;
	p->providers[v].blocks[s] = (struct block){ .until = until, .since = since };
	return 0;
}

static int load_suspension(struct policy *p, const char *source, const char *where, ms_t until)
{
	int r = suspension_add(p, *source ? source : NULL, *where ? where : NULL, until);

	if (!r)
		suspension_find(p, *source ? source : NULL, *where ? where : NULL)->dirty = false;
	return r;
}

int policy_load(struct policy *p, struct slice key, struct slice value)
{
	char k[401], v[64], *kind, *source, *where, *provider;
	int64_t until, extra;
	int version;

	if (key.n >= sizeof(k) || value.n >= sizeof(v))
		return -EINVAL;
	memcpy(k, key.p, key.n);
	k[key.n] = '\0';
	memcpy(v, value.p, value.n);
	v[value.n] = '\0';
	if (sscanf(v, "%d %" SCNd64 " %" SCNd64, &version, &until, &extra) != 3 || version != 1)
		return -EINVAL;
	if (strncmp(k, "policy/", 7))
		return -EINVAL;
	kind = k + 7;
	source = strchr(kind, '/');
	if (!source)
		return -EINVAL;
	*source++ = '\0';
	where = strchr(source, '|');
	provider = where ? strchr(where + 1, '|') : NULL;
	if (!provider)
		return -EINVAL;
	*where++ = '\0';
	*provider++ = '\0';
	if (!strcmp(kind, "rest"))
		return load_rest(p, source, where, provider, until, extra);
	if (!strcmp(kind, "block"))
		return load_block(p, source, provider, until, extra);
	if (!strcmp(kind, "suspend"))
		return load_suspension(p, source, where, until);
	return -EINVAL;
}
