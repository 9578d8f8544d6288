/* How much waits for a domain: the young index and the due index, counted up to a bound. Called by
 * the dispatcher, for what it says of a domain's backlog; one short read transaction. */
#include <errno.h>
#include <stdlib.h>

#include "queue_impl.h"
#include "young.h"

static int count_stored(MDB_cursor *c, struct slice domain, uint32_t max, uint32_t *n)
{
	struct due_key from;
	struct due_ref d;
	MDB_val key;
	int rc;

	due_key_make(&from, domain, INT64_MIN, 0, 0);
	key = val_of(from.b, from.n);
	for (rc = mdb_cursor_get(c, &key, NULL, MDB_SET_RANGE); !rc && *n < max;
		rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT)) {
		if (!due_key_parse(&d, slice_of_val(key)) || !slice_eq(d.domain, domain))
			break;
		++*n;
	}
	return rc && rc != MDB_NOTFOUND ? lmdb_errno(rc) : 0;
}

/* First the index in memory, then the database (young.h): what moves meanwhile counts twice. */
static int count_young(struct queue *q, struct slice domain, uint32_t max, uint32_t *n)
{
	uint32_t all = young_count(q->txn.young);
	struct young_entry *e;

	if (all > max)
		all = max;
	if (!all)
		return 0;
	e = malloc(all * sizeof(*e));
	if (!e)
		return -ENOMEM;
	*n = young_peek(q->txn.young, domain, NULL, e, all);
	free(e);
	return 0;
}

int queue_count(struct queue *q, const char *domain, uint32_t max, uint32_t *ret)
{
	struct slice name = slice_of(domain);
	MDB_cursor *c;
	MDB_txn *txn;
	uint32_t n = 0;
	int r = name.n == 0 || name.n > DOMAIN_MAX ? -EINVAL : count_young(q, name, max, &n);

	if (!r)
		r = store_read(&q->store, &txn);
	if (r)
		return r;
	r = lmdb_errno(mdb_cursor_open(txn, q->store.due, &c));
	if (!r) {
		r = count_stored(c, name, max, &n);
		mdb_cursor_close(c);
	}
	store_read_end(&q->store, txn);
	store_touched(&q->store, 64ull * n);
	if (!r)
		*ret = n;
	return r;
}
