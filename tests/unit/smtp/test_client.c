/* The outbound machine against scripted peers: see client_rig.h for the script's words.
 * What each message asks of the host: test_client_params.c. */
#include <errno.h>

#include "client_rig.h"

/* ---- opening ---- */

static const struct row opening[] = {
	{ "banner 554", 1,
		"phase banner\n<554 5.7.1 no\n=close\n>QUIT\nfail banner 554\nfeed\n=close\n" },
	{ "banner 421", 1, "<421 4.3.2 busy\n=close\n.\nfail banner 421\n" },
	{ "banner garbage", 1, "<SSH-2.0-OpenSSH\n=close\nfail banner 0\n" },
	{ "banner 354", 1, "<354 what\n=close\nfail banner 354\n" },
	{ "lost before banner", 1, "lost\nfail banner 0\nfeed\n=close\n" },
	{ "HELO after 502", 1,
		"<220 mx\n>EHLO out\n<502 what\n>HELO out\nphase ehlo\n<250 "
		"mx\n=idle\nbegin\n>MAIL FROM:<s@y.example>\n.\n" },
	{ "HELO refused", 1,
		"<220 mx\n>EHLO out\n<550 5.7.506 Bad HELO\n>HELO out\n<550 5.7.506 Bad "
		"HELO\n=close\nfail ehlo 550\n" },
	{ "EHLO 554", 1, "<220 mx\n>EHLO out\n<554 no\n=close\n>QUIT\nfail ehlo 554\n" },
	{ "EHLO 421", 1, "<220 mx\n>EHLO out\n<421 no\n=close\n.\nfail ehlo 421\n" },
	{ "EHLO 451", 1, "<220 mx\n>EHLO out\n<451 later\n=close\nfail ehlo 451\n" },
	{ "421 while idle", 1, BARE "<421 4.4.2 idle too long\n=close\n.\nfail ready 421\n" },
	{ "unsolicited while idle", 1, BARE "<250 ok\n=close\nfail ready 250\n" },
	{ "garbage while idle", 1, BARE "<x\n=close\nfail ready 0\n" },
	{ "quit", 1, BARE "quit\n>QUIT\nphase quit\n<221 bye\n=close\n" },
	{ "quit, host gone", 1, BARE "quit\n>QUIT\nlost\nfeed\n=close\n" },
};

static const struct row tls[] = {
	{ "none is not asked", 1, "<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n=idle\n.\n",
		TLS_NONE },
	{ "opportunistic", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250-PIPELINING\n<250 STARTTLS\n>STARTTLS\nphase "
		"starttls\n<220 go\n=starttls\nphase tls\ntls-unverified\nphase "
		"ehlo\nfeed\n=read\n>EHLO out\n<250 mx\n=idle\nbegin\n>MAIL "
		"FROM:<s@y.example>\n.\n",
		TLS_OPPORTUNISTIC },
	{ "opportunistic, given up", 1, "<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n=idle\n.\n",
		TLS_OPPORTUNISTIC, true },
	{ "opportunistic, not offered", 1, "<220 mx\n>EHLO out\n<250 mx\n=idle\n.\n",
		TLS_OPPORTUNISTIC },
	{ "opportunistic, 454", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<454 not now\n=idle\n.\n",
		TLS_OPPORTUNISTIC },
	{ "opportunistic, 421", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<421 no\n=close\nfail "
		"starttls 421\n",
		TLS_OPPORTUNISTIC },
	{ "opportunistic, handshake broke", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<220 "
		"go\ntls-failed\nfeed\n=close\nfail tls 0\n",
		TLS_OPPORTUNISTIC },
	{ "require, not offered", 1,
		"<220 mx\n>EHLO out\n<250 mx\n=close\n>QUIT\nfail starttls 0\n", TLS_REQUIRE },
	{ "require beats given up", 1, "<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n",
		TLS_REQUIRE, true },
	{ "require, HELO only", 1,
		"<220 mx\n>EHLO out\n<500 what\n>HELO out\n<250 mx\n=close\nfail starttls 0\n",
		TLS_REQUIRE },
	{ "require, 454", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<454 not now\n=close\nfail "
		"starttls 454\n",
		TLS_REQUIRE },
	{ "verify, verified", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<220 go\ntls\nfeed\n>EHLO "
		"out\n<250 mx\n=idle\n",
		TLS_VERIFY },
	{ "verify, unverified", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<220 "
		"go\ntls-unverified\nfeed\n=close\nfail tls 0\n.\n",
		TLS_VERIFY },
	{ "lost in handshake", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n<220 "
		"go\nlost\nfeed\n=close\nfail tls 0\n",
		TLS_OPPORTUNISTIC },
};

static void test_opening(void **state)
{
	run_all(opening, COUNT(opening));
}

static void test_tls(void **state)
{
	run_all(tls, COUNT(tls));
}

/* ---- transactions ---- */

#define FLIGHT2                                                                                    \
	"begin\n=raw\n>MAIL FROM:<s@y.example> SIZE=100\n>RCPT TO:<a@x.example>\n>RCPT "           \
	"TO:<b@x.example>\n>BDAT 100 LAST\n.\n"
#define PFLIGHT2                                                                                   \
	"begin\n=read\n>MAIL FROM:<s@y.example>\n>RCPT TO:<a@x.example>\n>RCPT "                   \
	"TO:<b@x.example>\n>DATA\n.\n"

static const struct row chunked[] = {
	{ "delivered in one flight", 2,
		ALL FLIGHT2
		"sent\nphase mail\n<250 ok\nphase rcpt\n<250 ok\n<250 ok\nphase eod\n<250 2.6.0 "
		"queued\n=done\n#delivered/eod/250 delivered/eod/250\nfeed\n=idle\n" FLIGHT2 },
	{ "partial", 2,
		ALL FLIGHT2 "sent\n<250 ok\n<550 5.1.1 no\n<250 ok\n<250 "
			    "queued\n=done\n#replied/rcpt/550 delivered/eod/250\nfeed\n=idle\n" },
	{ "QUIT behind the content", 2,
		ALL FLIGHT2
		"sent\nquit\n>QUIT\n.\nphase mail\n<250 ok\n<250 ok\n<550 5.1.1 no\nphase "
		"eod\n<250 2.6.0 queued\n=done\n#delivered/eod/250 "
		"replied/rcpt/550\nfeed\n=read\nphase quit\n<221 bye\n=close\n" },
	{ "QUIT behind the content, answers at once", 1,
		ALL "begin\nsent\nquit\n<250 ok\n<250 ok\n<250 "
		    "queued\n=done\n#delivered/eod/250\nlost\nfeed\n=close\n" },
	{ "QUIT behind content that is refused", 2,
		ALL FLIGHT2 "sent\nquit\n<451 4.7.500 busy\n<503 x\n<503 x\n<503 "
			    "x\n=done\n#replied/mail/451 replied/mail/451\nfeed\n=read\n<221 "
			    "bye\n=close\n" },
	{ "QUIT behind the content, 421", 1,
		ALL "begin\nsent\nquit\n<250 ok\n<250 ok\n<421 4.3.2 "
		    "later\n=done\n#replied/eod/421\nfeed\n=close\nfail eod 421\n" },
	{ "221 is no answer to content", 1,
		ALL "begin\nsent\nquit\n<250 ok\n<250 ok\n<221 "
		    "bye\n=done\n#doubt/eod/0\nfeed\n=close\n" },
	{ "221 is no answer to MAIL", 1,
		ALL "begin\nsent\n<221 bye\n=done\n#lost/mail/0\nfeed\n=close\n" },
	{ "MAIL refused, echoes", 2,
		ALL FLIGHT2
		"sent\n<451 4.7.500 busy\n<503 5.5.2 Need mail command\n<503 5.5.2 Need mail "
		"command\n=read\n<503 5.5.2 Need mail command\n=done\n#replied/mail/451 "
		"replied/mail/451\nfeed\n=idle\nbegin\n>RSET\n" },
	{ "MAIL refused, echoes lie", 2,
		ALL FLIGHT2 "sent\n<451 no\n<250 ok\n<250 ok\n<250 ok\n=done\n#replied/mail/451 "
			    "replied/mail/451\n" },
	{ "all RCPT refused, end accepted", 2,
		ALL FLIGHT2 "sent\n<250 ok\n<550 5.1.1 a\n<550 5.1.1 b\n<250 "
			    "ok\n=done\n#replied/rcpt/550 replied/rcpt/550\n" },
	{ "all RCPT refused, RSET before the next", 2,
		ALL FLIGHT2
		"sent\n<250 ok\n<550 a\n<550 b\n<503 5.5.1 need rcpt\n=done\n#replied/rcpt/550 "
		"replied/rcpt/550\nfeed\n=idle\nbegin\n=raw\n>RSET\n>MAIL FROM:<s@y.example> "
		"SIZE=100\n>RCPT TO:<a@x.example>\n>RCPT TO:<b@x.example>\n>BDAT 100 LAST\nphase "
		"rset\nsent\n<250 reset\n<250 ok\n<250 ok\n<250 ok\n=read\n<250 "
		"queued\n=done\n#delivered/eod/250 delivered/eod/250\n" },
	{ "end refused: RSET next", 2,
		ALL FLIGHT2
		"sent\n<250 ok\n<250 ok\n<550 b\n<554 5.7.1 spam\n=done\n#replied/eod/554 "
		"replied/rcpt/550\nfeed\n=idle\nbegin\n>RSET\n" },
	{ "421 to MAIL", 2,
		ALL FLIGHT2 "sent\n<421 4.3.2 no\n=done\n#replied/mail/421 "
			    "replied/mail/421\nfeed\n=close\nfail mail 421\n" },
	{ "421 to second RCPT", 2,
		ALL FLIGHT2 "sent\n<250 ok\n<250 ok\n<421 no\n=done\n#lost/rcpt/421 "
			    "replied/rcpt/421\nfeed\n=close\nfail rcpt 421\n" },
	{ "421 to first RCPT", 2,
		ALL FLIGHT2
		"sent\n<250 ok\n<421 no\n=done\n#replied/rcpt/421 lost/rcpt/421\nfeed\n=close\n" },
	{ "421 to the end", 2,
		ALL FLIGHT2
		"sent\n<250 ok\n<250 ok\n<550 b\n<421 4.7.0 no\n=done\n#replied/eod/421 "
		"replied/rcpt/550\nfeed\n=close\nfail eod 421\n" },
	{ "421 to RSET: not tried", 1,
		ALL "begin\nsent\n<250 ok\n<550 a\n<503 x\n=done\nfeed\n=idle\nbegin\nsent\n<421 "
		    "gone\n=done\n#pending/ready/0\nfeed\n=close\nfail rset 421\n" },
	{ "421 among echoes", 2,
		ALL FLIGHT2 "sent\n<550 no\n<421 gone\n=done\n#replied/mail/550 "
			    "replied/mail/550\nfeed\n=close\nfail rcpt 421\n" },
	{ "lost before content is sent", 2,
		ALL FLIGHT2 "<250 ok\nlost\nfeed\n=done\n#lost/rcpt/0 "
			    "lost/rcpt/0\nfeed\n=close\nfail rcpt 0\n" },
	{ "lost after content, no reply seen", 2,
		ALL FLIGHT2 "sent\nlost\nfeed\n=done\n#lost/mail/0 lost/mail/0\nfeed\n=close\n" },
	{ "lost after content, one refused", 2,
		ALL FLIGHT2 "sent\n<250 ok\n<550 a\n<250 ok\nlost\nfeed\n=done\n#replied/rcpt/550 "
			    "doubt/eod/0\n" },
	{ "lost among echoes", 2,
		ALL FLIGHT2 "sent\n<550 no\nlost\nfeed\n=done\n#replied/mail/550 "
			    "replied/mail/550\nfeed\n=close\n" },
	{ "garbage after content", 1,
		ALL "begin\nsent\n<250 ok\n<250 ok\n<oops\n=done\n#doubt/eod/0\nfeed\n=close\nfail "
		    "eod 0\n" },
	{ "accepted before it was sent", 1,
		ALL "begin\n<250 ok\n<250 ok\n<250 queued\n=done\n#lost/eod/0\nfeed\n=close\nfail "
		    "eod 0\n" },
	{ "refused before it was sent", 1,
		ALL "begin\n<250 ok\n<250 ok\nphase eod\n<552 5.3.4 too "
		    "big\n=done\n#replied/eod/552\nfeed\n=close\nfail eod 0\n" },
	{ "354 to MAIL", 1, ALL "begin\nsent\n<354 go\n=done\n#lost/mail/0\nfeed\n=close\n" },
	{ "reply after the last", 1,
		ALL "begin\nsent\n<250 a\n<250 b\n<250 c\n=done\n#delivered/eod/250\n<250 "
		    "d\n=close\n" },
};

static const struct row piped[] = {
	{ "delivered", 2,
		PIPE PFLIGHT2
		"<250 ok\n<250 ok\n<250 ok\nphase data\n<354 go\n=dots\nphase eod\nsent\n<250 "
		"queued\n=done\n#delivered/eod/250 delivered/eod/250\nfeed\n=idle\n" PFLIGHT2 },
	{ "DATA refused", 2,
		PIPE PFLIGHT2
		"<250 ok\n<250 ok\n<550 b\n<451 later\n=done\n#replied/data/451 "
		"replied/rcpt/550\nfeed\n=idle\nbegin\n>RSET\n>MAIL FROM:<s@y.example>\n" },
	{ "354 though all were refused", 2,
		PIPE PFLIGHT2
		"<250 ok\n<550 a\n<550 b\n<354 go\n=read\n>.\n.\n<554 no "
		"recipients\n=done\n#replied/rcpt/550 replied/rcpt/550\nfeed\n=idle\n" PFLIGHT2 },
	{ "354 though all were refused, taken", 2,
		PIPE PFLIGHT2 "<250 ok\n<550 a\n<550 b\n<354 go\n>.\n<250 "
			      "queued\n=done\n#replied/rcpt/550 replied/rcpt/550\n" },
	{ "354 though MAIL was refused", 2,
		PIPE PFLIGHT2 "<550 no\n<503 x\n<503 x\n<354 go\n>.\n<503 "
			      "x\n=done\n#replied/mail/550 replied/mail/550\n" },
	{ "all refused, DATA 503", 2,
		PIPE PFLIGHT2 "<250 ok\n<550 a\n<550 b\n<503 x\n=done\n#replied/rcpt/550 "
			      "replied/rcpt/550\nfeed\n=idle\nbegin\n>RSET\n" },
	{ "MAIL refused: no RSET needed", 2,
		PIPE PFLIGHT2 "<550 no\n<503 x\n<503 x\n<503 x\n=done\n#replied/mail/550 "
			      "replied/mail/550\nfeed\n=idle\n" PFLIGHT2 },
	{ "421 to DATA", 2,
		PIPE PFLIGHT2 "<250 ok\n<250 ok\n<250 ok\n<421 no\n=done\n#replied/data/421 "
			      "replied/data/421\nfeed\n=close\n" },
	{ "250 to DATA", 1,
		PIPE "begin\n<250 ok\n<250 ok\n<250 ok\n=done\n#lost/data/0\nfeed\n=close\n" },
	{ "QUIT behind the content", 2,
		PIPE PFLIGHT2
		"<250 ok\n<250 ok\n<250 ok\n<354 go\nsent\nquit\n>QUIT\n.\n<250 "
		"queued\n=done\n#delivered/eod/250 delivered/eod/250\nfeed\n=read\n<221 "
		"bye\n=close\n" },
	{ "lost in content", 1,
		PIPE "begin\n<250 ok\n<250 ok\n<354 "
		     "go\nlost\nfeed\n=done\n#lost/eod/0\nfeed\n=close\n" },
	{ "lost after content", 1,
		PIPE "begin\n<250 ok\n<250 ok\n<354 go\nsent\nlost\nfeed\n=done\n#doubt/eod/0\n" },
	{ "end refused for the accepted", 2,
		PIPE PFLIGHT2
		"<250 ok\n<550 a\n<250 ok\n<354 go\nsent\n<550 5.7.1 "
		"S3140\n=done\n#replied/rcpt/550 replied/eod/550\nfeed\n=idle\n" PFLIGHT2 },
	{ "accepted before it was sent", 1,
		PIPE "begin\n<250 ok\n<250 ok\n<354 go\n<250 "
		     "queued\n=done\n#lost/eod/0\nfeed\n=close\n" },
};

static const struct row single[] = {
	{ "a command at a time", 2,
		BARE "begin\n=read\n>MAIL FROM:<s@y.example>\n.\n<250 ok\n>RCPT "
		     "TO:<a@x.example>\n.\n<250 ok\n>RCPT TO:<b@x.example>\n.\n<250 "
		     "ok\n>DATA\n.\n<354 go\n=dots\nsent\n<250 queued\n=done\n#delivered/eod/250 "
		     "delivered/eod/250\nfeed\n=idle\n" },
	{ "MAIL refused", 2,
		BARE "begin\n>MAIL FROM:<s@y.example>\n<550 no\n=done\n.\n#replied/mail/550 "
		     "replied/mail/550\nfeed\n=idle\nbegin\n>MAIL FROM:<s@y.example>\n.\n" },
	{ "all RCPT refused", 1,
		BARE "begin\n>MAIL FROM:<s@y.example>\n<250 ok\n>RCPT TO:<a@x.example>\n<550 "
		     "no\n=done\n.\n#replied/rcpt/550\nfeed\n=idle\nbegin\n>RSET\n.\n<250 "
		     "ok\n>MAIL FROM:<s@y.example>\n.\n" },
	{ "RSET refused, goes on", 1,
		BARE "begin\n>MAIL FROM:<s@y.example>\n<250 ok\n>RCPT TO:<a@x.example>\n<550 "
		     "no\n=done\nfeed\nbegin\n>RSET\n<502 what\n>MAIL FROM:<s@y.example>\n" },
	{ "lost at RSET: not tried", 1,
		BARE
		"begin\n<250 ok\n<550 "
		"no\n=done\nfeed\nbegin\nlost\nfeed\n=done\n#pending/ready/0\nfeed\n=close\n" },
	{ "CHUNKING alone", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 CHUNKING\nbegin\n>MAIL "
		"FROM:<s@y.example>\n.\n<250 ok\n>RCPT TO:<a@x.example>\n.\n<250 ok\n=raw\n>BDAT "
		"100 LAST\n.\nsent\n<250 queued\n=done\n#delivered/eod/250\n" },
	{ "CHUNKING alone, refused", 1,
		"<220 mx\n>EHLO out\n<250-mx\n<250 CHUNKING\nbegin\n>MAIL FROM:<s@y.example>\n<250 "
		"ok\n>RCPT TO:<a@x.example>\n<550 no\n=done\n.\n#replied/rcpt/550\n" },
};

static void test_chunked(void **state)
{
	run_all(chunked, COUNT(chunked));
}

static void test_piped(void **state)
{
	run_all(piped, COUNT(piped));
}

static void test_single(void **state)
{
	run_all(single, COUNT(single));
}

static void test_busy(void **state)
{
	static const struct row w = { "busy", 1, "" };
	struct peer p;

	peer_open(&p, &w);
	assert_int_equal(smtp_client_begin(p.c, &p.t, &p.out, &p.want), -EBUSY);
	assert_int_equal(smtp_client_quit(p.c, &p.out), -EBUSY);
	step(&p, "<220 mx");
	step(&p, "<250 mx");
	step(&p, "begin");
	assert_int_equal(smtp_client_begin(p.c, &p.t, &p.out, &p.want), -EBUSY);
	assert_int_equal(smtp_client_quit(p.c, &p.out), -EBUSY);
	peer_close(&p);
}

/* QUIT goes behind content only where commands may go in groups, all of it was sent, and once. */
static void test_quit_behind(void **state)
{
	static const struct row w = { "quit", 1, "" };
	static const char *const piped_until_sent[] = { "<220 mx", "<250-mx", "<250-PIPELINING",
		"<250 CHUNKING", "begin" };
	static const char *const single_until_sent[] = { "<220 mx", "<250 mx", "begin", "<250 ok",
		"<250 ok", "<354 go", "sent" };
	struct peer p;

	peer_open(&p, &w);
	for (size_t i = 0; i < COUNT(piped_until_sent); i++)
		step(&p, piped_until_sent[i]);
	assert_int_equal(smtp_client_quit(p.c, &p.out), -EBUSY);
	step(&p, "sent");
	assert_int_equal(smtp_client_quit(p.c, &p.out), 0);
	assert_int_equal(smtp_client_quit(p.c, &p.out), -EBUSY);
	peer_close(&p);
	peer_open(&p, &w);
	for (size_t i = 0; i < COUNT(single_until_sent); i++)
		step(&p, single_until_sent[i]);
	assert_int_equal(smtp_client_quit(p.c, &p.out), -EBUSY);
	peer_close(&p);
}

/* Each phase has a limit of its own; what a limit of another phase would be shows here. */
static void test_timeouts(void **state)
{
	static const struct client_timeouts own = { .connect = 1,
		.banner = 2,
		.ehlo = 3,
		.starttls = 4,
		.tls = 5,
		.mail = 6,
		.rcpt = 7,
		.data = 8,
		.body = 9,
		.eod = 10,
		.rset = 11,
		.quit = 12 };
	static const struct row w = { "timeouts", 1, "", TLS_OPPORTUNISTIC, .timeouts = &own };
	static const struct {
		const char *script;
		ms_t limit;
	} steps[] = {
		{ "", 2 },
		{ "<220 mx\n", 3 },
		{ "<502 what\n", 3 },
		{ "<250 mx\n", 0 },
	}, chain[] = {
		{ "<220 mx\n<250-mx\n<250 STARTTLS\n", 4 },
		{ "<220 go\n", 5 },
		{ "tls\n", 3 },
		{ "feed\n<250-mx\n<250 PIPELINING\n", 0 },
		{ "begin\n", 6 },
		{ "<250 ok\n", 7 },
		{ "<250 ok\n", 8 },
		{ "<354 go\n", 9 },
		{ "sent\n", 10 },
		{ "<250 queued\nfeed\n", 0 },
		{ "begin\n<250 ok\n<550 no\n<503 x\nfeed\n", 0 },
		{ "begin\n", 11 },
		{ "<250 ok\n", 6 },
		{ "<550 no\n<503 x\n<503 x\nfeed\n", 0 },
		{ "quit\n", 12 },
		{ "<221 bye\n", 0 },
	};
	struct peer p;

	for (int k = 0; k < 2; k++) {
		peer_open(&p, &w);
		for (size_t i = 0; i < (k ? COUNT(chain) : COUNT(steps)); i++) {
			play(&p, k ? chain[i].script : steps[i].script);
			assert_int_equal(
				smtp_client_timeout(p.c), k ? chain[i].limit : steps[i].limit);
		}
		peer_close(&p);
	}
}

static void test_default_timeouts(void **state)
{
	struct client_timeouts t;

	client_timeouts_default(&t);
	assert_true(t.connect && t.banner && t.ehlo && t.starttls && t.tls && t.mail && t.rcpt);
	assert_true(t.data && t.body && t.rset && t.quit);
	assert_int_equal(t.eod, 600000); /* RFC 5321 section 4.5.3.2.6 */
}

/* A full output buffer is an error that leaves a machine which can still be settled. */
static void test_output_full(void **state)
{
	static const struct row w = { "full", 1, "" };
	struct peer p;

	peer_open(&p, &w);
	step(&p, "<220 mx");
	step(&p, "<250-mx");
	step(&p, "<250 PIPELINING");
	buf_deinit(&p.out);
	buf_init(&p.out, 20);
	assert_int_equal(smtp_client_begin(p.c, &p.t, &p.out, &p.want), -ENOBUFS);
	smtp_client_lost(p.c, "out of room");
	feed(&p);
	assert_int_equal(p.want, CLIENT_DONE);
	check_results(&p, "lost/mail/0");
	peer_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_piped),
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_quit_behind),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_default_timeouts),
		cmocka_unit_test(test_output_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
