/* The two meta pages of the data file, read and written as bytes; see rawfile.h. Called by open.c
 * before LMDB may map the file, by store.c after a commit that failed, and by check.c.
 *
 * The layout is that of LMDB 0.9, data version 1, with 64-bit numbers; any other is told apart and
 * left alone. */
#include "postern/rawfile.h"
#include "rawbytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_HEADER	16u
#define PAGE_FLAG_META	0x08u
#define META_MAGIC	0xBEEFC0DEu
#define META_VERSION	1u
#define META_LEN	136u
#define NO_PAGE		UINT64_MAX
#define PAGE_SIZE_FIRST 4096u

static struct raw_tree get_tree(const unsigned char *p)
{
	return (struct raw_tree){
		.pad = get32(p),
		.flags = get16(p + 4),
		.depth = get16(p + 6),
		.branch_pages = get64(p + 8),
		.leaf_pages = get64(p + 16),
		.overflow_pages = get64(p + 24),
		.entries = get64(p + 32),
		.root = get64(p + 40),
	};
}

static bool tree_plausible(const struct raw_tree *t, uint64_t last_page)
{
	if (t->root == NO_PAGE)
		return t->depth == 0;
	return t->depth > 0 && t->depth < 32 && t->root > 1 && t->root <= last_page;
}

static bool page_size_valid(const struct raw_meta *m)
{
	return m->page_size >= 512 && m->page_size <= 65536 && !(m->page_size & (m->page_size - 1));
}

static enum raw_state meta_parse(struct raw_meta *m, const unsigned char *page)
{
	const unsigned char *p = page + PAGE_HEADER;

	if (get32(p) != META_MAGIC || !(get16(page + 10) & PAGE_FLAG_META))
		return RAW_FOREIGN;
	if (get32(p + 4) != META_VERSION)
		return RAW_OTHER_VERSION;
	m->map_size = get64(p + 16);
	m->free = get_tree(p + 24);
	m->main = get_tree(p + 72);
	m->last_page = get64(p + 120);
	m->txnid = get64(p + 128);
	m->page_size = m->free.pad;
	if (!page_size_valid(m))
		return RAW_DAMAGED;
	if (m->last_page < 1 || m->last_page > UINT64_MAX / 65536 - 1 ||
		!tree_plausible(&m->free, m->last_page) || !tree_plausible(&m->main, m->last_page))
		return RAW_DAMAGED;
	return RAW_OK;
}

static int read_both(int fd, struct raw_meta m[2], enum raw_state st[2])
{
	unsigned char page[PAGE_HEADER + META_LEN];
	uint64_t size = PAGE_SIZE_FIRST;

	for (int i = 0; i < 2; i++) {
		ssize_t n = pread(fd, page, sizeof(page), (off_t)(i * size));

		if (n < 0)
			return -errno;
		if ((size_t)n == sizeof(page))
			st[i] = meta_parse(&m[i], page);
		else
			st[i] = i == 0 ? RAW_FOREIGN : RAW_TRUNCATED;
		if (i == 0 && (st[0] == RAW_OK || (st[0] == RAW_DAMAGED && page_size_valid(&m[0]))))
			size = m[0].page_size;
	}
	return 0;
}

int raw_meta_of(int fd, uint64_t txnid, struct raw_meta *ret)
{
	struct raw_meta m[2] = { 0 };
	enum raw_state st[2] = { RAW_DAMAGED, RAW_DAMAGED };
	int r = read_both(fd, m, st);

	for (int i = 0; i < 2 && !r; i++) {
		if (st[i] == RAW_OK && m[i].txnid == txnid) {
			*ret = m[i];
			return 0;
		}
	}
	return r ? r : -ENOENT;
}

int raw_meta_read(int fd, struct raw_meta *ret, enum raw_state *state)
{
	struct raw_meta m[2] = { 0 };
	enum raw_state st[2] = { RAW_DAMAGED, RAW_DAMAGED };
	struct stat sb;
	int best, r;

	if (fstat(fd, &sb) < 0)
		return -errno;
	if (sb.st_size == 0) {
		*state = RAW_EMPTY;
		return 0;
	}
	r = read_both(fd, m, st);
	if (r)
		return r;
	/* LMDB wants both to be its own and takes the one with the larger number, so do we. The
	 * other may be half of two: after a failed write LMDB puts the old number back, and not the
	 * old roots. */
	for (int i = 0; i < 2; i++) {
		if (st[i] == RAW_OK || st[i] == RAW_DAMAGED)
			continue;
		*state = st[i];
		return 0;
	}
	best = m[1].txnid > m[0].txnid;
	if (st[best] != RAW_OK) {
		*state = st[best];
		return 0;
	}
	*ret = m[best];
	ret->file_size = (uint64_t)sb.st_size;
	*state = (ret->last_page + 1) * ret->page_size > ret->file_size ? RAW_TRUNCATED : RAW_OK;
	return 0;
}

int raw_meta_settle(const char *file)
{
	static const size_t len = 2 * PAGE_SIZE_FIRST;
	unsigned char pages[2 * PAGE_SIZE_FIRST];
	int fd = open(file, O_RDWR | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (pread(fd, pages, len, 0) != (ssize_t)len || pwrite(fd, pages, len, 0) != (ssize_t)len ||
		fdatasync(fd) < 0)
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}
