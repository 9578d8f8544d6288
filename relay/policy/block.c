/* Sources that a provider refuses altogether: they rest there for hours, and are probed then. One
 * message that is refused everywhere is not believed: it is the smaller explanation. */
#include <stdio.h>

#include "state.h"

#define BLOCK_REST    (2 * 3600 * 1000)
#define BLOCK_LONGEST (12 * 3600 * 1000)
#define DOUBTED_REST  (10 * 60 * 1000)
#define RECENT	      (10 * 60 * 1000)
#define RECENT_GOOD   3u
#define SAME_STORY    (3600 * 1000)
#define PROBES	      2u

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

static void rest(
	struct policy *p, struct policy_now now, unsigned provider, unsigned source, ms_t length)
{
	struct block *b = &p->providers[provider].blocks[source];
	bool was = b->until > now.wall;

	if (!b->until)
		b->since = now.wall;
	if (b->until < now.wall + length || !was)
		b->until = now.wall + length;
	b->length = length;
	b->probes_good = 0;
	b->good = 0;
	b->dirty = true;
	p->urgent = true;
	if (!was)
		tell_blocked(p, now, provider, source);
}

static bool recently_good(const struct block *b, ms_t mono)
{
	return b->good >= RECENT_GOOD && mono - b->good_at < RECENT;
}

/* What this message alone had said about other sources is taken back. */
static void unsay(struct policy *p, struct policy_now now, unsigned provider, uint64_t message)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		struct block *b = &p->providers[provider].blocks[i];

		if (b->message != message || b->confirmed || b->until <= now.wall)
			continue;
		b->until = now.wall; /* to be probed */
		b->dirty = true;
	}
}

static ms_t length_of(const struct block *b, struct policy_now now, const struct classification *c)
{
	ms_t length = c->cooldown ? c->cooldown : BLOCK_REST;

	/* refused again by the probe */
	if (b->until && b->until <= now.wall && b->length * 2 > length)
		length = b->length * 2;
	if (length > BLOCK_LONGEST && length > c->cooldown)
		length = BLOCK_LONGEST;
	return length;
}

bool block_source(struct policy *p, struct policy_now now, struct slot *s,
	const struct classification *c, uint64_t message, bool elsewhere)
{
	struct block *b = &p->providers[s->provider].blocks[s->source];
	bool first = !b->message || b->message == message || now.wall - b->since > SAME_STORY;
	ms_t length = length_of(b, now, c);

	if (message && first && elsewhere && recently_good(b, now.mono)) {
		b->message = message;
		b->since = now.wall;
		unsay(p, now, s->provider, message);
		return true;
	}
	b->confirmed = !first;
	/* it was welcome a moment ago: the next message tells */
	if (first && message && recently_good(b, now.mono) && length > DOUBTED_REST)
		length = DOUBTED_REST;
	b->message = message;
	rest(p, now, s->provider, s->source, length);
	if (c->scope != SCOPE_SUBNET)
		return false;
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (i != s->source && p->sources[i].subnet == p->sources[s->source].subnet) {
			p->providers[s->provider].blocks[i].message = message;
			rest(p, now, s->provider, i, length);
		}
	return false;
}

static void lift(struct policy *p, struct policy_now now, unsigned provider, unsigned source,
	const char *text)
{
	struct block *b = &p->providers[provider].blocks[source];

	b->until = b->length = b->since = 0;
	b->message = 0;
	b->confirmed = false;
	b->dirty = true;
	p->urgent = true;
	tell(p, now, provider, source, POLICY_EVENT_SOURCE_UNBLOCKED, text);
}

bool block_end(struct policy *p, struct policy_now now, unsigned provider, unsigned source)
{
	if (!p->providers[provider].blocks[source].until)
		return false;
	lift(p, now, provider, source, "the operator puts this source back in service");
	return true;
}

void block_good(struct policy *p, struct policy_now now, struct slot *s)
{
	struct block *b = &p->providers[s->provider].blocks[s->source];

	b->good++;
	b->good_at = now.mono;
	if (!b->until || b->until > now.wall || ++b->probes_good < PROBES)
		return;
	lift(p, now, s->provider, s->source, "the provider takes mail from this source again");
}
