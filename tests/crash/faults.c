/* Faults of the system, for a program that is started with this library preloaded: writes, syncs
 * and allocations of disk space on the queue's file fail, descriptors run out, memory runs out,
 * syncs take long. What fails is said in a file that both sides map (FAULTS_FILE); there it is also
 * counted what the program did. Fields: faults.py. */
/* Both names of each function are ours, whichever the program was built with. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT	__attribute__((visibility("default")))
#define FDS	4096
#define FD_DATA 1
#define FD_SYNC 2 /* opened with O_DSYNC: each write is a sync */

struct faults {
	_Atomic uint64_t write_errno, sync_errno, allocate_errno, open_errno;
	_Atomic uint64_t sync_delay_us;	   /* of each fsync and fdatasync */
	_Atomic uint64_t write_delay_us;   /* of each write through a synchronous descriptor */
	_Atomic uint64_t allocation_fails; /* the how manieth from now on; 0: none */
	_Atomic uint64_t allocations;	   /* counted while that is set */
	_Atomic uint64_t failed;	   /* calls that were made to fail */
	_Atomic uint64_t syncs, sync_writes, writes, bytes;
	_Atomic uint64_t sync_errno_once; /* like sync_errno, and then no more */
};

static struct faults none, *f = &none;
static unsigned char fds[FDS];

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static void *next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

/* POSIX wants functions and objects to have pointers of one size. */
#define NEXT(name)                                                                                 \
	static __typeof__(&name) real;                                                             \
	if (!real)                                                                                 \
	*(void **)&real = next(#name)

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULTS_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	backtrace(&p, 1); /* its first call loads a library */
	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		f = p;
	close(fd);
}

/* Set: fails with that. */
static bool fails(_Atomic uint64_t *with)
{
	uint64_t e = atomic_load_explicit(with, memory_order_relaxed);

	if (!e)
		return false;
	atomic_fetch_add(&f->failed, 1);
	errno = (int)e;
	return true;
}

static void delay(_Atomic uint64_t *us)
{
	uint64_t n = atomic_load_explicit(us, memory_order_relaxed);
	const struct timespec t = { .tv_sec = (time_t)(n / 1000000),
		.tv_nsec = (long)(n % 1000000) * 1000 };

	if (n)
		nanosleep(&t, NULL);
}

static unsigned kind(int fd)
{
	return fd >= 0 && fd < FDS ? fds[fd] : 0;
}

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && strcmp(s + n - t, tail) == 0;
}

/* ---- descriptors ---- */

static int opened(int fd, const char *path, int flags)
{
	if (fd >= 0 && fd < FDS) {
		fds[fd] = 0;
		if (ends_with(path, "/data.mdb") && (flags & O_ACCMODE) != O_RDONLY)
			fds[fd] = (unsigned char)(FD_DATA | (flags & O_DSYNC ? FD_SYNC : 0));
	}
	return fd;
}

EXPORT int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;
	NEXT(open);

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(&f->open_errno) ? -1 : opened(real(path, flags, mode), path, flags);
}

EXPORT int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;
	NEXT(open64);

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(&f->open_errno) ? -1 : opened(real(path, flags, mode), path, flags);
}

EXPORT int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
	NEXT(accept4);
	return fails(&f->open_errno) ? -1 : real(fd, a, n, flags);
}

EXPORT int socket(int domain, int type, int protocol)
{
	NEXT(socket);
	return fails(&f->open_errno) ? -1 : real(domain, type, protocol);
}

EXPORT int close(int fd)
{
	NEXT(close);
	if (fd >= 0 && fd < FDS)
		fds[fd] = 0;
	return real(fd);
}

/* ---- writing ---- */

static bool write_fails(int fd)
{
	unsigned k = kind(fd);

	if (!k)
		return false;
	if (k & FD_SYNC) {
		atomic_fetch_add(&f->sync_writes, 1);
		delay(&f->write_delay_us);
	}
	return fails(&f->write_errno);
}

static ssize_t written(int fd, ssize_t n)
{
	if (n > 0 && kind(fd)) {
		atomic_fetch_add(&f->writes, 1);
		atomic_fetch_add(&f->bytes, (uint64_t)n);
	}
	return n;
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
	NEXT(write);
	return write_fails(fd) ? -1 : written(fd, real(fd, p, n));
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
	NEXT(writev);
	return write_fails(fd) ? -1 : written(fd, real(fd, v, n));
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	NEXT(pwrite);
	return write_fails(fd) ? -1 : written(fd, real(fd, p, n, at));
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	NEXT(pwrite64);
	return write_fails(fd) ? -1 : written(fd, real(fd, p, n, at));
}

EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	NEXT(pwritev);
	return write_fails(fd) ? -1 : written(fd, real(fd, v, n, at));
}

static bool sync_fails(int fd)
{
	uint64_t once;

	if (!kind(fd))
		return false;
	atomic_fetch_add(&f->syncs, 1);
	delay(&f->sync_delay_us);
	once = atomic_exchange(&f->sync_errno_once, 0);
	if (!once)
		return fails(&f->sync_errno);
	atomic_fetch_add(&f->failed, 1);
	errno = (int)once;
	return true;
}

EXPORT int fsync(int fd)
{
	NEXT(fsync);
	return sync_fails(fd) ? -1 : real(fd);
}

EXPORT int fdatasync(int fd)
{
	NEXT(fdatasync);
	return sync_fails(fd) ? -1 : real(fd);
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t n)
{
	NEXT(fallocate);
	return kind(fd) && fails(&f->allocate_errno) ? -1 : real(fd, mode, at, n);
}

EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
	NEXT(fallocate64);
	return kind(fd) && fails(&f->allocate_errno) ? -1 : real(fd, mode, at, n);
}

EXPORT int ftruncate(int fd, off_t n)
{
	NEXT(ftruncate);
	return kind(fd) && fails(&f->allocate_errno) ? -1 : real(fd, n);
}

/* ---- memory ---- */

/* To standard error: what stands there last is the reason when the program did not survive it. */
static void tell_where(void)
{
	void *at[16];
	int n = backtrace(at, 16);

	backtrace_symbols_fd(at, n, 2);
	(void)!write(2, "--\n", 3);
}

static bool no_memory(void)
{
	uint64_t at = atomic_load_explicit(&f->allocation_fails, memory_order_relaxed);

	if (!at)
		return false;
	if (atomic_fetch_add_explicit(&f->allocations, 1, memory_order_relaxed) + 1 != at)
		return false;
	atomic_fetch_add(&f->failed, 1);
	tell_where();
	errno = ENOMEM;
	return true;
}

EXPORT void *malloc(size_t n)
{
	return no_memory() ? NULL : __libc_malloc(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __libc_realloc(p, n);
}
