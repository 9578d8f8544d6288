/* The outbound machine: what a message asks of the host, what that cannot do, and what is to blame
 * when a host that offers something does not do it. */
#include <errno.h>

#include "client_rig.h"

/* ---- parameters and our own findings ---- */

static void too_large(struct message *m, struct recipient *r)
{
	m->size = 1000001;
}

static void large(struct message *m, struct recipient *r)
{
	m->size = 5u << 20;
}

static void binary(struct message *m, struct recipient *r)
{
	m->body_type = BODY_BINARYMIME;
}

static void eight_bit(struct message *m, struct recipient *r)
{
	m->flags = MESSAGE_8BIT_CONTENT | MESSAGE_SMTPUTF8;
}

static void utf8_recipient(struct message *m, struct recipient *r)
{
	m->flags = MESSAGE_SMTPUTF8;
	r[1].address = "\xc3\xa9@x.example";
}

static void utf8_sender(struct message *m, struct recipient *r)
{
	m->sender = "\xc3\xa9@y.example";
}

static void utf8_flag_only(struct message *m, struct recipient *r)
{
	m->flags = MESSAGE_SMTPUTF8;
}

static void dsn(struct message *m, struct recipient *r)
{
	m->ret = RET_HDRS;
	m->envid = "a+b c";
	r[0].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
	r[0].orcpt = "rfc822;o=rig@z.example";
	r[1].notify = NOTIFY_NEVER;
	r[1].orcpt = "utf-8;\xc3\xa9@z.example";
}

static void injection(struct message *m, struct recipient *r)
{
	r[0].address = "a@x.example>\r\nRSET\r\n";
}

static void null_sender(struct message *m, struct recipient *r)
{
	m->sender = "";
	m->size = 0;
}

static const struct row params[] = {
	{ "SIZE over the limit", 2,
		ALL "begin\n=done\n.\n#local/mail/552 local/mail/552\nfeed\n=idle\n",
		.edit = too_large },
	{ "large content waits for RCPT", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250-PIPELINING\n<250 CHUNKING\nbegin\n=read\n>MAIL "
		"FROM:<s@y.example>\n>RCPT TO:<a@x.example>\n.\n<250 ok\n.\n<250 ok\n=raw\n>BDAT "
		"5242880 LAST\nsent\n<250 ok\n=done\n#delivered/eod/250\n",
		.edit = large },
	{ "large content, refused", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250-PIPELINING\n<250 CHUNKING\nbegin\n>MAIL "
		"FROM:<s@y.example>\n>RCPT TO:<a@x.example>\n<451 busy\n=read\n<503 "
		"x\n=done\n.\n#replied/mail/451\nfeed\n=idle\nbegin\n>MAIL FROM:<s@y.example>\n",
		.edit = large },
	{ "binary", 1, ALL "begin\n=raw\n>MAIL FROM:<s@y.example> SIZE=100 BODY=BINARYMIME\n",
		.edit = binary },
	{ "binary not taken", 1, PIPE "begin\n=done\n#local/mail/554\nfeed\n=idle\n",
		.edit = binary },
	{ "8-bit", 1, ALL "begin\n>MAIL FROM:<s@y.example> SIZE=100 BODY=8BITMIME SMTPUTF8\n",
		.edit = eight_bit },
	{ "8-bit to a 7-bit host", 1, PIPE "begin\n=read\n>MAIL FROM:<s@y.example>\n",
		.edit = eight_bit },
	{ "SMTPUTF8 declared, not needed", 1, ALL "begin\n>MAIL FROM:<s@y.example> SIZE=100\n",
		.edit = utf8_flag_only },
	{ "UTF-8 recipient", 2,
		ALL "begin\n>MAIL FROM:<s@y.example> SIZE=100 SMTPUTF8\n>RCPT "
		    "TO:<a@x.example>\n>RCPT TO:<\xc3\xa9@x.example>\n",
		.edit = utf8_recipient },
	{ "UTF-8 recipient not taken: the others go", 3,
		PIPE
		"begin\n>MAIL FROM:<s@y.example>\n>RCPT TO:<a@x.example>\n>RCPT "
		"TO:<c@x.example>\n>DATA\n<250 ok\n<250 ok\n<550 c\n<354 go\n=dots\nsent\n<250 "
		"q\n=done\n#delivered/eod/250 local/mail/553 replied/rcpt/550\n",
		.edit = utf8_recipient },
	{ "UTF-8 recipient alone elsewhere: no SMTPUTF8", 1,
		ALL "begin\n>MAIL FROM:<s@y.example> SIZE=100\n", .edit = utf8_recipient },
	{ "UTF-8 sender not taken", 2, PIPE "begin\n=done\n#local/mail/553 local/mail/553\n",
		.edit = utf8_sender },
	{ "DSN passed on", 2,
		ALL "begin\n>MAIL FROM:<s@y.example> SIZE=100 RET=HDRS ENVID=a+2Bb+20c\n>RCPT "
		    "TO:<a@x.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+3Drig@z.example\n>RCPT "
		    "TO:<b@x.example> NOTIFY=NEVER ORCPT=utf-8;\\x{E9}@z.example\n",
		.edit = dsn },
	{ "DSN not offered", 2,
		PIPE
		"begin\n>MAIL FROM:<s@y.example>\n>RCPT TO:<a@x.example>\n>RCPT TO:<b@x.example>\n",
		.edit = dsn },
	{ "no commands in addresses", 2,
		ALL
		"begin\n>MAIL FROM:<s@y.example> SIZE=100\n>RCPT TO:<b@x.example>\n>BDAT 100 "
		"LAST\n.\nsent\n<250 a\n<250 b\n<250 c\n=done\n#local/mail/553 delivered/eod/250\n",
		.edit = injection },
	{ "null sender, empty content", 1,
		ALL "begin\n=raw\n>MAIL FROM:<> SIZE=0\n>RCPT TO:<a@x.example>\n>BDAT 0 LAST\n",
		.edit = null_sender },
};

static void test_params(void **state)
{
	run_all(params, COUNT(params));
}

/* What may be to blame when a host that offers it does not do it. */
#define WITH_TLS "<220 mx\n<250-mx\n<250 STARTTLS\n"
#define MAILED	 ALL "begin\nsent\n"
static const struct row suspects[] = {
	{ "all is well", 1, MAILED "<250 ok\n<250 ok\n<250 ok\n=done\nsuspect \n" },
	{ "silent at MAIL, flight", 1, MAILED "lost\nfeed\nsuspect PIPELINING\n" },
	{ "silent at RCPT, flight", 1, MAILED "<250 ok\nlost\nfeed\nsuspect PIPELINING\n" },
	{ "silent at BDAT", 1,
		MAILED "<250 ok\n<250 ok\nlost\nfeed\n#doubt/eod/0\nsuspect CHUNKING\n" },
	{ "silent at BDAT that nobody was to get", 1,
		MAILED "<250 ok\n<550 5.1.1 no\nlost\nfeed\nsuspect \n" },
	{ "our own end", 1, MAILED "<250 ok\n<250 ok\nstop\nfeed\nsuspect \n" },
	{ "silent at DATA, flight", 1,
		PIPE "begin\n<250 ok\n<250 ok\nlost\nfeed\nsuspect PIPELINING\n" },
	{ "silent at content", 1,
		PIPE "begin\n<250 ok\n<250 ok\n<354 go\nsent\nlost\nfeed\nsuspect \n" },
	{ "silent at content with QUIT behind it", 1,
		PIPE "begin\n<250 ok\n<250 ok\n<354 go\nsent\nquit\nlost\nfeed\nsuspect "
		     "PIPELINING\n" },
	{ "silent at MAIL alone", 1, BARE "begin\nlost\nfeed\nsuspect \n" },
	{ "silent at RCPT alone", 1, BARE "begin\n<250 ok\nlost\nfeed\nsuspect \n" },
	{ "BDAT 500", 1,
		MAILED "<250 ok\n<250 ok\n<500 5.3.3 Unrecognized command\n#replied/eod/500\n"
		       "suspect !CHUNKING\nfeed\n=close\n" },
	{ "BDAT 502", 1, MAILED "<250 ok\n<250 ok\n<502 no\nsuspect !CHUNKING\n" },
	{ "BDAT 503", 1, MAILED "<250 ok\n<250 ok\n<503 5.5.1 bad\nsuspect !CHUNKING\n" },
	{ "BDAT 504, content not all sent", 1,
		ALL "begin\n<250 ok\n<250 ok\n<504 5.5.4 no\nsuspect !CHUNKING\n" },
	{ "content refused", 1, MAILED "<250 ok\n<250 ok\n<550 5.7.1 spam\nsuspect \n" },
	{ "content refused with 501", 1,
		MAILED "<250 ok\n<250 ok\n<501 5.6.0 bad content\nsuspect \n" },
	{ "503 behind refused RCPT", 1, MAILED "<250 ok\n<550 5.1.1 no\n<503 5.5.1 x\nsuspect \n" },
	{ "parameters refused", 1,
		MAILED "<555 5.5.4 no\n<503 x\n<503 x\nsuspect !MAIL parameters\n" },
	{ "501 about the address", 1, MAILED "<501 5.1.7 bad\n<503 x\n<503 x\nsuspect \n" },
	{ "501 without parameters", 1, PIPE "begin\n<501 bad\n<503 x\n<503 x\nsuspect \n" },
	{ "SMTPUTF8 refused", 1,
		"<220 mx\n<250-mx\n<250 SMTPUTF8\nbegin\n<555 5.5.4 no\nsuspect !SMTPUTF8\n",
		.edit = utf8_sender },
	{ "DSN refused at RCPT", 1,
		"<220 mx\n<250-mx\n<250 DSN\nbegin\n<250 ok\n<501 5.5.4 no\nsuspect !MAIL "
		"parameters\n",
		.edit = dsn },
	{ "hang-up at STARTTLS", 1, WITH_TLS "lost\nfeed\nsuspect STARTTLS\n", TLS_OPPORTUNISTIC },
	{ "broken handshake", 1, WITH_TLS "<220 go\ntls-failed\nfeed\nsuspect STARTTLS\n",
		TLS_OPPORTUNISTIC },
	{ "hang-up at EHLO within TLS", 1,
		WITH_TLS "<220 go\ntls\nfeed\nlost\nfeed\nsuspect STARTTLS\n", TLS_OPPORTUNISTIC },
	{ "EHLO refused within TLS", 1,
		WITH_TLS "<220 go\ntls\nfeed\n<502 what\nfeed\nsuspect STARTTLS\n",
		TLS_OPPORTUNISTIC },
	{ "hang-up at EHLO in clear", 1, "<220 mx\nlost\nfeed\nsuspect \n", TLS_OPPORTUNISTIC },
};

static void test_suspects(void **state)
{
	run_all(suspects, COUNT(suspects));
}

static void test_dsn_passed_on(void **state)
{
	static const struct row w = { "dsn", 2, ALL, .edit = dsn };
	struct peer p;
	static const char *const lines[] = { "<220 mx", "<250-mx", "<250-PIPELINING",
		"<250-CHUNKING", "<250 DSN", "begin", "sent", "<250 a", "<250 b", "<550 c",
		"<250 d", "=done" };

	peer_open(&p, &w);
	for (size_t i = 0; i < COUNT(lines); i++)
		step(&p, lines[i]);
	assert_true(p.results[0].dsn_passed_on);
	assert_false(p.results[1].dsn_passed_on);
	peer_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_suspects),
		cmocka_unit_test(test_dsn_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
