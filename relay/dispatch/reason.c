/* Why something waits, and until when: of a recipient, from memory when it is in work, else from its
 * record; and of a domain. Asked by operators' commands, on the dispatcher's thread. */
#include <inttypes.h>
#include <stdio.h>

#include "domain.h"
#include "hold.h"
#include "item.h"
#include "orders.h"
#include "pool.h"
#include "postern/foreign.h"
#include "recall.h"
#include "settle.h"

#define HELD_MESSAGE "held by the operator until it is released"
#define HELD_DOMAIN  "held by the operator until it is released, with what comes"

static ms_t wall_of(const struct dispatch *d, ms_t mono)
{
	return mono ? loop_wall(d->loop) + (mono - loop_mono(d->loop)) : 0;
}

/* What waits for a place is looked at again at the latest then. */
static ms_t flow_until(const struct dispatch *d, const struct flow *f)
{
	const struct waiter *w = &f->match.waiter;
	bool place = w->reason == HOLD_CAP || w->reason == HOLD_WINDOW;

	return wall_of(d, !w->until && place && w->wake.pos ? w->wake.at : w->until);
}

static void flow_reason(
	const struct dispatch *d, const struct flow *f, char *reason, size_t max, ms_t *until)
{
	const struct waiter *w = &f->match.waiter;

	if (w->waiting) {
		const char *limit = policy_limit_text(w->limit);
		bool local = w->where[0] && w->limit != LIMIT_PROVIDER &&
			     (limit[0] || w->reason == HOLD_RESTING);

		snprintf(reason, max, "%s%s%s%s%s", hold_reason_text(w->reason),
			limit[0] ? ": " : "", limit, local ? " at " : "", local ? w->where : "");
		*until = flow_until(d, f);
	} else if (!f->domain->route && f->domain->asked) {
		snprintf(reason, max, "waiting for DNS");
	} else if (f->match.opening) {
		snprintf(reason, max, "connecting");
	} else {
		snprintf(reason, max, "ready");
	}
}

/* Of that pool, if one does; else of any. */
static const struct flow *waiting_flow(const struct domain *m, const char *pool)
{
	const struct flow *any = NULL;

	for (const struct flow *f = m->flows; f; f = f->next) {
		if (f->match.waiter.waiting && !strcmp(f->pool->name, pool))
			return f;
		if (f->match.waiter.waiting && !any)
			any = f;
	}
	return any;
}

void dispatch_provider(struct dispatch *d, const char *domain, char *out, size_t max)
{
	const struct domain *m = domain_find(d, domain);

	snprintf(out, max, "%s", m && m->nhosts ? provider_of(d, m->provider)->name : "");
}

uint32_t dispatch_order_of(struct dispatch *d, const struct message *m, uint32_t k)
{
	const struct order *o = order_of(d, m, &m->recipients[k]);

	return o ? o->number : 0;
}

static void order_reason(const struct order *o, char *reason, size_t max, ms_t *until)
{
	snprintf(reason, max, "held by order %" PRIu32 "%s%s%s%s", o->number,
		o->who[0] ? " of " : "", o->who, o->reason[0] ? ": " : "", o->reason);
	foreign_end(reason);
	*until = o->until;
}

void dispatch_reason(struct dispatch *d, const struct message *msg, uint32_t k,
	const struct queue_rcpt_state *s, char *reason, size_t reason_max, ms_t *until)
{
	const struct recipient *r = &msg->recipients[k];
	const char *pool = msg->pool;
	struct item *i = item_find(d, msg->id, r->index);
	ms_t wall = loop_wall(d->loop);
	struct wait_for parked;
	const struct order *o;
	const struct flow *f;
	struct domain *m;

	*until = 0;
	if (i && i->settle) {
		snprintf(reason, reason_max,
			i->settle->stalled ? "outcome cannot be recorded yet" : "being recorded");
		return;
	}
	if (i && i->work && i->work->connection) {
		snprintf(reason, reason_max, "being delivered to %s[%s]",
			i->work->connection->host_name, i->work->connection->host->text);
		return;
	}
	if (i && i->work) {
		flow_reason(d, i->work->flow, reason, reason_max, until);
		return;
	}
	m = domain_find(d, r->domain);
	if (msg->flags & MESSAGE_HELD) {
		snprintf(reason, reason_max, HELD_MESSAGE);
	} else if ((o = order_of(d, msg, r))) {
		order_reason(o, reason, reason_max, until);
	} else if (s->flags & RCPT_STATE_HELD) {
		snprintf(reason, reason_max, "being let go: its order has ended");
	} else if (hold_is_set(d, r->domain)) {
		snprintf(reason, reason_max, HELD_DOMAIN);
	} else if (s->due > wall && m && recall_concerns(m, s->last_attempt)) {
		snprintf(reason, reason_max,
			"to be tried now, as the operator asked; in line behind other messages");
	} else if (s->due > wall && s->attempts) {
		snprintf(reason, reason_max, "backing off after: %s",
			s->reply ? s->reply : "a failed attempt");
		foreign_end(reason);
		*until = s->due;
	} else if (s->due > wall) {
		snprintf(reason, reason_max, "held: %s", s->reply ? s->reply : "not due yet");
		foreign_end(reason);
		*until = s->due;
	} else if (m && wait_tell(&m->parking, pool_get(d, pool), &parked)) {
		snprintf(reason, reason_max, "%s", hold_reason_text(parked.reason));
		*until = wall_of(d, parked.until);
	} else if (m && (f = waiting_flow(m, pool))) {
		flow_reason(d, f, reason, reason_max, until);
	} else {
		snprintf(reason, reason_max, "in line behind other messages of this domain");
	}
}

static void domain_info(
	const struct dispatch *d, const struct domain *m, struct dispatch_domain_info *ret)
{
	struct wait_for parked;

	*ret = (struct dispatch_domain_info){
		.domain = m->name,
		.provider = m->nhosts ? provider_of(d, m->provider)->name : "",
		.in_flight = m->match.in_flight,
		.next_due = m->recalled ? loop_wall(d->loop) : m->feed.next,
		.reason = "",
	};
	for (const struct flow *f = m->flows; f; f = f->next) {
		for (const struct list *l = f->match.ready.next; l != &f->match.ready; l = l->next)
			ret->ready += container(l, struct work, match.in_flow)->n;
		if (f->match.nready && f->match.waiter.waiting) {
			ret->reason = hold_reason_text(f->match.waiter.reason);
			ret->until = flow_until(d, f);
		}
	}
	if (m->on_hold)
		ret->reason = HELD_DOMAIN;
	if (!ret->reason[0] && wait_tell(&m->parking, NULL, &parked)) {
		ret->reason = hold_reason_text(parked.reason);
		ret->until = wall_of(d, parked.until);
	}
	if (!ret->reason[0] && m->asked && !m->route && m->in_memory)
		ret->reason = hold_reason_text(HOLD_DNS);
}

struct telling {
	struct dispatch *d;
	void (*fn)(void *arg, const struct dispatch_domain_info *i);
	void *arg;
};

/* A hold without mail is to be seen, too. */
static void tell_hold(void *arg, const char *domain)
{
	const struct telling *t = arg;
	const struct domain *m = domain_find(t->d, domain);
	const struct dispatch_domain_info info = {
		.domain = domain, .provider = "", .reason = HELD_DOMAIN, .held = true
	};

	if (!m || domain_empty(m))
		t->fn(t->arg, &info);
}

void dispatch_domains(
	struct dispatch *d, void (*fn)(void *arg, const struct dispatch_domain_info *i), void *arg)
{
	struct telling t = { d, fn, arg };
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		struct dispatch_domain_info info;

		if (domain_empty(m))
			continue;
		domain_info(d, m, &info);
		info.held = m->on_hold;
		fn(arg, &info);
	}
	holds_each(d, tell_hold, &t);
}
