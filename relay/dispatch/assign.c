/* Matches waiting work with connections: open ones first, new ones when they are not enough. */
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/must.h"

#define FAILED_KEPT    60000 /* ms until hosts that failed are tried again while others work */
#define NO_MEMORY_WAIT 1000  /* ms */
#define SEVERAL	       2u    /* recipients under way, from which on a domain leaves room */
#define OTHERS_KEPT    10000 /* ms */
#define ASIDE_AT_ONCE  64u   /* works that an offer finds to be held for their sender */

void want_of(const struct flow *f, const struct work *w, struct policy_want *ret)
{
	const struct domain *m = f->domain;

	*ret = (struct policy_want){
		.provider = m->provider,
		.pool = (unsigned)f->pool->index,
		.domain = m->name,
		.sender = w->tried.sender,
		.hosts = m->hosts,
		.nhosts = m->nhosts,
		.tried = w->tried.n || w->tried.prefer ? &w->tried : NULL,
	};
}

static struct work *first_work(const struct flow *f)
{
	return list_empty(&f->ready) ? NULL : container(f->ready.next, struct work, in_flow);
}

/* The first that this source may take: some is to go from the source that it went from before. */
static struct work *work_for(const struct flow *f, unsigned source)
{
	unsigned n = 0;

	for (struct list *l = f->ready.next; l != &f->ready && n < MATCH_TRIES; l = l->next, n++) {
		struct work *w = container(l, struct work, in_flow);

		if (!w->tried.prefer || w->tried.prefer == source + 1)
			return w;
	}
	return NULL;
}

/* ---- a transaction ---- */

/* The provider's limit of recipients, and what the receiver takes. */
static void keep_limit(struct dispatch *d, const struct connection *c, struct work *w)
{
	uint32_t limit = provider_of(d, w->flow->domain->provider)->recipients_per_transaction;
	uint32_t learned = w->n > 1 ? policy_recipients(d->policy, now_of(d), c->slot) : 0;
	struct work *rest;
	struct item *last = w->items;

	if (learned && (!limit || learned < limit))
		limit = learned;
	if (!limit || w->n <= limit)
		return;
	rest = work_new(w->message);
	if (!rest)
		return; /* over the limit once: the receiver says so if it minds */
	for (uint32_t i = 1; i < limit; i++)
		last = last->next;
	rest->items = last->next;
	rest->n = w->n - limit;
	rest->tried = w->tried;
	last->next = NULL;
	w->n = limit;
	for (struct item *i = rest->items; i; i = i->next)
		i->work = rest;
	flow_push(d, w->flow, rest, true);
}

static struct outbound_transact *transact_new(struct work *w)
{
	struct outbound_transact *t = calloc(1, sizeof(*t));
	uint32_t n = 0;

	if (!t)
		return NULL;
	t->recipients = malloc(w->n * sizeof(*t->recipients));
	t->results = calloc(w->n, sizeof(*t->results));
	if (!t->recipients || !t->results) {
		free(t->recipients);
		free(t->results);
		free(t);
		return NULL;
	}
	t->order.kind = OUTBOUND_TRANSACT;
	t->message = message_ref(w->message);
	for (struct item *i = w->items; i; i = i->next) {
		t->results[n].index = i->recipient->index;
		t->recipients[n++] = i->recipient;
	}
	must(n == w->n);
	t->n = n;
	t->owner = w;
	return t;
}

static void note_taker(struct dispatch *d, struct host *h, const struct domain *m)
{
	if (h->taker && h->taker != m && m->in_flight < SEVERAL)
		h->others_until = loop_mono(d->loop) + OTHERS_KEPT;
	h->taker = m;
}

static bool give(struct dispatch *d, struct connection *c, struct flow *f, struct work *w)
{
	struct outbound_transact *t;

	keep_limit(d, c, w);
	t = transact_new(w);
	if (!t) {
		flow_wait(d, f, HOLD_CAP, loop_mono(d->loop) + NO_MEMORY_WAIT);
		return false;
	}
	t->at.queued = loop_mono(d->loop);
	flow_remove(d, w);
	if (f->domain->parking.all)
		park_gone(d, f);
	note_taker(d, c->host, f->domain);
	w->connection = c;
	dns_route_unref(w->route);
	w->route = dns_route_ref(f->domain->route);
	w->mx = route_name_of(f->domain, c->host);
	c->running[c->nrunning++] = w;
	d->in_flight += w->n;
	f->domain->in_flight += w->n;
	if (policy_recipients_watched(d->policy))
		aside_gone(d, w);
	order_post(d, c, &t->order);
	return true;
}

/* ---- a connection looks for work ---- */

static bool tried_here(const struct dispatch *d, const struct work *w, unsigned source)
{
	for (unsigned i = 0; i < w->tried.n; i++) {
		unsigned t = w->tried.source[i];

		if (t == source)
			return true;
	}
	return false;
}

/* Of a host's connections one is left without a second transaction by domains that have several
 * under way: whoever comes with a single message then waits for what is left of one transaction,
 * not for a whole one more. The one left is another each time. Where such have come lately all are
 * left: the transaction that began first is over soonest (at 10 ms: 3 ms less for who comes, and
 * 3 % fewer messages for the others). */
static bool leaves_room(const struct dispatch *d, const struct connection *c, const struct flow *f)
{
	const struct host *h = c->host;
	const struct list *l = &h->half;

	if (!c->nrunning || h->up < 2 || f->domain->in_flight < SEVERAL)
		return false;
	if (h->others_until > loop_mono(d->loop))
		return true;
	return list_empty(l) || (l->next == &c->half && l->prev == &c->half);
}

enum offer {
	OFFER_TAKEN,
	OFFER_OTHER, /* not this flow: another may do */
	OFFER_NONE,
	OFFER_AGAIN /* the work went elsewhere: the flow has a next one */
};

/* The first work of a flow that is not its sender's to wait with; those that are, are set aside. */
static enum offer offer_first(struct dispatch *d, struct connection *c, struct flow *f)
{
	struct work *w = work_for(f, c->source);
	struct policy_choice why;
	struct policy_want want;
	bool retire;

	if (!w || f->pool->index < 0 || !f->pool->has[c->source] || tried_here(d, w, c->source) ||
		leaves_room(d, c, f))
		return OFFER_OTHER;
	if (policy_recipients_watched(d->policy) && !aside_recipients(d, f, w))
		return OFFER_AGAIN;
	want_of(f, w, &want);
	if (policy_admit(d->policy, now_of(d), c->slot, &want, &why, &retire)) {
		if (give(d, c, f, w)) {
			/* told at once, so that QUIT goes out behind the content */
			if (retire)
				connection_quit(d, c);
			return OFFER_TAKEN;
		}
		policy_unadmit(d->policy, now_of(d), c->slot);
		return OFFER_NONE;
	}
	switch (match_declined(&why, retire)) {
	case MATCH_RETIRE:
		c->retire = true;
		return OFFER_NONE;
	case MATCH_SET_ASIDE:
		aside_take(d, f, w, why.until);
		return OFFER_AGAIN;
	case MATCH_DOMAIN_WAITS:
		flow_unlink(d, f);
		flow_wait_at(d, f, &why);
		return OFFER_OTHER;
	case MATCH_OTHER_FLOW:
		return OFFER_OTHER;
	case MATCH_PAUSE:
		wake_set(&d->wakes, &c->wake,
			why.until > loop_mono(d->loop) ? why.until : loop_mono(d->loop) + 1);
		return OFFER_NONE;
	case MATCH_STAY:
		break;
	}
	return OFFER_NONE;
}

static enum offer offer(struct dispatch *d, struct connection *c, struct flow *f)
{
	for (unsigned n = 0; n < ASIDE_AT_ONCE; n++) {
		enum offer r = offer_first(d, c, f);

		if (r != OFFER_AGAIN)
			return r;
	}
	flow_ask(d, f);
	return OFFER_OTHER;
}

/* Pools, senders and then domains at a host take turns, one transaction each. */
static enum offer pick(struct dispatch *d, struct connection *c)
{
	for (unsigned n = 0; n < MATCH_TRIES; n++) {
		struct flow *f = fair_turn(c->host, c->source);
		enum offer r = f ? offer(d, c, f) : OFFER_NONE;

		if (r != OFFER_OTHER)
			return r;
	}
	return OFFER_NONE;
}

static bool usable(const struct dispatch *d, const struct connection *c)
{
	return c->state == CONNECTION_UP && !c->retire && !c->host->retired && !c->wake.pos &&
	       !d->draining && d->stalled < STALLED_MAX;
}

void assign_connection(struct dispatch *d, struct connection *c)
{
	while (usable(d, c) && c->nrunning < PIPELINE) {
		/* a second one waits behind the first only when no other connection is free */
		if (c->nrunning && c->host->nidle)
			break;
		if (pick(d, c) != OFFER_TAKEN)
			break;
		connection_sort(d, c);
	}
	connection_sort(d, c);
}

/* ---- a flow looks for connections ---- */

/* Each that takes one leaves the list; those that refuse are bounded. */
static void use_idle_at(struct dispatch *d, struct flow *f, struct host *h)
{
	struct list *l, *next;
	unsigned refused = 0;

	for (l = h->idle.next; l != &h->idle && refused < MATCH_TRIES && f->linked; l = next) {
		struct connection *c = container(l, struct connection, idle);

		next = l->next;
		if (!usable(d, c) || offer(d, c, f) != OFFER_TAKEN)
			refused++;
		connection_sort(d, c);
	}
}

static void use_idle(struct dispatch *d, struct flow *f)
{
	for (unsigned i = 0; f->linked && i < f->domain->nhosts; i++)
		if (f->links[i].host)
			use_idle_at(d, f, f->links[i].host);
}

static void use_half(struct dispatch *d, struct flow *f)
{
	for (unsigned i = 0; f->linked && i < f->domain->nhosts; i++) {
		struct host *h = f->links[i].host;
		unsigned n = 0;

		while (h && !list_empty(&h->half) && n++ < MATCH_TRIES && f->linked) {
			struct connection *c = container(h->half.next, struct connection, half);

			/* to the end first: the next look begins with another */
			list_del(&c->half);
			list_add(&h->half, &c->half);
			if (!usable(d, c))
				continue;
			offer(d, c, f);
			connection_sort(d, c);
		}
	}
}

/* No other source may take it: it waits with the domain's other mail for whatever refuses them. */
static void waits_for_block(struct dispatch *d, struct flow *f, struct work *w)
{
	const struct flow_kind k = { .pool = f->pool, .party = f->party };
	struct flow *with = flow_get(d, f->domain, &k);

	w->tried.n = 0;
	flow_push(d, with ? with : f, w, false);
	if (!with)
		flow_wait(d, f, HOLD_CAP, loop_mono(d->loop) + NO_MEMORY_WAIT);
}

/* The policy chose. */
static void open_for(struct dispatch *d, struct flow *f, struct work *w, struct policy_choice *c)
{
	if (w->tried.prefer) /* it may have become another */
		w->tried.prefer = (uint16_t)(c->source + 1);
	if (connection_open(d, f, c)) {
		flow_wait(d, f, HOLD_CAP, loop_mono(d->loop) + 1000);
		return;
	}
	f->waiter.unserved = false;
	f->domain->logged = HOLD_NONE;
	f->domain->warmup_pool = NULL;
}

/* The policy says no. False: the flow's domain has nowhere to go, and that has been dealt with. */
static bool refused(
	struct dispatch *d, struct flow *f, struct work *w, const struct policy_choice *why)
{
	if (why->reason == HOLD_NO_HOST && host_used_up(d, f->domain))
		return false;
	switch (match_refused(why, f->diverted, loop_mono(d->loop))) {
	case MATCH_ASIDE:
		aside_take(d, f, w, why->until);
		break;
	case MATCH_REJOIN:
		flow_remove(d, w);
		waits_for_block(d, f, w);
		break;
	case MATCH_GIVE_UP:
		flow_remove(d, w);
		result_local(d, w, "4.7.0", NULL, why->reason);
		break;
	case MATCH_WAIT_PLACE:
		if (!connection_give_up_idle(d, f, why))
			connection_make_way(d, f, why);
		flow_wait_at(d, f, why);
		break;
	case MATCH_WAIT:
		flow_wait_at(d, f, why);
		break;
	}
	return true;
}

static void open_more(struct dispatch *d, struct flow *f)
{
	unsigned opened = 0;

	while (f->nready > f->opening && !f->waiter.waiting) {
		struct work *w = first_work(f);
		struct policy_choice choice;
		struct policy_want want;

		if (opened++ >= MATCH_OPENS) {
			flow_ask(d, f);
			return;
		}
		if (!connection_room(d) || !opening_room(d, f->domain)) {
			flow_wait(d, f, HOLD_CAP, 0);
			return;
		}
		if (policy_recipients_watched(d->policy) && !aside_recipients(d, f, w))
			continue;
		want_of(f, w, &want);
		policy_choose(d->policy, now_of(d), &want, &choice);
		if (choice.go) {
			open_for(d, f, w, &choice);
			if (places_any_asking(
				    &d->places)) { /* who has got one waits behind the others */
				flow_ask(d, f);
				return;
			}
		} else if (!refused(d, f, w, &choice)) {
			return;
		}
	}
}

void assign_flow(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;

	if (!f->nready || d->draining || d->stalled >= STALLED_MAX)
		return;
	if (f->aside) {
		aside_look(d, f);
		return;
	}
	if (f->pool->index < 0) {
		flow_wait(d, f, HOLD_NO_SOURCE, loop_mono(d->loop) + 60000);
		return;
	}
	if (f->waiter.waiting && hold_is_domains(f->waiter.reason))
		return;
	if (!route_ready(d, m))
		return;
	if (m->failed_at && loop_mono(d->loop) - m->failed_at > FAILED_KEPT) {
		route_clear_failures(m);
		route_relink(d, m);
	}
	if (route_all_failed(m)) {
		route_exhausted(d, m);
		return;
	}
	flow_link(d, f);
	use_idle(d, f);
	if (f->nready && !f->waiter.waiting)
		open_more(d, f);
	if (f->nready > f->opening && f->linked)
		use_half(d, f);
}
