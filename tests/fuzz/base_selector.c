/* A selector from any bytes, one term a line; then it is asked about the same bytes. What was
 * understood says itself again. */
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"
#include "postern/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct selector *parse(struct slice in)
{
	struct selector *s;
	char why[300];

	must(selector_new(&s, NULL) == 0);
	while (in.n > 0) {
		const char *end = memchr(in.p, '\n', in.n);
		size_t n = end ? (size_t)(end - in.p) : in.n;

		(void)selector_add_text(s, (struct slice){ in.p, n }, why, sizeof(why));
		in = slice_from(in, end ? n + 1 : n);
	}
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct selector *s = parse(in), *again;
	const struct selector_message m = { 1, 2, in, in, in, in, in, in, in, in };
	const struct selector_rcpt r = { in, in, in, 3 };
	struct buf text;
	size_t n;

	selector_ids(s, &n);
	(void)(selector_message(s, &m, 5) && selector_rcpt(s, &r) && selector_found(s, in, in));
	buf_init(&text, 0);
	must(selector_text(s, &text) == 0);
	again = parse(buf_slice(&text));
	selector_ids(again, &n);
	must(selector_same(s, again) && selector_words(s) == selector_words(again));
	must(!selector_one_domain(s).p == !selector_one_domain(again).p);
	buf_deinit(&text);
	selector_free(again);
	selector_free(s);
	return 0;
}
