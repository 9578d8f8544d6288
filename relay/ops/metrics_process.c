/* The process as metrics, in the names that Prometheus' own clients use, so that dashboards made for
 * any program fit. Called on HTTP's thread. What cannot be read is left out. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "metrics_history.h"

static int put(struct buf *out, const char *name, const char *type, const char *help, double v)
{
	return buf_printf(out, "# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s %.17g\n",
		name, help, name, type, name, v);
}

static double cpu_seconds(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u))
		return 0;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Pages: all, and those in memory. */
static bool memory(unsigned long long *all, unsigned long long *resident)
{
	FILE *f = fopen("/proc/self/statm", "re");
	bool well = f && fscanf(f, "%llu %llu", all, resident) == 2;

	if (f)
		fclose(f);
	return well;
}

static unsigned descriptors(void)
{
	/* opened by its number: so the thread sanitizer knows that the number is a new file's, after a
	 * socket of another thread had it */
	int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	unsigned n = 0;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n ? n - 1 : 0; /* without the one that reads */
}

int metrics_process(struct buf *out, const struct ops_context *ctx)
{
	unsigned long long all, resident;
	double page = (double)sysconf(_SC_PAGESIZE);
	struct rlimit limit;
	int r = put(
		out, "cpu_seconds_total", "counter", "CPU time, user and system.", cpu_seconds());

	if (!r)
		r = put(out, "start_time_seconds", "gauge", "Start, since 1970.",
			(double)ctx->started / 1000);
	if (!r && memory(&all, &resident)) {
		r = put(out, "virtual_memory_bytes", "gauge",
			"Address space; most of it is the queue's file.", (double)all * page);
		r = r ? r
		      : put(out, "resident_memory_bytes", "gauge",
				"In memory, read pages of the queue's file included.",
				(double)resident * page);
	}
	if (!r)
		r = put(out, "open_fds", "gauge", "Open file descriptors.", descriptors());
	if (!r && !getrlimit(RLIMIT_NOFILE, &limit))
		r = put(out, "max_fds", "gauge", "File descriptors that may be open.",
			(double)limit.rlim_cur);
	return r;
}
