/* Setting aside what is damaged, and mending what can be derived again. */
#include <errno.h>

#include "work.h"

static int put_damaged(struct work *w, char tree, struct slice key, struct slice value)
{
	char k[1 + DUE_KEY_MAX];

	if (key.n > sizeof(k) - 1)
		key.n = sizeof(k) - 1;
	k[0] = tree;
	memcpy(k + 1, key.p, key.n);
	return work_put(w, NULL, w->s->damaged, val_of(k, key.n + 1), val_of(value.p, value.n), 0);
}

/* The copy first, then the original. Values are copied out: LMDB moves pages under them as it
 * writes. */
static int move_record(struct work *w, MDB_cursor *c, char tree, struct slice key)
{
	MDB_val k = val_of(key.p, key.n), v;
	int rc = mdb_cursor_get(c, &k, &v, MDB_SET_KEY), r;

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return work_fail(w, rc);
	buf_reset(&w->record);
	r = buf_add(&w->record, v.mv_data, v.mv_size);
	if (!r)
		r = put_damaged(w, tree, key, buf_slice(&w->record));
	if (r) {
		w->broken = true;
		return r;
	}
	return work_fail(w, mdb_cursor_del(c, 0));
}

static int get_mail(struct work *w, const struct mail_key *k, MDB_val *v)
{
	MDB_val key = val_of(k->b, sizeof(k->b));
	int rc = mdb_cursor_get(w->mail, &key, v, MDB_SET);

	return rc && rc != MDB_NOTFOUND ? work_fail(w, rc) : lmdb_errno(rc);
}

/* With its entry in whichever index. An entry that cannot be named (the record is unreadable) is
 * found by whoever follows it, and set aside then. */
static int move_recipient(struct work *w, uint64_t id, uint32_t index)
{
	struct mail_key k = mail_key(id, index + 1);
	struct recipient_brief b;
	MDB_val v;
	bool was;
	int r = get_mail(w, &k, &v);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (recipient_brief(&b, slice_of_val(v)) == 0 && b.domain.n <= DOMAIN_MAX)
		r = work_due_remove(w, b.domain, b.due, id, index, &was);
	else
		r = work_young_del(w, id, index, &was);
	if (!r)
		r = move_record(w, w->mail, 'm', (struct slice){ k.b, sizeof(k.b) });
	w->totals.recipients -= w->totals.recipients > 0;
	return r;
}

static int fix_due(struct work *w, struct slice due_key)
{
	struct recipient_brief b;
	struct due_ref d;
	struct mail_key k;
	bool was;
	MDB_val v;
	int r;

	if (due_key_parse(&d, due_key)) {
		k = mail_key(d.id, d.index + 1);
		r = get_mail(w, &k, &v);
		if (!r && recipient_brief(&b, slice_of_val(v)) == -EBADMSG)
			r = move_recipient(w, d.id, d.index);
		else if (r == -ENOENT)
			r = work_young_del(w, d.id, d.index, &was);
		if (r)
			return r;
	}
	return move_record(w, w->due, 'd', due_key);
}

static int fix_message(struct work *w, uint64_t id)
{
	struct mail_key k = mail_key(id, 0), env = k;
	struct envelope_brief e = { 0 };
	MDB_val v;
	int r = get_mail(w, &k, &v);

	if (!r && envelope_brief(&e, slice_of_val(v)))
		e.size = 0;
	if (r && r != -ENOENT)
		return r;
	for (r = 0; !r;) {
		MDB_val key;
		uint32_t sub;
		int rc;

		put_be32(k.b + 8, 1);
		key = val_of(k.b, sizeof(k.b));
		rc = mdb_cursor_get(w->mail, &key, &v, MDB_SET_RANGE);
		if (rc && rc != MDB_NOTFOUND)
			return work_fail(w, rc);
		if (rc || !work_key_of(key, id, &sub) || sub >= MAIL_BODY)
			break;
		r = move_recipient(w, id, sub - 1);
	}
	if (!r)
		r = move_record(w, w->mail, 'm', (struct slice){ env.b, sizeof(env.b) });
	w->totals.messages -= w->totals.messages > 0;
	w->totals.bytes -= e.size < w->totals.bytes ? e.size : w->totals.bytes;
	return r;
}

static int fix_index(struct work *w, uint64_t id, uint32_t index)
{
	struct mail_key k = mail_key(id, index + 1);
	struct recipient_brief b;
	char domain[DOMAIN_MAX];
	MDB_val v;
	int r = get_mail(w, &k, &v);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (recipient_brief(&b, slice_of_val(v)) || b.domain.n > DOMAIN_MAX)
		return 0;
	memcpy(domain, b.domain.p, b.domain.n);
	return work_due_add(w, (struct slice){ domain, b.domain.n }, b.due, id, index);
}

static int fix_count(struct work *w)
{
	struct totals t = { .id_limit = w->totals.id_limit };
	MDB_val key, v;
	int rc;

	for (rc = mdb_cursor_get(w->mail, &key, &v, MDB_FIRST); !rc;
		rc = mdb_cursor_get(w->mail, &key, &v, MDB_NEXT)) {
		struct envelope_brief e;
		uint64_t id;
		uint32_t sub;

		if (!mail_key_parse(key.mv_data, key.mv_size, &id, &sub) || sub >= MAIL_BODY)
			continue;
		if (sub > 0) {
			t.recipients++;
			continue;
		}
		t.messages++;
		if (envelope_brief(&e, slice_of_val(v)) == 0)
			t.bytes += e.size;
	}
	if (rc != MDB_NOTFOUND)
		return work_fail(w, rc);
	w->totals = t;
	w->dirty = true;
	return 0;
}

static int fix_loose(struct work *w, struct slice mail_key)
{
	MDB_val key = val_of(mail_key.p, 8);
	int rc = mdb_del(w->txn, w->s->loose, &key, NULL);

	w->dirty = true;
	return rc == MDB_NOTFOUND ? 0 : work_fail(w, rc);
}

int work_fix(struct work *w, const struct fix *f)
{
	struct slice key = { f->key.b, f->key.n };
	uint64_t id = key.n == MAIL_KEY_LEN ? get_be64(key.p) : 0;
	uint32_t sub = key.n == MAIL_KEY_LEN ? get_be32(key.p + 8) : 0;
	bool was;

	switch (f->kind) {
	case FIX_DUE:
		return fix_due(w, key);
	case FIX_RECIPIENT:
		return move_recipient(w, id, sub - 1);
	case FIX_MESSAGE:
		return fix_message(w, id);
	case FIX_INDEX:
		return fix_index(w, id, sub - 1);
	case FIX_YOUNG:
		return work_young_del(w, id, sub, &was);
	case FIX_BODY:
		return put_damaged(w, 'b', (struct slice){ key.p, 8 }, (struct slice){ "", 0 });
	case FIX_LOOSE:
		return fix_loose(w, key);
	case FIX_COUNT:
		return fix_count(w);
	}
	return -EINVAL;
}
