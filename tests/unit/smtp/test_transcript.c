/* Transcripts: what is kept of a session, how it is bounded, and how addresses are hidden. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postern/transcript.h"

static const char *const marks[] = { ">", "<", "*" };

static void add_line(void *arg, enum transcript_who who, ms_t ms, struct slice line)
{
	assert_int_equal(buf_printf(arg, "%d%s%.*s|", (int)ms, marks[who], (int)line.n, line.p), 0);
}

static void expect(const struct recorder *r, const char *text)
{
	struct transcript *t = recorder_take(r, true);
	struct buf b;

	buf_init(&b, 0);
	assert_non_null(t);
	assert_true(t->refused);
	transcript_each(t, add_line, &b);
	assert_int_equal(buf_add(&b, "", 1), 0);
	assert_string_equal(buf_slice(&b).p, text);
	buf_deinit(&b);
	free(t);
}

static void us(struct recorder *r, ms_t ms, const char *text)
{
	recorder_add(r, TRANSCRIPT_US, ms, slice_of(text));
}

static void them(struct recorder *r, ms_t ms, const char *text)
{
	recorder_add(r, TRANSCRIPT_THEM, ms, slice_of(text));
}

static void test_session(void **state)
{
	struct recorder r = { 0 };

	(void)state;
	recorder_add(&r, TRANSCRIPT_NOTE, 0, SLICE_LIT("connecting"));
	them(&r, 5, "220 mx ");
	them(&r, 6, "ready\r\n"); /* goes on */
	us(&r, 6, "EHLO a\r\n");
	them(&r, 9, "250-mx\r\n250 SIZE\r\n");
	expect(&r, "0*connecting|5<220 mx ready|6>EHLO a|9<250-mx|9<250 SIZE|");
	/* each transaction takes the place of the one before, behind what made the session ready */
	for (int i = 0; i < 3; i++) {
		recorder_next(&r);
		us(&r, 10 + i, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n");
		them(&r, 12 + i, "250 ok\r\n");
	}
	expect(&r, "0*connecting|5<220 mx ready|6>EHLO a|9<250-mx|9<250 SIZE|12>MAIL FROM:<>|"
		   "12>RCPT TO:<a@b>|14<250 ok|");
	/* a line without an end is one all the same */
	recorder_next(&r);
	them(&r, 20, "421");
	us(&r, 21, "");
	us(&r, 21, "QUIT\r\n");
	them(&r, 22, " bye\n");
	expect(&r,
		"0*connecting|5<220 mx ready|6>EHLO a|9<250-mx|9<250 SIZE|20<421|21>QUIT|22< bye|");
	recorder_deinit(&r);
	expect(&r, "");
}

static void test_bounded(void **state)
{
	struct recorder r = { 0 };
	struct transcript *t;
	char many[5000];

	(void)state;
	memset(many, 'x', sizeof(many));
	recorder_add(&r, TRANSCRIPT_THEM, 0, (struct slice){ many, sizeof(many) });
	assert_true(r.cut);
	recorder_next(&r);
	assert_false(r.cut);
	for (int i = 0; i < 100000; i++)
		them(&r, i, "250-again and again\r\n");
	assert_true(r.cut);
	assert_true(r.n <= TRANSCRIPT_MAX && r.cap <= TRANSCRIPT_MAX);
	t = recorder_take(&r, false);
	assert_non_null(t);
	assert_true(t->cut && !t->refused);
	free(t);
	/* and without an end: one entry cannot be longer than its length can say */
	recorder_next(&r);
	for (int i = 0; i < 100000; i++)
		them(&r, i, "xxxxxxxxxxxxxxxxxxxx");
	assert_true(r.n <= TRANSCRIPT_MAX);
	recorder_deinit(&r);
}

static void hide(const char *line, const char *want, uint64_t secret)
{
	struct buf b;
	char shown[512];
	size_t n = 0;

	buf_init(&b, 0);
	assert_int_equal(transcript_hide(&b, slice_of(line), secret), 0);
	/* digits of hashes as h */
	for (size_t i = 0; i < buf_size(&b); i++) {
		shown[n++] = buf_slice(&b).p[i];
		if (shown[n - 1] == '#' && i + 9 < buf_size(&b) && buf_slice(&b).p[i + 9] == '@') {
			memcpy(shown + n, "h", 1);
			n++;
			i += 8;
		}
	}
	shown[n] = '\0';
	buf_deinit(&b);
	assert_string_equal(shown, want);
}

static void lines_of(struct buf *b, const struct transcript *t)
{
	buf_init(b, 0);
	transcript_each(t, add_line, b);
	assert_int_equal(buf_add(b, "", 1), 0);
}

/* What a file has is the same session; a file that is damaged is none. */
static void test_packed(void **state)
{
	struct recorder r = { 0 };
	struct transcript *t, *got;
	struct buf packed, text;

	(void)state;
	recorder_add(&r, TRANSCRIPT_NOTE, 0, SLICE_LIT("connecting"));
	them(&r, 5, "220 mx\r\n\r\n");
	us(&r, 70000, "MAIL FROM:<bob@x.example>\r\nRCPT TO:<a@b>\r\n");
	t = recorder_take(&r, true);
	for (int hide = 0; hide < 2; hide++) {
		got = NULL;
		buf_init(&packed, 0);
		assert_int_equal(transcript_pack(&packed, t, hide, 7), 0);
		assert_int_equal(transcript_unpack(&got, buf_slice(&packed)), 0);
		lines_of(&text, got);
		assert_int_equal(strstr(buf_slice(&text).p, "bob@x.example") == NULL, hide);
		assert_non_null(strstr(buf_slice(&text).p, "|70000>RCPT TO:<"));
		assert_non_null(strstr(buf_slice(&text).p, "|5<220 mx|"));
		buf_deinit(&text);
		free(got);
		/* any end of it that is not at a line */
		for (size_t n = 1; n < buf_size(&packed); n++) {
			got = NULL;
			if (!transcript_unpack(&got, (struct slice){ packed.p, n }))
				lines_of(&text, got);
			else
				buf_init(&text, 0);
			buf_deinit(&text);
			free(got);
		}
		packed.p[0] = 9;
		assert_int_equal(transcript_unpack(&got, buf_slice(&packed)), -EBADMSG);
		buf_deinit(&packed);
	}
	/* hidden once is enough */
	t->hidden = true;
	buf_init(&packed, 0);
	assert_int_equal(transcript_pack(&packed, t, true, 7), 0);
	assert_non_null(memmem(packed.p, packed.len, "bob@", 4));
	buf_deinit(&packed);
	free(t);
	recorder_deinit(&r);
}

static void test_hidden(void **state)
{
	static const struct {
		const char *line, *want;
	} rows[] = {
		{ "MAIL FROM:<bob@example.org> SIZE=3", "MAIL FROM:<#h@example.org> SIZE=3" },
		{ "RCPT TO:<\"a b\"@example.org>", "RCPT TO:<#h@example.org>" },
		{ "RCPT TO:<\"a\"@b>", "RCPT TO:<#h@b>" },
		{ "550 5.1.1 bob@x.example and eve@y.example",
			"550 5.1.1 #h@x.example and #h@y.example" },
		{ "550 bob@x.example", "550 #h@x.example" },
		{ "bob@x", "#h@x" },
		{ "250 @ home", "250 @ home" },
		{ "@", "@" },
		{ "\"@x", "#h@x" },
		{ "a@b@c", "#h@#h@c" },
		{ "no address", "no address" },
		{ "", "" },
	};
	struct buf a, b;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		hide(rows[i].line, rows[i].want, i);
	/* the same for the same address, another with another secret */
	buf_init(&a, 0);
	buf_init(&b, 0);
	assert_int_equal(transcript_hide(&a, SLICE_LIT("bob@x"), 7), 0);
	assert_int_equal(transcript_hide(&b, SLICE_LIT("bob@x"), 7), 0);
	assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_reset(&b);
	assert_int_equal(transcript_hide(&b, SLICE_LIT("bob@x"), 8), 0);
	assert_false(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_deinit(&a);
	buf_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
