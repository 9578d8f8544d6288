/* Command lines: syntax, parameters, paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "postern/smtp_command.h"

#define A10  "0123456789"
#define A50  A10 A10 A10 A10 A10
#define A250 A50 A50 A50 A50 A50

static const struct {
	const char *line;
	enum smtp_verb verb;
	enum smtp_syntax syntax;
} lines[] = {
	{ "EHLO client.example", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "ehlo client.example  ", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "HELO [192.0.2.1]", SMTP_HELO, SMTP_SYNTAX_OK },
	{ "EHLO [IPv6:fe80::1%eth0]", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO WIN_HOST-1", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO", SMTP_EHLO, SMTP_SYNTAX_ARGUMENT },
	{ "EHLO ", SMTP_EHLO, SMTP_SYNTAX_ARGUMENT },
	{ "EHLO two words", SMTP_EHLO, SMTP_SYNTAX_ARGUMENT },
	{ "EHLO a(b", SMTP_EHLO, SMTP_SYNTAX_ARGUMENT },
	{ "EHLO m\xc3\xbcller.example", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO b\xfcro-pc", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO client.example.", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO  client.example", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO\tclient.example", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO a\tb", SMTP_EHLO, SMTP_SYNTAX_ARGUMENT },
	{ "EHLO " A250 "01234", SMTP_EHLO, SMTP_SYNTAX_OK },
	{ "EHLO " A250 "012345", SMTP_EHLO, SMTP_SYNTAX_ARGUMENT },

	{ "MAIL FROM:<a@b.example>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "mail from:<a@b.example>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM: <a@b.example>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<@x.example,@y.example:a@b.example>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<@x.example,:a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:<@:a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:<\"a>b\"@c.example>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<\"a\\\"b>\"@c.example> SIZE=1", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:<\"a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:a@b.example", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "mail  from :  a@b.example  SIZE=1", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:\t<a@b.example>\tSIZE=1", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:< a@b.example >", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:< >", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:A B <a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:\"a b\"@c.example", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:SIZE=1", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM<a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example.>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<@x.example.,@y.example.:a@b.example.>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example..>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:<a..b@docomo.example>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> SIZE=0", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> BODY=8BITMIME BODY=7BIT", SMTP_MAIL, SMTP_SYNTAX_DUPLICATE },
	{ "MAIL FROM:<a@b.example> BODY=", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> body=7bit", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:<postmaster>", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL TO:<a@b.example>", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example>SIZE=1", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> SIZE=12", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example>  SIZE=12  BODY=7BIT", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> SIZE=", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> SIZE", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> SIZE=-1", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> SIZE=99999999999999999999999", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> SIZE=1 size=2", SMTP_MAIL, SMTP_SYNTAX_DUPLICATE },
	{ "MAIL FROM:<a@b.example> BODY=8bitmime", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> BODY=9BIT", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> BODY", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> SMTPUTF8", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> SMTPUTF8=1", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> SMTPUTF8=", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<\xc3\xa9@b.example> SMTPUTF8", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<\xc3\xa9@b.example>", SMTP_MAIL, SMTP_SYNTAX_NON_ASCII },
	{ "MAIL FROM:<\xc3@b.example> SMTPUTF8", SMTP_MAIL, SMTP_SYNTAX_ADDRESS },
	{ "MAIL FROM:<a@b.example> RET=HDRS ENVID=a+2Bb", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> RET=NONE", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> ENVID=", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> ENVID=a+2", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> ENVID=a+0Ab", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> ENVID=a+C3+A9", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> ENVID=a=b", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> ENVID=" A50 A50, SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> ENVID=" A50 A50 "x", SMTP_MAIL, SMTP_SYNTAX_ARGUMENT },
	{ "MAIL FROM:<a@b.example> AUTH=<>", SMTP_MAIL, SMTP_SYNTAX_OK },
	{ "MAIL FROM:<a@b.example> NOTIFY=NEVER", SMTP_MAIL, SMTP_SYNTAX_PARAMETER },
	{ "MAIL FROM:<a@b.example> FOO=1", SMTP_MAIL, SMTP_SYNTAX_PARAMETER },
	{ "MAIL FROM:<a@b.example> =", SMTP_MAIL, SMTP_SYNTAX_PARAMETER },

	{ "RCPT TO:<a@b.example>", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<>", SMTP_RCPT, SMTP_SYNTAX_ADDRESS },
	{ "RCPT TO:<PostMaster>", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a>", SMTP_RCPT, SMTP_SYNTAX_ADDRESS },
	{ "RCPT TO:postmaster", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "rcpt to: <POSTMASTER>", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<postmaster.>", SMTP_RCPT, SMTP_SYNTAX_ADDRESS },
	{ "RCPT TO:<a@[192.0.2.1].>", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a@[192.0.2.1]>", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT FROM:<a@b.example>", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> NOTIFY=NEVER", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a@b.example> NOTIFY=success,Delay,FAILURE", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> NOTIFY=", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> NOTIFY", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> NOTIFY=DELAY,", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> NOTIFY=DELAY NOTIFY=DELAY", SMTP_RCPT, SMTP_SYNTAX_DUPLICATE },
	{ "RCPT TO:<a@b.example> ORCPT=rfc822;a+2Bc@b.example", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a@b.example> ORCPT=rfc822;", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> ORCPT=;a@b.example", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> ORCPT=a@b.example", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> ORCPT=rfc822;a+0D+0Ab", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> ORCPT=rfc822;\xc3\xa9@b", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> ORCPT=utf-8;\xc3\xa9@b", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a@b.example> ORCPT=utf-8;\\x{E9}@b", SMTP_RCPT, SMTP_SYNTAX_OK },
	{ "RCPT TO:<a@b.example> ORCPT=utf-8;\xc3@b", SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> ORCPT=rfc822;" A250 A250, SMTP_RCPT, SMTP_SYNTAX_ARGUMENT },
	{ "RCPT TO:<a@b.example> SIZE=1", SMTP_RCPT, SMTP_SYNTAX_PARAMETER },

	{ "DATA", SMTP_DATA, SMTP_SYNTAX_OK },
	{ "data \t ", SMTP_DATA, SMTP_SYNTAX_OK },
	{ "DATA x", SMTP_DATA, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT 0", SMTP_BDAT, SMTP_SYNTAX_OK },
	{ "BDAT 12 LAST", SMTP_BDAT, SMTP_SYNTAX_OK },
	{ "bdat 12 last", SMTP_BDAT, SMTP_SYNTAX_OK },
	{ "BDAT", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT LAST", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT -1", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT 0x10", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT 12 FIRST", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT 12 LAST x", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "BDAT 18446744073709551615", SMTP_BDAT, SMTP_SYNTAX_OK },
	{ "BDAT 18446744073709551616", SMTP_BDAT, SMTP_SYNTAX_ARGUMENT },
	{ "AUTH PLAIN", SMTP_AUTH, SMTP_SYNTAX_OK },
	{ "AUTH PLAIN =", SMTP_AUTH, SMTP_SYNTAX_OK },
	{ "AUTH", SMTP_AUTH, SMTP_SYNTAX_ARGUMENT },
	{ "AUTH PLAIN a b", SMTP_AUTH, SMTP_SYNTAX_ARGUMENT },
	{ "AUTH ABCDEFGHIJKLMNOPQRSTU", SMTP_AUTH, SMTP_SYNTAX_ARGUMENT },
	{ "RSET", SMTP_RSET, SMTP_SYNTAX_OK },
	{ "RSET x", SMTP_RSET, SMTP_SYNTAX_ARGUMENT },
	{ "QUIT", SMTP_QUIT, SMTP_SYNTAX_OK },
	{ "QUIT x", SMTP_QUIT, SMTP_SYNTAX_ARGUMENT },
	{ "STARTTLS", SMTP_STARTTLS, SMTP_SYNTAX_OK },
	{ "STARTTLS x", SMTP_STARTTLS, SMTP_SYNTAX_ARGUMENT },
	{ "NOOP", SMTP_NOOP, SMTP_SYNTAX_OK },
	{ "NOOP anything at all", SMTP_NOOP, SMTP_SYNTAX_OK },
	{ "NOOP a\tb", SMTP_NOOP, SMTP_SYNTAX_OK },
	{ "NOOP a\rb", SMTP_NOOP, SMTP_SYNTAX_CONTROL },
	{ "VRFY someone", SMTP_VRFY, SMTP_SYNTAX_OK },
	{ "VRFY", SMTP_VRFY, SMTP_SYNTAX_ARGUMENT },
	{ "EXPN", SMTP_EXPN, SMTP_SYNTAX_ARGUMENT },
	{ "HELP me", SMTP_HELP, SMTP_SYNTAX_OK },
	{ "", SMTP_UNKNOWN, SMTP_SYNTAX_UNKNOWN },
	{ " NOOP", SMTP_UNKNOWN, SMTP_SYNTAX_UNKNOWN },
	{ "UNKNOWN", SMTP_UNKNOWN, SMTP_SYNTAX_UNKNOWN },
	{ "GET / HTTP/1.1", SMTP_UNKNOWN, SMTP_SYNTAX_UNKNOWN },
	{ "\xff\xfe", SMTP_UNKNOWN, SMTP_SYNTAX_UNKNOWN },
};

static void test_syntax(void **state)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct smtp_command c;

		smtp_command_parse(&c, slice_of(lines[i].line));
		if (c.verb != lines[i].verb || c.syntax != lines[i].syntax)
			fail_msg("\"%s\": %s, syntax %d", lines[i].line, smtp_verb_name(c.verb),
				c.syntax);
		if (c.syntax != SMTP_SYNTAX_OK) {
			const char *reply = smtp_command_reply(&c);

			assert_int_equal(reply[0], '5');
			assert_memory_equal(reply + 3, " 5.", 3);
		}
	}
}

static void test_nul(void **state)
{
	struct smtp_command c;

	smtp_command_parse(&c, SLICE_LIT("NOOP a\0b"));
	assert_int_equal(c.verb, SMTP_NOOP);
	assert_int_equal(c.syntax, SMTP_SYNTAX_CONTROL);
	smtp_command_parse(&c, SLICE_LIT("BDAT 1\0002"));
	assert_int_equal(c.verb, SMTP_BDAT);
	assert_int_equal(c.syntax, SMTP_SYNTAX_CONTROL);
}

static void assert_slice(struct slice s, const char *text)
{
	if (!slice_eq(s, slice_of(text)))
		fail_msg("\"%.*s\" is not \"%s\"", (int)s.n, s.p, text);
}

static void test_values(void **state)
{
	struct smtp_command c;

	smtp_command_parse(&c,
		SLICE_LIT("MAIL FROM:<@r.example:\"j d\"@Host.example> SIZE=123 BODY=BINARYMIME "
			  "SMTPUTF8 RET=FULL ENVID=a+2Bb AUTH=x"));
	assert_int_equal(c.syntax, SMTP_SYNTAX_OK);
	assert_slice(c.path.address, "\"j d\"@Host.example");
	assert_slice(c.path.local, "\"j d\"");
	assert_slice(c.path.domain, "Host.example");
	assert_true(c.size_given && c.smtputf8 && c.auth_param && !c.path.utf8);
	assert_int_equal(c.size, 123);
	assert_int_equal(c.body, BODY_BINARYMIME);
	assert_int_equal(c.ret, RET_FULL);
	assert_slice(c.envid, "a+2Bb");

	smtp_command_parse(&c, SLICE_LIT("MAIL FROM:<> SIZE=99999999999999999999"));
	assert_int_equal(c.path.address.n, 0);
	assert_true(c.size == UINT64_MAX);
	assert_null(c.envid.p);

	smtp_command_parse(
		&c, SLICE_LIT("RCPT TO:<a@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y"));
	assert_int_equal(c.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_slice(c.orcpt, "rfc822;x@y");

	smtp_command_parse(&c, SLICE_LIT("BDAT 77 LAST"));
	assert_true(c.last && c.size == 77);
	smtp_command_parse(&c, SLICE_LIT("BDAT 78"));
	assert_true(!c.last && c.size == 78);

	smtp_command_parse(&c, SLICE_LIT("AUTH PLAIN AGEAYg=="));
	assert_slice(c.argument, "PLAIN");
	assert_slice(c.initial, "AGEAYg==");
	smtp_command_parse(&c, SLICE_LIT("AUTH LOGIN"));
	assert_null(c.initial.p);
}

static const struct {
	const char *text;
	int result; /* 0, -1, or 1: only where postmaster alone is allowed */
} mailboxes[] = {
	{ "a@b", 0 },
	{ "a.b.c@d.example", 0 },
	{ "!#$%&'*+-/=?^_`{|}~@d.example", 0 },
	{ "\"\"@d.example", 0 },
	{ "\"a b@c\"@d.example", 0 },
	{ "\"a\\\"b\"@d.example", 0 },
	{ "\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.example", 0 },
	{ "a@x_y.example", 0 },
	{ "a@[192.0.2.1]", 0 },
	{ "a@[IPv6:2001:db8::1]", 0 },
	{ "a@[ipv6:2001:db8::1]", 0 },
	{ A50 A50 A10 A10 "@d.example", 0 },
	{ A250 "01234@d.example", 0 },
	{ A250 "012345@d.example", -1 },
	{ "postmaster", 1 },
	{ "POSTMASTER", 1 },
	{ "postmasters", -1 },
	{ "", -1 },
	{ "@d.example", -1 },
	{ "a@", -1 },
	{ "a", -1 },
	{ "a b@d.example", -1 },
	{ ".a@d.example", 0 },
	{ "a.@d.example", 0 },
	{ "a..b@d.example", 0 },
	{ ".@d.example", -1 },
	{ "..@d.example", -1 },
	{ "a@@d.example", -1 },
	{ "a@b@d.example", -1 },
	{ "\"a@d.example", -1 },
	{ "\"a\"b@d.example", -1 },
	{ "\"a\x01\"@d.example", -1 },
	{ "\"a\\\x01\"@d.example", -1 },
	{ "\"a\\", -1 },
	{ "a(c)@d.example", -1 },
	{ "a@-d.example", -1 },
	{ "a@d-.example", -1 },
	{ "a@d..example", -1 },
	{ "a@.example", -1 },
	{ "a@d.example.", 0 },
	{ "a@d.example..", -1 },
	{ "a@.", -1 },
	{ "postmaster.", -1 },
	{ "a@d!example", -1 },
	{ "a@192.0.2.1", -1 },
	{ "a@123", -1 },
	{ "a@1.2.3.4a", 0 },
	{ "a@" A50 "0123456789012.example", 0 },
	{ "a@" A50 "01234567890123.example", -1 },
	{ "a@[192.0.2.1", -1 },
	{ "a@[192.0.2.256]", -1 },
	{ "a@[2001:db8::1]", -1 },
	{ "a@[IPv6:192.0.2.1]", -1 },
	{ "a@[]", -1 },
	{ "a@[x-tag:foo]", -1 },
	{ "\xc3@d.example", -1 },
	{ "a@\xc3.example", -1 },
	{ "a@\xc3.\xa9.example", -1 },
};

static void test_mailboxes(void **state)
{
	for (size_t i = 0; i < sizeof(mailboxes) / sizeof(mailboxes[0]); i++) {
		struct smtp_path path;
		int strict = smtp_mailbox_parse(&path, slice_of(mailboxes[i].text), false);
		int lax = smtp_mailbox_parse(&path, slice_of(mailboxes[i].text), true);

		if ((strict == 0) != (mailboxes[i].result == 0) ||
			(lax == 0) != (mailboxes[i].result >= 0))
			fail_msg("\"%s\": %d, %d", mailboxes[i].text, strict, lax);
	}
}

/* What is accepted though RFC 5321 has it otherwise is marked, and dots of the root are gone. */
static void test_lax(void **state)
{
	static const struct {
		const char *line, *address, *domain;
		bool lax;
	} rows[] = {
		{ "RCPT TO:<a.b@c.example>", "a.b@c.example", "c.example", false },
		{ "RCPT TO: <a@c.example.>", "a@c.example", "c.example", false },
		{ "RCPT TO:<\"a..b\"@c.example>", "\"a..b\"@c.example", "c.example", false },
		{ "RCPT TO:<PostMaster>", "PostMaster", "", false },
		{ "RCPT TO:<a..b@c.example>", "a..b@c.example", "c.example", true },
		{ "RCPT TO:<.a@c.example.>", ".a@c.example", "c.example", true },
		{ "RCPT TO:<a.@c.example>", "a.@c.example", "c.example", true },
		{ "RCPT TO:a@c.example NOTIFY=NEVER", "a@c.example", "c.example", true },
		{ "RCPT TO:< a@c.example>", "a@c.example", "c.example", true },
		{ "RCPT TO:<@x.example:a@C.example.>", "a@C.example", "C.example", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smtp_command c;

		smtp_command_parse(&c, slice_of(rows[i].line));
		assert_int_equal(c.syntax, SMTP_SYNTAX_OK);
		assert_slice(c.path.address, rows[i].address);
		assert_slice(c.path.domain, rows[i].domain);
		if (c.path.lax != rows[i].lax)
			fail_msg("%s", rows[i].line);
	}
}

static void test_longest_domain(void **state)
{
	char text[300];
	size_t n = 0;

	while (n < 250)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "abcd.");
	memcpy(text + n, "abcde", 6);
	assert_true(smtp_domain_valid((struct slice){ text, 255 }));
	memcpy(text + n, "abcdef", 7);
	assert_false(smtp_domain_valid((struct slice){ text, 256 }));
	assert_false(smtp_domain_valid((struct slice){ NULL, 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_lax),
		cmocka_unit_test(test_longest_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
