/* Clocks of a test's own, for a program that is started with this library preloaded. A mapped file
 * (CLOCK_FILE) says by how many milliseconds they are off: first CLOCK_REALTIME, which is thereby
 * set while the others go on as they are, then CLOCK_MONOTONIC, which may only ever be put
 * forward. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { WALL, MONO, CLOCKS };

static _Atomic int64_t none[CLOCKS], *offset = none;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CLOCK_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(none), PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		abort();
	offset = p;
	close(fd);
}

static struct timespec moved(const struct timespec *ts, int64_t by_ms)
{
	int64_t ms = (int64_t)ts->tv_sec * 1000 + ts->tv_nsec / 1000000 + by_ms;

	return (struct timespec){ .tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000 + ts->tv_nsec % 1000000 };
}

EXPORT int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t id, struct timespec * ts);
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	r = real(id, ts);
	if (r)
		return r;
	if (id == CLOCK_REALTIME)
		*ts = moved(ts, atomic_load(&offset[WALL]));
	else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE)
		*ts = moved(ts, atomic_load(&offset[MONO]));
	return 0;
}

/* The kernel goes by its own clock. All timed waits of the relay are by CLOCK_MONOTONIC. */
EXPORT int pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	struct timespec at = moved(until, -atomic_load(&offset[MONO]));

	return pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &at);
}

EXPORT time_t time(time_t *ret)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ret)
		*ret = ts.tv_sec;
	return ts.tv_sec;
}
