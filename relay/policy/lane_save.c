/* What lanes have found out at doors (door.h, and how many connections a cluster takes of us all),
 * and the parts of ramps that are held at clusters, over restarts: so that no restart costs the
 * refusals by which they were found. Called by save.c and when a cluster is forgotten, on the
 * dispatcher's thread; pure.
 *
 * Doors keep monotonic times, which end with the process: they are saved as wall times, and set back
 * to monotonic ones when the next process begins. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cluster.h"
#include "lane_save.h"
#include "names.h"
#include "params.h"
#include "persist.h"
#include "policy_impl.h"

#define DOOR_MOST     1000000
#define CONFIRMED_MAX 16
#define SHARE_NUMBERS 9u
#define SCORE_SCALE   1000.0
#define SHARE_SCALE   1e6

static ms_t wall_of(const struct policy *p, ms_t mono)
{
	return p->clock.wall - (p->clock.mono - mono);
}

/* Never in the future: a limit that was met then would not grow. */
static ms_t mono_of(struct policy_now now, ms_t wall)
{
	return now.mono - (wall < now.wall ? now.wall - wall : 0);
}

/* ---- doors ---- */

static void door_save(const struct policy *p, const struct saver *s, const char *kind,
	const char *whose, const struct cluster *c, struct door *d)
{
	if (!d->dirty)
		return;
	if (d->limit || d->saved)
		save_entry(s, kind, whose, c->key.name, p->params->providers[c->provider].name,
			!d->limit,
			(const int64_t[4]){ d->limit, d->confirmed, wall_of(p, d->at), 0 });
	d->saved = d->limit != 0;
	d->dirty = false;
}

void doors_save(struct policy *p, const struct saver *s, struct cluster *c)
{
	char subnet[ADDR_TEXT_MAX + 4];

	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i])
			door_save(p, s, "door", p->params->sources[i].name, c, &c->lanes[i]->door);
	for (unsigned i = 0; i < p->nsubnets; i++) {
		if (!c->paths[i] || !c->paths[i]->door.dirty)
			continue;
		path_subnet_text(p, i, subnet);
		door_save(p, s, "door-subnet", subnet, c, &c->paths[i]->door);
	}
	if (!c->limit_dirty)
		return;
	save_entry(s, "door-all", c->key.name, "", p->params->providers[c->provider].name,
		!c->limit, (const int64_t[4]){ c->limit, wall_of(p, c->limit_at), 0, 0 });
	c->limit_saved = c->limit != 0;
	c->limit_dirty = false;
}

static struct path *path_of_subnet(struct policy *p, struct cluster *c, const struct net *n)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		const struct net *mine = &p->params->sources[i].subnet;

		if (mine->bits == n->bits && addr_eq(&mine->addr, &n->addr))
			return path_get(p, c, p->sources[i].subnet);
	}
	return NULL;
}

int door_load(struct policy *p, struct cluster *c, unsigned source, const char *subnet,
	const int64_t n[4])
{
	struct door d = { .saved = true };
	struct path *h = NULL;
	struct lane *l;
	struct net net;

	if (n[0] < 1 || n[0] > DOOR_MOST || n[1] < 0 || n[1] > CONFIRMED_MAX || n[2] < 0)
		return -EINVAL;
	d.limit = (uint32_t)n[0];
	d.confirmed = (uint8_t)n[1];
	d.at = n[2];
	if (!subnet) {
		l = lane_get(p, c, source);
		if (l)
			l->door = d;
		return l ? 0 : -ENOMEM;
	}
	if (net_parse(&net, slice_of(subnet)))
		return -EINVAL;
	h = path_of_subnet(p, c, &net);
	if (h) /* else a subnet that we no longer have */
		h->door = d;
	return 0;
}

int door_all_load(struct cluster *c, const int64_t n[4])
{
	if (n[0] < 1 || n[0] > DOOR_MOST || n[1] < 0)
		return -EINVAL;
	c->limit = (uint32_t)n[0];
	c->limit_at = n[1];
	c->limit_saved = true;
	return 0;
}

void doors_begin(const struct policy *p, struct cluster *c, struct policy_now now)
{
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i] && c->lanes[i]->door.limit)
			c->lanes[i]->door.at = mono_of(now, c->lanes[i]->door.at);
	for (unsigned i = 0; i < p->nsubnets; i++)
		if (c->paths[i] && c->paths[i]->door.limit)
			c->paths[i]->door.at = mono_of(now, c->paths[i]->door.at);
	if (c->limit)
		c->limit_at = mono_of(now, c->limit_at);
}

/* ---- a cluster's part of a ramp ---- */

static uint64_t scaled(double v, double by)
{
	return v > 0 && v < 1e9 ? (uint64_t)(v * by) : 0;
}

/* Nothing that a new lane would not have. */
static bool share_is_new(const struct lane_ramp *v)
{
	return !v->day && !v->aside_day && !sick(&v->share);
}

static void share_save(const struct policy *p, const struct saver *s, struct lane *l)
{
	struct lane_ramp *v = &l->ramp;
	const struct cluster *c = l->cluster;
	char key[KEY_MAX], value[VALUE_MAX];
	bool gone = share_is_new(v);
	int n;

	if ((!v->dirty && !v->share.dirty) || (gone && !v->saved))
		return;
	n = snprintf(value, sizeof(value),
		"2 %d %" PRId64 " %" PRId64 " %" PRIu64 " %" PRId64 " %" PRId64
		" %u %d %d %d %u %u %" PRIu64,
		(int)v->share.state, v->share.until, v->share.length, scaled(v->score, SCORE_SCALE),
		v->share.onset, v->share.recovered, v->rise, (int)v->rise_day, (int)v->day,
		(int)v->aside_day, v->seen, v->bad, scaled(v->expected, SHARE_SCALE));
	if (n < 0 || (size_t)n >= sizeof(value) ||
		save_key(key, sizeof(key), "share", p->params->sources[l->source].name, c->key.name,
			p->params->providers[c->provider].name))
		return;
	s->put(s->arg, slice_of(key), (struct slice){ gone ? NULL : value, gone ? 0 : (size_t)n });
	v->saved = !gone;
	v->dirty = v->share.dirty = false;
}

void shares_save(struct policy *p, const struct saver *s, struct cluster *c)
{
	for (unsigned i = 0; p->nramps && i < p->params->nsources; i++)
		if (c->lanes[i] && ramp_of(p, c->provider, i))
			share_save(p, s, c->lanes[i]);
}

int share_load(
	struct policy *p, struct cluster *c, unsigned source, const int64_t n[4], const char *rest)
{
	int64_t v[SHARE_NUMBERS];
	struct lane *l;

	if (saved_numbers(rest, v, SHARE_NUMBERS) < SHARE_NUMBERS || n[0] < HEALTHY ||
		n[0] > PROBING || n[2] < 0 || n[3] < 0)
		return -EINVAL;
	if (!ramp_of(p, c->provider, source))
		return 0; /* no plan names it any more */
	l = lane_get(p, c, source);
	if (!l)
		return -ENOMEM;
	l->ramp = (struct lane_ramp){
		.share = { .state = n[0] == HEALTHY ? HEALTHY : RESTING,
			.until = n[1],
			.length = n[2],
			.since = n[1] - n[2],
			.onset = v[0],
			.recovered = v[1] },
		.score = (double)n[3] / SCORE_SCALE,
		.rise = saved_count(v[2]),
		.rise_day = saved_day(v[3]),
		.day = saved_day(v[4]),
		.aside_day = saved_day(v[5]),
		.seen = saved_count(v[6]),
		.bad = saved_count(v[7]),
		.expected = v[8] > 0 ? (double)v[8] / SHARE_SCALE : 0,
		.saved = true,
	};
	if (l->ramp.score > SCORE_MAX)
		l->ramp.score = SCORE_MAX;
	return 0;
}

/* ---- the cluster is forgotten ---- */

static void forget(struct policy *p, const char *kind, const char *whose, const struct cluster *c)
{
	char key[KEY_MAX];

	if (!save_key(key, sizeof(key), kind, whose, c->key.name,
		    p->params->providers[c->provider].name))
		forget_key(p, key);
}

static void forget_lane(struct policy *p, const struct lane *l)
{
	const char *source = p->params->sources[l->source].name;

	if (l->pace.rate > 0 || l->pace.dirty)
		forget(p, "pace", source, l->cluster);
	if (l->door.saved)
		forget(p, "door", source, l->cluster);
	if (l->ramp.saved)
		forget(p, "share", source, l->cluster);
}

void lanes_forget(struct policy *p, const struct cluster *c)
{
	char key[KEY_MAX], subnet[ADDR_TEXT_MAX + 4];

	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i])
			forget_lane(p, c->lanes[i]);
	for (unsigned i = 0; i < p->nsubnets; i++) {
		const struct path *h = c->paths[i];

		if (!h)
			continue;
		path_subnet_text(p, i, subnet);
		if (h->door.saved)
			forget(p, "door-subnet", subnet, c);
		if (h->pace.rate > 0 || h->pace.dirty)
			forget(p, "pace-subnet", subnet, c);
	}
	if (c->limit_saved && !save_key(key, sizeof(key), "door-all", c->key.name, "",
				      p->params->providers[c->provider].name))
		forget_key(p, key);
}

bool lanes_kept(const struct policy *p, const struct cluster *c)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		const struct lane *l = c->lanes[i];

		if (l && ramp_of(p, c->provider, i) &&
			(sick(&l->ramp.share) || l->ramp.share.dirty))
			return true;
	}
	return false;
}
