/* Outcomes on their way into the queue: settle.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

struct settle {
	struct queue_settle q; /* first: answers come back as its job */
	struct message *message;
	struct item *items;
	struct queue_settle_rcpt one;
	struct queue_accept *dsn[3];
	struct wake wake; /* failed: tried again then; gathering: told then */
	bool stalled;
	struct gathering *gathering; /* not posted yet: more may come to it */
};

/* Takes the items (ends and reports set) out of play: one job; a reference of m is taken. */
void settle_items(struct dispatch *d, struct message *m, struct item *items);
struct settle *settle_new(struct dispatch *d, struct message *m); /* always succeeds */
void settle_commit(struct dispatch *d, struct settle *s);	  /* with its items, q.n of them */
void settle_answer(struct dispatch *d, struct queue_job *j);
void settle_free(struct dispatch *d, struct settle *s); /* without recording */
void settle_again(struct dispatch *d, struct settle *s);
/* Deferred items: due clamped to the expiry, delay notice added when its time has come. */
void settle_defer(struct dispatch *d, struct message *m, struct item *i, ms_t delay);
