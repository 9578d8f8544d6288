/* The header filter and the Received field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "body_text.h"
#include "postern/rng.h"
#include "postern/smtp_data.h"

#define D    "Date: then\r\n"
#define M    "Message-ID: <new@x>\r\n"
#define C10  "abcdefghij"
#define C100 C10 C10 C10 C10 C10 C10 C10 C10 C10 C10
#define K1   C100 C100 C100 C100 C100 C100 C100 C100 C100 C100
#define BAD  "X-Postern-Malformed: "
#define HAVE "Date: d\r\nMessage-ID: <a@b>\r\n"

static const struct {
	const char *in, *out, *pool, *id;
	unsigned received;
} rows[] = {
	/* complete: byte for byte */
	{ HAVE "\r\nbody\r\n", HAVE "\r\nbody\r\n", "", "<a@b>", 0 },
	{ "Bcc: x@y\r\n" HAVE "Bcc: z\r\n\r\n.", "Bcc: x@y\r\n" HAVE "Bcc: z\r\n\r\n.", "", "<a@b>",
		0 },
	{ "DATE:d\r\nmessage-id:<a@b>\r\n\r\n", "DATE:d\r\nmessage-id:<a@b>\r\n\r\n", "", "<a@b>",
		0 },
	{ "Date : d\r\nMessage-ID\t: <a@b>\r\n\r\n", "Date : d\r\nMessage-ID\t: <a@b>\r\n\r\n", "",
		"<a@b>", 0 },
	{ "Date: d\r\nMessage-ID:\r\n <a@b> \r\n\r\n", "Date: d\r\nMessage-ID:\r\n <a@b> \r\n\r\n",
		"", "<a@b>", 0 },
	{ HAVE, HAVE, "", "<a@b>", 0 },
	{ HAVE "\r\nReceived: x\r\nX-Postern-Pool: b\r\n",
		HAVE "\r\nReceived: x\r\nX-Postern-Pool: b\r\n", "", "<a@b>", 0 },
	/* loops */
	{ "Received: a\r\n b\r\nreceived: c\r\nX-Received: d\r\n" HAVE "\r\n",
		"Received: a\r\n b\r\nreceived: c\r\nX-Received: d\r\n" HAVE "\r\n", "", "<a@b>",
		2 },
	/* missing fields */
	{ "", D M, "", "<new@x>", 0 },
	{ "\r\n", D M "\r\n", "", "<new@x>", 0 },
	{ "\r\nbody\r\n", D M "\r\nbody\r\n", "", "<new@x>", 0 },
	{ "Subject: a\r\n\r\nb\r\n", "Subject: a\r\n" D M "\r\nb\r\n", "", "<new@x>", 0 },
	{ "Subject: a\r\n", "Subject: a\r\n" D M, "", "<new@x>", 0 },
	{ "Subject: a", "Subject: a\r\n" D M, "", "<new@x>", 0 },
	{ "Date: a\r\n\r\nb\r\n", "Date: a\r\n" M "\r\nb\r\n", "", "<new@x>", 0 },
	{ "Message-ID: <a@b>\r\n\r\n", "Message-ID: <a@b>\r\n" D "\r\n", "", "<a@b>", 0 },
	{ "Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\n",
		"Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n" D "\r\n", "", "<a@b>", 0 },
	{ "X-Date: a\r\nDates: b\r\n\r\n", "X-Date: a\r\nDates: b\r\n" D M "\r\n", "", "<new@x>",
		0 },
	/* no header field: body begins */
	{ "hello world\r\nDate: x\r\n", BAD "hello world\r\nDate: x\r\n" M, "", "<new@x>", 0 },
	{ "hello\r\n", D M "\r\nhello\r\n", "", "<new@x>", 0 },
	{ "hello", D M "\r\nhello", "", "<new@x>", 0 },
	{ ": x\r\n", D M "\r\n: x\r\n", "", "<new@x>", 0 },
	{ " folded: x\r\n", D M "\r\n folded: x\r\n", "", "<new@x>", 0 },
	{ HAVE "no field\r\n", HAVE "\r\nno field\r\n", "", "<a@b>", 0 },
	{ HAVE "no\xc3\xa9: x\r\n", HAVE "\r\nno\xc3\xa9: x\r\n", "", "<a@b>", 0 },
	{ "hello\r\n\r\n" HAVE, D M "\r\nhello\r\n\r\n" HAVE, "", "<new@x>", 0 },
	{ "hello\r\nNote: x\r\nFoo: y\r\n", D M "\r\nhello\r\nNote: x\r\nFoo: y\r\n", "", "<new@x>",
		0 },
	{ HAVE "Hello Bob,\r\n\r\nFrom: here\r\n", HAVE "\r\nHello Bob,\r\n\r\nFrom: here\r\n", "",
		"<a@b>", 0 },
	{ "Subject: a\r\nHello\r\n folded\r\nbye",
		"Subject: a\r\n" D M "\r\nHello\r\n folded\r\nbye", "", "<new@x>", 0 },
	/* lines that are no fields, among fields: these go on */
	{ "Subject: a\r\nb c\r\n" HAVE "\r\nx", "Subject: a\r\n" BAD "b c\r\n" HAVE "\r\nx", "",
		"<a@b>", 0 },
	{ "b c\r\n" HAVE, BAD "b c\r\n" HAVE, "", "<a@b>", 0 },
	{ "To: a\r\nb\r\n\tc\r\nd\r\nCampaign: e\r\nSubject: f\r\n\r\ng",
		"To: a\r\n" BAD "b\r\n\tc\r\n" BAD "d\r\nCampaign: e\r\nSubject: f\r\n" D M "\r\ng",
		"", "<new@x>", 0 },
	{ "To: a\r\nb c\r\nX-Postern-Pool: p\r\n" HAVE "\r\n",
		"To: a\r\n" BAD "b c\r\n" HAVE "\r\n", "p", "<a@b>", 0 },
	{ "X-Postern-Pool: p\r\nb c\r\n" HAVE "\r\n", BAD "b c\r\n" HAVE "\r\n", "p", "<a@b>", 0 },
	{ "To: a\r\n: c\r\nReceived: x\r\n" HAVE "\r\n",
		"To: a\r\n" BAD ": c\r\nReceived: x\r\n" HAVE "\r\n", "", "<a@b>", 1 },
	{ "To: a\r\nno\xc3\xa9: x\r\n" HAVE, "To: a\r\n" BAD "no\xc3\xa9: x\r\n" HAVE, "", "<a@b>",
		0 },
	{ "To: a\r\n>From b c\r\n" HAVE, "To: a\r\n" BAD ">From b c\r\n" HAVE, "", "<a@b>", 0 },
	{ "Subject: a\r\nThis has many parts.\r\n--b\r\nContent-Type: x\r\n\r\nc",
		"Subject: a\r\n" D M "\r\nThis has many parts.\r\n--b\r\nContent-Type: x\r\n\r\nc",
		"", "<new@x>", 0 },
	{ "Subject: a\r\n--b:c\r\nContent-Type: x\r\n",
		"Subject: a\r\n--b:c\r\nContent-Type: x\r\n" D M, "", "<new@x>", 0 },
	{ " folded: x\r\n y\r\n" HAVE, BAD " folded: x\r\n y\r\n" HAVE, "", "<a@b>", 0 },
	/* longer than RFC 5322 has lines: passed on, as a field and as none */
	{ HAVE "X-Long: " K1 K1 "\r\n\r\nx", HAVE "X-Long: " K1 K1 "\r\n\r\nx", "", "<a@b>", 0 },
	{ HAVE "long " K1 "\r\nTo: x\r\n", HAVE "X-Postern-Malformed:\r\n long " K1 "\r\nTo: x\r\n",
		"", "<a@b>", 0 },
	/* what an mbox file puts before a message */
	{ "From a@b Mon\r\n" HAVE, HAVE, "", "<a@b>", 0 },
	{ ">From a@b Mon\r\n" HAVE "\r\nFrom here\r\n", HAVE "\r\nFrom here\r\n", "", "<a@b>", 0 },
	{ ">>From a\r\nFrom b\r\n" HAVE "\r\n", HAVE "\r\n", "", "<a@b>", 0 },
	{ "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\r\n\r\nbody", D M "\r\nbody", "", "<new@x>",
		0 },
	{ "From \r\n" HAVE, HAVE, "", "<a@b>", 0 },
	{ "From a", D M, "", "<new@x>", 0 },
	{ "From : a@b\r\n" HAVE, "From : a@b\r\n" HAVE, "", "<a@b>", 0 },
	{ "From: a@b\r\n" HAVE, "From: a@b\r\n" HAVE, "", "<a@b>", 0 },
	{ "From a\r\nX-Postern-Pool: p\r\nReceived: x\r\n" HAVE, "Received: x\r\n" HAVE, "p",
		"<a@b>", 1 },
	{ "From a\r\n folded\r\n", D M "\r\n folded\r\n", "", "<new@x>", 0 },
	{ "FROM a\r\n" HAVE, BAD "FROM a\r\n" HAVE, "", "<a@b>", 0 },
	/* the pool */
	{ "X-Postern-Pool: bulk\r\n" HAVE "\r\nb", HAVE "\r\nb", "bulk", "<a@b>", 0 },
	{ HAVE "x-postern-pool:bulk \r\n\r\nb", HAVE "\r\nb", "bulk", "<a@b>", 0 },
	{ "Date: d\r\nX-Postern-Pool:\r\n\tbulk\r\n \r\nMessage-ID: <a@b>\r\n\r\nb", HAVE "\r\nb",
		"bulk", "<a@b>", 0 },
	{ "X-Postern-Pool: one\r\nX-Postern-Pool: two\r\n" HAVE, HAVE, "one", "<a@b>", 0 },
	{ "X-Postern-Pool: \r\n" HAVE, HAVE, "", "<a@b>", 0 },
	{ "X-Postern-Pool: a", D M, "a", "<new@x>", 0 },
	{ "X-Postern-Pool: a\r\nnot a field\r\n", D M "\r\nnot a field\r\n", "a", "<new@x>", 0 },
	{ "X-Postern-Pools: a\r\n" HAVE, "X-Postern-Pools: a\r\n" HAVE, "", "<a@b>", 0 },
	/* the tag goes, too */
	{ "x-postern-tag: t\r\nX-Postern-Pool: p\r\nX-Postern-Tag: u\r\n" HAVE "\r\nb",
		HAVE "\r\nb", "p", "<a@b>", 0 },
	{ "X-Postern-Tag:\r\n\tfolded\r\n" HAVE, HAVE, "", "<a@b>", 0 },
	{ "X-Postern-Class: c\r\nX-Postern-Pool: p\r\n" HAVE, HAVE, "p", "<a@b>", 0 },
	{ "x-postern-class:\r\n c\r\n d\r\n" HAVE "\r\nb", HAVE "\r\nb", "", "<a@b>", 0 },
	{ "X-Postern-Tag: a", D M, "", "<new@x>", 0 },
};

static const struct header_filter_params params = {
	.pool_header = { "X-Postern-Pool", 14 },
	.tag_header = { "X-Postern-Tag", 13 },
	.class_header = { "X-Postern-Class", 15 },
	.missing_date = { "then", 4 },
	.missing_id = { "<new@x>", 7 },
	.pool_allowed = true,
	.class_allowed = true,
};

/* seed 0: in one piece; 1: byte by byte; others: random */
static void feed(struct header_filter *f, struct slice in, uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, seed);
	while (in.n > 0) {
		size_t n = seed == 0 ? in.n : seed == 1 ? 1 : 1 + rng_below(&rng, 9);

		if (n > in.n)
			n = in.n;
		assert_int_equal(header_filter_feed(f, (struct slice){ in.p, n }), 0);
		in = slice_from(in, n);
	}
	assert_int_equal(header_filter_end(f), 0);
}

static void test_rows(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (uint64_t seed = 0; seed < 40; seed++) {
			struct header_filter_params p = params;
			struct body *b = body_new();
			struct header_filter f;
			struct buf hold;
			char *text;

			buf_init(&hold, 0);
			p.hold = &hold;
			header_filter_init(&f, b, &p);
			feed(&f, slice_of(rows[i].in), seed);
			buf_deinit(&hold);
			text = body_text(b);
			if (strcmp(text, rows[i].out) != 0)
				fail_msg("row %zu seed %zu:\n%s", i, (size_t)seed, text);
			assert_string_equal(f.pool, rows[i].pool);
			assert_string_equal(f.message_id, rows[i].id);
			assert_int_equal(f.received, rows[i].received);
			assert_false(f.over || f.bare || f.nul || f.pool_bad);
			free(text);
			body_unref(b);
		}
	}
}

/* The first counts, whole or not at all; nobody is asked where it is not allowed. */
static void test_class(void **state)
{
	static const struct {
		const char *in, *class;
		bool allowed, bad;
	} of[] = {
		{ "X-Postern-Class: codes\r\n" HAVE, "codes", true, false },
		{ "X-Postern-Class:\r\n\tcodes \r\n" HAVE, "codes", true, false },
		{ "X-Postern-Class: a\r\nX-POSTERN-CLASS: b\r\n" HAVE, "a", true, false },
		{ "X-Postern-Class: a\r\n" HAVE, "", false, false },
		{ "X-Postern-Class: 1234567890123456789012345678901234567890123456789012345678901"
		  "234\r\nX-Postern-Class: a\r\n" HAVE,
			NULL, true, true },
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		for (uint64_t seed = 0; seed < 20; seed++) {
			struct header_filter_params p = params;
			struct body *b = body_new();
			struct header_filter f;
			char *text;

			p.class_allowed = of[i].allowed;
			header_filter_init(&f, b, &p);
			feed(&f, slice_of(of[i].in), seed);
			text = body_text(b);
			assert_string_equal(text, HAVE);
			assert_int_equal(f.class_bad, of[i].bad);
			if (of[i].class)
				assert_string_equal(f.class, of[i].class);
			free(text);
			body_unref(b);
		}
	}
}

/* Without a place to hold lines, and with more lines than it takes, the section ends with the
 * first. */
static void test_held_too_long(void **state)
{
	char in[6000] = "To: a\r\n", *text;
	struct header_filter_params p = params;
	struct buf hold;
	size_t n = strlen(in);

	buf_init(&hold, 0);
	while (n < 4000)
		n += (size_t)snprintf(in + n, sizeof(in) - n, "no field in line %zu\r\n", n);
	snprintf(in + n, sizeof(in) - n, HAVE "\r\nbody");
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct body *b = body_new();
		struct header_filter f;

		p.hold = seed < 20 ? &hold : NULL;
		header_filter_init(&f, b, &p);
		feed(&f, slice_of(in), seed % 20);
		text = body_text(b);
		assert_memory_equal(text, "To: a\r\n" D M "\r\nno field in line 7\r\n", 60);
		assert_int_equal(strlen(text), strlen(in) + strlen(D M "\r\n"));
		assert_string_equal(text + strlen(text) - n / 2, in + strlen(in) - n / 2);
		assert_true(f.cut && f.malformed == 0);
		free(text);
		body_unref(b);
	}
	buf_deinit(&hold);
}

/* By what a message can be selected: the first tag that says something, the first From. */
static void test_labels(void **state)
{
	static const struct {
		const char *in, *tag, *from;
	} cases[] = {
		{ "X-Postern-Tag: \r\nx-postern-tag: otp \r\nX-Postern-Tag: b\r\n" HAVE, "otp",
			"" },
		{ "X-Postern-Tag:\r\n spring\r\n sale\r\n" HAVE, "spring sale", "" },
		{ "From: a@b.example\r\nfrom: c@d.example\r\n" HAVE, "", "a@b.example" },
		{ "From:\r\n \"A, B\"\r\n <a@b.example>\r\n" HAVE, "", "\"A, B\" <a@b.example>" },
		{ "From a@mbox\r\nSender: x@y\r\n" HAVE "\r\nFrom: not@header\r\n", "", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (uint64_t seed = 0; seed < 20; seed++) {
			struct body *b = body_new();
			struct header_filter f;

			header_filter_init(&f, b, &params);
			feed(&f, slice_of(cases[i].in), seed);
			assert_string_equal(f.tag, cases[i].tag);
			assert_string_equal(f.from, cases[i].from);
			body_unref(b);
		}
	}
}

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* For the log: the first field of each name that was asked for, in the order of the message. */
static void test_kept(void **state)
{
	static const char *const names[] = { "X-Campaign", "From", "X-Postern-Tag" };
	static const struct {
		const char *in, *kept;
	} cases[] = {
		{ HAVE "\r\nX-Campaign: body\r\n", "" },
		{ "x-campaign: spring \r\nX-Campaign: no\r\n" HAVE, "X-Campaign: spring\n" },
		{ "X-Campaign:\r\n\tspring\r\n sale\r\n" HAVE "\r\n", "X-Campaign: spring sale\n" },
		{ "X-Campaign:\r\nX-Campaigns: no\r\n" HAVE, "X-Campaign: \n" },
		{ "From: a@b\r\nX-Postern-Tag: t\r\nX-Campaign: c", "From: a@b\nX-Postern-Tag: t\n"
								    "X-Campaign: c\n" },
		{ "X-Campaign: a\x1b[2J\tb\x7f\r\n" HAVE, "X-Campaign: a_[2J_b_\n" },
		{ "X-Campaign: " A50 A50 A50 A50 "b\r\n" HAVE,
			"X-Campaign: " A50 A50 A50 A50 "\n" },
		{ "X-Campaign: a" A50 A50 A50 A50 "\r\n" HAVE,
			"X-Campaign: a" A50 A50 A50
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" },
		/* a character of two bytes does not fit any more */
		{ "X-Campaign: a" A50 A50 A50
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa4\r\n" HAVE,
			"X-Campaign: a" A50 A50 A50
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (uint64_t seed = 0; seed < 20; seed++) {
			struct header_filter_params p = params;
			struct body *b = body_new();
			struct header_filter f;
			struct buf kept;

			buf_init(&kept, 0);
			p.keep = (struct header_keep){ .names = names, .n = 3, .out = &kept };
			header_filter_init(&f, b, &p);
			feed(&f, slice_of(cases[i].in), seed);
			if (!slice_eq(buf_slice(&kept), slice_of(cases[i].kept)))
				fail_msg("row %zu seed %zu: %.*s", i, (size_t)seed,
					(int)buf_size(&kept), buf_slice(&kept).p);
			buf_deinit(&kept);
			body_unref(b);
		}
	}
}

static void test_pool_not_allowed(void **state)
{
	struct header_filter_params p = params;
	struct body *b = body_new();
	struct header_filter f;
	char *text;

	p.pool_allowed = false;
	header_filter_init(&f, b, &p);
	feed(&f, SLICE_LIT("X-Postern-Pool: a\r\n" HAVE), 0);
	text = body_text(b);
	assert_string_equal(text, HAVE);
	assert_string_equal(f.pool, "");
	free(text);
	body_unref(b);
}

/* A long name must not be taken for the pool that its beginning names. */
static void test_pool_too_long(void **state)
{
	char in[200];
	struct body *b = body_new();
	struct header_filter f;

	snprintf(in, sizeof(in), "X-Postern-Pool: %0100d\r\n" HAVE, 0);
	header_filter_init(&f, b, &params);
	feed(&f, slice_of(in), 0);
	assert_true(f.pool_bad);
	body_unref(b);
}

static void test_long_name_is_no_field(void **state)
{
	for (uint64_t seed = 0; seed < 5; seed++) {
		for (size_t n = HEADER_NAME_MAX - 2; n < HEADER_NAME_MAX + 2; n++) {
			char in[HEADER_NAME_MAX + 10];
			struct body *b = body_new();
			struct header_filter f;
			char *text;
			bool field = n + 1 < HEADER_NAME_MAX; /* with its colon */

			memset(in, 'x', n);
			memcpy(in + n, ": a\r\n", 6);
			header_filter_init(&f, b, &params);
			feed(&f, slice_of(in), seed);
			text = body_text(b);
			assert_true((strstr(text, "\r\n\r\n") == NULL) == field);
			assert_non_null(strstr(text, in));
			free(text);
			body_unref(b);
		}
	}
}

static void test_header_max(void **state)
{
	static const char in[] = HAVE "\r\n";

	for (uint64_t seed = 0; seed < 20; seed++) {
		for (uint32_t max = 1; max <= sizeof(in); max++) {
			struct header_filter_params p = params;
			struct body *b = body_new();
			struct header_filter f;
			char *text;

			p.header_max = max;
			header_filter_init(&f, b, &p);
			feed(&f, SLICE_LIT(HAVE "\r\nbody body body"), seed);
			assert_int_equal(f.over, max < sizeof(in) - 1);
			text = body_text(b);
			assert_string_equal(text, HAVE "\r\nbody body body");
			free(text);
			body_unref(b);
		}
	}
}

static const struct {
	struct slice in;
	bool bare, nul;
} odd[] = {
	{ SLICE_LIT("A: b\nc\r\n" HAVE "\r\n"), true, false },
	{ SLICE_LIT("A: b\rc\r\n" HAVE "\r\n"), true, false },
	{ SLICE_LIT("A: b\r\r\n" HAVE "\r\n"), true, false },
	{ SLICE_LIT("A: b\0\r\n" HAVE "\r\n"), false, true },
	{ SLICE_LIT(HAVE "\r\nb\n\r\0"), false, false },
	{ SLICE_LIT("A:\r\n" HAVE "\r\n"), false, false },
};

/* Binary content is not decoded, so the filter itself looks at the lines of the header section. */
static void test_bare_in_header(void **state)
{
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		for (uint64_t seed = 0; seed < 20; seed++) {
			struct body *b = body_new();
			struct header_filter f;

			header_filter_init(&f, b, &params);
			feed(&f, odd[i].in, seed);
			assert_int_equal(f.bare, odd[i].bare);
			assert_int_equal(f.nul, odd[i].nul);
			body_unref(b);
		}
	}
}

static const struct {
	struct received_params p;
	const char *text;
} received_rows[] = {
	{ { "app", "192.0.2.1", "out.example", "ESMTP", NULL, "0000000000001", "a@b.example", NULL,
		  0, 0 },
		"Received: from app ([192.0.2.1])\r\n\tby out.example (Postern) with ESMTP id "
		"0000000000001"
		"\r\n\tfor <a@b.example>;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n" },
	{ { "app", "2001:db8::1", "out.example", "ESMTPSA", "TLS1.3:X", "1", NULL, "joe", 0, 60 },
		"Received: from app ([IPv6:2001:db8::1])\r\n\t(authenticated as joe)\r\n\tby "
		"out.example (Postern) "
		"with ESMTPSA (TLS1.3:X) id 1;\r\n\tThu, 1 Jan 1970 01:00:00 +0100\r\n" },
	{ { "a(b\r\n", NULL, "h", "SMTP", "", "1", "\"x y\"@b", "a)\\b\n\xc3", 0, 0 },
		"Received: from a?b?"
		"? ([unknown])\r\n\t(authenticated as a?"
		"?b?"
		"?)\r\n\tby h "
		"(Postern) with SMTP id 1"
		"\r\n\tfor <\"x y\"@b>;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n" },
};

static void test_received(void **state)
{
	for (size_t i = 0; i < sizeof(received_rows) / sizeof(received_rows[0]); i++) {
		struct buf out;

		buf_init(&out, 0);
		assert_int_equal(received_build(&out, &received_rows[i].p), 0);
		if (!slice_eq(buf_slice(&out), slice_of(received_rows[i].text)))
			fail_msg("row %zu: %.*s", i, (int)buf_size(&out), out.p);
		buf_deinit(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_class),
		cmocka_unit_test(test_held_too_long),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_pool_not_allowed),
		cmocka_unit_test(test_pool_too_long),
		cmocka_unit_test(test_long_name_is_no_field),
		cmocka_unit_test(test_header_max),
		cmocka_unit_test(test_bare_in_header),
		cmocka_unit_test(test_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
