/* The outbound half of a worker: made before its loop starts, fed by its iterations, and freed.
 * Called by relay/worker: birth and death before and after the loop's life, outbound_post on the
 * worker's thread; orders are posted by any thread. */
#include <errno.h>
#include <stdlib.h>

#include "outbound.h"
#include "postern/must.h"

int outbound_new(struct outbound **ret, const struct outbound_params *p)
{
	struct outbound *ob = calloc(1, sizeof(*ob));

	if (!ob)
		return -ENOMEM;
	ob->p = *p;
	ob->loop = p->loop;
	buf_init(&ob->out, 0);
	loop_mailbox_add(p->loop, &ob->orders, outbound_orders, ob);
	ahead_init(ob);
	*ret = ob;
	return 0;
}

struct outbound *outbound_free(struct outbound *ob)
{
	if (!ob)
		return NULL;
	must(!ob->connections);
	buf_deinit(&ob->out);
	free(ob);
	return NULL;
}

void outbound_post_event(struct outbound *ob, struct outbound_event *e)
{
	mpsc_batch_add(&ob->events, &e->node);
}

void outbound_post(struct outbound *ob)
{
	mpsc_batch_post(&ob->events, ob->p.events);
}

void outbound_post_orders(struct outbound *ob, struct mpsc_batch *orders)
{
	mpsc_batch_post(orders, &ob->orders.mpsc);
}
