/* What comes in: fresh messages after their commit, and due ones in readings of the queue. Called
 * by dispatch.c with what its mailboxes have, on the dispatcher's thread. What finds no room stays
 * in the queue alone, and its domain is told that it has mail. */
#include "intake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ahead.h"
#include "clock_step.h"
#include "delivery_log.h"
#include "domain.h"
#include "expire.h"
#include "fair.h"
#include "flow.h"
#include "item.h"
#include "lifetime.h"
#include "orders.h"
#include "park.h"
#include "party.h"
#include "pool.h"
#include "postern/must.h"
#include "reader.h"
#include "recall.h"
#include "settle.h"
#include "unrouted.h"
#include "waiting.h"

#define WINDOW_READ 100u /* entries in one reading */
#define PROBE_READ  4u	 /* the same, of a domain whose mail may not get anywhere */
#define LOOK_READ   50u	 /* the same, of one that has mail for pools that wait, too */
#define LOOK_PAUSE  20	 /* ms; after a reading of such that brought nothing */

#define SAME_MAX 4u /* attempts after which it need not be the same source any more */

/* ---- fresh ---- */

/* Settled as held: out of the index, until the order ends. */
static void hold_item(struct dispatch *d, struct message *m, struct item *i, const struct order *o,
	struct item **list)
{
	struct log_attempt a = { .event = EVENT_HELD, .message = m, .item = i };
	char reason[48];

	snprintf(reason, sizeof(reason), "order %" PRIu32, o->number);
	a.reason = reason;
	i->end = END_HELD;
	delivery_log(d, &a);
	i->next = *list;
	*list = i;
}

/* Recipients of one domain need not be neighbours: those of one message are gone through once for
 * each of its domains, and the first of a domain takes the others along. */
static void fresh_domain(struct dispatch *d, struct message *msg, uint32_t first, struct domain *m,
	const struct party *p)
{
	const char *name = msg->recipients[first].domain;
	struct work *w = NULL;
	struct item *last = NULL, *held = NULL;

	for (uint32_t k = first; k < msg->nrecipients; k++) {
		const struct recipient *r = &msg->recipients[k];
		const struct order *o;
		struct item *i;

		if (k != first && (r->domain != name && strcmp(r->domain, name)))
			continue;
		if (item_find(d, msg->id, r->index))
			continue;
		o = order_of(d, msg, r);
		if (o) {
			i = fair_room(d, m, p) ? item_new(d, m, msg->id, r, false, msg->first_due)
					       : NULL;
			if (i)
				hold_item(d, msg, i, o, &held);
			else
				domain_due(d, m, msg->first_due);
			continue;
		}
		if (!w || w->n >= INTAKE_GROUP) {
			if (w)
				work_place(d, w, m);
			w = fair_room(d, m, p) ? work_new(msg) : NULL;
		}
		i = w ? item_new(d, m, msg->id, r, false, msg->first_due) : NULL;
		if (!i) {
			domain_due(d, m, msg->first_due);
			break; /* this one and those behind it are read later */
		}
		work_add(w, &last, i);
	}
	if (w && w->n)
		work_place(d, w, m);
	else if (w)
		work_free(w);
	if (held)
		settle_items(d, msg, held);
}

static bool seen_before(const struct message *msg, uint32_t k)
{
	/* neighbours mostly; a search back over all would be quadratic for a long list */
	for (uint32_t n = 1; n <= 8 && n <= k; n++)
		if (!strcmp(msg->recipients[k].domain, msg->recipients[k - n].domain))
			return true;
	return false;
}

/* Mail of its pool for the domain is parked, and it is read together with that; but for a place
 * those wait apart that have little. */
static bool joins_parked(struct dispatch *d, const struct domain *m, const struct party *p)
{
	struct wait_for f;

	if (!m->parking.nparked || !wait_tell(&m->parking, party_pool(p), &f))
		return false;
	return party_has_much(d, p) ||
	       (f.reason != HOLD_CAP && f.reason != HOLD_WINDOW && f.reason != HOLD_RATE);
}

static void fresh(struct dispatch *d, struct message *msg)
{
	struct party *p = party_get(d, msg);
	/* No memory for the body, or work stopped: it is in the index, and comes with its turn.
	 * Part of the memory is left to what comes in: waiting mail must not stop it. */
	bool later = (msg->flags & MESSAGE_HELD) || d->match.draining || !p ||
		     (msg->body && body_memory() > fair_body_max(d, p));

	for (uint32_t k = 0; k < msg->nrecipients; k++) {
		struct domain *m;

		if (k && seen_before(msg, k))
			continue;
		m = domain_get(d, msg->recipients[k].domain);
		if (!m) {
			d->reads.missed = true; /* the index is gone through again */
			continue;
		}
		if (p && joins_parked(d, m, p)) {
			park_joined(d, m, p, msg);
			continue;
		}
		if (later || m->on_hold || msg->first_due > loop_wall(d->loop) + 1000)
			domain_due(d, m, msg->first_due);
		else
			fresh_domain(d, msg, k, m, p);
	}
	party_unref(d, p);
}

void intake_fresh(void *arg, struct mpsc_node *first)
{
	struct dispatch *d = arg;

	while (first) {
		struct message *m = container(first, struct message, fresh_node);

		first = first->next;
		fresh(d, m);
		message_unref(m);
	}
}

/* ---- due ---- */

struct grouping {
	struct domain *m;
	struct work *work;
	struct item *last;
};

static void group_end(struct dispatch *d, struct grouping *g)
{
	if (g->work)
		work_place(d, g->work, g->m);
	g->work = NULL;
}

static bool joins(const struct grouping *g, const struct queue_due *q)
{
	return g->work && g->work->message == q->message && g->work->n < INTAKE_GROUP &&
	       !((g->last->flags | q->state.flags) & RCPT_STATE_SPLIT);
}

/* A receiver that greylists knows sender, recipient and the address that it saw them from: the next
 * attempts leave from there. Some only, for what nobody is blamed for may be the source's fault all
 * the same. The queue's record says where the last attempt left from: this survives a restart. */
static uint16_t same_again(const struct dispatch *d, const struct item *i)
{
	if (i->verdict != VERDICT_TRANSIENT_OTHER || i->code / 100 != 4 || !i->attempts ||
		i->attempts > SAME_MAX || !i->source)
		return 0;
	for (unsigned k = 0; k < d->params->nsources; k++)
		if (!strcmp(d->params->sources[k].name, i->source))
			return (uint16_t)(k + 1);
	return 0;
}

/* What the domain's mail of that pool waits for, or did when that was last heard of. */
static enum hold_reason waited_for(const struct domain *m, const struct pool *pool)
{
	for (const struct flow *f = m->flows; f; f = f->next)
		if (f->pool == pool && !f->aside && f->match.waiter.waiting)
			return f->match.waiter.reason;
	return wait_known_reason(&m->parking, pool);
}

/* Read for an operator's retry, and tried since that. */
static bool too_early(const struct dispatch *d, const struct domain *m, const struct queue_due *q)
{
	return m->recalled && q->due > loop_wall(d->loop) &&
	       !recall_concerns(m, q->state.last_attempt);
}

/* It is over; or its sender is told of the delay, and it waits on, since it was read for that. */
static bool ends(struct dispatch *d, struct domain *m, struct message *msg, struct item *i)
{
	struct pool *pool = pool_get(d, msg->pool);
	bool over = lifetime_over(d, msg, i);

	if (!over && !(wait_looks(&m->parking, pool) && lifetime_notice(d, msg, i)))
		return false;
	i->waited = (uint8_t)waited_for(m, pool);
	if (over)
		settle_expire(d, msg, i);
	else
		settle_defer(d, msg, i, 0);
	settle_items(d, msg, i);
	return true;
}

static void take_due(struct dispatch *d, struct grouping *g, const struct queue_due *q)
{
	struct item *i, *held = NULL;
	const struct order *o;
	uint16_t prefer;

	if (too_early(d, g->m, q)) {
		domain_due(d, g->m, q->due);
		return;
	}
	i = item_new(d, g->m, q->id, &q->recipient, true, q->due);
	if (!i) {
		domain_due(d, g->m, q->due);
		return;
	}
	item_state(i, &q->state);
	clock_restamp(d, q->message);
	o = order_of(d, q->message, &q->recipient);
	if (o) {
		hold_item(d, q->message, i, o, &held);
		settle_items(d, q->message, held);
		return;
	}
	if (ends(d, g->m, q->message, i))
		return;
	prefer = same_again(d, i);
	if (!joins(g, q) || g->work->match.tried.prefer != prefer) {
		group_end(d, g);
		g->work = work_new(q->message);
		if (!g->work) {
			item_drop(d, i);
			domain_due(d, g->m, q->due);
			return;
		}
		g->work->match.tried.prefer = prefer;
	}
	work_add(g->work, &g->last, i);
}

/* False: nothing can be asked now. */
static bool ask_window(struct dispatch *d, struct domain *m)
{
	const uint32_t most = m->parking.nparked || wait_looks(&m->parking, NULL) ? LOOK_READ
			      : domain_probing(m)				  ? PROBE_READ
										  : WINDOW_READ;
	uint32_t limit, room = fair_due_max(d, m) - d->held.work - d->reads.reserved;

	if (m->in_memory - m->gathered >= d->p.window) { /* fresh mail was faster */
		domain_feed(d, m, FEED_ON_NO_ROOM, NULL);
		return true;
	}
	limit = d->p.window - (m->in_memory - m->gathered);
	if (limit > room)
		limit = room;
	if (limit > most)
		limit = most;
	if (!reader_ask(d, m, limit)) {
		domain_feed(d, m, FEED_ON_NO_MEMORY, NULL);
		return false;
	}
	return true;
}

static void take_window(struct dispatch *d, struct domain *m, struct queue_reading *w)
{
	struct grouping g = { .m = m };

	for (uint32_t k = 0; k < w->n; k++)
		/* came in, or left, while it was being read */
		if (!item_seen(d, w->items[k].id, w->items[k].index))
			take_due(d, &g, &w->items[k]);
	group_end(d, &g);
}

static struct feed_place place_of(struct queue_place p)
{
	return (struct feed_place){ .due = p.due, .id = p.id, .index = p.index };
}

/* The pass of an operator's retry, so far. */
static void recall_looked(struct domain *m, uint32_t n)
{
	if (!m->recalled || m->feed.kind != FEED_FAR)
		return;
	m->recall_left -= n < m->recall_left ? n : m->recall_left;
	if (!m->recall_left)
		m->feed.far = (struct feed_place){ 0 };
	if (!m->feed.far.id)
		m->recalled = 0;
}

static void take_reading(struct dispatch *d, struct reading *r)
{
	struct queue_reading *w = &r->window;
	struct domain *m = r->domain;
	bool used = !r->result && m->feed.state == FEED_READING && !d->match.draining;
	struct feed_in in = {
		.last = place_of(w->last),
		.some_parked = r->nwithout > 0,
		.more = w->more,
		.next_due = w->next_due,
		.use = r->result ? FEED_FAILED
		       : used	 ? FEED_USED
				 : FEED_UNUSED,
		/* much may have to be gone through to find what may go: not in one go */
		.pause = used && r->nwithout && w->more && !w->n ? LOOK_PAUSE : 0,
	};

	if (r->result)
		log_event(d->log, LOG_ERR, EVENT_QUEUE_READ_FAILED,
			"due messages of %s cannot be read: %s", m->name, strerror(-r->result));
	if (used) {
		domain_feed(d, m, FEED_ON_FOUND, &in);
		take_window(d, m, w);
		recall_looked(m, w->n);
	}
	if (m->feed.kind == FEED_BEHIND)
		ahead_taken(d);
	domain_touch(d, m);
	domain_feed(d, m, FEED_ON_DONE, &in);
	reader_done(d, r);
}

void intake_readings(void *arg, struct mpsc_node *first)
{
	struct dispatch *d = arg;

	while (first) {
		struct reading *r = container(first, struct reading, node);

		first = first->next;
		take_reading(d, r);
	}
}

/* In turn with those of which nobody knows whether they can go. */
static struct domain *next_due(struct dispatch *d)
{
	struct domain *m = d->reads.due_turn % 2 ? unrouted_next(d) : fair_due(d);

	if (m)
		return m;
	return d->reads.due_turn % 2 ? fair_due(d) : unrouted_next(d);
}

void intake_due(struct dispatch *d)
{
	struct domain *m;

	/* who cannot be read now is read when answers or readings come */
	while (reader_room(d->reads.reader) && (m = next_due(d))) {
		if (d->match.draining || d->match.stalled)
			return;
		d->reads.due_turn++;
		if (!ask_window(d, m))
			return;
	}
}

struct start {
	struct dispatch *d;
	int r;
};

static int start_domain(void *arg, const char *name, ms_t due)
{
	struct start *s = arg;
	struct domain *m = domain_get(s->d, name);

	if (!m) {
		s->r = -ENOMEM;
		return 1;
	}
	domain_due(s->d, m, due);
	return 0;
}

int intake_start(struct dispatch *d)
{
	struct start s = { .d = d };
	int r = queue_domains(d->queue, start_domain, &s);

	return r ? r : s.r;
}

/* ---- what waits for long ---- */

static bool all_given_up(const struct dispatch *d, const struct work *w)
{
	for (const struct item *i = w->items; i; i = i->next)
		if (!lifetime_over(d, w->message, i))
			return false;
	return true;
}

static enum hold_reason flow_waits_for(const struct flow *f)
{
	return f->aside ? f->aside : f->match.waiter.waiting ? f->match.waiter.reason : HOLD_NONE;
}

void flow_age(struct dispatch *d, struct flow *f)
{
	/* before it stops waiting, with the last that goes */
	enum hold_reason waits_for = flow_waits_for(f);
	struct list *l, *next;

	for (l = f->match.ready.next; l != &f->match.ready; l = next) {
		struct work *w = container(l, struct work, match.in_flow);
		bool expired = all_given_up(d, w);
		bool notice = !expired && lifetime_notice(d, w->message, w->items);

		next = l->next;
		if (!expired && !notice)
			continue;
		flow_remove(d, w);
		for (struct item *i = w->items; i; i = i->next) {
			i->waited = (uint8_t)waits_for;
			if (expired)
				settle_expire(d, w->message, i);
			else
				settle_defer(d, w->message, i, 0);
		}
		settle_items(d, w->message, w->items);
		w->items = NULL;
		work_free(w);
	}
}
