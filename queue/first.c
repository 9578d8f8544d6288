/* The very first start: the queue's file comes into being. Called by store_open, under its lock.
 *
 * LMDB writes a new file's first pages without a sync, so a power cut at that moment would leave a
 * file that is no queue, and a relay that does not start again. Hence the file is made in a
 * directory beside (order: environment, schema, trees, sync), and takes its name only when it is
 * whole on the disk. What a cut leaves in the directory beside is thrown away by the next start: no
 * mail was ever in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema.h"

#define NEW_DIR "new"

/* File names of the directory beside; heap. */
struct beside {
	char *dir, *file, *lock, *parent;
};

static char *path(const char *dir, const char *name)
{
	char *s;

	return asprintf(&s, "%s/%s", dir, name) < 0 ? NULL : s;
}

static int beside_init(struct beside *b, const struct store *s)
{
	b->parent = path(s->dir, "..");
	b->dir = path(s->dir, NEW_DIR);
	b->file = b->dir ? path(b->dir, "data.mdb") : NULL;
	b->lock = b->dir ? path(b->dir, "lock.mdb") : NULL;
	return b->parent && b->file && b->lock ? 0 : -ENOMEM;
}

static void beside_deinit(struct beside *b)
{
	free(b->parent);
	free(b->dir);
	free(b->file);
	free(b->lock);
}

static void beside_remove(const struct beside *b)
{
	unlink(b->file);
	unlink(b->lock);
	rmdir(b->dir);
}

static int sync_path(const char *p, int flags)
{
	int fd = open(p, flags | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = fsync(fd) ? -errno : 0;
	close(fd);
	return r;
}

/* A queue without mail in the directory beside, whole on the disk. */
static int fill(const struct store *s, const struct beside *b, const struct schema *known,
	const struct complaint *c)
{
	struct store t = { .dir = b->dir,
		.file = b->file,
		.lock_fd = -1,
		.data_fd = -1,
		.map_size = s->map_size,
		.disk_ahead = s->disk_ahead };
	int r = store_env_open(&t);

	if (r)
		return complain(c, r, "%s: cannot be made: %s%s", b->file, strerror(-r),
			r == -ENOMEM
				? "; the queue's max_size may be more than the address space allows"
				: "; the relay's user must own the queue directory and its files");
	r = schema_settle(&t, known, c);
	if (!r) {
		r = store_env_ready(&t);
		if (r)
			complain(c, r, "%s: cannot be made: %s", b->file, strerror(-r));
	}
	store_env_close(&t);
	return r;
}

static int make(const struct store *s, const struct beside *b, const struct schema *known,
	const struct complaint *c)
{
	int r;

	if (mkdir(b->dir, 0700) && errno != EEXIST)
		return complain(c, -errno,
			"%s: cannot be made: %s; the relay's user must own the queue directory",
			b->dir, strerror(errno));
	r = fill(s, b, known, c);
	if (r)
		return r;
	r = sync_path(b->file, O_RDWR);
	if (!r)
		r = rename(b->file, s->file) ? -errno : 0;
	return r ? complain(c, r, "%s: cannot be made: %s", s->file, strerror(-r)) : 0;
}

/* Also of a file that was found: the start that named it may have failed just here. */
static int sync_names(const struct store *s, const struct beside *b, const struct complaint *c)
{
	int r = sync_path(s->dir, O_RDONLY | O_DIRECTORY);

	if (r)
		return complain(c, r, "%s: cannot be synced: %s", s->dir, strerror(-r));
	/* the directory itself may be new, too; not everybody may open its parent */
	(void)sync_path(b->parent, O_RDONLY | O_DIRECTORY);
	return 0;
}

int store_make_first(const struct store *s, const struct schema *known, const struct complaint *c)
{
	struct beside b;
	struct stat st;
	bool there;
	int r;

	/* an empty file is one that was begun and never held anything */
	there = lstat(s->file, &st) == 0 && !(S_ISREG(st.st_mode) && st.st_size == 0);

	r = beside_init(&b, s);
	if (r) {
		complain(c, r, "%s: out of memory", s->dir);
	} else {
		beside_remove(&b);
		if (!there)
			r = make(s, &b, known, c);
		beside_remove(&b);
		if (!r)
			r = sync_names(s, &b, c);
	}
	beside_deinit(&b);
	return r;
}
