/* Storing messages: whole, or streamed in pieces (append) before their envelope. Called by the
 * writer, on its thread, inside one transaction.
 *
 * Order of what a message writes: content, recipients with their entry in an index, the envelope.
 * An error before anything was written leaves the transaction as it was; one in the middle breaks
 * it (qtxn). Pieces are `loose` until the envelope comes: a session that ends, or a kill, leaves
 * content that nobody owns, and the writer removes it. */
#include <errno.h>

#include "txn.h"

/* An envelope or recipient record beyond this is refused: it would not be readable again. */
#define RECORD_MAX (512u << 10)

static uint64_t chunks_of(uint64_t bytes)
{
	return (bytes + BODY_CHUNK - 1) / BODY_CHUNK;
}

/* Puts the blocks' content as chunks from number *chunk on. */
static int put_blocks(struct qtxn *t, uint64_t id, const struct body_block *b, uint32_t *chunk)
{
	for (; b; b = b->next) {
		for (uint32_t off = 0; off < b->len; off += BODY_CHUNK) {
			uint32_t n = b->len - off < BODY_CHUNK ? b->len - off : BODY_CHUNK;
			struct chunk_key k = chunk_key(id, *chunk, crc32c(0, b->data + off, n));
			int r = qtxn_put(t, t->mail, 0, val_of(k.b, sizeof(k.b)),
				val_of(b->data + off, n), 0);

			if (r)
				return r;
			++*chunk;
		}
	}
	return 0;
}

/* A chunk of its own number, so that it goes with the others when the message does. */
static int put_head(struct qtxn *t, uint64_t id, const struct body_block *head)
{
	struct chunk_key k = chunk_key(id, MAIL_HEAD, crc32c(0, head->data, head->len));

	return qtxn_put(t, t->mail, 0, val_of(k.b, sizeof(k.b)), val_of(head->data, head->len), 0);
}

static uint32_t head_bytes(const struct message *m)
{
	return m->body && m->body->head ? m->body->head->len : 0;
}

/* Only the last block may end inside a chunk. */
static bool blocks_whole(const struct body_block *b, uint64_t *bytes)
{
	*bytes = 0;
	for (; b; b = b->next) {
		*bytes += b->len;
		if (b->next && b->len % BODY_CHUNK != 0)
			return false;
	}
	return true;
}

static bool take_room(struct qtxn *t, uint64_t pages, bool emergency)
{
	uint64_t *room = emergency ? &t->emergency : &t->room;

	if (*room < pages)
		return false;
	*room -= pages;
	t->pages += pages;
	return true;
}

static int judge_accept(const struct queue_accept *a, uint64_t *body_bytes)
{
	const struct message *m = a->message;

	if (m->nrecipients == 0 || m->nrecipients >= MAIL_BODY - 1 || m->id == 0)
		return -EINVAL;
	for (uint32_t i = 0; i < m->nrecipients; i++) {
		const struct recipient *r = &m->recipients[i];
		size_t n = r->domain ? strlen(r->domain) : 0;

		if (n == 0 || n > DOMAIN_MAX || !r->address || r->index >= MAIL_BODY - 2)
			return -EINVAL;
	}
	*body_bytes = 0;
	if (m->body && !blocks_whole(m->body->first, body_bytes))
		return -EINVAL;
	if (head_bytes(m) > BODY_HEAD_MAX || !head_bytes(m) != !(m->flags & MESSAGE_HEAD))
		return -EINVAL;
	if (m->size != *body_bytes + head_bytes(m) + (a->appended && m->body ? m->body->taken : 0))
		return -EINVAL;
	return chunks_of(m->size) >= MAIL_BODY ? -EFBIG : 0;
}

/* The pieces sent ahead must all be there: one that failed (no space) is a gap in the body. */
static int join_appended(struct qtxn *t, const struct queue_accept *a)
{
	uint64_t have = 0;
	bool dead;
	int r;

	if (!a->appended || !a->message->body || a->message->body->taken == 0)
		return 0;
	r = qtxn_loose_get(t, a->message->id, &have, &dead);
	if (!r && (dead || have != a->message->body->taken))
		r = -ENOENT;
	return r;
}

static int put_recipients(struct qtxn *t, const struct queue_accept *a)
{
	const struct message *m = a->message;
	const struct queue_rcpt_state fresh = { .due = a->due };

	for (uint32_t i = 0; i < m->nrecipients; i++) {
		const struct recipient *rc = &m->recipients[i];
		struct mail_key k = mail_key(m->id, rc->index + 1);
		struct slice rec;
		int r;

		buf_reset(&t->record);
		r = recipient_encode(&t->record, rc, &fresh);
		if (r) {
			t->broken = true;
			return r;
		}
		rec = buf_slice(&t->record);
		r = qtxn_put(t, t->mail, 0, val_of(k.b, sizeof(k.b)), val_of(rec.p, rec.n),
			MDB_NOOVERWRITE);
		if (!r && !(m->flags & MESSAGE_HELD))
			r = qtxn_due_new(t, slice_of(rc->domain), a->due, m->id, rc->index);
		if (r)
			return r;
	}
	return 0;
}

static int put_envelope(struct qtxn *t, const struct message *m)
{
	struct mail_key k = mail_key(m->id, 0);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int r, rc;

	buf_reset(&t->record);
	r = envelope_encode(&t->record, m);
	if (r)
		return r;
	v = val_of(t->record.p, t->record.len);
	if (v.mv_size > RECORD_MAX)
		return -EINVAL;
	rc = mdb_cursor_put(t->mail, &key, &v, MDB_NOOVERWRITE);
	if (rc == MDB_KEYEXIST)
		return -EEXIST; /* nothing changed yet */
	t->dirty = true;
	return qtxn_fail(t, rc);
}

static int forget_loose(struct qtxn *t, uint64_t id)
{
	char k[8];
	MDB_val key;

	put_be64(k, id);
	key = val_of(k, sizeof(k));
	return qtxn_fail(t, mdb_del(t->txn, t->s->loose, &key, NULL));
}

static int accept_with(struct qtxn *t, const struct queue_accept *a, bool emergency)
{
	const struct message *m = a->message;
	uint64_t body_bytes, taken = a->appended && m->body ? m->body->taken : 0;
	uint32_t chunk = (uint32_t)(taken / BODY_CHUNK);
	int r = judge_accept(a, &body_bytes);

	if (!r)
		r = join_appended(t, a);
	if (r)
		return r;
	/* some pages for the body's short end, the records and a leaf that splits */
	if (!take_room(t, chunks_of(body_bytes) + chunks_of(head_bytes(m)) + 2 + m->nrecipients / 4,
		    emergency))
		return -ENOSPC;
	r = put_envelope(t, m);
	if (!r)
		r = put_recipients(t, a);
	if (!r && m->body)
		r = put_blocks(t, m->id, m->body->first, &chunk);
	if (!r && head_bytes(m) > 0)
		r = put_head(t, m->id, m->body->head);
	if (!r && taken > 0)
		r = forget_loose(t, m->id);
	if (r)
		return r;
	t->totals.messages++;
	t->totals.recipients += m->nrecipients;
	t->totals.bytes += m->size;
	t->accepted++;
	return 0;
}

int qtxn_accept(struct qtxn *t, const struct queue_accept *a)
{
	return accept_with(t, a, false);
}

int qtxn_accept_notice(struct qtxn *t, const struct queue_accept *a)
{
	return accept_with(t, a, true);
}

int qtxn_append(struct qtxn *t, const struct queue_append *a)
{
	uint64_t bytes, have = 0;
	uint32_t chunk = (uint32_t)(a->offset / BODY_CHUNK);
	bool dead = false;
	int r;

	if (a->id == 0 || a->offset % BODY_CHUNK != 0 || !blocks_whole(a->blocks, &bytes) ||
		bytes % BODY_CHUNK != 0)
		return -EINVAL;
	if (chunks_of(a->offset + bytes) >= MAIL_BODY)
		return -EFBIG;
	r = qtxn_loose_get(t, a->id, &have, &dead);
	if (r && r != -ENOENT)
		return r;
	/* out of order means that an earlier piece failed; what is there is thrown away by DISCARD
	 */
	if (dead || have != a->offset)
		return -ENOENT;
	if (!take_room(t, chunks_of(bytes) + 2, false))
		return -ENOSPC;
	r = put_blocks(t, a->id, a->blocks, &chunk);
	if (!r)
		r = qtxn_loose_set(t, a->id, have + bytes, false);
	return r;
}

int qtxn_discard(struct qtxn *t, uint64_t id)
{
	uint64_t have = 0;
	bool dead = false;
	int r = qtxn_loose_get(t, id, &have, &dead);

	if (r == -ENOENT)
		return 0;
	if (r || dead)
		return r;
	t->more_loose = true;
	return qtxn_loose_set(t, id, have, true);
}
