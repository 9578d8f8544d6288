/* The data file seen as bytes, without LMDB: what must be known before LMDB may map it, since LMDB
 * trusts what it maps. Format of LMDB 0.9 (data version 1). */
#pragma once

#include <stdint.h>

struct raw_tree {
	uint32_t pad; /* of the first tree: the page size */
	uint16_t flags, depth;
	uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct raw_meta {
	uint64_t page_size, file_size;
	uint64_t map_size, last_page, txnid;
	struct raw_tree free, main;
};

enum raw_state { RAW_OK, RAW_EMPTY, RAW_FOREIGN, RAW_OTHER_VERSION, RAW_DAMAGED, RAW_TRUNCATED };

/* The newer of the two meta pages. 0 with *state set, or -errno of reading. ret is filled for
 * RAW_OK and RAW_TRUNCATED. */
int raw_meta_read(int fd, struct raw_meta *ret, enum raw_state *state);

/* Writes both meta pages again as the page cache has them and syncs: after a failed commit the disk
 * may hold another meta page than we see, which must not come back after a power cut. */
int raw_meta_settle(const char *file);

/* Walks the pages of a snapshot: that each is what the one above says, that all offsets stay
 * inside, that none is used twice or both used and free. LMDB checks none of this and would crash,
 * or worse, on what fails here. Leaf pages are left out once deadline_us (monotonic; 0: none) is
 * over: those above never are. say gets a sentence for each find. 0 when sound, 1 when not, -errno.
 * m need not be the newest snapshot while a read transaction keeps it. */
int raw_walk(int fd, const struct raw_meta *m, uint64_t deadline_us,
	void (*say)(void *arg, const char *line), void *arg);
/* The meta page of this transaction. 0, -ENOENT: gone by now. */
int raw_meta_of(int fd, uint64_t txnid, struct raw_meta *ret);
