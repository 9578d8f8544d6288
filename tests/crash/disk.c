/* The disk under the page cache, after the log. Three states of a page: on the disk; written and
 * not yet synced (each such write may have reached the disk whole, in part by sectors, or not at
 * all, in any order); written, and its sync failed (the same, but the kernel holds it for clean: no
 * later sync writes it again). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postern/must.h"
#include "powercut.h"

struct pending {
	uint64_t page;
	bool meant;  /* by the sync that runs */
	bool orphan; /* its sync failed */
	unsigned char data[PAGE];
};

static struct {
	unsigned char *durable, *cache;
	uint32_t *stamp, epoch;
	uint64_t bytes;		     /* of both */
	uint64_t durable_size, size; /* of the file */
	bool exists;
	enum { BESIDE, RENAMED, NAMED } name; /* RENAMED: the directory does not say so for good */
	struct pending **pending;
	uint32_t n, cap;
	uint32_t last_write; /* pendings from here on are of the last write */
	uint32_t at;
} disk;

void disk_begin(void)
{
	memset(&disk, 0, sizeof(disk));
}

bool disk_exists(void)
{
	return disk.exists;
}

static unsigned char *grown(unsigned char *p, uint64_t from, uint64_t to)
{
	p = realloc(p, to);
	must(p);
	memset(p + from, 0, to - from);
	return p;
}

static void reserve(uint64_t bytes)
{
	uint64_t to = disk.bytes ? disk.bytes : 1u << 20;

	if (bytes <= disk.bytes)
		return;
	while (to < bytes)
		to *= 2;
	disk.durable = grown(disk.durable, disk.bytes, to);
	disk.cache = grown(disk.cache, disk.bytes, to);
	disk.stamp = realloc(disk.stamp, to / PAGE * sizeof(*disk.stamp));
	must(disk.stamp);
	memset(disk.stamp + disk.bytes / PAGE, 0, (to - disk.bytes) / PAGE * sizeof(*disk.stamp));
	disk.bytes = to;
}

static void add_pending(uint64_t page)
{
	struct pending *p = malloc(sizeof(*p));

	must(p);
	*p = (struct pending){ .page = page };
	memcpy(p->data, disk.cache + page * PAGE, PAGE);
	if (disk.n == disk.cap) {
		disk.cap = disk.cap ? 2 * disk.cap : 256;
		disk.pending = realloc(disk.pending, disk.cap * sizeof(struct pending *));
		must(disk.pending);
	}
	disk.pending[disk.n++] = p;
}

static void on_write(const struct op *o)
{
	uint64_t end = o->offset + o->n;

	disk.exists = true;
	reserve((end + PAGE - 1) / PAGE * PAGE);
	memcpy(disk.cache + o->offset, o->data, o->n);
	disk.last_write = disk.n;
	for (uint64_t page = o->offset / PAGE; page * PAGE < end; page++)
		add_pending(page);
	if (end > disk.size)
		disk.size = end;
}

static void now_durable(void)
{
	uint32_t *stamp = disk.stamp, kept = 0;

	disk.epoch++;
	for (uint32_t i = disk.n; i-- > 0;) {
		struct pending *p = disk.pending[i];

		/* the last of a page counts; what was pending of it before is over */
		if (p->meant && stamp[p->page] != disk.epoch) {
			memcpy(disk.durable + p->page * PAGE, p->data, PAGE);
			stamp[p->page] = disk.epoch;
		}
		p->meant = stamp[p->page] == disk.epoch;
	}
	for (uint32_t i = 0; i < disk.n; i++) {
		if (disk.pending[i]->meant)
			free(disk.pending[i]);
		else
			disk.pending[kept++] = disk.pending[i];
	}
	disk.n = kept;
}

static void settle(bool failed)
{
	if (!failed)
		now_durable();
	for (uint32_t i = 0; i < disk.n; i++) {
		disk.pending[i]->orphan |= disk.pending[i]->meant;
		disk.pending[i]->meant = false;
	}
	disk.last_write = disk.n;
}

/* What is made beside again is another file. */
static void removed(void)
{
	must(disk.name == BESIDE);
	for (uint32_t i = 0; i < disk.n; i++)
		free(disk.pending[i]);
	disk.n = disk.last_write = 0;
	disk.size = disk.durable_size = 0;
	disk.exists = false;
	if (disk.bytes) {
		memset(disk.durable, 0, disk.bytes);
		memset(disk.cache, 0, disk.bytes);
	}
}

static void apply(const struct op *o)
{
	switch (o->kind) {
	case OP_WRITE:
		on_write(o);
		break;
	case OP_WSYNC:
		for (uint32_t i = disk.last_write; i < disk.n; i++)
			disk.pending[i]->meant = true;
		settle(o->failed);
		break;
	case OP_SYNC:
		for (uint32_t i = 0; i < disk.n; i++)
			disk.pending[i]->meant = !disk.pending[i]->orphan;
		break;
	case OP_SYNCED:
		settle(o->failed);
		if (!o->failed)
			disk.durable_size = disk.size;
		break;
	case OP_SIZE:
		disk.exists = true;
		disk.size = o->offset;
		break;
	case OP_RENAME:
		disk.name = RENAMED;
		break;
	case OP_REMOVE:
		removed();
		break;
	case OP_NAMED:
		if (!o->failed && disk.name == RENAMED)
			disk.name = NAMED;
		break;
	case OP_MARK:
		break;
	}
}

void disk_advance(uint32_t at)
{
	for (; disk.at < at; disk.at++)
		apply(&ops[disk.at]);
}

/* ---- the image ---- */

static void write_all(int fd, const void *p, size_t n, uint64_t at)
{
	must(pwrite(fd, p, n, (off_t)at) == (ssize_t)n);
}

/* The used part only: behind it the file is one hole. */
static uint64_t used(void)
{
	uint64_t n = disk.durable_size < disk.bytes ? disk.durable_size : disk.bytes;

	while (n >= PAGE && !disk.durable[n - PAGE] &&
		!memcmp(disk.durable + n - PAGE, disk.durable + n - PAGE + 1, PAGE - 1))
		n -= PAGE;
	return n;
}

static void put_torn(int fd, const struct pending *p, struct rng *rng)
{
	uint64_t keep = rng_next(rng);

	for (unsigned s = 0; s < PAGE / SECTOR; s++) {
		if (keep >> s & 1)
			write_all(fd, p->data + s * SECTOR, SECTOR, p->page * PAGE + s * SECTOR);
	}
}

static int image_file(const char *dir, struct rng *rng)
{
	bool named = disk.name == NAMED || (disk.name == RENAMED && rng_below(rng, 2));
	char path[600];

	snprintf(path, sizeof(path), "%s/new", dir);
	must(named || mkdir(path, 0700) == 0);
	snprintf(path, sizeof(path), "%s/%sdata.mdb", dir, named ? "" : "new/");
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

void disk_image(const char *dir, struct rng *rng)
{
	uint64_t size = rng_below(rng, 2) ? disk.size : disk.durable_size;
	/* how much of what is pending got there: from nothing to nearly all */
	const uint64_t luck = rng_below(rng, 101);
	int fd = image_file(dir, rng);
	uint32_t *order = calloc(disk.n + 1, sizeof(*order));
	struct stat st;

	must(fd >= 0 && order);
	write_all(fd, disk.durable, used(), 0);
	for (uint32_t i = 0; i < disk.n; i++) {
		uint32_t k = (uint32_t)rng_below(rng, i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	for (uint32_t i = 0; i < disk.n; i++) {
		const struct pending *p = disk.pending[order[i]];

		if (rng_below(rng, 100) >= luck)
			continue;
		if (rng_below(rng, 3) == 0)
			put_torn(fd, p, rng);
		else
			write_all(fd, p->data, PAGE, p->page * PAGE);
	}
	must(fstat(fd, &st) == 0);
	if ((uint64_t)st.st_size < size)
		must(ftruncate(fd, (off_t)size) == 0);
	free(order);
	close(fd);
}
