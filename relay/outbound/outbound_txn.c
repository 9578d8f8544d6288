/* Transactions on an outbound connection: their order, their content on its way to the socket, and
 * what comes of them. Called by outbound.c and outbound_ahead.c on the worker's thread.
 *
 * given (txn_add) → waits behind the one that runs → content found and room reserved → MAIL …
 * reply → handed back with a result for each recipient. What was not begun when the connection
 * ends goes back untried. Content comes from memory block by block, or from the queue in pieces;
 * never more than AHEAD_MAX of it is ahead of the socket. */
#include <errno.h>
#include <stdlib.h>

#include "outbound.h"
#include "postern/list.h"
#include "postern/must.h"

/* Shorter pieces between stuffed dots are copied: a reference costs more. */
#define COPY_BELOW 512u
/* Room for more replies than this is not kept for the next transaction. */
#define REPLIES_KEPT 8u
#define STUFF_SLICES 64u

/* ---- results ---- */

static void post_result(struct outbound *ob, struct outbound_transact *t)
{
	struct outbound_event *e = &t->event;

	memset(e, 0, sizeof(*e));
	t->at.done = loop_mono(ob->loop);
	e->kind = OUTBOUND_RESULT;
	e->connection = t->order.connection;
	e->transact = t;
	outbound_post_event(ob, e);
}

/* Untried, whatever the machine has written into the results. */
void txn_return(struct outbound *ob, struct outbound_transact *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		t->results[i] = (struct rcpt_result){ .index = t->recipients[i]->index,
			.outcome = RCPT_PENDING,
			.phase = PHASE_READY };
	t->replies = NULL;
	t->nreplies = 0;
	t->answers = 0;
	t->worked = t->suspect = 0;
	t->refused = false;
	post_result(ob, t);
}

/* Its content cannot be read. Recipients that were refused by a reply of their own stay so: keeps
 * the replies that are there and adds ours. */
static void apply_content_gone(struct connection *c)
{
	struct smtp_client_txn *txn = &c->txn;

	must(txn->nreplies < txn->max_replies);
	reply_make(&txn->replies[txn->nreplies], 451,
		"4.3.0 Message content cannot be read from the queue");
	for (uint32_t i = 0; i < txn->n; i++) {
		struct rcpt_result *r = &txn->results[i];

		if (r->outcome == RCPT_REPLIED || r->outcome == RCPT_DELIVERED ||
			r->outcome == RCPT_LOCAL)
			continue;
		r->index = txn->recipients[i]->index;
		r->outcome = RCPT_LOCAL;
		r->phase = PHASE_DATA;
		r->reply = txn->nreplies;
	}
	txn->nreplies++;
}

/* The replies go in an array of their own, as long as needed. When there is no memory for it, the
 * whole room goes instead. */
static void hand_over_replies(struct connection *c, struct outbound_transact *t)
{
	uint16_t n = c->txn.nreplies;

	t->nreplies = n;
	t->replies = NULL;
	if (n == 0)
		return;
	t->replies = malloc(n * sizeof(*t->replies));
	if (!t->replies) {
		t->replies = c->replies;
		c->replies = NULL;
		c->max_replies = 0;
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		reply_copy(&t->replies[i], &c->replies[i]);
}

void txn_done(struct connection *c)
{
	struct outbound_transact *t = c->running;

	must(t);
	c->running = NULL;
	body_end(c);
	ahead_give_back(c);
	if (c->content_gone)
		apply_content_gone(c);
	c->content_gone = false;
	t->answers = c->txn.answers;
	t->worked = c->txn.worked;
	t->suspect = c->txn.suspect;
	t->refused = c->txn.refused;
	t->suspect_reply = c->txn.suspect_reply;
	recording_result(c, t);
	hand_over_replies(c, t);
	if (c->max_replies > REPLIES_KEPT) {
		free(c->replies);
		c->replies = NULL;
		c->max_replies = 0;
	}
	post_result(c->ob, t);
}

/* ---- order ---- */

void txn_add(struct connection *c, struct outbound_transact *t)
{
	must(c->nwaiting < TRANSACTS_WAITING_MAX);
	mpsc_batch_add(&c->waiting, &t->order.node);
	c->nwaiting++;
}

static struct outbound_transact *transact_of(struct mpsc_node *n)
{
	return container(n, struct outbound_transact, order.node);
}

uint64_t txn_waiting_size(const struct connection *c)
{
	return c->waiting.first ? transact_of(c->waiting.first)->message->size : 0;
}

static struct outbound_transact *waiting_take(struct connection *c)
{
	struct mpsc_node *n = c->waiting.first;

	if (!n)
		return NULL;
	c->waiting.first = n->next;
	if (!n->next)
		c->waiting.last = NULL;
	c->nwaiting--;
	return transact_of(n);
}

void txn_return_waiting(struct connection *c)
{
	struct outbound_transact *t;

	while ((t = waiting_take(c)))
		txn_return(c->ob, t);
}

/* Two for the machine's own, one for ours about content that is gone. */
static int replies_room(struct connection *c, uint32_t n)
{
	uint32_t need = n + 3 < UINT16_MAX ? n + 3 : UINT16_MAX;

	if (c->max_replies < need) {
		free(c->replies);
		c->max_replies = 0;
		c->replies = malloc(need * sizeof(*c->replies));
		if (!c->replies)
			return -ENOMEM;
		c->max_replies = (uint16_t)need;
	}
	return 0;
}

static bool in_memory(const struct message *m)
{
	return m->body && m->body->taken == 0;
}

/* The content from offset on as far as one read gives it; n 0 at the end. */
static int read_content(
	struct outbound *ob, const struct message *m, uint64_t offset, struct slice *ret)
{
	int r;

	if (!ob->read.valid || ob->read.id != m->id || ob->read.offset != offset) {
		ob->read.valid = false;
		r = queue_body_read(ob->p.queue, m->id, offset, ob->read.bytes,
			sizeof(ob->read.bytes), &ob->read.n);
		if (r)
			return r;
		ob->read.valid = true;
		ob->read.id = m->id;
		ob->read.offset = offset;
	}
	*ret = (struct slice){ ob->read.bytes, ob->read.n };
	return 0;
}

/* Once BDAT has announced the content it must follow: so it is checked before MAIL. */
static bool content_is_there(struct outbound *ob, const struct message *m)
{
	struct slice first;

	if (in_memory(m) || m->size == 0)
		return true;
	return read_content(ob, m, 0, &first) == 0 && first.n > 0;
}

/* Starts t. False: it went back already. */
static bool txn_start(
	struct connection *c, struct outbound_transact *t, enum smtp_client_want *want)
{
	int r = replies_room(c, t->n);

	if (r) {
		txn_return(c->ob, t);
		return false;
	}
	c->txn = (struct smtp_client_txn){ .message = t->message,
		.recipients = t->recipients,
		.n = t->n,
		.results = t->results,
		.replies = c->replies,
		.max_replies = c->max_replies };
	c->running = t;
	if (!content_is_there(c->ob, t->message)) {
		memset(t->results, 0, t->n * sizeof(*t->results));
		c->content_gone = true;
		txn_done(c);
		return false;
	}
	t->at.begun = loop_mono(c->ob->loop);
	recording_next(c);
	r = smtp_client_begin(c->client, &c->txn, &c->ob->out, want);
	if (!r)
		return true;
	/* memory ran out in the middle of a command: nothing of it was sent */
	c->running = NULL;
	buf_reset(&c->ob->out);
	txn_return(c->ob, t);
	connection_fail(c, r, "out of memory");
	return false;
}

bool txn_next(struct connection *c, enum smtp_client_want *want)
{
	struct outbound_transact *t;

	if (smtp_client_phase(c->client) != PHASE_READY)
		return false;
	while (!c->closed && c->waiting.first && ahead_take(c, txn_waiting_size(c))) {
		c->its_turn = false;
		t = waiting_take(c);
		if (txn_start(c, t, want))
			return true;
		ahead_give_back(c);
	}
	return false;
}

/* ---- content ---- */

static void release_body(void *body)
{
	body_unref(body);
}

/* A piece of a block: by reference where that pays. */
static int give_piece(struct connection *c, struct slice piece)
{
	if (piece.n < COPY_BELOW || !c->body.body)
		return stream_write(c->stream, piece);
	return stream_write_ref(c->stream, piece, release_body, body_ref(c->body.body));
}

static int give_stuffed(struct connection *c, struct slice in)
{
	struct slice out[STUFF_SLICES];
	int r = 0;

	while (!r && in.n > 0) {
		size_t used;
		unsigned n = dot_stuff(&c->body.stuffer, in, out, STUFF_SLICES, &used);

		for (unsigned i = 0; !r && i < n; i++)
			r = give_piece(c, out[i]);
		in = slice_from(in, used);
	}
	return r;
}

static int give(struct connection *c, struct slice in)
{
	int r = c->body.dots ? give_stuffed(c, in) : give_piece(c, in);

	if (!r)
		c->body.offset += in.n;
	return r;
}

/* The next piece: a block from memory, or a read from the queue. */
static int give_next(struct connection *c, const struct message *m)
{
	struct body_sender *b = &c->body;
	struct slice in = { NULL, 0 };
	int r;

	if (b->body) {
		if (b->block) {
			in = (struct slice){ b->block->data, b->block->len };
			b->block = b->block->next;
		}
	} else {
		r = read_content(c->ob, m, b->offset, &in);
		if (r) {
			c->content_gone = true;
			return r;
		}
	}
	/* not what was announced: the transaction cannot be completed */
	if (in.n == 0 || in.n > m->size - b->offset) {
		c->content_gone = true;
		return -EBADMSG;
	}
	return give(c, in);
}

static int body_pump(struct connection *c)
{
	const struct message *m = c->running->message;
	struct body_sender *b = &c->body;
	int r = 0;

	while (!r && b->offset < m->size && stream_pending(c->stream) < AHEAD_MAX)
		r = give_next(c, m);
	if (r || b->offset < m->size)
		return r;
	if (b->dots)
		r = stream_write(c->stream, dot_stuff_end(&b->stuffer));
	b->ended = !r;
	return r;
}

int body_begin(struct connection *c, bool dots)
{
	struct message *m = c->running->message;
	struct body_sender *b = &c->body;

	must(!b->open);
	*b = (struct body_sender){ .open = true, .dots = dots };
	dot_stuffer_init(&b->stuffer);
	if (in_memory(m)) {
		b->body = body_ref(m->body);
		b->block = body_start(m->body);
	}
	c->since = loop_mono(c->ob->loop);
	c->progress_seen = 0;
	return body_pump(c);
}

int txn_quit_behind(struct connection *c)
{
	int r = c->quit_wanted && c->nwaiting == 0 ? smtp_client_quit(c->client, &c->ob->out) : 0;

	connection_send(c);
	return r == -EBUSY ? 0 : r;
}

int body_drained(struct connection *c)
{
	if (!c->body.ended)
		return body_pump(c);
	c->running->at.sent = loop_mono(c->ob->loop);
	body_end(c);
	smtp_client_body_sent(c->client);
	return txn_quit_behind(c);
}

uint64_t body_progress(const struct connection *c)
{
	uint64_t waiting = stream_pending(c->stream) + stream_unacknowledged(c->stream);

	return c->body.offset > waiting ? c->body.offset - waiting : 0;
}

void body_end(struct connection *c)
{
	body_unref(c->body.body);
	c->body = (struct body_sender){ 0 };
}
