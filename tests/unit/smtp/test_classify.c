/* usage: test_classify RULES TABLE... */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/classify.h"
#include "postern/clock.h"

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define COLUMNS	   5
#define TABLES_MAX 8

static const char *rules_path;
static const char *tables[TABLES_MAX];
static int ntables;
static struct classifier *shipped;

static char *file_read(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *text;
	long size;

	if (!f)
		fail_msg("%s cannot be opened", path);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)size, f), size);
	fclose(f);
	*n = (size_t)size;
	return text;
}

static int load(void **state)
{
	struct buf errors;
	size_t n;
	char *text = file_read(rules_path, &n);
	int r;

	(void)state;
	buf_init(&errors, 0);
	r = classifier_new(&shipped, (struct slice){ text, n }, "replies.rules", &errors);
	if (r)
		print_error("%.*s", (int)buf_size(&errors), errors.p);
	buf_deinit(&errors);
	free(text);
	return r;
}

static int unload(void **state)
{
	(void)state;
	shipped = classifier_free(shipped);
	return 0;
}

static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] == 'n') {
			*to++ = '\n';
			s++;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Splits at tabs; the last column takes the rest. */
static void split(char *line, char *column[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++) {
		column[i] = line;
		line = i + 1 < COLUMNS ? strchr(line, '\t') : NULL;
		if (i + 1 < COLUMNS && !line)
			fail_msg("too few columns: %s", column[0]);
		if (line)
			*line++ = '\0';
	}
}

struct score {
	unsigned rows, wrong, harmful;
	unsigned microsoft, microsoft_wrong;
};

/* A source's fault taken for the recipient's or the message's: mail would be lost. */
static bool is_harmful(enum verdict want, enum verdict got)
{
	return (want == VERDICT_SOURCE_BLOCK || want == VERDICT_SOURCE_THROTTLE) &&
	       (got == VERDICT_RECIPIENT_INVALID || got == VERDICT_MESSAGE_REJECTED);
}

static void row_check(char *line, struct score *score)
{
	char *column[COLUMNS];
	struct classification got;
	enum verdict want;
	static struct reply r;

	split(line, column);
	assert_int_equal(verdict_parse(&want, slice_of(column[0])), 0);
	unescape(column[4]);
	assert_int_equal(reply_from_text(&r, slice_of(column[4])), 0);
	classify(shipped, slice_of(column[1]), slice_of(column[2]), &r, &got);
	score->rows++;
	score->microsoft += strcmp(column[1], "default") != 0;
	if (got.verdict == want)
		return;
	score->wrong++;
	score->microsoft_wrong += strcmp(column[1], "default") != 0;
	score->harmful += is_harmful(want, got.verdict);
	print_error("want %s, got %s by line %u (%s %s): %s\n", column[0],
		verdict_name(got.verdict), got.rule_line, column[1], column[2], column[4]);
}

static void table_check(const char *path, struct score *score)
{
	size_t n;
	char *text = file_read(path, &n), *line = text;

	while (*line) {
		char *end = strchr(line, '\n');

		if (end)
			*end = '\0';
		if (*line && *line != '#')
			row_check(line, score);
		line = end ? end + 1 : line + strlen(line);
	}
	free(text);
}

static void test_tables(void **state)
{
	for (int i = 0; i < ntables; i++) {
		struct score score = { 0 };

		table_check(tables[i], &score);
		print_message(
			"%s: %u of %u right\n", tables[i], score.rows - score.wrong, score.rows);
		assert_int_equal(score.harmful, 0);
		assert_int_equal(score.microsoft_wrong, 0);
		/* other receivers' labels in the collection are as first given */
		if (strstr(tables[i], "collected"))
			assert_true(score.wrong * 100 <= score.rows * 2);
		else
			assert_int_equal(score.wrong, 0);
		assert_true(score.rows >= 90 && score.microsoft >= 60);
	}
}

/* ---- the same replies, written in other ways ---- */

static void to_upper(char *out, const char *s)
{
	for (; *s; s++)
		*out++ = *s >= 'a' && *s <= 'z' ? (char)(*s & ~0x20) : *s;
	*out = '\0';
}

static void to_lower(char *out, const char *s)
{
	for (; *s; s++)
		*out++ = *s >= 'A' && *s <= 'Z' ? (char)(*s | 0x20) : *s;
	*out = '\0';
}

static void blanks_doubled(char *out, const char *s)
{
	for (; *s; s++) {
		*out++ = *s;
		if (*s == ' ')
			*out++ = ' ';
	}
	*out = '\0';
}

static void blanks_lost(char *out, const char *s)
{
	for (; *s; s++) {
		*out++ = *s;
		if (strchr(".,;)]", *s) && s[1] == ' ')
			s++;
	}
	*out = '\0';
}

static void blanks_broken(char *out, const char *s)
{
	for (unsigned n = 0; *s; s++)
		*out++ = *s == ' ' && ++n % 6 == 0 ? '\n' : *s;
	*out = '\0';
}

static void digits_masked(char *out, const char *s)
{
	const char *at;

	while ((at = strstr(s, "192.0.2."))) {
		memcpy(out, s, (size_t)(at - s));
		out += at - s;
		memcpy(out, "x.xx.xx.xx", 10);
		out += 10;
		s = at + 8 + strspn(at + 8, "0123456789");
	}
	memcpy(out, s, strlen(s) + 1);
}

static void tail_added(char *out, const char *s)
{
	sprintf(out,
		"%s [DB5PEPF00014B9B.eurprd02.prod.outlook.com 2025-11-25T08:06:40.951Z "
		"08DE2A19D02BF789]",
		s);
}

static void tails_removed(char *out, const char *s)
{
	const char *end;

	while (*s) {
		end = *s == '[' ? strchr(s, ']') : NULL;
		if (end && end - s > 30)
			s = end + 1;
		else
			*out++ = *s++;
	}
	*out = '\0';
}

static void code_set_off(char *out, const char *s)
{
	sprintf(out, "%.3s; %s", s, s + 4);
}

static void variation_check(char *line, void (*vary)(char *, const char *), struct score *score)
{
	static char text[8192];
	char *column[COLUMNS];
	struct classification got;
	enum verdict want;
	static struct reply r;

	split(line, column);
	if (!strcmp(column[1], "default"))
		return;
	assert_int_equal(verdict_parse(&want, slice_of(column[0])), 0);
	unescape(column[4]);
	vary(text, column[4]);
	assert_int_equal(reply_from_text(&r, slice_of(text)), 0);
	classify(shipped, slice_of(column[1]), slice_of(column[2]), &r, &got);
	score->rows++;
	if (got.verdict == want)
		return;
	score->wrong++;
	score->harmful += is_harmful(want, got.verdict);
	print_error("want %s, got %s by line %u: %s\n", column[0], verdict_name(got.verdict),
		got.rule_line, text);
}

static void test_variations(void **state)
{
	static void (*const vary[])(char *, const char *) = { to_upper, to_lower, blanks_doubled,
		blanks_lost, blanks_broken, digits_masked, tail_added, tails_removed,
		code_set_off };
	struct score score = { 0 };

	for (size_t k = 0; k < COUNT(vary); k++) {
		for (int i = 0; i < ntables; i++) {
			size_t n;
			char *text = file_read(tables[i], &n), *rest = text, *line;

			while ((line = strsep(&rest, "\n"))) {
				if (*line && *line != '#')
					variation_check(line, vary[k], &score);
			}
			free(text);
		}
	}
	print_message("%u of %u right\n", score.rows - score.wrong, score.rows);
	assert_int_equal(score.harmful, 0);
	assert_true(score.wrong * 100 <= score.rows);
}

/* ---- details ---- */

static struct classification ask(
	const struct classifier *c, const char *provider, const char *phase, const char *text)
{
	struct classification ret;
	static struct reply r;

	if (reply_from_text(&r, slice_of(text)))
		reply_make(&r, 0, text);
	classify(c, slice_of(provider), slice_of(phase), &r, &ret);
	return ret;
}

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

/* Whatever code and words stand before it: what Microsoft says of our address is never taken for
 * the recipient's or the message's fault. */
static void test_source_faults(void **state)
{
	static const char *const code[] = { "550 5.7.1", "550 5.1.1", "550 5.4.1", "550 5.2.1",
		"550 5.0.0", "550", "554 5.7.1", "550 5.7.133", "550 5.7.501", "554 5.6.0",
		"550 5.7.520", "550 5.3.0", "550 5.7.512", "550 5.7.509", "550 5.7.23" };
	static const char *const head[] = { "Access denied,", "Service unavailable,",
		"Recipient not authorized,", "Message rejected;",
		"Recipient address rejected:", "Not authorized,",
		"Mail refused:", "Delivery not authorized, message refused;", "Sender denied," };
	static const char *const fault[] = { "your IP has been found on a block list",
		"the IP address 192.0.2.7 is blocked", "Client host [192.0.2.7] blocked",
		"messages from your IP address are not accepted", "banned sending IP [192.0.2.7]",
		"connections from 192.0.2.7 are refused", "the sending IP has a poor reputation",
		"the mail server IP connecting has been blocked",
		"part of their network is on our block list", "traffic not accepted from this IP",
		"the source IP is listed by Spamhaus", "spam abuse detected from IP range",
		"your IP range is not allowed", "the host 192.0.2.7 is on a blocklist",
		"sending server is listed in a DNSBL",
		"the connecting IP has no reverse DNS record", "too many messages from your IP",
		"banned sender[192.0.2.7]", "ask delist@microsoft.com to remove your entry",
		"our organization takes no mail over IPv6", "the sending host has sent spam before",
		"the sending system has too poor a reputation",
		"too many complaints about mail of the sending server: refused" };
	static const char *const phase[] = { "mail", "rcpt", "data", "eod", "unknown" };
	static const char *const provider[] = { "microsoft365", "outlook" };

	for (size_t i = 0; i < COUNT(code) * COUNT(head) * COUNT(fault); i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "%s %s %s", code[i % COUNT(code)],
			head[i / COUNT(code) % COUNT(head)], fault[i / COUNT(code) / COUNT(head)]);
		for (size_t j = 0; j < COUNT(phase) * COUNT(provider); j++) {
			enum verdict v = ask(shipped, provider[j % COUNT(provider)],
				phase[j / COUNT(provider)], text)
						 .verdict;

			if (v != VERDICT_SOURCE_BLOCK && v != VERDICT_SOURCE_THROTTLE)
				fail_msg("%s: %s", verdict_name(v), text);
		}
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

static void test_errors(void **state)
{
	static const struct {
		const char *text, *error;
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
			"r:1: neither a scope nor a duration: town\n" },
		{ "* * * * * * -> source-block source 4h x",
			"r:1: more than a verdict, scope and duration: x\n" },
		{ "* * * * , * -> x", "r:1: a token has 1 to 31 characters\n" },
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
		assert_string_equal(buf_slice(&errors).p, t[i].error);
		buf_deinit(&errors);
	}
}

/* Anything may be said at any length. */
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
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_variations),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_source_faults),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_long),
	};

	if (argc < 3 || argc - 2 > TABLES_MAX) {
		fprintf(stderr, "usage: %s RULES TABLE...\n", argv[0]);
		return 64;
	}
	rules_path = argv[1];
	for (ntables = 0; ntables < argc - 2; ntables++)
		tables[ntables] = argv[2 + ntables];
	return cmocka_run_group_tests(tests, load, unload);
}
