/* The timer wheel: arming and disarming touch two list links; one uv_timer ticks while any is
 * armed. On the loop's thread. A callback may arm and disarm any timer, its own too. */
#include "loop_private.h"

#include "postern/must.h"

static void list_init(struct loop_timer *head)
{
	head->prev = head->next = head;
}

static void list_unlink(struct loop_timer *t)
{
	t->prev->next = t->next;
	t->next->prev = t->prev;
	t->prev = t->next = NULL;
}

static void list_append(struct loop_timer *head, struct loop_timer *t)
{
	t->prev = head->prev;
	t->next = head;
	head->prev->next = t;
	head->prev = t;
}

/* The tick at which a time has passed: rounded up, so that a timer never fires early. */
static uint64_t tick_after(ms_t at)
{
	return ((uint64_t)at + WHEEL_SLOT_MS - 1) / WHEEL_SLOT_MS;
}

/* Takes the due timers of one slot out first: what their callbacks arm or disarm then touches
 * either list without confusing the walk. */
static void fire_slot(struct loop *l, struct loop_timer *slot, uint64_t now_tick)
{
	struct loop_timer due, *t, *next;

	list_init(&due);
	for (t = slot->next; t != slot; t = next) {
		next = t->next;
		if (tick_after(t->at) <= now_tick) {
			list_unlink(t);
			list_append(&due, t);
		}
	}
	while (due.next != &due) {
		t = due.next;
		list_unlink(t);
		t->at = 0;
		l->wheel.armed--;
		t->fn(t->arg);
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct loop *l = timer->data;
	struct wheel *w = &l->wheel;
	uint64_t now_tick = (uint64_t)loop_mono(l) / WHEEL_SLOT_MS;

	/* after a long stall one turn visits all slots */
	if (now_tick > w->tick + WHEEL_SLOTS)
		w->tick = now_tick - WHEEL_SLOTS;
	while (w->tick < now_tick) {
		w->tick++;
		fire_slot(l, &w->slots[w->tick % WHEEL_SLOTS], now_tick);
	}
	if (w->armed == 0)
		uv_timer_stop(timer);
}

void wheel_init(struct loop *l)
{
	for (unsigned i = 0; i < WHEEL_SLOTS; i++)
		list_init(&l->wheel.slots[i]);
	must(uv_timer_init(&l->uv, &l->wheel.timer) == 0);
	l->wheel.timer.data = l;
	uv_unref((uv_handle_t *)&l->wheel.timer);
}

void loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){ .fn = fn, .arg = arg };
}

void loop_timer_arm(struct loop *l, struct loop_timer *t, ms_t delay)
{
	struct wheel *w = &l->wheel;
	ms_t now = loop_mono(l);
	uint64_t tick;

	if (t->at)
		loop_timer_disarm(l, t);
	if (!uv_is_active((uv_handle_t *)&w->timer) && !uv_is_closing((uv_handle_t *)&w->timer)) {
		w->tick = (uint64_t)now / WHEEL_SLOT_MS;
		/* in step with the slots' borders */
		uv_timer_start(&w->timer, on_tick, WHEEL_SLOT_MS - (uint64_t)now % WHEEL_SLOT_MS,
			WHEEL_SLOT_MS);
	}
	t->at = now + (delay > 0 ? delay : 0);
	tick = tick_after(t->at);
	if (tick <= w->tick)
		tick = w->tick + 1;
	list_append(&w->slots[tick % WHEEL_SLOTS], t);
	w->armed++;
}

void loop_timer_disarm(struct loop *l, struct loop_timer *t)
{
	if (!t->at)
		return;
	list_unlink(t);
	t->at = 0;
	l->wheel.armed--;
}
