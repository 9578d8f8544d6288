/* After a transaction or a connection: what a verdict changes, and what becomes of the recipient.
 */
#include <stdio.h>

#include "postern/must.h"
#include "state.h"

#define BLOCK_HOLD	 (2 * 60 * 60 * 1000)
#define TENANT_BLOCK	 (4 * 60 * 60 * 1000)
#define UNAVAILABLE_REST (60 * 1000)

static void tried_add(struct policy_tried *t, unsigned source)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->source[i] == source)
			return;
	if (t->n < POLICY_TRIED_MAX)
		t->source[t->n++] = (uint16_t)source;
}

static unsigned tried_subnets(const struct policy *p, const struct policy_tried *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n; i++) {
		bool again = false;

		for (unsigned k = 0; k < i && !again; k++)
			again = t->source[i] < p->params->nsources &&
				t->source[k] < p->params->nsources &&
				p->sources[t->source[i]].subnet == p->sources[t->source[k]].subnet;
		n += !again;
	}
	return n;
}

/* Is there another source in the pool that could take it? until_wall: when the first that is only
 * blocked or suspended comes back; 0: none known. */
static bool another_source(const struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct policy_tried *tried, ms_t *until_wall)
{
	uint8_t family = p->params->sources[s->source].address.family;
	const struct tenant *t = tenant_find(p, domain);
	const struct pool_params *pool;

	*until_wall = 0;
	if (s->pool == ~0u)
		return false;
	pool = &p->params->pools[s->pool];
	for (unsigned i = 0; i < pool->nmembers; i++) {
		unsigned source = pool->members[i].source;
		const struct path *h = s->cluster->paths[p->sources[source].subnet];
		const struct lane *l = s->cluster->lanes[source];
		enum hold_reason why;
		ms_t until;

		if (p->params->sources[source].address.family != family ||
			source_tried(p, tried, source))
			continue;
		why = source_obstacle(p, now, source, s->cluster, s->provider, &until);
		if (why == HOLD_NONE && tenant_blocks(t, source, now.wall, &until))
			why = HOLD_BLOCKED;
		if (why == HOLD_NONE && !warmup_may(p, now, s->provider, source))
			continue;
		/* a probe is not for mail that was refused already */
		if (why == HOLD_NONE && !(h && sick(&h->health)) && !(l && sick(&l->health)))
			return true;
		if (why != HOLD_NONE && until && (!*until_wall || until < *until_wall))
			*until_wall = until;
	}
	return false;
}

static void tell_cause(struct policy_verdict *v, enum cause c)
{
	snprintf(v->cause, sizeof(v->cause), "%s", cause_name(c));
}

static struct refusal refusal_of(enum kind kind, const char *domain, const struct classification *c,
	const struct policy_tried *tried)
{
	return (struct refusal){
		.kind = kind,
		.domain = domain,
		.message = tried ? tried->message : 0,
		.recipient = tried ? tried->recipient : 0,
		.tried = tried && tried->n ? tried : NULL,
		.cooldown = c->cooldown,
	};
}

static void on_throttle(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	struct refusal f = refusal_of(KIND_THROTTLE, domain, c, tried);
	enum cause guilty = blame(p, now, s, &f);
	ms_t until;

	tried_add(tried, s->source);
	tell_cause(ret, guilty);
	warmup_refused(p, now, s, domain, guilty);
	/* another subnet would be told the same */
	if (guilty == CAUSE_DOMAIN || guilty == CAUSE_CLUSTER)
		return;
	if (tried->n < POLICY_TRIED_MAX &&
		tried_subnets(p, tried) < p->params->retry.subnets_per_cycle &&
		another_source(p, now, s, domain, tried, &until))
		ret->what = DISPOSE_RETRY_SUBNET;
	else if (tried_subnets(p, tried) > 1)
		tell_cause(ret, CAUSE_MESSAGE);
}

/* Never a bounce: the fault is the source's, whatever the code says. */
static void on_block(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	bool elsewhere = tried->n > 0, poison = false;
	ms_t until = 0;

	if (c->scope == SCOPE_DOMAIN)
		tenant_block(p, now, domain, s->source, c->cooldown ? c->cooldown : TENANT_BLOCK);
	else
		poison = block_source(p, now, s, c, tried->message, elsewhere);
	tell_cause(ret, poison ? CAUSE_MESSAGE : CAUSE_SOURCE);
	warmup_refused(p, now, s, domain, poison ? CAUSE_MESSAGE : CAUSE_SOURCE);
	if (poison && tried_subnets(p, tried) + 1 >= p->params->retry.subnets_per_cycle)
		return; /* backs off */
	if (tried->n < POLICY_TRIED_MAX) {
		struct policy_tried wider = *tried;

		/* another subnet before another source of this one */
		tried_add(&wider, s->source);
		if (another_source(p, now, s, domain, &wider, &until)) {
			*tried = wider;
			ret->what = DISPOSE_RETRY_SUBNET;
			return;
		}
		if (!poison && another_source(p, now, s, domain, tried, &until)) {
			ret->what = DISPOSE_RETRY_SUBNET;
			return;
		}
	}
	if (poison)
		return;
	ret->what = DISPOSE_HOLD;
	ret->reason = HOLD_BLOCKED;
	ret->hold = until > now.wall ? until - now.wall : BLOCK_HOLD;
}

static void on_busy(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, const struct policy_tried *tried,
	struct policy_verdict *ret)
{
	struct refusal f = refusal_of(KIND_BUSY, domain, c, tried);
	enum cause guilty;

	if (c->scope == SCOPE_RECIPIENT || c->scope == SCOPE_MESSAGE) {
		tell_cause(ret, CAUSE_MESSAGE);
		return;
	}
	if (c->scope == SCOPE_DOMAIN)
		f.kind = KIND_DOMAIN;
	guilty = blame(p, now, s, &f);
	tell_cause(ret, guilty);
	if (guilty == CAUSE_CLUSTER || guilty == CAUSE_PROVIDER)
		warmup_excuse(p, now, s->cluster, NULL);
}

static void refused(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, bool permanent, struct policy_tried *tried,
	struct policy_verdict *ret)
{
	switch (c->verdict) {
	case VERDICT_SOURCE_THROTTLE:
		if (s->lane)
			on_throttle(p, now, s, domain, c, tried, ret);
		break;
	case VERDICT_SOURCE_BLOCK:
		if (s->lane)
			on_block(p, now, s, domain, c, tried, ret);
		break;
	case VERDICT_DESTINATION_CONFIG:
		ret->what = permanent ? DISPOSE_BOUNCE : DISPOSE_RESOLVE;
		tell_cause(ret, CAUSE_DOMAIN);
		break;
	case VERDICT_SPLIT_RECIPIENTS:
		ret->what = DISPOSE_RETRY_SPLIT;
		break;
	case VERDICT_RECIPIENT_INVALID:
	case VERDICT_MESSAGE_REJECTED:
		ret->what = permanent ? DISPOSE_BOUNCE : DISPOSE_DEFER;
		tell_cause(ret, CAUSE_MESSAGE);
		break;
	case VERDICT_DESTINATION_BUSY:
		if (s->lane)
			on_busy(p, now, s, domain, c, tried, ret);
		break;
	case VERDICT_TRANSIENT_OTHER:
	case VERDICT_DELIVERED:
	case VERDICT_COUNT:
		break;
	}
}

static bool environment(enum verdict v)
{
	return v == VERDICT_SOURCE_THROTTLE || v == VERDICT_SOURCE_BLOCK ||
	       v == VERDICT_DESTINATION_BUSY;
}

/* One message; many only in a rehearsal. */
static uint32_t stands_for(const struct slot *s)
{
	return s->weight ? s->weight : 1;
}

void policy_result(struct policy *p, struct policy_now now, uint32_t slot, const char *domain,
	const struct classification *c, const struct reply *r, struct policy_tried *tried,
	struct policy_verdict *ret)
{
	struct slot *s = slot_get(p, slot);
	bool permanent = r->code >= 500;

	*ret = (struct policy_verdict){ .what = DISPOSE_DEFER };
	if (s->lane)
		s->cluster->heard = now.mono;
	if (s->provider != ~0u)
		provider_outcome(p, s->provider, environment(c->verdict), stands_for(s), now.mono);
	if (c->verdict == VERDICT_DELIVERED) {
		ret->what = DISPOSE_DELIVERED;
		if (s->lane) {
			s->lane->delivered += stands_for(s);
			acquit(p, now, s, domain);
			warmup_accepted(p, now, s);
		}
		return;
	}
	if (s->lane) {
		*(permanent ? &s->lane->rejected : &s->lane->deferred) += stands_for(s);
		learn_tail(p, s, r, now);
	}
	s->blamed = true;
	refused(p, now, s, domain, c, permanent, tried, ret);
	/* a recipient or a message that is refused on its merits: the source was heard */
	if (s->lane &&
		(c->verdict == VERDICT_RECIPIENT_INVALID ||
			c->verdict == VERDICT_MESSAGE_REJECTED) &&
		permanent)
		acquit(p, now, s, domain);
}

/* Refused at the door while others are inside, or before it: it has its own cap. */
static bool no_room(const struct slot *s)
{
	return !s->up && s->cluster->in_use > 1;
}

bool policy_no_room(const struct policy *p, uint32_t slot, const struct classification *c)
{
	must(slot < p->nslots && p->slots[slot].used);
	return c->verdict == VERDICT_DESTINATION_BUSY && p->slots[slot].lane &&
	       no_room(&p->slots[slot]);
}

/* The receiver ended the session, or never began it, and no transaction has told of it. */
static void session_refused(
	struct policy *p, struct policy_now now, struct slot *s, const struct classification *k)
{
	struct refusal f = { .cooldown = k->cooldown };

	switch (k->verdict) {
	case VERDICT_SOURCE_THROTTLE:
		if (!s->blamed)
			blame(p, now, s, &f);
		break;
	case VERDICT_SOURCE_BLOCK:
		if (!s->blamed)
			block_source(p, now, s, k, 0, false);
		break;
	case VERDICT_DESTINATION_BUSY:
		if (no_room(s)) {
			/* others are served: these are as many as it allows */
			s->cluster->limit =
				s->cluster->up ? s->cluster->up : s->cluster->in_use - 1;
			s->cluster->limit_at = now.mono;
		} else if (!s->blamed && k->scope != SCOPE_DOMAIN) {
			f.kind = KIND_BUSY;
			blame(p, now, s, &f);
		}
		break;
	case VERDICT_DESTINATION_CONFIG:
	case VERDICT_SPLIT_RECIPIENTS:
	case VERDICT_RECIPIENT_INVALID:
	case VERDICT_MESSAGE_REJECTED:
	case VERDICT_TRANSIENT_OTHER:
	case VERDICT_DELIVERED:
	case VERDICT_COUNT:
		break;
	}
}

void policy_disconnected(struct policy *p, struct policy_now now, uint32_t slot,
	const struct classification *failure, int error)
{
	struct slot *s = slot_get(p, slot);

	if (s->lane && s->provider != ~0u) {
		if (failure)
			session_refused(p, now, s, failure);
		if (error == POLICY_E_BIND)
			p->sources[s->source].unavailable_until = now.wall + UNAVAILABLE_REST;
	}
	warmup_slot_gone(p, s);
	slot_detach(p, s);
	slot_release(p, slot);
}
