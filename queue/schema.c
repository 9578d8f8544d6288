/* Which schema a file has, and how an older one becomes the present one; see schema.h. Called by
 * open.c and first.c, before the writer starts. */
#include "schema.h"

#include <endian.h>
#include <errno.h>

#define SCHEMA_KEY "schema"

/* 1: the first release. 2: a message may have a head (MAIL_HEAD), without which 1 would deliver it
 * unsigned. 3: envelopes say who may be meant by a selector, and a recipient may be held by an order.
 * 4: envelopes keep header fields for the log, and what a notification is about.
 * A new number comes with a step here, and with a file of the old one in
 * tests/crash/data. */
static const struct schema_step steps[] = { { .from = 1, .run = NULL }, { .from = 2, .run = NULL },
	{ .from = 3, .run = NULL } };
const struct schema schema_current = { .number = 4, .steps = steps, .nsteps = 3 };

static int find_step(const struct schema *known, uint32_t from, const struct schema_step **ret)
{
	for (unsigned i = 0; i < known->nsteps; i++) {
		if (known->steps[i].from != from)
			continue;
		*ret = &known->steps[i];
		return 0;
	}
	return -EPROTO;
}

static int upgrade(struct store *s, MDB_txn *txn, const struct schema *known, uint32_t from,
	const struct complaint *c)
{
	const struct schema_step *step;
	int r = 0;

	/* all steps must be known before the first changes anything */
	for (uint32_t k = from; k < known->number; k++) {
		if (find_step(known, k, &step))
			return complain(c, -EPROTO,
				"%s: has schema %u, too old for this version, which begins with "
				"%u; let it be worked off by the version that wrote it, or by one "
				"in between",
				s->file, from, k + 1);
	}
	for (; from < known->number && !r; from++) {
		find_step(known, from, &step);
		r = step->run ? step->run(s, txn) : 0;
	}
	if (!r)
		return 0;
	return complain(c, r,
		"%s: cannot be brought from schema %u to %u: %s; it was left as it was%s", s->file,
		from - 1, from, strerror(-r),
		r == -ENOSPC ? "; make room, or raise the queue's max_size" : "");
}

static int put_schema(struct store *s, MDB_txn *txn, uint32_t number)
{
	uint32_t n = htole32(number);
	MDB_val key = val_of(SCHEMA_KEY, sizeof(SCHEMA_KEY) - 1), v = val_of(&n, sizeof(n));

	return lmdb_errno(mdb_put(txn, s->main, &key, &v, 0));
}

/* Reads as it is: no step to this version changes anything. */
static bool reads_as_is(const struct schema *known, uint32_t from)
{
	const struct schema_step *step;

	for (; from < known->number; from++)
		if (find_step(known, from, &step) || step->run)
			return false;
	return true;
}

static int judge_missing(struct store *s, MDB_txn *txn, const struct complaint *c)
{
	MDB_stat st = { 0 };
	int rc = mdb_stat(txn, s->main, &st);

	if (rc || st.ms_entries > 0)
		return complain(c, -EINVAL,
			"%s: is an LMDB file, but not a queue of this relay; give the relay "
			"another queue directory",
			s->file);
	if (s->read_only)
		return complain(c, -ENOENT, "%s: is empty: no queue was made here yet", s->file);
	return 0;
}

/* *have: 0 when the file is empty. */
static int judge(struct store *s, MDB_txn *txn, const struct schema *known,
	const struct complaint *c, uint32_t *have)
{
	MDB_val key = val_of(SCHEMA_KEY, sizeof(SCHEMA_KEY) - 1), v;
	uint32_t n;
	int rc = mdb_get(txn, s->main, &key, &v);

	*have = 0;
	if (rc == MDB_NOTFOUND)
		return judge_missing(s, txn, c);
	if (rc)
		return complain(
			c, lmdb_errno(rc), "%s: cannot read: %s", s->file, mdb_strerror(rc));
	memcpy(&n, v.mv_data, v.mv_size == sizeof(n) ? sizeof(n) : 0);
	n = v.mv_size == sizeof(n) ? le32toh(n) : 0;
	if (n == 0)
		return complain(c, -EBADMSG,
			"%s: is damaged: its schema number makes no sense; restore it from a copy",
			s->file);
	if (n > known->number)
		return complain(c, -EPROTO,
			"%s: was written by a newer version (schema %u; this one knows %u); run "
			"the newer version, or give this one another queue directory",
			s->file, n, known->number);
	if (n < known->number && s->read_only && !reads_as_is(known, n))
		return complain(c, -EPROTO,
			"%s: has the older schema %u; start the relay once to upgrade it", s->file,
			n);
	*have = n;
	return 0;
}

int schema_settle(struct store *s, const struct schema *known, const struct complaint *c)
{
	MDB_txn *txn = NULL;
	uint32_t have = 0;
	int r, rc;

	rc = mdb_txn_begin(s->env, NULL, s->read_only ? MDB_RDONLY : 0, &txn);
	if (!rc)
		rc = mdb_dbi_open(txn, NULL, 0, &s->main);
	if (rc) {
		r = complain(c, lmdb_errno(rc), "%s: cannot begin to read: %s", s->file,
			mdb_strerror(rc));
		goto out;
	}
	r = judge(s, txn, known, c, &have);
	if (r || have == known->number || (have > 0 && s->read_only))
		goto out;
	if (have > 0)
		r = upgrade(s, txn, known, have, c);
	if (r)
		goto out;
	if (have == 0)
		r = store_totals_put(s, txn, &(struct totals){ 0 });
	if (!r)
		r = put_schema(s, txn, known->number);
	if (!r) {
		r = lmdb_errno(mdb_txn_commit(txn));
		txn = NULL;
	}
	if (r)
		complain(c, r, "%s: cannot write: %s", s->file, strerror(-r));
out:
	if (txn)
		mdb_txn_abort(txn);
	return r;
}
