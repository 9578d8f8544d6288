/* After a transaction or a connection: what a verdict changes, and what becomes of the recipient.
 */
#include <stdio.h>

#include "postern/must.h"
#include "state.h"

#define REST_FIRST	 (60 * 1000)
#define REST_MAX	 (60 * 60 * 1000)
#define BLOCK_REST	 (2 * 60 * 60 * 1000)
#define UNAVAILABLE_REST (60 * 1000)
#define GOOD_TO_GROW	 50u /* deliveries until the window grows by one */
#define GOOD_TO_FORGET	 20u /* deliveries until a rest no longer counts for the next */

/* One rest however many replies of the same moment ask for it. */
static void lane_rest(struct lane *l, struct policy_now now, ms_t length)
{
	if (l->rest_until > now.wall)
		return;
	if (!length) {
		length = l->rest_length ? l->rest_length * 2 : REST_FIRST;
		if (length > REST_MAX)
			length = REST_MAX;
	}
	l->rest_length = length;
	l->rest_until = now.wall + length;
	l->since = now.wall;
	l->good = 0;
	l->dirty = true;
	if (l->window > 1)
		l->window /= 2;
}

static void lane_good(struct policy *p, struct lane *l, unsigned provider)
{
	uint32_t cap = p->params->providers[provider].connections_per_lane;

	l->delivered++;
	l->good++;
	if (l->good >= GOOD_TO_FORGET)
		l->rest_length = 0;
	if (l->good % GOOD_TO_GROW == 0 && l->window < cap)
		l->window++;
}

static void source_block(struct policy *p, const struct slot *s, struct policy_now now, ms_t length)
{
	struct block *b = &p->providers[s->provider].blocks[s->source];

	if (b->until <= now.wall)
		b->since = now.wall;
	b->until = now.wall + (length ? length : BLOCK_REST);
	b->dirty = true;
}

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

/* Is there another subnet in the pool that could take it? until_wall: when the first that is only
 * blocked or suspended comes back; 0: none known. */
static bool another_subnet(const struct policy *p, struct policy_now now, const struct slot *s,
	const struct policy_tried *tried, ms_t *until_wall)
{
	const struct pool_params *pool;
	uint8_t family = p->params->sources[s->source].address.family;

	*until_wall = 0;
	if (s->pool == ~0u)
		return false;
	pool = &p->params->pools[s->pool];
	for (unsigned i = 0; i < pool->nmembers; i++) {
		unsigned source = pool->members[i].source;
		enum hold_reason why;
		ms_t until;

		if (p->params->sources[source].address.family != family)
			continue;
		why = source_obstacle(p, now, source, s->cluster, s->provider, &until);
		if (why == HOLD_NONE && !source_tried(p, tried, source))
			return true;
		if (until && (!*until_wall || until < *until_wall))
			*until_wall = until;
	}
	return false;
}

static void cause(struct policy_verdict *v, const char *text)
{
	snprintf(v->cause, sizeof(v->cause), "%s", text);
}

static void on_throttle(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	ms_t until;

	lane_rest(s->lane, now, c->cooldown);
	tried_add(tried, s->source);
	cause(ret, "subnet");
	if (tried->n < POLICY_TRIED_MAX &&
		tried_subnets(p, tried) < p->params->retry.subnets_per_cycle &&
		another_subnet(p, now, s, tried, &until))
		ret->what = DISPOSE_RETRY_SUBNET;
	else
		ret->what = DISPOSE_DEFER;
}

/* Never a bounce: the fault is the source's, whatever the code says. */
static void on_block(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, struct policy_tried *tried, struct policy_verdict *ret)
{
	ms_t until = 0;

	source_block(p, s, now, c->cooldown);
	tried_add(tried, s->source);
	cause(ret, "source");
	if (tried->n < POLICY_TRIED_MAX && another_subnet(p, now, s, tried, &until)) {
		ret->what = DISPOSE_RETRY_SUBNET;
		return;
	}
	ret->what = DISPOSE_HOLD;
	ret->reason = HOLD_BLOCKED;
	ret->hold = until > now.wall ? until - now.wall : BLOCK_REST;
}

void policy_result(struct policy *p, struct policy_now now, uint32_t slot, const char *domain,
	const struct classification *c, const struct reply *r, struct policy_tried *tried,
	struct policy_verdict *ret)
{
	struct slot *s = slot_get(p, slot);
	bool permanent = r->code >= 500;

	*ret = (struct policy_verdict){ .what = DISPOSE_DEFER };
	if (c->verdict == VERDICT_DELIVERED) {
		ret->what = DISPOSE_DELIVERED;
		if (s->lane)
			lane_good(p, s->lane, s->provider);
		return;
	}
	if (s->lane)
		*(permanent ? &s->lane->rejected : &s->lane->deferred) += 1;
	switch (c->verdict) {
	case VERDICT_SOURCE_THROTTLE:
		if (s->lane)
			on_throttle(p, now, s, c, tried, ret);
		break;
	case VERDICT_SOURCE_BLOCK:
		if (s->lane)
			on_block(p, now, s, c, tried, ret);
		break;
	case VERDICT_DESTINATION_CONFIG:
		ret->what = permanent ? DISPOSE_BOUNCE : DISPOSE_RESOLVE;
		cause(ret, "domain");
		break;
	case VERDICT_SPLIT_RECIPIENTS:
		ret->what = DISPOSE_RETRY_SPLIT;
		break;
	case VERDICT_RECIPIENT_INVALID:
	case VERDICT_MESSAGE_REJECTED:
		ret->what = permanent ? DISPOSE_BOUNCE : DISPOSE_DEFER;
		cause(ret, "message");
		break;
	case VERDICT_DESTINATION_BUSY:
		cause(ret, "cluster");
		break;
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
		if (failure && failure->verdict == VERDICT_SOURCE_THROTTLE)
			lane_rest(s->lane, now, failure->cooldown);
		if (failure && failure->verdict == VERDICT_SOURCE_BLOCK)
			source_block(p, s, now, failure->cooldown);
		if (error == POLICY_E_BIND)
			p->sources[s->source].unavailable_until = now.wall + UNAVAILABLE_REST;
		must(s->lane->in_use > 0);
		s->lane->in_use--;
	}
	if (s->provider != ~0u) {
		must(s->cluster->connections > 0 && p->providers[s->provider].connections > 0);
		s->cluster->connections--;
		p->providers[s->provider].connections--;
	}
	slot_release(p, slot);
}

ms_t policy_backoff(struct policy *p, unsigned attempts)
{
	const struct retry_params *r = &p->params->retry;
	ms_t delay = 5 * 60 * 1000;
	double factor;

	if (r->nschedule) {
		unsigned i = attempts ? attempts - 1 : 0;

		delay = r->schedule[i < r->nschedule ? i : r->nschedule - 1];
	}
	factor = 1 + r->jitter * (2 * rng_unit(&p->rng) - 1);
	delay = (ms_t)((double)delay * factor);
	return delay > 0 ? delay : 1;
}
