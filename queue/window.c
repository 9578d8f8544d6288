/* Windows of the due index: what of a domain is due, oldest first, from the index in memory and the
 * database at once. */
#include <errno.h>
#include <stdlib.h>

#include "queue_impl.h"

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
	w->last = (struct queue_place){ 0 };
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
	const struct queue_look *look;
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

/* false: the window ends here, with next_due and more set. */
static bool take_entry(
	struct window_read *wr, const struct young_entry *e, bool young, uint32_t *skipped)
{
	const struct queue_look *look = wr->look;
	struct queue_window *w = wr->w;

	w->next_due = e->due;
	if (e->due > look->now)
		return false;
	if (w->n == look->limit || *skipped > look->skipped_max) {
		w->more = true;
		return false;
	}
	w->last = (struct queue_place){ .due = e->due, .id = e->id, .index = e->index };
	if (look->skip && look->skip(look->arg, e->id, e->index)) {
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

	if (wr->look->after)
		due_key_make(&from, wr->domain, wr->look->after->due, wr->look->after->id,
			wr->look->after->index + 1);
	else
		due_key_make(&from, wr->domain, INT64_MIN, 0, 0);
	key = val_of(from.b, from.n);
	have = next_stored(wr, MDB_SET_RANGE, &key, &stored, &rc);
	while (have || y->pos < y->n) {
		int order = !have ? -1 : y->pos == y->n ? 1 : young_order(&y->e[y->pos], &stored);

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

/* 0, or -ENOENT, -EBADMSG, -ESTALE: this entry cannot be used; other errors are not the entry's. */
static int load_item(struct window_read *wr, struct queue_due *it, uint32_t from, uint32_t to)
{
	uint32_t *slot = slot_of(wr, it->id);
	struct slice rec;
	int r = mail_at(wr->mail, it->id, it->index + 1, &rec);

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
	r = envelope_at(wr->mail, it->id, &it->message);
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

/* The next recipient of the same message finds no other to share the envelope with. Its slot, if it
 * has one, was the last to be taken. */
static void leave_out(struct window_read *wr, const struct queue_due *it)
{
	struct queue_window *w = wr->w;
	uint32_t *slot;

	w->items[w->n] = *it;
	slot = slot_of(wr, it->id);
	if (*slot == w->n + 1)
		*slot = 0;
	message_unref(it->message);
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
		} else if (!r && wr->look->wanted && !wr->look->wanted(wr->look->arg, it.message)) {
			leave_out(wr, &it);
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
	const struct queue_place *after = wr->look->after;
	uint32_t limit = wr->look->limit, count = young_count(wr->q->work.young);
	uint32_t max = limit + wr->look->skipped_max + 2;
	struct young_entry from;

	if (max > count || max < limit)
		max = count;
	wr->from_young = arena_alloc(&wr->w->arena, limit * sizeof(*wr->from_young));
	wr->young.e = arena_alloc(&wr->w->arena, (max + 1) * sizeof(*wr->young.e));
	if (!wr->from_young || !wr->young.e)
		return -ENOMEM;
	if (after)
		from = (struct young_entry){
			.due = after->due, .id = after->id, .index = after->index
		};
	wr->young.n =
		young_peek(wr->q->work.young, wr->domain, after ? &from : NULL, wr->young.e, max);
	return 0;
}

int queue_window_read(
	struct queue *q, const char *domain, const struct queue_look *look, struct queue_window *w)
{
	struct window_read wr = { .q = q, .domain = slice_of(domain), .look = look, .w = w };
	int r;

	if (wr.domain.n == 0 || wr.domain.n > DOMAIN_MAX || look->limit == 0)
		return -EINVAL;
	r = window_prepare(w, look->limit);
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
