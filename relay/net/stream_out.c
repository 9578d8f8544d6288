/* Output queues of streams; see stream_out.h. On the loop's thread. Small writes share a chunk;
 * chunks and references come from the loop's pool and go back there, so that a busy stream
 * allocates nothing. */
#include "stream_out.h"

#include <errno.h>
#include <stdlib.h>

#include "loop_private.h"
#include "postern/must.h"

#define CHUNK_ROOM     4096u
#define POOL_CHUNK_MAX 256u
#define POOL_REF_MAX   1024u

/* Bytes p..p+n are waiting; a chunk has room for more behind them. Bytes once added never move, so
 * that a write in progress may go on while more is added. */
struct out_piece {
	struct out_piece *next;
	const char *p;
	size_t n;
	size_t room; /* free bytes at the end; 0 for borrowed bytes */
	size_t size; /* of data[]; CHUNK_ROOM for what the pool takes back */
	void (*release)(void *arg);
	void *arg;
	char data[];
};

static struct out_piece *chunk_new(struct out_pool *pool, size_t size)
{
	struct out_piece *c;

	if (size <= CHUNK_ROOM && pool->chunks) {
		c = pool->chunks;
		pool->chunks = c->next;
		pool->nchunks--;
	} else {
		size = size > CHUNK_ROOM ? size : CHUNK_ROOM;
		c = malloc(sizeof(*c) + size);
		if (!c)
			return NULL;
		c->size = size;
	}
	c->next = NULL;
	c->p = c->data;
	c->n = 0;
	c->room = c->size;
	c->release = NULL;
	return c;
}

static struct out_piece *ref_new(struct out_pool *pool)
{
	struct out_piece *c = pool->refs;

	if (c) {
		pool->refs = c->next;
		pool->nrefs--;
	} else {
		c = malloc(sizeof(*c));
	}
	if (c)
		*c = (struct out_piece){ 0 };
	return c;
}

/* True when a release ran. */
static bool piece_free(struct out_pool *pool, struct out_piece *c)
{
	void (*release)(void *arg) = c->release;
	void *arg = c->arg;

	if (c->size == CHUNK_ROOM && pool->nchunks < POOL_CHUNK_MAX) {
		c->next = pool->chunks;
		pool->chunks = c;
		pool->nchunks++;
	} else if (c->size == 0 && pool->nrefs < POOL_REF_MAX) {
		c->next = pool->refs;
		pool->refs = c;
		pool->nrefs++;
	} else {
		free(c);
	}
	if (release)
		release(arg);
	return release != NULL;
}

static void append(struct out_queue *q, struct out_piece *c)
{
	if (q->last)
		q->last->next = c;
	else
		q->first = c;
	q->last = c;
}

static void fill(struct out_queue *q, struct out_piece *c, struct slice data)
{
	memcpy(c->data + (c->size - c->room), data.p, data.n);
	c->n += data.n;
	c->room -= data.n;
	q->bytes += data.n;
}

int out_add(struct out_queue *q, struct out_pool *pool, struct slice data)
{
	struct slice head = data;
	struct out_piece *c;

	if (data.n == 0)
		return 0;
	c = q->last;
	head.n = c && c->room < data.n ? c->room : data.n;
	if (!c)
		head.n = 0;
	data = slice_from(data, head.n);
	if (data.n > 0) {
		/* before the head is added: all or nothing */
		c = chunk_new(pool, data.n);
		if (!c)
			return -ENOMEM;
	}
	if (head.n > 0)
		fill(q, q->last, head);
	if (data.n > 0) {
		append(q, c);
		fill(q, c, data);
	}
	return 0;
}

int out_add_ref(struct out_queue *q, struct out_pool *pool, struct slice data,
	void (*release)(void *arg), void *arg)
{
	struct out_piece *c = ref_new(pool);

	if (!c)
		return -ENOMEM;
	c->p = data.p;
	c->n = data.n;
	c->release = release;
	c->arg = arg;
	append(q, c);
	q->bytes += data.n;
	return 0;
}

unsigned out_peek(const struct out_queue *q, uv_buf_t *bufs, unsigned max, size_t *total)
{
	unsigned n = 0;

	*total = 0;
	for (const struct out_piece *c = q->first; c && n < max; c = c->next) {
		if (c->n == 0)
			continue;
		bufs[n].base = (char *)(uintptr_t)c->p;
		bufs[n].len = c->n;
		*total += c->n;
		n++;
	}
	return n;
}

struct slice out_front(const struct out_queue *q)
{
	return q->first ? (struct slice){ q->first->p, q->first->n } : (struct slice){ NULL, 0 };
}

bool out_consume(struct out_queue *q, struct out_pool *pool, size_t n)
{
	bool released = false;

	must(n <= q->bytes);
	q->bytes -= n;
	while (q->first) {
		struct out_piece *c = q->first;

		if (n < c->n) {
			c->p += n;
			c->n -= n;
			break;
		}
		n -= c->n;
		q->first = c->next;
		if (!q->first)
			q->last = NULL;
		/* the queue is in order before the release, which may add to it */
		released |= piece_free(pool, c);
	}
	return released;
}

void out_clear(struct out_queue *q, struct out_pool *pool)
{
	while (q->first) {
		struct out_piece *c = q->first;

		q->first = c->next;
		if (!q->first)
			q->last = NULL;
		piece_free(pool, c);
	}
	q->bytes = 0;
}

static void free_list(struct out_piece *c)
{
	while (c) {
		struct out_piece *next = c->next;

		free(c);
		c = next;
	}
}

void out_pool_deinit(struct out_pool *p)
{
	free_list(p->chunks);
	free_list(p->refs);
	*p = (struct out_pool){ 0 };
}
