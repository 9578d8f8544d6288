/* Output queues of streams: pieces in order, either copied bytes in chunks of the loop's pool or
 * borrowed bytes with their release. */
#pragma once

#include <uv.h>

#include "postern/buf.h"

struct out_pool;
struct out_piece;

/* Invariant: bytes is the sum over the pieces; an empty queue has no piece. */
struct out_queue {
	struct out_piece *first, *last;
	size_t bytes;
};

int out_add(struct out_queue *q, struct out_pool *pool, struct slice data);
/* On failure nothing was released. */
int out_add_ref(struct out_queue *q, struct out_pool *pool, struct slice data,
	void (*release)(void *arg), void *arg);
/* The first bytes as buffers for writev: their number, and in *total their size. */
unsigned out_peek(const struct out_queue *q, uv_buf_t *bufs, unsigned max, size_t *total);
struct slice out_front(const struct out_queue *q);
/* Takes n bytes off the front and releases what is through. True when releases ran. */
bool out_consume(struct out_queue *q, struct out_pool *pool, size_t n);
void out_clear(struct out_queue *q, struct out_pool *pool);
