/* Files that a configuration includes: which they are, and their text. Called by scan.c and setting.c,
 * on the thread that loads the configuration.
 *
 *   include "conf.d/NAME.conf"     relative to the file that says so; '*', '?' and '[' as in a shell
 *
 * What a pattern finds is read in the order of its bytes, so that the order is everywhere the same. A
 * pattern that finds nothing is no error, a name that is not there is one. Only regular files are read:
 * nothing here may wait. */
#include "include.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "source.h"

/* The directory of `from`, with what a pattern would take for itself escaped. */
static int add_directory(struct buf *out, const char *from)
{
	const char *slash = strrchr(from, '/');
	int r = 0;

	for (const char *p = from; slash && p <= slash && !r; p++) {
		if (strchr("*?[]\\", *p))
			r = buf_add(out, "\\", 1);
		if (!r)
			r = buf_add(out, p, 1);
	}
	return r;
}

/* A directory that is not there holds nothing; one that cannot be read may hold anything. */
static int on_error(const char *path, int error)
{
	return error != ENOENT && error != ENOTDIR;
}

int include_find(struct include_list *ret, const char *from, const char *pattern)
{
	struct buf full;
	int r = 0;

	*ret = (struct include_list){ 0 };
	buf_init(&full, 0);
	if (pattern[0] != '/')
		r = add_directory(&full, from);
	if (!r)
		r = buf_add(&full, pattern, strlen(pattern) + 1);
	if (r)
		goto out;
	errno = 0;
	switch (glob(buf_slice(&full).p, 0, on_error, &ret->found)) {
	case 0:
		ret->n = (unsigned)ret->found.gl_pathc;
		break;
	case GLOB_NOMATCH:
		r = strpbrk(pattern, "*?[") ? 0 : -ENOENT;
		break;
	case GLOB_NOSPACE:
		r = -ENOMEM;
		break;
	default:
		r = errno ? -errno : -EIO;
	}
out:
	buf_deinit(&full);
	return r;
}

void include_list_free(struct include_list *l)
{
	globfree(&l->found);
}

static bool is_open(const struct include_file *inner, const struct stat *st)
{
	for (; inner; inner = inner->outer)
		if (inner->inode == st->st_ino && inner->device == st->st_dev)
			return true;
	return false;
}

void include_is(struct include_file *f, const char *path)
{
	struct stat st;

	*f = (struct include_file){ .path = path };
	if (stat(path, &st) == 0) {
		f->device = st.st_dev;
		f->inode = st.st_ino;
	}
}

int include_open(struct include_file *f, const char *path, const struct include_file *outer,
	struct buf *text)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (is_open(outer, &st))
		return -ELOOP;
	*f = (struct include_file){ .path = path,
		.outer = outer,
		.depth = outer->depth + 1,
		.device = st.st_dev,
		.inode = st.st_ino };
	return config_read_file(path, text);
}
