/* The LMDB environment and what surrounds it: opening with sentences for people, the lock against a
 * second process, space, reopening after a failed commit. Knows trees, not what is in their
 * records. */
#pragma once

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "postern/queue.h"

#define STORE_READERS_KEPT 64u

/* Sums over the whole queue, kept up to date in each transaction, so that they cost nothing to
 * read. */
struct totals {
	uint64_t messages, recipients, bytes;
	uint64_t id_limit; /* ids below it may have been given out */
};

struct store {
	char *dir, *file;
	int lock_fd, data_fd; /* held locked while open for writing */
	bool read_only;
	MDB_env *env; /* NULL after a reopening that failed; see store_reopen */
	MDB_dbi main, mail, due, young, loose, state, damaged;
	uint64_t map_size, page_size;

	/* readers hold it shared for a call; reopening the environment takes it alone */
	pthread_rwlock_t guard;
	pthread_mutex_t pool_lock;
	MDB_txn *pool[STORE_READERS_KEPT]; /* reset, ready for renewal */
	unsigned npool;

	/* writer's own: disk blocks are allocated ahead of the file's end, so that settling has
	 * them when others have filled the disk */
	uint64_t disk_ahead, allocated_end;
	bool disk_tight;

	/* the map's pages that this process holds resident, see store_touched */
	char *map;
	size_t map_len;
	atomic_uint_least64_t touched, shared_before;
};

struct complaint {
	char *text;
	size_t max;
};
/* Says why, and gives r back. */
int complain(const struct complaint *c, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

struct schema;
int store_open(struct store *s, const struct queue_params *p, const struct schema *known,
	const struct complaint *c);
/* first.c: makes the queue's file where there is none, so that a power cut leaves all of it or
 * nothing. */
int store_make_first(const struct store *s, const struct schema *known, const struct complaint *c);
void store_close(struct store *s); /* a zeroed or half opened store is fine */
/* Closes and opens the environment again. Until it returns 0 the store has no environment: reads
 * and writes give -EIO. Writer's thread only. */
int store_reopen(struct store *s);

/* Parts of opening: environment, then (schema known) trees and space. */
/* 0, or the errno of LMDB: -ENOMEM also where the address space has no room for max_size. */
int store_env_open(struct store *s);
int store_env_ready(struct store *s);
void store_env_close(struct store *s);

int store_read(struct store *s, MDB_txn **ret); /* then, if 0, store_read_end */
void store_read_end(struct store *s, MDB_txn *txn);
int store_write(struct store *s, MDB_txn **ret);

int store_totals(const struct store *s, MDB_txn *txn, struct totals *ret);
int store_totals_put(const struct store *s, MDB_txn *txn, const struct totals *t);
uint64_t store_pages_used(const struct store *s, MDB_txn *txn);
/* Before a transaction: has the disk room for settling? Sets disk_tight. */
void store_allocate_ahead(struct store *s);
/* Bytes of the map were read: keeps the resident part of the map small. */
void store_touched(struct store *s, uint64_t bytes);

int lmdb_errno(int rc); /* LMDB's result as 0 or -errno */
static inline MDB_val val_of(const void *p, size_t n)
{
	return (MDB_val){ n, (void *)(uintptr_t)p };
}
static inline struct slice slice_of_val(MDB_val v)
{
	return (struct slice){ v.mv_data, v.mv_size };
}
