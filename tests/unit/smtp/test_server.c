/* The inbound state machine: order of commands, envelopes, limits. Every script is played in one
 * piece, byte by byte and in random pieces, and must come out the same. */
#include "server_rig.h"

#define EHLO "EHLO app.example\r\n"
#define MAIL "MAIL FROM:<a@s.example>\r\n"
#define RCPT "RCPT TO:<b@r.example>\r\n"
#define HEAD "Date: d\r\nMessage-ID: <m@x>\r\n"
#define TEXT HEAD "\r\nbody\r\n"
#define DATA "DATA\r\n" TEXT ".\r\n"
#define B10  "0123456789"
#define B100 B10 B10 B10 B10 B10 B10 B10 B10 B10 B10

/* ---- each state and each command ---- */

static const char *const state_scripts[] = {
	"",
	EHLO,
	EHLO MAIL,
	EHLO MAIL RCPT,
	EHLO MAIL RCPT "BDAT 3\r\nA: ",
};

static const struct {
	const char *command;
	const char *in_state[5]; /* HELLO READY MAIL RCPT CHUNKS */
} cells[] = {
	{ "HELO x\r\n", { "250", "250", "250", "250", "250" } },
	{ "EHLO x\r\n", { "250", "250", "250", "250", "250" } },
	{ MAIL, { "503 5.5.1", "250 2.1.0", "503 5.5.1", "503 5.5.1", "503 5.5.1" } },
	{ RCPT, { "503 5.5.1", "503 5.5.1", "250 2.1.5", "250 2.1.5", "503 5.5.1" } },
	{ "DATA\r\n", { "503 5.5.1", "503 5.5.1", "554 5.5.1", "354", "503 5.5.1" } },
	{ "BDAT 2\r\nb\r", { "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0", "250 2.0.0" } },
	{ "BDAT 0\r\n", { "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0", "250 2.0.0" } },
	{ "BDAT 3 LAST\r\nb\r\n",
		{ "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0", "250 2.0.0" } },
	{ "RSET\r\n", { "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0" } },
	{ "NOOP\r\n", { "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0" } },
	{ "QUIT\r\n", { "221 2.0.0", "221 2.0.0", "221 2.0.0", "221 2.0.0", "221 2.0.0" } },
	{ "VRFY x\r\n", { "252 2.0.0", "252 2.0.0", "252 2.0.0", "252 2.0.0", "252 2.0.0" } },
	{ "EXPN x\r\n", { "502 5.5.1", "502 5.5.1", "502 5.5.1", "502 5.5.1", "502 5.5.1" } },
	{ "HELP\r\n", { "214 2.0.0", "214 2.0.0", "214 2.0.0", "214 2.0.0", "214 2.0.0" } },
	{ "STARTTLS\r\n", { "503 5.5.1", "220 2.0.0", "503 5.5.1", "503 5.5.1", "503 5.5.1" } },
	{ "AUTH PLAIN AHVzZXIAcGFzcw==\r\n",
		{ "503 5.5.1", "235 2.7.0", "503 5.5.1", "503 5.5.1", "503 5.5.1" } },
	{ "XYZZY\r\n", { "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2" } },
	{ "\r\n", { "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2" } },
	{ "NOOP\rX\r\n", { "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2" } },
	{ "NOOP\n", { "521 5.5.2", "521 5.5.2", "521 5.5.2", "521 5.5.2", "521 5.5.2" } },
	{ "POST / HTTP/1.1\r\n",
		{ "521 5.5.1", "521 5.5.1", "521 5.5.1", "521 5.5.1", "521 5.5.1" } },
	{ "post office\r\n", { "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2" } },
	{ "BDAT x\r\n", { "521 5.5.4", "521 5.5.4", "521 5.5.4", "521 5.5.4", "521 5.5.4" } },
};

static void check_cell(size_t cell, size_t state, uint64_t seed)
{
	struct rig r;
	const char *codes;

	rig_init(&r);
	r.peer.tls_available = r.peer.auth_available = true;
	r.params.offer_auth_plain_text = true;
	rig_open(&r);
	rig_play(&r, slice_of(state_scripts[state]), seed);
	rig_codes(&r);
	rig_play(&r, slice_of(cells[cell].command), seed);
	codes = rig_codes(&r);
	if (strcmp(codes, cells[cell].in_state[state]) != 0)
		fail_msg("state %zu, %s: %s", state, cells[cell].command, codes);
	/* the session goes on, unless it was to end */
	if (strncmp(codes, "354", 3) == 0)
		rig_play(&r, SLICE_LIT(".\r\n"), seed);
	rig_codes(&r);
	rig_play(&r, SLICE_LIT("NOOP\r\n"), seed);
	codes = rig_codes(&r);
	if (strncmp(cells[cell].command, "QUIT", 4) != 0 &&
		strncmp(cells[cell].in_state[state], "521", 3) != 0)
		assert_string_equal(codes, "250 2.0.0");
	else
		assert_true(r.closed);
	rig_close(&r);
}

static void test_cells(void **state)
{
	for (size_t c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
		for (size_t s = 0; s < 5; s++) {
			for (uint64_t seed = 0; seed < 4; seed++)
				check_cell(c, s, seed);
		}
	}
}

/* ---- scripts ---- */

enum {
	STRANGER = 1, /* not trusted */
	AUTH = 2,     /* available, in clear text too */
	AUTH_TLS = 4, /* available under TLS only */
	LOOPBACK = 8,
	TLS = 16, /* implicit */
	NEED_TLS = 32,
	NEED_AUTH = 64,
	FIX = 128,   /* bare newlines are repaired */
	POOL = 256,  /* X-Postern-Pool counts */
	FULL = 512,  /* no message can begin */
	FAIL = 1024, /* commits fail */
	DOWN = 2048, /* shutting down when a message begins */
	TLS_OK = 4096,
	SMALL = 8192, /* at most 2 recipients, 300 bytes, 1 message */
	TEMP = 16384, /* passwords cannot be checked */
	STRICT = 32768,
	CERTIFIED = 65536, /* under TLS, by a certificate */
	CLASS = 131072,	   /* X-Postern-Class counts */
};

#define READY "250, 250 2.1.0, 250 2.1.5"
#define SENT  READY ", 354, 250 2.0.0"

static const struct script {
	const char *name;
	unsigned how;
	struct slice in;
	const char *codes;
	unsigned commits;
} scripts[] = {
#define S(name, how, in, codes, commits)                                                           \
	{                                                                                          \
		name, how, SLICE_LIT(in), codes, commits                                           \
	}
	S("one message", 0, EHLO MAIL RCPT DATA "QUIT\r\n", SENT ", 221 2.0.0", 1),
	S("two messages", 0, EHLO MAIL RCPT DATA MAIL RCPT DATA,
		SENT ", 250 2.1.0, 250 2.1.5, 354, 250 2.0.0", 2),
	S("HELO", 0, "HELO x\r\n" MAIL RCPT DATA, SENT, 1),
	S("null sender", 0, EHLO "MAIL FROM:<>\r\n" RCPT DATA, SENT, 1),
	S("empty content", 0, EHLO MAIL RCPT "DATA\r\n.\r\n", SENT, 1),
	S("dots", 0, EHLO MAIL RCPT "DATA\r\n" HEAD "\r\n..\r\n.a\r\n.\r\n", SENT, 1),
	S("chunks", 0, EHLO MAIL RCPT "BDAT 4\r\nDateBDAT 10 LAST\r\n: x\r\n\r\n.\r\n",
		READY ", 250 2.0.0, 250 2.0.0", 1),
	S("last chunk is empty", 0, EHLO MAIL RCPT "BDAT 9\r\nDate: x\r\nBDAT 0 LAST\r\n",
		READY ", 250 2.0.0, 250 2.0.0", 1),
	S("nothing but an empty chunk", 0, EHLO MAIL RCPT "BDAT 0 LAST\r\n", READY ", 250 2.0.0",
		1),
	S("CR LF across chunks", 0, EHLO MAIL RCPT "BDAT 8\r\nDate: x\rBDAT 1 LAST\r\n\n",
		READY ", 250 2.0.0, 250 2.0.0", 1),
	S("binary", 0,
		EHLO "MAIL FROM:<a@b> BODY=BINARYMIME\r\n" RCPT
		     "BDAT 9\r\nDate: x\r\nBDAT 6 LAST\r\n\r\na\n\0b",
		READY ", 250 2.0.0, 250 2.0.0", 1),
	S("commands after chunks", 0, EHLO MAIL RCPT "BDAT 2 LAST\r\n\r\nNOOP\r\n",
		READY ", 250 2.0.0, 250 2.0.0", 1),
	S("8 bit content without BODY", 0, EHLO MAIL RCPT "DATA\r\n" HEAD "\r\n\xc3\xa9\r\n.\r\n",
		SENT, 1),

	/* relaying */
	S("stranger", STRANGER, EHLO MAIL RCPT "DATA\r\n", "250, 250 2.1.0, 550 5.7.1, 554 5.5.1",
		0),
	S("stranger with a password", STRANGER | AUTH,
		EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\n" MAIL RCPT DATA,
		"250, 235 2.7.0, 250 2.1.0, 250 2.1.5, 354, 250 2.0.0", 1),
	S("stranger with a wrong one", STRANGER | AUTH,
		EHLO "AUTH PLAIN AHVzZXIAcGFzcX==\r\n" MAIL RCPT,
		"250, 501 5.5.2, 250 2.1.0, 550 5.7.1", 0),
	S("EHLO keeps the user", STRANGER | AUTH,
		EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\n" EHLO MAIL RCPT,
		"250, 235 2.7.0, 250, 250 2.1.0, 250 2.1.5", 0),
	S("need TLS", NEED_TLS, EHLO MAIL RCPT "DATA\r\n", "250, 530 5.7.0, 503 5.5.1, 503 5.5.1",
		0),
	S("need TLS and have it", NEED_TLS | TLS, EHLO MAIL RCPT DATA, SENT, 1),
	S("need AUTH", NEED_AUTH | AUTH, EHLO MAIL, "250, 530 5.7.0", 0),

	S("stranger with a certificate", STRANGER | CERTIFIED, EHLO MAIL RCPT DATA, SENT, 1),
	S("its certificate is what AUTH would be", NEED_AUTH | AUTH | CERTIFIED,
		EHLO MAIL RCPT DATA, SENT, 1),
	S("AUTH after a certificate", STRANGER | AUTH | CERTIFIED,
		EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\nAUTH PLAIN\r\n", "250, 235 2.7.0, 503 5.5.1",
		0),

	/* AUTH */
	S("PLAIN, asked", AUTH, EHLO "AUTH plain\r\nAHVzZXIAcGFzcw==\r\n", "250, 334, 235 2.7.0",
		0),
	S("PLAIN with its own identity", AUTH, EHLO "AUTH PLAIN dXNlcgB1c2VyAHBhc3M=\r\n",
		"250, 235 2.7.0", 0),
	S("PLAIN for somebody else", AUTH, EHLO "AUTH PLAIN Ym9zcwB1c2VyAHBhc3M=\r\n",
		"250, 535 5.7.8", 0),
	S("PLAIN, wrong password", AUTH, EHLO "AUTH PLAIN AHVzZXIAbm8=\r\n", "250, 535 5.7.8", 0),
	S("PLAIN, empty response", AUTH, EHLO "AUTH PLAIN =\r\n", "250, 501 5.5.2", 0),
	S("PLAIN, empty line", AUTH, EHLO "AUTH PLAIN\r\n\r\n", "250, 334, 501 5.5.2", 0),
	S("PLAIN, no user", AUTH, EHLO "AUTH PLAIN AABwYXNz\r\n", "250, 535 5.7.8", 0),
	S("PLAIN, one NUL", AUTH, EHLO "AUTH PLAIN dXNlcgBwYXNz\r\n", "250, 501 5.5.2", 0),
	S("PLAIN, three NULs", AUTH, EHLO "AUTH PLAIN AHVzZXIAcGEAc3M=\r\n", "250, 501 5.5.2", 0),
	S("PLAIN, not UTF-8", AUTH, EHLO "AUTH PLAIN AP8AcGFzcw==\r\n", "250, 501 5.5.2", 0),
	S("LOGIN", AUTH, EHLO "AUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", "250, 334, 334, 235 2.7.0",
		0),
	S("LOGIN with the user", AUTH, EHLO "AUTH LOGIN dXNlcg==\r\ncGFzcw==\r\n",
		"250, 334, 235 2.7.0", 0),
	S("LOGIN, empty user", AUTH, EHLO "AUTH LOGIN =\r\ncGFzcw==\r\n", "250, 334, 535 5.7.8", 0),
	S("LOGIN, not base64", AUTH, EHLO "AUTH LOGIN\r\nuser\x7f\r\nNOOP\r\n",
		"250, 334, 501 5.5.2, 250 2.0.0", 0),
	S("LOGIN, wrong password", AUTH, EHLO "AUTH LOGIN dXNlcg==\r\nbm8=\r\n",
		"250, 334, 535 5.7.8", 0),
	S("cancelled", AUTH, EHLO "AUTH LOGIN\r\n*\r\nNOOP\r\n", "250, 334, 501 5.7.0, 250 2.0.0",
		0),
	S("bad base64", AUTH, EHLO "AUTH PLAIN @@@@\r\n", "250, 501 5.5.2", 0),
	S("unpadded base64", AUTH, EHLO "AUTH PLAIN AHVzZXIAcGFzcw\r\n", "250, 501 5.5.2", 0),
	S("too long a line", AUTH,
		EHLO "AUTH PLAIN\r\n" B100 B100 B100 B100 B100 B100 B100 "\r\nNOOP\r\n",
		"250, 334, 500 5.5.6, 250 2.0.0", 0),
	S("too long a user", AUTH,
		EHLO "AUTH LOGIN " B100 B100 B100
		     "01234567890123456789012345678901234567890123\r\n",
		"250, 501 5.5.2", 0),
	S("bare LF in a response", AUTH, EHLO "AUTH LOGIN\r\ndXNlcg==\ncGFzcw==\r\n",
		"250, 334, 521 5.5.2", 0),
	S("no such mechanism", AUTH, EHLO "AUTH CRAM-MD5\r\n", "250, 504 5.5.4", 0),
	S("twice", AUTH, EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\nAUTH PLAIN\r\n",
		"250, 235 2.7.0, 503 5.5.1", 0),
	S("after HELO", AUTH, "HELO x\r\nAUTH PLAIN\r\n", "250, 503 5.5.1", 0),
	S("not available", 0, EHLO "AUTH PLAIN\r\n", "250, 502 5.5.1", 0),
	S("not in clear text", AUTH_TLS, EHLO "AUTH PLAIN\r\n", "250, 538 5.7.11", 0),
	S("under TLS", AUTH_TLS | TLS, EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\n", "250, 235 2.7.0", 0),
	S("from loopback", AUTH_TLS | LOOPBACK, EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\n",
		"250, 235 2.7.0", 0),
	S("cannot be checked", AUTH | TEMP, EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\n",
		"250, 454 4.7.0", 0),

	/* addresses and parameters */
	S("SMTPUTF8", 0,
		EHLO
		"MAIL FROM:<\xc3\xa9@s.example> SMTPUTF8\r\nRCPT TO:<\xc3\xa9@r.example>\r\n" DATA,
		SENT, 1),
	S("sender needs SMTPUTF8", 0, EHLO "MAIL FROM:<\xc3\xa9@s.example>\r\n", "250, 553 5.6.7",
		0),
	S("recipient needs SMTPUTF8", 0, EHLO MAIL "RCPT TO:<\xc3\xa9@r.example>\r\n",
		"250, 250 2.1.0, 553 5.6.7", 0),
	S("non-ASCII domain", 0,
		EHLO "MAIL FROM:<a@s.example> SMTPUTF8\r\nRCPT TO:<b@\xc3\xa9.example>\r\n",
		"250, 250 2.1.0, 550 5.6.7", 0),
	S("postmaster", 0, EHLO MAIL "RCPT TO:<postmaster>\r\n", READY, 0),
	S("postmaster, for strangers", STRANGER, EHLO MAIL "RCPT TO:<postmaster>\r\n",
		"250, 250 2.1.0, 550 5.7.1", 0),
	S("dots anywhere", 0,
		EHLO "MAIL FROM:<a..b@docomo.example>\r\nRCPT TO:<.c.@r.example.>\r\n" DATA, SENT,
		1),
	S("dots anywhere, strict", STRICT,
		EHLO "MAIL FROM:<a..b@docomo.example>\r\n" MAIL "RCPT TO:<.c.@r.example.>\r\n" RCPT,
		"250, 501 5.1.7, 250 2.1.0, 501 5.1.3, 250 2.1.5", 0),
	S("no angle brackets", 0, EHLO "mail from: a@s.example\r\nrcpt  to:\tb@r.example\r\n" DATA,
		SENT, 1),
	S("no angle brackets, strict", STRICT,
		EHLO "MAIL FROM:a@s.example\r\n" MAIL "RCPT TO:b@r.example\r\n",
		"250, 501 5.1.7, 250 2.1.0, 501 5.1.3", 0),
	S("dot at the end of a domain", STRICT,
		"EHLO app.example.\r\nMAIL FROM:<a@s.example.>\r\nRCPT TO:<b@r.example.>\r\n" DATA,
		SENT, 1),
	S("name beyond ASCII", 0, "EHLO b\xfcro-pc\r\n" MAIL RCPT DATA, SENT, 1),
	S("literal", 0, EHLO MAIL "RCPT TO:<b@[192.0.2.1]>\r\n", READY, 0),
	S("bad recipient", 0, EHLO MAIL "RCPT TO:<b@c_@>\r\n" RCPT,
		"250, 250 2.1.0, 501 5.1.3, 250 2.1.5", 0),
	S("bad sender, and its echoes", 0, EHLO "MAIL FROM:<a@>\r\n" RCPT "DATA\r\n",
		"250, 501 5.1.7, 503 5.5.1, 503 5.5.1", 0),
	S("NOTIFY=NEVER,DELAY", 0, EHLO MAIL "RCPT TO:<b@r.example> NOTIFY=NEVER,DELAY\r\n",
		"250, 250 2.1.0, 501 5.5.4", 0),
	S("unknown parameter", 0, EHLO "MAIL FROM:<a@b> X=1\r\n", "250, 555 5.5.4", 0),
	S("parameter twice", 0, EHLO "MAIL FROM:<a@b> RET=FULL RET=FULL\r\n", "250, 501 5.5.4", 0),
	S("NUL in a command", 0, EHLO "NOOP \0\r\nNOOP\r\n", "250, 501 5.5.2, 250 2.0.0", 0),

	/* limits */
	S("SIZE", 0, EHLO "MAIL FROM:<a@b> SIZE=100001\r\n" RCPT "MAIL FROM:<a@b> SIZE=100000\r\n",
		"250, 552 5.3.4, 503 5.5.1, 250 2.1.0", 0),
	S("SIZE beyond all numbers", 0, EHLO "MAIL FROM:<a@b> SIZE=99999999999999999999\r\n",
		"250, 552 5.3.4", 0),
	S("content at the limit", SMALL,
		EHLO MAIL RCPT "DATA\r\n" B100 B100 B100 "\r\n.\r\nNOOP\r\n",
		READY ", 354, 552 5.3.4, 250 2.0.0", 0),
	S("content below", SMALL, EHLO MAIL RCPT "DATA\r\n\r\n" B100 B100 "\r\n.\r\nNOOP\r\n",
		SENT ", 250 2.0.0", 1),
	S("swallowed content is no command", SMALL,
		EHLO MAIL RCPT "DATA\r\n" B100 B100 B100 "\r\nQUIT\r\n.\r\n",
		READY ", 354, 552 5.3.4", 0),
	S("over-limit chunk", SMALL, EHLO MAIL RCPT "BDAT 301\r\n" B100 B100 B100 "xNOOP\r\n",
		READY ", 552 5.3.4, 250 2.0.0", 0),
	S("chunks over the limit together", SMALL,
		EHLO MAIL RCPT "BDAT 200\r\n" B100 B100 "BDAT 101\r\n" B100
			       "xBDAT 3 LAST\r\nabcNOOP\r\n",
		READY ", 250 2.0.0, 552 5.3.4, 503 5.5.1, 250 2.0.0", 0),
	S("chunk of all octets there are", 0, EHLO MAIL RCPT "BDAT 18446744073709551615\r\nabc",
		READY, 0),
	S("too many recipients", SMALL,
		EHLO MAIL RCPT "RCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n" RCPT DATA,
		READY ", 250 2.1.5, 452 4.5.3, 250 2.1.5, 354, 250 2.0.0", 1),
	S("too many messages", SMALL, EHLO MAIL RCPT DATA MAIL "NOOP\r\n", SENT ", 421 4.7.0", 1),
	S("long line", 0, EHLO "NOOP " B100 B100 B100 B100 B100 B100 "\r\nNOOP\r\n",
		"250, 500 5.5.2, 250 2.0.0", 0),
	S("longest line", 0,
		EHLO "NOOP " B100 B100 B100 B100 B100 B10 B10 B10 B10 B10 B10 B10 B10 B10
		     "01234\r\nNOOP\r\n",
		"250, 250 2.0.0, 250 2.0.0", 0),
	S("one byte more", 0,
		EHLO "NOOP " B100 B100 B100 B100 B100 B10 B10 B10 B10 B10 B10 B10 B10 B10
		     "012345\r\nNOOP\r\n",
		"250, 500 5.5.2, 250 2.0.0", 0),
	S("too many errors", 0, "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nNOOP\r\n",
		"500 5.5.2, 500 5.5.2, 500 5.5.2, 500 5.5.2, 500 5.5.2, 500 5.5.2, 500 5.5.2, 500 "
		"5.5.2, "
		"500 5.5.2, 500 5.5.2, 421 4.7.0",
		0),
	S("echoes are no errors", STRANGER,
		EHLO MAIL "DATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\n"
			  "DATA\r\nDATA\r\nNOOP\r\n",
		"250, 250 2.1.0, 554 5.5.1, 554 5.5.1, 554 5.5.1, 554 5.5.1, 554 5.5.1, 554 5.5.1, "
		"554 5.5.1, "
		"554 5.5.1, 554 5.5.1, 554 5.5.1, 554 5.5.1, 250 2.0.0",
		0),
	S("loop", 0,
		EHLO MAIL RCPT "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: "
			       "4\r\nReceived: 5\r\n"
			       "Received: 6\r\n\r\n.\r\n",
		READY ", 354, 554 5.4.6", 0),
	S("no loop yet", 0,
		EHLO MAIL RCPT "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: "
			       "4\r\nReceived: 5\r\n"
			       "\r\nReceived: 6\r\n.\r\n",
		SENT, 1),

	/* line ends */
	S("bare LF ends no command", 0, EHLO "MAIL FROM:<a@b>\nRCPT TO:<c@d>\r\nNOOP\r\n",
		"250, 521 5.5.2", 0),
	S("bare LF first", 0, EHLO "\nNOOP\r\n", "250, 521 5.5.2", 0),
	S("commands in the body of an HTTP request", 0,
		"POST / HTTP/1.1\r\nHost: x\r\n\r\n" EHLO MAIL RCPT "DATA\r\n.\r\n", "521 5.5.1",
		0),
	S("bare CR ends no command", 0, EHLO "NOOP\rNOOP\r\nNOOP\r\n", "250, 500 5.5.2, 250 2.0.0",
		0),
	S("bare LF after DATA", 0, EHLO MAIL RCPT "DATA\nDATA\r\nNOOP\r\n", READY ", 521 5.5.2", 0),
	S("bare LF in content", 0, EHLO MAIL RCPT "DATA\r\nA: b\nc\r\n.\r\nNOOP\r\n",
		READY ", 354, 550 5.6.11, 250 2.0.0", 0),
	S("smuggling with LF . LF", 0,
		EHLO MAIL RCPT "DATA\r\na\n.\n" MAIL RCPT "DATA\r\nx\r\n.\r\n",
		READY ", 354, 550 5.6.11", 0),
	S("smuggling with LF . CR LF", 0,
		EHLO MAIL RCPT "DATA\r\na\n.\r\n" MAIL RCPT "DATA\r\nx\r\n.\r\n",
		READY ", 354, 550 5.6.11", 0),
	S("smuggling with CR . CR", 0,
		EHLO MAIL RCPT "DATA\r\na\r.\r" MAIL RCPT "DATA\r\nx\r\n.\r\n",
		READY ", 354, 550 5.6.11", 0),
	S("smuggling with CR LF . LF", 0,
		EHLO MAIL RCPT "DATA\r\na\r\n.\n" MAIL RCPT "DATA\r\nx\r\n.\r\n",
		READY ", 354, 550 5.6.11", 0),
	S("smuggling is repaired", FIX,
		EHLO MAIL RCPT "DATA\r\n" HEAD "\r\na\n.\r\n" MAIL "\r\n.\r\n", SENT, 1),
	S("bare LF in a chunk", 0, EHLO MAIL RCPT "BDAT 3\r\na\nbBDAT 1 LAST\r\nxNOOP\r\n",
		READY ", 550 5.6.11, 503 5.5.1, 250 2.0.0", 0),
	S("bare CR at the end of chunks", 0, EHLO MAIL RCPT "BDAT 2 LAST\r\na\r",
		READY ", 550 5.6.11", 0),
	S("bare LF in a chunk is repaired", FIX, EHLO MAIL RCPT "BDAT 3 LAST\r\na\nb",
		READY ", 250 2.0.0", 1),
	S("bare LF in the header of binary content", FIX,
		EHLO "MAIL FROM:<a@b> BODY=BINARYMIME\r\n" RCPT "BDAT 9 LAST\r\nA: b\nc\r\n\n",
		READY ", 550 5.6.11", 0),
	S("NUL in content", 0, EHLO MAIL RCPT "DATA\r\n\r\na\0b\r\n.\r\n", READY ", 354, 550 5.6.0",
		0),

	/* DATA and BDAT */
	S("DATA after BDAT", 0, EHLO MAIL RCPT "BDAT 2\r\n\r\nDATA\r\nBDAT 0 LAST\r\n",
		READY ", 250 2.0.0, 503 5.5.1, 250 2.0.0", 1),
	S("binary needs BDAT", 0, EHLO "MAIL FROM:<a@b> BODY=BINARYMIME\r\n" RCPT "DATA\r\n",
		READY ", 503 5.5.1", 0),
	S("BDAT without MAIL eats its octets", 0, EHLO "BDAT 6\r\nQUIT\r\nNOOP\r\n",
		"250, 503 5.5.1, 250 2.0.0", 0),
	S("BDAT after a refused RCPT", STRANGER, EHLO MAIL RCPT "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
		"250, 250 2.1.0, 550 5.7.1, 503 5.5.1, 250 2.0.0", 0),
	S("RSET between chunks", 0, EHLO MAIL RCPT "BDAT 3\r\nabcRSET\r\nBDAT 2\r\nxxNOOP\r\n",
		READY ", 250 2.0.0, 250 2.0.0, 503 5.5.1, 250 2.0.0", 0),
	S("bad BDAT closes", 0, EHLO MAIL RCPT "BDAT 5 LASTLY\r\nNOOP\r\n", READY ", 521 5.5.4", 0),

	/* the queue */
	S("full at DATA", FULL, EHLO MAIL RCPT "DATA\r\nNOOP\r\n", READY ", 452 4.3.1, 250 2.0.0",
		0),
	S("full at BDAT", FULL, EHLO MAIL RCPT "BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\nNOOP\r\n",
		READY ", 452 4.3.1, 503 5.5.1, 250 2.0.0", 0),
	S("full at an empty BDAT", FULL, EHLO MAIL RCPT "BDAT 0 LAST\r\nNOOP\r\n",
		READY ", 452 4.3.1, 250 2.0.0", 0),
	S("commit fails", FAIL, EHLO MAIL RCPT DATA "NOOP\r\n", READY ", 354, 451 4.3.0, 250 2.0.0",
		1),
	S("shutting down", DOWN, EHLO MAIL RCPT "DATA\r\nNOOP\r\n", READY ", 421 4.3.2", 0),

	/* pools */
	S("known pool", POOL, EHLO MAIL RCPT "DATA\r\nX-Postern-Pool: bulk\r\n\r\n.\r\n", SENT, 1),
	S("unknown pool", POOL, EHLO MAIL RCPT "DATA\r\nX-Postern-Pool: nope\r\n\r\n.\r\nNOOP\r\n",
		READY ", 354, 550 5.7.1, 250 2.0.0", 0),
	S("pool header is not for this listener", 0,
		EHLO MAIL RCPT "DATA\r\nX-Postern-Pool: nope\r\n\r\n.\r\n", SENT, 1),
	S("known class", CLASS, EHLO MAIL RCPT "DATA\r\nX-Postern-Class: bulk\r\n\r\n.\r\n", SENT,
		1),
	S("unknown class", CLASS,
		EHLO MAIL RCPT "DATA\r\nX-Postern-Class: nope\r\n\r\n.\r\nNOOP\r\n",
		READY ", 354, 550 5.7.1, 250 2.0.0", 0),
	S("unknown class in a chunk", CLASS,
		EHLO MAIL RCPT "BDAT 25 LAST\r\nX-Postern-Class: nope\r\n\r\nNOOP\r\n",
		READY ", 550 5.7.1, 250 2.0.0", 0),
	S("class header is not for this listener", 0,
		EHLO MAIL RCPT "DATA\r\nX-Postern-Class: nope\r\n\r\n.\r\n", SENT, 1),
#undef S
};

static bool only_bulk(void *arg, const char *name)
{
	return strcmp(name, "bulk") == 0;
}

static bool bulk_class(
	void *arg, const struct message *m, const char *wanted, struct smtp_class *ret)
{
	assert_non_null(m->client);
	ret->name = wanted;
	ret->expire = 60000;
	return !wanted || only_bulk(arg, wanted);
}

static void script_params(struct rig *r, unsigned how)
{
	r->peer.trusted = !(how & STRANGER);
	r->peer.auth_available = how & (AUTH | AUTH_TLS);
	r->params.offer_auth_plain_text = how & AUTH;
	if (how & LOOPBACK)
		addr_parse(&r->peer.client, SLICE_LIT("127.0.0.2"));
	r->peer.tls = how & TLS;
	r->params.require_tls = how & NEED_TLS;
	r->params.require_auth = how & NEED_AUTH;
	r->params.bare_newline = how & FIX ? BARE_FIX : BARE_REJECT;
	r->params.pool_header = how & POOL;
	r->params.strict_addresses = how & STRICT;
	r->params.pool_known = only_bulk;
	r->params.class_header = how & CLASS;
	r->params.class_of = bulk_class;
	r->auth_result = how & TEMP ? AUTH_TEMPORARY : AUTH_OK;
	r->begin_result = how & FULL ? COMMIT_FULL : how & DOWN ? COMMIT_SHUTDOWN : COMMIT_OK;
	r->commit_result = how & FAIL ? COMMIT_ERROR : COMMIT_OK;
	if (how & SMALL) {
		r->params.recipients_max = 2;
		r->params.size_max = 300;
		r->params.transactions_max = 1;
	}
}

static void check_script(const struct script *s)
{
	struct buf first_out, first_content;

	buf_init(&first_out, 0);
	buf_init(&first_content, 0);
	for (uint64_t seed = 0; seed < 24; seed++) {
		struct rig r;
		const char *codes;

		rig_init(&r);
		script_params(&r, s->how);
		rig_open(&r);
		if (s->how & CERTIFIED) {
			smtp_server_tls_started(r.server, "TLS1.3:TEST");
			smtp_server_certified(r.server, "app1.example");
		}
		rig_play(&r, s->in, seed);
		if (seed == 0) {
			assert_int_equal(buf_add_slice(&first_out, buf_slice(&r.out)), 0);
			assert_int_equal(buf_add_slice(&first_content, buf_slice(&r.content)), 0);
		}
		if (!slice_eq(buf_slice(&r.out), buf_slice(&first_out)) ||
			!slice_eq(buf_slice(&r.content), buf_slice(&first_content)))
			fail_msg("%s: pieces with seed %d make a difference: %s", s->name,
				(int)seed, rig_codes(&r));
		codes = rig_codes(&r);
		if (strcmp(codes, s->codes) != 0)
			fail_msg("%s: %s", s->name, codes);
		assert_int_equal(r.commits, s->commits);
		rig_close(&r);
	}
	buf_deinit(&first_out);
	buf_deinit(&first_content);
}

static void test_scripts(void **state)
{
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		check_script(&scripts[i]);
	assert_int_equal(body_memory(), 0);
}

/* A certificate is no AUTH: RFC 3848's "A" stays away. What the message is kept with names it. */
static void test_certificate(void **state)
{
	struct smtp_server_stats stats;
	struct rig r;

	rig_init(&r);
	r.peer.trusted = false;
	rig_open(&r);
	smtp_server_tls_started(r.server, "TLS1.3:TEST");
	smtp_server_certified(r.server, "app1.example");
	rig_play(&r, SLICE_LIT(EHLO MAIL RCPT DATA), 0);
	assert_non_null(strstr(r.content.p, "(Postern) with ESMTPS (TLS1.3:TEST)"));
	smtp_server_stats(r.server, &stats);
	assert_string_equal(stats.user, "app1.example");
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
