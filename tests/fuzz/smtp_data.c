/* DATA and BDAT content: how it is cut into pieces makes no difference; nothing comes out with a
 * bare CR or LF; what comes out survives dot-stuffing and decoding. First byte: flags; second: how
 * to cut. */
#include <stdint.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/smtp_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct data_decoder d;
	struct header_filter f;
	struct body *body;
	struct buf content;
	enum data_status status;
	size_t used;
};

static void collect(struct run *r)
{
	buf_init(&r->content, 0);
	for (const struct body_block *k = r->body->first; k; k = k->next)
		must(buf_add(&r->content, k->data, k->len) == 0);
}

static void run_one(struct run *r, struct slice in, size_t step, bool chunk, enum bare_newline mode)
{
	struct header_filter_params p = { 0 };
	size_t used;

	r->body = body_new();
	must(r->body);
	header_filter_init(&r->f, r->body, &p);
	r->f.in_header = false;
	data_decoder_init(&r->d, mode, 100);
	r->status = DATA_MORE;
	r->used = 0;
	while (r->used < in.n && r->status == DATA_MORE) {
		struct slice piece = slice_from(in, r->used);

		if (piece.n > step)
			piece.n = step;
		used = piece.n;
		if (chunk)
			must(data_chunk(&r->d, piece, false, &r->f) == 0);
		else
			must(data_feed(&r->d, piece, &used, &r->f, &r->status) == 0);
		must(used == piece.n || r->status == DATA_END);
		r->used += used;
	}
	if (chunk)
		must(data_chunk_end(&r->d, &r->f) == 0);
	collect(r);
}

static void end_run(struct run *r)
{
	body_unref(r->body);
	buf_deinit(&r->content);
}

static void check_lines(const struct run *r)
{
	struct slice s = buf_slice(&r->content);

	must(s.n == r->d.content);
	for (size_t i = 0; i < s.n; i++) {
		must(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
		/* a CR at the very end may have its LF outstanding, but is held back then */
		must(s.p[i] != '\r' || (i + 1 < s.n && s.p[i + 1] == '\n'));
	}
}

static void check_stuffing(const struct run *r)
{
	struct slice out[4], in = buf_slice(&r->content);
	struct dot_stuffer s;
	struct run again;
	struct buf wire;
	size_t used;

	buf_init(&wire, 0);
	dot_stuffer_init(&s);
	while (in.n > 0) {
		unsigned n = dot_stuff(&s, in, out, 4, &used);

		for (unsigned i = 0; i < n; i++)
			must(buf_add_slice(&wire, out[i]) == 0);
		in = slice_from(in, used);
	}
	must(buf_add_slice(&wire, dot_stuff_end(&s)) == 0);
	run_one(&again, buf_slice(&wire), wire.len, false, BARE_REJECT);
	must(again.status == DATA_END && again.used == wire.len && !again.d.bare);
	must(again.content.len >= r->content.len);
	must(r->content.len == 0 || memcmp(again.content.p, r->content.p, r->content.len) == 0);
	end_run(&again);
	buf_deinit(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data + 2, size - 2 };
	struct run whole, cut;
	bool chunk;
	enum bare_newline mode;

	if (size < 2)
		return 0;
	chunk = data[0] & 1;
	mode = data[0] & 2 ? BARE_FIX : BARE_REJECT;
	run_one(&whole, in, in.n, chunk, mode);
	run_one(&cut, in, 1u + data[1] % 16u, chunk, mode);
	must(whole.status == cut.status && whole.used == cut.used && whole.d.bare == cut.d.bare);
	must(whole.d.long_line == cut.d.long_line && whole.d.nul == cut.d.nul);
	must(slice_eq(buf_slice(&whole.content), buf_slice(&cut.content)) || whole.d.bare);
	if (mode == BARE_FIX || !whole.d.bare) {
		must(slice_eq(buf_slice(&whole.content), buf_slice(&cut.content)));
		check_lines(&whole);
		check_stuffing(&whole);
	}
	end_run(&whole);
	end_run(&cut);
	return 0;
}
