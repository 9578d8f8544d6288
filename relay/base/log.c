/* The writer behind the logs. Producers, on any thread, copy finished lines into one buffer under
 * a lock held for a memcpy; the writer's thread swaps it for an empty one and writes it out
 * without the lock. A full buffer drops lines and counts them: nobody waits for a log. */
#include "postern/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "postern/must.h"

#define BUFFER_MAX_DEFAULT (16u << 20)
/* A buffer that grew beyond this in a burst is given back after it. */
#define BUFFER_KEEP (1u << 20)
/* How long the writer lets lines gather before it writes. */
#define GATHER_MS 4
/* A reader that takes nothing for so long (a pipe nobody empties) loses what waits. */
#define STALL_MS 5000

enum fd_kind { FD_FILE, FD_SOCKET, FD_PIPE };

struct log {
	char *file;
	atomic_int level;
	uint64_t max;
	atomic_uint_least64_t dropped; /* lines, in all */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* under the lock */
	struct buf waiting;
	int next_fd;	/* opened by log_reopen, not yet taken up; -1 for none */
	size_t next_at; /* bytes of waiting that still belong to the old file */
	bool closing;

	/* the writer's own */
	struct buf writing;
	int fd;
	enum fd_kind kind;
	bool journal;	   /* it is systemd's, and takes priorities; fixed at log_open */
	bool torn;	   /* the last write ended inside a line */
	uint64_t reported; /* of the dropped, those already told */
};

/* A link may have been put there by somebody who may write in the directory and not where the link
 * leads; /dev/stderr and the like are the system's own. */
static int open_flags(const char *file)
{
	const int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	return strncmp(file, "/dev/", 5) == 0 ? flags : flags | O_NOFOLLOW;
}

/* 0, or -EINVAL for what no log can be written to. */
static int judge_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	return S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) ||
			       S_ISSOCK(st.st_mode)
		       ? 0
		       : -EINVAL;
}

static int open_path(const char *file)
{
	int fd = open(file, O_WRONLY | open_flags(file), 0640), r;

	/* A FIFO that nobody reads yet. With an end of our own for reading it can be opened all
	 * the same; what it has no room for is dropped and counted until somebody reads. */
	if (fd < 0 && errno == ENXIO)
		fd = open(file, O_RDWR | (open_flags(file) & ~O_CREAT));
	if (fd < 0)
		return -errno;
	r = judge_file(fd);
	if (!r)
		return fd;
	close(fd);
	return r;
}

static int open_file(const char *file)
{
	int fd;

	if (strcmp(file, "-"))
		return open_path(file);
	fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

static enum fd_kind kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return FD_PIPE;
	if (S_ISSOCK(st.st_mode))
		return FD_SOCKET;
	return S_ISREG(st.st_mode) ? FD_FILE : FD_PIPE;
}

static uint64_t count_lines(struct slice s)
{
	uint64_t n = 0;

	for (const char *p = s.p; s.n && (p = memchr(p, '\n', s.n - (size_t)(p - s.p))); p++) {
		n++;
		if (p + 1 == s.p + s.n)
			break;
	}
	return n;
}

static void drop(struct log *l, uint64_t lines)
{
	atomic_fetch_add_explicit(&l->dropped, lines, memory_order_relaxed);
}

/* Never blocks for good, also where the descriptor is shared and may not be made non-blocking: a
 * pipe that polls writable takes PIPE_BUF bytes at least; 512 is the least that POSIX promises,
 * Linux 4096. */
static ssize_t write_some(const struct log *l, struct slice s)
{
	switch (l->kind) {
	case FD_FILE:
		return write(l->fd, s.p, s.n);
	case FD_SOCKET:
		return send(l->fd, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case FD_PIPE:
	default:
		return write(l->fd, s.p, s.n < 4096 ? s.n : 4096);
	}
}

static void write_out(struct log *l, struct slice s)
{
	while (s.n > 0) {
		struct pollfd pfd = { .fd = l->fd, .events = POLLOUT };
		ssize_t n = -1;

		if (l->kind == FD_FILE || poll(&pfd, 1, STALL_MS) > 0)
			n = write_some(l, s);
		else
			errno = ETIMEDOUT;
		if (n > 0) {
			l->torn = s.p[n - 1] != '\n';
			s = slice_from(s, (size_t)n);
		} else if (errno != EINTR && errno != EAGAIN) {
			/* disk full, reader gone: these lines are lost, later ones may fare better
			 */
			drop(l, count_lines(s));
			return;
		}
	}
}

static void write_lines(struct log *l, struct slice s)
{
	if (l->torn && s.n > 0)
		write_out(l, SLICE_LIT("\n"));
	write_out(l, s);
}

/* sd-daemon(3): systemd tells a service whose standard output leads to the journal which file that
 * is, so that others it was passed on to are not taken for it. */
static bool is_journal(const struct log *l)
{
	const char *told = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return told && !strcmp(l->file, "-") && sscanf(told, "%llu:%llu", &dev, &ino) == 2 &&
	       !fstat(l->fd, &st) && st.st_dev == dev && st.st_ino == ino;
}

/* {"time","level","event","message"[,"dropped"]} without the end */
static void begin_event(
	struct log_line *ln, enum log_level level, enum log_event_kind event, struct slice message)
{
	static const char *const names[] = { "error", "warning", "notice", "info", "debug" };

	log_line_begin(ln, clock_wall_ms(), NULL);
	ln->level = level;
	log_line_cstr(ln, "level", names[level]);
	log_line_cstr(ln, "event", log_event_name(event));
	log_line_str(ln, "message", message);
}

static void report_dropped(struct log *l)
{
	uint64_t total = log_dropped(l);
	struct log_line ln;

	if (total == l->reported)
		return;
	log_line_init(&ln);
	begin_event(&ln, LOG_WARN, EVENT_LOG_DROPPED,
		SLICE_LIT("log lines were dropped: no room or no reader"));
	log_line_int(&ln, "dropped", (int64_t)(total - l->reported));
	if (!ln.failed && !buf_add_slice(&ln.b, SLICE_LIT("}\n"))) {
		l->reported = total;
		if (l->journal)
			write_lines(l, SLICE_LIT("<4>"));
		write_lines(l, buf_slice(&ln.b));
	}
	log_line_deinit(&ln);
}

static void gather(struct log *l)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_MS * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	/* a full half is reason enough to start early: the other half takes what comes meanwhile */
	while (!l->closing && buf_size(&l->waiting) < l->max / 2) {
		if (pthread_cond_timedwait(&l->cond, &l->lock, &until) == ETIMEDOUT)
			break;
	}
}

static void take_up_fd(struct log *l, int fd)
{
	if (fd < 0)
		return;
	close(l->fd);
	l->fd = fd;
	l->kind = kind_of(fd);
	l->torn = false;
}

static void *writer(void *arg)
{
	struct log *l = arg;
	bool closing;

	do {
		struct buf full;
		struct slice old;
		int fd;

		pthread_mutex_lock(&l->lock);
		while (!l->closing && l->next_fd < 0 && buf_size(&l->waiting) == 0)
			pthread_cond_wait(&l->cond, &l->lock);
		if (l->next_fd < 0)
			gather(l);
		full = l->waiting;
		l->waiting = l->writing;
		fd = l->next_fd;
		old = (struct slice){ full.p, fd >= 0 ? l->next_at : full.len };
		l->next_fd = -1;
		closing = l->closing;
		pthread_mutex_unlock(&l->lock);

		l->writing = full;
		write_lines(l, old);
		take_up_fd(l, fd);
		write_lines(l, slice_from(buf_slice(&full), old.n));
		report_dropped(l);
		buf_reset(&l->writing);
		if (l->writing.cap > BUFFER_KEEP)
			buf_deinit(&l->writing);
	} while (!closing);
	return NULL;
}

static int start_writer(struct log *l)
{
	pthread_condattr_t attr;
	sigset_t all, before;
	int r;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&l->lock, NULL);
	/* signals are for the threads that have loops; SIGPIPE is told by errno here */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&l->thread, NULL, writer, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		pthread_cond_destroy(&l->cond);
		pthread_mutex_destroy(&l->lock);
	}
	return -r;
}

int log_open(struct log **ret, const struct log_params *p)
{
	struct log *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->fd = l->next_fd = -1;
	l->max = p->buffer_max ? p->buffer_max : BUFFER_MAX_DEFAULT;
	atomic_init(&l->level, (int)p->level);
	buf_init(&l->waiting, l->max);
	buf_init(&l->writing, l->max);
	l->file = strdup(p->file);
	if (!l->file) {
		r = -ENOMEM;
		goto out;
	}
	r = open_file(l->file);
	if (r < 0)
		goto out;
	l->fd = r;
	l->kind = kind_of(l->fd);
	l->journal = is_journal(l);
	r = start_writer(l);
	if (r)
		goto out;
	*ret = l;
	l = NULL;
out:
	if (l) {
		if (l->fd >= 0)
			close(l->fd);
		free(l->file);
		free(l);
	}
	return r;
}

struct log *log_close(struct log *l)
{
	if (!l)
		return NULL;
	pthread_mutex_lock(&l->lock);
	l->closing = true;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
	must(pthread_join(l->thread, NULL) == 0);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->lock);
	buf_deinit(&l->waiting);
	buf_deinit(&l->writing);
	if (l->next_fd >= 0)
		close(l->next_fd);
	close(l->fd);
	free(l->file);
	free(l);
	return NULL;
}

int log_reopen(struct log *l)
{
	int fd = open_file(l->file), old;

	if (fd < 0)
		return fd;
	pthread_mutex_lock(&l->lock);
	old = l->next_fd;
	l->next_fd = fd;
	l->next_at = buf_size(&l->waiting);
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
	if (old >= 0)
		close(old);
	return 0;
}

bool log_wants(const struct log *l, enum log_level level)
{
	return l && (int)level <= atomic_load_explicit(&l->level, memory_order_relaxed);
}

void log_set_level(struct log *l, enum log_level level)
{
	atomic_store_explicit(&l->level, (int)level, memory_order_relaxed);
}

uint64_t log_dropped(const struct log *l)
{
	return atomic_load_explicit(&l->dropped, memory_order_relaxed);
}

/* Under the lock. A line goes in whole or not at all. */
static int put_line(struct log *l, const struct log_line *ln)
{
	/* syslog.h: errors 3, warnings 4, notices 5, then informational and debug */
	const char priority[] = { '<', (char)('3' + (char)ln->level), '>' };
	struct slice s = buf_slice(&ln->b);
	int r = buf_reserve(&l->waiting, sizeof(priority) + s.n);

	if (!r && l->journal)
		r = buf_add(&l->waiting, priority, sizeof(priority));
	return r ? r : buf_add_slice(&l->waiting, s);
}

void log_emit(struct log *l, struct log_line *ln)
{
	bool was_empty;
	int r;

	if (!l)
		return;
	r = ln->failed ? -ENOMEM : buf_add_slice(&ln->b, SLICE_LIT("}\n"));
	if (!r) {
		pthread_mutex_lock(&l->lock);
		was_empty = buf_size(&l->waiting) == 0;
		r = put_line(l, ln);
		/* half full: the writer may be gathering and need not wait out its time
		 */
		if (was_empty || buf_size(&l->waiting) >= l->max / 2)
			pthread_cond_signal(&l->cond);
		pthread_mutex_unlock(&l->lock);
	}
	if (r)
		drop(l, 1);
}

void log_event(struct log *l, enum log_level level, enum log_event_kind event, const char *fmt, ...)
{
	struct buf text;
	struct log_line ln;
	va_list ap;

	if (!log_wants(l, level))
		return;
	buf_init(&text, 0);
	log_line_init(&ln);
	va_start(ap, fmt);
	if (buf_vprintf(&text, fmt, ap) == 0) {
		begin_event(&ln, level, event, buf_slice(&text));
		log_emit(l, &ln);
	} else {
		drop(l, 1);
	}
	va_end(ap);
	log_line_deinit(&ln);
	buf_deinit(&text);
}
