/* Flows that wait: for a place, for a time, for something of the policy to end. What waits long while
 * memory is scarce is put back into the queue (park.c). Called by whoever finds out that a flow
 * has to wait (assign.c, aside.c, connection.c, host.c), by intake.c and by the turn, on the
 * dispatcher's thread. Who waits for the same place, and who looks next: relay/sched/places.c. */
#include "waiting.h"

#include "delivery_log.h"
#include "flow.h"
#include "item.h"
#include "park.h"
#include "party.h"

#define EVICT_SHORT 500 /* ms; shorter waits are waited in memory even when that is half full */

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
	if (until && wait_is_long(wait, d->held.work, d->p.work_max))
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

static void put_back(struct dispatch *d, struct list *much, uint32_t enough)
{
	struct list *next;

	for (struct list *l = much->prev; l != much && d->held.work > enough; l = next) {
		struct flow *f = container(l, struct flow, match.waiter.in_places);

		next = l->prev;
		if (!f->diverted && f->match.nready && party_has_much(d, f->party))
			park_flow(d, f);
	}
}

/* Mail for a receiver that is slow waits for places there, and could fill memory up for long: when
 * other mail cannot be read for it, some of that which has most is put back; of lower ranks first. */
void flows_make_room(struct dispatch *d)
{
	const uint32_t enough = d->held.work - due_max(d) / 4;

	if ((list_empty(&d->reads.due) && list_empty(&d->reads.due_new)) ||
		d->held.work + d->reads.reserved < due_max(d))
		return;
	for (unsigned i = RANKS; i-- > 0;)
		put_back(d, &d->match.places.of[i].much, enough);
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

void work_place(struct dispatch *d, struct work *w, struct domain *m)
{
	struct party *p = party_get(d, w->message);
	const struct flow_kind k = {
		.pool = p ? party_pool(p) : NULL, .party = p, .diverted = w->match.tried.n > 0
	};
	struct flow *f = p ? flow_get(d, m, &k) : NULL;

	party_charge(d, p, w);
	party_unref(d, p); /* the flow and the items have it */
	if (!f) {
		work_drop(d, w);
		return;
	}
	flow_push(d, f, w, false);
	flow_crowded(d, f);
}
