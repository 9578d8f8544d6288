/* Notifications: parts, fields, what of others' text gets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/dsn.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char original[] =
	"Received: from a by b\r\nSubject: hello\r\nMessage-ID: <1@y.example>\r\n\r\nthe body\r\n";

struct fixture {
	struct message m;
	struct recipient rcpt[3];
	struct dsn_recipient r[3];
	struct dsn_params p;
	struct message *made;
	char *text;
};

static void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->m.id = 77;
	f->m.arrived = 1000000000000;
	f->m.expires = f->m.arrived + 172800000;
	f->m.sender = "Sender@Y.Example";
	f->m.pool = "main";
	f->m.message_id = "<1@y.example>";
	f->m.tag = "spring";
	f->m.size = sizeof(original) - 1;
	for (size_t i = 0; i < COUNT(f->rcpt); i++) {
		static const char *const names[] = { "a@x.example", "b@x.example", "c@x.example" };

		f->rcpt[i].address = names[i];
		f->r[i] = (struct dsn_recipient){ .recipient = &f->rcpt[i],
			.action = DSN_FAILED,
			.status = "5.1.1",
			.remote_mta = "mx.x.example",
			.diagnostic = "550 5.1.1 User unknown",
			.last_attempt = 1000000060000 };
	}
	f->p = (struct dsn_params){
		.hostname = "out.example.net", .id = 99, .wall = 1000000061000
	};
}

static void build(struct fixture *f, size_t n, struct slice content)
{
	size_t at = 0;

	assert_int_equal(dsn_build(&f->made, &f->m, f->r, n, content, &f->p), 0);
	f->text = calloc(1, f->made->size + 1);
	assert_non_null(f->text);
	for (struct body_block *k = f->made->body->first; k; k = k->next) {
		memcpy(f->text + at, k->data, k->len);
		at += k->len;
	}
	assert_int_equal(at, f->made->size);
}

static void fixture_deinit(struct fixture *f)
{
	free(f->text);
	message_unref(f->made);
}

static void has(const struct fixture *f, const char *s)
{
	if (!strstr(f->text, s))
		fail_msg("not in it: %s\n%s", s, f->text);
}

static void has_not(const struct fixture *f, const char *s)
{
	if (strstr(f->text, s))
		fail_msg("in it: %s\n%s", s, f->text);
}

static void lines_good(const struct fixture *f)
{
	const char *s = f->text;

	while (*s) {
		size_t n = strcspn(s, "\r\n");

		assert_true(n <= 998);
		assert_true(s[n] == '\r' && s[n + 1] == '\n');
		s += n + 2;
	}
}

static unsigned count(const char *text, const char *s)
{
	unsigned n = 0;

	for (; (text = strstr(text, s)); text += strlen(s))
		n++;
	return n;
}

static void test_wanted(void **state)
{
	static const struct {
		const char *sender;
		uint8_t notify;
		bool failed, delayed, delivered;
	} t[] = {
		{ "s@y", NOTIFY_DEFAULT, true, true, false },
		{ "s@y", NOTIFY_NEVER, false, false, false },
		{ "s@y", NOTIFY_SUCCESS, false, false, true },
		{ "s@y", NOTIFY_FAILURE, true, false, false },
		{ "s@y", NOTIFY_DELAY, false, true, false },
		{ "s@y", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, true, true, true },
		{ "", NOTIFY_DEFAULT, false, false, false },
		{ "", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, false, false, false },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct message m = { .sender = t[i].sender };
		struct recipient r = { .notify = t[i].notify };

		assert_int_equal(dsn_wanted(&m, &r, DSN_FAILED), t[i].failed);
		assert_int_equal(dsn_wanted(&m, &r, DSN_DELAYED), t[i].delayed);
		assert_int_equal(dsn_wanted(&m, &r, DSN_DELIVERED), t[i].delivered);
		assert_int_equal(dsn_wanted(&m, &r, DSN_RELAYED), t[i].delivered);
	}
}

static void test_failed(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.m.envid = "env+1";
	f.rcpt[0].orcpt = "rfc822;orig@z.example";
	f.r[1].status = NULL;
	f.r[1].remote_mta = NULL;
	f.r[1].diagnostic = NULL;
	f.r[1].reason = "The message was tried for two days.";
	build(&f, 2, SLICE_LIT(original));
	assert_string_equal(f.made->sender, "");
	assert_int_equal(f.made->nrecipients, 1);
	assert_string_equal(f.made->recipients[0].address, "Sender@Y.Example");
	assert_string_equal(f.made->recipients[0].domain, "y.example");
	assert_string_equal(f.made->pool, "main");
	assert_int_equal(f.made->id, 99);
	assert_int_equal(f.made->flags, MESSAGE_FROM_RELAY);
	assert_int_equal(f.made->expires - f.made->arrived, 172800000);
	assert_true(f.made->body->sealed);
	has(&f, "From: Mail Delivery System <MAILER-DAEMON@out.example.net>\r\n");
	has(&f, "To: <Sender@Y.Example>\r\n");
	has(&f, "Auto-Submitted: auto-replied\r\n");
	has(&f, "In-Reply-To: <1@y.example>\r\n");
	has(&f, "Content-Type: multipart/report; report-type=delivery-status;\r\n");
	has(&f, "\r\nOriginal-Envelope-Id: env+1\r\nReporting-MTA: dns; "
		"out.example.net\r\nArrival-Date: Sun, 9 Sep 2001 01:46:40 +0000\r\n"
		"X-Postern-Queue-ID: 000000000002d\r\nX-Postern-Message-ID: <1@y.example>\r\n\r\n");
	has(&f, "    Message-ID: <1@y.example>\r\n    Envelope-ID: env+1\r\n    Queue-ID: 000000000002d\r\n");
	assert_string_equal(f.made->about, "000000000002d");
	assert_string_equal(f.made->about_message_id, "<1@y.example>");
	assert_string_equal(f.made->tag, "spring");
	has(&f, "Original-Recipient: rfc822;orig@z.example\r\nFinal-Recipient: rfc822; "
		"a@x.example\r\nAction: failed\r\n"
		"Status: 5.1.1\r\nRemote-MTA: dns; mx.x.example\r\nDiagnostic-Code: smtp; 550 "
		"5.1.1 User unknown\r\n"
		"Last-Attempt-Date: ");
	has(&f, "Final-Recipient: rfc822; b@x.example\r\nAction: failed\r\nStatus: "
		"5.0.0\r\nLast-Attempt-Date: ");
	has(&f, "<a@x.example>\r\n    The host mx.x.example said:\r\n      550 5.1.1 User "
		"unknown\r\n    What you can do: Check the");
	has(&f, "    The message was tried for two days.\r\n");
	has(&f, "Content-Type: text/rfc822-headers\r\n\r\nReceived: from a by b\r\nSubject: "
		"hello\r\n");
	has_not(&f, "the body");
	lines_good(&f);
	fixture_deinit(&f);
}

/* What to do about a dead address is said of the address, also when its code is one of routing. */
static void test_advice(void **state)
{
	static const struct {
		const char *status, *advice;
		bool address_invalid;
	} t[] = {
		{ "5.4.1", "Check the address", true },
		{ "5.4.4", "The recipient's mail system is not set up", false },
		{ "5.5.0", "Check the address", true },
		{ "5.7.133", "The receiving host refused", true },
		{ "5.2.1", "The mailbox does not accept mail", true },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct fixture f;
		char want[100];

		fixture_init(&f);
		f.r[0].status = t[i].status;
		f.r[0].address_invalid = t[i].address_invalid;
		build(&f, 1, SLICE_LIT(original));
		(void)snprintf(want, sizeof(want), "What you can do: %s", t[i].advice);
		has(&f, want);
		fixture_deinit(&f);
	}
}

static void test_return(void **state)
{
	static const struct {
		const char *name;
		enum dsn_ret ret;
		enum dsn_action action;
		uint64_t max, given, size;
		bool full;
	} t[] = {
		{ "full", RET_FULL, DSN_FAILED, 0, 0, 0, true },
		{ "headers", RET_HDRS, DSN_FAILED, 0, 0, 0, false },
		{ "not said", RET_UNSET, DSN_FAILED, 0, 0, 0, false },
		{ "delays never", RET_FULL, DSN_DELAYED, 0, 0, 0, false },
		{ "too large", RET_FULL, DSN_FAILED, 70, 0, 0, false },
		{ "not all given", RET_FULL, DSN_FAILED, 0, 70, 0, false },
		{ "larger than the default", RET_FULL, DSN_FAILED, 0, 0, 70000, false },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct fixture f;
		struct slice content = SLICE_LIT(original);

		print_message("  %s\n", t[i].name);
		fixture_init(&f);
		f.m.ret = (uint8_t)t[i].ret;
		f.r[0].action = t[i].action;
		f.p.return_max = t[i].max;
		if (t[i].given)
			content.n = t[i].given;
		if (t[i].size)
			f.m.size = t[i].size;
		build(&f, 1, content);
		has(&f, "Subject: hello\r\n");
		has(&f, t[i].full ? "Content-Type: message/rfc822\r\n\r\nReceived:"
				  : "Content-Type: text/rfc822-headers\r\n");
		assert_int_equal(count(f.text, "the body"), t[i].full);
		lines_good(&f);
		fixture_deinit(&f);
	}
}

static void test_delayed(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.r[0].action = DSN_DELAYED;
	f.r[0].status = "4.7.500";
	f.r[0].will_retry_until = f.m.expires;
	build(&f, 1, SLICE_LIT(original));
	has(&f, "Subject: Delayed mail");
	has(&f, "Action: delayed\r\nStatus: 4.7.500\r\n");
	has(&f, "Will-Retry-Until: Tue, 11 Sep 2001 01:46:40 +0000\r\n");
	has(&f, "It is tried until Tue, 11 Sep 2001 01:46:40 +0000");
	fixture_deinit(&f);
}

static void test_mixed(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.r[1].action = DSN_RELAYED;
	f.r[1].status = "2.0.0";
	f.r[2].action = DSN_DELIVERED;
	f.r[2].status = "no status";
	build(&f, 3, SLICE_LIT(original));
	has(&f, "Subject: Delivery report\r\n");
	has(&f, "Action: failed\r\nStatus: 5.1.1\r\n");
	has(&f, "Action: relayed\r\nStatus: 2.0.0\r\n");
	has(&f, "Action: delivered\r\nStatus: 2.0.0\r\n");
	fixture_deinit(&f);
}

/* Nothing that others say gets out of its field. */
static void test_injection(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.m.envid = "e\r\nY-Envid: 1";
	f.m.message_id = "<a\r\nY-Id: 1>";
	f.m.sender = "s\r\nY-Sender: 1@y.example";
	f.rcpt[0].address = "a\r\nY-Rcpt: 1@x.example";
	f.rcpt[0].orcpt = "rfc822;a\r\n\r\nY-Orcpt: 1";
	f.rcpt[1].orcpt = "no type";
	f.r[0].remote_mta = "mx\r\nY-Mta: 1";
	f.r[0].diagnostic = "550 no\r\n\r\n--=_x\r\nY-Diag: 1";
	f.r[0].status = "5.1.1\r\nY-Status: 1";
	f.r[0].reason = "r\r\nY-Reason: 1";
	build(&f, 2, SLICE_LIT(original));
	has_not(&f, "\nY-");
	has_not(&f, "\n--=_x");
	has(&f, "Status: 5.0.0\r\n");
	assert_int_equal(count(f.text, "Original-Recipient"), 1);
	assert_int_equal(count(f.text, "In-Reply-To"), 0);
	lines_good(&f);
	fixture_deinit(&f);
}

static void test_long_text(void **state)
{
	static char words[3000], one[3000];
	struct fixture f;

	for (size_t i = 0; i < sizeof(words) - 1; i++)
		words[i] = i % 10 == 9 ? ' ' : 'w';
	memset(one, 'x', sizeof(one) - 1);
	fixture_init(&f);
	f.r[0].diagnostic = words;
	f.r[0].reason = one;
	f.r[1].diagnostic = one;
	build(&f, 2, SLICE_LIT(original));
	has(&f, "Diagnostic-Code: smtp; wwwwwwwww wwwwwwwww");
	lines_good(&f);
	fixture_deinit(&f);
}

static void test_utf8(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.m.flags = MESSAGE_SMTPUTF8;
	f.m.sender = "\xc3\xa9@y.example";
	f.rcpt[0].address = "\xc3\xbc@x.example";
	f.r[0].diagnostic = "550 5.1.1 Empf\xc3\xa4nger unbekannt";
	f.r[1].diagnostic = "550 5.1.1 Empf\xe4nger unbekannt";
	f.p.sender_domain = "xn--y.example";
	build(&f, 2, SLICE_LIT(original));
	has(&f, "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: "
		"8bit\r\n");
	has(&f, "Content-Type: message/global-headers\r\n");
	has(&f, "Content-Type: text/plain; charset=utf-8\r\n");
	has(&f, "Final-Recipient: utf-8; \xc3\xbc@x.example\r\n");
	has(&f, "smtp; 550 5.1.1 Empf\xc3\xa4nger unbekannt\r\n");
	has(&f, "smtp; 550 5.1.1 Empf?nger unbekannt\r\n");
	assert_int_equal(
		f.made->flags, MESSAGE_FROM_RELAY | MESSAGE_SMTPUTF8 | MESSAGE_8BIT_CONTENT);
	assert_int_equal(f.made->body_type, BODY_8BITMIME);
	assert_string_equal(f.made->recipients[0].domain, "xn--y.example");
	fixture_deinit(&f);

	/* without SMTPUTF8 no byte over 127 leaves in our own words */
	fixture_init(&f);
	f.r[0].diagnostic = "550 5.1.1 Empf\xc3\xa4nger unbekannt";
	build(&f, 1, SLICE_LIT(original));
	has(&f, "smtp; 550 5.1.1 Empf??nger unbekannt\r\n");
	assert_int_equal(f.made->flags, MESSAGE_FROM_RELAY);
	fixture_deinit(&f);
}

static void test_odd_originals(void **state)
{
	static const struct {
		const char *name, *text;
		size_t n;
		const char *has;
	} t[] = {
		{ "none", "", 0, "Content-Type: text/rfc822-headers\r\n\r\n\r\n--=_" },
		{ "bare LF", "A: 1\r\nB: 2\nC: 3\r\n", 17, "\r\n\r\nA: 1\r\n\r\n--=_" },
		{ "bare CR", "A: 1\r\nB: \r2\r\n", 13, "\r\n\r\nA: 1\r\n\r\n--=_" },
		{ "NUL",
			"A: 1\r\nB: \0"
			"2\r\n",
			13, "\r\n\r\nA: 1\r\n\r\n--=_" },
		{ "header cut off", "A: 1\r\nB: 2", 10, "\r\n\r\nA: 1\r\n\r\n--=_" },
		{ "8-bit", "A: \xe4\r\n\r\n", 8,
			"text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA: "
			"\xe4\r\n" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct fixture f;

		print_message("  %s\n", t[i].name);
		fixture_init(&f);
		f.m.ret = RET_FULL;
		f.m.size = t[i].n + 1;
		build(&f, 1, (struct slice){ t[i].text, t[i].n });
		has(&f, t[i].has);
		lines_good(&f);
		fixture_deinit(&f);
	}
}

/* A message that holds our boundary does not end its part. */
static void test_boundary(void **state)
{
	static char text[200];
	struct fixture f;
	const char *at;

	fixture_init(&f);
	build(&f, 1, SLICE_LIT(original));
	at = strstr(f.text, "boundary=\"");
	assert_non_null(at);
	snprintf(text, sizeof(text), "A: --%.*s\r\n\r\n", (int)strcspn(at + 10, "\""), at + 10);
	fixture_deinit(&f);

	fixture_init(&f);
	build(&f, 1, slice_of(text));
	at = strstr(f.text, "boundary=\"") + 10;
	assert_int_not_equal(strncmp(at, text + 5, strcspn(at, "\"")), 0);
	fixture_deinit(&f);
}

static void test_literal(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.m.sender = "s@[IPv6:2001:DB8::1]";
	build(&f, 1, SLICE_LIT(original));
	assert_string_equal(f.made->recipients[0].domain, "[IPv6:2001:db8::1]");
	fixture_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_advice),
		cmocka_unit_test(test_return),
		cmocka_unit_test(test_delayed),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_odd_originals),
		cmocka_unit_test(test_boundary),
		cmocka_unit_test(test_literal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
