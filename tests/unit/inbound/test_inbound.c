/* Inbound sessions: what they accept, and that it is in the queue as sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../net/certificates.h"
#include "../worker/rig.h"
#include "postern/must.h"

#define ENVELOPE "MAIL FROM:<amy@example.com>\r\nRCPT TO:<bob@example.net>\r\n"
#define HEADERS                                                                                    \
	"Subject: hello\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: "                  \
	"<1@example.com>\r\n\r\n"

static struct certificates files;
static char users_path[256];
static const char users_text[] = "amy:$6$rounds=1000$abcdefgh12345678$"
				 "utlBBH3s0Dikb8D12xWmYHezKos9Iam50op3fQHf14jBLhHEykPPQ/"
				 "OxY5gus7Re6gKjeRviWaLOnJ.WpPAzj1:bulk\n";

static void use_tls(struct rig *r)
{
	struct tls_server_params p = { .certificate = files.good, .key = files.key };
	char error[256] = "";

	if (tls_server_new(&r->tls, &p, error, sizeof(error)))
		fail_msg("%s", error);
}

static void use_users(struct rig *r)
{
	char error[256] = "";

	if (users_load(&r->users, users_path, error, sizeof(error)))
		fail_msg("%s", error);
}

/* The content that the queue has ends with what was sent; before it stands our Received field. */
static void expect_content(struct rig *r, uint64_t id, const char *sent, size_t n)
{
	struct slice got = rig_content(r, id);

	assert_true(got.n > n);
	assert_memory_equal(got.p, "Received: from ", 15);
	assert_memory_equal(got.p + got.n - n, sent, n);
	free((char *)(uintptr_t)got.p);
}

/* ---- plain ---- */

static void whole_session_in_one_write(void **state)
{
	struct rig r;
	struct peer p;
	struct message *m;
	char *log;

	rig_init(&r);
	rig_start(&r);
	peer_connect(&p, r.port);
	peer_say(&p, "EHLO client.example.test\r\n" ENVELOPE
		     "RCPT TO:<carl@example.net>\r\nDATA\r\n" HEADERS
		     "..dot\r\nbody\r\n.\r\nMAIL FROM:<>\r\nRCPT "
		     "TO:<dora@example.org>\r\nDATA\r\n" HEADERS "two\r\n.\r\nQUIT\r\n");
	peer_expect(&p, "220 relay.example.test");
	peer_expect(&p, "250-relay.example.test");
	peer_expect(&p, "250 2.1.0");
	peer_expect(&p, "250 2.1.5");
	peer_expect(&p, "250 2.1.5");
	peer_expect(&p, "354 ");
	peer_expect(&p, "250 2.0.0");
	peer_expect(&p, "250 2.1.0");
	peer_expect(&p, "250 2.1.5");
	peer_expect(&p, "354 ");
	peer_expect(&p, "250 2.0.0");
	peer_expect(&p, "221 ");
	peer_expect_end(&p);
	peer_close(&p);
	assert_int_equal(rig_waiting(&r), 2);
	m = rig_message(&r);
	assert_string_equal(m->sender, "amy@example.com");
	assert_int_equal(m->nrecipients, 2);
	assert_string_equal(m->recipients[1].address, "carl@example.net");
	assert_string_equal(m->helo, "client.example.test");
	expect_content(&r, m->id, HEADERS ".dot\r\nbody\r\n", strlen(HEADERS ".dot\r\nbody\r\n"));
	message_unref(m);
	assert_int_equal(rig_stats(&r).messages, 2);
	assert_int_equal(rig_stats(&r).recipients, 3);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	rig_stop_worker(&r);
	log = rig_log(&r);
	assert_non_null(strstr(log, "\"event\":\"accepted\""));
	assert_non_null(strstr(log,
		"\"from\":\"amy@example.com\",\"to\":\"bob@example.net\",\"recipients\":2,"
		"\"client\":\"127.0.0.1\",\"helo\":\"client.example.test\""));
	assert_non_null(strstr(log, "\"message_id\":\"<1@example.com>\""));
	assert_non_null(strstr(log, "\"session\":\"1\""));
	free(log);
	rig_stop(&r);
}

static void chunks(void **state)
{
	struct rig r;
	struct peer p;

	rig_init(&r);
	rig_start(&r);
	peer_hello(&p, r.port);
	peer_say(&p, ENVELOPE "BDAT 5\r\nA: b\rBDAT 9 LAST\r\n\n\r\nText\r\n");
	peer_expect(&p, "250 2.1.0");
	peer_expect(&p, "250 2.1.5");
	peer_expect(&p, "250 ");
	peer_expect(&p, "250 2.0.0 Ok: queued");
	peer_talk(&p, "QUIT\r\n", "221 ");
	peer_close(&p);
	expect_content(&r, 0, "\r\nText\r\n", 8);
	rig_stop(&r);
}

/* Larger than what is held in memory at a time, and than what a session may read ahead. */
static void streamed(void **state)
{
	enum { SIZE = 20 << 20 };
	struct rig r;
	struct peer p;
	char *text = text_make(SIZE);
	uint64_t most = 0;

	rig_init(&r);
	rig_start(&r);
	peer_hello(&p, r.port);
	peer_talk(&p, "MAIL FROM:<amy@example.com>\r\n", "250");
	peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
	peer_say(&p, "BDAT 20971606 LAST\r\n" HEADERS);
	assert_int_equal(SIZE + strlen(HEADERS), 20971606);
	for (size_t at = 0; at < SIZE; at += 65536) {
		assert_true(peer_send(&p, text + at, SIZE - at < 65536 ? SIZE - at : 65536));
		if (body_memory() > most)
			most = body_memory();
	}
	peer_expect(&p, "250 2.0.0");
	/* what is held, two parts with the queue, and one being gathered for each */
	assert_in_range(most, 1, 4 * 262144 + 4 * 65536);
	expect_content(&r, 0, text, SIZE);
	/* a second one on the same session */
	peer_talk(&p, "MAIL FROM:<amy@example.com>\r\n", "250");
	peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
	peer_talk(&p, "DATA\r\n", "354");
	peer_say(&p, HEADERS);
	for (int i = 0; i < 10000; i++)
		peer_say(&p, "..a line of a text that is long in all and short in each of its "
			     "lines\r\n");
	peer_talk(&p, ".\r\n", "250 2.0.0");
	peer_close(&p);
	free(text);
	assert_int_equal(rig_waiting(&r), 2);
	rig_stop_worker(&r);
	assert_true(rig_no_loose(&r));
	rig_stop(&r);
}

/* ---- gives up in the middle ---- */

static void drop_leaves_nothing(void **state)
{
	static const struct {
		size_t size;
		bool reset;
	} rows[] = { { 0, false }, { 0, true }, { 10000, false }, { 10000, true },
		{ 3 << 20, false }, { 3 << 20, true } };
	struct rig r;
	struct peer p;
	char *text = text_make(3 << 20);
	unsigned count = 0;

	rig_init(&r);
	rig_start(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		peer_hello(&p, r.port);
		peer_talk(&p, "MAIL FROM:<amy@example.com>\r\n", "250");
		peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
		peer_talk(&p, "DATA\r\n", "354");
		assert_true(peer_send(&p, text, rows[i].size));
		if (rows[i].reset)
			peer_reset(&p);
		else
			peer_close(&p);
		count++;
		WAIT_UNTIL(rig_stats(&r).rejected_messages == count && rig_stats(&r).open == 0);
	}
	free(text);
	assert_int_equal(rig_stats(&r).messages, 0);
	rig_stop_worker(&r);
	assert_int_equal(rig_waiting(&r), 0);
	assert_true(rig_no_loose(&r));
	rig_stop(&r);
}

static void refused_content(void **state)
{
	struct rig r;
	struct peer p;
	char *text = text_make(2 << 20);

	rig_init(&r);
	r.lp.smtp.size_max = 1 << 20;
	rig_start(&r);
	peer_hello(&p, r.port);
	peer_talk(&p, "MAIL FROM:<a@example.com> SIZE=1048577\r\n", "552 5.3.4");
	/* larger than announced: parts of it are with the queue by then */
	peer_talk(&p, "MAIL FROM:<a@example.com>\r\n", "250");
	peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
	peer_talk(&p, "DATA\r\n", "354");
	assert_true(peer_send(&p, text, 2 << 20));
	peer_talk(&p, ".\r\n", "552 5.3.4");
	/* a bare line feed behind a large beginning */
	peer_talk(&p, "MAIL FROM:<a@example.com>\r\n", "250");
	peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
	peer_talk(&p, "DATA\r\n", "354");
	assert_true(peer_send(&p, text, 1 << 19));
	peer_talk(&p, "bare\nline\r\n.\r\n", "550 5.6.11");
	/* the session goes on */
	peer_talk(&p, "MAIL FROM:<a@example.com>\r\n", "250");
	peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
	peer_talk(&p, "DATA\r\n", "354");
	peer_talk(&p, HEADERS "short\r\n.\r\n", "250 2.0.0");
	peer_close(&p);
	free(text);
	assert_int_equal(rig_waiting(&r), 1);
	assert_int_equal(rig_stats(&r).rejected_messages, 2);
	rig_stop_worker(&r);
	assert_true(rig_no_loose(&r));
	rig_stop(&r);
}

static void full_queue(void **state)
{
	struct rig r;
	struct peer p;
	char *text = text_make(1 << 20);
	unsigned accepted = 0;

	rig_init(&r);
	r.qp.max_size = 16 << 20;
	rig_start(&r);
	peer_hello(&p, r.port);
	for (;;) {
		peer_talk(&p, "MAIL FROM:<a@example.com>\r\n", "250");
		peer_talk(&p, "RCPT TO:<bob@example.net>\r\n", "250");
		peer_talk(&p, "DATA\r\n", "354");
		assert_true(peer_send(&p, text, 1 << 20));
		peer_say(&p, ".\r\n");
		peer_expect(&p, "");
		if (strncmp(p.reply, "250 ", 4) != 0)
			break;
		accepted++;
		assert_true(accepted < 16);
	}
	assert_memory_equal(p.reply, "452 4.3.1", 9);
	assert_true(accepted > 2);
	peer_talk(&p, "NOOP\r\n", "250");
	peer_close(&p);
	free(text);
	assert_int_equal(rig_waiting(&r), accepted);
	rig_stop_worker(&r);
	assert_true(rig_no_loose(&r));
	rig_stop(&r);
}

/* Far over its budget the relay is slow, not stuck. */
static void short_of_memory(void **state)
{
	struct rig r;
	struct peer p[8];
	char *text = text_make(300000);

	rig_init(&r);
	r.wp.body_memory_max = 1;
	rig_start(&r);
	for (int i = 0; i < 8; i++) {
		peer_hello(&p[i], r.port);
		peer_talk(&p[i], "MAIL FROM:<a@example.com>\r\n", "250");
		peer_talk(&p[i], "RCPT TO:<bob@example.net>\r\n", "250");
		peer_talk(&p[i], "DATA\r\n", "354");
	}
	for (int i = 0; i < 8; i++)
		assert_true(peer_send(&p[i], text, i == 7 ? 1000 : 300000));
	/* one leaves while it waits */
	peer_close(&p[7]);
	for (int i = 0; i < 7; i++)
		peer_say(&p[i], ".\r\n");
	for (int i = 0; i < 7; i++) {
		peer_expect(&p[i], "250 2.0.0");
		peer_close(&p[i]);
	}
	free(text);
	assert_int_equal(rig_waiting(&r), 7);
	rig_stop(&r);
}

/* ---- TLS ---- */

static void starttls(void **state)
{
	struct rig r;
	struct peer p;
	struct message *m;
	struct slice c;

	rig_init(&r);
	use_tls(&r);
	rig_start(&r);
	peer_hello(&p, r.port);
	assert_non_null(strstr(p.reply, "250-STARTTLS"));
	/* the second command is sent in clear: nobody may believe it */
	peer_talk(&p, "STARTTLS\r\nMAIL FROM:<mallory@example.com>\r\n", "220 ");
	peer_tls(&p);
	peer_talk(&p, "MAIL FROM:<amy@example.com>\r\n", "503 ");
	peer_talk(&p, "EHLO client.example.test\r\n", "250-");
	assert_null(strstr(p.reply, "STARTTLS"));
	peer_say(&p, ENVELOPE "DATA\r\n");
	peer_expect(&p, "250");
	peer_expect(&p, "250");
	peer_expect(&p, "354");
	peer_talk(&p, HEADERS "secret\r\n.\r\n", "250");
	peer_talk(&p, "QUIT\r\n", "221");
	peer_close(&p);
	m = rig_message(&r);
	assert_string_equal(m->sender, "amy@example.com");
	c = rig_content(&r, m->id);
	assert_non_null(memmem(c.p, c.n, "with ESMTPS", 11));
	free((char *)(uintptr_t)c.p);
	message_unref(m);
	assert_int_equal(rig_stats(&r).tls_sessions, 1);
	rig_stop(&r);
}

static void implicit_tls(void **state)
{
	struct rig r;
	struct peer p;

	rig_init(&r);
	use_tls(&r);
	r.lp.implicit_tls = true;
	rig_start(&r);
	peer_connect(&p, r.port);
	peer_tls(&p);
	peer_expect(&p, "220 ");
	peer_talk(&p, "EHLO c.example.test\r\n", "250-");
	assert_null(strstr(p.reply, "STARTTLS"));
	peer_say(&p, ENVELOPE "DATA\r\n");
	peer_expect(&p, "250");
	peer_expect(&p, "250");
	peer_expect(&p, "354");
	peer_talk(&p, HEADERS ".\r\n", "250");
	peer_close(&p);
	/* who does not speak TLS is dropped */
	peer_connect(&p, r.port);
	peer_say(&p, "EHLO c.example.test\r\n");
	WAIT_UNTIL(rig_stats(&r).open == 0);
	peer_close(&p);
	rig_stop(&r);
}

/* ---- AUTH ---- */

static void auth(void **state)
{
	struct rig r;
	struct peer p;
	struct message *m;

	rig_init(&r);
	use_tls(&r);
	use_users(&r);
	r.lp.nallow = 0;
	r.lp.pool_by_user = true;
	rig_start(&r);
	peer_hello(&p, r.port);
	peer_talk(&p, "MAIL FROM:<amy@example.com>\r\nRCPT TO:<bob@example.net>\r\n", "");
	if (p.reply[0] == '2')
		peer_expect(&p, "5");
	peer_talk(&p, "RSET\r\n", "");
	while (strncmp(p.reply, "250 2.0.0", 9) != 0)
		peer_expect(&p, "");
	peer_talk(&p, "STARTTLS\r\n", "220");
	peer_tls(&p);
	peer_talk(&p, "EHLO c.example.test\r\n", "250-");
	assert_non_null(strstr(p.reply, "AUTH PLAIN LOGIN"));
	peer_talk(&p, "AUTH PLAIN AGFteQB3cm9uZw==\r\n", "535 5.7.8"); /* amy, wrong */
	peer_talk(&p, "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n", "535 5.7.8"); /* bob, secret */
	/* what follows is pipelined behind the check */
	peer_say(&p, "AUTH PLAIN AGFteQBzZWNyZXQ=\r\n" ENVELOPE "DATA\r\n");
	peer_expect(&p, "235 2.7.0");
	peer_expect(&p, "250");
	peer_expect(&p, "250");
	peer_expect(&p, "354");
	peer_talk(&p, HEADERS "x\r\n.\r\n", "250");
	/* a client that leaves during the check */
	peer_close(&p);
	peer_hello(&p, r.port);
	peer_talk(&p, "STARTTLS\r\n", "220");
	peer_tls(&p);
	peer_talk(&p, "EHLO c.example.test\r\n", "250-");
	peer_say(&p, "AUTH PLAIN AGFteQB3cm9uZw==\r\n");
	peer_close(&p);
	m = rig_message(&r);
	assert_string_equal(m->user, "amy");
	assert_string_equal(m->pool, "bulk");
	message_unref(m);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	WAIT_UNTIL(rig_stats(&r).auth_failures == 3);
	rig_stop(&r);
}

/* ---- PROXY ---- */

static void use_proxy(struct rig *r, const char *from, const char *allow)
{
	r->lp.proxy = true;
	r->lp.proxy_from = malloc(sizeof(struct net));
	must(r->lp.proxy_from && net_parse(r->lp.proxy_from, slice_of(from)) == 0);
	r->lp.nproxy_from = 1;
	must(net_parse(r->lp.allow, slice_of(allow)) == 0);
}

static void send_mail(struct peer *p)
{
	peer_say(p, ENVELOPE "DATA\r\n");
	peer_expect(p, "250");
	peer_expect(p, "250");
	peer_expect(p, "354");
	peer_talk(p, HEADERS "x\r\n.\r\n", "250");
}

static void proxy_preface(void **state)
{
	static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
				 "\xc0\0\x02\x07\x7f\0\0\x01\x30\x39\0\x19";
	static const char v1[] =
		"PROXY TCP4 192.0.2.7 127.0.0.1 12345 25\r\nEHLO c.example.test\r\n";
	struct rig r;
	struct peer p;
	struct message *m;

	rig_init(&r);
	use_proxy(&r, "127.0.0.0/8", "192.0.2.0/24");
	rig_start(&r);
	/* in single bytes, with a command in the same segment as the last of them */
	peer_connect(&p, r.port);
	for (size_t i = 0; i < 30; i++) {
		assert_true(peer_send(&p, v1 + i, 1));
		wait_pause();
	}
	assert_true(peer_send(&p, v1 + 30, sizeof(v1) - 1 - 30));
	peer_expect(&p, "220");
	peer_expect(&p, "250-");
	send_mail(&p);
	peer_close(&p);
	m = rig_message(&r);
	assert_string_equal(m->client, "192.0.2.7");
	message_unref(m);
	peer_connect(&p, r.port);
	assert_true(peer_send(&p, v2, sizeof(v2) - 1));
	peer_expect(&p, "220");
	peer_talk(&p, "EHLO c.example.test\r\n", "250-");
	send_mail(&p);
	peer_close(&p);
	/* an address that may not relay */
	peer_connect(&p, r.port);
	peer_say(&p, "PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n");
	peer_expect(&p, "220");
	peer_talk(&p, "EHLO c.example.test\r\n", "250-");
	peer_say(&p, ENVELOPE "QUIT\r\n");
	do
		peer_expect(&p, "");
	while (p.reply[0] == '2' && strncmp(p.reply, "221", 3) != 0);
	assert_int_equal(p.reply[0], '5');
	peer_close(&p);
	/* no preface */
	peer_connect(&p, r.port);
	peer_say(&p, "EHLO c.example.test\r\n");
	peer_expect_end(&p);
	peer_close(&p);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	/* an unfinished one at the end of the worker */
	peer_connect(&p, r.port);
	peer_say(&p, "PROXY TCP4 ");
	WAIT_UNTIL(rig_stats(&r).open == 1);
	rig_stop(&r);
	peer_close(&p);
}

static void proxy_of_a_stranger(void **state)
{
	struct rig r;
	struct peer p;

	rig_init(&r);
	use_proxy(&r, "192.0.2.0/24", "127.0.0.0/8");
	rig_start(&r);
	peer_connect(&p, r.port);
	peer_expect_end(&p);
	peer_close(&p);
	rig_stop(&r);
}

/* The hello of TLS may come in the same segment as the preface. */
static void proxy_then_tls(void **state)
{
	struct rig r;
	struct peer p;
	BIO *out = BIO_new(BIO_s_mem()), *none = BIO_new(BIO_s_mem());
	char first[4096] = "PROXY TCP4 192.0.2.7 127.0.0.1 12345 25\r\n";
	size_t n = strlen(first);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	int k;

	rig_init(&r);
	use_tls(&r);
	use_proxy(&r, "127.0.0.0/8", "192.0.2.0/24");
	r.lp.implicit_tls = true;
	rig_start(&r);
	SSL_set_bio(ssl, none, out);
	assert_int_equal(SSL_connect(ssl), -1);
	k = BIO_read(out, first + n, (int)(sizeof(first) - n));
	assert_true(k > 0);
	peer_connect(&p, r.port);
	assert_true(peer_send(&p, first, n + (size_t)k));
	/* the server's hello shows that ours arrived whole: a handshake record */
	assert_true(peer_read(&p, first, 1));
	assert_int_equal(first[0], 22);
	peer_close(&p);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_session_in_one_write),
		cmocka_unit_test(chunks),
		cmocka_unit_test(streamed),
		cmocka_unit_test(drop_leaves_nothing),
		cmocka_unit_test(refused_content),
		cmocka_unit_test(full_queue),
		cmocka_unit_test(short_of_memory),
		cmocka_unit_test(starttls),
		cmocka_unit_test(implicit_tls),
		cmocka_unit_test(auth),
		cmocka_unit_test(proxy_preface),
		cmocka_unit_test(proxy_of_a_stranger),
		cmocka_unit_test(proxy_then_tls),
	};
	FILE *f;
	int r;

	certificates_make(&files);
	snprintf(users_path, sizeof(users_path), "%s/users", files.dir);
	f = fopen(users_path, "w");
	must(f && fputs(users_text, f) >= 0 && fclose(f) == 0);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(users_path);
	certificates_remove(&files);
	return r;
}
