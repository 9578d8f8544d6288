/* Outcomes: recipients that are done or wait on, messages that end with their last recipient, and
 * the operator's flags (hold, release, due now). Called by the writer, on its thread, inside one
 * transaction.
 *
 * A message whose last recipient goes loses envelope and index entries at once; a large body
 * follows in later transactions, as loose content. */
#include <errno.h>

#include "txn.h"

/* Chunks removed with the message itself; what is left of a large body goes in transactions of its
 * own, so that no transaction, and no one who waits for it, grows with the size of a message. */
#define CHUNKS_AT_ONCE 64u

static int get_record(struct qtxn *t, uint64_t id, uint32_t sub, MDB_val *v)
{
	struct mail_key k = mail_key(id, sub);
	MDB_val key = val_of(k.b, sizeof(k.b));

	return mdb_cursor_get(t->mail, &key, v, MDB_SET);
}

/* -ENOENT, -EBADMSG; the error changes nothing. */
static int get_envelope(struct qtxn *t, uint64_t id, struct envelope_brief *ret)
{
	MDB_val v;
	int rc = get_record(t, id, 0, &v);

	if (rc)
		return lmdb_errno(rc);
	return envelope_brief(ret, slice_of_val(v));
}

static bool is_held(struct qtxn *t, uint64_t id)
{
	struct envelope_brief e;

	return get_envelope(t, id, &e) == 0 && (e.flags & MESSAGE_HELD);
}

/* Whether some recipient is left. The envelope then stays. */
static int any_left(struct qtxn *t, uint64_t id, bool *ret)
{
	struct mail_key k = mail_key(id, 1);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int rc = mdb_cursor_get(t->mail, &key, &v, MDB_SET_RANGE);
	uint32_t sub;

	if (rc && rc != MDB_NOTFOUND)
		return qtxn_fail(t, rc);
	*ret = !rc && qtxn_key_of(key, id, &sub) && sub < MAIL_BODY;
	return 0;
}

static int remove_message(struct qtxn *t, uint64_t id)
{
	struct envelope_brief e = { 0 };
	struct mail_key k = mail_key(id, 0);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	uint32_t removed = 0, sub;
	int rc;

	/* a damaged envelope ends with its last recipient like any other; its size is then unknown
	 */
	if (get_envelope(t, id, &e))
		e.size = 0;
	rc = mdb_cursor_get(t->mail, &key, &v, MDB_SET_RANGE);
	while (!rc && qtxn_key_of(key, id, &sub)) {
		if (++removed > CHUNKS_AT_ONCE) {
			int r = qtxn_loose_set(t, id, e.size, true);

			t->more_loose = true;
			if (r)
				return r;
			break;
		}
		rc = mdb_cursor_del(t->mail, 0);
		if (!rc)
			rc = mdb_cursor_get(t->mail, &key, &v, MDB_NEXT);
	}
	if (rc && rc != MDB_NOTFOUND)
		return qtxn_fail(t, rc);
	t->pages += removed / 2; /* a page for each chunk but the tail, and those are freed */
	t->totals.messages -= t->totals.messages > 0;
	t->totals.bytes -= e.size < t->totals.bytes ? e.size : t->totals.bytes;
	return 0;
}

static int rcpt_gone(
	struct qtxn *t, const struct queue_settle *j, const struct queue_settle_rcpt *o, MDB_val v)
{
	struct recipient_brief b;
	bool was;
	int r = recipient_brief(&b, slice_of_val(v));

	/* The record's own idea of its index entry is right, whatever happened since it was read.
	 * If it cannot be read, the settler's will do: a recipient that is done is done. */
	if (r && o->domain && strlen(o->domain) <= DOMAIN_MAX)
		b = (struct recipient_brief){ .domain = slice_of(o->domain), .due = o->old_due };
	else if (r)
		return r;
	/* the mail cursor stands on the record; due is another tree: v stays where it is until mail
	 * changes */
	r = qtxn_due_remove(t, b.domain, b.due, j->id, o->index, &was);
	if (r)
		return r;
	t->dirty = true;
	r = qtxn_fail(t, mdb_cursor_del(t->mail, 0));
	t->totals.recipients -= t->totals.recipients > 0;
	t->settled++;
	return r;
}

static int rcpt_defer(
	struct qtxn *t, const struct queue_settle *j, const struct queue_settle_rcpt *o, MDB_val v)
{
	struct mail_key k = mail_key(j->id, o->index + 1);
	struct recipient_brief b;
	char domain[DOMAIN_MAX];
	struct slice d = { domain, 0 };
	bool was;
	int r = recipient_brief(&b, slice_of_val(v));

	if (r)
		return r;
	if (b.domain.n > DOMAIN_MAX)
		return -EBADMSG;
	memcpy(domain, b.domain.p, b.domain.n);
	d.n = b.domain.n;
	buf_reset(&t->record);
	r = recipient_restate(&t->record, &b, &o->state);
	if (r)
		return r;
	r = qtxn_due_remove(t, d, b.due, j->id, o->index, &was);
	if (!r)
		r = qtxn_put(t, t->mail, 0, val_of(k.b, sizeof(k.b)),
			val_of(t->record.p, t->record.len), 0);
	/* Who had no entry is held, and gets one when released. Looked up only then: it is rare. */
	if (!r && !(o->state.flags & RCPT_STATE_HELD) && (was || !is_held(t, j->id)))
		r = qtxn_due_add(t, d, o->state.due, j->id, o->index);
	return r;
}

int qtxn_settle(struct qtxn *t, const struct queue_settle *j)
{
	bool changed = false, left = true;
	int r = 0;

	for (uint32_t i = 0; i < j->n && !r; i++) {
		const struct queue_settle_rcpt *o = &j->rcpts[i];
		MDB_val v;
		int rc = o->index < MAIL_BODY - 2 ? get_record(t, j->id, o->index + 1, &v)
						  : MDB_NOTFOUND;

		if (rc == MDB_NOTFOUND)
			continue; /* removed by the operator meanwhile */
		if (rc)
			return qtxn_fail(t, rc);
		r = o->outcome == OUTCOME_GONE ? rcpt_gone(t, j, o, v) : rcpt_defer(t, j, o, v);
		t->broken |= r && changed;
		changed = true;
	}
	if (r)
		return r;
	if (!changed && j->n > 0)
		return -ENOENT;
	t->pages += 2 * j->n;
	for (uint32_t i = 0; i < j->ndsn && !r; i++)
		r = qtxn_accept_notice(t, j->dsn[i]);
	if (!r)
		r = any_left(t, j->id, &left);
	if (!r && !left)
		r = remove_message(t, j->id);
	t->broken |= r && changed;
	return r;
}

/* ---- flags ---- */

/* indexed: it may be tried then; else its message is still held. */
static int flag_recipient(
	struct qtxn *t, const struct queue_flag *j, uint32_t sub, MDB_val v, bool indexed)
{
	struct mail_key k = mail_key(j->id, sub);
	struct recipient_brief b;
	char domain[DOMAIN_MAX];
	struct slice d = { domain, 0 };
	struct recipient rcpt;
	struct queue_rcpt_state st;
	struct arena a;
	bool was;
	int r;

	arena_init(&a, 0);
	r = recipient_brief(&b, slice_of_val(v));
	if (!r && b.domain.n > DOMAIN_MAX)
		r = -EBADMSG;
	if (!r)
		r = recipient_decode(&rcpt, &st, slice_of_val(v), &a);
	if (r)
		goto out;
	/* about: neighbours in the index share their pages */
	t->pages += slice_eq(b.domain, t->flagged) ? 1 : 3;
	memcpy(domain, b.domain.p, b.domain.n);
	d.n = b.domain.n;
	memcpy(t->flagged_name, domain, d.n);
	t->flagged = (struct slice){ t->flagged_name, d.n };
	r = qtxn_due_remove(t, d, b.due, j->id, sub - 1, &was);
	if (r || j->op == FLAG_HOLD)
		goto out;
	st.due = j->now;
	st.flags &= (uint8_t)~RCPT_STATE_HELD;
	buf_reset(&t->record);
	r = recipient_restate(&t->record, &b, &st);
	if (!r)
		r = qtxn_put(t, t->mail, 0, val_of(k.b, sizeof(k.b)),
			val_of(t->record.p, t->record.len), 0);
	if (!r && indexed)
		r = qtxn_due_add(t, d, j->now, j->id, sub - 1);
out:
	t->broken |= r != 0;
	arena_deinit(&a);
	return r;
}

static int flag_envelope(struct qtxn *t, const struct queue_flag *j, const struct envelope_brief *e)
{
	struct mail_key k = mail_key(j->id, 0);
	uint32_t flags =
		j->op == FLAG_HOLD ? e->flags | MESSAGE_HELD : e->flags & ~(uint32_t)MESSAGE_HELD;
	int r;

	if (flags == e->flags || j->op == FLAG_FREE)
		return 0;
	buf_reset(&t->record);
	r = envelope_reflag(&t->record, e, flags);
	if (r)
		return r;
	return qtxn_put(
		t, t->mail, 0, val_of(k.b, sizeof(k.b)), val_of(t->record.p, t->record.len), 0);
}

static int restamp(struct qtxn *t, const struct queue_flag *j, const struct envelope_brief *e)
{
	struct mail_key k = mail_key(j->id, 0);
	int r;

	buf_reset(&t->record);
	r = envelope_restamp(&t->record, e, j->now);
	if (r)
		return r < 0 ? r : 0;
	t->pages++;
	return qtxn_put(
		t, t->mail, 0, val_of(k.b, sizeof(k.b)), val_of(t->record.p, t->record.len), 0);
}

static bool is_meant(const struct queue_flag *j, uint32_t held, uint32_t index, MDB_val v)
{
	struct queue_brief_rcpt b;
	bool ordered = !recipient_who(&b, slice_of_val(v)) && (b.flags & RCPT_STATE_HELD);

	if (j->op == FLAG_FREE || (j->op == FLAG_RELEASE && !held))
		return ordered;
	if (j->op == FLAG_DUE_NOW && ordered) /* waits for its release */
		return false;
	for (uint32_t i = 0; j->only && i < j->nonly; i++)
		if (j->only[i] == index)
			return true;
	return !j->only;
}

int qtxn_flag(struct qtxn *t, const struct queue_flag *j, uint32_t *changed)
{
	struct envelope_brief e;
	uint32_t sub = 1, held;
	int r = get_envelope(t, j->id, &e), rc;

	*changed = 0;
	if (r)
		return r;
	if (j->op == FLAG_RESTAMP)
		return restamp(t, j, &e);
	/* due now is for what waits for its time; what is held waits for its release */
	if (j->op == FLAG_DUE_NOW && (e.flags & MESSAGE_HELD))
		return 0;
	held = e.flags & MESSAGE_HELD;
	r = flag_envelope(t, j, &e);
	while (!r) {
		struct mail_key k = mail_key(j->id, sub);
		MDB_val key = val_of(k.b, sizeof(k.b)), v;

		rc = mdb_cursor_get(t->mail, &key, &v, MDB_SET_RANGE);
		if (rc && rc != MDB_NOTFOUND)
			return qtxn_fail(t, rc);
		if (rc || !qtxn_key_of(key, j->id, &sub) || sub >= MAIL_BODY)
			break;
		if (is_meant(j, held, sub - 1, v)) {
			r = flag_recipient(t, j, sub, v, j->op != FLAG_FREE || !held);
			++*changed;
		}
		sub++;
	}
	t->pages++;
	return r;
}
