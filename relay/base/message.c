/* Messages and their content. Both are counted by reference and shared between threads; content is
 * a chain of blocks that is filled by one owner, then sealed, and read only from then on.
 *
 * Every block is counted in memory_held, the process's content in memory, by which inbound
 * sessions are slowed down and bodies are left to the queue. */
#include "postern/message.h"

#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"

/* Most messages fit the first block; what does not is on its way to a large one. */
#define FIRST_CHUNKS 2u
#define LAST_CHUNKS  16u
/* What a remainder grows by at least. */
#define REST_STEP 256u
/* An envelope of tens of thousands of recipients with all their parameters fits. */
#define ENVELOPE_MAX (64u * 1024u * 1024u)

static atomic_uint_least64_t memory_held;

uint64_t body_memory(void)
{
	return atomic_load_explicit(&memory_held, memory_order_relaxed);
}

void body_memory_add(int64_t bytes)
{
	atomic_fetch_add_explicit(&memory_held, (uint64_t)bytes, memory_order_relaxed);
}

/* A block that has memory for its first `room` bytes only. */
static struct body_block *block_with(uint32_t cap, uint32_t room)
{
	struct body_block *k = malloc(sizeof(*k) + room);

	if (!k)
		return NULL;
	k->next = NULL;
	k->len = 0;
	k->cap = cap;
	k->room = room;
	atomic_fetch_add_explicit(&memory_held, room, memory_order_relaxed);
	return k;
}

static struct body_block *block_new(uint32_t chunks)
{
	return block_with(chunks * BODY_CHUNK, chunks * BODY_CHUNK);
}

void body_blocks_free(struct body_block *first)
{
	while (first) {
		struct body_block *next = first->next;

		atomic_fetch_sub_explicit(&memory_held, first->room, memory_order_relaxed);
		free(first);
		first = next;
	}
}

struct body *body_new(void)
{
	struct body *b = calloc(1, sizeof(*b));

	if (b)
		atomic_init(&b->refs, 1);
	return b;
}

struct body *body_ref(struct body *b)
{
	unsigned before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);

	must(before > 0);
	return b;
}

struct body *body_unref(struct body *b)
{
	unsigned before;

	if (!b)
		return NULL;
	before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
	must(before > 0);
	if (before == 1) {
		if (b->head)
			b->head->next = NULL;
		body_blocks_free(b->head);
		body_blocks_free(b->first);
		free(b);
	}
	return NULL;
}

/* What is needed, or as large again as what there is: who holds little must not be charged for
 * much. */
static uint32_t next_chunks(uint64_t size, size_t n)
{
	uint64_t chunks = size / BODY_CHUNK;

	if (chunks < n / BODY_CHUNK + 1)
		chunks = n / BODY_CHUNK + 1;
	return chunks < FIRST_CHUNKS  ? FIRST_CHUNKS
	       : chunks > LAST_CHUNKS ? LAST_CHUNKS
				      : (uint32_t)chunks;
}

/* Links blocks for n more bytes behind the last; all of them or none. */
static int body_extend(struct body *b, size_t n)
{
	struct body_block *chain = NULL, **end = &chain, *tail = NULL;
	uint64_t size = b->size;

	while (n > 0) {
		/* the first is small in any case: most messages fit it */
		tail = block_new(size == 0 ? FIRST_CHUNKS : next_chunks(size, n));
		if (!tail) {
			body_blocks_free(chain);
			return -ENOMEM;
		}
		*end = tail;
		end = &tail->next;
		size += tail->cap;
		n -= n < tail->cap ? n : tail->cap;
	}
	if (b->last)
		b->last->next = chain;
	else
		b->first = chain;
	return 0;
}

/* Where the pointer to the last block is. */
static struct body_block **last_link(struct body *b)
{
	struct body_block **link = &b->first;

	while (*link != b->last)
		link = &(*link)->next;
	return link;
}

/* Memory for n more bytes in the last block, as far as they belong there. It has all of it from the
 * start, unless it is a remainder that was split off. */
static int last_grow(struct body *b, size_t n)
{
	struct body_block *k = b->last, **link;
	uint32_t room;

	if (n > k->cap - k->len)
		n = k->cap - k->len;
	if (n <= k->room - k->len)
		return 0;
	room = k->len + (uint32_t)n;
	if (room < 2 * k->room)
		room = 2 * k->room;
	if (room < k->room + REST_STEP)
		room = k->room + REST_STEP;
	if (room > k->cap)
		room = k->cap;
	link = last_link(b);
	k = realloc(k, sizeof(*k) + room);
	if (!k)
		return -ENOMEM;
	atomic_fetch_add_explicit(&memory_held, room - k->room, memory_order_relaxed);
	k->room = room;
	*link = b->last = k;
	return 0;
}

int body_append(struct body *b, struct slice s)
{
	size_t room = b->last ? b->last->cap - b->last->len : 0;
	int r;

	must(!b->sealed);
	if (b->last) {
		r = last_grow(b, s.n);
		if (r)
			return r;
	}
	if (s.n > room) {
		r = body_extend(b, s.n - room);
		if (r)
			return r;
		if (!b->last)
			b->last = b->first;
	}
	b->size += s.n;
	while (s.n > 0) {
		struct body_block *k = b->last;
		size_t n = k->cap - k->len;

		if (n == 0) {
			b->last = k->next;
			continue;
		}
		if (n > s.n)
			n = s.n;
		memcpy(k->data + k->len, s.p, n);
		k->len += (uint32_t)n;
		s = slice_from(s, n);
	}
	return 0;
}

void body_seal(struct body *b)
{
	b->sealed = true;
}

int body_set_head(struct body *b, struct slice s)
{
	struct body_block *k;

	must(b->sealed && !b->head && s.n > 0 && s.n <= BODY_HEAD_MAX);
	k = block_with((uint32_t)s.n, (uint32_t)s.n);
	if (!k)
		return -ENOMEM;
	memcpy(k->data, s.p, s.n);
	k->len = (uint32_t)s.n;
	k->next = b->first;
	b->head = k;
	b->size += s.n;
	return 0;
}

struct body_block *body_take_full(struct body *b)
{
	struct body_block *first = b->first, *last_full = NULL;

	for (struct body_block *k = first; k && k->len == k->cap; k = k->next) {
		last_full = k;
		b->taken += k->len;
	}
	if (!last_full)
		return NULL;
	b->first = last_full->next;
	if (!b->first)
		b->last = NULL;
	last_full->next = NULL;
	return first;
}

/* The last block, cut after its last whole chunk; the remainder in a block of its own, with memory
 * for what it has: of many clients that stop within a message the rests must not be the most. */
static int split_last(struct body *b)
{
	struct body_block *k = b->last, *remainder = NULL, **link;
	uint32_t whole = k->len - k->len % BODY_CHUNK;

	if (k->len == k->cap || (whole == 0 && k->room - k->len <= REST_STEP))
		return 0;
	if (k->len > whole) {
		remainder = block_with(BODY_CHUNK, k->len - whole);
		if (!remainder)
			return -ENOMEM;
		remainder->len = k->len - whole;
		memcpy(remainder->data, k->data + whole, remainder->len);
	}
	link = last_link(b);
	if (whole > 0) {
		atomic_fetch_sub_explicit(&memory_held, k->room - whole, memory_order_relaxed);
		k->len = k->cap = k->room = whole;
		link = &k->next;
	} else {
		body_blocks_free(k);
	}
	*link = remainder;
	if (remainder)
		b->last = remainder;
	return 0;
}

struct body_block *body_take_chunks(struct body *b)
{
	/* without memory for the remainder, what is full can go all the same */
	if (b->last && !b->last->next)
		(void)split_last(b);
	return body_take_full(b);
}

struct message *message_new(void)
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	atomic_init(&m->refs, 1);
	arena_init(&m->arena, ENVELOPE_MAX);
	m->sender = "";
	m->pool = "";
	m->client = "";
	return m;
}

struct message *message_ref(struct message *m)
{
	unsigned before = atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);

	must(before > 0);
	return m;
}

struct message *message_unref(struct message *m)
{
	unsigned before;

	if (!m)
		return NULL;
	before = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
	must(before > 0);
	if (before == 1) {
		body_unref(m->body);
		arena_deinit(&m->arena);
		free(m);
	}
	return NULL;
}
