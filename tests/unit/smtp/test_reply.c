/* Replies of receivers: lines, codes, bounds, what real ones send. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/smtp_reply.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	const char *name, *in;
	enum reply_status status;
	uint16_t code;
	const char *enhanced, *text;
	size_t left; /* bytes that belong to what follows */
};

static const struct row rows[] = {
	{ "plain", "250 ok\r\n", REPLY_DONE, 250, "", "ok", 0 },
	{ "enhanced", "250 2.1.0 sender ok\r\n", REPLY_DONE, 250, "2.1.0", "2.1.0 sender ok", 0 },
	{ "multi-line", "250-a\r\n250 2.1.0 ok\r\n", REPLY_DONE, 250, "", "a\n2.1.0 ok", 0 },
	{ "no text", "250\r\n", REPLY_DONE, 250, "", "", 0 },
	{ "no text, dash", "250-\r\n250 \r\n", REPLY_DONE, 250, "", "\n", 0 },
	{ "LF alone", "354 go\n", REPLY_DONE, 354, "", "go", 0 },
	{ "three digits of detail", "550 5.7.606 banned\r\n", REPLY_DONE, 550, "5.7.606",
		"5.7.606 banned", 0 },
	{ "hash", "550 #5.1.0 Address rejected\r\n", REPLY_DONE, 550, "5.1.0",
		"#5.1.0 Address rejected", 0 },
	{ "address is no code", "550 5.6.7.8 blocked\r\n", REPLY_DONE, 550, "", "5.6.7.8 blocked",
		0 },
	{ "code at end of sentence", "550 5.7.1.\r\n", REPLY_DONE, 550, "5.7.1", "5.7.1.", 0 },
	{ "class three", "550 3.7.1 x\r\n", REPLY_DONE, 550, "", "3.7.1 x", 0 },
	{ "four digits", "550 5.7.1234 x\r\n", REPLY_DONE, 550, "", "5.7.1234 x", 0 },
	{ "odd separator", "550; 5.7.515 no\r\n", REPLY_DONE, 550, "5.7.515", "; 5.7.515 no", 0 },
	{ "control bytes", "250 a\001b\033[0m\tc\r\n", REPLY_DONE, 250, "", "a?b?[0m c", 0 },
	{ "carriage return inside", "250 a\rb\r\n", REPLY_DONE, 250, "", "a?b", 0 },
	{ "two replies", "250 a\r\n550 b\r\n", REPLY_DONE, 250, "", "a", 7 },
	{ "split inside CRLF", "250 ok\r", REPLY_MORE, 0, NULL, NULL, 0 },
	{ "unfinished", "250-ok\r\n", REPLY_MORE, 0, NULL, NULL, 0 },
	{ "code changes midway", "250-a\r\n550 no\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "no code", "hello\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "empty line", "\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "1xx", "150 x\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "6xx", "600 x\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "four digit code", "2500 x\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "code and word", "250ok\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
	{ "HTTP", "HTTP/1.1 400 Bad Request\r\n", REPLY_BAD, 0, NULL, NULL, 0 },
};

static void check(const struct row *w, const struct reply_parser *p)
{
	char enhanced[16];

	reply_enhanced_format(enhanced, &p->reply);
	assert_int_equal(p->reply.code, w->code);
	assert_string_equal(enhanced, w->enhanced);
	assert_string_equal(p->reply.text, w->text);
	assert_int_equal(p->reply.n, strlen(w->text));
}

static void test_rows(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *w = &rows[i];
		struct reply_parser p;
		size_t n = strlen(w->in), used;
		enum reply_status status;

		print_message("  %s\n", w->name);
		reply_parser_init(&p);
		status = reply_feed(&p, slice_of(w->in), &used);
		assert_int_equal(status, w->status);
		if (status != REPLY_BAD)
			assert_int_equal(n - used, w->left);
		if (status == REPLY_DONE)
			check(w, &p);

		/* the same byte by byte */
		reply_parser_init(&p);
		status = REPLY_MORE;
		for (size_t k = 0; k < n && status == REPLY_MORE; k++)
			status = reply_feed(&p, (struct slice){ w->in + k, 1 }, &used);
		assert_int_equal(status, w->status);
		if (status == REPLY_DONE)
			check(w, &p);
	}
}

static void test_one_after_another(void **state)
{
	static const char in[] = "550-5.7.1 a\r\n550 5.7.1 b\r\n250 c\r\n";
	struct reply_parser p;
	size_t used, at;

	reply_parser_init(&p);
	assert_int_equal(reply_feed(&p, SLICE_LIT(in), &used), REPLY_DONE);
	assert_true(p.reply.has_enhanced);
	at = used;
	assert_int_equal(reply_feed(&p, slice_from(SLICE_LIT(in), at), &used), REPLY_DONE);
	assert_int_equal(p.reply.code, 250);
	assert_false(p.reply.has_enhanced);
	assert_int_equal(p.reply.lines, 1);
	assert_string_equal(p.reply.text, "c");
}

/* lines of code and width bytes of text, all at once (step 0) or in steps. */
static enum reply_status feed_lines(
	struct reply_parser *p, const char *code, unsigned lines, size_t width, size_t step)
{
	size_t n = lines * (width + 6), used = 0, at = 0;
	char *in = malloc(n + 1);
	enum reply_status status = REPLY_MORE;

	assert_non_null(in);
	for (unsigned i = 0; i < lines; i++) {
		memcpy(in + at, code, 3);
		in[at + 3] = i + 1 == lines ? ' ' : '-';
		memset(in + at + 4, 'x', width);
		memcpy(in + at + 4 + width, "\r\n", 2);
		at += width + 6;
	}
	reply_parser_init(p);
	for (at = 0; at < n && status == REPLY_MORE; at += used)
		status = reply_feed(
			p, (struct slice){ in + at, step && step < n - at ? step : n - at }, &used);
	free(in);
	return status;
}

/* What is kept has limits; what is understood has not, within reason. */
static void test_limits(void **state)
{
	static const struct {
		const char *code;
		unsigned lines;
		size_t width;
		enum reply_status status;
	} t[] = {
		{ "250", 1, 3000, REPLY_DONE },
		{ "250", 300, 20, REPLY_DONE },
		{ "250", 1, REPLY_LINE_MAX - 4, REPLY_DONE },
		{ "250", 1, REPLY_LINE_MAX - 3, REPLY_DONE },
		{ "354", 2, 3000, REPLY_DONE },
		{ "220", 1999, 0, REPLY_DONE },
		{ "451", 100, 500, REPLY_DONE },
		{ "550", 1, 60000, REPLY_DONE },
		/* nobody means to end these, and their code is known */
		{ "250", REPLY_LINES_MAX + 1, 10, REPLY_CUT },
		{ "250", 1, 70000, REPLY_CUT },
		{ "550", 7, 10000, REPLY_CUT },
		{ "250", 1000, 100, REPLY_CUT },
	};
	static const size_t steps[] = { 0, 1, 7, 4096 };

	for (size_t i = 0; i < COUNT(t); i++)
		for (size_t k = 0; k < COUNT(steps); k++) {
			struct reply_parser p;

			assert_int_equal(
				feed_lines(&p, t[i].code, t[i].lines, t[i].width, steps[k]),
				t[i].status);
			assert_int_equal(p.reply.code, atoi(t[i].code));
			assert_int_equal(
				p.reply.truncated, t[i].lines * (t[i].width + 1) > REPLY_TEXT_MAX);
			assert_true(p.reply.n < REPLY_TEXT_MAX);
			assert_int_equal(p.reply.text[p.reply.n], '\0');
		}
}

/* An answer that passes the bound without a line that has a code is none. */
static void test_no_sense(void **state)
{
	struct reply_parser p;
	char in[1000];
	size_t used;
	enum reply_status status = REPLY_MORE;

	memset(in, 'x', sizeof(in));
	reply_parser_init(&p);
	for (unsigned i = 0; i < 100 && status == REPLY_MORE; i++)
		status = reply_feed(&p, (struct slice){ in, sizeof(in) }, &used);
	assert_int_equal(status, REPLY_BAD);
	/* and one that changes its mind is none, however long it was */
	assert_int_equal(feed_lines(&p, "250", 300, 100, 0), REPLY_DONE);
	reply_parser_init(&p);
	assert_int_equal(reply_feed(&p, SLICE_LIT("250-a\r\n"), &used), REPLY_MORE);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			reply_feed(&p, (struct slice){ "250-xxxxxxxxxxxxxx\r\n", 20 }, &used),
			REPLY_MORE);
	assert_int_equal(reply_feed(&p, SLICE_LIT("550 b\r\n"), &used), REPLY_BAD);
}

static void test_cut_at_character(void **state)
{
	/* "ü" and "€" at each offset about the end of what is kept */
	for (unsigned shift = 0; shift < 4; shift++)
		for (unsigned wide = 2; wide <= 3; wide++) {
			struct reply_parser p;
			char in[4000] = "550 ";
			size_t n = 4 + shift, used;

			memset(in + 4, 'x', shift);
			while (n + wide + 2 < sizeof(in)) {
				memcpy(in + n, wide == 2 ? "\303\274" : "\342\202\254", wide);
				n += wide;
			}
			memcpy(in + n, "\r\n", 2);
			reply_parser_init(&p);
			assert_int_equal(
				reply_feed(&p, (struct slice){ in, n + 2 }, &used), REPLY_DONE);
			assert_true(p.reply.truncated);
			assert_true(p.reply.n > REPLY_TEXT_MAX - 5);
			assert_int_equal((p.reply.n - shift) % wide, 0);
		}
}

static void test_format(void **state)
{
	struct reply r;
	char out[32];

	reply_make(&r, 451, "4.7.500 busy\nlater");
	assert_int_equal(reply_format(out, sizeof(out), &r), strlen("451 4.7.500 busy later"));
	assert_string_equal(out, "451 4.7.500 busy later");
	assert_int_equal(reply_format(out, 8, &r), 7);
	assert_string_equal(out, "451 4.7");
	assert_int_equal(reply_format(out, 3, &r), 2);
	reply_make(&r, 0, "lost");
	reply_format(out, sizeof(out), &r);
	assert_string_equal(out, "lost");
	reply_make(&r, 250, "");
	reply_format(out, sizeof(out), &r);
	assert_string_equal(out, "250");
}

static void test_from_text(void **state)
{
	static const struct {
		const char *in;
		int r;
		uint16_t code;
		const char *enhanced, *text;
	} t[] = {
		{ "550; 5.7.515 Access denied", 0, 550, "5.7.515", "5.7.515 Access denied" },
		{ "451- 4.7.652 The mail server", 0, 451, "4.7.652", "4.7.652 The mail server" },
		{ " 421-4.7.28 a\n421 4.7.28 b\r\n", 0, 421, "4.7.28", "4.7.28 a\n4.7.28 b" },
		{ "554 a\nb", 0, 554, "", "a\nb" },
		{ "250", 0, 250, "", "" },
		{ "hello", -EINVAL, 0, "", "" },
		{ "", -EINVAL, 0, "", "" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct reply r;
		char enhanced[16];

		assert_int_equal(reply_from_text(&r, slice_of(t[i].in)), t[i].r);
		if (t[i].r)
			continue;
		reply_enhanced_format(enhanced, &r);
		assert_int_equal(r.code, t[i].code);
		assert_string_equal(enhanced, t[i].enhanced);
		assert_string_equal(r.text, t[i].text);
	}
}

static void test_ehlo(void **state)
{
	static const char in[] =
		"250-CH3PEPF00000015.mail.protection.outlook.com Hello [192.0.2.1]\r\n"
		"250-SIZE 157286400\r\n250-PIPELINING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
		"250-STARTTLS\r\n250-8bitmime\r\n250-BINARYMIME\r\n250-CHUNKING\r\n"
		"250 SMTPUTF8\r\n";
	struct reply_parser p;
	struct ehlo e;
	size_t used;

	reply_parser_init(&p);
	assert_int_equal(reply_feed(&p, SLICE_LIT(in), &used), REPLY_DONE);
	ehlo_parse(&e, &p.reply);
	assert_string_equal(e.name, "CH3PEPF00000015.mail.protection.outlook.com");
	assert_true(e.esmtp && e.size_given && e.pipelining && e.dsn && e.enhanced && e.starttls);
	assert_true(e.eightbit && e.binarymime && e.chunking && e.smtputf8);
	assert_int_equal(e.size, 157286400);
}

/* What is offered behind more lines than are kept. */
static void test_ehlo_long(void **state)
{
	struct reply_parser p;
	struct ehlo e;
	size_t used;

	reply_parser_init(&p);
	p.ehlo = &e;
	assert_int_equal(
		reply_feed(&p, SLICE_LIT("250-mx\a.example hello\r\n"), &used), REPLY_MORE);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(reply_feed(&p, SLICE_LIT("250-X-SOMETHING-OF-OUR-OWN\r\n"), &used),
			REPLY_MORE);
	assert_int_equal(
		reply_feed(&p, SLICE_LIT("250-SIZE 77\r\n250 STARTTLS\r\n"), &used), REPLY_DONE);
	assert_true(e.esmtp && e.starttls && e.size_given && !e.pipelining);
	assert_int_equal(e.size, 77);
	assert_string_equal(e.name, "mx?.example");
}

static void test_ehlo_odd(void **state)
{
	static const struct {
		const char *text;
		bool given, pipelining;
		uint64_t size;
	} t[] = {
		{ "mx", false, false, 0 }, { "", false, false, 0 }, { "mx\nSIZE", true, false, 0 },
		{ "mx\nSIZE=1000", true, false, 1000 },
		{ "mx\nsize 99999999999999999999999", true, false, 0 },
		{ "mx\nSIZE abc", true, false, 0 }, { "mx\nPIPELINING ", false, true, 0 },
		{ "mx\nPIPELININGX", false, false, 0 },
		{ "PIPELINING", false, false, 0 }, /* the first line is a name */
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct reply r;
		struct ehlo e;

		reply_make(&r, 250, t[i].text);
		ehlo_parse(&e, &r);
		assert_int_equal(e.size_given, t[i].given);
		assert_int_equal(e.pipelining, t[i].pipelining);
		assert_int_equal(e.size, t[i].size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_one_after_another),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_from_text),
		cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_no_sense),
		cmocka_unit_test(test_cut_at_character),
		cmocka_unit_test(test_ehlo_long),
		cmocka_unit_test(test_ehlo_odd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
