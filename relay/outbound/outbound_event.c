/* Events on their way to the dispatcher: freed by whoever has them last, the dispatcher's thread
 * or a worker that ends. */
#include <stdlib.h>

#include "postern/outbound.h"

void outbound_transact_free(struct outbound_transact *t)
{
	if (!t)
		return;
	message_unref(t->message);
	free(t->recipients);
	free(t->results);
	free(t->replies);
	free(t->transcript);
	free(t);
}

void outbound_event_free(struct outbound_event *e)
{
	if (!e)
		return;
	free(e->info);
	e->info = NULL;
	free(e->transcript);
	e->transcript = NULL;
	if (e->kind == OUTBOUND_RESULT)
		outbound_transact_free(e->transact);
	else
		free(e);
}
