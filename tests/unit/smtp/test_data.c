/* Content on the wire: DATA and BDAT decoding, dot-stuffing. Each row in one piece, byte by byte,
 * and in random pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "body_text.h"
#include "postern/rng.h"
#include "postern/smtp_data.h"

/* All content is body in these tests: the header filter has its own. */
static void open_filter(struct header_filter *f, struct body *b)
{
	struct header_filter_params p = { 0 };

	header_filter_init(f, b, &p);
	f->in_header = false;
}

static const struct {
	const char *wire, *reject, *fix; /* reject NULL: content with a bare CR or LF */
} data_rows[] = {
	{ ".\r\n", "", "" },
	{ "a\r\n.\r\n", "a\r\n", "a\r\n" },
	{ "a\r\nb\r\n.\r\n", "a\r\nb\r\n", "a\r\nb\r\n" },
	{ "..\r\n.\r\n", ".\r\n", ".\r\n" },
	{ "..a\r\n...b\r\n.\r\n", ".a\r\n..b\r\n", ".a\r\n..b\r\n" },
	{ ".a\r\n.\r\n", "a\r\n", "a\r\n" },
	{ "a.\r\n.\r\n", "a.\r\n", "a.\r\n" },
	{ "\r\n\r\n.\r\n", "\r\n\r\n", "\r\n\r\n" },
	/* none of these ends the message */
	{ "a\n.\nb\r\n.\r\n", NULL, "a\r\n.\r\nb\r\n" },
	{ "a\n.\r\nb\r\n.\r\n", NULL, "a\r\n.\r\nb\r\n" },
	{ "a\r\n.\nb\r\n.\r\n", NULL, "a\r\n\r\nb\r\n" },
	{ "a\r\n.\rb\r\n.\r\n", NULL, "a\r\n\r\nb\r\n" },
	{ "a\r.\rb\r\n.\r\n", NULL, "a\r\n.\r\nb\r\n" },
	{ "a\r.\r\nb\r\n.\r\n", NULL, "a\r\n.\r\nb\r\n" },
	{ "a\r\n.\r\r\nb\r\n.\r\n", NULL, "a\r\n\r\n\r\nb\r\n" },
	{ "a\rb\r\n.\r\n", NULL, "a\r\nb\r\n" },
	{ "a\r\rb\r\n.\r\n", NULL, "a\r\n\r\nb\r\n" },
	{ "a\n\nb\r\n.\r\n", NULL, "a\r\n\r\nb\r\n" },
	{ "a\n\rb\r\n.\r\n", NULL, "a\r\n\r\nb\r\n" },
	/* a CR, and then a real end of line */
	{ "a\r\r\n.\r\n", NULL, "a\r\n\r\n" },
	{ "\n.\r\n.\r\n", NULL, "\r\n.\r\n" },
};

enum { WHOLE, BYTES, RANDOM };

static size_t piece(int how, struct rng *rng, size_t left)
{
	size_t n = how == WHOLE ? left : how == BYTES ? 1 : 1 + rng_next(rng) % 5;

	return n < left ? n : left;
}

static void decode_row(size_t i, enum bare_newline mode, int how, uint64_t seed)
{
	const char *expect = mode == BARE_FIX ? data_rows[i].fix : data_rows[i].reject;
	const char *wire = data_rows[i].wire;
	size_t at = 0, n = strlen(wire), used;
	struct body *b = body_new();
	enum data_status status = DATA_MORE;
	struct data_decoder d;
	struct header_filter f;
	struct rng rng;

	rng_seed(&rng, seed);
	open_filter(&f, b);
	data_decoder_init(&d, mode, 0);
	while (at < n) {
		size_t k = piece(how, &rng, n - at);

		assert_int_equal(status, DATA_MORE);
		assert_int_equal(
			data_feed(&d, (struct slice){ wire + at, k }, &used, &f, &status), 0);
		assert_int_equal(used, k);
		at += k;
	}
	assert_int_equal(status, DATA_END);
	assert_int_equal(d.bare, data_rows[i].reject == NULL);
	if (expect) {
		char *text = body_text(b);

		assert_string_equal(text, expect);
		assert_int_equal(d.content, strlen(expect));
		free(text);
	}
	body_unref(b);
}

static void test_data(void **state)
{
	for (size_t i = 0; i < sizeof(data_rows) / sizeof(data_rows[0]); i++) {
		for (uint64_t seed = 0; seed < 30; seed++) {
			int how = seed < 2 ? (int)seed : RANDOM;

			decode_row(i, BARE_REJECT, how, seed);
			decode_row(i, BARE_FIX, how, seed);
		}
	}
}

static void test_stops_at_the_end(void **state)
{
	struct slice in = SLICE_LIT("a\r\n.\r\nQUIT\r\n");
	struct body *b = body_new();
	enum data_status status;
	struct data_decoder d;
	struct header_filter f;
	size_t used;

	open_filter(&f, b);
	data_decoder_init(&d, BARE_REJECT, 0);
	assert_int_equal(data_feed(&d, in, &used, &f, &status), 0);
	assert_int_equal(status, DATA_END);
	assert_int_equal(used, 6);
	body_unref(b);
}

static const struct {
	struct slice in;
	bool nul, eight_bit, long_line; /* lines over 10 */
} notes[] = {
	{ SLICE_LIT("0123456789\r\n.\r\n"), false, false, false },
	{ SLICE_LIT("01234567890\r\n.\r\n"), false, false, true },
	{ SLICE_LIT("..123456789\r\n.\r\n"), false, false, false },
	{ SLICE_LIT("..1234567890\r\n.\r\n"), false, false, true },
	{ SLICE_LIT("0123456789\r\n0123456789\r\n.\r\n"), false, false, false },
	{ SLICE_LIT("abc\0def\r\n.\r\n"), true, false, false },
	{ SLICE_LIT("\0\r\n.\r\n"), true, false, false },
	{ SLICE_LIT("abcdefg\x80\r\n.\r\n"), false, true, false },
	{ SLICE_LIT("\xff\r\n.\r\n"), false, true, false },
};

static void test_notes(void **state)
{
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		for (int how = WHOLE; how <= BYTES; how++) {
			struct body *b = body_new();
			enum data_status status;
			struct data_decoder d;
			struct header_filter f;
			size_t used;

			open_filter(&f, b);
			data_decoder_init(&d, BARE_REJECT, 10);
			for (size_t at = 0; at < notes[i].in.n; at += used) {
				size_t k = how == WHOLE ? notes[i].in.n : 1;

				assert_int_equal(
					data_feed(&d, (struct slice){ notes[i].in.p + at, k },
						&used, &f, &status),
					0);
			}
			assert_int_equal(status, DATA_END);
			assert_int_equal(d.nul, notes[i].nul);
			assert_int_equal(d.eight_bit, notes[i].eight_bit);
			assert_int_equal(d.long_line, notes[i].long_line);
			body_unref(b);
		}
	}
}

static const struct {
	const char *in, *reject, *fix;
	bool binary;
} chunk_rows[] = {
	{ "", "", "", false },
	{ "a\r\n", "a\r\n", "a\r\n", false },
	{ "a", "a", "a", false },
	{ ".\r\n..\r\n.a", ".\r\n..\r\n.a", ".\r\n..\r\n.a", false },
	{ "a\r\n.\r\nb", "a\r\n.\r\nb", "a\r\n.\r\nb", false },
	{ "a\nb", NULL, "a\r\nb", false },
	{ "a\r", NULL, "a\r\n", false },
	{ "\ra\n", NULL, "\r\na\r\n", false },
	{ "a\nb\rc\r", "a\nb\rc\r", "a\nb\rc\r", true },
};

static void chunk_row(size_t i, enum bare_newline mode, int how, uint64_t seed)
{
	const char *expect = mode == BARE_FIX ? chunk_rows[i].fix : chunk_rows[i].reject;
	size_t at = 0, n = strlen(chunk_rows[i].in);
	struct body *b = body_new();
	struct data_decoder d;
	struct header_filter f;
	struct rng rng;

	rng_seed(&rng, seed);
	open_filter(&f, b);
	data_decoder_init(&d, mode, 0);
	while (at < n) {
		size_t k = piece(how, &rng, n - at);

		assert_int_equal(data_chunk(&d, (struct slice){ chunk_rows[i].in + at, k },
					 chunk_rows[i].binary, &f),
			0);
		at += k;
	}
	if (!chunk_rows[i].binary)
		assert_int_equal(data_chunk_end(&d, &f), 0);
	assert_int_equal(d.bare, chunk_rows[i].reject == NULL);
	if (expect) {
		char *text = body_text(b);

		assert_string_equal(text, expect);
		free(text);
	}
	body_unref(b);
}

static void test_chunks(void **state)
{
	for (size_t i = 0; i < sizeof(chunk_rows) / sizeof(chunk_rows[0]); i++) {
		for (uint64_t seed = 0; seed < 30; seed++) {
			int how = seed < 2 ? (int)seed : RANDOM;

			chunk_row(i, BARE_REJECT, how, seed);
			chunk_row(i, BARE_FIX, how, seed);
		}
	}
}

static const struct {
	const char *content, *wire;
} stuffed[] = {
	{ "", ".\r\n" },
	{ "a\r\n", "a\r\n.\r\n" },
	{ "a", "a\r\n.\r\n" },
	{ ".", "..\r\n.\r\n" },
	{ ".\r\n", "..\r\n.\r\n" },
	{ "..\r\n", "...\r\n.\r\n" },
	{ "a\r\n.\r\n.b\r\nc.\r\n", "a\r\n..\r\n..b\r\nc.\r\n.\r\n" },
	{ "a\r\n.", "a\r\n..\r\n.\r\n" },
	{ "\r\n.\r\n", "\r\n..\r\n.\r\n" },
	{ "a\r", "a\r\r\n.\r\n" },
	{ "\n.", "\n.\r\n.\r\n" },
};

static void stuff_row(size_t i, unsigned max, int how, uint64_t seed)
{
	struct slice content = slice_of(stuffed[i].content), out[8];
	struct dot_stuffer d;
	struct buf wire;
	struct rng rng;

	rng_seed(&rng, seed);
	buf_init(&wire, 0);
	dot_stuffer_init(&d);
	while (content.n > 0) {
		size_t left = piece(how, &rng, content.n), used;

		while (left > 0) {
			unsigned n =
				dot_stuff(&d, (struct slice){ content.p, left }, out, max, &used);

			assert_true(n >= 1 && n <= max && used <= left);
			for (unsigned k = 0; k < n; k++)
				assert_int_equal(buf_add_slice(&wire, out[k]), 0);
			content = slice_from(content, used);
			left -= used;
		}
	}
	assert_int_equal(buf_add_slice(&wire, dot_stuff_end(&d)), 0);
	assert_true(slice_eq(buf_slice(&wire), slice_of(stuffed[i].wire)));
	buf_deinit(&wire);
}

static void test_stuffing(void **state)
{
	for (size_t i = 0; i < sizeof(stuffed) / sizeof(stuffed[0]); i++) {
		for (uint64_t seed = 0; seed < 30; seed++) {
			for (unsigned max = 1; max <= 8; max++)
				stuff_row(i, max, seed < 2 ? (int)seed : RANDOM, seed);
		}
	}
}

/* What one side stuffs the other side unstuffs. */
static void test_round_trip(void **state)
{
	static const char pool[] = "..ab\r\n";
	char content[64];
	struct rng rng;

	rng_seed(&rng, 42);
	for (unsigned round = 0; round < 2000; round++) {
		size_t n = 0, lines = rng_next(&rng) % 6, used;
		struct slice out[64];
		struct buf wire;
		struct body *b = body_new();
		enum data_status status;
		struct data_decoder d;
		struct dot_stuffer ds;
		struct header_filter f;
		unsigned k;
		char *text;

		while (lines-- > 0) {
			for (size_t len = rng_next(&rng) % 5; len > 0; len--)
				content[n++] = pool[rng_next(&rng) % 4];
			content[n++] = '\r';
			content[n++] = '\n';
		}
		content[n] = '\0';
		buf_init(&wire, 0);
		dot_stuffer_init(&ds);
		k = dot_stuff(&ds, (struct slice){ content, n }, out, 64, &used);
		assert_int_equal(used, n);
		for (unsigned i = 0; i < k; i++)
			assert_int_equal(buf_add_slice(&wire, out[i]), 0);
		assert_int_equal(buf_add_slice(&wire, dot_stuff_end(&ds)), 0);
		open_filter(&f, b);
		data_decoder_init(&d, BARE_REJECT, 0);
		assert_int_equal(data_feed(&d, buf_slice(&wire), &used, &f, &status), 0);
		assert_int_equal(status, DATA_END);
		assert_false(d.bare);
		text = body_text(b);
		assert_string_equal(text, content);
		free(text);
		body_unref(b);
		buf_deinit(&wire);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_stops_at_the_end),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_stuffing),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
