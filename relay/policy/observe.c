/* What operators see: lanes, clusters, causes, sums. Called between two turns of the dispatcher,
 * by control commands and metrics. Pure; changes nothing, and counts evidence as it has decayed by
 * now. */
#include <stdio.h>

#include "ban.h"
#include "evidence.h"
#include "health.h"
#include "learn.h"
#include "limit.h"
#include "paces.h"
#include "params.h"
#include "policy_impl.h"
#include "recipient.h"
#include "source.h"
#include "table.h"
#include "tenant.h"
#include "unknown.h"
#include "warmup_control.h"
#include "window.h"

static bool say_health(
	struct policy_lane_info *i, const struct health *h, enum cause cause, ms_t wall)
{
	if (!sick(h))
		return false;
	i->health = health_shown(h, wall);
	i->cause = cause_name(cause);
	i->since = h->since;
	i->until = h->until > wall ? h->until : 0;
	return true;
}

static bool say_obstacle(const struct policy *p, struct policy_now now, const struct lane *l,
	struct policy_lane_info *i)
{
	const struct block *b = &p->providers[l->cluster->provider].blocks[l->source];
	enum hold_reason why =
		source_obstacle(p, now, l->source, l->cluster, l->cluster->provider, &i->until);

	if (why == HOLD_BLOCKED) {
		i->health = POLICY_BLOCKED;
		i->cause = "source";
		i->since = b->since;
	} else if (why == HOLD_SUSPENDED) {
		i->health = POLICY_SUSPENDED;
		i->cause = "operator";
	} else if (why == HOLD_NO_SOURCE) {
		i->health = POLICY_UNAVAILABLE;
		i->cause = "source";
	}
	return why != HOLD_NONE;
}

/* Has less than a lane that nobody has refused, and had its last step lately. From there on its window
 * grows as any other's does: as far as it is used, which with little mail is never to its cap, and with
 * none not at all. To wait for that would call a lane throttled for good. */
#define STARTS_AGAIN 600000 /* ms */
static bool starts_again(const struct provider_params *v, const struct lane *l, ms_t mono)
{
	return l->slow && l->window < window_start(v->connections_per_lane) &&
	       mono - l->grown < STARTS_AGAIN;
}

static void lane_info(const struct policy *p, struct policy_now now, const struct lane *l,
	struct policy_lane_info *ret, char subnet[ADDR_TEXT_MAX + 4])
{
	const struct cluster *c = l->cluster;
	const struct source_params *s = &p->params->sources[l->source];
	const struct provider_params *v = &p->params->providers[c->provider];
	const struct pace *pace = paces_of(l);

	net_format(subnet, &s->subnet);
	*ret = (struct policy_lane_info){
		.source = s->name,
		.subnet = subnet,
		.cluster = c->key.name,
		.provider = v->name,
		.health = POLICY_HEALTHY,
		.cause = "",
		.window = l->window,
		.in_use = l->uses.in_use,
		.idle = l->uses.up - (l->uses.busy < l->uses.up ? l->uses.busy : l->uses.up),
		.rate = v->lane_message_rate,
		.delivered = l->delivered,
		.deferred = l->deferred,
		.rejected = l->rejected,
		.takes = (double)pace->ceiling,
		.pace = (double)pace->rate,
		.takes_of_subnet = pace != &l->pace,
		.takes_found = pace->found,
		.takes_tested = pace->tested,
	};
	evidence_decayed(&l->evidence, now.mono, &ret->recent_good, &ret->recent_bad);
	ret->score = evidence_score(&l->path->evidence, now.mono);
	if (say_obstacle(p, now, l, ret))
		return;
	if (pinned(p, c, l->source, now.wall)) {
		ret->cause = "operator"; /* kept in service */
		return;
	}
	if (say_health(ret, &l->health, CAUSE_SOURCE, now.wall) ||
		say_health(ret, &l->path->health, CAUSE_SUBNET, now.wall) ||
		(share_sick(p, l) && say_health(ret, &l->ramp.share, CAUSE_SOURCE, now.wall)) ||
		say_health(ret, &c->health, CAUSE_CLUSTER, now.wall))
		return;
	if (starts_again(v, l, now.mono) ||
		(l->shrunk && now.mono - l->shrunk < 60000 && v->connections_per_lane &&
			l->window < v->connections_per_lane)) {
		ret->health = POLICY_THROTTLED;
		ret->cause = "subnet";
		ret->since = now.wall -
			     (now.mono - (starts_again(v, l, now.mono) ? l->grown : l->shrunk));
	}
}

static void cluster_lanes(const struct policy *p, struct policy_now now, const struct cluster *c,
	void (*fn)(void *arg, const struct policy_lane_info *i), void *arg)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		char subnet[ADDR_TEXT_MAX + 4];
		struct policy_lane_info info;

		if (!c->lanes[i])
			continue;
		lane_info(p, now, c->lanes[i], &info, subnet);
		fn(arg, &info);
	}
}

void policy_lanes(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_lane_info *i), void *arg)
{
	struct cluster *c, *next;

	HASH_ITER (hh, p->clusters, c, next)
		cluster_lanes(p, now, c, fn, arg);
}

static enum cause cause_of(const char *name)
{
	unsigned i = CAUSES;

	while (--i && strcmp(cause_name((enum cause)i), name))
		;
	return (enum cause)i;
}

static void count_cause(void *arg, const struct policy_lane_info *i)
{
	uint32_t *lanes = arg;

	lanes[cause_of(i->cause)]++;
}

void policy_causes(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_cause_info *i), void *arg)
{
	for (unsigned k = 0; k < p->params->nproviders; k++) {
		const struct provider_state *v = &p->providers[k];
		uint32_t lanes[CAUSES] = { 0 };

		for (const struct cluster *c = v->clusters; c; c = c->next)
			cluster_lanes(p, now, c, count_cause, lanes);
		for (unsigned i = 0; i < CAUSES; i++) {
			struct policy_cause_info info = {
				.provider = p->params->providers[k].name,
				.cause = cause_name((enum cause)i),
				.of_lanes = i != CAUSE_MESSAGE && i != CAUSE_DOMAIN &&
					    i != CAUSE_PROVIDER,
				.of_changes = i >= CAUSE_DOMAIN && i <= CAUSE_PROVIDER,
				.lanes = lanes[i],
				.rests = v->changes[i].rests,
				.returns = v->changes[i].returns,
			};

			if (info.of_lanes || info.of_changes)
				fn(arg, &info);
		}
	}
}

void policy_clusters(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_cluster_info *i), void *arg)
{
	struct host *h, *next;

	HASH_ITER (hh, p->hosts, h, next) {
		const struct cluster *c = host_place(h);
		const struct provider_params *v = &p->params->providers[h->provider];
		const struct limits *limits =
			v->clusters == CLUSTERS_MICROSOFT ? c->limits : h->limits;
		struct policy_cluster_info info = {
			.cluster = c->key.name,
			.provider = v->name,
			.geography = geography_name(p, c),
			.how = how_name(h),
			.host = h->key.addr,
			.learned = h->learned,
			.connections = c->uses.in_use,
			.cap = v->connections_per_cluster,
			.messages = limits_of(limits, LEARNED_SESSION),
			.recipients = limits_of(limits, LEARNED_TRANSACTION),
			.health = health_shown(&c->health, now.wall),
			.until = sick(&c->health) && c->health.until > now.wall ? c->health.until
										: 0,
		};

		fn(arg, &info);
	}
}

static void count_lane(void *arg, const struct policy_lane_info *i)
{
	struct policy_summary *s = arg;

	s->lanes++;
	s->throttled += i->health == POLICY_THROTTLED;
	s->resting += i->health == POLICY_RESTING;
	s->probing += i->health == POLICY_PROBING;
	s->suspended += i->health == POLICY_SUSPENDED;
}

void policy_summary(const struct policy *p, struct policy_now now, struct policy_summary *ret)
{
	struct cluster *c, *next;
	struct tenant *t, *next_tenant;
	struct host *h, *next_host;

	*ret = (struct policy_summary){
		.clusters = HASH_COUNT(p->clusters),
		.hosts = HASH_COUNT(p->hosts),
		.unknown_high = unknown_high(p),
		.recipients_waiting = recipients_waiting(p, now.mono),
		.health_changes = p->health_changes,
		.events_lost = p->events.lost,
	};
	HASH_ITER (hh, p->clusters, c, next) {
		ret->clusters_deferring += sick(&c->health);
		cluster_lanes(p, now, c, count_lane, ret);
	}
	for (unsigned k = 0; k < p->params->nproviders; k++) {
		ret->deferrals_high += p->providers[k].deferring;
		for (unsigned i = 0; i < p->params->nsources; i++)
			ret->blocked += p->providers[k].blocks[i].until > now.wall;
	}
	ret->unwelcome = p->nbans[BAN_DOMAIN] + p->nbans[BAN_CLUSTER];
	ret->senders_held = p->nbans[BAN_SENDER] + p->nbans[BAN_SENDER_ALL];
	HASH_ITER (hh, p->hosts, h, next_host)
		ret->hosts_known += h->cluster != NULL;
	HASH_ITER (hh, p->tenants, t, next_tenant)
		ret->domains_backing_off += sick(&t->health);
}
