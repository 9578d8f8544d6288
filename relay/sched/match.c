/* Work meets connections: the two loops, and what follows from the policy's no; see the header.
 * Called by relay/dispatch, relay/rehearse and the tests' model, each with a driver of its own.
 *
 * Order of one try: open connections first, those without a transaction before those with one; then
 * new ones, as many as there are works without; then a second transaction on those with one. */
#include "postern/match.h"

#include "postern/must.h"

#define SEVERAL	      2u    /* messages under way, from which on a domain leaves room */
#define OTHERS_KEPT   10000 /* ms */
#define ASIDE_AT_ONCE 64u   /* works that an offer finds to be held for their sender */

enum match_no match_refused(const struct policy_choice *why, bool diverted, ms_t mono)
{
	if (why->reason == HOLD_SENDER)
		return MATCH_ASIDE;
	if (diverted && why->reason == HOLD_BLOCKED)
		return MATCH_REJOIN;
	if (diverted && policy_impatient(why, mono))
		return MATCH_GIVE_UP;
	if (why->reason == HOLD_CAP || why->reason == HOLD_WINDOW)
		return MATCH_WAIT_PLACE;
	return MATCH_WAIT;
}

enum match_declined match_declined(const struct policy_choice *why)
{
	if (why->retire)
		return MATCH_RETIRE;
	if (why->reason == HOLD_SENDER)
		return MATCH_SET_ASIDE;
	if (hold_is_domains(why->reason))
		return MATCH_DOMAIN_WAITS;
	if (why->reason == HOLD_NO_SOURCE || why->reason == HOLD_NO_HOST)
		return MATCH_OTHER_FLOW;
	return why->until ? MATCH_PAUSE : MATCH_STAY;
}

/* ---- a connection looks for work ---- */

/* The first that this source may take: some is to go from the source that it went from before. */
static struct match_work *work_for(const struct match_flow *f, unsigned source)
{
	unsigned n = 0;

	for (struct list *l = f->ready.next; l != &f->ready && n < MATCH_TRIES; l = l->next, n++) {
		struct match_work *w = container(l, struct match_work, in_flow);

		if (!w->tried.prefer || w->tried.prefer == source + 1)
			return w;
	}
	return NULL;
}

static bool tried_here(const struct match_work *w, unsigned source)
{
	for (unsigned i = 0; i < w->tried.n; i++)
		if (w->tried.source[i] == source)
			return true;
	return false;
}

static bool has_few(const struct match_host *h, const struct match_flow *f)
{
	unsigned before = (1u << f->waiter.rank) - 1;

	/* what is kept is not for who would have to wait for others anyway */
	return f->domain->in_flight < SEVERAL && !(turns_ranks(&h->turns) & before);
}

/* Of a host's connections one is left without a second transaction by domains that have several
 * under way: whoever comes with a single message then waits for what is left of one transaction,
 * not for a whole one more. The one left is another each time. Where such have come lately all are
 * left: the transaction that began first is over soonest (at 10 ms: 3 ms less for who comes, and
 * 3 % fewer messages for the others). */
static bool leaves_room(
	const struct match_connection *c, const struct match_flow *f, struct policy_now now)
{
	const struct match_host *h = c->host;
	const struct list *l = &h->half;

	if (!c->nrunning || h->up < 2 || has_few(h, f))
		return false;
	if (h->others_until > now.mono)
		return true;
	return list_empty(l) || (l->next == &c->half && l->prev == &c->half);
}

static void note_taker(struct match_host *h, const struct match_domain *dom, ms_t mono)
{
	if (h->taker && h->taker != dom && dom->in_flight < SEVERAL)
		h->others_until = mono + OTHERS_KEPT;
	h->taker = dom;
}

enum offer {
	OFFER_TAKEN,
	OFFER_OTHER, /* not this flow: another may do */
	OFFER_NONE,
	OFFER_AGAIN /* the work went elsewhere: the flow has a next one */
};

static enum offer give(struct match *m, struct policy_now now, struct match_connection *c,
	struct match_flow *f, struct match_work *w, uint32_t count, bool retire)
{
	note_taker(c->host, f->domain, now.mono);
	c->nrunning++;
	if (!m->driver->transact(m->arg, c, f, w, count)) {
		c->nrunning--;
		policy_txn_end(m->policy, &w->txn, TXN_NOT_BEGUN);
		return OFFER_NONE;
	}
	ranks_took(&c->host->turns.ranks, f->waiter.rank);
	if (retire) /* told at once, so that QUIT goes out behind the content */
		match_quit(m, c);
	return OFFER_TAKEN;
}

static enum offer declined(struct match *m, struct policy_now now, struct match_connection *c,
	struct match_flow *f, struct match_work *w, const struct policy_choice *why)
{
	switch (match_declined(why)) {
	case MATCH_RETIRE:
		c->retire = true;
		return OFFER_NONE;
	case MATCH_SET_ASIDE:
		m->driver->aside(m->arg, f, w, why->until);
		return OFFER_AGAIN;
	case MATCH_DOMAIN_WAITS:
		m->driver->domain_waits(m->arg, f, why);
		return OFFER_OTHER;
	case MATCH_OTHER_FLOW:
		return OFFER_OTHER;
	case MATCH_PAUSE:
		c->paused = true;
		m->driver->pause(m->arg, c, why->until > now.mono ? why->until : now.mono + 1);
		return OFFER_NONE;
	case MATCH_STAY:
		break;
	}
	return OFFER_NONE;
}

static bool fits(struct match *m, struct match_flow *f, struct match_work *w)
{
	return !m->driver->fits || !policy_recipients_watched(m->policy) ||
	       m->driver->fits(m->arg, f, w);
}

/* The first work of a flow that is not its sender's to wait with; those that are, are set aside. */
static enum offer offer_first(
	struct match *m, struct policy_now now, struct match_connection *c, struct match_flow *f)
{
	struct match_work *w = work_for(f, c->source);
	struct policy_choice why;
	struct policy_want want;

	if (!w || !m->driver->serves(&c->source, f->pool) || tried_here(w, c->source) ||
		leaves_room(c, f, now))
		return OFFER_OTHER;
	if (!fits(m, f, w))
		return OFFER_AGAIN;
	m->driver->want(m->arg, f, w, c, &want);
	if (policy_admit(m->policy, now, c->slot, &want, &w->txn, &why))
		return give(m, now, c, f, w, why.count ? why.count : 1, why.retire);
	return declined(m, now, c, f, w, &why);
}

static enum offer offer(
	struct match *m, struct policy_now now, struct match_connection *c, struct match_flow *f)
{
	for (unsigned n = 0; n < ASIDE_AT_ONCE; n++) {
		enum offer r = offer_first(m, now, c, f);

		if (r != OFFER_AGAIN)
			return r;
	}
	waiter_ask(&m->places, &f->waiter);
	return OFFER_OTHER;
}

static enum offer pick_of(
	struct match *m, struct policy_now now, struct match_connection *c, unsigned rank)
{
	for (unsigned n = 0; n < MATCH_TRIES; n++) {
		struct turn_link *l =
			turns_next(&c->host->turns, rank, m->driver->serves, &c->source);
		enum offer r;

		if (!l)
			break;
		r = offer(m, now, c, container(l, struct match_link, turn)->flow);
		if (r != OFFER_OTHER)
			return r;
	}
	return OFFER_OTHER;
}

/* Ranks, pools, senders and then domains at a host take turns, one transaction each. What a rank
 * cannot use is the next one's. */
static enum offer pick(struct match *m, struct policy_now now, struct match_connection *c)
{
	unsigned ranks = turns_ranks(&c->host->turns);
	enum offer r = OFFER_NONE;

	while (ranks) {
		unsigned rank = ranks_next(&c->host->turns.ranks, ranks);

		r = pick_of(m, now, c, rank);
		if (r != OFFER_OTHER)
			break;
		ranks &= ~(1u << rank);
	}
	return r;
}

static bool usable(const struct match *m, const struct match_connection *c)
{
	return c->state == MATCH_UP && !c->retire && !c->host->retired && !c->paused &&
	       !m->draining && !m->stalled;
}

void match_assign(struct match *m, struct policy_now now, struct match_connection *c)
{
	while (usable(m, c) && c->nrunning < m->pipeline) {
		/* a second one waits behind the first only when no other connection is free */
		if (c->nrunning && c->host->nidle)
			break;
		if (pick(m, now, c) != OFFER_TAKEN)
			break;
		match_sort(m, now, c);
	}
	match_sort(m, now, c);
}

void match_resume(struct match *m, struct policy_now now, struct match_connection *c)
{
	c->paused = false;
	match_assign(m, now, c);
}

/* ---- a flow looks for connections ---- */

/* Each that takes one leaves the list; those that refuse are bounded. */
static void use_idle_at(
	struct match *m, struct policy_now now, struct match_flow *f, struct match_host *h)
{
	struct list *l, *next;
	unsigned refused = 0;

	for (l = h->idle.next; l != &h->idle && refused < MATCH_TRIES && f->linked; l = next) {
		struct match_connection *c = container(l, struct match_connection, idle);

		next = l->next;
		if (!usable(m, c) || offer(m, now, c, f) != OFFER_TAKEN)
			refused++;
		match_sort(m, now, c);
	}
}

static void use_idle(struct match *m, struct policy_now now, struct match_flow *f)
{
	for (unsigned i = 0; f->linked && i < f->nlinks; i++)
		if (f->links[i].host)
			use_idle_at(m, now, f, f->links[i].host);
}

static void use_half(struct match *m, struct policy_now now, struct match_flow *f)
{
	for (unsigned i = 0; f->linked && i < f->nlinks; i++) {
		struct match_host *h = f->links[i].host;
		unsigned n = 0;

		while (h && !list_empty(&h->half) && n++ < MATCH_TRIES && f->linked) {
			struct match_connection *c =
				container(h->half.next, struct match_connection, half);

			/* to the end first: the next try begins with another */
			list_del(&c->half);
			list_add(&h->half, &c->half);
			if (!usable(m, c))
				continue;
			offer(m, now, c, f);
			match_sort(m, now, c);
		}
	}
}

/* The policy says no. False: the flow has nowhere to go, and that has been dealt with. */
static bool refused(struct match *m, struct policy_now now, struct match_flow *f,
	struct match_work *w, const struct policy_choice *why, unsigned pool)
{
	const struct match_driver *driver = m->driver;

	if (why->reason == HOLD_NO_HOST && driver->used_up && driver->used_up(m->arg, f))
		return false;
	switch (match_refused(why, f->diverted, now.mono)) {
	case MATCH_ASIDE:
		driver->aside(m->arg, f, w, why->until);
		break;
	case MATCH_REJOIN:
		driver->rejoin(m->arg, f, w);
		break;
	case MATCH_GIVE_UP:
		driver->give_up(m->arg, f, w, why->reason);
		break;
	case MATCH_WAIT_PLACE:
		if (!match_give_up_idle(m, f, why))
			match_make_way(m, now, f, why, pool);
		driver->wait(m->arg, f, why);
		break;
	case MATCH_WAIT:
		driver->wait(m->arg, f, why);
		break;
	}
	return true;
}

/* The policy chose. */
static void open_for(struct match *m, struct policy_now now, struct match_flow *f,
	struct match_work *w, const struct policy_choice *c)
{
	if (w->tried.prefer) /* it may have become another */
		w->tried.prefer = (uint16_t)(c->source + 1);
	if (m->driver->open(m->arg, f, w, c)) {
		f->waiter.unserved = false;
		waiter_took(&m->places, &f->waiter);
	} else {
		m->driver->wait(m->arg, f,
			&(struct policy_choice){
				.reason = HOLD_CAP, .until = now.mono + MATCH_AGAIN });
	}
}

/* Connections that its work is worth. */
static uint64_t worth(const struct match *m, const struct match_flow *f)
{
	if (f->diverted)
		return f->nready;
	return m->batch == 1 ? f->messages : (f->messages + m->batch - 1) / m->batch;
}

static void open_more(struct match *m, struct policy_now now, struct match_flow *f)
{
	unsigned opened = 0;

	while (worth(m, f) > f->opening && !f->waiter.waiting) {
		struct match_work *w = match_first(f);
		struct policy_choice choice;
		struct policy_want want;

		if (opened++ >= MATCH_OPENS) {
			waiter_ask(&m->places, &f->waiter);
			return;
		}
		if (!match_room(m) || (m->driver->room && !m->driver->room(m->arg, f))) {
			m->driver->wait(m->arg, f, &(struct policy_choice){ .reason = HOLD_CAP });
			return;
		}
		if (!fits(m, f, w))
			continue;
		m->driver->want(m->arg, f, w, NULL, &want);
		policy_choose(m->policy, now, &want, &choice);
		if (!choice.go) {
			if (!refused(m, now, f, w, &choice, want.pool))
				return;
			continue;
		}
		open_for(m, now, f, w, &choice);
		if (places_any_asking(&m->places)) { /* who has got one waits behind the others */
			waiter_ask(&m->places, &f->waiter);
			return;
		}
	}
}

void match_look(struct match *m, struct policy_now now, struct match_flow *f)
{
	use_idle(m, now, f);
	if (f->nready && !f->waiter.waiting)
		open_more(m, now, f);
	if (worth(m, f) > f->opening && f->linked)
		use_half(m, now, f);
}
