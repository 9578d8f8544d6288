/* Reading: short read transactions on the calling thread, none open across calls. */
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

/* ---- window ---- */

void queue_window_init(struct queue_window *w)
{
	*w = (struct queue_window){ 0 };
	arena_init(&w->arena, 0);
}

void queue_window_clear(struct queue_window *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		message_unref(w->items[i].message);
	w->n = 0;
	arena_deinit(&w->arena);
}

void queue_window_deinit(struct queue_window *w)
{
	queue_window_clear(w);
	free(w->items);
	queue_window_init(w);
}

static int window_prepare(struct queue_window *w, uint32_t limit)
{
	struct queue_due *items;

	queue_window_clear(w);
	w->next_due = 0;
	w->more = false;
	if (w->max >= limit && w->items)
		return 0;
	items = realloc(w->items, limit * sizeof(*items));
	if (!items)
		return -ENOMEM;
	w->items = items;
	w->max = limit;
	return 0;
}

/* Entries from the young index, before those of the same time in the database are merged in. */
struct young_window {
	struct young_entry *e;
	uint32_t n, pos;
};

struct window_read {
	struct queue *q;
	MDB_txn *txn;
	MDB_cursor *c, *mail;
	struct slice domain;
	ms_t now;
	uint32_t limit, skipped_max;
	bool (*skip)(void *arg, uint64_t id, uint32_t index);
	void *arg;
	struct queue_window *w;
	struct young_window young;
	bool *from_young; /* for each item */
	/* open-addressed: message id → first item of it, so that its recipients share one envelope
	 */
	uint32_t *slots, mask;
};

/* The next entry of the due index; false when the domain has no more, or *rc tells why. */
static bool next_stored(
	struct window_read *wr, MDB_cursor_op op, MDB_val *key, struct young_entry *ret, int *rc)
{
	struct due_ref d;

	*rc = mdb_cursor_get(wr->c, key, NULL, op);
	if (*rc || !due_key_parse(&d, slice_of_val(*key)) || !slice_eq(d.domain, wr->domain))
		return false;
	*ret = (struct young_entry){ .id = d.id, .due = d.due, .index = d.index };
	return true;
}

static int entry_order(const struct young_entry *a, const struct young_entry *b)
{
	if (a->due != b->due)
		return a->due < b->due ? -1 : 1;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

/* false: the window ends here, with next_due and more set. */
static bool take_entry(
	struct window_read *wr, const struct young_entry *e, bool young, uint32_t *skipped)
{
	struct queue_window *w = wr->w;

	w->next_due = e->due;
	if (e->due > wr->now)
		return false;
	if (w->n == wr->limit || *skipped > wr->skipped_max) {
		w->more = true;
		return false;
	}
	if (wr->skip && wr->skip(wr->arg, e->id, e->index)) {
		++*skipped;
		return true;
	}
	wr->from_young[w->n] = young;
	w->items[w->n++] = (struct queue_due){ .id = e->id, .index = e->index, .due = e->due };
	return true;
}

/* Merges both, each in order; what has just moved from one to the other is in both, and taken once.
 */
static int find_entries(struct window_read *wr)
{
	struct young_window *y = &wr->young;
	struct young_entry stored;
	struct due_key from;
	uint32_t skipped = 0;
	bool have;
	MDB_val key;
	int rc;

	due_key_make(&from, wr->domain, INT64_MIN, 0, 0);
	key = val_of(from.b, from.n);
	have = next_stored(wr, MDB_SET_RANGE, &key, &stored, &rc);
	while (have || y->pos < y->n) {
		int order = !have ? -1 : y->pos == y->n ? 1 : entry_order(&y->e[y->pos], &stored);

		if (!take_entry(wr, order < 0 ? &y->e[y->pos] : &stored, order < 0, &skipped))
			return 0;
		y->pos += order <= 0;
		if (order >= 0)
			have = next_stored(wr, MDB_NEXT, &key, &stored, &rc);
	}
	wr->w->next_due = 0;
	return !rc || rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

static int slots_new(struct window_read *wr, uint32_t items)
{
	uint64_t size = 4;

	while (size < 2ull * items)
		size *= 2;
	wr->slots = arena_alloc(&wr->w->arena, size * sizeof(*wr->slots));
	wr->mask = (uint32_t)(size - 1);
	return wr->slots ? 0 : -ENOMEM;
}

/* The slot for this message: holds 1 + the number of its first item, or 0. */
static uint32_t *slot_of(struct window_read *wr, uint64_t id)
{
	uint32_t i = (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & wr->mask;

	while (wr->slots[i] && wr->w->items[wr->slots[i] - 1].id != id)
		i = (i + 1) & wr->mask;
	return &wr->slots[i];
}

/* By a cursor: what belongs to one message lies on one page, for the most part, and is found there
 * without going down the tree again. */
static int find_mail(MDB_cursor *c, uint64_t id, uint32_t sub, struct slice *ret)
{
	struct mail_key k = mail_key(id, sub);
	MDB_val key = val_of(k.b, sizeof(k.b)), v;
	int rc = mdb_cursor_get(c, &key, &v, MDB_SET);

	if (!rc)
		*ret = slice_of_val(v);
	return lmdb_errno(rc);
}

static int load_envelope(MDB_cursor *c, uint64_t id, struct message **ret)
{
	struct message *m;
	struct slice rec;
	int r = find_mail(c, id, 0, &rec);

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

/* 0, or -ENOENT, -EBADMSG, -ESTALE: this entry cannot be used; other errors are not the entry's. */
static int load_item(struct window_read *wr, struct queue_due *it, uint32_t from, uint32_t to)
{
	uint32_t *slot = slot_of(wr, it->id);
	struct slice rec;
	int r = find_mail(wr->mail, it->id, it->index + 1, &rec);

	if (!r)
		r = recipient_decode(&it->recipient, &it->state, rec, &wr->w->arena);
	/* it was dealt with since the index was looked at: the record says when it is due now */
	if (!r && wr->from_young[from] && it->state.due != it->due)
		r = -ESTALE;
	if (r)
		return r;
	it->recipient.index = it->index;
	if (*slot) {
		it->message = message_ref(wr->w->items[*slot - 1].message);
		return 0;
	}
	r = load_envelope(wr->mail, it->id, &it->message);
	if (!r)
		*slot = to + 1;
	return r;
}

static void report(struct window_read *wr, const struct queue_due *it)
{
	struct fix f = { .kind = FIX_DUE };

	due_key_make(&f.key, wr->domain, it->due, it->id, it->index);
	queue_ask_fix(wr->q, &f);
}

/* Fills the items in. What cannot be read is left out and set aside: it must not block the domain.
 */
static int load_items(struct window_read *wr)
{
	struct queue_window *w = wr->w;
	uint32_t found = w->n;
	int r;

	w->n = 0;
	if (!found)
		return 0;
	r = slots_new(wr, found);
	if (!r)
		r = lmdb_errno(mdb_cursor_open(wr->txn, wr->q->store.mail, &wr->mail));
	if (r)
		return r;
	for (uint32_t i = 0; i < found && !r; i++) {
		struct queue_due it = w->items[i];

		r = load_item(wr, &it, i, w->n);
		if (r == -ESTALE || (r == -ENOENT && wr->from_young[i])) {
			r = 0;
		} else if (r == -ENOENT || r == -EBADMSG) {
			report(wr, &it);
			r = 0;
		} else if (!r) {
			w->items[w->n++] = it;
		}
	}
	mdb_cursor_close(wr->mail);
	return r;
}

/* First the index in memory, then the database: see young.h. */
static int look_at_young(struct window_read *wr)
{
	uint32_t max = wr->limit + wr->skipped_max + 2, count = young_count(wr->q->work.young);

	if (max > count || max < wr->limit)
		max = count;
	wr->from_young = arena_alloc(&wr->w->arena, wr->limit * sizeof(*wr->from_young));
	wr->young.e = arena_alloc(&wr->w->arena, (max + 1) * sizeof(*wr->young.e));
	if (!wr->from_young || !wr->young.e)
		return -ENOMEM;
	wr->young.n = young_peek(wr->q->work.young, wr->domain, wr->young.e, max);
	return 0;
}

int queue_window_read(struct queue *q, const char *domain, ms_t now, uint32_t limit,
	uint32_t skipped_max, bool (*skip)(void *arg, uint64_t id, uint32_t index), void *arg,
	struct queue_window *w)
{
	struct window_read wr = { .q = q,
		.domain = slice_of(domain),
		.now = now,
		.limit = limit,
		.skipped_max = skipped_max,
		.skip = skip,
		.arg = arg,
		.w = w };
	int r;

	if (wr.domain.n == 0 || wr.domain.n > DOMAIN_MAX || limit == 0)
		return -EINVAL;
	r = window_prepare(w, limit);
	if (!r)
		r = look_at_young(&wr);
	if (!r)
		r = store_read(&q->store, &wr.txn);
	if (r)
		return r;
	r = lmdb_errno(mdb_cursor_open(wr.txn, q->store.due, &wr.c));
	if (!r) {
		r = find_entries(&wr);
		mdb_cursor_close(wr.c);
		if (r)
			w->n = 0; /* found, not loaded: nothing to drop */
		else
			r = load_items(&wr);
	}
	store_read_end(&q->store, wr.txn);
	store_touched(&q->store, 4096ull * (1 + w->n));
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
	int r = young_domains(q->work.young, &young, &n);

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

	for (*n = 0; !rc && *n < max && work_key_of(key, id, &sub);
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
		r = copy_chunks(c, id, offset, out, max, n);
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

	if (!work_key_of(key, id, &sub))
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
		r = load_envelope(c, id, &m);
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
