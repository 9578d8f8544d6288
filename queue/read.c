/* Reading: the domains that have mail, one message, its content. Short read transactions on the
 * calling thread, none open across calls, since an open one keeps every page that is freed
 * meanwhile. Any thread. */
#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"
#include "queue_impl.h"

static int get_mail(struct queue *q, MDB_txn *txn, uint64_t id, uint32_t sub, struct slice *ret)
{
	struct mail_key k = mail_key(id, sub);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int rc = mdb_get(txn, q->store.mail, &key, &v);

	if (!rc)
		*ret = slice_of_val(v);
	return lmdb_errno(rc);
}

/* By a cursor: what belongs to one message lies on one page, for the most part, and is found there
 * without going down the tree again. */
int mail_at(MDB_cursor *c, uint64_t id, uint32_t sub, struct slice *ret)
{
	struct mail_key k = mail_key(id, sub);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int rc = mdb_cursor_get(c, &key, &v, MDB_SET);

	if (!rc)
		*ret = slice_of_val(v);
	return lmdb_errno(rc);
}

int envelope_at(MDB_cursor *c, uint64_t id, struct message **ret)
{
	struct message *m;
	struct slice rec;
	int r = mail_at(c, id, 0, &rec);

	if (r)
		return r;
	m = message_new();
	if (!m)
		return -ENOMEM;
	m->id = id;
	r = envelope_decode(m, rec, &m->arena);
	if (r)
		message_unref(m);
	else
		*ret = m;
	return r;
}

/* ---- scans ---- */

/* The two lists of domains, both in byte order, merged. */
struct domain_scan {
	MDB_cursor *c;
	MDB_val key;
	char name[DOMAIN_MAX + 2]; /* the stored one at hand */
	size_t len;
	ms_t due;
	uint64_t seen;
	int rc;
};

/* Goes to the first key that does not begin with the name at hand and its NUL. */
static void next_domain(struct domain_scan *s, MDB_cursor_op op)
{
	struct due_ref d;

	if (op != MDB_FIRST) {
		s->name[s->len] = '\1';
		s->key = val_of(s->name, s->len + 1);
	}
	for (s->rc = mdb_cursor_get(s->c, &s->key, NULL, op); !s->rc;
		s->rc = mdb_cursor_get(s->c, &s->key, NULL, MDB_NEXT)) {
		s->seen++;
		if (due_key_parse(&d, slice_of_val(s->key)) && d.domain.n <= DOMAIN_MAX)
			break;
	}
	if (s->rc)
		return;
	memcpy(s->name, d.domain.p, d.domain.n);
	s->len = d.domain.n;
	s->name[s->len] = '\0';
	s->due = d.due;
}

static int merge_domains(struct domain_scan *s, const struct young_domain *y, uint32_t n,
	int (*fn)(void *arg, const char *domain, ms_t due), void *arg)
{
	uint32_t i = 0;
	int r = 0;

	next_domain(s, MDB_FIRST);
	while (!r && (i < n || !s->rc)) {
		int order = i == n ? 1 : s->rc ? -1 : strcmp(y[i].name, s->name);
		ms_t due = order < 0 ? y[i].due : s->due;

		if (order == 0 && y[i].due < due)
			due = y[i].due;
		r = fn(arg, order < 0 ? y[i].name : s->name, due);
		i += order <= 0;
		if (order >= 0)
			next_domain(s, MDB_SET_RANGE);
	}
	return r;
}

int queue_domains(struct queue *q, int (*fn)(void *arg, const char *domain, ms_t due), void *arg)
{
	struct young_domain *young = NULL;
	struct domain_scan s = { 0 };
	uint32_t n = 0;
	MDB_txn *txn;
	int r = young_domains(q->txn.young, &young, &n);

	if (r)
		return r;
	r = store_read(&q->store, &txn);
	if (r)
		goto out;
	s.rc = mdb_cursor_open(txn, q->store.due, &s.c);
	if (!s.rc) {
		r = merge_domains(&s, young, n, fn, arg);
		mdb_cursor_close(s.c);
	}
	if (!r && s.rc && s.rc != MDB_NOTFOUND)
		r = lmdb_errno(s.rc);
	store_read_end(&q->store, txn);
	store_touched(&q->store, 4096 * s.seen);
out:
	young_domains_free(young, n);
	return r;
}

int queue_state_scan(struct queue *q, struct slice prefix,
	int (*fn)(void *arg, struct slice key, struct slice value), void *arg)
{
	MDB_val key = val_of(prefix.p, prefix.n), v;
	MDB_cursor *c = NULL;
	MDB_txn *txn;
	int r, rc;

	r = store_read(&q->store, &txn);
	if (r)
		return r;
	rc = mdb_cursor_open(txn, q->store.state, &c);
	if (!rc)
		rc = mdb_cursor_get(c, &key, &v, prefix.n ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc && !r) {
		struct slice k = slice_of_val(key);

		if (k.n < prefix.n || (prefix.n && memcmp(k.p, prefix.p, prefix.n) != 0))
			break;
		r = fn(arg, k, slice_of_val(v));
		rc = mdb_cursor_get(c, &key, &v, MDB_NEXT);
	}
	if (c)
		mdb_cursor_close(c);
	store_read_end(&q->store, txn);
	return rc && rc != MDB_NOTFOUND ? lmdb_errno(rc) : r;
}

int queue_indexed(struct queue *q, uint64_t *ret)
{
	MDB_stat due, young;
	MDB_txn *txn;
	int r = store_read(&q->store, &txn);

	if (r)
		return r;
	r = lmdb_errno(mdb_stat(txn, q->store.due, &due));
	if (!r)
		r = lmdb_errno(mdb_stat(txn, q->store.young, &young));
	if (!r)
		*ret = due.ms_entries + young.ms_entries;
	store_read_end(&q->store, txn);
	return r;
}

int queue_next_message(struct queue *q, uint64_t *id)
{
	struct mail_key k = mail_key(*id, 0);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	MDB_cursor *c = NULL;
	MDB_txn *txn;
	uint64_t got;
	uint32_t sub;
	int r, rc;

	r = store_read(&q->store, &txn);
	if (r)
		return r;
	rc = mdb_cursor_open(txn, q->store.mail, &c);
	if (!rc)
		rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
	/* bodies without an envelope are not messages: straight on to the next id */
	while (!rc && mail_key_parse(key.mv_data, key.mv_size, &got, &sub) && sub >= MAIL_BODY) {
		k = mail_key(got + 1, 0);
		key = val_of(k.b, sizeof(k.b));
		rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
	}
	if (!rc && mail_key_parse(key.mv_data, key.mv_size, &got, &sub))
		*id = got;
	else if (!rc)
		rc = MDB_CORRUPTED;
	if (c)
		mdb_cursor_close(c);
	store_read_end(&q->store, txn);
	store_touched(&q->store, 4096);
	return lmdb_errno(rc);
}

/* ---- one message ---- */

/* One chunk, or -EBADMSG: another one is here, or its content is not what was stored. */
static int judge_chunk(MDB_val key, MDB_val v, uint32_t want)
{
	if (get_be32((char *)key.mv_data + 8) != MAIL_BODY + want || v.mv_size > BODY_CHUNK ||
		v.mv_size == 0)
		return -EBADMSG;
	if (crc32c(0, v.mv_data, v.mv_size) != get_be32((char *)key.mv_data + MAIL_KEY_LEN))
		return -EBADMSG;
	return 0;
}

static int copy_chunks(
	MDB_cursor *c, uint64_t id, uint64_t offset, char *out, size_t max, size_t *n)
{
	uint32_t chunk = (uint32_t)(offset / BODY_CHUNK), sub;
	size_t skip = offset % BODY_CHUNK;
	struct mail_key k = mail_key(id, MAIL_BODY + chunk);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);

	for (*n = 0; !rc && *n < max && qtxn_key_of(key, id, &sub) && sub != MAIL_BODY + MAIL_HEAD;
		rc = mdb_cursor_get(c, &key, &v, MDB_NEXT)) {
		size_t len;
		int r = judge_chunk(key, v, chunk);

		if (r)
			return r;
		if (skip >= v.mv_size)
			break;
		len = v.mv_size - skip < max - *n ? v.mv_size - skip : max - *n;
		memcpy(out + *n, (char *)v.mv_data + skip, len);
		*n += len;
		skip = 0;
		chunk++;
		if (v.mv_size < BODY_CHUNK)
			break;
	}
	return rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

static int head_at(MDB_cursor *c, uint64_t id, struct slice *ret)
{
	struct mail_key k = mail_key(id, MAIL_BODY + MAIL_HEAD);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
	uint32_t sub;

	if (rc && rc != MDB_NOTFOUND)
		return lmdb_errno(rc);
	if (rc || !qtxn_key_of(key, id, &sub) || v.mv_size == 0 || v.mv_size > BODY_HEAD_MAX ||
		crc32c(0, v.mv_data, v.mv_size) != get_be32((char *)key.mv_data + MAIL_KEY_LEN))
		return -EBADMSG;
	*ret = slice_of_val(v);
	return 0;
}

/* The head, as far as offset and max reach into it, then chunks. */
static int copy_content(MDB_cursor *c, uint64_t id, const struct envelope_brief *e, uint64_t offset,
	char *out, size_t max, size_t *n)
{
	struct slice head = { NULL, 0 };
	size_t from_head = 0;
	int r = 0;

	if (e->flags & MESSAGE_HEAD)
		r = head_at(c, id, &head);
	if (r)
		return r;
	if (offset < head.n) {
		from_head = head.n - (size_t)offset < max ? head.n - (size_t)offset : max;
		memcpy(out, head.p + offset, from_head);
		offset += from_head;
	}
	if (from_head < max)
		r = copy_chunks(c, id, offset - head.n, out + from_head, max - from_head, n);
	*n += from_head;
	return r;
}

int queue_body_read(struct queue *q, uint64_t id, uint64_t offset, char *out, size_t max, size_t *n)
{
	struct envelope_brief e;
	MDB_cursor *c = NULL;
	struct slice rec;
	MDB_txn *txn;
	int r;

	*n = 0;
	if (offset / BODY_CHUNK >= MAIL_BODY)
		return 0;
	r = store_read(&q->store, &txn);
	if (r)
		return r;
	r = get_mail(q, txn, id, 0, &rec);
	if (!r)
		r = envelope_brief(&e, rec);
	if (!r)
		r = lmdb_errno(mdb_cursor_open(txn, q->store.mail, &c));
	if (!r)
		r = copy_content(c, id, &e, offset, out, max, n);
	/* the content ends where the envelope says: a tail that is missing must not pass for the
	 * end */
	if (!r && *n < max && offset + *n < e.size)
		r = -EBADMSG;
	if (c)
		mdb_cursor_close(c);
	store_read_end(&q->store, txn);
	store_touched(&q->store, *n);
	return r;
}

static bool key_is_recipient(MDB_val key, uint64_t id, uint32_t *index)
{
	uint32_t sub;

	if (!qtxn_key_of(key, id, &sub))
		return false;
	*index = sub - 1;
	return sub > 0 && sub < MAIL_BODY;
}

/* First counts, then fills. */
static int load_recipients(MDB_cursor *c, struct message *m, struct queue_rcpt_state **states)
{
	struct mail_key k = mail_key(m->id, 1);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	uint32_t n = 0, index;
	int rc, r;

	for (rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
		!rc && key_is_recipient(key, m->id, &index);
		rc = mdb_cursor_get(c, &key, &v, MDB_NEXT))
		n++;
	if (rc && rc != MDB_NOTFOUND)
		return lmdb_errno(rc);
	m->recipients = arena_alloc(&m->arena, (n ? n : 1) * sizeof(*m->recipients));
	*states = arena_alloc(&m->arena, (n ? n : 1) * sizeof(**states));
	if (!m->recipients || !*states)
		return -ENOMEM;
	key = val_of(k.b, sizeof(k.b));
	for (rc = mdb_cursor_get(c, &key, &v, MDB_SET_RANGE);
		!rc && m->nrecipients < n && key_is_recipient(key, m->id, &index);
		rc = mdb_cursor_get(c, &key, &v, MDB_NEXT)) {
		struct recipient *to = &m->recipients[m->nrecipients];

		r = recipient_decode(to, &(*states)[m->nrecipients], slice_of_val(v), &m->arena);
		if (r)
			return r;
		to->index = index;
		m->nrecipients++;
	}
	return 0;
}

int queue_load(struct queue *q, uint64_t id, struct message **ret, struct queue_rcpt_state **states)
{
	struct message *m = NULL;
	MDB_cursor *c = NULL;
	MDB_txn *txn;
	int r = store_read(&q->store, &txn);

	if (r)
		return r;
	r = lmdb_errno(mdb_cursor_open(txn, q->store.mail, &c));
	if (!r)
		r = envelope_at(c, id, &m);
	if (!r)
		r = load_recipients(c, m, states);
	if (c)
		mdb_cursor_close(c);
	store_read_end(&q->store, txn);
	store_touched(&q->store, 8192);
	if (r)
		message_unref(m);
	else
		*ret = m;
	return r;
}
