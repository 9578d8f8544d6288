/* Repairs, one record each: what is damaged is copied into the tree `damaged` and then taken out,
 * what can be derived again (index entries, totals) is made anew. Called by the writer on its
 * thread, for repairs that readers or check-queue posted; each is part of a transaction like any
 * job. */
#include <errno.h>

#include "txn.h"

static int put_damaged(struct qtxn *t, char tree, struct slice key, struct slice value)
{
	char k[1 + DUE_KEY_MAX];

	if (key.n > sizeof(k) - 1)
		key.n = sizeof(k) - 1;
	k[0] = tree;
	memcpy(k + 1, key.p, key.n);
	return qtxn_put(t, NULL, t->s->damaged, val_of(k, key.n + 1), val_of(value.p, value.n), 0);
}

/* The copy first, then the original. Values are copied out: LMDB moves pages under them as it
 * writes. */
static int move_record(struct qtxn *t, MDB_cursor *c, char tree, struct slice key)
{
	MDB_val k = val_of(key.p, key.n), v;
	int rc = mdb_cursor_get(c, &k, &v, MDB_SET_KEY), r;

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return qtxn_fail(t, rc);
	buf_reset(&t->record);
	r = buf_add(&t->record, v.mv_data, v.mv_size);
	if (!r)
		r = put_damaged(t, tree, key, buf_slice(&t->record));
	if (r) {
		t->broken = true;
		return r;
	}
	return qtxn_fail(t, mdb_cursor_del(c, 0));
}

/* 0, -ENOENT, or what ends the transaction. */
static int get_mail(struct qtxn *t, const struct mail_key *k, MDB_val *v)
{
	MDB_val key = val_of(k->b, sizeof(k->b));
	int rc = mdb_cursor_get(t->mail, &key, v, MDB_SET);

	return rc && rc != MDB_NOTFOUND ? qtxn_fail(t, rc) : lmdb_errno(rc);
}

/* With its entry in whichever index. An entry that cannot be named (the record is unreadable) is
 * found by whoever follows it, and set aside then. 0, also when it is gone. */
static int move_recipient(struct qtxn *t, uint64_t id, uint32_t index)
{
	struct mail_key k = mail_key(id, index + 1);
	struct recipient_brief b;
	MDB_val v;
	bool was;
	int r = get_mail(t, &k, &v);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (recipient_brief(&b, slice_of_val(v)) == 0 && b.domain.n <= DOMAIN_MAX)
		r = qtxn_due_remove(t, b.domain, b.due, id, index, &was);
	else
		r = qtxn_young_del(t, id, index, &was);
	if (!r)
		r = move_record(t, t->mail, 'm', (struct slice){ k.b, sizeof(k.b) });
	t->totals.recipients -= t->totals.recipients > 0;
	return r;
}

static int fix_due(struct qtxn *t, struct slice due_key)
{
	struct recipient_brief b;
	struct due_ref d;
	struct mail_key k;
	bool was;
	MDB_val v;
	int r;

	if (due_key_parse(&d, due_key)) {
		k = mail_key(d.id, d.index + 1);
		r = get_mail(t, &k, &v);
		if (!r && recipient_brief(&b, slice_of_val(v)) == -EBADMSG)
			r = move_recipient(t, d.id, d.index);
		else if (r == -ENOENT)
			r = qtxn_young_del(t, d.id, d.index, &was);
		if (r)
			return r;
	}
	return move_record(t, t->due, 'd', due_key);
}

static int fix_message(struct qtxn *t, uint64_t id)
{
	struct mail_key k = mail_key(id, 0), env = k;
	struct envelope_brief e = { 0 };
	MDB_val v;
	int r = get_mail(t, &k, &v);

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
		rc = mdb_cursor_get(t->mail, &key, &v, MDB_SET_RANGE);
		if (rc && rc != MDB_NOTFOUND)
			return qtxn_fail(t, rc);
		if (rc || !qtxn_key_of(key, id, &sub) || sub >= MAIL_BODY)
			break;
		r = move_recipient(t, id, sub - 1);
	}
	if (!r)
		r = move_record(t, t->mail, 'm', (struct slice){ env.b, sizeof(env.b) });
	t->totals.messages -= t->totals.messages > 0;
	t->totals.bytes -= e.size < t->totals.bytes ? e.size : t->totals.bytes;
	return r;
}

static int fix_index(struct qtxn *t, uint64_t id, uint32_t index)
{
	struct mail_key k = mail_key(id, index + 1);
	struct recipient_brief b;
	char domain[DOMAIN_MAX];
	MDB_val v;
	int r = get_mail(t, &k, &v);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (recipient_brief(&b, slice_of_val(v)) || b.domain.n > DOMAIN_MAX)
		return 0;
	memcpy(domain, b.domain.p, b.domain.n);
	return qtxn_due_add(t, (struct slice){ domain, b.domain.n }, b.due, id, index);
}

static int fix_count(struct qtxn *t)
{
	struct totals counted = { .id_limit = t->totals.id_limit };
	MDB_val key, v;
	int rc;

	for (rc = mdb_cursor_get(t->mail, &key, &v, MDB_FIRST); !rc;
		rc = mdb_cursor_get(t->mail, &key, &v, MDB_NEXT)) {
		struct envelope_brief e;
		uint64_t id;
		uint32_t sub;

		if (!mail_key_parse(key.mv_data, key.mv_size, &id, &sub) || sub >= MAIL_BODY)
			continue;
		if (sub > 0) {
			counted.recipients++;
			continue;
		}
		counted.messages++;
		if (envelope_brief(&e, slice_of_val(v)) == 0)
			counted.bytes += e.size;
	}
	if (rc != MDB_NOTFOUND)
		return qtxn_fail(t, rc);
	t->totals = counted;
	t->dirty = true;
	return 0;
}

static int fix_loose(struct qtxn *t, struct slice mail_key)
{
	MDB_val key = val_of(mail_key.p, 8);
	int rc = mdb_del(t->txn, t->s->loose, &key, NULL);

	t->dirty = true;
	return rc == MDB_NOTFOUND ? 0 : qtxn_fail(t, rc);
}

int qtxn_fix(struct qtxn *t, const struct fix *f)
{
	struct slice key = { f->key.b, f->key.n };
	uint64_t id = key.n == MAIL_KEY_LEN ? get_be64(key.p) : 0;
	uint32_t sub = key.n == MAIL_KEY_LEN ? get_be32(key.p + 8) : 0;
	bool was;

	switch (f->kind) {
	case FIX_DUE:
		return fix_due(t, key);
	case FIX_RECIPIENT:
		return move_recipient(t, id, sub - 1);
	case FIX_MESSAGE:
		return fix_message(t, id);
	case FIX_INDEX:
		return fix_index(t, id, sub - 1);
	case FIX_YOUNG:
		return qtxn_young_del(t, id, sub, &was);
	case FIX_BODY:
		return put_damaged(t, 'b', (struct slice){ key.p, 8 }, (struct slice){ "", 0 });
	case FIX_LOOSE:
		return fix_loose(t, key);
	case FIX_COUNT:
		return fix_count(t);
	}
	return -EINVAL;
}
