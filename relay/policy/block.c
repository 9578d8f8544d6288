/* Sources that a provider refuses altogether. What one receiver says is about that receiver: a ban
 * (ban.c). A source is blocked at the whole provider when enough receivers refuse it that have
 * nothing in common, and none has taken its mail since the first of them did.
 *
 * well → suspected (one message at a time, and the next receiver's is welcome to tell) → blocked
 * (nothing goes) → due (one message as a probe) → well, or blocked for twice as long.
 *
 * "default" is no provider but everybody else. There it takes several receivers in several
 * networks; a few in one network block the source for that network's cluster. Called by verdict.c
 * and cause.c. */
#include <stdio.h>

#include "ban.h"
#include "block.h"
#include "events.h"
#include "health.h"
#include "names.h"
#include "params.h"
#include "policy_impl.h"
#include "postern/hash.h"
#include "witness.h"

#define BLOCK_FIRST   (5 * 60 * 1000)
#define BLOCK_LONGEST (4 * 3600 * 1000)
#define ALL_BLOCKED   (10 * 60 * 1000) /* nothing is lost by a probe when nobody else can go */
#define RECENT	      (10 * 60 * 1000)
#define RECENT_GOOD   3u
#define PROBES	      2u
/* Receivers that suffice. A constant of the provider's own needs one, or another where mail was
 * taken a moment ago. Other words may be a receiver's own. */
#define SUSPECT	       2u
#define BELIEVED       3u
#define BELIEVED_DOUBT 5u /* where mail was taken a moment ago */
#define EVERYBODY      5u /* "default": in as many networks */

enum hold_reason block_gate(const struct block *b, ms_t wall, bool busy, ms_t *until)
{
	if (!b->until)
		return HOLD_NONE;
	if (b->until > wall) {
		*until = b->until;
		return HOLD_BLOCKED;
	}
	if (!busy)
		return HOLD_NONE;
	*until = wall + 1000;
	return HOLD_BLOCKED;
}

static bool blocked_all(
	const struct policy *p, unsigned provider, const struct pool_params *pool, ms_t wall)
{
	for (unsigned i = 0; i < pool->nmembers; i++)
		if (p->providers[provider].blocks[pool->members[i].source].until <= wall)
			return false;
	return pool->nmembers > 0;
}

static void tell(struct policy *p, struct policy_now now, unsigned provider, unsigned source,
	enum policy_event_kind kind, const char *text)
{
	const struct block *b = &p->providers[provider].blocks[source];
	struct policy_event *e = event_add(p, kind, now);

	if (kind != POLICY_EVENT_ALL_SOURCES_BLOCKED)
		count_change(p, provider, CAUSE_SOURCE, kind == POLICY_EVENT_SOURCE_BLOCKED);

	snprintf(e->provider, sizeof(e->provider), "%.31s", p->params->providers[provider].name);
	snprintf(e->source, sizeof(e->source), "%.63s", p->params->sources[source].name);
	path_subnet_text(p, p->sources[source].subnet, e->subnet);
	snprintf(e->health, sizeof(e->health), "%s", b->until ? "blocked" : "healthy");
	snprintf(e->cause, sizeof(e->cause), "source");
	e->alarm = kind == POLICY_EVENT_SOURCE_BLOCKED || kind == POLICY_EVENT_ALL_SOURCES_BLOCKED;
	e->over = kind == POLICY_EVENT_SOURCE_UNBLOCKED;
	e->until = b->until;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

static void tell_blocked(
	struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	tell(p, now, provider, source, POLICY_EVENT_SOURCE_BLOCKED,
		"the provider refuses this source");
	for (unsigned i = 0; i < p->params->npools; i++) {
		const struct pool_params *pool = &p->params->pools[i];
		bool member = false;

		for (unsigned k = 0; k < pool->nmembers; k++)
			member |= pool->members[k].source == source;
		if (!member || !blocked_all(p, provider, pool, now.wall))
			continue;
		tell(p, now, provider, source, POLICY_EVENT_ALL_SOURCES_BLOCKED,
			"all sources of a pool are blocked: its mail for this provider is held");
	}
}

/* The pools of this source have no other that may go. */
static bool nobody_else(
	const struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	bool any = false;

	for (unsigned i = 0; i < p->params->npools; i++) {
		const struct pool_params *pool = &p->params->pools[i];

		for (unsigned k = 0; k < pool->nmembers; k++)
			if (pool->members[k].source == source) {
				any = true;
				if (!blocked_all(p, provider, pool, now.wall))
					return false;
			}
	}
	return any;
}

static void rest(
	struct policy *p, struct policy_now now, unsigned provider, unsigned source, ms_t cooldown)
{
	struct block *b = &p->providers[provider].blocks[source];
	ms_t length = cooldown && cooldown < BLOCK_FIRST ? cooldown : BLOCK_FIRST;
	bool was = b->told;

	if (was && b->until > now.wall)
		return;			   /* was under way when it began: says nothing new */
	if (was && b->length * 2 > length) /* refused again by the probe */
		length = b->length * 2 < BLOCK_LONGEST ? b->length * 2 : BLOCK_LONGEST;
	if (!was)
		b->since = now.wall;
	b->until = now.wall + length;
	if (length > ALL_BLOCKED && nobody_else(p, now, provider, source)) {
		length = ALL_BLOCKED;
		b->until = now.wall + length;
	}
	b->length = length;
	b->told = true;
	b->probes_good = 0;
	b->dirty = true;
	p->urgent = true;
	if (!was)
		tell_blocked(p, now, provider, source);
}

static void suspect(struct block *b, struct policy_now now)
{
	if (b->until)
		return;
	b->until = b->since = now.wall;
	b->probes_good = PROBES - 1;
}

bool block_good_lately(const struct block *b, ms_t mono)
{
	return b->good_lately >= RECENT_GOOD && mono - b->good_at < RECENT;
}

/* The probe of a block was refused, by whomever: the block goes on. */
static bool probe_refused(const struct block *b, struct policy_now now)
{
	return b->told && b->until <= now.wall;
}

/* SCOPE_SUBNET: its neighbours are meant as well. */
static void rest_all(struct policy *p, struct policy_now now, const struct slot *s,
	const struct classification *c)
{
	rest(p, now, s->provider, s->source, c->cooldown);
	for (unsigned i = 0; c->scope == SCOPE_SUBNET && i < p->params->nsources; i++)
		if (i != s->source && p->sources[i].subnet == p->sources[s->source].subnet)
			rest(p, now, s->provider, i, c->cooldown);
}

static uint32_t number_of(const void *data, size_t n)
{
	return hash32_bytes(HASH32_START, data, n) | 1;
}

static unsigned believed(bool doubt)
{
	return doubt ? BELIEVED_DOUBT : BELIEVED;
}

/* At a provider whose hosts have something in common. */
static void said_at_named(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, uint32_t org)
{
	struct block *b = &p->providers[s->provider].blocks[s->source];
	bool doubt = block_good_lately(b, now.mono), constant = c->voice == VOICE_PROVIDER;
	unsigned n = witness_add(&b->said_by, org, 0);

	if (n >= (constant ? doubt ? 2u : 1u : believed(doubt)))
		rest_all(p, now, s, c);
	else if (constant || n >= SUSPECT)
		suspect(b, now);
}

/* Among everybody else: for its cluster, or for all. */
static void said_elsewhere(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, uint32_t org)
{
	struct block *b = &p->providers[s->provider].blocks[s->source];
	struct ban_what w = { BAN_CLUSTER, s->provider, p->params->sources[s->source].name,
		s->cluster->key.name, 0, c->cooldown };
	uint32_t net = number_of(s->cluster->key.name, CLUSTER_NAME);

	if (witness_add(&s->lane->said_by, org, 0) >= believed(block_good_lately(b, now.mono)))
		ban_set(p, now, &w);
	if (witness_add(&b->said_by, org, net) >= EVERYBODY)
		rest_all(p, now, s, c);
}

void block_said(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, const char *domain)
{
	const struct block *b = &p->providers[s->provider].blocks[s->source];
	/* a host that refuses at the door speaks for nobody in particular */
	uint32_t org = domain && s->up ? organisation(domain)
				       : number_of(&s->host->key.addr, sizeof(s->host->key.addr));

	if (c->voice == VOICE_TENANT || c->scope == SCOPE_DOMAIN || s->foreign)
		return;
	if (probe_refused(b, now))
		rest_all(p, now, s, c);
	else if (named(p, s->provider))
		said_at_named(p, now, s, c, org);
	else if (domain)
		said_elsewhere(p, now, s, c, organisation(domain));
}

static void lift(struct policy *p, struct policy_now now, unsigned provider, unsigned source,
	const char *text)
{
	struct block *b = &p->providers[provider].blocks[source];
	bool told = b->told;

	/* what single receivers said meanwhile was the same block */
	if (told)
		bans_explained(p, p->params->sources[source].name, provider, b->since - RECENT);
	b->until = b->length = b->since = 0;
	b->said_by.n = 0;
	b->told = false;
	if (!told)
		return;
	b->dirty = true;
	p->urgent = true;
	tell(p, now, provider, source, POLICY_EVENT_SOURCE_UNBLOCKED, text);
}

bool block_end(struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	struct block *b = &p->providers[provider].blocks[source];
	bool told = b->told;

	if (b->until)
		lift(p, now, provider, source, "the operator puts this source back in service");
	return told;
}

void block_good(struct policy *p, struct policy_now now, struct slot *s)
{
	struct block *b = &p->providers[s->provider].blocks[s->source];

	b->good_lately = now.mono - b->good_at < RECENT ? b->good_lately + 1 : 1;
	b->good_at = now.mono;
	b->said_by.n = 0;
	s->lane->said_by.n = 0;
	if (!b->until || b->until > now.wall || ++b->probes_good < PROBES)
		return;
	lift(p, now, s->provider, s->source, "the provider takes mail from this source again");
}
