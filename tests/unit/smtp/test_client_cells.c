/* The outbound machine, cell by cell: each state × each kind of answer. A cell says what comes of
 * it: what the machine wants (and what it says), and then, where a transaction or the session
 * ended: outcome/phase/code of both recipients; what is left: "idle, RSET" or "idle, MAIL" (what
 * the next transaction begins with), or "close" with the phase and code that the session failed
 * with. */
#include "client_rig.h"

enum { ANSWERS = 7 };
static const char *const answers[ANSWERS] = { "<250 ok", "<354 go", "<451 4.3.0 later",
	"<550 5.1.1 no", "<421 4.3.2 closing", "<oops", "lost" };

struct state {
	const char *name, *script;
	const char *cells[ANSWERS]; /* 250 354 451 550 421 garbage lost-or-timed-out */
	enum tls_mode tls;
};

#define TLS_OFFERED "<220 mx\n>EHLO out\n<250-mx\n<250 STARTTLS\n>STARTTLS\n"
#define CHUNKED                                                                                    \
	ALL "begin\n>MAIL FROM:<s@y.example> SIZE=100\n>RCPT TO:<a@x.example>\n>RCPT "             \
	    "TO:<b@x.example>\n>BDAT 100 LAST\n"
#define SENT CHUNKED "sent\n"
#define PIPED                                                                                      \
	PIPE "begin\n>MAIL FROM:<s@y.example>\n>RCPT TO:<a@x.example>\n>RCPT "                     \
	     "TO:<b@x.example>\n>DATA\n"
#define SINGLE BARE "begin\n>MAIL FROM:<s@y.example>\n"

static const struct state states[] = {
	{ "BANNER", "",
		{ "read EHLO", "close QUIT, close banner/354", "close QUIT, close banner/451",
			"close QUIT, close banner/550", "close, close banner/421",
			"close, close banner/0", "close, close banner/0" } },
	{ "EHLO", "<220 mx\n>EHLO out\n",
		{ "idle", "close QUIT, close ehlo/354", "close QUIT, close ehlo/451", "read HELO",
			"close, close ehlo/421", "close, close ehlo/0", "close, close ehlo/0" } },
	{ "EHLO, TLS demanded", "<220 mx\n>EHLO out\n",
		{ "close QUIT, close starttls/0", "close QUIT, close ehlo/354",
			"close QUIT, close ehlo/451", "read HELO", "close, close ehlo/421",
			"close, close ehlo/0", "close, close ehlo/0" },
		TLS_REQUIRE },
	{ "HELO", "<220 mx\n>EHLO out\n<502 what\n>HELO out\n",
		{ "idle", "close QUIT, close ehlo/354", "close QUIT, close ehlo/451",
			"close QUIT, close ehlo/550", "close, close ehlo/421",
			"close, close ehlo/0", "close, close ehlo/0" } },
	{ "STARTTLS, opportunistic", TLS_OFFERED,
		{ "starttls", "close QUIT, close starttls/354", "idle", "idle",
			"close, close starttls/421", "close, close starttls/0",
			"close, close starttls/0" },
		TLS_OPPORTUNISTIC },
	{ "STARTTLS, required", TLS_OFFERED,
		{ "starttls", "close QUIT, close starttls/354", "close QUIT, close starttls/451",
			"close QUIT, close starttls/550", "close, close starttls/421",
			"close, close starttls/0", "close, close starttls/0" },
		TLS_REQUIRE },
	{ "TLS", TLS_OFFERED "<220 go\n=starttls\n",
		{ "starttls", "starttls", "starttls", "starttls", "starttls", "starttls",
			"close, close tls/0" },
		TLS_OPPORTUNISTIC },
	{ "EHLO behind TLS", TLS_OFFERED "<220 go\n=starttls\ntls\nfeed\n>EHLO out\n",
		{ "idle", "close QUIT, close ehlo/354", "close QUIT, close ehlo/451",
			"close QUIT, close ehlo/550", "close, close ehlo/421",
			"close, close ehlo/0", "close, close ehlo/0" },
		TLS_VERIFY },
	{ "READY", ALL,
		{ "close, close ready/250", "close, close ready/354", "close, close ready/451",
			"close, close ready/550", "close, close ready/421", "close, close ready/0",
			"close, close ready/0" } },
	{ "RSET before a flight",
		ALL "begin\nsent\n<250 ok\n<550 a\n<550 b\n<503 c\nfeed\n=idle\nbegin\nsent\n",
		{ "read", "done: lost/rset/0 lost/rset/0, close rset/0", "read", "read",
			"done: pending/ready/0 pending/ready/0, close rset/421",
			"done: lost/rset/0 lost/rset/0, close rset/0",
			"done: lost/rset/0 lost/rset/0, close rset/0" } },
	{ "RSET alone", BARE "begin\n<250 ok\n<550 a\n<550 b\nfeed\n=idle\nbegin\n",
		{ "read MAIL", "done: pending/ready/0 pending/ready/0, close rset/0", "read MAIL",
			"read MAIL", "done: pending/ready/0 pending/ready/0, close rset/421",
			"done: pending/ready/0 pending/ready/0, close rset/0",
			"done: pending/ready/0 pending/ready/0, close rset/0" } },
	{ "MAIL, flight", SENT,
		{ "read", "done: lost/mail/0 lost/mail/0, close mail/0", "read", "read",
			"done: replied/mail/421 replied/mail/421, close mail/421",
			"done: lost/mail/0 lost/mail/0, close mail/0",
			"done: lost/mail/0 lost/mail/0, close mail/0" } },
	{ "MAIL, content not all sent", CHUNKED,
		{ "read", "done: lost/mail/0 lost/mail/0, close mail/0", "read", "read",
			"done: replied/mail/421 replied/mail/421, close mail/421",
			"done: lost/mail/0 lost/mail/0, close mail/0",
			"done: lost/mail/0 lost/mail/0, close mail/0" } },
	{ "MAIL, piped", PIPED,
		{ "read", "done: lost/mail/0 lost/mail/0, close mail/0", "read", "read",
			"done: replied/mail/421 replied/mail/421, close mail/421",
			"done: lost/mail/0 lost/mail/0, close mail/0",
			"done: lost/mail/0 lost/mail/0, close mail/0" } },
	{ "MAIL, single", SINGLE,
		{ "read RCPT", "done: lost/mail/0 lost/mail/0, close mail/0",
			"done: replied/mail/451 replied/mail/451, idle, MAIL",
			"done: replied/mail/550 replied/mail/550, idle, MAIL",
			"done: replied/mail/421 replied/mail/421, close mail/421",
			"done: lost/mail/0 lost/mail/0, close mail/0",
			"done: lost/mail/0 lost/mail/0, close mail/0" } },
	{ "first RCPT, flight", SENT "<250 ok\n",
		{ "read", "done: lost/rcpt/0 lost/rcpt/0, close rcpt/0", "read", "read",
			"done: replied/rcpt/421 lost/rcpt/421, close rcpt/421",
			"done: lost/rcpt/0 lost/rcpt/0, close rcpt/0",
			"done: lost/rcpt/0 lost/rcpt/0, close rcpt/0" } },
	{ "second RCPT, flight, first taken", SENT "<250 ok\n<250 ok\n",
		{ "read", "done: doubt/rcpt/0 doubt/rcpt/0, close rcpt/0", "read", "read",
			"done: lost/rcpt/421 replied/rcpt/421, close rcpt/421",
			"done: doubt/rcpt/0 doubt/rcpt/0, close rcpt/0",
			"done: doubt/rcpt/0 doubt/rcpt/0, close rcpt/0" } },
	{ "second RCPT, flight, first refused", SENT "<250 ok\n<550 5.1.1 no\n",
		{ "read", "done: replied/rcpt/550 lost/rcpt/0, close rcpt/0", "read", "read",
			"done: replied/rcpt/550 replied/rcpt/421, close rcpt/421",
			"done: replied/rcpt/550 lost/rcpt/0, close rcpt/0",
			"done: replied/rcpt/550 lost/rcpt/0, close rcpt/0" } },
	{ "second RCPT, piped, first refused", PIPED "<250 ok\n<550 5.1.1 no\n",
		{ "read", "done: replied/rcpt/550 lost/rcpt/0, close rcpt/0", "read", "read",
			"done: replied/rcpt/550 replied/rcpt/421, close rcpt/421",
			"done: replied/rcpt/550 lost/rcpt/0, close rcpt/0",
			"done: replied/rcpt/550 lost/rcpt/0, close rcpt/0" } },
	{ "first RCPT, single", SINGLE "<250 ok\n>RCPT TO:<a@x.example>\n",
		{ "read RCPT", "done: lost/rcpt/0 lost/rcpt/0, close rcpt/0", "read RCPT",
			"read RCPT", "done: replied/rcpt/421 lost/rcpt/421, close rcpt/421",
			"done: lost/rcpt/0 lost/rcpt/0, close rcpt/0",
			"done: lost/rcpt/0 lost/rcpt/0, close rcpt/0" } },
	{ "second RCPT, single, first refused",
		SINGLE "<250 ok\n>RCPT TO:<a@x.example>\n<550 5.1.1 no\n>RCPT TO:<b@x.example>\n",
		{ "read DATA", "done: replied/rcpt/550 lost/rcpt/0, close rcpt/0",
			"done: replied/rcpt/550 replied/rcpt/451, idle, RSET",
			"done: replied/rcpt/550 replied/rcpt/550, idle, RSET",
			"done: replied/rcpt/550 replied/rcpt/421, close rcpt/421",
			"done: replied/rcpt/550 lost/rcpt/0, close rcpt/0",
			"done: replied/rcpt/550 lost/rcpt/0, close rcpt/0" } },
	{ "DATA, piped", PIPED "<250 ok\n<250 ok\n<550 5.1.1 no\n",
		{ "done: lost/data/0 replied/rcpt/550, close data/0", "dots",
			"done: replied/data/451 replied/rcpt/550, idle, RSET",
			"done: replied/data/550 replied/rcpt/550, idle, RSET",
			"done: replied/data/421 replied/rcpt/550, close data/421",
			"done: lost/data/0 replied/rcpt/550, close data/0",
			"done: lost/data/0 replied/rcpt/550, close data/0" } },
	{ "DATA, single",
		SINGLE "<250 ok\n>RCPT TO:<a@x.example>\n<250 ok\n>RCPT TO:<b@x.example>\n<250 "
		       "ok\n>DATA\n",
		{ "done: lost/data/0 lost/data/0, close data/0", "dots",
			"done: replied/data/451 replied/data/451, idle, RSET",
			"done: replied/data/550 replied/data/550, idle, RSET",
			"done: replied/data/421 replied/data/421, close data/421",
			"done: lost/data/0 lost/data/0, close data/0",
			"done: lost/data/0 lost/data/0, close data/0" } },
	{ "BDAT content not all sent", CHUNKED "<250 ok\n<250 ok\n<550 5.1.1 no\n",
		{ "done: lost/eod/0 replied/rcpt/550, close eod/0",
			"done: lost/eod/0 replied/rcpt/550, close eod/0",
			"done: replied/eod/451 replied/rcpt/550, close eod/0",
			"done: replied/eod/550 replied/rcpt/550, close eod/0",
			"done: replied/eod/421 replied/rcpt/550, close eod/421",
			"done: lost/eod/0 replied/rcpt/550, close eod/0",
			"done: lost/eod/0 replied/rcpt/550, close eod/0" } },
	{ "DATA content not all sent", PIPED "<250 ok\n<250 ok\n<550 5.1.1 no\n<354 go\n=dots\n",
		{ "done: lost/eod/0 replied/rcpt/550, close eod/0",
			"done: lost/eod/0 replied/rcpt/550, close eod/0",
			"done: replied/eod/451 replied/rcpt/550, close eod/0",
			"done: replied/eod/550 replied/rcpt/550, close eod/0",
			"done: replied/eod/421 replied/rcpt/550, close eod/421",
			"done: lost/eod/0 replied/rcpt/550, close eod/0",
			"done: lost/eod/0 replied/rcpt/550, close eod/0" } },
	{ "end of BDAT", SENT "<250 ok\n<250 ok\n<550 5.1.1 no\n",
		{ "done: delivered/eod/250 replied/rcpt/550, idle, MAIL",
			"done: doubt/eod/0 replied/rcpt/550, close eod/0",
			"done: replied/eod/451 replied/rcpt/550, idle, RSET",
			"done: replied/eod/550 replied/rcpt/550, idle, RSET",
			"done: replied/eod/421 replied/rcpt/550, close eod/421",
			"done: doubt/eod/0 replied/rcpt/550, close eod/0",
			"done: doubt/eod/0 replied/rcpt/550, close eod/0" } },
	{ "end of DATA", PIPED "<250 ok\n<250 ok\n<550 5.1.1 no\n<354 go\n=dots\nsent\n",
		{ "done: delivered/eod/250 replied/rcpt/550, idle, MAIL",
			"done: doubt/eod/0 replied/rcpt/550, close eod/0",
			"done: replied/eod/451 replied/rcpt/550, idle, MAIL",
			"done: replied/eod/550 replied/rcpt/550, idle, MAIL",
			"done: replied/eod/421 replied/rcpt/550, close eod/421",
			"done: doubt/eod/0 replied/rcpt/550, close eod/0",
			"done: doubt/eod/0 replied/rcpt/550, close eod/0" } },
	{ "echo of RCPT behind a refused MAIL, flight", SENT "<451 4.3.0 later\n",
		{ "read", "done: replied/mail/451 replied/mail/451, close rcpt/0", "read", "read",
			"done: replied/mail/451 replied/mail/451, close rcpt/421",
			"done: replied/mail/451 replied/mail/451, close rcpt/0",
			"done: replied/mail/451 replied/mail/451, close rcpt/0" } },
	{ "echo of BDAT behind a refused MAIL", SENT "<451 4.3.0 later\n<503 x\n<503 x\n",
		{ "done: replied/mail/451 replied/mail/451, idle, MAIL",
			"done: replied/mail/451 replied/mail/451, close eod/0",
			"done: replied/mail/451 replied/mail/451, idle, RSET",
			"done: replied/mail/451 replied/mail/451, idle, RSET",
			"done: replied/mail/451 replied/mail/451, close eod/421",
			"done: replied/mail/451 replied/mail/451, close eod/0",
			"done: replied/mail/451 replied/mail/451, close eod/0" } },
	{ "echo of DATA behind a refused MAIL", PIPED "<451 4.3.0 later\n<503 x\n<503 x\n",
		{ "done: replied/mail/451 replied/mail/451, close data/0", "read .",
			"done: replied/mail/451 replied/mail/451, idle, MAIL",
			"done: replied/mail/451 replied/mail/451, idle, MAIL",
			"done: replied/mail/451 replied/mail/451, close data/421",
			"done: replied/mail/451 replied/mail/451, close data/0",
			"done: replied/mail/451 replied/mail/451, close data/0" } },
	{ "echo of BDAT behind refused RCPT", SENT "<250 ok\n<550 a\n<451 b\n",
		{ "done: replied/rcpt/550 replied/rcpt/451, idle, MAIL",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/0",
			"done: replied/rcpt/550 replied/rcpt/451, idle, RSET",
			"done: replied/rcpt/550 replied/rcpt/451, idle, RSET",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/421",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/0",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/0" } },
	{ "echo of DATA behind refused RCPT", PIPED "<250 ok\n<550 a\n<451 b\n",
		{ "done: replied/rcpt/550 replied/rcpt/451, close data/0", "read .",
			"done: replied/rcpt/550 replied/rcpt/451, idle, RSET",
			"done: replied/rcpt/550 replied/rcpt/451, idle, RSET",
			"done: replied/rcpt/550 replied/rcpt/451, close data/421",
			"done: replied/rcpt/550 replied/rcpt/451, close data/0",
			"done: replied/rcpt/550 replied/rcpt/451, close data/0" } },
	{ "end of empty content owed to nobody", PIPED "<250 ok\n<550 a\n<451 b\n<354 go\n>.\n",
		{ "done: replied/rcpt/550 replied/rcpt/451, idle, MAIL",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/0",
			"done: replied/rcpt/550 replied/rcpt/451, idle, MAIL",
			"done: replied/rcpt/550 replied/rcpt/451, idle, MAIL",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/421",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/0",
			"done: replied/rcpt/550 replied/rcpt/451, close eod/0" } },
	{ "QUIT", ALL "quit\n>QUIT\n",
		{ "close, close", "close, close", "close, close", "close, close", "close, close",
			"close, close", "close, close" } },
	{ "CLOSED", "<554 no\n=close\n>QUIT\n",
		{ "close, close banner/554", "close, close banner/554", "close, close banner/554",
			"close, close banner/554", "close, close banner/554",
			"close, close banner/554", "close, close banner/554" } },
};

__attribute__((format(printf, 2, 3))) static void add(char *to, const char *format, ...)
{
	va_list ap;
	size_t n = strlen(to);

	va_start(ap, format);
	vsnprintf(to + n, 512 - n, format, ap);
	va_end(ap);
}

/* The verbs of what was said since. */
static void add_said(struct peer *p, char *to)
{
	struct slice s = buf_slice(&p->out);

	while (s.n > 0) {
		const char *lf = memchr(s.p, '\n', s.n);
		size_t line = lf ? (size_t)(lf - s.p) + 1 : s.n, n = 0;

		while (n < line && s.p[n] > ' ')
			n++;
		add(to, " %.*s", (int)n, s.p);
		s = slice_from(s, line);
	}
	buf_reset(&p->out);
}

static void add_failure(struct peer *p, char *to)
{
	const struct smtp_client_info *info = smtp_client_info(p->c);

	add(to, ", close");
	if (info->why[0])
		add(to, " %s/%u", client_phase_name(info->failed_in), info->failure.code);
}

static void observe(struct peer *p, char *got)
{
	char results[512];
	bool open = false;

	add(got, "%s", wants[p->want]);
	add_said(p, got);
	if (p->want == CLIENT_DONE) {
		open = true;
		add(got, ": %s", results_text(p, results));
		feed(p);
		add_said(p, got);
	}
	if (p->want == CLIENT_CLOSE) {
		add_failure(p, got);
	} else if (open) {
		assert_int_equal(p->want, CLIENT_IDLE);
		act(p, "begin");
		add(got, ", idle,");
		assert_true(buf_size(&p->out) > 4);
		add(got, " %.4s", buf_slice(&p->out).p);
	}
}

static void check_cell(const struct state *s, unsigned answer)
{
	const struct row w = { s->name, 2, "", s->tls };
	char got[512] = "";
	struct peer p;

	peer_open(&p, &w);
	play(&p, s->script);
	buf_reset(&p.out);
	play(&p, answers[answer]);
	if (!strcmp(answers[answer], "lost"))
		feed(&p);
	observe(&p, got);
	peer_close(&p);
	if (strcmp(got, s->cells[answer]) != 0)
		fail_msg("%s, %s: %s, not %s", s->name, answers[answer], got, s->cells[answer]);
}

static void test_cells(void **state)
{
	for (size_t i = 0; i < COUNT(states); i++)
		for (unsigned k = 0; k < ANSWERS; k++)
			check_cell(&states[i], k);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cells) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
