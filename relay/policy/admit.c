/* On an open connection: may it carry one more transaction? And what the connection tells once it
 * is up (policy_connected). Called by the scheduler (relay/sched/match.c) for each work that is
 * offered to a connection, and by the drivers. Pure.
 *
 * policy_choose → policy_connected → policy_admit … policy_txn_end → … → policy_disconnected */
#include <stdio.h>

#include "ban.h"
#include "block.h"
#include "caps.h"
#include "evidence.h"
#include "health.h"
#include "host.h"
#include "learn.h"
#include "limit.h"
#include "paces.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "rate.h"
#include "sender.h"
#include "slot.h"
#include "source.h"
#include "tenant.h"
#include "times.h"
#include "txn.h"
#include "warmup.h"
#include "warmup_control.h"

#define SHED_EVERY 2000
#define SOON	   200

static bool pool_has(const struct policy *p, unsigned pool, unsigned source)
{
	const struct pool_params *v = &p->params->pools[pool];

	for (unsigned i = 0; i < v->nmembers; i++)
		if (v->members[i].source == source)
			return true;
	return false;
}

/* In the mail's pool, or in the one to which it goes while its own is used up for today; and it is
 * not mail that has to wait for another source. */
static bool serves(
	struct policy *p, struct policy_now now, const struct policy_want *w, unsigned source)
{
	const struct pool_params *v = &p->params->pools[w->pool];
	bool in = pool_has(p, w->pool, source);
	uint32_t count;
	ms_t until;
	int owner;

	if (!p->nramps)
		return in;
	for (unsigned i = 0; !in && i < v->nmembers; i++) {
		unsigned member = v->members[i].source;
		int to = warmup_overflow(p, w->provider, member);

		in = to >= 0 && pool_has(p, (unsigned)to, source) &&
		     warmup_gate(p, now, w->provider, member, 1, true, &count, &until) != HOLD_NONE;
	}
	if (!in)
		return false;
	owner = warmup_owner(p, w->provider, w->pool, w->domain);
	if (owner < 0 || (unsigned)owner == source)
		return true;
	if (warmup_waits(p, w->provider, source))
		return false;
	return !warmup_waits(p, w->provider, (unsigned)owner) ||
	       warmup_gate(p, now, w->provider, (unsigned)owner, 1, true, &count, &until) ==
		       HOLD_NONE;
}

static bool worn_out(
	const struct policy *p, const struct slot *s, const struct provider_params *v, ms_t mono)
{
	uint32_t most = limits_session(p, s);

	return (most && s->messages >= most) ||
	       (v->connection_age_max && mono - s->opened >= v->connection_age_max);
}

/* A host not known yet has asked in vain, and this cluster is full: one connection is closed for
 * it. */
static bool must_close(struct policy *p, const struct slot *s, ms_t mono)
{
	if (!in_the_way(p, s, mono) || mono - s->cluster->shed < SHED_EVERY)
		return false;
	s->cluster->shed = mono;
	return true;
}

/* 0, which is no time known: looked at again soon. */
static ms_t mono_or_soon(struct policy_now now, ms_t wall)
{
	return wall ? mono_at(now, wall) : now.mono + SOON;
}

/* Rests, probes and slow starts of what the slot belongs to. retire: it is of no use for long. */
static enum hold_reason slot_rests(
	struct policy *p, struct policy_now now, struct slot *s, ms_t *until, bool *retire)
{
	struct cluster *c = s->cluster;
	bool guessed = host_guessed(s->host);
	enum hold_reason r;
	uint32_t most;
	ms_t wall = 0;

	if (pinned(p, c, s->source, now.wall))
		return HOLD_NONE;
	r = block_gate(&p->providers[s->provider].blocks[s->source], now.wall,
		p->providers[s->provider].blocks[s->source].uses.outstanding > 0, &wall);
	if (r == HOLD_NONE && !guessed && sick(&s->path->health)) {
		r = health_gate(&s->path->health, now.wall, s->path->uses.outstanding > 0, &wall);
		*retire = r != HOLD_NONE && wall > now.wall;
	}
	if (r == HOLD_NONE && !guessed && sick(&s->lane->health)) {
		r = health_gate(&s->lane->health, now.wall, s->lane->uses.outstanding > 0, &wall);
		*retire = r != HOLD_NONE && wall > now.wall;
	}
	if (r == HOLD_NONE && !guessed && share_sick(p, s->lane)) {
		r = health_gate(
			&s->lane->ramp.share, now.wall, s->lane->uses.outstanding > 0, &wall);
		*retire = r != HOLD_NONE && wall > now.wall;
	}
	if (r == HOLD_NONE && !guessed && sick(&c->health))
		r = health_gate(&c->health, now.wall, c->uses.outstanding > 0, &wall);
	*until = mono_or_soon(now, wall);
	if (r != HOLD_NONE)
		return r;
	if (guessed)
		return HOLD_NONE;
	most = cluster_slow_start(p, c, now.mono);
	*until = now.mono + SOON;
	if (most && c->uses.outstanding >= most)
		return HOLD_WINDOW;
	/* several refusals in a row: one thing at a time until it is clear */
	if (s->path->evidence.score >= SCORE_SUSPECT && s->path->uses.outstanding > 0)
		return HOLD_WINDOW;
	return HOLD_NONE;
}

/* What rests is probed by it. */
static void admitted(
	struct policy *p, struct policy_now now, struct slot *s, struct tenant *t, uint32_t n)
{
	if (t)
		pace_take(&t->pace, now.mono, n);
	if (sick(&s->cluster->health))
		health_probe(&s->cluster->health, now);
	if (sick(&s->path->health))
		health_probe(&s->path->health, now);
	if (sick(&s->lane->health))
		health_probe(&s->lane->health, now);
	if (share_sick(p, s->lane))
		health_probe(&s->lane->ramp.share, now);
	if (t && sick(&t->health)) {
		health_probe(&t->health, now);
		t->probe_at = now.mono;
	}
}

static uint32_t wanted(const struct policy *p, const struct slot *s, const struct policy_want *w)
{
	uint32_t n = w->count ? w->count : 1, most = limits_session(p, s);

	if (most && n > most - s->messages)
		n = most - s->messages;
	return n;
}

static bool no(struct policy_choice *why, enum hold_reason reason, ms_t until)
{
	why->reason = reason;
	why->until = until;
	return false;
}

bool policy_admit(struct policy *p, struct policy_now now, uint32_t slot,
	const struct policy_want *w, struct policy_txn *txn, struct policy_choice *why)
{
	struct slot *s = slot_get(p, slot);
	const struct provider_params *v;
	enum hold_reason r;
	struct tenant *t;
	ms_t until = 0;
	uint32_t n;

	must(txn->state == TXN_NONE);
	*why = (struct policy_choice){
		.slot = slot, .blocking_source = s->source, .blocking_provider = s->provider
	};
	why->retire = !s->lane || s->provider == ~0u; /* left over from before a reload */
	if (why->retire)
		return no(why, HOLD_NO_SOURCE, 0);
	v = &p->params->providers[s->provider];
	memcpy(why->cluster, s->cluster->key.name,
		strnlen(s->cluster->key.name, sizeof(why->cluster) - 1));
	why->cluster_id = s->cluster->id;
	r = source_obstacle(p, now, s->source, s->cluster, s->provider, &until);
	if (r != HOLD_NONE) {
		why->retire = true;
		return no(why, r, until ? mono_or_soon(now, until) : 0);
	}
	if (s->surplus || worn_out(p, s, v, now.mono) || must_close(p, s, now.mono)) {
		why->retire = true;
		return no(why, HOLD_CAP, 0);
	}
	if (w->provider != s->provider || !serves(p, now, w, s->source) ||
		source_tried(p, w->tried, s->source) || !host_may_admit(p, now, s, w))
		return no(why, HOLD_NO_SOURCE, 0);
	t = tenant_find(p, w->domain);
	if (t) {
		r = tenant_gate(p, t, now, &until);
		if (r != HOLD_NONE)
			return no(why, r, mono_or_soon(now, until));
		if (source_banned(p, now, slot, s->source, s->provider, t, &until) &&
			!pinned(p, s->cluster, s->source, now.wall))
			return no(why, HOLD_NO_SOURCE, 0);
		if (!pace_ready(&t->pace, now.mono, 0, &until)) {
			why->limit = LIMIT_PACE;
			return no(why, HOLD_DOMAIN_RATE, until);
		}
	}
	if (sender_waits(p, now, slot, w, &until))
		return no(why, HOLD_SENDER, mono_or_soon(now, until));
	if (source_banned_at(p, now, slot, s->source, s->cluster, &until) &&
		!pinned(p, s->cluster, s->source, now.wall))
		return no(why, HOLD_NO_SOURCE, 0);
	r = slot_rests(p, now, s, &until, &why->retire);
	if (r != HOLD_NONE)
		return no(why, r, until);
	if (!bucket_ready(&s->lane->messages, &v->lane_message_rate, now.mono, &until)) {
		why->limit = LIMIT_MESSAGES;
		return no(why, HOLD_RATE, until);
	}
	if (!paces_ready(s->lane, now.mono, &until)) {
		why->limit = LIMIT_PACE;
		return no(why, HOLD_RATE, until);
	}
	r = warmup_gate(p, now, s->provider, s->source, wanted(p, s, w), false, &n, &until);
	if (r != HOLD_NONE)
		return no(why, r, until);
	n = bucket_take_some(&s->lane->messages, &v->lane_message_rate, n);
	*txn = (struct policy_txn){ .slot = slot, .pool = w->pool, .count = n };
	transaction_begin(p, now, txn);
	admitted(p, now, s, t, n);
	bans_probe(p, now, slot, s, w->domain, w->sender, true);
	why->count = n;
	why->go = true;
	why->source = s->source;
	why->retire = worn_out(p, s, v, now.mono);
	return true;
}

void policy_connected(
	struct policy *p, struct policy_now now, uint32_t slot, const struct smtp_client_info *info)
{
	struct slot *s = slot_get(p, slot);
	struct cluster *to;

	if (!s->up) {
		slot_up(p, s);
		if (s->host)
			host_slot_up(p, s, now.mono);
	}
	if (s->provider == ~0u || !s->lane)
		return;
	/* what asked in vain was for a host that is known now; who else asks, asks again soon */
	if (s->unknown && p->providers[s->provider].wanted_at == s->cluster->id)
		p->providers[s->provider].wanted = 0;
	learn_banner(p, s, info, now);
	to = host_place(s->host);
	if (to != s->cluster)
		slot_move(p, s, to, true, now.mono);
	slot_known(p, s);
}

void policy_slot(const struct policy *p, uint32_t slot, struct policy_slot_info *ret)
{
	const struct slot *s;

	must(slot < p->nslots && p->slots[slot].used);
	s = &p->slots[slot];
	*ret = (struct policy_slot_info){
		.source = s->source,
		.provider = s->provider,
		.cluster = s->provider != ~0u && s->cluster ? s->cluster->key.name : "",
		.messages = s->messages,
		.retire = s->surplus,
	};
}
