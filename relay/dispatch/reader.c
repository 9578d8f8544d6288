/* The reading thread: readings of the due index come from a map of the queue's file, so each is a
 * walk over pages that may have to come from the disk, and are minor faults even when they are in
 * the page cache. Of the dispatcher's time that was two fifths with a deep queue, and with a slow
 * disk all mail would wait for one domain's. So the dispatcher asks, goes on, and takes what comes.
 *
 * What was read can be old when it arrives. The thread knows which recipients of the domain were in
 * memory when it was asked; those that have left memory since are remembered as gone until then;
 * and an operator's flag voids the reading. One reading a domain at a time. */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>

#include "domain.h"
#include "item.h"
#include "party.h"
#include "postern/must.h"
#include "recall.h"

#define AT_ONCE 8u /* readings handed over together; the dispatcher is woken as rarely */

struct reader {
	struct queue *queue;
	struct loop *loop;
	struct loop_mailbox asked; /* the thread's */
	struct mpsc *answers;	   /* the dispatcher's */
	struct mpsc_batch batch;   /* the dispatcher's: posted once an iteration */
	struct reading *idle;
	bool started;
	struct reading all[READINGS_MAX];
};

/* ---- the thread ---- */

static size_t hash_of(uint64_t id, uint64_t index)
{
	return (size_t)(((id * 0x9e3779b97f4a7c15ull) ^ (index * 0xc2b2ae3d27d4eb4full)) >> 32);
}

static bool in_memory(void *arg, uint64_t id, uint32_t index)
{
	const struct reading *r = arg;

	for (size_t k = hash_of(id, index);; k++) {
		const struct item_key *at = &r->known[k & r->mask];

		if (at->id == id && at->index == index)
			return true;
		if (!at->id)
			return false;
	}
}

static bool is_wanted(void *arg, const struct message *m)
{
	const struct reading *r = arg;

	for (unsigned i = 0; i < r->nwithout; i++)
		if (!strcmp(((const struct pool *)r->without[i])->name, m->pool))
			return false;
	for (unsigned i = 0; i < r->nmany; i++)
		if (party_sent(r->many[i], m))
			return false;
	return true;
}

static void read_one(struct queue *q, struct reading *r)
{
	const struct queue_look look = {
		.now = r->wall,
		.limit = r->limit,
		.skipped_max = r->nknown + r->limit,
		.skip = in_memory,
		.wanted = r->nwithout || r->nmany ? is_wanted : NULL,
		.arg = r,
		.after = r->after.id ? &r->after : NULL,
	};

	r->result = queue_read_due(q, r->domain->name, &look, &r->window);
}

static void on_asked(void *arg, struct mpsc_node *first)
{
	struct reader *rd = arg;
	struct mpsc_batch done = { 0 };
	unsigned n = 0;

	while (first) {
		struct reading *r = container(first, struct reading, node);

		first = first->next;
		read_one(rd->queue, r);
		mpsc_batch_add(&done, &r->node);
		if (++n % AT_ONCE == 0 || !first)
			mpsc_batch_post(&done, rd->answers);
	}
}

int reader_new(struct reader **ret, struct queue *queue, struct mpsc *answers)
{
	struct reader *rd = calloc(1, sizeof(*rd));
	int r;

	if (!rd)
		return -ENOMEM;
	r = loop_new(&rd->loop, "reader");
	if (r) {
		free(rd);
		return r;
	}
	rd->queue = queue;
	rd->answers = answers;
	for (unsigned i = 0; i < READINGS_MAX; i++) {
		struct reading *x = &rd->all[i];

		queue_reading_init(&x->window);
		x->next = rd->idle;
		rd->idle = x;
	}
	loop_mailbox_add(rd->loop, &rd->asked, on_asked, rd);
	*ret = rd;
	return 0;
}

int reader_start(struct reader *rd)
{
	int r = loop_start(rd->loop, NULL, NULL);

	rd->started = !r;
	return r;
}

struct reader *reader_free(struct reader *rd)
{
	if (!rd)
		return NULL;
	if (rd->started)
		loop_stop(rd->loop, NULL, NULL);
	loop_free(rd->loop);
	for (unsigned i = 0; i < READINGS_MAX; i++) {
		queue_reading_deinit(&rd->all[i].window);
		free(rd->all[i].known);
	}
	free(rd);
	return NULL;
}

/* ---- the dispatcher's side ---- */

/* A table with free places; ids are never 0. */
static bool note_known(struct reading *r, const struct domain *m)
{
	size_t size = 8;

	while (size < 2ull * m->in_memory + 1)
		size *= 2;
	if (size > r->size) {
		free(r->known);
		r->known = malloc(size * sizeof(*r->known));
		r->size = r->known ? size : 0;
		if (!r->known)
			return false;
	}
	memset(r->known, 0, size * sizeof(*r->known));
	r->mask = size - 1;
	r->nknown = m->in_memory;
	for (const struct list *l = m->items.next; l != &m->items; l = l->next) {
		const struct item_key *key = &container(l, struct item, in_domain)->key;
		size_t k = hash_of(key->id, key->index);

		while (r->known[k & r->mask].id)
			k++;
		r->known[k & r->mask] = *key;
	}
	return true;
}

bool reader_room(const struct reader *rd)
{
	return rd->idle != NULL;
}

static struct reading *take_idle(struct dispatch *d, struct domain *m, uint32_t limit)
{
	struct reader *rd = d->reads.reader;
	struct reading *r = rd->idle;

	must(r && !feed_reading(&m->feed) && list_empty(&m->gone));
	if (!note_known(r, m))
		return NULL;
	rd->idle = r->next;
	r->domain = m;
	r->wall = loop_wall(d->loop);
	r->limit = limit;
	r->nwithout = r->nmany = 0;
	return r;
}

static void ask(struct dispatch *d, struct reading *r)
{
	d->reads.readings++;
	d->reads.reserved += r->limit;
	r->first = !r->domain->known;
	if (r->first)
		d->reads.reserved_first += r->limit;
	mpsc_batch_add(&d->reads.reader->batch, &r->node);
}

static struct queue_place place_of(struct feed_place p)
{
	return (struct queue_place){ .due = p.due, .id = p.id, .index = p.index };
}

bool reader_ask(struct dispatch *d, struct domain *m, uint32_t limit)
{
	struct reading *r = take_idle(d, m, limit);

	if (!r)
		return false;
	if (m->recall_again && d->clock.recall_at && !m->parking.nparked)
		recall_begin(d, m);
	domain_feed(d, m, FEED_ON_ASK, NULL);
	r->nwithout = wait_pools(&m->parking, r->without, WITHOUT_MAX);
	r->after = (struct queue_place){ 0 };
	if (m->feed.kind == FEED_FAR)
		r->after = place_of(m->feed.far);
	else if (r->nwithout)
		r->after = place_of(m->feed.cursor);
	if (m->feed.whatever_time)
		r->wall = INT64_MAX;
	ask(d, r);
	return true;
}

bool reader_ask_ahead(
	struct dispatch *d, struct domain *m, uint32_t limit, struct party **many, unsigned nmany)
{
	struct reading *r = take_idle(d, m, limit);

	if (!r)
		return false;
	domain_feed(d, m, FEED_ON_ASK_AHEAD, NULL);
	memcpy(r->many, many, nmany * sizeof(struct party *));
	r->nmany = nmany;
	r->after = place_of(m->feed.ahead);
	ask(d, r);
	return true;
}

void reader_flush(struct reader *rd)
{
	if (rd->batch.first)
		mpsc_batch_post(&rd->batch, &rd->asked.mpsc);
}

void reader_done(struct dispatch *d, struct reading *r)
{
	struct reader *rd = d->reads.reader;
	struct domain *m = r->domain;

	queue_reading_clear(&r->window);
	for (unsigned i = 0; i < r->nmany; i++)
		party_unref(d, r->many[i]);
	r->nmany = 0;
	d->reads.readings--;
	d->reads.reserved -= r->limit;
	if (r->first)
		d->reads.reserved_first -= r->limit;
	items_forget_gone(d, m);
	r->next = rd->idle;
	rd->idle = r;
}
