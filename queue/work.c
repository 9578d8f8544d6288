/* One write transaction while it is made: begin, commit, and the indexes that all jobs share (due,
 * young, loose). What each kind of job does is in accept.c, settle.c, walk.c and fix.c. The
 * writer's thread alone.
 *
 * begin → work_* in any number → commit or abort. What the commit changes in the young index in
 * memory is only noted meanwhile (ops), and applied when the commit is on disk. */
#include "work.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

int work_init(struct work *w, struct store *s)
{
	*w = (struct work){ .s = s, .young = young_new() };
	buf_init(&w->record, 0);
	w->moving = calloc(YOUNG_MOVE_MAX, sizeof(*w->moving));
	return w->young && w->moving ? 0 : -ENOMEM;
}

void work_deinit(struct work *w)
{
	buf_deinit(&w->record);
	free(w->ops);
	free(w->moving);
	w->young = young_free(w->young);
}

int work_fail(struct work *w, int rc)
{
	if (rc)
		w->broken = true;
	return lmdb_errno(rc);
}

int work_begin(struct work *w, uint64_t reserve)
{
	uint64_t used, max = w->s->map_size / w->s->page_size;
	int r = store_write(w->s, &w->txn);

	if (r)
		return r;
	w->broken = w->dirty = w->more_loose = false;
	w->pages = w->accepted = w->settled = 0;
	w->flagged.n = 0;
	w->mail = w->due = NULL;
	w->nops = w->young_adds = 0;
	w->young_floor = w->young_strays ? 0 : young_min_id(w->young);
	r = store_totals(w->s, w->txn, &w->totals);
	if (!r)
		r = lmdb_errno(mdb_cursor_open(w->txn, w->s->mail, &w->mail));
	if (!r)
		r = lmdb_errno(mdb_cursor_open(w->txn, w->s->due, &w->due));
	if (r) {
		work_abort(w);
		return r;
	}
	used = store_pages_used(w->s, w->txn);
	w->emergency = max > used ? max - used : 0;
	if (w->s->disk_tight) {
		/* the file cannot grow: what is free inside it is for new mail, what was allocated
		 * ahead is not */
		max = w->s->allocated_end / w->s->page_size;
		reserve = w->s->disk_ahead / 2;
	}
	used += reserve / w->s->page_size;
	w->room = max > used ? max - used : 0;
	return 0;
}

static void close_cursors(struct work *w)
{
	if (w->mail)
		mdb_cursor_close(w->mail);
	if (w->due)
		mdb_cursor_close(w->due);
	w->mail = w->due = NULL;
}

int work_commit(struct work *w)
{
	int r;

	close_cursors(w);
	if (!w->dirty) {
		mdb_txn_abort(w->txn);
		w->txn = NULL;
		return 0;
	}
	r = store_totals_put(w->s, w->txn, &w->totals);
	if (r) {
		work_abort(w);
		return r;
	}
	r = lmdb_errno(mdb_txn_commit(w->txn));
	w->txn = NULL;
	return r;
}

void work_abort(struct work *w)
{
	close_cursors(w);
	mdb_txn_abort(w->txn);
	w->txn = NULL;
}

int work_put(struct work *w, MDB_cursor *c, MDB_dbi dbi, MDB_val key, MDB_val v, unsigned flags)
{
	int rc = c ? mdb_cursor_put(c, &key, &v, flags) : mdb_put(w->txn, dbi, &key, &v, flags);

	if (!rc)
		w->dirty = true;
	return work_fail(w, rc);
}

/* ---- due index ---- */

int work_due_add(struct work *w, struct slice domain, ms_t due, uint64_t id, uint32_t index)
{
	struct due_key k;

	due_key_make(&k, domain, due, id, index);
	return work_put(w, w->due, 0, val_of(k.b, k.n), val_of("", 0), 0);
}

static int op_log(struct work *w, const struct young_op *op)
{
	if (w->nops == w->ops_cap) {
		uint32_t cap = w->ops_cap ? 2 * w->ops_cap : 256;
		struct young_op *ops = realloc(w->ops, cap * sizeof(*ops));

		if (!ops) {
			w->broken = true;
			return -ENOMEM;
		}
		w->ops = ops;
		w->ops_cap = cap;
	}
	w->ops[w->nops++] = *op;
	return 0;
}

static struct mail_key young_key(uint64_t id, uint32_t index)
{
	return mail_key(id, index);
}

int work_due_new(struct work *w, struct slice domain, ms_t due, uint64_t id, uint32_t index)
{
	const struct young_op op = { { id, due, index }, domain };
	struct mail_key k = young_key(id, index);
	int r;

	if (young_count(w->young) + w->young_adds >= YOUNG_MAX)
		return work_due_add(w, domain, due, id, index);
	r = work_put(w, NULL, w->s->young, val_of(k.b, sizeof(k.b)), val_of("", 0), 0);
	if (!r)
		r = op_log(w, &op);
	w->young_adds++;
	if (id < w->young_floor)
		w->young_floor = id;
	return r;
}

int work_young_del(struct work *w, uint64_t id, uint32_t index, bool *was)
{
	const struct young_op op = { { id, 0, index }, { NULL, 0 } };
	struct mail_key k = young_key(id, index);
	MDB_val key = val_of(k.b, sizeof(k.b));
	int rc;

	*was = false;
	if (id < w->young_floor)
		return 0;
	rc = mdb_del(w->txn, w->s->young, &key, NULL);
	if (rc == MDB_NOTFOUND)
		return 0;
	*was = rc == 0;
	w->dirty = true;
	return rc ? work_fail(w, rc) : op_log(w, &op);
}

int work_young_move(struct work *w, struct slice domain, uint32_t *max, bool *finished)
{
	const struct young_entry *e = w->moving;
	uint32_t want = *max < YOUNG_MOVE_MAX ? *max : YOUNG_MOVE_MAX, n;
	int r = 0;

	/* what this transaction moves stays in the index, in front, until its commit */
	n = young_peek(w->young, domain, NULL, w->moving, want);
	*finished = n < want;
	for (uint32_t i = 0; i < n && !r; i++) {
		bool was;

		r = work_young_del(w, e[i].id, e[i].index, &was);
		if (!r && was)
			r = work_due_add(w, domain, e[i].due, e[i].id, e[i].index);
		--*max;
	}
	return r;
}

static int move_stray(struct work *w, uint64_t id, uint32_t index)
{
	struct mail_key k = mail_key(id, index + 1);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	struct recipient_brief b;
	int rc = mdb_cursor_get(w->mail, &key, &v, MDB_SET), r;
	bool was;

	if (rc && rc != MDB_NOTFOUND)
		return work_fail(w, rc);
	/* without a readable record nobody knows its domain: check-queue speaks of it */
	if (rc || recipient_brief(&b, slice_of_val(v)) || b.domain.n > DOMAIN_MAX)
		return 0;
	r = work_due_add(w, b.domain, b.due, id, index);
	return r ? r : work_young_del(w, id, index, &was);
}

int work_young_strays(struct work *w)
{
	struct mail_key at = { { 0 } };
	int r = 0;

	w->young_floor = 0;
	while (!r) {
		MDB_val key = val_of(at.b, sizeof(at.b));
		MDB_cursor *c;
		uint64_t id;
		uint32_t index;
		int rc = mdb_cursor_open(w->txn, w->s->young, &c);

		if (rc)
			return work_fail(w, rc);
		rc = mdb_cursor_get(c, &key, NULL, MDB_SET_RANGE);
		while (!rc && key.mv_size == MAIL_KEY_LEN &&
			young_has(
				w->young, get_be64(key.mv_data), get_be32((char *)key.mv_data + 8)))
			rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT);
		mdb_cursor_close(c);
		if (rc || key.mv_size != MAIL_KEY_LEN)
			return rc == MDB_NOTFOUND ? 0 : work_fail(w, rc);
		id = get_be64(key.mv_data);
		index = get_be32((char *)key.mv_data + 8);
		r = move_stray(w, id, index);
		at = young_key(id, index);
		if (index == UINT32_MAX)
			return r;
		put_be32(at.b + 8, index + 1);
	}
	return r;
}

bool work_young_apply(struct work *w)
{
	bool all = true;

	for (uint32_t i = 0; i < w->nops; i++) {
		const struct young_op *op = &w->ops[i];

		if (!op->domain.p)
			young_remove(w->young, op->e.id, op->e.index);
		else if (young_add(w->young, op->domain, &op->e))
			all = false;
	}
	w->nops = 0;
	return all;
}

/* was: whether there was an entry. None is no error: held messages have none. */
int work_due_remove(
	struct work *w, struct slice domain, ms_t due, uint64_t id, uint32_t index, bool *was)
{
	struct due_key k;
	MDB_val key;
	int rc = work_young_del(w, id, index, was);

	if (rc || *was)
		return rc;
	due_key_make(&k, domain, due, id, index);
	key = val_of(k.b, k.n);
	rc = mdb_cursor_get(w->due, &key, NULL, MDB_SET);
	*was = rc == 0;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (!rc)
		rc = mdb_cursor_del(w->due, 0);
	w->dirty = true;
	return work_fail(w, rc);
}

/* ---- loose bodies: value is bytes(8), dead(1) ---- */

#define LOOSE_LEN 9u

int work_loose_set(struct work *w, uint64_t id, uint64_t bytes, bool dead)
{
	char k[8], v[LOOSE_LEN];

	put_be64(k, id);
	put_be64(v, bytes);
	v[8] = dead;
	return work_put(w, NULL, w->s->loose, val_of(k, sizeof(k)), val_of(v, sizeof(v)), 0);
}

int work_loose_get(struct work *w, uint64_t id, uint64_t *bytes, bool *dead)
{
	char k[8];
	MDB_val key, v;
	int rc;

	put_be64(k, id);
	key = val_of(k, sizeof(k));
	rc = mdb_get(w->txn, w->s->loose, &key, &v);
	if (rc)
		return lmdb_errno(rc);
	if (v.mv_size != LOOSE_LEN)
		return -EBADMSG;
	*bytes = get_be64(v.mv_data);
	*dead = ((char *)v.mv_data)[8] != 0;
	return 0;
}

/* Removes chunks of one body, at most *max, counted down. *gone: none is left. */
static int remove_chunks(struct work *w, uint64_t id, uint32_t *max, bool *gone)
{
	struct mail_key from = mail_key(id, MAIL_BODY);
	MDB_val key = val_of(from.b, sizeof(from.b)), v;
	int rc = mdb_cursor_get(w->mail, &key, &v, MDB_SET_RANGE);
	uint32_t sub;

	*gone = false;
	/* chunks are the last of a message: no upper bound to look at within it */
	while (!rc && *max > 0 && work_key_of(key, id, &sub)) {
		rc = mdb_cursor_del(w->mail, 0);
		if (rc)
			return work_fail(w, rc);
		w->dirty = true;
		w->pages++; /* its page was touched to free it */
		--*max;
		rc = mdb_cursor_get(w->mail, &key, &v, MDB_NEXT);
	}
	if (rc && rc != MDB_NOTFOUND)
		return work_fail(w, rc);
	*gone = rc || !work_key_of(key, id, &sub);
	return 0;
}

static int reap_one(struct work *w, uint64_t id, uint32_t *max, bool *gone)
{
	char k[8];
	MDB_val key;
	int r = remove_chunks(w, id, max, gone);

	if (r || !*gone)
		return r;
	put_be64(k, id);
	key = val_of(k, sizeof(k));
	w->dirty = true;
	return work_fail(w, mdb_del(w->txn, w->s->loose, &key, NULL));
}

int work_reap(struct work *w, uint32_t max)
{
	uint64_t next = 0;
	bool gone = true;
	int r = 0;

	w->more_loose = false;
	while (!r) {
		char k[8];
		MDB_val key, v;
		MDB_cursor *c;
		uint64_t id;
		bool dead;
		int rc = mdb_cursor_open(w->txn, w->s->loose, &c);

		if (rc)
			return work_fail(w, rc);
		put_be64(k, next);
		key = val_of(k, sizeof(k));
		/* a cursor each time: deleting from its tree below would leave it astray */
		rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
		mdb_cursor_close(c);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc)
			return work_fail(w, rc);
		if (key.mv_size != sizeof(k) || v.mv_size != LOOSE_LEN)
			return -EBADMSG;
		id = get_be64(key.mv_data);
		dead = ((char *)v.mv_data)[8] != 0 || id < w->first_id;
		next = id + 1;
		if (!dead)
			continue;
		if (max == 0) {
			w->more_loose = true;
			return 0;
		}
		r = reap_one(w, id, &max, &gone);
		if (!r && !gone) {
			w->more_loose = true;
			return 0;
		}
	}
	return r;
}

/* ---- learned state ---- */

#define STATE_KEY_MAX 400u

int work_state(struct work *w, const struct queue_state_put *j)
{
	for (uint32_t i = 0; i < j->n; i++) {
		if (j->entries[i].key.n == 0 || j->entries[i].key.n > STATE_KEY_MAX)
			return -EINVAL;
	}
	for (uint32_t i = 0; i < j->n; i++) {
		const struct queue_state_entry *e = &j->entries[i];
		MDB_val key = val_of(e->key.p, e->key.n);
		int rc;

		if (e->value.p) {
			int r = work_put(
				w, NULL, w->s->state, key, val_of(e->value.p, e->value.n), 0);

			if (r)
				return r;
			continue;
		}
		rc = mdb_del(w->txn, w->s->state, &key, NULL);
		if (rc && rc != MDB_NOTFOUND)
			return work_fail(w, rc);
		w->dirty = true;
	}
	w->pages += j->n;
	return 0;
}
