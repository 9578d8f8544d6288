/* One write transaction under construction: what each kind of job does to the trees.
 *
 * Each qtxn_* gives 0, or an error that left the transaction as it was, or an error with t->broken
 * set: then the transaction is half changed and must be aborted. None of them changes its job, so
 * that a job may be run again in another transaction. */
#pragma once

#include "codec.h"
#include "keys.h"
#include "store.h"
#include "young.h"

#define YOUNG_MOVE_MAX 2048u

struct young_op {
	struct young_entry e;
	struct slice domain; /* p NULL: removal. Borrowed from the job */
};

struct qtxn {
	struct store *s;
	MDB_txn *txn;
	MDB_cursor *mail, *due;
	struct totals totals;
	struct young *young;
	/* what the commit will change in young, in order */
	struct young_op *ops;
	uint32_t nops, ops_cap, young_adds;
	uint64_t young_floor;	    /* no id below is in the young tree */
	bool young_strays;	    /* some in the tree are not in the index */
	struct young_entry *moving; /* scratch, YOUNG_MOVE_MAX of them */
	struct buf record;	    /* scratch, kept between transactions */
	uint64_t
		first_id; /* of this run: loose bodies below it have no one who still writes them */
	uint64_t room;	  /* pages that new mail may still take */
	uint64_t emergency;   /* pages that settling may still take */
	uint64_t pages;	      /* written so far, about */
	struct slice flagged; /* domain of the last flag's recipient, in this transaction */
	char flagged_name[DOMAIN_MAX];
	bool broken, dirty, more_loose;
	uint64_t accepted, settled; /* counted in this transaction */
};

int qtxn_init(struct qtxn *t, struct store *s); /* 0, -ENOMEM */
void qtxn_deinit(struct qtxn *t);
int qtxn_begin(struct qtxn *t, uint64_t reserve);
int qtxn_commit(struct qtxn *t); /* 0, or the error of writing or syncing; over either way */
void qtxn_abort(struct qtxn *t);

int qtxn_accept(struct qtxn *t, const struct queue_accept *a);
/* A notification, on behalf of settling: may use the space that is kept back. */
int qtxn_accept_notice(struct qtxn *t, const struct queue_accept *a);
int qtxn_append(struct qtxn *t, const struct queue_append *a);
int qtxn_discard(struct qtxn *t, uint64_t id);
int qtxn_settle(struct qtxn *t, const struct queue_settle *j);
int qtxn_state(struct qtxn *t, const struct queue_state_put *j);
int qtxn_flag(struct qtxn *t, const struct queue_flag *j, uint32_t *changed);
/* Removes up to max chunks of loose bodies; more_loose says whether some are left. */
int qtxn_reap(struct qtxn *t, uint32_t max);
/* Moves up to *max entries of a domain from the young tree into the due index, counted down.
 * finished: it had no more. To be called once a transaction and domain. */
int qtxn_young_move(struct qtxn *t, struct slice domain, uint32_t *max, bool *finished);
/* Moves what is in the young tree and not in the index in memory. */
int qtxn_young_strays(struct qtxn *t);
/* After the commit. False: some did not fit, and are strays now. */
bool qtxn_young_apply(struct qtxn *t);

/* Repairs. What is taken out of a tree is put into `damaged`, never dropped. */
enum fix_kind {
	FIX_DUE,       /* key of `due`: an entry without a (readable) recipient, which goes too */
	FIX_RECIPIENT, /* mail key: a record that cannot be read */
	FIX_MESSAGE, /* mail key: envelope and recipients of a message that cannot be sent; its body
			stays */
	FIX_INDEX,   /* mail key: a recipient that no index knows gets its entry */
	FIX_YOUNG,   /* mail key: an entry of `young` without a recipient */
	FIX_BODY,    /* mail key: a body that belongs to nothing is marked as known */
	FIX_LOOSE,   /* mail key: the body has an envelope and is not loose */
	FIX_COUNT,   /* the totals are counted again */
};
struct fix {
	enum fix_kind kind;
	struct due_key key;
};
int qtxn_fix(struct qtxn *t, const struct fix *f);

/* shared by the parts of it */
static inline bool qtxn_key_of(MDB_val key, uint64_t id, uint32_t *sub)
{
	uint64_t got;

	return mail_key_parse(key.mv_data, key.mv_size, &got, sub) && got == id;
}
int qtxn_put(struct qtxn *t, MDB_cursor *c, MDB_dbi dbi, MDB_val key, MDB_val v, unsigned flags);
int qtxn_fail(struct qtxn *t, int rc); /* LMDB's result; anything but 0 breaks the transaction */
int qtxn_loose_set(struct qtxn *t, uint64_t id, uint64_t bytes, bool dead);
int qtxn_loose_get(struct qtxn *t, uint64_t id, uint64_t *bytes, bool *dead); /* -ENOENT */
/* For a message just accepted: into the young tree if there is room, else the due index. */
int qtxn_due_new(struct qtxn *t, struct slice domain, ms_t due, uint64_t id, uint32_t index);
int qtxn_young_del(struct qtxn *t, uint64_t id, uint32_t index, bool *was);
int qtxn_due_add(struct qtxn *t, struct slice domain, ms_t due, uint64_t id, uint32_t index);
int qtxn_due_remove(
	struct qtxn *t, struct slice domain, ms_t due, uint64_t id, uint32_t index, bool *was);
