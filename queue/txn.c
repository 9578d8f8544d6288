/* One write transaction while it is made: begin, commit, and the indexes that all jobs share (due,
 * young, loose). What each kind of job does is in accept.c, settle.c, walk.c and fix.c. The
 * writer's thread alone.
 *
 * begin → work_* in any number → commit or abort. What the commit changes in the young index in
 * memory is only noted meanwhile (ops), and applied when the commit is on disk. */
#include "txn.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

int qtxn_init(struct qtxn *t, struct store *s)
{
	*t = (struct qtxn){ .s = s, .young = young_new() };
	buf_init(&t->record, 0);
	t->moving = calloc(YOUNG_MOVE_MAX, sizeof(*t->moving));
	return t->young && t->moving ? 0 : -ENOMEM;
}

void qtxn_deinit(struct qtxn *t)
{
	buf_deinit(&t->record);
	free(t->ops);
	free(t->moving);
	t->young = young_free(t->young);
}

int qtxn_fail(struct qtxn *t, int rc)
{
	if (rc)
		t->broken = true;
	return lmdb_errno(rc);
}

int qtxn_begin(struct qtxn *t, uint64_t reserve)
{
	uint64_t used, max = t->s->map_size / t->s->page_size;
	int r = store_write(t->s, &t->txn);

	if (r)
		return r;
	t->broken = t->dirty = t->more_loose = false;
	t->pages = t->accepted = t->settled = 0;
	t->flagged.n = 0;
	t->mail = t->due = NULL;
	t->nops = t->young_adds = 0;
	t->young_floor = t->young_strays ? 0 : young_min_id(t->young);
	r = store_totals(t->s, t->txn, &t->totals);
	if (!r)
		r = lmdb_errno(mdb_cursor_open(t->txn, t->s->mail, &t->mail));
	if (!r)
		r = lmdb_errno(mdb_cursor_open(t->txn, t->s->due, &t->due));
	if (r) {
		qtxn_abort(t);
		return r;
	}
	used = store_pages_used(t->s, t->txn);
	t->emergency = max > used ? max - used : 0;
	if (t->s->disk_tight) {
		/* the file cannot grow: what is free inside it is for new mail, what was allocated
		 * ahead is not */
		max = t->s->allocated_end / t->s->page_size;
		reserve = t->s->disk_ahead / 2;
	}
	used += reserve / t->s->page_size;
	t->room = max > used ? max - used : 0;
	return 0;
}

static void close_cursors(struct qtxn *t)
{
	if (t->mail)
		mdb_cursor_close(t->mail);
	if (t->due)
		mdb_cursor_close(t->due);
	t->mail = t->due = NULL;
}

int qtxn_commit(struct qtxn *t)
{
	int r;

	close_cursors(t);
	if (!t->dirty) {
		mdb_txn_abort(t->txn);
		t->txn = NULL;
		return 0;
	}
	r = store_totals_put(t->s, t->txn, &t->totals);
	if (r) {
		qtxn_abort(t);
		return r;
	}
	r = lmdb_errno(mdb_txn_commit(t->txn));
	t->txn = NULL;
	return r;
}

void qtxn_abort(struct qtxn *t)
{
	close_cursors(t);
	mdb_txn_abort(t->txn);
	t->txn = NULL;
}

int qtxn_put(struct qtxn *t, MDB_cursor *c, MDB_dbi dbi, MDB_val key, MDB_val v, unsigned flags)
{
	int rc = c ? mdb_cursor_put(c, &key, &v, flags) : mdb_put(t->txn, dbi, &key, &v, flags);

	if (!rc)
		t->dirty = true;
	return qtxn_fail(t, rc);
}

/* ---- due index ---- */

int qtxn_due_add(struct qtxn *t, struct slice domain, ms_t due, uint64_t id, uint32_t index)
{
	struct due_key k;

	due_key_make(&k, domain, due, id, index);
	return qtxn_put(t, t->due, 0, val_of(k.b, k.n), val_of("", 0), 0);
}

static int op_log(struct qtxn *t, const struct young_op *op)
{
	if (t->nops == t->ops_cap) {
		uint32_t cap = t->ops_cap ? 2 * t->ops_cap : 256;
		struct young_op *ops = realloc(t->ops, cap * sizeof(*ops));

		if (!ops) {
			t->broken = true;
			return -ENOMEM;
		}
		t->ops = ops;
		t->ops_cap = cap;
	}
	t->ops[t->nops++] = *op;
	return 0;
}

static struct mail_key young_key(uint64_t id, uint32_t index)
{
	return mail_key(id, index);
}

int qtxn_due_new(struct qtxn *t, struct slice domain, ms_t due, uint64_t id, uint32_t index)
{
	const struct young_op op = { { id, due, index }, domain };
	struct mail_key k = young_key(id, index);
	int r;

	if (young_count(t->young) + t->young_adds >= YOUNG_MAX)
		return qtxn_due_add(t, domain, due, id, index);
	r = qtxn_put(t, NULL, t->s->young, val_of(k.b, sizeof(k.b)), val_of("", 0), 0);
	if (!r)
		r = op_log(t, &op);
	t->young_adds++;
	if (id < t->young_floor)
		t->young_floor = id;
	return r;
}

int qtxn_young_del(struct qtxn *t, uint64_t id, uint32_t index, bool *was)
{
	const struct young_op op = { { id, 0, index }, { NULL, 0 } };
	struct mail_key k = young_key(id, index);
	MDB_val key = val_of(k.b, sizeof(k.b));
	int rc;

	*was = false;
	if (id < t->young_floor)
		return 0;
	rc = mdb_del(t->txn, t->s->young, &key, NULL);
	if (rc == MDB_NOTFOUND)
		return 0;
	*was = rc == 0;
	t->dirty = true;
	return rc ? qtxn_fail(t, rc) : op_log(t, &op);
}

int qtxn_young_move(struct qtxn *t, struct slice domain, uint32_t *max, bool *finished)
{
	const struct young_entry *e = t->moving;
	uint32_t want = *max < YOUNG_MOVE_MAX ? *max : YOUNG_MOVE_MAX, n;
	int r = 0;

	/* what this transaction moves stays in the index, in front, until its commit */
	n = young_peek(t->young, domain, NULL, t->moving, want);
	*finished = n < want;
	for (uint32_t i = 0; i < n && !r; i++) {
		bool was;

		r = qtxn_young_del(t, e[i].id, e[i].index, &was);
		if (!r && was)
			r = qtxn_due_add(t, domain, e[i].due, e[i].id, e[i].index);
		--*max;
	}
	return r;
}

static int move_stray(struct qtxn *t, uint64_t id, uint32_t index)
{
	struct mail_key k = mail_key(id, index + 1);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	struct recipient_brief b;
	int rc = mdb_cursor_get(t->mail, &key, &v, MDB_SET), r;
	bool was;

	if (rc && rc != MDB_NOTFOUND)
		return qtxn_fail(t, rc);
	/* without a readable record nobody knows its domain: check-queue speaks of it */
	if (rc || recipient_brief(&b, slice_of_val(v)) || b.domain.n > DOMAIN_MAX)
		return 0;
	r = qtxn_due_add(t, b.domain, b.due, id, index);
	return r ? r : qtxn_young_del(t, id, index, &was);
}

int qtxn_young_strays(struct qtxn *t)
{
	struct mail_key at = { { 0 } };
	int r = 0;

	t->young_floor = 0;
	while (!r) {
		MDB_val key = val_of(at.b, sizeof(at.b));
		MDB_cursor *c;
		uint64_t id;
		uint32_t index;
		int rc = mdb_cursor_open(t->txn, t->s->young, &c);

		if (rc)
			return qtxn_fail(t, rc);
		rc = mdb_cursor_get(c, &key, NULL, MDB_SET_RANGE);
		while (!rc && key.mv_size == MAIL_KEY_LEN &&
			young_has(
				t->young, get_be64(key.mv_data), get_be32((char *)key.mv_data + 8)))
			rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT);
		mdb_cursor_close(c);
		if (rc || key.mv_size != MAIL_KEY_LEN)
			return rc == MDB_NOTFOUND ? 0 : qtxn_fail(t, rc);
		id = get_be64(key.mv_data);
		index = get_be32((char *)key.mv_data + 8);
		r = move_stray(t, id, index);
		at = young_key(id, index);
		if (index == UINT32_MAX)
			return r;
		put_be32(at.b + 8, index + 1);
	}
	return r;
}

bool qtxn_young_apply(struct qtxn *t)
{
	bool all = true;

	for (uint32_t i = 0; i < t->nops; i++) {
		const struct young_op *op = &t->ops[i];

		if (!op->domain.p)
			young_remove(t->young, op->e.id, op->e.index);
		else if (young_add(t->young, op->domain, &op->e))
			all = false;
	}
	t->nops = 0;
	return all;
}

/* was: whether there was an entry. None is no error: held messages have none. */
int qtxn_due_remove(
	struct qtxn *t, struct slice domain, ms_t due, uint64_t id, uint32_t index, bool *was)
{
	struct due_key k;
	MDB_val key;
	int rc = qtxn_young_del(t, id, index, was);

	if (rc || *was)
		return rc;
	due_key_make(&k, domain, due, id, index);
	key = val_of(k.b, k.n);
	rc = mdb_cursor_get(t->due, &key, NULL, MDB_SET);
	*was = rc == 0;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (!rc)
		rc = mdb_cursor_del(t->due, 0);
	t->dirty = true;
	return qtxn_fail(t, rc);
}

/* ---- loose bodies: value is bytes(8), dead(1) ---- */

#define LOOSE_LEN 9u

int qtxn_loose_set(struct qtxn *t, uint64_t id, uint64_t bytes, bool dead)
{
	char k[8], v[LOOSE_LEN];

	put_be64(k, id);
	put_be64(v, bytes);
	v[8] = dead;
	return qtxn_put(t, NULL, t->s->loose, val_of(k, sizeof(k)), val_of(v, sizeof(v)), 0);
}

int qtxn_loose_get(struct qtxn *t, uint64_t id, uint64_t *bytes, bool *dead)
{
	char k[8];
	MDB_val key, v;
	int rc;

	put_be64(k, id);
	key = val_of(k, sizeof(k));
	rc = mdb_get(t->txn, t->s->loose, &key, &v);
	if (rc)
		return lmdb_errno(rc);
	if (v.mv_size != LOOSE_LEN)
		return -EBADMSG;
	*bytes = get_be64(v.mv_data);
	*dead = ((char *)v.mv_data)[8] != 0;
	return 0;
}

/* Removes chunks of one body, at most *max, counted down. *gone: none is left. */
static int remove_chunks(struct qtxn *t, uint64_t id, uint32_t *max, bool *gone)
{
	struct mail_key from = mail_key(id, MAIL_BODY);
	MDB_val key = val_of(from.b, sizeof(from.b)), v;
	int rc = mdb_cursor_get(t->mail, &key, &v, MDB_SET_RANGE);
	uint32_t sub;

	*gone = false;
	/* chunks are the last of a message: no upper bound to look at within it */
	while (!rc && *max > 0 && qtxn_key_of(key, id, &sub)) {
		rc = mdb_cursor_del(t->mail, 0);
		if (rc)
			return qtxn_fail(t, rc);
		t->dirty = true;
		t->pages++; /* its page was touched to free it */
		--*max;
		rc = mdb_cursor_get(t->mail, &key, &v, MDB_NEXT);
	}
	if (rc && rc != MDB_NOTFOUND)
		return qtxn_fail(t, rc);
	*gone = rc || !qtxn_key_of(key, id, &sub);
	return 0;
}

static int reap_one(struct qtxn *t, uint64_t id, uint32_t *max, bool *gone)
{
	char k[8];
	MDB_val key;
	int r = remove_chunks(t, id, max, gone);

	if (r || !*gone)
		return r;
	put_be64(k, id);
	key = val_of(k, sizeof(k));
	t->dirty = true;
	return qtxn_fail(t, mdb_del(t->txn, t->s->loose, &key, NULL));
}

int qtxn_reap(struct qtxn *t, uint32_t max)
{
	uint64_t next = 0;
	bool gone = true;
	int r = 0;

	t->more_loose = false;
	while (!r) {
		char k[8];
		MDB_val key, v;
		MDB_cursor *c;
		uint64_t id;
		bool dead;
		int rc = mdb_cursor_open(t->txn, t->s->loose, &c);

		if (rc)
			return qtxn_fail(t, rc);
		put_be64(k, next);
		key = val_of(k, sizeof(k));
		/* a cursor each time: deleting from its tree below would leave it astray */
		rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
		mdb_cursor_close(c);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc)
			return qtxn_fail(t, rc);
		if (key.mv_size != sizeof(k) || v.mv_size != LOOSE_LEN)
			return -EBADMSG;
		id = get_be64(key.mv_data);
		dead = ((char *)v.mv_data)[8] != 0 || id < t->first_id;
		next = id + 1;
		if (!dead)
			continue;
		if (max == 0) {
			t->more_loose = true;
			return 0;
		}
		r = reap_one(t, id, &max, &gone);
		if (!r && !gone) {
			t->more_loose = true;
			return 0;
		}
	}
	return r;
}

/* ---- learned state ---- */

#define STATE_KEY_MAX 400u

int qtxn_state(struct qtxn *t, const struct queue_state_put *j)
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
			int r = qtxn_put(
				t, NULL, t->s->state, key, val_of(e->value.p, e->value.n), 0);

			if (r)
				return r;
			continue;
		}
		rc = mdb_del(t->txn, t->s->state, &key, NULL);
		if (rc && rc != MDB_NOTFOUND)
			return qtxn_fail(t, rc);
		t->dirty = true;
	}
	t->pages += j->n;
	return 0;
}
