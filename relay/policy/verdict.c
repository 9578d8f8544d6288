/* After a transaction or a connection: what a verdict changes, and what becomes of the recipient.
 * Called by the drivers with each result (policy_result), and when a connection has failed or
 * ended. Pure.
 *
 * Order for a refusal: what it says of (its scope) → marks and bans → evidence → who is to blame
 * (cause.c) → deliver, bounce, move, split, hold or defer. */
#include <stdio.h>

#include "alarm.h"
#include "ban.h"
#include "block.h"
#include "cause.h"
#include "door.h"
#include "family.h"
#include "health.h"
#include "host.h"
#include "learn.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "recipient.h"
#include "sender.h"
#include "sender_watch.h"
#include "slot.h"
#include "source.h"
#include "tenant.h"
#include "txn.h"
#include "unknown.h"
#include "warmup.h"

#define BLOCK_HOLD	 (5 * 60 * 1000)
#define DOUBTED		 (60 * 1000)
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

/* Is it refused by this receiver? Also when that is to be probed: not by mail that was refused. */
static bool unwelcome(struct policy *p, struct policy_now now, const struct slot *s,
	unsigned source, const struct tenant *t, ms_t *until)
{
	const char *name = p->params->sources[source].name;
	const struct ban *b =
		t && t->bans ? ban_find(p, BAN_DOMAIN, s->provider, name, t->name) : NULL;

	if (!b)
		b = ban_find(p, BAN_CLUSTER, s->provider, name, s->cluster->key.name);
	if (!b || pinned(p, s->cluster, source, now.wall))
		return false;
	*until = b->until > now.wall ? b->until : 0;
	return true;
}

static unsigned family_bit(const struct policy *p, unsigned source)
{
	return p->params->sources[source].address.family == ADDR_V6 ? POLICY_FAMILY_V6
								    : POLICY_FAMILY_V4;
}

/* Is there another source in the pool that could take it? until_wall: when the first that is only
 * blocked or suspended comes back; 0: none known. */
static bool another_source(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct policy_tried *tried, ms_t *until_wall)
{
	const struct tenant *t = tenant_find(p, domain);
	const struct pool_params *pool;
	unsigned families;

	*until_wall = 0;
	if (s->pool == ~0u)
		return false;
	families = tried->families ? tried->families : family_bit(p, s->source);
	pool = &p->params->pools[s->pool];
	for (unsigned i = 0; i < pool->nmembers; i++) {
		unsigned source = pool->members[i].source;
		const struct path *h = s->cluster->paths[p->sources[source].subnet];
		const struct lane *l = s->cluster->lanes[source];
		enum hold_reason why;
		ms_t until;

		if (!(families & family_bit(p, source)) || source_tried(p, tried, source))
			continue;
		why = source_obstacle(p, now, source, s->cluster, s->provider, &until);
		if (why == HOLD_NONE && unwelcome(p, now, s, source, t, &until))
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
		.sender = tried ? tried->sender : NULL,
	};
}

/* Found by comparison: it is the domain that sends. */
static void hold_sender(struct policy *p, struct policy_now now, const struct slot *s,
	const struct policy_tried *tried, struct policy_verdict *ret)
{
	snprintf(ret->cause, sizeof(ret->cause), "sender");
	ret->hold = sender_found(p, now, s, tried);
	if (!ret->hold)
		return; /* backs off */
	ret->what = DISPOSE_HOLD;
	ret->reason = HOLD_SENDER;
}

/* Another subnet may be welcome: at once, as long as there is one that the message has not seen. */
static void divert(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	struct policy_tried *tried, struct policy_verdict *ret)
{
	ms_t until;

	tried_add(tried, s->source);
	if (tried->n < POLICY_TRIED_MAX &&
		tried_subnets(p, tried) < p->params->retry.subnets_per_cycle &&
		another_source(p, now, s, domain, tried, &until))
		ret->what = DISPOSE_RETRY_SUBNET;
	else if (tried_subnets(p, tried) > 1)
		tell_cause(ret, CAUSE_MESSAGE);
}

/* The receiver refuses this source. NULL: nothing remembers that. */
static struct ban *ban_source(struct policy *p, struct policy_now now, const struct slot *s,
	unsigned source, const char *domain, const struct classification *c, uint64_t message)
{
	struct ban_what w = { BAN_DOMAIN, s->provider, p->params->sources[source].name, domain,
		message, c->cooldown };

	return ban_set(p, now, &w);
}

/* One message is refused from several of our sources, which others take well: it may be the message
 * alone. What it had said of sources is looked at soon. */
static void doubt(struct policy *p, struct policy_now now, const struct slot *s, const char *domain,
	const struct policy_tried *tried)
{
	if (!tried->message || !tried->n ||
		!block_good_lately(&p->providers[s->provider].blocks[s->source], now.mono))
		return;
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct ban *b =
			ban_find(p, BAN_DOMAIN, s->provider, p->params->sources[i].name, domain);

		if (b && b->message == tried->message)
			ban_soon(p, b, now, DOUBTED);
	}
}

/* The receiver refuses others of our sources, too, at which the provider finds nothing: what it
 * says is about us, or itself, and not about this source. */
static bool refuses_others(const struct policy *p, const struct slot *s, const struct tenant *t)
{
	for (unsigned i = 0; t && t->bans && i < p->params->nsources; i++)
		if (i != s->source && !p->providers[s->provider].blocks[i].until &&
			ban_find(p, BAN_DOMAIN, s->provider, p->params->sources[i].name, t->name))
			return true;
	return false;
}

/* What became of a refusal for the source's sake. HELD: a ban holds what was refused. LOOSE:
 * nothing would keep it from being tried again at once. ODD: it is the message. */
enum taken { TAKEN_HELD, TAKEN_LOOSE, TAKEN_ODD };
static enum taken take_refusal(struct policy *p, struct policy_now now, struct slot *s,
	const char *domain, const struct classification *c, const struct policy_tried *tried)
{
	const struct tenant *t = tenant_find(p, domain);
	struct ban *b =
		t ? ban_find(p, BAN_DOMAIN, s->provider, p->params->sources[s->source].name, domain)
		  : NULL;
	bool same = b && tried->message && b->message == tried->message, known = b != NULL;
	ms_t length = b ? b->length : 0;

	if (t && tried->message && tried->message == t->odd_message)
		return TAKEN_ODD;
	/* who has said it before, while others took the source's mail, says nothing new */
	if ((!known || b->said >= p->providers[s->provider].blocks[s->source].good_at) &&
		!refuses_others(p, s, t))
		block_said(p, now, s, c, domain);
	b = ban_source(p, now, s, s->source, domain, c, tried->message);
	for (unsigned i = 0; c->scope == SCOPE_SUBNET && i < p->params->nsources; i++)
		if (i != s->source && p->sources[i].subnet == p->sources[s->source].subnet)
			ban_source(p, now, s, i, domain, c, tried->message);
	if (!known)
		doubt(p, now, s, domain, tried);
	/* the same again tells nothing but of this message: another is to be the next probe */
	if (b && same)
		ban_soon(p, b, now, length);
	return b && !same && !pinned(p, s->cluster, s->source, now.wall) ? TAKEN_HELD : TAKEN_LOOSE;
}

static void on_throttle(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	struct refusal f = refusal_of(KIND_THROTTLE, domain, c, tried);
	enum cause guilty = blame(p, now, s, &f);

	tell_cause(ret, guilty);
	warmup_refused(p, now, s, domain, guilty);
	if (f.found == FOUND_SENDER) {
		hold_sender(p, now, s, tried, ret);
		return;
	}
	/* another subnet would be told the same */
	if ((guilty == CAUSE_DOMAIN && f.found != FOUND_PAIR) || guilty == CAUSE_CLUSTER) {
		tried_add(tried, s->source);
		return;
	}
	divert(p, now, s, domain, tried, ret);
}

/* Put off, and no rule knows why. The words name nobody; what is taken from others may. */
static void on_unknown(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	struct refusal f = refusal_of(KIND_UNKNOWN, domain, c, tried);
	enum cause guilty;

	if (c->scope == SCOPE_RECIPIENT || c->scope == SCOPE_MESSAGE || c->scope == SCOPE_SENDER)
		return;
	guilty = blame(p, now, s, &f);
	tell_cause(ret, guilty);
	if (f.found == FOUND_SENDER)
		hold_sender(p, now, s, tried, ret);
	else if (guilty == CAUSE_SUBNET || guilty == CAUSE_SOURCE || f.found == FOUND_PAIR)
		divert(p, now, s, domain, tried, ret);
}

/* Never a bounce: the fault is the source's, whatever the code says. */
static void on_block(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	enum taken taken = take_refusal(p, now, s, domain, c, tried);
	struct policy_tried wider = *tried;
	bool odd = taken == TAKEN_ODD;
	ms_t until = 0;

	tell_cause(ret, odd ? CAUSE_MESSAGE : CAUSE_SOURCE);
	warmup_refused(p, now, s, domain, odd ? CAUSE_MESSAGE : CAUSE_SOURCE);
	if (odd && tried_subnets(p, tried) + 1 >= p->params->retry.subnets_per_cycle)
		return; /* backs off */
	if (tried->n < POLICY_TRIED_MAX) {
		/* another subnet before another source of this one */
		tried_add(&wider, s->source);
		if (another_source(p, now, s, domain, &wider, &until)) {
			*tried = wider;
			ret->what = DISPOSE_RETRY_SUBNET;
			return;
		}
		if (!odd && another_source(p, now, s, domain, tried, &until)) {
			ret->what = DISPOSE_RETRY_SUBNET;
			return;
		}
	}
	if (taken != TAKEN_HELD)
		return; /* backs off */
	ret->what = DISPOSE_HOLD;
	ret->reason = HOLD_BLOCKED;
	ret->hold = until > now.wall ? until - now.wall : BLOCK_HOLD;
}

/* About the domain that sends: no source, no receiver is at fault, and another would be told the
 * same. Never a bounce. */
static void on_sender(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, const struct policy_tried *tried,
	struct policy_verdict *ret)
{
	ms_t until;

	snprintf(ret->cause, sizeof(ret->cause), "sender");
	if (!s->lane || !sender_refused(p, now, s, domain, c, tried, &until))
		return; /* without a name: backs off */
	ret->what = DISPOSE_HOLD;
	ret->reason = HOLD_SENDER;
	ret->hold = until > now.wall ? until - now.wall : 0;
}

static void on_busy(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
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
	if (f.found == FOUND_SENDER)
		hold_sender(p, now, s, tried, ret);
	else if (guilty == CAUSE_SUBNET || guilty == CAUSE_SOURCE || f.found == FOUND_PAIR)
		divert(p, now, s, domain, tried, ret);
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
		/* they do not belong together; or there are too many of them */
		ret->what = c->scope == SCOPE_DEFAULT ? DISPOSE_RETRY_FEWER : DISPOSE_RETRY_SPLIT;
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
		if (s->lane && !permanent)
			on_unknown(p, now, s, domain, c, tried, ret);
		break;
	case VERDICT_DELIVERED:
	case VERDICT_COUNT:
		break;
	}
}

/* Does it speak of our sources, or of the receiver's machines? A full mailbox, a message that was
 * put off and a domain that sends are nobody's of those, however many. */
static bool environment(const struct classification *c)
{
	if (c->scope == SCOPE_RECIPIENT || c->scope == SCOPE_MESSAGE || c->scope == SCOPE_SENDER)
		return false;
	return c->verdict == VERDICT_SOURCE_THROTTLE || c->verdict == VERDICT_SOURCE_BLOCK ||
	       c->verdict == VERDICT_DESTINATION_BUSY;
}

/* One message; many only in a rehearsal. */
static uint32_t stands_for(const struct slot *s)
{
	return s->weight ? s->weight : 1;
}

/* 5.2.121: of this sender alone; what else speaks of a recipient and of a time, of everybody. */
static void recipient_outcome(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct classification *c, const struct policy_tried *tried)
{
	bool good = c->verdict == VERDICT_DELIVERED,
	     unknown = c->verdict == VERDICT_RECIPIENT_INVALID;

	if (good)
		recipient_took(p, now, s->provider, tried);
	else if (c->scope == SCOPE_RECIPIENT && c->cooldown)
		recipient_refused(p, now, s->provider, tried, c->cooldown,
			c->enhanced[1] == 2 && c->detail == 121);
	if (good || unknown)
		unknown_note(p, now, s->provider, domain, tried->client, unknown);
}

static void judge(struct policy *p, struct policy_now now, struct slot *s, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	bool permanent = c->code >= 500;

	*ret = (struct policy_verdict){ .what = DISPOSE_DEFER };
	if (s->lane)
		s->cluster->heard = now.mono;
	if (s->provider != ~0u)
		provider_outcome(p, s->provider, environment(c), stands_for(s), now.mono);
	if (s->lane)
		bans_answered(p, now, s, domain, tried ? tried->sender : NULL,
			c->verdict == VERDICT_DELIVERED);
	if (s->provider != ~0u && tried)
		recipient_outcome(p, now, s, domain, c, tried);
	if (c->verdict == VERDICT_DELIVERED) {
		ret->what = DISPOSE_DELIVERED;
		if (s->lane) {
			s->lane->delivered += stands_for(s);
			acquit(p, now, s, domain);
			sender_good(p, s->provider, tried ? tried->sender : NULL, now.mono);
			warmup_accepted(p, now, s);
		}
		return;
	}
	if (s->lane) {
		*(permanent ? &s->lane->rejected : &s->lane->deferred) += stands_for(s);
		learn_tail(p, s, c, now);
	}
	s->blamed = true;
	if (c->scope == SCOPE_SENDER) {
		on_sender(p, now, s, domain, c, tried, ret);
		return;
	}
	if (tried && family_refused(p, now, s, domain, c, tried)) {
		ret->what = DISPOSE_RETRY_SUBNET;
		tell_cause(ret, CAUSE_SOURCE);
		return;
	}
	refused(p, now, s, domain, c, permanent, tried, ret);
	/* a recipient or a message that is refused on its merits: the source was heard */
	if (s->lane &&
		(c->verdict == VERDICT_RECIPIENT_INVALID ||
			c->verdict == VERDICT_MESSAGE_REJECTED) &&
		permanent)
		acquit(p, now, s, domain);
}

void policy_result(struct policy *p, struct policy_now now, struct policy_txn *t,
	const char *domain, const struct classification *c, struct policy_tried *tried,
	struct policy_verdict *ret)
{
	judge(p, now, transaction_heard(p, t), domain, c, tried, ret);
}

void policy_refused(struct policy *p, struct policy_now now, uint32_t slot, const char *domain,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	struct slot *s = slot_get(p, slot);

	must(!s->outstanding);
	s->told = (struct txn_told){ 0 };
	judge(p, now, s, domain, c, tried, ret);
}

/* Refused at the door of a host that has, or is about to have, others of ours: it has a cap. */
static bool no_room(const struct slot *s)
{
	return !s->up && (s->host ? s->host->uses.in_use > 1 : s->cluster->uses.in_use > 1);
}

bool policy_no_room(const struct policy *p, uint32_t slot, const struct classification *c)
{
	must(slot < p->nslots && p->slots[slot].used);
	if (!p->slots[slot].lane)
		return false;
	if (c->verdict == VERDICT_SOURCE_THROTTLE)
		return door_counts(p, &p->slots[slot]);
	return c->verdict == VERDICT_DESTINATION_BUSY && no_room(&p->slots[slot]);
}

/* The receiver ended the session, or never began it, and no transaction has told of it. */
static void session_refused(
	struct policy *p, struct policy_now now, struct slot *s, const struct classification *k)
{
	struct refusal f = { .cooldown = k->cooldown };

	switch (k->verdict) {
	case VERDICT_SOURCE_THROTTLE:
		if (!s->blamed && !door_refused(p, now, s))
			blame(p, now, s, &f);
		break;
	case VERDICT_SOURCE_BLOCK:
		if (!s->blamed)
			block_said(p, now, s, k, NULL);
		break;
	case VERDICT_DESTINATION_BUSY:
		if (!s->up && host_caps_cluster(s, now.mono)) {
			/* others are served: these are as many as it allows */
			s->cluster->limit = s->cluster->uses.up ? s->cluster->uses.up
								: s->cluster->uses.in_use - 1;
			s->cluster->limit_at = now.mono;
			s->cluster->limit_dirty = true;
		} else if (!s->blamed && k->scope != SCOPE_DOMAIN && !host_alone_ill(s) &&
			   !s->taken) {
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

/* It never came up, and nobody said why. */
static void session_died(struct policy *p, struct policy_now now, struct slot *s)
{
	struct refusal f = { .kind = KIND_DEAD };

	if (!s->blamed)
		blame(p, now, s, &f);
}

void policy_disconnected(struct policy *p, struct policy_now now, uint32_t slot,
	const struct classification *failure, int error)
{
	struct slot *s = slot_get(p, slot);

	if (s->lane && s->provider != ~0u) {
		if (failure && failure->verdict == VERDICT_DESTINATION_BUSY && !s->up &&
			!s->host_told)
			policy_host_failed(p, now, slot, HOST_SAYS_AT_DOOR);
		if (failure)
			session_refused(p, now, s, failure);
		else if (error && error != POLICY_E_BIND && !s->up)
			session_died(p, now, s);
		if (error == POLICY_E_BIND)
			p->sources[s->source].unavailable_until = now.wall + UNAVAILABLE_REST;
	}
	warmup_slot_gone(p, s);
	if (s->host)
		host_slot_gone(p, s);
	slot_detach(p, s);
	slot_release(p, slot);
}
