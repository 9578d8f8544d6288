/* SPF: records of others, in a small world in which each names the others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"
#include "postern/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct world {
	struct slice all; /* records, a line each: of "a.b", "b.c" and all other names in turn */
	unsigned asked;
};

static int look(void *arg, enum spf_type type, const char *name, struct spf_records *ret)
{
	struct world *w = arg;
	struct slice rest = w->all;
	unsigned skip = name[0] == 'a' ? 0 : name[0] == 'b' ? 1 : 2;

	must(w->asked++ < 2000 && strlen(name) <= 253);
	while (skip-- && rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);

		rest = slice_from(rest, end ? (size_t)(end - rest.p) + 1 : rest.n);
	}
	if (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);

		rest.n = end ? (size_t)(end - rest.p) : rest.n;
	}
	if (name[0] == 's')
		return -EIO;
	for (unsigned i = 0; i < 1 + (unsigned)(strlen(name) % 12 == 11) * 11; i++) {
		buf_init(&ret->text[ret->n], 0);
		must(!buf_add_slice(&ret->text[ret->n++], rest));
	}
	return type == SPF_PTR && !rest.n ? -ENOENT : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world w = { { (const char *)data, n }, 0 };
	struct spf_question q = {
		.local = "l-o.c", .domain = "a.b", .helo = "h.x", .look = look, .arg = &w
	};
	struct spf_outcome o;

	q.ip.family = n & 1 ? ADDR_V4 : ADDR_V6;
	q.ip.ip[0] = 192;
	spf_check(&q, &o);
	q.all = true;
	spf_check(&q, &o);
	return 0;
}
