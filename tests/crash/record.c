/* The program's own versions of the calls that write: LMDB and the queue use them. They do what the
 * system's do, and note it. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "postern/must.h"
#include "powercut.h"

#define EXPORT __attribute__((visibility("default")))
#define FDS    1024
#define DATA   1
#define DSYNC  2
#define DIR    4

struct op *ops;
uint32_t nops;

static uint32_t cap;
static unsigned char fds[FDS];
static bool recording;
static struct rng rng;
static double sync_errors;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	must(p);
	return p;
}

#define NEXT(name)                                                                                 \
	static __typeof__(&name) real;                                                             \
	if (!real)                                                                                 \
	*(void **)&real = next(#name)

static uint32_t note(struct op o)
{
	uint32_t at;

	pthread_mutex_lock(&lock);
	if (nops == cap) {
		cap = cap ? 2 * cap : 4096;
		ops = realloc(ops, cap * sizeof(*ops));
		must(ops);
	}
	at = nops++;
	ops[at] = o;
	pthread_mutex_unlock(&lock);
	return at;
}

uint32_t record_mark(void)
{
	return note((struct op){ .kind = OP_MARK });
}

void record_begin(uint64_t seed, double errors)
{
	rng_seed(&rng, seed);
	sync_errors = errors;
	recording = true;
}

void record_end(void)
{
	recording = false;
}

static unsigned kind(int fd)
{
	return recording && fd >= 0 && fd < FDS ? fds[fd] : 0;
}

/* ---- descriptors ---- */

static bool is_data(const char *path)
{
	size_t n = strlen(path);

	return n >= 9 && !strcmp(path + n - 9, "/data.mdb");
}

static int opened(int fd, const char *path, int flags)
{
	size_t n = strlen(path);

	if (fd < 0 || fd >= FDS)
		return fd;
	fds[fd] = 0;
	if (is_data(path) && (flags & O_ACCMODE) != O_RDONLY)
		fds[fd] = (unsigned char)(DATA | (flags & O_DSYNC ? DSYNC : 0));
	else if ((flags & O_DIRECTORY) && n > 3 && strcmp(path + n - 3, "/.."))
		fds[fd] = DIR; /* the queue's own: no other is opened */
	return fd;
}

#define OPEN(name)                                                                                 \
	EXPORT int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
		NEXT(name);                                                                        \
                                                                                                   \
		va_start(ap, flags);                                                               \
		mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;                                   \
		va_end(ap);                                                                        \
		return opened(real(path, flags, mode), path, flags);                               \
	}
OPEN(open)
OPEN(open64)

/* What open is under _FORTIFY_SOURCE where the compiler does not know the flags. */
#define OPEN_2(name)                                                                               \
	EXPORT int name(const char *path, int flags);                                              \
	EXPORT int name(const char *path, int flags)                                               \
	{                                                                                          \
		NEXT(name);                                                                        \
                                                                                                   \
		return opened(real(path, flags), path, flags);                                     \
	}
OPEN_2(__open_2)
OPEN_2(__open64_2)

EXPORT int close(int fd)
{
	NEXT(close);
	if (fd >= 0 && fd < FDS)
		fds[fd] = 0;
	return real(fd);
}

/* ---- writes ---- */

static void note_write(const void *p, size_t n, uint64_t at)
{
	struct op o = { .kind = OP_WRITE, .offset = at, .n = n, .data = malloc(n) };

	must(o.data);
	memcpy(o.data, p, n);
	note(o);
}

static bool unlucky(void)
{
	return sync_errors > 0 && rng_unit(&rng) < sync_errors;
}

/* A synchronous write that fails has still changed the page cache. */
static ssize_t write_done(int fd, ssize_t n)
{
	bool failed;

	if (!(kind(fd) & DSYNC))
		return n;
	failed = unlucky();
	note((struct op){ .kind = OP_WSYNC, .failed = failed });
	if (!failed)
		return n;
	errno = EIO;
	return -1;
}

static ssize_t one_write(int fd, const void *p, size_t n, off64_t at, ssize_t done)
{
	must(done == (ssize_t)n);
	note_write(p, n, (uint64_t)at);
	return write_done(fd, done);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	NEXT(pwrite);
	return kind(fd) ? one_write(fd, p, n, at, real(fd, p, n, at)) : real(fd, p, n, at);
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	NEXT(pwrite64);
	return kind(fd) ? one_write(fd, p, n, at, real(fd, p, n, at)) : real(fd, p, n, at);
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
	NEXT(write);
	off64_t at;

	if (!kind(fd))
		return real(fd, p, n);
	at = lseek64(fd, 0, SEEK_CUR);
	return one_write(fd, p, n, at, real(fd, p, n));
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int count)
{
	NEXT(writev);
	ssize_t done;
	off64_t at;

	if (!kind(fd))
		return real(fd, v, count);
	at = lseek64(fd, 0, SEEK_CUR);
	done = real(fd, v, count);
	for (int i = 0; i < count; i++) {
		note_write(v[i].iov_base, v[i].iov_len, (uint64_t)at);
		at += (off64_t)v[i].iov_len;
	}
	return write_done(fd, done);
}

/* ---- syncs and sizes ---- */

static int synced(int r)
{
	bool failed = unlucky();

	note((struct op){ .kind = OP_SYNCED, .failed = failed });
	if (!failed)
		return r;
	errno = EIO;
	return -1;
}

EXPORT int fdatasync(int fd)
{
	NEXT(fdatasync);
	if (!kind(fd))
		return real(fd);
	/* the real one is of no use here: the file is in memory */
	note((struct op){ .kind = OP_SYNC });
	return synced(0);
}

static int names_synced(void)
{
	bool failed = unlucky();

	note((struct op){ .kind = OP_NAMED, .failed = failed });
	if (!failed)
		return 0;
	errno = EIO;
	return -1;
}

EXPORT int fsync(int fd)
{
	NEXT(fsync);
	if (!kind(fd))
		return real(fd);
	if (kind(fd) & DIR)
		return names_synced();
	note((struct op){ .kind = OP_SYNC });
	return synced(0);
}

static int sized(int fd, uint64_t size, int r)
{
	if (kind(fd) && !r)
		note((struct op){ .kind = OP_SIZE, .offset = size });
	return r;
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t n)
{
	NEXT(fallocate);
	return sized(fd, (uint64_t)(at + n), real(fd, mode, at, n));
}

EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
	NEXT(fallocate64);
	return sized(fd, (uint64_t)(at + n), real(fd, mode, at, n));
}

EXPORT int ftruncate(int fd, off_t n)
{
	NEXT(ftruncate);
	return sized(fd, (uint64_t)n, real(fd, n));
}

EXPORT int ftruncate64(int fd, off64_t n)
{
	NEXT(ftruncate64);
	return sized(fd, (uint64_t)n, real(fd, n));
}

/* ---- names ---- */

EXPORT int rename(const char *from, const char *to)
{
	NEXT(rename);
	int r = real(from, to);

	if (recording && !r && is_data(to))
		note((struct op){ .kind = OP_RENAME });
	return r;
}

EXPORT int unlink(const char *path)
{
	NEXT(unlink);
	int r = real(path);

	if (recording && !r && is_data(path))
		note((struct op){ .kind = OP_REMOVE });
	return r;
}
