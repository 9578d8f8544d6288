/* What operators order: suspended, resumed, kept in service. The list is suspend.c's; a resume ends the
 * relay's own rests of what it names, too. */
#include <errno.h>
#include <stdio.h>

#include "ban.h"
#include "block.h"
#include "change.h"
#include "events.h"
#include "evidence.h"
#include "health.h"
#include "names.h"
#include "operate.h"
#include "params.h"
#include "policy_impl.h"
#include "suspend.h"
#include "table.h"
#include "tenant.h"

static void event_operator(struct policy *p, struct policy_now now, enum policy_event_kind kind,
	const char *source, const char *where, ms_t until, const char *text)
{
	struct policy_event *e = event_add(p, kind, now);

	e->over = kind == POLICY_EVENT_RESUMED;
	snprintf(e->source, sizeof(e->source), "%.63s", source ? source : "");
	if (where && provider_by_name(p->params, where) >= 0)
		snprintf(e->provider, sizeof(e->provider), "%.31s", where);
	else if (where && tenant_find(p, where))
		snprintf(e->domain, sizeof(e->domain), "%.255s", where);
	else
		snprintf(e->cluster, sizeof(e->cluster), "%.39s", where ? where : "");
	snprintf(e->cause, sizeof(e->cause), "%s", cause_name(CAUSE_OPERATOR));
	e->until = until;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

void suspensions_expire(struct policy *p, struct policy_now now)
{
	for (size_t i = 0; i < p->nsuspensions; i++) {
		const struct suspension *s = &p->suspensions[i];

		if (!s->gone && !s->pin && !suspension_in_force(s, now.wall))
			event_operator(p, now, POLICY_EVENT_RESUMED, s->source, s->where, 0,
				"the suspension is over");
	}
	suspensions_apply(p, now.wall);
}

static bool place_is_met(const struct policy *p, const char *where)
{
	if (!where || provider_by_name(p->params, where) >= 0)
		return true;
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (const struct cluster *c = p->providers[k].clusters; c; c = c->next)
			if (place_at_cluster(p, where, c))
				return true;
	return false;
}

/* What mail has not come to yet may be named ahead of it. A network that is smaller than clusters
 * are would hold nothing. */
static bool may_be_place(const char *where)
{
	struct net n;

	if (!net_parse(&n, slice_of(where)))
		return n.bits <= (n.addr.family == ADDR_V4 ? CLUSTER_NET_V4 : CLUSTER_NET_V6);
	return name_is_cluster(where) || name_is_geography(where);
}

/* 0, POLICY_NOT_MET, -ENOENT, -ENXIO */
static int look_up(const struct policy *p, const char *source, const char *where)
{
	if (source && source_by_name(p->params, source) < 0)
		return -ENOENT;
	if (place_is_met(p, where))
		return 0;
	return may_be_place(where) ? POLICY_NOT_MET : -ENXIO;
}

static struct order_time from_now(struct policy_now now, ms_t until)
{
	return (struct order_time){ until, until > now.wall ? until - now.wall : 0 };
}

int policy_suspend(
	struct policy *p, struct policy_now now, const char *source, const char *where, ms_t until)
{
	int r, known = look_up(p, source, where);

	if (known < 0)
		return known;
	r = suspension_add(p, source, where, from_now(now, until), false, true);
	if (r)
		return r;
	suspension_end(p, now.wall, source, where, true);
	suspensions_apply(p, now.wall);
	event_operator(
		p, now, POLICY_EVENT_SUSPENDED, source, where, until, "suspended by the operator");
	return known;
}

static bool concerns(const struct policy *p, const struct cluster *c, const char *where)
{
	return !where || place_at_cluster(p, where, c) ||
	       !strcmp(where, p->params->providers[c->provider].name);
}

static bool end_rest(struct health *h, struct policy_now now)
{
	if (!sick(h))
		return false;
	health_well(h, now);
	h->length = 0;
	return true;
}

static unsigned end_lane_rest(struct policy *p, struct policy_now now, struct lane *l)
{
	struct health *both[] = { &l->health, &l->ramp.share };
	bool r = false;

	for (unsigned i = 0; i < 2; i++) {
		if (!end_rest(both[i], now))
			continue;
		r = true;
		event_health(p, now, l->cluster, l->source, l->path->subnet, both[i], CAUSE_SOURCE,
			&l->evidence, NULL);
	}
	l->ramp.score = 0;
	evidence_clear(&l->evidence);
	/* what it took when it was put to rest is no limit any more, unless it was met again */
	pace_excuse(&l->pace);
	return r;
}

static unsigned end_path_rest(struct policy *p, struct policy_now now, struct path *h)
{
	bool r = end_rest(&h->health, now);

	if (r)
		event_health(p, now, h->cluster, ~0u, h->subnet, &h->health, CAUSE_SUBNET,
			&h->evidence, NULL);
	evidence_clear(&h->evidence);
	pace_excuse(&h->pace);
	return r;
}

static unsigned end_cluster_rests(
	struct policy *p, struct policy_now now, struct cluster *c, int source)
{
	unsigned n = 0;

	if (source < 0) {
		if (end_rest(&c->health, now)) {
			n++;
			event_health(
				p, now, c, ~0u, ~0u, &c->health, CAUSE_CLUSTER, &c->evidence, NULL);
		}
		evidence_clear(&c->evidence);
		c->limit = c->slow_start = 0;
	}
	for (unsigned i = 0; i < p->nsubnets; i++) {
		struct path *h = c->paths[i];

		if (h && (source < 0 || p->sources[source].subnet == i))
			n += end_path_rest(p, now, h);
	}
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct lane *l = c->lanes[i];

		if (l && (source < 0 || (unsigned)source == i))
			n += end_lane_rest(p, now, l);
	}
	return n;
}

static unsigned end_blocks(struct policy *p, struct policy_now now, unsigned provider, int source)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->params->nsources; i++)
		if (source < 0 || (unsigned)source == i)
			n += block_end(p, now, provider, i);
	return n;
}

static unsigned end_tenants(struct policy *p, struct policy_now now, const char *where)
{
	struct tenant *t, *next;
	unsigned n = 0;

	HASH_ITER (hh, p->tenants, t, next) {
		if (where && strcmp(where, t->name))
			continue;
		n += sick(&t->health);
		tenant_unblame(p, t, now);
	}
	return n;
}

/* An operator's resume ends the relay's own rests of what it names, too. */
static unsigned end_rests(struct policy *p, struct policy_now now, int source, const char *where)
{
	struct cluster *c, *next;
	unsigned n = 0;

	HASH_ITER (hh, p->clusters, c, next)
		if (concerns(p, c, where))
			n += end_cluster_rests(p, now, c, source);
	for (unsigned k = 0; k < p->params->nproviders; k++)
		if (!where || !strcmp(where, p->params->providers[k].name))
			n += end_blocks(p, now, k, source);
	if (source < 0)
		n += end_tenants(p, now, where);
	n += bans_end(p, now, source < 0 ? NULL : p->params->sources[source].name, where);
	return n;
}

int policy_resume(struct policy *p, struct policy_now now, const char *source, const char *where)
{
	int number = source ? source_by_name(p->params, source) : -1;
	unsigned n;

	if (source && number < 0)
		return -ENOENT;
	n = suspension_end(p, now.wall, source, where, false);
	n += suspension_end(p, now.wall, source, where, true);
	suspensions_apply(p, now.wall);
	n += end_rests(p, now, number, where);
	if (!n)
		return -ENOENT;
	p->urgent = true;
	event_operator(p, now, POLICY_EVENT_RESUMED, source, where, 0, "resumed by the operator");
	return 0;
}

int policy_keep(
	struct policy *p, struct policy_now now, const char *source, const char *where, ms_t until)
{
	int r, known = look_up(p, source, where);

	if (known < 0)
		return known;
	r = suspension_add(p, source, where, from_now(now, until), true, true);
	if (r)
		return r;
	suspension_end(p, now.wall, source, where, false);
	suspensions_apply(p, now.wall);
	end_rests(p, now, source ? source_by_name(p->params, source) : -1, where);
	event_operator(p, now, POLICY_EVENT_RESUMED, source, where, until,
		"kept in service by the operator");
	return known;
}
