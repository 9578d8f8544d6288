/* The small codecs: what decodes encodes back to itself, and whatever bytes a peer sends, a log
 * line stays one line of valid UTF-8. */
#include "postern/log.h"
#include "postern/must.h"
#include "postern/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int (*codec)(struct buf *out, struct slice in);

/* exact: each value has one spelling */
static void check_codec(struct slice s, codec decode, codec encode, bool exact)
{
	struct buf plain, text, again;

	buf_init(&plain, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_init(&again, 1 << 20);
	if (decode(&plain, s) == 0 && encode(&text, buf_slice(&plain)) == 0) {
		must(!exact || slice_eq(buf_slice(&text), s));
		must(decode(&again, buf_slice(&text)) == 0);
		must(slice_eq(buf_slice(&again), buf_slice(&plain)));
	}
	buf_deinit(&plain);
	buf_deinit(&text);
	buf_deinit(&again);
}

static void check_units(struct slice s)
{
	char text[32], id_text[QUEUE_ID_TEXT + 1];
	struct rate rate;
	uint64_t v;
	ms_t d, e;

	if (duration_parse(&d, s) == 0) {
		must(duration_format(text, d) < sizeof(text));
		must(duration_parse(&e, slice_of(text)) == 0 && e <= d);
	}
	if (rate_parse(&rate, s) == 0)
		must(rate.count > 0 && rate.per > 0);
	if (size_parse(&v, s) == 0)
		must(s.n > 0);
	if (queue_id_parse(&v, s) == 0) {
		queue_id_format(id_text, v);
		must(slice_case_eq(slice_of(id_text), s));
	}
}

static void check_line(struct slice s)
{
	struct log_line ln;
	struct buf b;

	log_line_init(&ln);
	log_line_begin(&ln, 0, "fuzz");
	log_line_str(&ln, "v", s);
	must(!ln.failed);
	must(utf8_valid(buf_slice(&ln.b)));
	must(!memchr(ln.b.p, '\n', ln.b.len) && !memchr(ln.b.p, '\0', ln.b.len));
	log_line_deinit(&ln);
	buf_init(&b, 0);
	must(json_quote(&b, s) == 0 && utf8_valid(buf_slice(&b)));
	/* valid text passes unchanged but for escapes, so never gets shorter */
	must(!utf8_valid(s) || buf_size(&b) >= s.n + 2);
	buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = { (const char *)data, size }, pattern;

	check_codec(s, base64_decode, base64_encode, true);
	check_codec(s, xtext_decode, xtext_encode, false);
	check_units(s);
	check_line(s);
	pattern = (struct slice){ s.p, size > 32 ? 32 : size };
	(void)glob_match(pattern, slice_from(s, pattern.n));
	must(glob_match(s, s) || memchr(s.p, '*', s.n)); /* without stars a pattern means itself */
	return 0;
}
