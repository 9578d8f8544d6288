/* Recipients in memory, and the works that carry them: item.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

struct item *item_new(struct dispatch *d, struct domain *m, uint64_t id, const struct recipient *r,
	bool copy, ms_t due);
struct item *item_find(struct dispatch *d, uint64_t id, uint32_t index);
/* It is in memory, or was while its domain is being read. */
bool item_seen(struct dispatch *d, uint64_t id, uint32_t index);
/* The text it points to goes away: it gets its own (the domain's name is the domain's). False: no
 * memory. */
bool item_keep_text(struct item *i);
void item_state(struct item *i, const struct queue_rcpt_state *s);
void item_drop(struct dispatch *d, struct item *i); /* out of memory; it stays in the queue */
void items_forget_gone(struct dispatch *d, struct domain *m);
struct work *work_new(struct message *m); /* takes a reference */
void work_free(struct work *w);
void work_add(struct work *w, struct item **last, struct item *i); /* last: the poster's cursor */
void work_drop(struct dispatch *d, struct work *w);  /* as work_evict, of one in no list */
void work_evict(struct dispatch *d, struct work *w); /* waiting work back to the queue alone */
