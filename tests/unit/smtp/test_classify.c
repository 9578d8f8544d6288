/* What a rule is and does. usage: test_classify RULES */
#include <errno.h>

#include "classify_rig.h"

static void test_tokens(void **state)
{
	static const struct {
		const char *text, *token;
	} t[] = {
		{ "451 4.7.500 Server busy. Please try again later from [192.0.2.10]. (S77719)",
			"S77719" },
		{ "451 4.7.650 The mail server (S843)[host", "S843" },
		{ "550 5.7.1 Service unavailable AS(1450)", "AS1450" },
		{ "550 5.7.1 Service unavailable (AS16012609)", "AS16012609" },
		{ "550 5.7.1 no luck as(1410) today", "AS1410" },
		{ "451 4.4.62 Mail sent to the wrong region. ATTR35. For more", "ATTR35" },
		{ "451 4.4.3 try again later attr3.1", "ATTR3" },
		{ "451 4.7.0 try again later.PRX4", "PRX4" },
		{ "451 4.7.0 later. CPRX2 ", "CPRX2" },
		{ "451 4.7.500 Please try again laterS77719", "S77719" },
		{ "421 4.7.0 [TS01] Messages from 192.0.2.10 deferred", "TS01" },
		{ "552 5.1.1 Boite pleine OFR_417 [417]", "OFR_417" },
		{ "550 SC-004 (COL0-MC1-F1) Unfortunately", "SC-004" },
		{ "450 4.2.1 visit https://support.google.com/mail/?p=ReceivingRate - gsmtp",
			"RECEIVINGRATE" },
		{ "451 4.4.1 later [BN3PEPF0000B077.namprd04.prod.outlook.com 2025 "
		  "08DE2A19D02BF789]",
			"" },
		{ "451 4.4.1 as 2000 users asked, not AS 1234 nor S12", "" },
		{ "250 2.6.0 ok (S77719)", "" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct classification got = ask(shipped, "default", "rcpt", t[i].text);

		assert_string_equal(got.token, t[i].token);
	}
}

static void test_names(void **state)
{
	enum verdict v;

	assert_string_equal(verdict_name(VERDICT_SOURCE_BLOCK), "source-block");
	assert_string_equal(verdict_name(VERDICT_COUNT), "unknown");
	assert_int_equal(verdict_parse(&v, SLICE_LIT("split-recipients")), 0);
	assert_int_equal(v, VERDICT_SPLIT_RECIPIENTS);
	assert_int_equal(verdict_parse(&v, SLICE_LIT("Delivered")), -EINVAL);
}

static struct classifier *rules(const char *text)
{
	struct classifier *c = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	assert_int_equal(classifier_new(&c, slice_of(text), "r", &errors), 0);
	assert_int_equal(buf_size(&errors), 0);
	buf_deinit(&errors);
	return c;
}

/* Without any rule: code and phase. */
static void test_fallback(void **state)
{
	static const struct {
		const char *phase, *text;
		enum verdict verdict;
	} t[] = {
		{ "eod", "250 ok", VERDICT_DELIVERED },
		{ "rcpt", "251 will forward", VERDICT_DELIVERED },
		{ "data", "354 go", VERDICT_TRANSIENT_OTHER },
		{ "mail", "lost connection", VERDICT_TRANSIENT_OTHER },
		{ "rcpt", "450 later", VERDICT_TRANSIENT_OTHER },
		{ "rcpt", "452 4.2.2 x", VERDICT_DESTINATION_BUSY },
		{ "mail", "452 4.3.1 x", VERDICT_DESTINATION_BUSY },
		{ "rcpt", "452 4.5.3 x", VERDICT_SPLIT_RECIPIENTS },
		{ "banner", "554 no", VERDICT_SOURCE_BLOCK },
		{ "ehlo", "550 5.1.1 no", VERDICT_SOURCE_BLOCK },
		{ "banner", "521 no mail here", VERDICT_DESTINATION_CONFIG },
		{ "rcpt", "550 no", VERDICT_RECIPIENT_INVALID },
		{ "rcpt", "550 5.1.1 no", VERDICT_RECIPIENT_INVALID },
		{ "rcpt", "554 no", VERDICT_MESSAGE_REJECTED },
		{ "rcpt", "552 no", VERDICT_DESTINATION_BUSY },
		{ "eod", "552 no", VERDICT_MESSAGE_REJECTED },
		{ "rcpt", "552 5.2.2 no", VERDICT_DESTINATION_BUSY },
		{ "eod", "552 5.3.4 no", VERDICT_MESSAGE_REJECTED },
		{ "mail", "553 5.1.8 no", VERDICT_MESSAGE_REJECTED },
		{ "mail", "550 5.1.1 no", VERDICT_MESSAGE_REJECTED },
		{ "rcpt", "550 5.4.4 no", VERDICT_DESTINATION_CONFIG },
		{ "rcpt", "550 mx.example 5.4.4 no", VERDICT_DESTINATION_CONFIG },
		{ "eod", "554 5.6.0 no", VERDICT_MESSAGE_REJECTED },
		{ "data", "503 5.5.2 need rcpt", VERDICT_TRANSIENT_OTHER },
		{ "starttls", "501 no", VERDICT_DESTINATION_CONFIG },
		{ "mail", "500 no", VERDICT_TRANSIENT_OTHER },
		{ "rcpt", "500 5.5.2 no", VERDICT_TRANSIENT_OTHER },
		{ "data", "502 5.3.3 no", VERDICT_TRANSIENT_OTHER },
		{ "mail", "501 no", VERDICT_TRANSIENT_OTHER },
		{ "rcpt", "501 5.1.3 no", VERDICT_RECIPIENT_INVALID },
		{ "rcpt", "555 5.5.4 no", VERDICT_TRANSIENT_OTHER },
		{ "rcpt", "550 5.5.1 no", VERDICT_TRANSIENT_OTHER },
		{ "rcpt", "550 5.5.0 no", VERDICT_RECIPIENT_INVALID },
		{ "rcpt", "550 5.5.3 no", VERDICT_SPLIT_RECIPIENTS },
		{ "eod", "550 5.5.6 no", VERDICT_MESSAGE_REJECTED },
		{ "eod", "500 no", VERDICT_TRANSIENT_OTHER },
		{ "unknown", "550 no", VERDICT_MESSAGE_REJECTED },
		{ "nonsense", "550 no", VERDICT_MESSAGE_REJECTED },
	};
	struct classifier *c = rules("");

	for (size_t i = 0; i < COUNT(t); i++) {
		struct classification got = ask(c, "default", t[i].phase, t[i].text);

		if (got.verdict != t[i].verdict)
			fail_msg("%s %s: %s", t[i].phase, t[i].text, verdict_name(got.verdict));
		assert_int_equal(got.rule_line, 0);
	}
	classifier_free(c);
}

static const char *const providers[] = { "microsoft365", "outlook", "default" };

/* A command that is not understood says nothing about the mail: in no words, to no command, from
 * nobody does it bounce. */
static const char *const not_understood[] = {
	"500 5.5.2 unrecognized command",
	"500 5.5.1 Unrecognized command",
	"500 5.5.1 Command unrecognized: \"XXXX\"",
	"500 5.5.2 Error: bad syntax",
	"500 5.3.3 Unrecognized command",
	"500 5.3.3 Unrecognized command 'X' [AM6EUR05FT003.prod.protection.outlook.com]",
	"500 Syntax error, command unrecognized",
	"500 Syntax error, command unrecognised",
	"500 Command not recognized",
	"500 5.5.1 Command unknown",
	"500 unknown command",
	"500 Commande inconnue",
	"500 Befehl unbekannt",
	"500 Comando desconocido",
	"500 Error",
	"500",
	"500 5.5.1",
	"500 5.0.0 Command unrecognized",
	"501 5.5.4 Invalid arguments",
	"501 5.5.4 Syntax: MAIL FROM:<address>",
	"501 5.5.4 Syntax: RCPT TO:<address>",
	"501 5.5.2 Syntax error in parameters or arguments",
	"501 Syntax error in parameters or arguments",
	"501 5.5.4 Unrecognized parameter",
	"501 5.5.2 Cannot Decode response",
	"501 5.5.1",
	"502 5.5.1 Unrecognized command",
	"502 5.5.2 Error: command not recognized",
	"502 Command not implemented",
	"502 5.3.3 Command not implemented",
	"502 5.5.1 Command is disabled",
	"502 no",
	"503 Bad sequence of commands",
	"503 5.5.1 Error: nested MAIL command",
	"503 5.5.1 bad sequence of commands",
	"504 Command parameter not implemented",
	"504 5.5.4 Command parameter not implemented",
	"555 5.5.4 Unsupported option: SIZE=100",
	"555 MAIL FROM/RCPT TO parameters not recognized or not implemented",
	"550 5.5.1 Command unrecognized",
	"550 5.5.1 Invalid command",
	"550 5.5.2 Syntax error",
	"554 5.5.1 Error: invalid command",
	"554 5.5.4 Error",
	"550 5.5.5 Wrong protocol version",
};

/* who is at fault is said: it stays so */
static const struct {
	const char *phase, *text;
	enum verdict verdict;
} at_fault[] = {
	{ "rcpt", "501 5.1.3 Bad recipient address syntax", VERDICT_RECIPIENT_INVALID },
	{ "rcpt", "501 Bad address syntax", VERDICT_RECIPIENT_INVALID },
	{ "rcpt", "501 Invalid recipient address", VERDICT_RECIPIENT_INVALID },
	{ "rcpt", "501 5.5.4 Invalid recipient address", VERDICT_RECIPIENT_INVALID },
	{ "rcpt", "504 5.5.2 <foo>: Recipient address rejected: need fully-qualified address",
		VERDICT_RECIPIENT_INVALID },
	{ "mail", "504 5.5.2 <foo>: Sender address rejected: need fully-qualified address",
		VERDICT_MESSAGE_REJECTED },
	{ "mail", "501 5.1.7 Bad sender address syntax", VERDICT_MESSAGE_REJECTED },
	{ "mail", "501 5.1.7 Invalid address", VERDICT_MESSAGE_REJECTED },
	{ "rcpt", "504 5.5.2 <out>: Helo command rejected: need fully-qualified hostname",
		VERDICT_SOURCE_BLOCK },
	{ "ehlo", "501 5.5.4 Invalid domain name", VERDICT_SOURCE_BLOCK },
	{ "rcpt", "550 5.5.0 Requested action not taken: mailbox unavailable",
		VERDICT_RECIPIENT_INVALID },
	{ "rcpt", "550 5.5.3 Too many recipients", VERDICT_SPLIT_RECIPIENTS },
	{ "eod", "550 5.5.6 Invalid message content", VERDICT_MESSAGE_REJECTED },
	{ "eod", "500 5.4.6 Routing Loop Detected", VERDICT_DESTINATION_CONFIG },
	{ "data", "554 5.5.1 Error: no valid recipients", VERDICT_TRANSIENT_OTHER },
	{ "eod", "500 5.5.1 Command unrecognized: \"Received: from\"", VERDICT_TRANSIENT_OTHER },
	{ "eod", "502 5.5.2 Error: command not recognized", VERDICT_TRANSIENT_OTHER },
	{ "eod", "500 Message too large", VERDICT_MESSAGE_REJECTED },
	{ "rcpt", "550 5.7.1 Command rejected: your IP is blocked", VERDICT_SOURCE_BLOCK },
	{ "starttls", "502 5.5.1 Command not implemented", VERDICT_DESTINATION_CONFIG },
};

static bool read_as(const char *provider, const char *phase, const char *text, enum verdict want)
{
	struct classification got = ask(shipped, provider, phase, text);

	if (got.verdict != want)
		print_error("%s %s %s: %s by line %u\n", provider, phase, text,
			verdict_name(got.verdict), got.rule_line);
	return got.verdict == want;
}

static void test_out_of_step(void **state)
{
	static const char *const phases[] = { "mail", "rcpt", "data" };
	unsigned wrong = 0;

	for (size_t i = 0; i < COUNT(not_understood); i++)
		for (size_t k = 0; k < COUNT(phases) * COUNT(providers); k++)
			wrong += !read_as(providers[k % COUNT(providers)],
				phases[k / COUNT(providers)], not_understood[i],
				VERDICT_TRANSIENT_OTHER);
	for (size_t i = 0; i < COUNT(at_fault); i++)
		for (size_t k = 0; k < COUNT(providers); k++)
			wrong += !read_as(providers[k], at_fault[i].phase, at_fault[i].text,
				at_fault[i].verdict);
	assert_int_equal(wrong, 0);
}

static void test_matching(void **state)
{
	struct classifier *c =
		rules("# comment\n"
		      "p1,p2 rcpt,mail 45x x.7.500-699 S# \"Busy server\" -> source-throttle "
		      "subnet 10m\r\n"
		      "\n"
		      "default * 5xx - * \"ip block\"|\"netz\" !\"user\" -> source-block\n"
		      "* * 5xx * - \"bloqu\xc3\xa9\" -> source-block source # why\n"
		      "* eod 4xx * ATTR#,PRX* * -> destination-busy cluster 90s\n"
		      "p1 * 4xx 5.x.1,4.4.x * * -> destination-config\n");
	static const struct {
		const char *provider, *phase, *text;
		uint32_t line;
	} t[] = {
		{ "p1", "rcpt", "451 4.7.550 the SERVER,is-busy (S777)", 2 },
		{ "p2", "mail", "459 4.7.699 serverbusy (S7700)", 2 },
		{ "p3", "rcpt", "451 4.7.550 server busy (S777)", 0 },
		{ "p1", "eod", "451 4.7.550 server busy (S777)", 0 },
		{ "p1", "rcpt", "441 4.7.550 server busy (S777)", 0 },
		{ "p1", "rcpt", "451 4.7.499 server busy (S777)", 0 },
		{ "p1", "rcpt", "451 4.7.550 server (S777)", 0 },
		{ "p1", "rcpt", "451 4.7.550 server busy", 0 },
		{ "nobody", "rcpt", "550 your ip is blocked", 4 },
		{ "nobody", "rcpt", "550 your recipient is blocked", 0 },
		{ "nobody", "rcpt", "550 5.7.1 your ip is blocked", 0 },
		{ "nobody", "rcpt", "550 ip blocked for this user", 0 },
		{ "p1", "rcpt", "550 ip blocked", 0 },
		{ "default", "rcpt", "550 Netz", 4 },
		{ "p1", "rcpt", "550 5.7.1 BLOQUEE", 5 },
		{ "p1", "rcpt",
			"550 5.7.1 Bloqu\xc3\xa9"
			"e",
			5 },
		{ "p1", "rcpt", "550 5.7.1 Bloquee (S3140)", 0 },
		{ "p2", "eod", "451 x ATTR35", 6 },
		{ "p2", "eod", "451 x PRX", 0 },
		{ "p2", "eod", "451 x PRX1", 6 },
		{ "p1", "mail", "451 4.4.9 x", 7 },
		{ "p1", "mail", "451 5.9.1 x", 7 },
		{ "p1", "mail", "451 5.9.2 x", 0 },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct classification got = ask(c, t[i].provider, t[i].phase, t[i].text);

		if (got.rule_line != t[i].line)
			fail_msg("%s %s %s: line %u", t[i].provider, t[i].phase, t[i].text,
				got.rule_line);
	}
	assert_int_equal(ask(c, "p2", "eod", "451 x ATTR35").cooldown, 90000);
	assert_int_equal(ask(c, "p2", "eod", "451 x ATTR35").scope, SCOPE_CLUSTER);
	classifier_free(c);
}

/* Both line by line; what is got may end in a remedy behind "; ". */
static void messages_check(const char *got, const char *want)
{
	while (*want) {
		size_t n = strcspn(want, "\n");

		if (strncmp(got, want, n) || (got[n] != '\n' && strncmp(got + n, "; ", 2)))
			fail_msg("want %s, got %s", want, got);
		got += strcspn(got, "\n") + 1;
		want += n + 1;
	}
	assert_string_equal(got, "");
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *error; /* without the remedies */
	} t[] = {
		{ "a b", "r:1: no such phase: b\n" },
		{ "* *", "r:1: a rule has six columns, then -> and a verdict\n" },
		{ "* * 4xx * * *", "r:1: no -> and verdict\n" },
		{ "* * 4xx * * -> transient-other", "r:1: no wording; * is any\n" },
		{ "* * 250 * * * -> delivered", "r:1: reply codes are like 451 or 5xx: 250\n" },
		{ "* * 4yx * * * -> x", "r:1: reply codes are like 451 or 5xx: 4yx\n" },
		{ "* * * 4.7 * * -> x",
			"r:1: enhanced codes are like 5.7.1, x.7.500-699 or 4.x.x: 4.7\n" },
		{ "* * * 4.7.9-1 * * -> x",
			"r:1: enhanced codes are like 5.7.1, x.7.500-699 or 4.x.x: 4.7.9-1\n" },
		{ "* * * 4.7.1 * busy -> x", "r:1: wording stands in double quotes: busy\n" },
		{ "* * * 4.7.1 * \"busy -> x",
			"r:1: wording stands in double quotes: \"busy -> x\n" },
		{ "* * * 4.7.1 * \"a\",\"b\" -> x", "r:1: alternatives are joined by |: ,\"b\"\n" },
		{ "* * * 4.7.1 * \" .\" -> x", "r:1: wording has no word\n" },
		{ "* * * * * * -> bounce", "r:1: no such verdict: bounce\n" },
		{ "* * * * * * -> delivered", "r:1: no 4xx or 5xx reply means delivered\n" },
		{ "* * * * * * -> source-block town",
			"r:1: neither a scope, a voice nor a duration: town\n" },
		{ "* * * * * * -> source-block source 4h x",
			"r:1: more than a verdict, scope, voice and duration: x\n" },
		{ "* * * * , * -> x", "r:1: a token has 1 to 31 characters\n" },
		{ "dated", "r:1: not a date\n" },
		{ "dated 2026-13-01", "r:1: not a date: 2026-13-01\n" },
		{ "dated 2026-12-01\ndated 2026-12-02", "r:2: a second date: 2026-12-02\n" },
		{ "builtin on", "r:1: builtin can only be switched off: on\n" },
		{ "a b\n* * * * * * -> source-block\n\n* c",
			"r:1: no such phase: b\nr:4: no such phase: c\n" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct classifier *c = NULL;
		struct buf errors;

		buf_init(&errors, 0);
		assert_int_equal(classifier_new(&c, slice_of(t[i].text), "r", &errors), -EINVAL);
		assert_null(c);
		assert_int_equal(buf_add(&errors, "", 1), 0);
		messages_check(buf_slice(&errors).p, t[i].error);
		buf_deinit(&errors);
	}
}

/* Whose words they are, and about whom. */
static void test_voice(void **state)
{
	struct classifier *c =
		rules("* * 550 * * \"one\" -> message-rejected sender\n"
		      "* * 550 * * \"two\" -> message-rejected voice=tenant\n"
		      "* * 550 * * \"three\" -> source-block subnet voice=provider 4h\n"
		      "* * 550 * * * -> source-block voice=receiver\n");
	struct classification got = ask(c, "default", "rcpt", "550 one");

	assert_int_equal(got.scope, SCOPE_SENDER);
	assert_int_equal(got.voice, VOICE_RECEIVER);
	got = ask(c, "default", "rcpt", "550 two");
	assert_int_equal(got.scope, SCOPE_DEFAULT);
	assert_int_equal(got.voice, VOICE_TENANT);
	got = ask(c, "default", "rcpt", "550 three");
	assert_int_equal(got.scope, SCOPE_SUBNET);
	assert_int_equal(got.voice, VOICE_PROVIDER);
	assert_int_equal(got.cooldown, 4 * 3600 * 1000);
	assert_int_equal(ask(c, "default", "rcpt", "550 four").voice, VOICE_RECEIVER);
	assert_int_equal(ask(c, "default", "rcpt", "450 four").voice, VOICE_RECEIVER);
	classifier_free(c);
}

/* What a host quotes is somebody else's, unless it is another host's reply; one word is a name. */
static void test_quotation(void **state)
{
	static const struct {
		const char *text;
		bool quoted;
	} t[] = {
		{ "550 refused: \"your IP is bad\"", true },
		{ "550 refused: \"go away\" he said", true },
		{ "550 refused: \xe2\x80\x9cgo away\xe2\x80\x9d", true },
		{ "550 refuse: \xc2\xab va t'en \xc2\xbb", true },
		{ "550 abgelehnt: \xe2\x80\x9egeh weg\xe2\x80\x9c", true },
		{ "550 the \"From\" header of \"a b\"", true },
		{ "550 the \"From\" header is bad", false },
		{ "550 responded with: \"421 4.4.1 Connection timed out\"", false },
		{ "550 a lone \" mark is no quotation", false },
		{ "550 \"", false },
		{ "550 none at all", false },
	};
	struct classifier *c = rules("* * * * * \"quotedtext\" -> message-rejected\n");

	for (size_t i = 0; i < COUNT(t); i++) {
		if ((ask(c, "default", "rcpt", t[i].text).rule_line > 0) != t[i].quoted)
			fail_msg("%s", t[i].text);
	}
	classifier_free(c);
}

/* Texts are asked in their order, up to the one that wants none behind it. */
static void test_texts(void **state)
{
	struct rules_text texts[] = {
		{ SLICE_LIT("# mine\ndated 2026-02-28\n* * 550 * * \"one\" -> transient-other\n"),
			"mine" },
		{ SLICE_LIT("* * 550 * * \"one\" -> source-block\n* * 550 * * \"two\" -> "
			    "recipient-invalid\n"),
			"theirs" },
		{ SLICE_LIT("nonsense"), "broken" },
	};
	struct classifier *c = NULL;
	struct classification got;
	struct buf b;

	buf_init(&b, 0);
	assert_int_equal(classifier_new_of(&c, texts, 2, &b), 0);
	got = ask(c, "default", "rcpt", "550 one two");
	assert_int_equal(got.verdict, VERDICT_TRANSIENT_OTHER);
	assert_int_equal(got.rule_line, 3);
	assert_int_equal(got.rule_text, 0);
	got = ask(c, "default", "rcpt", "550 two");
	assert_int_equal(got.verdict, VERDICT_RECIPIENT_INVALID);
	assert_int_equal(got.rule_line, 2);
	assert_string_equal(classifier_text(c, got.rule_text)->name, "theirs");
	assert_int_equal(classifier_describe(c, &b), 0);
	assert_int_equal(buf_add(&b, "", 1), 0);
	assert_string_equal(buf_slice(&b).p,
		"mine (1 rules, dated 2026-02-28), then theirs (2 rules, no date)");
	c = classifier_free(c);
	buf_reset(&b);
	assert_int_equal(classifier_new_of(&c, texts, 3, &b), -EINVAL);
	assert_memory_equal(buf_slice(&b).p, "broken:1: ", 10);
	buf_reset(&b);
	texts[1].text = SLICE_LIT("builtin off\n");
	assert_int_equal(classifier_new_of(&c, texts, 3, &b), 0);
	assert_null(classifier_text(c, 2));
	assert_int_equal(ask(c, "default", "rcpt", "550 two").rule_line, 0);
	classifier_free(c);
	buf_deinit(&b);
}

/* Anything may be said at any length. */
/* Which server says it: the last one that names itself, and nothing that only looks like one. */
static void test_server(void **state)
{
	static const struct {
		uint16_t code;
		const char *text, *server, *cluster;
	} rows[] = {
		{ 550, "5.7.1 blocked [VE1EUR01FT062.eop-EUR01.prod.protection.outlook.com]",
			"VE1EUR01FT062", "eop-EUR01" },
		{ 451, "4.7.500 busy [TY1PEPF0000BAD7.JPNP286.PROD.OUTLOOK.COM 2024-08-06 08DC]",
			"TY1PEPF0000BAD7", "JPNP286" },
		{ 550,
			"5.7.1 x [AM9PR07MB7669.eurprd07.prod.outlook.com 2025] [Name=Protocol "
			"Filter Agent][AGT=PFA] [BN3PEPF0000B077.namprd04.prod.outlook.com 2025",
			"BN3PEPF0000B077", "namprd04" },
		{ 550, "5.7.1 [A.b.prod.c] [ABCDEFGHIJKLMNOPQRSTUVWXYZ012345.b.prod.c]", "", "" },
		{ 550, "5.7.1 [ABCDEFGHIJKLMNOPQRSTUVWXYZ01234.b.prod.c]",
			"ABCDEFGHIJKLMNOPQRSTUVWXYZ01234", "b" },
		{ 550, "5.0.0 [InternalId=1, Hostname=AS8PR07MB7669.eurprd07.prod.outlook.com]", "",
			"" },
		{ 550, "5.0.0 [Hostname=AS8PR07MB7669.eurprd07.prod.outlook.com]", "", "" },
		{ 550, "5.7.1 [CONTOSO.prod.outlook.com] [.x.prod.a] [a..prod.b] [a.b.prod] [", "",
			"" },
		{ 550, "5.7.1 A.b.prod.c without brackets", "", "" },
		{ 550, "[", "", "" },
		{ 550, "", "", "" },
		{ 250, "2.6.0 Queued [VE1EUR01FT062.eop-EUR01.prod.protection.outlook.com]", "",
			"" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		static struct reply r;
		struct classification got;

		reply_make(&r, rows[i].code, rows[i].text);
		classify(shipped, SLICE_LIT("microsoft365"), SLICE_LIT("rcpt"), &r, &got);
		assert_string_equal(got.server, rows[i].server);
		assert_string_equal(got.server_cluster, rows[i].cluster);
	}
}

/* What else stands in a refusal is handed over, so that nobody reads it again. */
static void test_facts(void **state)
{
	static const struct {
		const char *text;
		uint16_t code, detail;
		uint8_t enhanced[3];
		bool names_ipv6;
	} rows[] = {
		{ "550 5.7.606 no", 550, 606, { 5, 7, 255 }, false },
		{ "451 4.2.121 later", 451, 121, { 4, 2, 121 }, false },
		{ "554 no mail over IPV6 here", 554, 0, { 0, 0, 0 }, true },
		{ "421", 421, 0, { 0, 0, 0 }, false },
		{ "250 2.6.0 over IPv6", 0, 0, { 0, 0, 0 }, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct classification got = ask(shipped, "default", "rcpt", rows[i].text);

		assert_int_equal(got.code, rows[i].code);
		assert_int_equal(got.detail, rows[i].detail);
		assert_memory_equal(got.enhanced, rows[i].enhanced, 3);
		assert_int_equal(got.names_ipv6, rows[i].names_ipv6);
	}
}

static void test_long(void **state)
{
	static struct reply r;
	struct classification got;

	reply_make(&r, 550, "");
	memset(r.text, '[', REPLY_TEXT_MAX - 1);
	r.n = REPLY_TEXT_MAX - 1;
	r.text[r.n] = '\0';
	classify(shipped, SLICE_LIT("microsoft365"), SLICE_LIT("rcpt"), &r, &got);
	memset(r.text, 'a', REPLY_TEXT_MAX - 1);
	classify(shipped, SLICE_LIT("microsoft365"), SLICE_LIT("rcpt"), &r, &got);
	assert_string_equal(got.token, "");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_out_of_step),
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_voice),
		cmocka_unit_test(test_quotation),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_long),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s RULES\n", argv[0]);
		return 64;
	}
	rules_path = argv[1];
	return cmocka_run_group_tests(tests, load, unload);
}
