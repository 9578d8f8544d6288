/* What the fuzz targets of the importers share: an importer that is given files of any bytes makes a
 * configuration that its reader has nothing against, or says that a hand is needed. */
#pragma once

#include <errno.h>

#include "postern/config.h"
#include "postern/import.h"
#include "postern/must.h"

/* The input is files, with a NUL behind each, in the order in which they are asked for. */
struct files {
	struct slice all;
	unsigned asked;
};

static inline struct slice part(struct slice all, unsigned n)
{
	for (;;) {
		const char *end = all.n ? memchr(all.p, '\0', all.n) : NULL;
		size_t k = end ? (size_t)(end - all.p) : all.n;

		if (n-- == 0)
			return (struct slice){ all.p, k };
		if (!end)
			return (struct slice){ 0 };
		all = slice_from(all, k + 1);
	}
}

static inline int read_part(void *arg, const char *path, struct buf *out)
{
	struct files *f = arg;
	struct slice s = part(f->all, f->asked++);

	must(path);
	return s.p ? buf_add_slice(out, s) : -ENOENT;
}

static inline void check(struct slice text)
{
	struct config *c = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	must(config_parse(&c, "fuzz", text, &errors) == 0);
	config_free(c);
	buf_deinit(&errors);
}

static inline void fuzz_import(int (*import)(struct buf *out, struct buf *notes, const char *path,
				       import_read_fn *read, void *arg),
	const char *path, const uint8_t *data, size_t size)
{
	struct files f = { .all = { (const char *)data, size } };
	struct buf out, notes;
	int r;

	buf_init(&out, 0);
	buf_init(&notes, 1 << 20);
	r = import(&out, &notes, path, read_part, &f);
	must(r == 0 || r == 1 || r == -ENOMEM || r == -EFBIG);
	if (r == 0)
		check(buf_slice(&out));
	must(r != 1 || buf_size(&notes) > 0);
	buf_deinit(&out);
	buf_deinit(&notes);
}
