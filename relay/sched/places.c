/* Who waits for a place: see the header. Called by relay/dispatch/flow.c and waiting.c,
 * relay/rehearse/flow.c and the tests' model. */
#include "postern/places.h"

#include <string.h>

#define LOOK	   60000 /* ms; a wait is looked at as often: for expiry and delay notices */
#define MUCH_EVERY 4u	 /* one of so many places is for those that have much waiting */
#define LONGEST	   32u	 /* flows that wait for a place, looked at when one is free */

void places_init(struct places *ps)
{
	*ps = (struct places){ 0 };
	for (unsigned i = 0; i < RANKS; i++) {
		list_init(&ps->of[i].asking);
		list_init(&ps->of[i].few);
		list_init(&ps->of[i].much);
	}
}

void places_deinit(struct places *ps)
{
	wake_heap_deinit(&ps->wakes);
}

bool places_reserve(struct places *ps, uint32_t waiters)
{
	return wake_reserve(&ps->wakes, waiters);
}

void waiter_init(struct waiter *w)
{
	*w = (struct waiter){ .rank = RANK_NORMAL };
	list_init(&w->in_asking);
	list_init(&w->in_places);
}

void waiter_deinit(struct places *ps, struct waiter *w)
{
	wake_clear(&ps->wakes, &w->wake);
	list_del(&w->in_asking);
	list_del(&w->in_places);
}

void waiter_ask(struct places *ps, struct waiter *w)
{
	struct list *asking = &ps->of[w->rank].asking;

	if (w->asking)
		return;
	if (list_empty(asking))
		ranks_join(&ps->ranks, w->rank);
	w->asking = true;
	list_add(asking, &w->in_asking);
}

static unsigned ranks_asking(const struct places *ps)
{
	unsigned ret = 0;

	for (unsigned i = 0; i < RANKS; i++)
		if (!list_empty(&ps->of[i].asking))
			ret |= 1u << i;
	return ret;
}

bool places_any_asking(const struct places *ps)
{
	return ranks_asking(ps);
}

struct waiter *places_asking(struct places *ps)
{
	unsigned ranks = ranks_asking(ps);
	struct waiter *w;

	if (!ranks)
		return NULL;
	w = container(ps->of[ranks_next(&ps->ranks, ranks)].asking.next, struct waiter, in_asking);
	list_del(&w->in_asking);
	w->asking = false;
	return w;
}

void waiter_took(struct places *ps, const struct waiter *w)
{
	ranks_took(&ps->ranks, w->rank);
}

void waiter_rank(struct places *ps, struct waiter *w, unsigned rank)
{
	bool asks = w->asking;

	if (w->rank == rank)
		return;
	waiter_over(ps, w);
	asks |= w->asking;
	list_del(&w->in_asking);
	w->asking = false;
	w->rank = (uint8_t)rank;
	if (asks)
		waiter_ask(ps, w);
}

void waiter_wait(
	struct places *ps, struct waiter *w, const struct policy_choice *why, bool much, ms_t now)
{
	ms_t look;

	/* asked again in between and refused again, it must not put that off each time */
	if (!w->look_at)
		w->look_at = now + LOOK;
	look = why->until && why->until < w->look_at ? why->until : w->look_at;
	if (look <= now) /* what is due is named at once; nothing wakes before now */
		look = look == w->look_at ? now : now + 1;
	w->waiting = true;
	w->reason = why->reason;
	w->until = why->until;
	w->limit = why->limit;
	w->cluster = why->cluster_id;
	memcpy(w->where, why->cluster, sizeof(w->where));
	wake_put(&ps->wakes, &w->wake, look);
	if ((!why->until || why->reason == HOLD_CAP) && !w->for_place) {
		w->for_place = true;
		list_add(much && !w->unserved ? &ps->of[w->rank].much : &ps->of[w->rank].few,
			&w->in_places);
	}
}

static void end(struct places *ps, struct waiter *w)
{
	w->waiting = w->for_place = false;
	list_del(&w->in_places);
	wake_clear(&ps->wakes, &w->wake);
}

void waiter_over(struct places *ps, struct waiter *w)
{
	if (!w->waiting)
		return;
	end(ps, w);
	waiter_ask(ps, w);
}

void waiter_stop(struct places *ps, struct waiter *w)
{
	if (!w->waiting)
		return;
	end(ps, w);
	w->reason = HOLD_NONE;
	w->look_at = 0;
}

/* Those of few mostly, longest waiting first; and always who was given way to. */
static struct list *next_list(struct places_rank *of)
{
	struct list *few = &of->few, *much = &of->much;

	if (list_empty(few))
		return much;
	if (++of->turn % MUCH_EVERY || list_empty(much) ||
		container(few->next, struct waiter, in_places)->unserved)
		return few;
	return much;
}

static void wake_longest(struct places *ps, struct list *all, const char *where)
{
	struct list *next;
	unsigned n = 0;

	for (struct list *l = all->next; l != all && n < LONGEST; l = next, n++) {
		struct waiter *w = container(l, struct waiter, in_places);

		next = l->next;
		if (!strncmp(w->where, where, sizeof(w->where)))
			waiter_over(ps, w);
	}
}

/* Which rank is to have the place is found when those that were woken look. */
void places_freed(struct places *ps, const char *where)
{
	for (unsigned i = 0; i < RANKS; i++) {
		struct places_rank *of = &ps->of[i];
		struct list *first = next_list(of);

		wake_longest(ps, first, where);
		wake_longest(ps, first == &of->much ? &of->few : &of->much, where);
	}
}

void places_freed_any(struct places *ps, unsigned n)
{
	for (unsigned i = 0; i < RANKS; i++)
		for (unsigned k = 0; k < n; k++) {
			struct list *l = next_list(&ps->of[i]);

			if (list_empty(l))
				break;
			waiter_over(ps, container(l->next, struct waiter, in_places));
		}
}

ms_t places_at(const struct places *ps)
{
	const struct wake *w = wake_first(&ps->wakes);

	return w ? w->at : 0;
}

struct waiter *places_due(struct places *ps, ms_t now)
{
	struct wake *wake = wake_first(&ps->wakes);
	struct waiter *w;

	if (!wake || wake->at > now)
		return NULL;
	wake_clear(&ps->wakes, wake);
	w = container(wake, struct waiter, wake);
	w->look_at = 0;
	return w;
}
