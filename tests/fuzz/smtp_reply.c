/* Replies: however the bytes are cut, the same replies come out, within the bounds. */
#include <string.h>

#include "postern/must.h"
#include "postern/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct reply *r)
{
	char text[64], enhanced[16];
	struct reply again;

	must(r->code >= 200 && r->code <= 599);
	must(r->n < REPLY_TEXT_MAX && r->text[r->n] == '\0');
	must(r->lines >= 1 && r->lines <= REPLY_LINES_MAX);
	must(!memchr(r->text, '\r', r->n));
	must(reply_format(text, sizeof(text), r) < sizeof(text));
	reply_enhanced_format(enhanced, r);
	must(strlen(enhanced) < sizeof(enhanced));
	reply_copy(&again, r);
	must(again.n == r->n && !strcmp(again.text, r->text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reply_parser whole, pieces;
	struct slice in = { (const char *)data, size };
	size_t at = 0, used;
	enum reply_status status;
	struct reply loose;

	if (reply_from_text(&loose, in) == 0)
		check(&loose);
	reply_parser_init(&whole);
	reply_parser_init(&pieces);
	do {
		size_t end;

		status = reply_feed(&whole, slice_from(in, at), &used);
		must(used <= size - at);
		end = at + used;
		for (; status != REPLY_BAD && status != REPLY_CUT && at < end; at++) {
			enum reply_status s;

			s = reply_feed(&pieces, (struct slice){ in.p + at, 1 }, &used);
			must(used == 1);
			must(s == (at + 1 == end ? status : REPLY_MORE));
		}
		if (status == REPLY_DONE) {
			check(&whole.reply);
			must(whole.reply.code == pieces.reply.code);
			must(!strcmp(whole.reply.text, pieces.reply.text));
		}
	} while (status == REPLY_DONE);
	return 0;
}
