/* One operation of an operator while it is under way. The dispatcher's own; inside operate.c and
 * operate_find.c. */
#pragma once

#include "dispatcher.h"

#define FOUND_MAX 32u /* messages of one turn */

struct operation {
	struct operation *next;
	enum dispatch_op op;
	struct selector *which; /* NULL: all that waits */
	struct selector *own;	/* that is this, else it is borrowed */
	dispatch_fits *fits;
	bool dry, ordered; /* ordered: a standing order does it; counted only */
	uint64_t cursor;   /* of the walk; an index, when ids are named */
	uint64_t found[FOUND_MAX];
	unsigned nfound;
	bool begun, walked, fenced;
	uint32_t outstanding;
	uint64_t missing; /* named by id, and not there */
	int result;
	uint64_t changed;
	void (*done)(void *arg, int result, uint64_t changed);
	void *arg;
	_Atomic uint64_t *so_far; /* NULL: nobody looks */
};

/* ---- operate_find.c ---- */
/* The next messages that may be meant, by what the queue says of them; sets walked at the end. */
void operation_find(struct dispatch *d, struct operation *o);
/* Whether this recipient is meant, by all that is known. */
bool operation_means(struct dispatch *d, const struct operation *o, const struct message *m,
	uint32_t k, const struct queue_rcpt_state *s);
