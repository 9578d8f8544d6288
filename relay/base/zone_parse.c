/* TZif files (RFC 8536), and where they are found. Called when a configuration is loaded; what is
 * parsed is immutable. A file may be anything: each count is bounded before it is used. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "postern/zone.h"
#include "zone_private.h"

#define DATABASE    "/usr/share/zoneinfo/"
#define FILE_MAX    (256u * 1024) /* the longest in the database has 4 KiB */
#define NAME_MAX_   100u
#define HEADER_SIZE 44u
#define COUNT_MAX   20000u

/* What is left of the bytes. Reading behind the end gives zeros and is remembered. */
struct reader {
	const unsigned char *p, *end;
	bool failed;
};

static const unsigned char *take(struct reader *r, size_t n)
{
	static const unsigned char zeros[8];
	const unsigned char *p = r->p;

	if ((size_t)(r->end - r->p) < n) {
		r->failed = true;
		return zeros;
	}
	r->p += n;
	return p;
}

static void skip(struct reader *r, size_t n)
{
	if ((size_t)(r->end - r->p) < n)
		r->failed = true;
	else
		r->p += n;
}

static int64_t get_be(const unsigned char *p, unsigned width)
{
	uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0; /* two's complement */

	for (unsigned i = 0; i < width; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

struct header {
	char version;
	uint32_t nut, nstd, nleap, ntimes, ntypes, nchars;
};

static int read_header(struct reader *r, struct header *h)
{
	uint32_t *const counts[] = { &h->nut, &h->nstd, &h->nleap, &h->ntimes, &h->ntypes,
		&h->nchars };

	if ((size_t)(r->end - r->p) < HEADER_SIZE || memcmp(r->p, "TZif", 4) != 0)
		return -EINVAL;
	h->version = (char)r->p[4];
	if (h->version != '\0' && (h->version < '2' || h->version > '9'))
		return -EINVAL;
	r->p += 20;
	for (unsigned i = 0; i < 6; i++) {
		int64_t n = get_be(take(r, 4), 4);

		if (n < 0 || n > COUNT_MAX)
			return -EINVAL;
		*counts[i] = (uint32_t)n;
	}
	/* leap seconds would make the file's times differ from Unix time */
	if (h->ntypes < 1 || h->ntypes > 256 || h->nleap > 0)
		return -EINVAL;
	return 0;
}

/* What stands behind the local time types. */
static void skip_rest(struct reader *r, const struct header *h, unsigned width)
{
	skip(r, h->nchars + (size_t)h->nleap * (width + 4) + h->nstd + h->nut);
}

static int read_types(struct reader *r, const struct header *h, int32_t *offsets)
{
	for (unsigned i = 0; i < h->ntypes; i++) {
		int64_t offset = get_be(take(r, 6), 4);

		if (offset < ZONE_OFFSET_MIN || offset > ZONE_OFFSET_MAX)
			return -EINVAL;
		offsets[i] = (int32_t)offset;
	}
	return r->failed ? -EINVAL : 0;
}

static int read_block(struct reader *r, const struct header *h, unsigned width, struct zone *z)
{
	int32_t offsets[256];
	const unsigned char *times = r->p, *types;
	int e;

	skip(r, (size_t)h->ntimes * width);
	types = r->p;
	skip(r, h->ntimes);
	if (r->failed)
		return -EINVAL;
	e = read_types(r, h, offsets);
	if (e)
		return e;
	z->first = offsets[0];
	for (z->n = 0; z->n < h->ntimes; z->n++) {
		struct zone_transition *t = &z->transitions[z->n];

		t->at = get_be(times + (size_t)z->n * width, width);
		if (types[z->n] >= h->ntypes || (z->n > 0 && t->at <= t[-1].at) ||
			t->at < INT64_MIN / 2 || t->at > INT64_MAX / 2)
			return -EINVAL;
		t->offset = offsets[types[z->n]];
	}
	skip_rest(r, h, width);
	return r->failed ? -EINVAL : 0;
}

static int read_footer(struct reader *r, struct zone *z)
{
	const unsigned char *end;
	struct slice text;

	if (r->p == r->end || *r->p++ != '\n')
		return -EINVAL;
	end = memchr(r->p, '\n', (size_t)(r->end - r->p));
	if (!end)
		return -EINVAL;
	text = (struct slice){ (const char *)r->p, (size_t)(end - r->p) };
	if (text.n == 0)
		return 0;
	z->ruled = true;
	return zone_rule_parse(&z->rule, text);
}

int zone_parse(struct zone **ret, struct slice tzif)
{
	struct reader r = { (const unsigned char *)tzif.p, (const unsigned char *)tzif.p, false };
	struct header h;
	unsigned width = 4;
	struct zone *z;
	int e;

	if (tzif.n == 0)
		return -EINVAL;
	r.end += tzif.n;
	e = read_header(&r, &h);
	if (!e && h.version != '\0') { /* the same again with wider times, and more */
		width = 8;
		skip(&r, (size_t)h.ntimes * 5 + (size_t)h.ntypes * 6);
		skip_rest(&r, &h, 4);
		e = r.failed ? -EINVAL : read_header(&r, &h);
	}
	if (e)
		return e;
	z = calloc(1, sizeof(*z) + h.ntimes * sizeof(z->transitions[0]));
	if (!z)
		return -ENOMEM;
	e = read_block(&r, &h, width, z);
	if (!e && width == 8)
		e = read_footer(&r, z);
	if (e) {
		free(z);
		return e;
	}
	*ret = z;
	return 0;
}

struct zone *zone_free(struct zone *z)
{
	free(z);
	return NULL;
}

/* ---- files ---- */

static int read_file(struct buf *out, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	do {
		r = buf_reserve(out, 4096);
		if (r)
			break;
		n = read(fd, out->p + out->len, 4096);
		if (n < 0)
			r = errno == EISDIR ? -ENOENT : -errno;
		else
			out->len += (size_t)n;
	} while (!r && n > 0);
	close(fd);
	return r == -ENOBUFS ? -EINVAL : r;
}

/* 0, -ENOENT, -EINVAL no time zone, -ENOMEM, or the errno of reading. */
static int load_file(struct zone **ret, const char *path)
{
	struct buf b;
	int r;

	buf_init(&b, FILE_MAX);
	r = read_file(&b, path);
	if (!r)
		r = zone_parse(ret, buf_slice(&b));
	buf_deinit(&b);
	return r;
}

/* No name has a dot, so none leads out of the database. */
static bool name_valid(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= NAME_MAX_ && name[0] != '/' && name[n - 1] != '/' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") ==
		       n;
}

int zone_load(struct zone **ret, const char *name)
{
	char path[sizeof(DATABASE) + NAME_MAX_];
	struct zone *z;
	int r = -ENOENT;

	if (strcmp(name, "system") == 0)
		r = load_file(ret, "/etc/localtime");
	if (strcmp(name, "UTC") == 0 || (strcmp(name, "system") == 0 && r == -ENOENT)) {
		z = calloc(1, sizeof(*z)); /* its offset is 0, always */
		if (!z)
			return -ENOMEM;
		*ret = z;
		return 0;
	}
	if (strcmp(name, "system") == 0)
		return r;
	if (!name_valid(name))
		return -ENOENT;
	memcpy(path, DATABASE, sizeof(DATABASE));
	memcpy(path + sizeof(DATABASE) - 1, name, strlen(name) + 1);
	return load_file(ret, path);
}
