/* A walk over all messages without their texts and content: two or three steps of a cursor for
 * each. Called by control commands, on their clients' threads; a slice of it is one read
 * transaction. */
#include <errno.h>
#include <stdlib.h>

#include "queue_impl.h"

struct walk {
	MDB_cursor *c;
	MDB_val key, v;
	uint64_t id;
	uint32_t sub;
	struct queue_brief_rcpt *rcpts;
	uint32_t n, cap;
};

static int seek(struct walk *w, uint64_t id, uint32_t sub)
{
	struct mail_key k = mail_key(id, sub);
	int rc;

	w->key = val_of(k.b, sizeof(k.b));
	rc = mdb_cursor_get(w->c, &w->key, &w->v, MDB_SET_RANGE);
	if (!rc && !mail_key_parse(w->key.mv_data, w->key.mv_size, &w->id, &w->sub))
		rc = MDB_CORRUPTED;
	return rc;
}

static int step(struct walk *w)
{
	int rc = mdb_cursor_get(w->c, &w->key, &w->v, MDB_NEXT);

	if (!rc && !mail_key_parse(w->key.mv_data, w->key.mv_size, &w->id, &w->sub))
		rc = MDB_CORRUPTED;
	return rc;
}

static int add_rcpt(struct walk *w)
{
	struct queue_brief_rcpt b;

	if (recipient_who(&b, slice_of_val(w->v)))
		return 0;
	b.index = w->sub - 1;
	if (w->n == w->cap) {
		uint32_t cap = w->cap ? 2 * w->cap : 64;
		struct queue_brief_rcpt *r = realloc(w->rcpts, cap * sizeof(*r));

		if (!r)
			return ENOMEM;
		w->rcpts = r;
		w->cap = cap;
	}
	w->rcpts[w->n++] = b;
	return 0;
}

/* The message that the cursor is at the envelope of; then it is behind its recipients. */
static int take(struct walk *w, void (*fn)(void *arg, const struct queue_brief *m), void *arg)
{
	struct queue_brief m = { 0 };
	struct envelope_brief e;
	uint64_t id = w->id;
	bool sound =
		w->sub == 0 && !envelope_brief(&e, slice_of_val(w->v)) && !envelope_who(&e, &m.who);
	int rc = 0;

	w->n = 0;
	if (sound)
		rc = step(w);
	while (sound && !rc && w->id == id && w->sub < MAIL_BODY) {
		rc = add_rcpt(w);
		if (!rc)
			rc = step(w);
	}
	if (sound && (!rc || rc == MDB_NOTFOUND) && w->n) {
		m.who.id = id;
		m.size = e.size;
		m.held = e.flags & MESSAGE_HELD;
		m.n = w->n;
		m.rcpts = w->rcpts;
		fn(arg, &m);
	}
	return rc ? rc : seek(w, id + 1, 0); /* over the content */
}

int queue_walk(struct queue *q, uint64_t *id, uint32_t max,
	void (*fn)(void *arg, const struct queue_brief *m), void *arg)
{
	struct walk w = { 0 };
	MDB_txn *txn;
	uint32_t n = 0;
	int rc, r = store_read(&q->store, &txn);

	if (r)
		return r;
	rc = mdb_cursor_open(txn, q->store.mail, &w.c);
	if (!rc)
		rc = seek(&w, *id, 0);
	for (; !rc && n < max; n++)
		rc = take(&w, fn, arg);
	if (!rc)
		*id = w.id;
	if (w.c)
		mdb_cursor_close(w.c);
	store_read_end(&q->store, txn);
	store_touched(&q->store, 4096ull * n);
	free(w.rcpts);
	return rc == ENOMEM ? -ENOMEM : lmdb_errno(rc);
}
