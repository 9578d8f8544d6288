/* Postfix's configuration of any bytes becomes a configuration that its reader has nothing
 * against, or it is said that a hand is needed. */
#include <errno.h>

#include "postern/config.h"
#include "postern/import.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is files, with a NUL behind each: main.cf, master.cf, then tables as
 * they are asked for. */
struct files {
	struct slice all;
	unsigned asked;
};

static struct slice part(struct slice all, unsigned n)
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

static int read_part(void *arg, const char *path, struct buf *out)
{
	struct files *f = arg;
	struct slice s = part(f->all, f->asked++);

	must(path);
	return s.p ? buf_add_slice(out, s) : -ENOENT;
}

static void check(struct slice text)
{
	struct config *c = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	must(config_parse(&c, "fuzz", text, &errors) == 0);
	config_free(c);
	buf_deinit(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct files f = { .all = { (const char *)data, size } };
	struct buf out, notes;
	int r;

	buf_init(&out, 0);
	buf_init(&notes, 1 << 20);
	r = import_postfix(&out, &notes, "p", read_part, &f);
	must(r == 0 || r == 1 || r == -ENOMEM || r == -EFBIG);
	if (r == 0)
		check(buf_slice(&out));
	must(r != 1 || buf_size(&notes) > 0);
	buf_deinit(&out);
	buf_deinit(&notes);
	return 0;
}
