/* What waits, by flow, and how a flow looks for connections: as relay/dispatch does it. */
#include <stdlib.h>

#include "state.h"

#define AGE_EVERY  60000 /* ms; what has expired is looked for as often in a flow */
#define ASK_A_TURN 512u	 /* flows that look, one after the other */

/* ---- letters ---- */

static uint32_t letter_slot(struct rehearsal *r)
{
	uint32_t i = r->free_letter;

	if (i != NONE) {
		r->free_letter = r->letters[i].next;
		return i;
	}
	if (r->nletters == r->letters_cap) {
		uint32_t cap = r->letters_cap ? r->letters_cap * 2 : 4096;
		struct letter *a = cap < NONE / 2 ? realloc(r->letters, cap * sizeof(*a)) : NULL;

		if (!a) {
			r->no_memory = true;
			return NONE;
		}
		r->letters = a;
		r->letters_cap = cap;
	}
	return r->nletters++;
}

uint32_t letter_new(struct rehearsal *r, const struct letter *like, uint32_t count)
{
	struct letter copy = *like;
	uint32_t i = letter_slot(r);

	if (i == NONE)
		return NONE;
	r->letters[i] = copy;
	r->letters[i].count = count;
	r->letters[i].next = NONE;
	r->letters[i].tried.message = copy.id;
	return i;
}

void letter_free(struct rehearsal *r, uint32_t i)
{
	r->letters[i].next = r->free_letter;
	r->free_letter = i;
}

/* The first n messages of a letter stay in it; the others become one of their own. */
static uint32_t letter_split(struct rehearsal *r, uint32_t i, uint32_t n)
{
	struct letter rest = r->letters[i];
	const struct receiver *v = &r->receivers[r->flows[rest.flow].cluster];
	const struct group *g = &v->groups[r->flows[rest.flow].group];

	rest.id += n;
	rest.tenant = g->first + (rest.tenant - g->first + n) % g->n;
	i = letter_new(r, &rest, rest.count - n);
	return i;
}

/* ---- flows ---- */

void mail_ask(struct rehearsal *r, uint32_t flow)
{
	waiter_ask(&r->places, &r->flows[flow].waiter);
}

/* No senders are told apart here: each pool has one party. */
static void flow_link(struct rehearsal *r, uint32_t flow)
{
	struct flow *f = &r->flows[flow];
	const struct pool_params *pool = &r->params->pools[f->pool];

	if (f->turn.seat)
		return;
	if (!turns_join(&r->turns, &r->receivers[f->cluster].turns, pool, &pool->members, &f->turn))
		r->no_memory = true;
}

void mail_unlink(struct rehearsal *r, uint32_t flow)
{
	if (r->flows[flow].turn.seat)
		turns_leave(&r->turns, &r->flows[flow].turn);
}

void mail_push(struct rehearsal *r, uint32_t flow, uint32_t letter, bool front)
{
	struct flow *f = &r->flows[flow];
	struct letter *g = &r->letters[letter];

	g->flow = flow;
	g->next = front ? f->first : NONE;
	if (f->first == NONE)
		f->first = f->last = letter;
	else if (front)
		f->first = letter;
	else {
		r->letters[f->last].next = letter;
		f->last = letter;
	}
	f->letters++;
	f->messages += g->count;
	if (!f->waiter.waiting || !hold_is_domains(f->waiter.reason))
		flow_link(r, flow);
	if (!f->waiter.waiting)
		mail_ask(r, flow);
	else
		for (uint32_t i = 0; i < r->receivers[f->cluster].nlinks; i++) {
			/* while it waits, connections that are open may still take it */
			uint32_t k = r->receivers[f->cluster].links[i];

			if (r->links[k].state == LINK_UP && !r->links[k].count) {
				mail_ask(r, flow);
				break;
			}
		}
}

static uint32_t pop(struct rehearsal *r, struct flow *f)
{
	uint32_t i = f->first;

	f->first = r->letters[i].next;
	if (f->first == NONE)
		f->last = NONE;
	f->letters--;
	f->messages -= r->letters[i].count;
	r->letters[i].next = NONE;
	if (!f->letters) {
		waiter_stop(&r->places, &f->waiter);
		mail_unlink(r, (uint32_t)(f - r->flows));
	}
	return i;
}

uint32_t mail_take(struct rehearsal *r, uint32_t flow, uint32_t n)
{
	uint32_t first = NONE, last = NONE;

	while (n && r->flows[flow].first != NONE) {
		uint32_t i = pop(r, &r->flows[flow]), rest = NONE;

		if (r->letters[i].count > n) {
			rest = letter_split(r, i, n);
			if (rest == NONE)
				return first; /* no_memory is set: the run ends */
			r->letters[i].count = n;
			mail_push(r, flow, rest, true);
		}
		n -= r->letters[i].count;
		if (first == NONE)
			first = i;
		else
			r->letters[last].next = i;
		last = i;
	}
	return first;
}

uint64_t mail_bytes(const struct rehearsal *r, uint32_t i, uint32_t n)
{
	uint64_t bytes = 0;

	for (; n && i != NONE; i = r->letters[i].next) {
		const struct letter *g = &r->letters[i];
		uint32_t k = g->count < n ? g->count : n;

		bytes += letter_volume(r, g, k).bytes;
		n -= k;
	}
	return bytes;
}

void mail_wait(struct rehearsal *r, uint32_t flow, const struct policy_choice *why)
{
	waiter_wait(&r->places, &r->flows[flow].waiter, why, false, policy_time(r).mono);
}

void mail_wait_over(struct rehearsal *r, uint32_t flow)
{
	waiter_over(&r->places, &r->flows[flow].waiter);
}

static uint32_t flow_of(const struct rehearsal *r, struct waiter *w)
{
	return (uint32_t)(container(w, struct flow, waiter) - r->flows);
}

void mail_due(struct rehearsal *r)
{
	struct waiter *w;

	while ((w = places_due(&r->places, policy_time(r).mono))) {
		mail_age(r, flow_of(r, w));
		waiter_over(&r->places, w);
	}
}

void link_freed(struct rehearsal *r, const char *where, unsigned n)
{
	if (where)
		places_freed(&r->places, where);
	places_freed_any(&r->places, n);
}

/* What has waited too long; the oldest come first but for those that were tried before. */
void mail_age(struct rehearsal *r, uint32_t flow)
{
	struct flow *f = &r->flows[flow];
	uint32_t i = f->first, before = NONE;

	if (r->now - f->aged < AGE_EVERY)
		return; /* a long queue is not walked at each turn */
	f->aged = r->now;
	while (i != NONE) {
		uint32_t next = r->letters[i].next;

		if (!end_expired(r, &r->letters[i])) {
			before = i;
			i = next;
			continue;
		}
		if (before == NONE) {
			pop(r, f);
		} else {
			r->letters[before].next = next;
			if (f->last == i)
				f->last = before;
			f->letters--;
			f->messages -= r->letters[i].count;
		}
		end_expire(r, i);
		i = next;
	}
}

void mail_want(const struct rehearsal *r, uint32_t flow, struct policy_want *w,
	struct policy_host hosts[HOSTS_MAX])
{
	const struct flow *f = &r->flows[flow];
	const struct receiver *v = &r->receivers[f->cluster];
	const struct letter *g = &r->letters[f->first];
	unsigned n = r->s->clusters[f->cluster].hosts;

	*w = (struct policy_want){
		.provider = r->s->clusters[f->cluster].provider_index,
		.pool = f->pool,
		.domain = v->domains[g->tenant],
		.hosts = hosts,
		.nhosts = n,
		.tried = g->tried.n ? &g->tried : NULL,
	};
	for (unsigned i = 0; i < n; i++)
		hosts[i] = (struct policy_host){ .addr = v->hosts[i] };
}

/* ---- a flow looks for connections ---- */

static void use_idle(struct rehearsal *r, uint32_t flow)
{
	const struct receiver *v = &r->receivers[r->flows[flow].cluster];

	for (uint32_t i = 0; i < v->nlinks && r->flows[flow].letters; i++) {
		const struct link *k = &r->links[v->links[i]];

		if (k->state == LINK_UP && !k->count && !k->waking)
			link_assign(r, v->links[i]);
	}
}

/* One connection for each step's worth that waits. */
static uint32_t wanted(const struct rehearsal *r, const struct flow *f)
{
	uint32_t steps = (f->messages + r->batch - 1) / r->batch;

	return f->diverted ? f->letters : steps;
}

static void refused(struct rehearsal *r, uint32_t flow, const struct policy_choice *why)
{
	struct flow *f = &r->flows[flow];
	uint32_t i;

	switch (match_refused(why, f->diverted, policy_time(r).mono)) {
	case MATCH_ASIDE:
		end_hold(r, pop(r, f), why->until - MONO);
		break;
	case MATCH_REJOIN: /* its flow is the one before */
		i = pop(r, f);
		r->letters[i].tried.n = 0;
		mail_push(r, flow & ~1u, i, false);
		break;
	case MATCH_GIVE_UP:
		end_defer(r, pop(r, f));
		break;
	case MATCH_WAIT_PLACE:
		link_give_up_idle(r, why);
		mail_wait(r, flow, why);
		break;
	case MATCH_WAIT:
		mail_wait(r, flow, why);
		break;
	}
}

static void look(struct rehearsal *r, uint32_t flow)
{
	struct flow *f = &r->flows[flow];
	unsigned opened = 0;

	flow_link(r, flow);
	use_idle(r, flow);
	while (wanted(r, f) > f->opening && !f->waiter.waiting && !r->no_memory) {
		struct policy_host hosts[HOSTS_MAX];
		struct policy_choice choice;
		struct policy_want w;

		if (opened++ >= MATCH_OPENS) {
			mail_ask(r, flow);
			return;
		}
		mail_want(r, flow, &w, hosts);
		policy_choose(r->policy, policy_time(r), &w, &choice);
		if (!choice.go) {
			refused(r, flow, &choice);
			continue;
		}
		link_open(r, flow, &choice);
		if (places_any_asking(&r->places)) { /* who has got one waits behind the others */
			mail_ask(r, flow);
			return;
		}
	}
}

void asked(struct rehearsal *r)
{
	struct waiter *w;

	for (unsigned n = 0; n < ASK_A_TURN && (w = places_asking(&r->places)); n++) {
		uint32_t f = flow_of(r, w);

		if (r->flows[f].letters)
			mail_age(r, f);
		if (!r->flows[f].letters || (w->waiting && hold_is_domains(w->reason)))
			continue;
		look(r, f);
	}
}
