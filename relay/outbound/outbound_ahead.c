/* Content that is ahead of its receivers: in our streams, in OpenSSL and in the kernel's send
 * buffers. It is bounded per connection by what each of these takes, and per worker by a budget of
 * reservations, so that receivers that stop reading cannot fill memory however many they are.
 * Called by outbound.c and outbound_txn.c on the worker's thread.
 *
 * A transaction reserves before MAIL, where waiting costs the receiver nothing, and gives back with
 * its result, or once the receiver's host has acknowledged all. Who finds no room waits its turn;
 * small content, which is most mail, has a part of the budget that large content never takes. While
 * somebody waits, receivers that take nothing for a while are given up: the room they hold is
 * others'. */
#include <errno.h>
#include <utlist.h>

#include "outbound.h"

#define SMALL	  (32u * 1024u)
#define SWEEP	  1000
#define STALL_MAX 15000 /* ms without progress, while others wait */

static uint64_t need_of(uint64_t size)
{
	return size < AHEAD_CONNECTION_MAX ? size : AHEAD_CONNECTION_MAX;
}

static uint64_t reserved(const struct outbound *ob)
{
	return atomic_load_explicit(&ob->ahead.reserved, memory_order_relaxed);
}

static bool has_room(const struct outbound *ob, uint64_t need)
{
	uint64_t max = ob->p.ahead_max;

	if (!max || !reserved(ob))
		return true;
	return reserved(ob) + need <= (need <= SMALL ? max + max / 4 : max);
}

bool ahead_take(struct connection *c, uint64_t size)
{
	struct outbound *ob = c->ob;
	uint64_t need = need_of(size);

	if (c->waits)
		return false;
	if (!has_room(ob, need) || (need > SMALL && ob->ahead.waiters && !c->its_turn)) {
		c->waits = true;
		count_add(&ob->ahead.waiting, 1);
		DL_APPEND2(ob->ahead.waiters, c, waiter_prev, waiter_next);
		if (!ob->ahead.timer.at)
			loop_timer_arm(ob->loop, &ob->ahead.timer, SWEEP);
		return false;
	}
	c->reserved = need;
	c->ahead_since = loop_mono(ob->loop);
	c->ahead_seen = 0;
	count_add(&ob->ahead.reserved, need);
	return true;
}

void ahead_give_back(struct connection *c)
{
	struct outbound *ob = c->ob;

	if (!c->reserved)
		return;
	count_add(&ob->ahead.reserved, -c->reserved);
	c->reserved = 0;
	/* not from here: this is in the middle of a call of that connection */
	if (ob->ahead.waiters)
		loop_timer_arm(ob->loop, &ob->ahead.timer, 0);
}

void ahead_leave_line(struct connection *c)
{
	if (!c->waits)
		return;
	c->waits = false;
	count_add(&c->ob->ahead.waiting, -UINT64_C(1));
	DL_DELETE2(c->ob->ahead.waiters, c, waiter_prev, waiter_next);
}

/* What the receiver's host has of the content; grows or it takes nothing. */
static uint64_t taken(const struct connection *c, uint64_t unacknowledged)
{
	return c->body.open ? body_progress(c) : UINT64_MAX - unacknowledged;
}

static void look_at(struct connection *c, ms_t now)
{
	uint64_t held = stream_unacknowledged(c->stream), seen = taken(c, held);

	if (!c->body.open && !held && c->running->at.sent) {
		ahead_give_back(c); /* only its answer is waited for */
	} else if (seen != c->ahead_seen) {
		c->ahead_seen = seen;
		c->ahead_since = now;
	} else if (now - c->ahead_since >= STALL_MAX) {
		c->timed_out = true;
		connection_fail(c, -ETIMEDOUT,
			"timed out: the receiver takes no content, and others wait to send theirs");
	}
}

static void on_sweep(void *arg)
{
	struct outbound *ob = arg;
	struct connection *c, *next;
	ms_t now = loop_mono(ob->loop);

	HASH_ITER (hh, ob->connections, c, next)
		if (c->reserved > SMALL && c->running && c->stream)
			look_at(c, now);
	while ((c = ob->ahead.waiters) &&
		(c->closed || has_room(ob, need_of(txn_waiting_size(c))))) {
		ahead_leave_line(c);
		c->its_turn = true;
		connection_resume(c);
	}
	if (ob->ahead.waiters)
		loop_timer_arm(ob->loop, &ob->ahead.timer, SWEEP);
}

void ahead_init(struct outbound *ob)
{
	loop_timer_init(&ob->ahead.timer, on_sweep, ob);
}

void outbound_stats(struct outbound *ob, struct outbound_stats *ret)
{
	*ret = (struct outbound_stats){
		.content = reserved(ob),
		.waiting = atomic_load_explicit(&ob->ahead.waiting, memory_order_relaxed),
	};
}
