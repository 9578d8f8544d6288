/* Works that wait alone, while other mail for the same receiver goes on: of a sender whose domain is
 * refused there, and for a recipient that takes no more for now (the policy says which). They are
 * set aside in flows of their own, by recipient domain, pool and reason; from there they go back
 * into the ordinary flow when they are held no longer, and one at a time while that is to be found
 * out.
 *
 * Few of a domain are kept in memory, since they keep its queue from being read; the others wait in
 * the queue alone, for minutes at a time. Called by assign.c, on the dispatcher's thread. */
#include "aside.h"

#include "finding.h"
#include "flow.h"
#include "item.h"
#include "waiting.h"

#define PART	  8u	/* of the window and of memory that such work may take */
#define QUEUE_MIN 60000 /* ms; in the queue alone, until it is looked at again */
#define QUEUE_MAX 600000

static struct flow *aside_get(struct dispatch *d, struct flow *f, enum hold_reason why)
{
	const struct flow_kind k = { .pool = f->pool, .aside = why };

	return flow_get(d, f->domain, &k);
}

/* The work is in no flow. */
static void put(
	struct dispatch *d, struct flow *f, struct work *w, enum hold_reason why, ms_t until)
{
	struct flow *a = aside_get(d, f, why);
	ms_t wait = until - loop_mono(d->loop);

	if (!a || a->match.nready >= d->p.window / PART || d->held.work > d->p.work_max / PART) {
		wait = wait < QUEUE_MIN ? QUEUE_MIN : wait > QUEUE_MAX ? QUEUE_MAX : wait;
		finding_waits(d, w, wait, why);
		return;
	}
	flow_push(d, a, w, false);
	if (!a->match.waiter.waiting || until < a->match.waiter.until)
		flow_wait(d, a, why, until);
}

void aside_take(struct dispatch *d, struct flow *f, struct work *w, ms_t until)
{
	flow_remove(d, w);
	put(d, f, w, HOLD_SENDER, until);
}

static enum sender_state recipient_state(
	struct dispatch *d, struct work *w, const struct item *i, ms_t *until)
{
	w->match.tried.recipient = policy_recipient_hash(i->recipient->address);
	return policy_recipient(
		d->policy, now_of(d), w->flow->domain->provider, &w->match.tried, until);
}

/* One recipient of the work, in a work of its own. NULL: no memory, it stays. */
static struct work *taken_out(struct work *w, struct item *i, struct item **at)
{
	struct work *alone = work_new(w->message);

	if (!alone)
		return NULL;
	alone->match.tried = w->match.tried;
	*at = i->next;
	i->next = NULL;
	i->work = alone;
	alone->items = i;
	alone->n = 1;
	w->n--;
	return alone;
}

bool aside_recipients(struct dispatch *d, struct flow *f, struct work *w)
{
	struct item **at = &w->items, *i;
	ms_t until;

	while ((i = *at)) {
		struct work *alone;

		if (recipient_state(d, w, i, &until) != SENDER_HELD) {
			at = &i->next;
		} else if (w->n == 1) {
			flow_remove(d, w);
			put(d, f, w, HOLD_RECIPIENT, until);
			return false;
		} else if ((alone = taken_out(w, i, at))) {
			put(d, f, alone, HOLD_RECIPIENT, until);
		} else {
			break;
		}
	}
	return true;
}

void aside_gone(struct dispatch *d, const struct work *w)
{
	struct policy_tried tried = w->match.tried;

	for (const struct item *i = w->items; i; i = i->next) {
		tried.recipient = policy_recipient_hash(i->recipient->address);
		policy_recipient_goes(d->policy, now_of(d), w->flow->domain->provider, &tried);
	}
}

static enum sender_state state_of(
	struct dispatch *d, const struct flow *a, struct work *w, ms_t *until)
{
	struct policy_want want;

	if (a->aside == HOLD_RECIPIENT)
		return recipient_state(d, w, w->items, until);
	want_of(a, w, &want);
	return policy_sender(d->policy, now_of(d), &want, until);
}

void aside_look(struct dispatch *d, struct flow *a)
{
	struct list *l, *next;
	bool asked = false; /* one that may find out is on its way */
	ms_t first = 0;

	if (a->match.waiter.waiting)
		return;
	for (l = a->match.ready.next; l != &a->match.ready; l = next) {
		struct work *w = container(l, struct work, match.in_flow);
		const struct flow_kind k = { .pool = a->pool, .party = w->items->party };
		enum sender_state state;
		struct flow *f;
		ms_t until;

		next = l->next;
		state = state_of(d, a, w, &until);
		if (state == SENDER_HELD || (state == SENDER_DUE && asked)) {
			first = !first || until < first ? until : first;
			continue;
		}
		f = flow_get(d, a->domain, &k);
		if (!f)
			break;
		asked |= state == SENDER_DUE;
		flow_remove(d, w);
		flow_push(d, f, w, false);
	}
	if (a->match.nready)
		flow_wait(d, a, a->aside, first ? first : loop_mono(d->loop) + 1000);
}
