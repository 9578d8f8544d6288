/* Recipient domains: what waits for each, when the queue is to be read for it again, and its
 * flows. Called by everything of this room, on the dispatcher's thread.
 *
 * When it is read is one state (feed.h), kept by domain_feed alone: in state DUE it is in a list,
 * in LATER a timer runs. A domain is freed when nothing of it is in memory or in the queue. */
#include <errno.h>
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/must.h"

#define IDLE_KEPT   10000 /* ms that an empty domain keeps its route */
#define EVICT_WAIT  5000  /* ms; shorter waits are waited in memory */
#define EVICT_SHORT 500	  /* the same when memory is half full */
#define FLOWS_MIN   1024u /* that may be empty, until they are looked for */

struct domain *domain_find(struct dispatch *d, const char *name)
{
	struct domain *m;

	HASH_FIND_STR(d->domains, name, m);
	return m;
}

struct domain *domain_get(struct dispatch *d, const char *name)
{
	struct domain *m = domain_find(d, name);
	size_t n;

	if (m)
		return m;
	n = strlen(name);
	m = calloc(1, sizeof(*m) + n + 1);
	if (!m)
		return NULL;
	memcpy(m->name, name, n + 1);
	m->wake.kind = WAKE_DOMAIN;
	m->route_wake.kind = WAKE_ROUTE;
	m->idle_since = loop_mono(d->loop);
	list_init(&m->in_due);
	list_init(&m->in_asked);
	list_init(&m->in_ahead);
	parking_init(&m->parking);
	list_init(&m->items);
	list_init(&m->gone);
	m->on_hold = hold_is_set(d, name);
	HASH_ADD_KEYPTR(hh, d->domains, m->name, n, m);
	if (!m->hh.tbl) {
		free(m);
		return NULL;
	}
	return m;
}

/* Up to half of the window is left to drain before more is read: reading in larger portions. */
static bool has_room(const struct dispatch *d, const struct domain *m)
{
	return m->in_memory - m->gathered <= (domain_probing(m) ? 0 : d->p.window / 2);
}

static struct list *due_list(struct dispatch *d, const struct domain *m)
{
	/* whose look-up has ended is no newcomer any more: before the oldest */
	if (!m->known)
		return m->looked_up ? d->reads.due_first.next : &d->reads.due_first;
	return m->in_memory ? &d->reads.due : &d->reads.due_new;
}

/* What a state of the feed means here. */
static void keep_state(struct dispatch *d, struct domain *m, enum feed_state before)
{
	enum feed_state now = m->feed.state;

	if (before == FEED_DUE && now != before)
		list_del(&m->in_due);
	if (now == FEED_DUE && now != before) {
		list_add(due_list(d, m), &m->in_due);
		d->turn.more = true;
	}
	if (now != FEED_LATER)
		wake_clear(&d->wakes, &m->wake);
	else if (!m->wake.pos || m->wake.at != m->feed.at)
		wake_set(&d->wakes, &m->wake, m->feed.at);
	if (now == FEED_FULL)
		ahead_want(d, m);
}

void domain_feed(struct dispatch *d, struct domain *m, enum feed_event e, struct feed_in *in)
{
	enum feed_state before = m->feed.state;
	struct feed_in none = { 0 };

	in = in ? in : &none;
	in->mono = loop_mono(d->loop);
	in->wall = loop_wall(d->loop);
	in->longest = d->clock.due_longest;
	in->stopped = m->on_hold || m->put_off || park_has_all(d, m);
	in->room = has_room(d, m);
	feed_step(&m->feed, e, in);
	keep_state(d, m, before);
}

void domain_due(struct dispatch *d, struct domain *m, ms_t due)
{
	domain_feed(d, m, FEED_ON_MAIL, &(struct feed_in){ .due = due });
}

void domain_touch(struct dispatch *d, struct domain *m)
{
	if (!m->in_memory)
		m->idle_since = loop_mono(d->loop);
	if (feed_waits_for_room(&m->feed))
		domain_feed(d, m, FEED_ON_LEFT, NULL);
}

bool domain_empty(const struct domain *m)
{
	return !m->in_memory && !m->feed.next && !m->parking.nparked;
}

static bool flow_idle(const struct flow *f)
{
	return !f->match.nready && !f->match.opening && !f->works;
}

static void flow_free(struct dispatch *d, struct flow *f)
{
	match_flow_deinit(&d->match, &f->match);
	HASH_DEL(d->flows, f);
	party_unref(d, f->party);
	free(f);
}

static void free_idle_flows(struct dispatch *d, struct domain *m)
{
	struct flow **p = &m->flows;

	while (*p) {
		struct flow *f = *p;

		if (!flow_idle(f)) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		flow_free(d, f);
	}
}

/* A flow for each sender of a busy domain: those that are empty do not wait until all are. */
void flows_sweep(struct dispatch *d)
{
	struct domain *m, *next;

	if (HASH_COUNT(d->flows) < 2 * d->flows_kept + FLOWS_MIN)
		return;
	HASH_ITER (hh, d->domains, m, next)
		free_idle_flows(d, m);
	d->flows_kept = HASH_COUNT(d->flows);
}

static bool flows_idle(const struct domain *m)
{
	for (const struct flow *f = m->flows; f; f = f->next)
		if (!flow_idle(f))
			return false;
	return true;
}

static void domain_free(struct dispatch *d, struct domain *m)
{
	while (m->flows) {
		struct flow *f = m->flows;

		m->flows = f->next;
		flow_free(d, f);
	}
	route_drop(d, m);
	parking_deinit(&d->waits, &m->parking);
	wake_clear(&d->wakes, &m->wake);
	wake_clear(&d->wakes, &m->route_wake);
	list_del(&m->in_due);
	list_del(&m->in_asked);
	list_del(&m->in_ahead);
	HASH_DEL(d->domains, m);
	free(m->failure);
	free(m);
}

/* Takes back what quiet domains hold; those with mail for later keep their name and time only. */
void domain_sweep(struct dispatch *d)
{
	ms_t before = loop_mono(d->loop) - IDLE_KEPT;
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		if (feed_waits_for_room(&m->feed)) /* as when it was left to that; ahead.c, too */
			domain_feed(d, m, FEED_ON_LEFT, NULL);
		if (m->in_memory || feed_reading(&m->feed) || m->asked || m->idle_since > before ||
			!flows_idle(m))
			continue;
		if (domain_empty(m)) {
			domain_free(d, m);
			continue;
		}
		while (m->flows) {
			struct flow *f = m->flows;

			m->flows = f->next;
			flow_free(d, f);
		}
		route_drop(d, m);
	}
}

void domains_free(struct dispatch *d)
{
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next)
		domain_free(d, m);
}

/* ---- flows ---- */

/* From domain to aside, as they lie in a flow. */
#define FLOW_KEY_N (offsetof(struct flow, next) - offsetof(struct flow, domain))

static void flow_key(struct flow *ret, struct domain *m, const struct flow_kind *k)
{
	memset(ret, 0, sizeof(*ret)); /* also what lies between */
	ret->domain = m;
	ret->pool = k->pool;
	ret->party = k->party;
	ret->diverted = k->diverted;
	ret->aside = k->aside;
}

struct flow *flow_find(struct dispatch *d, struct domain *m, const struct flow_kind *k)
{
	struct flow key, *f;

	flow_key(&key, m, k);
	HASH_FIND(hh, d->flows, &key.domain, FLOW_KEY_N, f);
	return f;
}

struct flow *flow_get(struct dispatch *d, struct domain *m, const struct flow_kind *k)
{
	struct flow *f = flow_find(d, m, k);

	if (f)
		return f;
	if (!places_reserve(&d->match.places, HASH_COUNT(d->flows) + 1))
		return NULL;
	f = malloc(sizeof(*f));
	if (!f)
		return NULL;
	flow_key(f, m, k);
	HASH_ADD(hh, d->flows, domain, FLOW_KEY_N, f);
	if (!f->hh.tbl) {
		free(f);
		return NULL;
	}
	party_ref(f->party);
	match_flow_init(&f->match, &m->match);
	f->match.pool = f->pool;
	f->match.party = f->party;
	f->match.diverted = f->diverted;
	f->next = m->flows;
	m->flows = f;
	return f;
}

void flow_push(struct dispatch *d, struct flow *f, struct work *w, bool front)
{
	if (w->flow != f) {
		if (w->flow)
			w->flow->works--;
		w->flow = f;
		f->works++;
	}
	w->connection = NULL;
	match_push(&d->match, &f->match, &w->match, front);
}

void flow_remove(struct dispatch *d, struct work *w)
{
	must(!w->connection);
	match_remove(&d->match, &w->flow->match, &w->match);
}

static void log_hold(struct dispatch *d, struct flow *f)
{
	struct work *w = container(f->match.ready.next, struct work, match.in_flow);
	struct policy_now now = now_of(d);
	struct log_attempt a = {
		.event = EVENT_HELD,
		.message = w->message,
		.item = w->items,
		.reason = hold_reason_text(f->match.waiter.reason),
		.next = f->match.waiter.until ? now.wall + (f->match.waiter.until - now.mono) : 0,
	};

	f->domain->logged = (uint8_t)f->match.waiter.reason;
	d->stats.held++;
	delivery_log(d, &a);
}

/* Caps and windows are the normal state of a busy relay: no event, only the reason in `show`. */
static bool worth_an_event(enum hold_reason r)
{
	return r != HOLD_CAP && r != HOLD_WINDOW && r != HOLD_RATE && r != HOLD_NONE;
}

/* Does it wait too long for memory? A short wait is too long only for those that have much there;
 * and for a place, which may be free any time, only when hardly any room is left. */
static bool is_put_back(const struct dispatch *d, const struct flow *f)
{
	ms_t until = f->match.waiter.until, wait = until - loop_mono(d->loop);

	if (f->aside) /* it keeps to a bound of its own */
		return false;
	if (until && wait > EVICT_WAIT && d->held.work > d->p.work_max / 8)
		return true;
	if (!party_has_much(d, f->party))
		return false;
	if (!until)
		return d->held.work > due_max(d) + (d->p.work_max - due_max(d)) / 2;
	return wait > EVICT_SHORT && d->held.work > due_max(d) / 2;
}

/* What waits long already need not fill memory up. */
void flow_crowded(struct dispatch *d, struct flow *f)
{
	if (f->match.waiter.waiting && is_put_back(d, f))
		park_flow(d, f);
}

void flow_wait_at(struct dispatch *d, struct flow *f, const struct policy_choice *why)
{
	enum hold_reason reason = why->reason;

	waiter_wait(&d->match.places, &f->match.waiter, why, party_has_much(d, f->party),
		loop_mono(d->loop));
	if (reason == HOLD_WARMUP)
		f->domain->warmup_pool = f->pool;
	if (f->match.nready && worth_an_event(reason) && f->domain->logged != reason)
		log_hold(d, f);
	if (f->match.nready && is_put_back(d, f))
		park_flow(d, f);
}

void flow_wait(struct dispatch *d, struct flow *f, enum hold_reason reason, ms_t until)
{
	const struct policy_choice why = { .reason = reason, .until = until };

	flow_wait_at(d, f, &why);
}

void flow_wait_over(struct dispatch *d, struct flow *f)
{
	waiter_over(&d->match.places, &f->match.waiter);
}

/* The hosts that mail may go to now. Where some are left alone for a while, they are looked at
 * again when what failed in the cycle is. */
void flow_link(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;

	if (match_link(&d->match, now_of(d), &f->match) && !m->failed_at)
		m->failed_at = loop_mono(d->loop);
}

/* Mail for a receiver that is slow waits for places there, and could fill memory up for long: when
 * other mail cannot be read for it, some of that which has most is put back. */
void flows_make_room(struct dispatch *d)
{
	const uint32_t enough = d->held.work - due_max(d) / 4;
	struct list *next;

	if ((list_empty(&d->reads.due) && list_empty(&d->reads.due_new)) ||
		d->held.work + d->reads.reserved < due_max(d))
		return;
	for (struct list *l = d->match.places.much.prev;
		l != &d->match.places.much && d->held.work > enough; l = next) {
		struct flow *f = container(l, struct flow, match.waiter.in_places);

		next = l->prev;
		if (!f->diverted && f->match.nready && party_has_much(d, f->party))
			park_flow(d, f);
	}
}

void flows_wake(struct dispatch *d)
{
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		for (struct flow *f = m->flows; f; f = f->next) {
			enum hold_reason r = f->match.waiter.reason;

			if (r != HOLD_CAP && r != HOLD_RATE && r != HOLD_DNS)
				flow_wait_over(d, f);
		}
	}
	park_wake(d);
}
