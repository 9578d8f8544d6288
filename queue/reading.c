/* Readings of the due index: what of a domain is due, oldest first. Called by the dispatcher's
 * reading thread; one read transaction each.
 *
 * Two places have entries: the young index in memory and the due index on disk. Memory is read
 * first, then the disk: what the writer moves from one to the other meanwhile is seen twice, and
 * taken once; never missed. */
#include <errno.h>
#include <stdlib.h>

#include "queue_impl.h"

void queue_reading_init(struct queue_reading *w)
{
	*w = (struct queue_reading){ 0 };
	arena_init(&w->arena, 0);
}

void queue_reading_clear(struct queue_reading *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		message_unref(w->items[i].message);
	w->n = 0;
	arena_deinit(&w->arena);
}

void queue_reading_deinit(struct queue_reading *w)
{
	queue_reading_clear(w);
	free(w->items);
	queue_reading_init(w);
}

static int reading_prepare(struct queue_reading *w, uint32_t limit)
{
	struct queue_due *items;

	queue_reading_clear(w);
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
struct young_run {
	struct young_entry *e;
	uint32_t n, pos;
};

struct due_read {
	struct queue *q;
	MDB_txn *txn;
	MDB_cursor *c, *mail;
	struct slice domain;
	const struct queue_look *look;
	struct queue_reading *w;
	struct young_run young;
	bool *from_young; /* for each item */
	/* open-addressed: message id → first item of it, so that its recipients share one envelope
	 */
	uint32_t *slots, mask;
};

/* The next entry of the due index; false when the domain has no more, or *rc tells why. */
static bool next_stored(
	struct due_read *dr, MDB_cursor_op op, MDB_val *key, struct young_entry *ret, int *rc)
{
	struct due_ref d;

	*rc = mdb_cursor_get(dr->c, key, NULL, op);
	if (*rc || !due_key_parse(&d, slice_of_val(*key)) || !slice_eq(d.domain, dr->domain))
		return false;
	*ret = (struct young_entry){ .id = d.id, .due = d.due, .index = d.index };
	return true;
}

/* false: the reading ends here, with next_due and more set. */
static bool take_entry(
	struct due_read *dr, const struct young_entry *e, bool young, uint32_t *skipped)
{
	const struct queue_look *look = dr->look;
	struct queue_reading *w = dr->w;

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
	dr->from_young[w->n] = young;
	w->items[w->n++] = (struct queue_due){ .id = e->id, .index = e->index, .due = e->due };
	return true;
}

/* Merges both, each in order; what has just moved from one to the other is in both, and taken once.
 */
static int find_entries(struct due_read *dr)
{
	struct young_run *y = &dr->young;
	struct young_entry stored;
	struct due_key from;
	uint32_t skipped = 0;
	bool have;
	MDB_val key;
	int rc;

	if (dr->look->after)
		due_key_make(&from, dr->domain, dr->look->after->due, dr->look->after->id,
			dr->look->after->index + 1);
	else
		due_key_make(&from, dr->domain, INT64_MIN, 0, 0);
	key = val_of(from.b, from.n);
	have = next_stored(dr, MDB_SET_RANGE, &key, &stored, &rc);
	while (have || y->pos < y->n) {
		int order = !have ? -1 : y->pos == y->n ? 1 : young_order(&y->e[y->pos], &stored);

		if (!take_entry(dr, order < 0 ? &y->e[y->pos] : &stored, order < 0, &skipped))
			return 0;
		y->pos += order <= 0;
		if (order >= 0)
			have = next_stored(dr, MDB_NEXT, &key, &stored, &rc);
	}
	dr->w->next_due = 0;
	return !rc || rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

static int slots_new(struct due_read *dr, uint32_t items)
{
	uint64_t size = 4;

	while (size < 2ull * items)
		size *= 2;
	dr->slots = arena_alloc(&dr->w->arena, size * sizeof(*dr->slots));
	dr->mask = (uint32_t)(size - 1);
	return dr->slots ? 0 : -ENOMEM;
}

/* The slot for this message: holds 1 + the number of its first item, or 0. */
static uint32_t *slot_of(struct due_read *dr, uint64_t id)
{
	uint32_t i = (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & dr->mask;

	while (dr->slots[i] && dr->w->items[dr->slots[i] - 1].id != id)
		i = (i + 1) & dr->mask;
	return &dr->slots[i];
}

/* 0, or -ENOENT, -EBADMSG, -ESTALE: this entry cannot be used; other errors are not the entry's. */
static int load_item(struct due_read *dr, struct queue_due *it, uint32_t from, uint32_t to)
{
	uint32_t *slot = slot_of(dr, it->id);
	struct slice rec;
	int r = mail_at(dr->mail, it->id, it->index + 1, &rec);

	if (!r)
		r = recipient_decode(&it->recipient, &it->state, rec, &dr->w->arena);
	/* it was dealt with since the index was looked at: the record says when it is due now */
	if (!r && dr->from_young[from] && it->state.due != it->due)
		r = -ESTALE;
	if (r)
		return r;
	it->recipient.index = it->index;
	if (*slot) {
		it->message = message_ref(dr->w->items[*slot - 1].message);
		return 0;
	}
	r = envelope_at(dr->mail, it->id, &it->message);
	if (!r)
		*slot = to + 1;
	return r;
}

static void report(struct due_read *dr, const struct queue_due *it)
{
	struct fix f = { .kind = FIX_DUE };

	due_key_make(&f.key, dr->domain, it->due, it->id, it->index);
	queue_ask_fix(dr->q, &f);
}

/* The next recipient of the same message finds no other to share the envelope with. Its slot, if it
 * has one, was the last to be taken. */
static void leave_out(struct due_read *dr, const struct queue_due *it)
{
	struct queue_reading *w = dr->w;
	uint32_t *slot;

	w->items[w->n] = *it;
	slot = slot_of(dr, it->id);
	if (*slot == w->n + 1)
		*slot = 0;
	message_unref(it->message);
}

/* Fills the items in. What cannot be read is left out and set aside: it must not block the domain.
 */
static int load_items(struct due_read *dr)
{
	struct queue_reading *w = dr->w;
	uint32_t found = w->n;
	int r;

	w->n = 0;
	if (!found)
		return 0;
	r = slots_new(dr, found);
	if (!r)
		r = lmdb_errno(mdb_cursor_open(dr->txn, dr->q->store.mail, &dr->mail));
	if (r)
		return r;
	for (uint32_t i = 0; i < found && !r; i++) {
		struct queue_due it = w->items[i];

		r = load_item(dr, &it, i, w->n);
		if (r == -ESTALE || (r == -ENOENT && dr->from_young[i])) {
			r = 0;
		} else if (r == -ENOENT || r == -EBADMSG) {
			report(dr, &it);
			r = 0;
		} else if (!r && dr->look->wanted && !dr->look->wanted(dr->look->arg, it.message)) {
			leave_out(dr, &it);
		} else if (!r) {
			w->items[w->n++] = it;
		}
	}
	mdb_cursor_close(dr->mail);
	return r;
}

/* First the index in memory, then the database: see young.h. */
static int look_at_young(struct due_read *dr)
{
	const struct queue_place *after = dr->look->after;
	uint32_t limit = dr->look->limit, count = young_count(dr->q->txn.young);
	uint32_t max = limit + dr->look->skipped_max + 2;
	struct young_entry from;

	if (max > count || max < limit)
		max = count;
	dr->from_young = arena_alloc(&dr->w->arena, limit * sizeof(*dr->from_young));
	dr->young.e = arena_alloc(&dr->w->arena, (max + 1) * sizeof(*dr->young.e));
	if (!dr->from_young || !dr->young.e)
		return -ENOMEM;
	if (after)
		from = (struct young_entry){
			.due = after->due, .id = after->id, .index = after->index
		};
	dr->young.n =
		young_peek(dr->q->txn.young, dr->domain, after ? &from : NULL, dr->young.e, max);
	return 0;
}

int queue_read_due(
	struct queue *q, const char *domain, const struct queue_look *look, struct queue_reading *w)
{
	struct due_read dr = { .q = q, .domain = slice_of(domain), .look = look, .w = w };
	int r;

	if (dr.domain.n == 0 || dr.domain.n > DOMAIN_MAX || look->limit == 0)
		return -EINVAL;
	r = reading_prepare(w, look->limit);
	if (!r)
		r = look_at_young(&dr);
	if (!r)
		r = store_read(&q->store, &dr.txn);
	if (r)
		return r;
	r = lmdb_errno(mdb_cursor_open(dr.txn, q->store.due, &dr.c));
	if (!r) {
		r = find_entries(&dr);
		mdb_cursor_close(dr.c);
		if (r)
			w->n = 0; /* found, not loaded: nothing to drop */
		else
			r = load_items(&dr);
	}
	store_read_end(&q->store, dr.txn);
	store_touched(&q->store, 4096ull * (1 + w->n));
	return r;
}
