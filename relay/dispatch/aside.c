/* Works whose sender's domain is refused where they are to go (the policy says which). They are set
 * aside in a flow of their own, by recipient domain and pool, so that other mail for the same
 * receiver goes on; from there they go back into the ordinary flow when the sender is held no
 * longer, and one at a time while that is to be found out.
 *
 * Few of a domain are kept in memory, since they keep its queue from being read; the others wait in
 * the queue alone, for minutes at a time. Called by assign.c, on the dispatcher's thread. */
#include "dispatcher.h"

#define PART	  8u	/* of the window and of memory that such work may take */
#define QUEUE_MIN 60000 /* ms; in the queue alone, until it is looked at again */
#define QUEUE_MAX 600000

static struct flow *aside_get(struct dispatch *d, struct flow *f)
{
	const struct flow_kind k = { .pool = f->pool, .aside = true };

	return flow_get(d, f->domain, &k);
}

void aside_take(struct dispatch *d, struct flow *f, struct work *w, ms_t until)
{
	struct flow *a = aside_get(d, f);
	ms_t wait = until - loop_mono(d->loop);

	flow_remove(d, w);
	if (!a || a->nready >= d->p.window / PART || d->work > d->p.work_max / PART) {
		wait = wait < QUEUE_MIN ? QUEUE_MIN : wait > QUEUE_MAX ? QUEUE_MAX : wait;
		result_waits(d, w, wait);
		return;
	}
	flow_push(d, a, w, false);
	if (!a->waiter.waiting || until < a->waiter.until)
		flow_wait(d, a, HOLD_SENDER, until);
}

void aside_look(struct dispatch *d, struct flow *a)
{
	struct list *l, *next;
	bool asked = false; /* one that may find out is on its way */
	ms_t first = 0;

	if (a->waiter.waiting)
		return;
	for (l = a->ready.next; l != &a->ready; l = next) {
		struct work *w = container(l, struct work, in_flow);
		const struct flow_kind k = { .pool = a->pool, .party = w->items->party };
		struct policy_want want;
		enum sender_state state;
		struct flow *f;
		ms_t until;

		next = l->next;
		want_of(a, w, &want);
		state = policy_sender(d->policy, now_of(d), &want, &until);
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
	if (a->nready)
		flow_wait(d, a, HOLD_SENDER, first ? first : loop_mono(d->loop) + 1000);
}
