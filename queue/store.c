/* The LMDB environment once it is open: trees, transactions, space ahead of the file's end, the
 * resident part of the map, and opening again after a commit that failed. Opening for the first
 * time is open.c and first.c.
 *
 * Readers (any thread) hold the guard shared for one call; the writer takes it alone to open the
 * environment again. Nothing here looks into records. */
#include "store.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "postern/must.h"
#include "postern/rawfile.h"

#define READERS_MAX 512u
/* What the map may hold resident, about. One page read brings up to sixteen into the map, so it is
 * looked at after a sixteenth of that. */
#define RESIDENT_MAX	   (16u << 20)
#define RESIDENT_LOOK_STEP (RESIDENT_MAX / 16)

int lmdb_errno(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_TXN_FULL:
		return -ENOBUFS;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_KEYEXIST:
		return -EEXIST;
	case MDB_READERS_FULL:
		return -EAGAIN;
	case MDB_PANIC:
		return -EIO;
	case MDB_VERSION_MISMATCH:
		return -EPROTO;
	default:
		return rc > 0 ? -rc : -EBADMSG;
	}
}

/* ---- space ---- */

uint64_t store_pages_used(const struct store *s, MDB_txn *txn)
{
	const MDB_dbi all[] = { 0 /* LMDB's own list of free pages */, s->main, s->mail, s->due,
		s->young, s->loose, s->state, s->damaged };
	uint64_t pages = 2;
	MDB_stat st;

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (mdb_stat(txn, all[i], &st) == 0)
			pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
	}
	return pages;
}

/* The file is made longer before a transaction may need it. Besides keeping blocks for settling
 * this keeps the file's length ahead of the last page, also of pages that were taken and not
 * written: so that a file that is too short was cut. */
void store_allocate_ahead(struct store *s)
{
	MDB_envinfo info;
	uint64_t need, want;
	int fd, r;

	if (mdb_env_info(s->env, &info) || mdb_env_get_fd(s->env, &fd))
		return;
	need = (info.me_last_pgno + 1) * s->page_size + s->disk_ahead / 2;
	if (need > s->map_size)
		need = s->map_size;
	if (need <= s->allocated_end) {
		s->disk_tight = false;
		return;
	}
	want = need + s->disk_ahead / 2;
	if (want > s->map_size)
		want = s->map_size;
	r = fallocate(fd, 0, (off_t)s->allocated_end, (off_t)(want - s->allocated_end));
	if (r < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		r = ftruncate(fd, (off_t)want);
	s->disk_tight = r < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
	if (r == 0)
		s->allocated_end = want;
}

static bool shared_pages(unsigned long *ret)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size, resident;
	bool ok;

	if (!f)
		return false;
	ok = fscanf(f, "%lu %lu %lu", &size, &resident, ret) == 3;
	fclose(f);
	return ok;
}

static void trim_map(struct store *s)
{
	unsigned long now;

	if (!shared_pages(&now))
		return;
	if (now < atomic_load_explicit(&s->shared_before, memory_order_relaxed) +
			  RESIDENT_MAX / s->page_size)
		return;
	madvise(s->map, s->map_len, MADV_DONTNEED);
	/* what is left is not the map's: libraries, for the most part */
	if (shared_pages(&now))
		atomic_store_explicit(&s->shared_before, now, memory_order_relaxed);
}

/* LMDB reads through a map of the file. Every page read, and its neighbours, count as resident in
 * this process until the kernel needs the memory, so that reading a deep queue would look like a
 * leak, and under a memory limit be one. The pages stay in the page cache when the map gives them
 * up: reading one again is a minor fault. So they are given up when there are many, which a small
 * queue never has. */
void store_touched(struct store *s, uint64_t bytes)
{
	uint64_t n = atomic_fetch_add_explicit(&s->touched, bytes, memory_order_relaxed) + bytes;

	if (n < RESIDENT_LOOK_STEP)
		return;
	/* reopening moves the map; and whoever cannot have the lock leaves it to the next */
	if (pthread_rwlock_tryrdlock(&s->guard))
		return;
	atomic_store_explicit(&s->touched, 0, memory_order_relaxed);
	if (s->map)
		trim_map(s);
	pthread_rwlock_unlock(&s->guard);
}

static void find_map(struct store *s)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[4600];
	size_t len = strlen(s->file);
	unsigned long shared;

	s->map = NULL;
	atomic_store(&s->shared_before, shared_pages(&shared) ? shared : 0);
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		uintptr_t from, to;
		size_t n = strcspn(line, "\n");

		if (n < len || memcmp(line + n - len, s->file, len) != 0)
			continue;
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2)
			continue;
		if (to - from > s->map_len || !s->map) {
			s->map = (char *)from;
			s->map_len = to - from;
		}
	}
	fclose(f);
}

/* ---- environment ---- */

static int open_trees(struct store *s)
{
	const unsigned create = s->read_only ? 0 : MDB_CREATE;
	const struct {
		const char *name;
		MDB_dbi *dbi;
	} trees[] = { { "mail", &s->mail }, { "due", &s->due }, { "young", &s->young },
		{ "loose", &s->loose }, { "state", &s->state }, { "damaged", &s->damaged } };
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, s->read_only ? MDB_RDONLY : 0, &txn);

	if (rc)
		return lmdb_errno(rc);
	rc = mdb_dbi_open(txn, NULL, 0, &s->main);
	for (unsigned i = 0; !rc && i < sizeof(trees) / sizeof(trees[0]); i++)
		rc = mdb_dbi_open(txn, trees[i].name, create, trees[i].dbi);
	if (rc) {
		mdb_txn_abort(txn);
		return lmdb_errno(rc);
	}
	return lmdb_errno(mdb_txn_commit(txn)); /* of a reading one: keeps the handles */
}

void store_env_close(struct store *s)
{
	for (unsigned i = 0; i < s->npool; i++)
		mdb_txn_abort(s->pool[i]);
	s->npool = 0;
	if (s->env)
		mdb_env_close(s->env);
	s->env = NULL;
	s->map = NULL;
}

int store_env_open(struct store *s)
{
	const unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (s->read_only ? MDB_RDONLY : 0);
	MDB_stat st;
	int rc, dead;

	rc = mdb_env_create(&s->env);
	if (rc) {
		s->env = NULL;
		return lmdb_errno(rc);
	}
	rc = mdb_env_set_maxdbs(s->env, 8);
	if (!rc)
		rc = mdb_env_set_maxreaders(s->env, READERS_MAX);
	if (!rc)
		rc = mdb_env_set_mapsize(s->env, s->map_size);
	if (!rc)
		rc = mdb_env_open(s->env, s->dir, flags, 0600);
	if (!rc)
		rc = mdb_env_stat(s->env, &st);
	if (rc) {
		store_env_close(s);
		return lmdb_errno(rc);
	}
	s->page_size = st.ms_psize;
	mdb_reader_check(s->env, &dead);
	find_map(s);
	return 0;
}

static uint64_t file_length(const struct store *s)
{
	off_t end;
	int fd;

	if (mdb_env_get_fd(s->env, &fd))
		return 0;
	end = lseek(fd, 0, SEEK_END);
	return end < 0 ? 0 : (uint64_t)end;
}

int store_env_ready(struct store *s)
{
	int r = open_trees(s);

	if (r)
		return r;
	s->allocated_end = file_length(s);
	if (!s->read_only)
		store_allocate_ahead(s);
	return 0;
}

/* A failed sync leaves two questions: which pages reached the disk, and which meta page. Pages of
 * the failed transaction are free ones to the state we keep, so the first does not matter; the
 * second does: a newer meta page on the disk than in the cache would, after a power cut, point to
 * pages that were used again since. Hence both meta pages are written and synced again before
 * anything else, and only then does the environment, read afresh, go on. */
int store_reopen(struct store *s)
{
	int r;

	pthread_rwlock_wrlock(&s->guard);
	store_env_close(s);
	r = raw_meta_settle(s->file);
	if (!r)
		r = store_env_open(s);
	if (!r)
		r = store_env_ready(s);
	if (r)
		store_env_close(s);
	pthread_rwlock_unlock(&s->guard);
	return r;
}

/* ---- transactions ---- */

int store_read(struct store *s, MDB_txn **ret)
{
	MDB_txn *txn = NULL;
	int rc;

	pthread_rwlock_rdlock(&s->guard);
	if (!s->env) {
		pthread_rwlock_unlock(&s->guard);
		return -EIO;
	}
	pthread_mutex_lock(&s->pool_lock);
	if (s->npool > 0)
		txn = s->pool[--s->npool];
	pthread_mutex_unlock(&s->pool_lock);
	rc = txn ? mdb_txn_renew(txn) : mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc) {
		if (txn)
			mdb_txn_abort(txn);
		pthread_rwlock_unlock(&s->guard);
		return lmdb_errno(rc);
	}
	*ret = txn;
	return 0;
}

void store_read_end(struct store *s, MDB_txn *txn)
{
	mdb_txn_reset(txn);
	pthread_mutex_lock(&s->pool_lock);
	if (s->npool < STORE_READERS_KEPT) {
		s->pool[s->npool++] = txn;
		txn = NULL;
	}
	pthread_mutex_unlock(&s->pool_lock);
	if (txn)
		mdb_txn_abort(txn);
	pthread_rwlock_unlock(&s->guard);
}

int store_write(struct store *s, MDB_txn **ret)
{
	if (!s->env)
		return -EIO;
	return lmdb_errno(mdb_txn_begin(s->env, NULL, 0, ret));
}

/* ---- totals, in the root tree: its page is written in every transaction anyway ---- */

#define TOTALS_KEY "totals"
#define TOTALS_LEN 32u

int store_totals(const struct store *s, MDB_txn *txn, struct totals *ret)
{
	MDB_val key = val_of(TOTALS_KEY, sizeof(TOTALS_KEY) - 1), v;
	int rc = mdb_get(txn, s->main, &key, &v);
	uint64_t w[4];

	if (rc)
		return lmdb_errno(rc);
	if (v.mv_size != TOTALS_LEN)
		return -EBADMSG;
	memcpy(w, v.mv_data, sizeof(w));
	*ret = (struct totals){ le64toh(w[0]), le64toh(w[1]), le64toh(w[2]), le64toh(w[3]) };
	return 0;
}

int store_totals_put(const struct store *s, MDB_txn *txn, const struct totals *t)
{
	const uint64_t w[4] = { htole64(t->messages), htole64(t->recipients), htole64(t->bytes),
		htole64(t->id_limit) };
	MDB_val key = val_of(TOTALS_KEY, sizeof(TOTALS_KEY) - 1), v = val_of(w, TOTALS_LEN);

	return lmdb_errno(mdb_put(txn, s->main, &key, &v, 0));
}

int complain(const struct complaint *c, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (c->text && c->max > 0)
		vsnprintf(c->text, c->max, fmt, ap);
	va_end(ap);
	return r;
}
