/* Keeping the young index below its limit: from three quarters on its entries are moved into the
 * due index, domain by domain, a bounded number in each transaction. Called by the writer, on its
 * thread, when it has nothing better to do, and at the start (sweep_load), when the index in
 * memory is filled from disk.
 *
 * waits (sweep_waits) → steps, one a transaction (sweep_step) → none left */
#include <errno.h>

#include "queue_impl.h"

/* A sweep begins here; the last quarter is for what comes meanwhile. */
#define SWEEP_AT (YOUNG_MAX / 4 * 3)
/* Entries moved in one transaction: enough that neighbours share leaf pages on both sides, few
 * enough that those who wait for the commit do not notice. */
#define SWEEP_STEP 1024u

static int load_one(struct queue *q, MDB_txn *txn, struct slice key)
{
	struct young_entry e;
	struct recipient_brief b;
	struct mail_key k;
	MDB_val mk, v;
	int rc;

	if (key.n != MAIL_KEY_LEN)
		return -EBADMSG;
	e.id = get_be64(key.p);
	e.index = get_be32(key.p + 8);
	k = mail_key(e.id, e.index + 1);
	mk = val_of(k.b, sizeof(k.b));
	rc = mdb_get(txn, q->store.mail, &mk, &v);
	if (rc)
		return lmdb_errno(rc);
	rc = recipient_brief(&b, slice_of_val(v));
	if (rc)
		return rc;
	e.due = b.due;
	return young_add(q->txn.young, b.domain, &e);
}

int sweep_load(struct queue *q)
{
	MDB_cursor *c = NULL;
	MDB_txn *txn;
	MDB_val key;
	int r = store_read(&q->store, &txn), rc;

	if (r)
		return r;
	rc = mdb_cursor_open(txn, q->store.young, &c);
	for (rc = rc ? rc : mdb_cursor_get(c, &key, NULL, MDB_FIRST); !rc;
		rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT)) {
		q->txn.young_strays |= load_one(q, txn, slice_of_val(key)) != 0;
		store_touched(&q->store, q->store.page_size / 8);
	}
	if (c)
		mdb_cursor_close(c);
	store_read_end(&q->store, txn);
	return rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

static void sweep_end(struct queue *q)
{
	young_domains_free(q->sweep.domains, q->sweep.n);
	q->sweep.domains = NULL;
	q->sweep.n = q->sweep.pos = 0;
}

bool sweep_waits(struct queue *q)
{
	return q->sweep.domains || q->txn.young_strays || young_count(q->txn.young) >= SWEEP_AT;
}

int sweep_step(struct queue *q)
{
	uint32_t max = SWEEP_STEP, pos;
	int r = 0;

	if (q->txn.young_strays)
		r = qtxn_young_strays(&q->txn);
	if (r || (!q->sweep.domains && young_count(q->txn.young) < SWEEP_AT))
		return r;
	if (!q->sweep.domains)
		r = young_domains(q->txn.young, &q->sweep.domains, &q->sweep.n);
	for (pos = q->sweep.pos; pos < q->sweep.n && max > 0 && !r;) {
		bool finished;

		r = qtxn_young_move(&q->txn, slice_of(q->sweep.domains[pos].name), &max, &finished);
		pos += finished;
	}
	/* if the transaction fails they are found again by the next sweep */
	q->sweep.pos = pos;
	if (pos == q->sweep.n || r)
		sweep_end(q);
	q->txn.pages += SWEEP_STEP - max;
	return r;
}
