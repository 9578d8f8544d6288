/* Opening a queue: everything that can be wrong with a directory and a file, told in words. Called
 * by queue_open, once, before the writer starts.
 *
 * directory → lock file → lock on the data file → its pages judged as bytes (queue/raw) → LMDB
 * maps it → schema. LMDB trusts what it maps, so nothing of it is mapped that was not judged
 * first. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postern/rawfile.h"
#include "schema.h"

#define DATA_FILE "data.mdb"
#define LOCK_FILE "postern.lock"
/* Blocks kept allocated behind the file's end: what a few transactions of settling alone may need.
 */
#define DISK_AHEAD (16u << 20)
#define MAP_MIN	   (1u << 20)
#define WALK_US	   150000u

static char *join(const char *dir, const char *name)
{
	char *s;

	return asprintf(&s, "%s/%s", dir, name) < 0 ? NULL : s;
}

/* ---- directory and lock ---- */

static int prepare_directory(struct store *s, const struct complaint *c)
{
	struct stat st;
	int e;

	if (!s->read_only && mkdir(s->dir, 0700) < 0 && errno != EEXIST) {
		e = errno;
		if (e == ENOENT)
			return complain(c, -e,
				"%s: cannot make the queue directory: the directory above it does "
				"not "
				"exist; make it first",
				s->dir);
		return complain(
			c, -e, "%s: cannot make the queue directory: %s", s->dir, strerror(e));
	}
	if (stat(s->dir, &st) < 0) {
		e = errno;
		return complain(
			c, -e, "%s: cannot open the queue directory: %s", s->dir, strerror(e));
	}
	if (!S_ISDIR(st.st_mode))
		return complain(c, -ENOTDIR,
			"%s: is not a directory; the queue needs a directory of its own", s->dir);
	/* whoever may write there can put another file in the queue's place */
	if (!s->read_only && (st.st_mode & S_IWOTH))
		return complain(c, -EPERM,
			"%s: everybody may write in the queue directory (mode %04o): chmod 0700 it",
			s->dir, (unsigned)st.st_mode & 07777u);
	return 0;
}

static int lock_taken(const struct complaint *c, const char *file, int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	if (pid > 0)
		return complain(c, -EBUSY,
			"%s: the queue is in use by process %ld; stop that one first, or give this "
			"one a "
			"queue directory of its own",
			file, pid);
	return complain(c, -EBUSY,
		"%s: the queue is in use by another process; stop that one first, or give this one "
		"a queue "
		"directory of its own",
		file);
}

/* flock, not fcntl: it belongs to the open file, so that nothing else in the process can lose it by
 * closing the same file. It ends with the process, however that ends. */
static int take_lock(struct store *s, const struct complaint *c)
{
	char *file = join(s->dir, LOCK_FILE);
	char text[32];
	int r = 0, n;

	if (!file)
		return complain(c, -ENOMEM, "%s: out of memory", s->dir);
	s->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0) {
		r = -errno;
		complain(c, r,
			"%s: cannot open the lock file: %s; the relay's user must own the queue "
			"directory "
			"and its files",
			file, strerror(-r));
		goto out;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno == EWOULDBLOCK
			    ? lock_taken(c, file, s->lock_fd)
			    : complain(c, -errno, "%s: cannot lock: %s", file, strerror(errno));
		goto out;
	}
	/* for people and for the sentence above; the lock itself does not need it */
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, text, (size_t)n, 0) < 0)
		r = errno == ENOSPC
			    ? 0
			    : complain(c, -errno, "%s: cannot write: %s", file, strerror(errno));
out:
	free(file);
	return r;
}

/* The lock file is for people, who may remove it; LMDB's own lock is in a file, too. Two writers
 * are kept apart by a lock on what they would write to, which nobody removes by mistake. LMDB
 * itself locks nothing on this file, and an flock is not lost when another descriptor of it is
 * closed. */
static int lock_data(struct store *s, const struct complaint *c)
{
	s->data_fd = open(s->file, O_RDONLY | O_CLOEXEC);
	if (s->data_fd < 0)
		return complain(c, -errno,
			"%s: cannot open: %s; the relay's user must own the queue directory and "
			"its files",
			s->file, strerror(errno));
	if (flock(s->data_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return complain(c, -EBUSY,
			"%s: the queue is in use by another process, whose %s is gone; stop that "
			"process first, or give this one a queue directory of its own",
			s->file, LOCK_FILE);
	return complain(c, -errno, "%s: cannot lock: %s", s->file, strerror(errno));
}

/* ---- the file, before LMDB sees it ---- */

static void first_find(void *arg, const char *line)
{
	char *first = arg;

	if (!*first)
		snprintf(first, 256, "%s", line);
}

/* LMDB trusts the pages it maps: bad ones are found before it sees them, as far as a short time
 * allows (queue_check looks at all of them). */
static int judge_pages(struct store *s, const struct complaint *c, int fd, const struct raw_meta *m)
{
	char first[256] = "";
	int r = raw_walk(fd, m, clock_mono_us() + WALK_US, first_find, first);

	if (r < 0)
		return complain(c, r, "%s: cannot read: %s", s->file, strerror(-r));
	if (r > 0)
		return complain(c, -EBADMSG,
			"%s: is damaged: %s; restore it from a copy, or move it away and start "
			"with an empty "
			"queue",
			s->file, first);
	return 0;
}

/* While another process writes, the pages would change under the walk; but that one has looked at
 * them itself. */
static int judge_pages_of_other(
	struct store *s, const struct complaint *c, int fd, const struct raw_meta *m)
{
	char *file = join(s->dir, LOCK_FILE);
	int lock, r = 0;

	if (!file)
		return complain(c, -ENOMEM, "%s: out of memory", s->dir);
	lock = open(file, O_RDONLY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_SH | LOCK_NB) == 0)
		r = judge_pages(s, c, fd, m);
	if (lock >= 0)
		close(lock);
	free(file);
	return r;
}

static int judge_file(struct store *s, const struct complaint *c, int fd)
{
	struct raw_meta m = { 0 };
	enum raw_state st = RAW_EMPTY;
	int r = raw_meta_read(fd, &m, &st);

	if (r)
		return complain(c, r, "%s: cannot read: %s", s->file, strerror(-r));
	switch (st) {
	case RAW_OK:
		break;
	case RAW_EMPTY:
		return 0;
	case RAW_FOREIGN:
		return complain(c, -EINVAL,
			"%s: is not a queue of this relay, or its first pages are destroyed; move "
			"it away, "
			"or give the relay another queue directory",
			s->file);
	case RAW_OTHER_VERSION:
		return complain(c, -EPROTO,
			"%s: was written by another version of LMDB (this one is %s); open it with "
			"the "
			"version that wrote it",
			s->file, MDB_VERSION_STRING);
	case RAW_DAMAGED:
		return complain(c, -EBADMSG,
			"%s: is damaged: its first pages make no sense; restore it from a copy, or "
			"move it "
			"away and start with an empty queue",
			s->file);
	case RAW_TRUNCATED:
		return complain(c, -EBADMSG,
			"%s: is damaged: it was cut to %" PRIu64
			" bytes and needs at least %" PRIu64
			"; restore it from a copy, or move it away and start with an empty queue",
			s->file, m.file_size, (m.last_page + 1) * m.page_size);
	}
	if (s->map_size < (m.last_page + 1) * m.page_size)
		return complain(c, -EFBIG,
			"%s: has %" PRIu64
			" bytes in use, more than the configured size of %" PRIu64
			"; raise the queue's max_size",
			s->file, (m.last_page + 1) * m.page_size, s->map_size);
	return s->read_only ? judge_pages_of_other(s, c, fd, &m) : judge_pages(s, c, fd, &m);
}

static int look_at_file(struct store *s, const struct complaint *c)
{
	int fd = open(s->file, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0) {
		r = -errno;
		if (r == -ENOENT && !s->read_only)
			return 0;
		if (r == -ENOENT)
			return complain(c, r, "%s: does not exist: there is no queue in %s",
				s->file, s->dir);
		return complain(c, r,
			"%s: cannot open: %s; the relay's user must own the queue directory and "
			"its "
			"files",
			s->file, strerror(-r));
	}
	r = judge_file(s, c, fd);
	close(fd);
	return r;
}

/* ---- all of it ---- */

static int prepare(struct store *s, const struct queue_params *p)
{
	pthread_rwlockattr_t attr;

	*s = (struct store){
		.lock_fd = -1, .data_fd = -1, .read_only = p->read_only, .disk_ahead = DISK_AHEAD
	};
	pthread_rwlockattr_init(&attr);
	/* a steady stream of readers must not keep the writer from reopening */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->guard, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&s->pool_lock, NULL);
	s->map_size = (p->max_size > MAP_MIN ? p->max_size : MAP_MIN) & ~(uint64_t)65535;
	s->dir = strdup(p->path);
	s->file = s->dir ? join(s->dir, DATA_FILE) : NULL;
	return s->file ? 0 : -ENOMEM;
}

int store_open(struct store *s, const struct queue_params *p, const struct schema *known,
	const struct complaint *c)
{
	int r = prepare(s, p);

	if (r)
		return complain(c, r, "%s: out of memory", p->path);
	r = prepare_directory(s, c);
	if (!r && !s->read_only)
		r = take_lock(s, c);
	if (!r && !s->read_only)
		r = store_make_first(s, known, c);
	if (!r && !s->read_only)
		r = lock_data(s, c);
	if (!r)
		r = look_at_file(s, c);
	if (r)
		goto out;
	r = store_env_open(s);
	if (r) {
		complain(c, r, "%s: cannot open: %s%s", s->file, strerror(-r),
			r == -ENOMEM
				? "; the queue's max_size may be more than the address space allows"
				: "; the relay's user must own the queue directory and its files");
		goto out;
	}
	r = schema_settle(s, known, c);
	if (r)
		goto out;
	r = store_env_ready(s);
	if (r)
		complain(c, r, "%s: cannot open its trees: %s; run check-queue", s->file,
			strerror(-r));
out:
	if (r)
		store_close(s);
	return r;
}

void store_close(struct store *s)
{
	if (!s->dir)
		return;
	store_env_close(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->data_fd >= 0)
		close(s->data_fd);
	pthread_rwlock_destroy(&s->guard);
	pthread_mutex_destroy(&s->pool_lock);
	free(s->file);
	free(s->dir);
	*s = (struct store){ .lock_fd = -1, .data_fd = -1 };
}
