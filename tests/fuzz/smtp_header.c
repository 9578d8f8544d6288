/* The header filter: how content is cut makes no difference; nothing is lost but the fields that are
 * ours; what is kept of fields for the log is whole lines. First byte: how to cut. */
#include <stdint.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/smtp_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kept_names[] = { "X-Campaign", "Subject", "X-A" };

/* kept NULL: no field is ours, none is kept. */
static void run_one(
	struct header_filter *f, struct buf *out, struct slice in, size_t step, struct buf *kept)
{
	struct header_filter_params p = {
		.pool_header = kept ? SLICE_LIT("X-Postern-Pool") : SLICE_LIT(""),
		.tag_header = kept ? SLICE_LIT("X-Postern-Tag") : SLICE_LIT(""),
		.class_header = kept ? SLICE_LIT("X-Postern-Class") : SLICE_LIT(""),
		.class_allowed = true,
		.keep = { .names = kept_names, .n = kept ? 3 : 0, .out = kept },
		.missing_date = SLICE_LIT("then"),
		.missing_id = SLICE_LIT("<a@b>"),
		.pool_allowed = true,
		.header_max = 2000,
	};
	struct body *b = body_new();
	struct buf hold;

	buf_init(&hold, 0);
	p.hold = &hold;
	must(b);
	header_filter_init(f, b, &p);
	while (in.n > 0) {
		size_t n = in.n < step ? in.n : step;

		must(header_filter_feed(f, (struct slice){ in.p, n }) == 0);
		in = slice_from(in, n);
	}
	must(header_filter_end(f) == 0);
	must(buf_size(&hold) == 0 || f->over);
	buf_deinit(&hold);
	buf_init(out, 0);
	for (const struct body_block *k = b->first; k; k = k->next)
		must(buf_add(out, k->data, k->len) == 0);
	body_unref(b);
	f->body = NULL;
}

/* All bytes of in, in order, are in out: only insertions. */
static void check_nothing_lost(struct slice in, struct slice out)
{
	size_t at = 0;

	/* what an mbox file puts before a message is lost */
	while (in.n > 0 && in.p[0] == '>')
		in = slice_from(in, 1);
	if (slice_case_prefix(in, SLICE_LIT("From ")) || slice_case_prefix(in, SLICE_LIT("From\t")))
		return;
	must(out.n >= in.n);
	for (size_t i = 0; i < out.n && at < in.n; i++) {
		if (out.p[i] == in.p[at])
			at++;
	}
	must(at == in.n);
}

/* Lines "Name: text", of each name one at most. */
static void check_kept(struct slice kept)
{
	unsigned seen = 0;

	while (kept.n > 0) {
		const char *end = memchr(kept.p, '\n', kept.n);
		struct slice line;
		bool known = false;

		must(end);
		line = (struct slice){ kept.p, (size_t)(end - kept.p) };
		kept = slice_from(kept, line.n + 1);
		for (unsigned i = 0; i < 3 && !known; i++) {
			size_t n = strlen(kept_names[i]);

			known = slice_case_prefix(line, slice_of(kept_names[i])) &&
				line.n >= n + 2 && line.p[n] == ':' &&
				line.n - n - 2 <= HEADER_TEXT_MAX;
			must(!known || !(seen & 1u << i));
			seen |= known ? 1u << i : 0;
		}
		must(known);
		for (size_t i = 0; i < line.n; i++)
			must((unsigned char)line.p[i] >= ' ');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data + 1, size - 1 };
	struct header_filter whole, cut;
	struct buf a, b, kept, kept_cut;

	if (size < 1)
		return 0;
	buf_init(&kept, 0);
	buf_init(&kept_cut, 0);
	run_one(&whole, &a, in, in.n, &kept);
	run_one(&cut, &b, in, 1u + data[0] % 16u, &kept_cut);
	must(whole.over == cut.over);
	if (!whole.over) {
		must(slice_eq(buf_slice(&a), buf_slice(&b)));
		must(strcmp(whole.pool, cut.pool) == 0 &&
			strcmp(whole.message_id, cut.message_id) == 0);
		must(whole.received == cut.received && whole.bare == cut.bare &&
			whole.nul == cut.nul);
		must(whole.pool_bad == cut.pool_bad && whole.class_bad == cut.class_bad);
		must(strcmp(whole.class, cut.class) == 0 && strcmp(whole.tag, cut.tag) == 0);
		must(slice_eq(buf_slice(&kept), buf_slice(&kept_cut)));
		check_kept(buf_slice(&kept));
	}
	buf_deinit(&kept);
	buf_deinit(&kept_cut);
	buf_deinit(&b);
	run_one(&cut, &b, in, in.n, NULL);
	check_nothing_lost(in, buf_slice(&b));
	buf_deinit(&a);
	buf_deinit(&b);
	return 0;
}
