/* What was learned, and is known again after a restart: read at the start, saved now and then. Called
 * by dispatch.c, turn.c and operate.c, on the dispatcher's thread. Whose it is knows its form: the policy,
 * host_memory.c, hold.c, orders.c. */
#include "learned.h"

#include <string.h>

#include "hold.h"
#include "host_memory.h"
#include "orders.h"
#include "state.h"

static int load_entry(void *arg, struct slice key, struct slice value)
{
	struct dispatch *d = arg;

	if (policy_load(d->policy, key, value))
		log_event(d->log, LOG_WARN, EVENT_STATE_IGNORED,
			"learned state %.*s cannot be read", (int)key.n, key.p);
	return 0;
}

static int load_without(void *arg, struct slice key, struct slice value)
{
	struct dispatch *d = arg;

	if (host_memory_load(d, key, value))
		log_event(d->log, LOG_WARN, EVENT_STATE_IGNORED,
			"learned state %.*s cannot be read", (int)key.n, key.p);
	return 0;
}

void state_load(struct dispatch *d)
{
	int r;

	holds_load(d);
	r = queue_state_scan(d->queue, SLICE_LIT(ORDERS_PREFIX), order_load, d);
	if (!r)
		r = queue_state_scan(d->queue, SLICE_LIT("policy/"), load_entry, d);
	if (!r)
		r = queue_state_scan(d->queue, SLICE_LIT(HOST_MEMORY_PREFIX), load_without, d);
	if (r)
		log_event(d->log, LOG_ERR, EVENT_STATE_UNREAD, "learned state cannot be read: %s",
			strerror(-r));
}

void state_save(struct dispatch *d)
{
	struct saving *s = saving_new();

	d->clock.saved_at = loop_mono(d->loop);
	if (!s)
		return;
	policy_save(d->policy, saving_add, s);
	host_memory_save(d, saving_add, s);
	saving_post(d, s);
}
