/* The pid file of `postern run`. Written when everything else stands, and held under a lock for the
 * life of the process: a second relay that was given the same file finds it taken, and neither
 * overwrites nor removes it. Called by the main thread, after privileges were dropped, so that what
 * is opened is what the relay's user may open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"

static int refuse(char *error, size_t error_max, const char *path, int r)
{
	const char *what = r == -ELOOP	 ? "is a symbolic link: name the file itself"
			   : r == -EBUSY ? "is held by another relay: stop that one first, or give "
					   "this one a pid file of its own"
					 : strerror(-r);

	snprintf(error, error_max, "pid file %s: %s%s", path, what,
		r == -EACCES ? ": it must be in a directory of the relay's user" : "");
	return r;
}

static int fill(int fd)
{
	struct stat st;
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	/* whatever the umask is: who may see the process may see its number */
	if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n)
		return -errno;
	(void)!fchmod(fd, 0644);
	return 0;
}

int pid_file_write(struct pid_file *f, const char *path, char *error, size_t error_max)
{
	int fd, r;

	*f = (struct pid_file){ .fd = -1 };
	if (!path)
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
	r = fd < 0 ? -errno : fill(fd);
	if (!r) {
		f->path = strdup(path);
		r = f->path ? 0 : -ENOMEM;
	}
	if (r) {
		if (fd >= 0)
			close(fd);
		return refuse(error, error_max, path, r);
	}
	f->fd = fd;
	return 0;
}

void pid_file_remove(struct pid_file *f)
{
	struct stat ours, there;

	if (!f->path)
		return;
	/* what somebody put there meanwhile is not ours to remove */
	if (fstat(f->fd, &ours) == 0 && lstat(f->path, &there) == 0 &&
		ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		unlink(f->path);
	close(f->fd);
	free(f->path);
	*f = (struct pid_file){ .fd = -1 };
}
