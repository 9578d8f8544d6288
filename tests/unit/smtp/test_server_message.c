/* What the inbound state machine makes: envelope and content of messages, streaming, TLS, ends of
 * sessions. */
#include "server_rig.h"

#include <errno.h>

#define EHLO "EHLO app.example\r\n"
#define MAIL "MAIL FROM:<a@s.example>\r\n"
#define RCPT "RCPT TO:<b@r.example>\r\n"
#define HEAD "Date: d\r\nMessage-ID: <m@x>\r\n"
#define DATA "DATA\r\n" HEAD "\r\nbody\r\n.\r\n"
#define DATE "Thu, 1 Jan 1970 00:16:40 +0000"

static void play(struct rig *r, const char *script)
{
	rig_play(r, slice_of(script), 0);
}

/* By what a message can be selected later; the text is the client's. */
static void test_labels(void **state)
{
	static const struct {
		const char *head, *tag, *from_domain;
	} rows[] = {
		{ "", NULL, NULL },
		{ "From: A <a@Shop.Example>\r\nX-Postern-Tag: spring\r\n", "spring",
			"shop.example" },
		{ "From: a@one.example, b@two.example\r\n", NULL, "one.example" },
		{ "From: \"@evil.example\" <a@b.example>\r\n", NULL, "b.example" },
		{ "From: nobody\r\nX-Postern-Tag:  \r\n", NULL, NULL },
		{ "X-Postern-Tag: a\x1b[2J\tb\r\n", "a_[2J_b", NULL },
		{ "X-Postern-Tag: "
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa4\r\n",
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char script[600];
		struct rig r;

		rig_init(&r);
		rig_open(&r);
		snprintf(script, sizeof(script),
			EHLO MAIL RCPT "DATA\r\n%s" HEAD "\r\nbody\r\n.\r\n", rows[i].head);
		play(&r, script);
		assert_non_null(r.last);
		if (rows[i].tag)
			assert_string_equal(r.last->tag, rows[i].tag);
		else
			assert_null(r.last->tag);
		if (rows[i].from_domain)
			assert_string_equal(r.last->from_domain, rows[i].from_domain);
		else
			assert_null(r.last->from_domain);
		assert_null(r.last->class);
		rig_close(&r);
	}
}

/* Of each message of a session its own. */
static void test_kept_headers(void **state)
{
	static const char *const names[] = { "X-Campaign" };
	struct rig r;

	rig_init(&r);
	r.params.keep_headers = names;
	r.params.nkeep_headers = 1;
	rig_open(&r);
	play(&r, EHLO MAIL RCPT "DATA\r\nx-campaign: a\r\n" HEAD "\r\nbody\r\n.\r\n");
	assert_string_equal(r.last->headers, "X-Campaign: a\n");
	play(&r, MAIL RCPT DATA);
	assert_null(r.last->headers);
	rig_close(&r);
}

static void test_envelope(void **state)
{
	struct rig r;
	const struct message *m;

	rig_init(&r);
	rig_open(&r);
	play(&r, EHLO "MAIL FROM:<\"A b\"@S.example> RET=HDRS ENVID=e+2B1 BODY=8BITMIME SIZE=10\r\n"
		      "RCPT TO:<B@R.Example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z\r\n"
		      "RCPT TO:<c@[192.0.2.1]>\r\n"
		      "RCPT TO:<d@[IPv6:2001:DB8::1]> NOTIFY=NEVER\r\n" DATA);
	assert_string_equal(
		rig_codes(&r), "250, 250 2.1.0, 250 2.1.5, 250 2.1.5, 250 2.1.5, 354, 250 2.0.0");
	m = r.last;
	assert_int_equal(m->id, 1);
	assert_int_equal(m->arrived, RIG_WALL);
	assert_int_equal(m->expires, RIG_WALL + 5000);
	assert_string_equal(m->sender, "\"A b\"@S.example");
	assert_string_equal(m->envid, "e+1");
	assert_int_equal(m->ret, RET_HDRS);
	assert_int_equal(m->body_type, BODY_8BITMIME);
	assert_int_equal(m->flags, 0);
	assert_string_equal(m->pool, "main");
	assert_string_equal(m->client, "192.0.2.7");
	assert_string_equal(m->helo, "app.example");
	assert_string_equal(m->listener, "internal");
	assert_string_equal(m->message_id, "<m@x>");
	assert_null(m->user);
	assert_int_equal(m->nrecipients, 3);
	assert_string_equal(m->recipients[0].address, "B@R.Example");
	assert_string_equal(m->recipients[0].domain, "r.example");
	assert_string_equal(m->recipients[0].orcpt, "rfc822;x+y@z");
	assert_int_equal(m->recipients[0].notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_string_equal(m->recipients[1].domain, "[192.0.2.1]");
	assert_null(m->recipients[1].orcpt);
	assert_int_equal(m->recipients[1].notify, NOTIFY_DEFAULT);
	assert_string_equal(m->recipients[2].domain, "[IPv6:2001:db8::1]");
	assert_int_equal(m->recipients[2].notify, NOTIFY_NEVER);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(m->recipients[i].index, i);
	rig_close(&r);
}

static const struct {
	const char *script, *content;
	bool tls;
} contents[] = {
	{ EHLO MAIL RCPT DATA,
		"Received: from app.example ([192.0.2.7])\r\n\tby out.example (Postern) with ESMTP "
		"id 0000000000001"
		"\r\n\tfor <b@r.example>;\r\n\t" DATE "\r\n" HEAD "\r\nbody\r\n\f",
		false },
	/* two recipients are not told of each other */
	{ "HELO app\r\n" MAIL RCPT "RCPT TO:<c@r.example>\r\n" DATA,
		"Received: from app ([192.0.2.7])\r\n\tby out.example (Postern) with SMTP id "
		"0000000000001"
		";\r\n\t" DATE "\r\n" HEAD "\r\nbody\r\n\f",
		false },
	/* one recipient, said twice */
	{ EHLO MAIL RCPT "RCPT TO:<b@R.EXAMPLE>\r\n" DATA,
		"Received: from app.example ([192.0.2.7])\r\n\tby out.example (Postern) with ESMTP "
		"id 0000000000001"
		"\r\n\tfor <b@r.example>;\r\n\t" DATE "\r\n" HEAD "\r\nbody\r\n\f",
		false },
	{ EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\nMAIL FROM:<> SMTPUTF8\r\n" RCPT DATA,
		"Received: from app.example ([192.0.2.7])\r\n\tby out.example (Postern) with "
		"UTF8SMTPSA "
		"(TLS1.3:TEST) id 0000000000001\r\n\tfor <b@r.example>;\r\n\t" DATE "\r\n" HEAD
		"\r\nbody\r\n\f",
		true },
	{ EHLO MAIL RCPT "DATA\r\nSubject: x\r\n\r\n..\r\n.\r\n",
		"Received: from app.example ([192.0.2.7])\r\n\tby out.example (Postern) with ESMTP "
		"id 0000000000001"
		"\r\n\tfor <b@r.example>;\r\n\t" DATE "\r\nSubject: x\r\nDate: " DATE
		"\r\nMessage-ID: <0000000000001@out.example>\r\n\r\n.\r\n\f",
		false },
};

static void test_contents(void **state)
{
	for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
		struct rig r;

		rig_init(&r);
		r.peer.auth_available = true;
		rig_open(&r);
		if (contents[i].tls)
			smtp_server_tls_started(r.server, "TLS1.3:TEST");
		play(&r, contents[i].script);
		if (!slice_eq(buf_slice(&r.content), slice_of(contents[i].content)))
			fail_msg("%zu: %.*s", i, (int)buf_size(&r.content), r.content.p);
		rig_close(&r);
	}
}

static int to_ascii(struct slice in, char *out, size_t out_max)
{
	if (memchr(in.p, '!', in.n) || out_max < 30)
		return -ENOSPC;
	if (in.n > 20)
		return -EINVAL;
	memcpy(out, "XN--Test.example", 17);
	return 0;
}

static void test_flags_and_utf8(void **state)
{
	struct rig r;

	rig_init(&r);
	r.params.domain_to_ascii = to_ascii;
	rig_open(&r);
	play(&r, EHLO "MAIL FROM:<a@s.example> SMTPUTF8\r\n"
		      "RCPT TO:<\xc3\xa9@\xc3\xa9.example> ORCPT=utf-8;\xc3\xa9+2B@x\r\n"
		      "RCPT TO:<b@\xc3\xa9.far-too-long-for-it.example>\r\n"
		      "DATA\r\n" HEAD "\r\n\xc3\xa9\r\n.\r\n");
	assert_string_equal(rig_codes(&r), "250, 250 2.1.0, 250 2.1.5, 550 5.1.2, 354, 250 2.0.0");
	assert_int_equal(r.last->flags, MESSAGE_SMTPUTF8 | MESSAGE_8BIT_CONTENT);
	assert_string_equal(r.last->recipients[0].address, "\xc3\xa9@\xc3\xa9.example");
	assert_string_equal(r.last->recipients[0].domain, "xn--test.example");
	assert_string_equal(r.last->recipients[0].orcpt, "utf-8;\xc3\xa9+@x");
	/* 8 bit content that was not announced passes, and is noted */
	play(&r, MAIL RCPT "DATA\r\n" HEAD "\r\n\x80\r\n.\r\n");
	assert_int_equal(r.last->flags, MESSAGE_8BIT_CONTENT);
	assert_int_equal(r.last->body_type, BODY_7BIT);
	play(&r, MAIL RCPT DATA);
	assert_int_equal(r.last->flags, 0);
	rig_close(&r);
}

static const char *pool_for(void *arg, struct slice domain)
{
	return slice_eq(domain, SLICE_LIT("s.example")) ? "sender" : NULL;
}

static void check_pool(const char *user_pool, bool header, const char *script, const char *expect)
{
	struct rig r;

	rig_init(&r);
	r.peer.auth_available = r.params.offer_auth_plain_text = true;
	r.params.pool_for_sender = pool_for;
	r.params.pool_header = header;
	r.user_pool = user_pool;
	rig_open(&r);
	play(&r, script);
	assert_int_equal(r.commits, 1);
	assert_string_equal(r.last->pool, expect);
	assert_null(strstr(rig_text(&r.content), "X-Postern-Pool"));
	rig_close(&r);
}

static void test_pools(void **state)
{
#define AUTH	"AUTH PLAIN AHVzZXIAcGFzcw==\r\n"
#define OTHER	"MAIL FROM:<a@o.example>\r\n"
#define BY_NAME "DATA\r\nX-Postern-Pool: named\r\n\r\n.\r\n"
	check_pool(NULL, false, EHLO OTHER RCPT DATA, "main");
	check_pool(NULL, false, EHLO "MAIL FROM:<>\r\n" RCPT DATA, "main");
	check_pool(NULL, false, EHLO MAIL RCPT DATA, "sender");
	check_pool(NULL, false, EHLO "MAIL FROM:<a@S.Example>\r\n" RCPT DATA, "sender");
	check_pool("users", false, EHLO AUTH MAIL RCPT DATA, "users");
	check_pool(NULL, false, EHLO AUTH MAIL RCPT DATA, "sender");
	check_pool("users", true, EHLO AUTH MAIL RCPT BY_NAME, "named");
	check_pool("users", false, EHLO AUTH MAIL RCPT BY_NAME, "users");
}

static void test_many_recipients(void **state)
{
	struct rig r;
	char line[64];

	rig_init(&r);
	r.params.recipients_max = 5000;
	rig_open(&r);
	play(&r, EHLO MAIL);
	/* each twice, in two rounds: the second finds all of the first */
	for (unsigned i = 0; i < 8000; i++) {
		snprintf(line, sizeof(line), "RCPT TO:<u%u@r%u.example>\r\n", i % 4000, i % 7);
		play(&r, line);
	}
	/* 4000 and 7 have no common factor: all differ */
	play(&r, "DATA\r\n.\r\n");
	assert_int_equal(r.commits, 1);
	assert_int_equal(r.last->nrecipients, 5000);
	assert_string_equal(r.last->recipients[4321].address, "u321@r2.example");
	rig_close(&r);

	rig_init(&r);
	r.params.recipients_max = 5000;
	rig_open(&r);
	play(&r, EHLO MAIL);
	for (unsigned i = 0; i < 8000; i++) {
		snprintf(line, sizeof(line), "RCPT TO:<u%u@r%u.example>\r\n", i % 4000, i % 4);
		play(&r, line);
	}
	play(&r, "DATA\r\n.\r\n");
	assert_int_equal(r.last->nrecipients, 4000);
	rig_close(&r);
}

/* A chunk of 100 MB is received in little memory. */
static void test_large_chunk(void **state)
{
	static char piece[1000000];
	struct rig r;

	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = i % 50 == 48 ? '\r' : i % 50 == 49 ? '\n' : 'x';
	rig_init(&r);
	r.params.size_max = 200000000;
	r.params.stream_over = 300000;
	rig_open(&r);
	play(&r, EHLO MAIL RCPT "BDAT 100000000 LAST\r\n");
	for (unsigned i = 0; i < 100; i++)
		rig_send(&r, (struct slice){ piece, sizeof(piece) });
	assert_int_equal(r.commits, 1);
	assert_string_equal(rig_codes(&r), "250, 250 2.1.0, 250 2.1.5, 250 2.0.0");
	assert_true(r.flushes > 100);
	assert_true(r.last->size > 100000000);
	assert_int_equal(r.flushed, r.last->body->taken);
	assert_true(r.held_max < 600000);
	assert_int_equal(r.aborts, 0);
	rig_close(&r);
	assert_int_equal(body_memory(), 0);
}

/* Nothing more is taken while the caller has no room for what was received. */
static void test_flush_is_asked_until_done(void **state)
{
	static char piece[200000];
	enum smtp_server_want want;
	struct rig r;
	size_t used;

	memset(piece, 'x', sizeof(piece));
	rig_init(&r);
	r.params.size_max = 0;
	r.params.stream_over = 100000;
	rig_open(&r);
	play(&r, EHLO MAIL RCPT "DATA\r\n\r\n");
	assert_int_equal(smtp_server_feed(r.server, (struct slice){ piece, sizeof(piece) }, &used,
				 &r.out, RIG_WALL, &want),
		0);
	assert_int_equal(want, SERVER_FLUSH);
	assert_true(used >= 100000 && used < sizeof(piece));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(smtp_server_feed(r.server, (struct slice){ piece, 100 }, &used,
					 &r.out, RIG_WALL, &want),
			0);
		assert_int_equal(want, SERVER_FLUSH);
		assert_int_equal(used, 0);
	}
	body_blocks_free(body_take_full(smtp_server_message(r.server)->body));
	assert_int_equal(smtp_server_feed(r.server, (struct slice){ piece, 100 }, &used, &r.out,
				 RIG_WALL, &want),
		0);
	assert_int_equal(want, SERVER_READ);
	assert_int_equal(used, 100);
	rig_close(&r);
}

/* Each way to give up a message of which the queue has parts. */
static void test_aborts(void **state)
{
	static const struct {
		const char *begin, *end, *codes;
		bool closed;
	} rows[] = {
		{ "BDAT 150000\r\n", "RSET\r\nNOOP\r\n", "250 2.0.0, 250 2.0.0, 250 2.0.0", false },
		{ "BDAT 150000\r\n", EHLO, "250 2.0.0, 250", false },
		{ "BDAT 150000\r\n", "QUIT\r\n", "250 2.0.0, 221 2.0.0", true },
		{ "BDAT 150000\r\n", "BDAT x\r\n", "250 2.0.0, 521 5.5.4", true },
		{ "BDAT 150000\r\n", "BDAT 100000\r\n", "250 2.0.0", false },
		{ "BDAT 150003\r\n", "a\nbNOOP\r\n", "550 5.6.11, 250 2.0.0", false },
		{ "DATA\r\n", "a\nb\r\n.\r\nNOOP\r\n", "354, 550 5.6.11, 250 2.0.0", false },
		{ "DATA\r\n", "\0\r\n.\r\nNOOP\r\n", "354", false },
	};
	static char piece[150000];

	memset(piece, 'x', sizeof(piece));
	memcpy(piece, "A: b\r\n\r\n", 8);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice nul = SLICE_LIT("\0\r\n.\r\n");
		struct rig r;

		rig_init(&r);
		r.params.size_max = 200000;
		r.params.stream_over = 100000;
		rig_open(&r);
		play(&r, EHLO MAIL RCPT);
		rig_codes(&r);
		play(&r, rows[i].begin);
		rig_send(&r, (struct slice){ piece, sizeof(piece) });
		assert_int_equal(r.flushes, 1);
		assert_int_equal(r.aborts, 0);
		if (rows[i].end[0])
			play(&r, rows[i].end);
		else
			rig_play(&r, nul, 0);
		assert_int_equal(r.aborts, 1);
		assert_int_equal(r.commits, 0);
		assert_null(smtp_server_message(r.server));
		if (rows[i].end[0])
			assert_string_equal(rig_codes(&r), rows[i].codes);
		assert_int_equal(r.closed, rows[i].closed);
		rig_close(&r);
		assert_int_equal(body_memory(), 0);
	}
}

/* RFC 3207: what was said in clear text, also what was pipelined behind STARTTLS, is forgotten. */
static void test_starttls(void **state)
{
	struct smtp_server_stats stats;
	struct rig r;

	rig_init(&r);
	r.peer.tls_available = r.peer.auth_available = r.params.offer_auth_plain_text = true;
	rig_open(&r);
	play(&r, EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\nSTARTTLS\r\n" EHLO MAIL RCPT);
	assert_true(r.tls_now);
	assert_string_equal(rig_codes(&r), "250, 235 2.7.0, 220 2.0.0");
	smtp_server_stats(r.server, &stats);
	assert_true(stats.tls && !stats.user && !stats.helo);
	play(&r, MAIL EHLO "STARTTLS\r\n" MAIL RCPT DATA);
	assert_string_equal(
		rig_codes(&r), "503 5.5.1, 250, 503 5.5.1, 250 2.1.0, 250 2.1.5, 354, 250 2.0.0");
	assert_non_null(strstr(rig_text(&r.content), "with ESMTPS (TLS1.3:TEST) id"));
	rig_close(&r);

	rig_init(&r);
	rig_open(&r);
	play(&r, EHLO "STARTTLS\r\nSTARTTLS now\r\n");
	assert_string_equal(rig_codes(&r), "250, 502 5.5.1, 501 5.5.4");
	rig_close(&r);
}

static const struct {
	bool tls_available, tls, auth, plain, loopback, starttls_offered, auth_offered;
} offers[] = {
	{ false, false, false, false, false, false, false },
	{ true, false, true, false, false, true, false },
	{ true, true, true, false, false, false, true },
	{ true, false, true, true, false, true, true },
	{ false, false, true, false, true, false, true },
	{ false, true, false, true, true, false, false },
};

static void test_ehlo(void **state)
{
	static const char greeting[] = "220 out.example ESMTP Postern\r\n250-out.example\r\n";
	static const char *const always[] = { "250-out.example\r\n", "250-SIZE 100000\r\n",
		"250-PIPELINING\r\n", "250-8BITMIME\r\n", "250-SMTPUTF8\r\n", "250-DSN\r\n",
		"250-ENHANCEDSTATUSCODES\r\n", "250-BINARYMIME\r\n", "250 CHUNKING\r\n" };

	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		struct rig r;

		rig_init(&r);
		r.peer.tls_available = offers[i].tls_available;
		r.peer.tls = offers[i].tls;
		r.peer.auth_available = offers[i].auth;
		r.params.offer_auth_plain_text = offers[i].plain;
		if (offers[i].loopback)
			addr_parse(&r.peer.client, SLICE_LIT("::1"));
		rig_open(&r);
		assert_int_equal(smtp_server_greet(r.server, &r.out), 0);
		play(&r, EHLO);
		assert_int_equal(strncmp(rig_text(&r.out), greeting, strlen(greeting)), 0);
		for (size_t k = 0; k < sizeof(always) / sizeof(always[0]); k++)
			assert_non_null(strstr(rig_text(&r.out), always[k]));
		assert_int_equal(strstr(rig_text(&r.out), "250-STARTTLS\r\n") != NULL,
			offers[i].starttls_offered);
		assert_int_equal(strstr(rig_text(&r.out), "250-AUTH PLAIN LOGIN\r\n") != NULL,
			offers[i].auth_offered);
		rig_close(&r);
	}
}

static void test_texts(void **state)
{
	struct rig r;

	rig_init(&r);
	r.peer.trusted = false;
	rig_open(&r);
	play(&r, EHLO MAIL);
	buf_reset(&r.out);
	play(&r, RCPT);
	assert_non_null(strstr(rig_text(&r.out), "192.0.2.7"));
	assert_non_null(strstr(rig_text(&r.out), "authenticate"));
	rig_close(&r);

	rig_init(&r);
	rig_open(&r);
	play(&r, EHLO MAIL RCPT DATA);
	assert_non_null(strstr(rig_text(&r.out), "\r\n250 2.0.0 Ok: queued as 0000000000001\r\n"));
	rig_close(&r);
}

static void test_shutdown(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_open(&r);
	assert_true(smtp_server_idle(r.server));
	play(&r, EHLO);
	assert_true(smtp_server_idle(r.server));
	play(&r, MAIL);
	assert_false(smtp_server_idle(r.server));
	play(&r, RCPT "DATA\r\nabc");
	rig_codes(&r);
	assert_int_equal(smtp_server_shutdown(r.server, "421 4.4.2 Timed out; closing", &r.out), 0);
	assert_int_equal(smtp_server_shutdown(r.server, "421 4.3.2 Again", &r.out), 0);
	play(&r, "\r\n.\r\n");
	assert_true(r.closed);
	assert_string_equal(rig_codes(&r), "421 4.4.2");
	assert_null(smtp_server_message(r.server));
	rig_close(&r);
}

/* While the caller owes an answer nothing more is taken, and the same is wanted again. */
static void test_waits_for_commit(void **state)
{
	enum smtp_server_want want;
	struct rig r;
	size_t used;

	rig_init(&r);
	r.hold_commit = true;
	rig_open(&r);
	play(&r, EHLO MAIL RCPT DATA "NOOP\r\n");
	rig_codes(&r);
	assert_int_equal(r.commits, 1);
	assert_false(smtp_server_idle(r.server));
	assert_int_equal(
		smtp_server_feed(r.server, buf_slice(&r.in), &used, &r.out, RIG_WALL, &want), 0);
	assert_int_equal(want, SERVER_COMMIT);
	assert_int_equal(used, 0);
	assert_int_equal(buf_size(&r.out), 0);
	r.hold_commit = false;
	assert_int_equal(smtp_server_committed(r.server, COMMIT_OK, &r.out), 0);
	rig_pump(&r);
	assert_string_equal(rig_codes(&r), "250 2.0.0, 250 2.0.0");
	rig_close(&r);
}

/* What a client pipelines does not decide how many replies pile up. */
static void test_many_replies(void **state)
{
	enum smtp_server_want want;
	struct rig r;
	unsigned calls = 0;
	size_t used;

	rig_init(&r);
	rig_open(&r);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(buf_add_str(&r.in, "EHLO x\r\n"), 0);
	do {
		assert_int_equal(smtp_server_feed(r.server, buf_slice(&r.in), &used, &r.out,
					 RIG_WALL, &want),
			0);
		assert_true(buf_size(&r.out) < 9000);
		buf_reset(&r.out);
		buf_consume(&r.in, used);
		calls++;
	} while (want == SERVER_AGAIN);
	assert_int_equal(want, SERVER_READ);
	assert_int_equal(buf_size(&r.in), 0);
	assert_true(calls > 50);
	rig_close(&r);
}

static void test_endless_line(void **state)
{
	static char junk[1000];
	struct rig r;

	memset(junk, 'x', sizeof(junk));
	rig_init(&r);
	rig_open(&r);
	for (unsigned i = 0; i < 100; i++)
		rig_send(&r, (struct slice){ junk, sizeof(junk) });
	assert_true(r.closed);
	assert_string_equal(rig_codes(&r), "421 4.7.0");
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_flags_and_utf8),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_kept_headers),
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_large_chunk),
		cmocka_unit_test(test_flush_is_asked_until_done),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_waits_for_commit),
		cmocka_unit_test(test_many_replies),
		cmocka_unit_test(test_endless_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
