/* What the inbound state machine refuses: how errors are counted and forgotten, what it tells its
 * owner of refusals, where postmaster goes, and room for envelopes. */
#include "server_rig.h"

#define EHLO "EHLO app.example\r\n"
#define MAIL "MAIL FROM:<a@s.example>\r\n"
#define RCPT "RCPT TO:<b@r.example>\r\n"
#define DATA "DATA\r\nDate: d\r\n\r\nbody\r\n.\r\n"

static void play(struct rig *r, const char *script)
{
	rig_play(r, slice_of(script), 0);
}

static void play_times(struct rig *r, const char *script, unsigned n)
{
	while (n--)
		play(r, script);
	rig_codes(r);
}

/* ---- errors ---- */

static void test_a_message_clears_errors(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_open(&r);
	play(&r, EHLO);
	for (int i = 0; i < 50; i++) {
		play_times(&r, "X\r\n", 9);
		play_times(&r, MAIL RCPT DATA, 1);
		assert_false(r.closed);
	}
	/* not by a message that was refused */
	play_times(&r, "X\r\n", 9);
	r.commit_result = COMMIT_FULL;
	play_times(&r, MAIL RCPT DATA, 1);
	play_times(&r, "X\r\n", 1);
	assert_true(r.closed);
	rig_close(&r);
}

static void test_time_forgets_errors(void **state)
{
	struct rig r;
	unsigned n = 0;

	rig_init(&r);
	rig_open(&r);
	for (int i = 0; i < 60; i++) {
		r.wall += 60000;
		play_times(&r, "X\r\n", 1);
	}
	assert_false(r.closed);
	/* a clock that is set back forgets nothing, and ends nothing */
	r.wall -= 3600000;
	play_times(&r, "X\r\n", 1);
	assert_false(r.closed);
	/* nonsense without end ends, however slow it is */
	while (!r.closed && n++ < 1000) {
		r.wall += 60000;
		play_times(&r, "X\r\n", 1);
	}
	assert_true(n < 50);
	rig_close(&r);
}

/* A list of hundreds, most of which are no addresses, in one transaction. */
static void test_bad_recipients_of_a_list(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_open(&r);
	play(&r, EHLO MAIL);
	play_times(&r, "RCPT TO:<a@b@c>\r\n", 99);
	play(&r, RCPT DATA);
	assert_string_equal(rig_codes(&r), "250 2.1.5, 354, 250 2.0.0");
	play(&r, MAIL);
	play_times(&r, "RCPT TO:<a@>\r\nRCPT TO:<b@c.example>\r\n", 60);
	assert_false(r.closed);
	/* without an end it ends */
	play_times(&r, "RCPT TO:<a@>\r\n", 60);
	assert_true(r.closed);
	rig_close(&r);
	/* a stranger has no list */
	rig_init(&r);
	r.peer.trusted = false;
	rig_open(&r);
	play(&r, EHLO MAIL);
	play_times(&r, "RCPT TO:<a@b@c>\r\n", 10);
	assert_true(r.closed);
	rig_close(&r);
}

/* ---- what the owner hears ---- */

struct told {
	unsigned n;
	enum smtp_reject reason;
	char reply[200], user[50], sender[50], recipient[50];
};

static void copy(char *out, size_t max, struct slice s)
{
	snprintf(out, max, "%.*s", (int)s.n, s.p ? s.p : "");
}

static void on_rejected(void *arg, const struct smtp_rejection *rej)
{
	struct told *t = arg;

	t->n++;
	t->reason = rej->reason;
	copy(t->reply, sizeof(t->reply), slice_of(rej->reply));
	copy(t->user, sizeof(t->user), slice_of(rej->user ? rej->user : ""));
	copy(t->sender, sizeof(t->sender), rej->sender);
	copy(t->recipient, sizeof(t->recipient), rej->recipient);
}

static const struct {
	const char *script;
	bool stranger;
	enum smtp_reject reason; /* of the last refusal */
	unsigned n;
	const char *reply, *user, *sender, *recipient;
} told_rows[] = {
	{ EHLO MAIL RCPT DATA, false, REJECT_NONE, 0, "", "", "", "" },
	{ EHLO MAIL RCPT "DATA\r\n", true, REJECT_RELAY, 1, "550 5.7.1", "", "a@s.example",
		"b@r.example" },
	{ "X\r\n", false, REJECT_SYNTAX, 1, "500 5.5.2", "", "", "" },
	{ MAIL, false, REJECT_ORDER, 1, "503 5.5.1", "", "a@s.example", "" },
	{ EHLO "MAIL FROM:<a@>\r\n" RCPT "DATA\r\n", false, REJECT_SENDER, 1, "501 5.1.7", "", "",
		"" },
	{ EHLO MAIL "RCPT TO:<a@b@c>\r\n", false, REJECT_RECIPIENT, 1, "501 5.1.3", "",
		"a@s.example", "" },
	{ EHLO "MAIL FROM:<a@s.example> SIZE=100001\r\n", false, REJECT_SIZE, 1, "552 5.3.4", "",
		"a@s.example", "" },
	{ EHLO "AUTH PLAIN AHVzZXIAbm8=\r\n", false, REJECT_AUTH_FAILED, 1, "535 5.7.8", "user", "",
		"" },
	{ EHLO "AUTH PLAIN AHVzZXIAcGFzcw==\r\n" MAIL RCPT "DATA\r\na\nb\r\n.\r\n", true,
		REJECT_CONTENT, 1, "550 5.6.11", "user", "", "" },
	{ EHLO MAIL RCPT "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: "
			 "4\r\nReceived: 5\r\nReceived: 6\r\n\r\n.\r\n",
		false, REJECT_LOOP, 1, "554 5.4.6", "", "a@s.example", "" },
	{ EHLO MAIL RCPT "BDAT 200000\r\n", false, REJECT_NONE, 0, "", "", "", "" },
	{ "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\n", false, REJECT_ERRORS, 11,
		"421 4.7.0", "", "", "" },
	{ EHLO "QUIT\r\n", false, REJECT_NONE, 0, "", "", "", "" },
};

static void test_refusals_are_told(void **state)
{
	for (size_t i = 0; i < sizeof(told_rows) / sizeof(told_rows[0]); i++) {
		struct told t = { 0 };
		struct rig r;

		rig_init(&r);
		r.peer.trusted = !told_rows[i].stranger;
		r.peer.auth_available = r.params.offer_auth_plain_text = true;
		r.peer.rejected = on_rejected;
		r.peer.arg = &t;
		rig_open(&r);
		play(&r, told_rows[i].script);
		if (t.n != told_rows[i].n || t.reason != told_rows[i].reason ||
			strncmp(t.reply, told_rows[i].reply, strlen(told_rows[i].reply)) != 0)
			fail_msg("%zu: %u, %s: %s", i, t.n, smtp_reject_name(t.reason), t.reply);
		assert_string_equal(t.user, told_rows[i].user);
		assert_string_equal(t.sender, told_rows[i].sender);
		assert_string_equal(t.recipient, told_rows[i].recipient);
		rig_close(&r);
	}
}

/* ---- postmaster, names, header sections ---- */

static const struct {
	const char *hostname, *postmaster, *given, *goes_to;
} postmasters[] = {
	{ "out.example.net", NULL, "postmaster", "postmaster@example.net" },
	{ "out.example.net", NULL, "PostMaster", "postmaster@example.net" },
	{ "example.net", NULL, "postmaster", "postmaster@example.net" },
	{ "localhost", NULL, "postmaster", "postmaster@localhost" },
	{ "out.example.net", "ops@corp.example", "POSTMASTER", "ops@corp.example" },
	{ "out.example.net", "ops@corp.example", "Postmaster@OUT.example.net.",
		"ops@corp.example" },
	{ "out.example.net", "ops@corp.example", "postmaster@example.net",
		"postmaster@example.net" },
	{ "out.example.net", "ops@corp.example", "ops@out.example.net", "ops@out.example.net" },
};

static void test_postmaster(void **state)
{
	for (size_t i = 0; i < sizeof(postmasters) / sizeof(postmasters[0]); i++) {
		char script[300];
		struct rig r;

		rig_init(&r);
		r.params.hostname = postmasters[i].hostname;
		r.params.postmaster = postmasters[i].postmaster;
		rig_open(&r);
		snprintf(script, sizeof(script), EHLO MAIL "RCPT TO:<%s>\r\n" DATA,
			postmasters[i].given);
		play(&r, script);
		assert_int_equal(r.commits, 1);
		assert_string_equal(r.last->recipients[0].address, postmasters[i].goes_to);
		assert_string_equal(
			r.last->recipients[0].domain, strchr(postmasters[i].goes_to, '@') + 1);
		rig_close(&r);
	}
}

static int to_ascii(struct slice in, char *out, size_t max)
{
	snprintf(out, max, "xn--m.example");
	return 0;
}

static void test_names_of_clients(void **state)
{
	static const struct {
		const char *said, *kept;
		bool idna;
	} rows[] = {
		{ "app.example.", "app.example", false },
		{ "m\xc3\xbc.example", "m??.example", false },
		{ "m\xc3\xbc.example", "xn--m.example", true },
		{ "b\xfcro", "b?ro", true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char script[100];
		struct rig r;

		rig_init(&r);
		r.params.domain_to_ascii = rows[i].idna ? to_ascii : NULL;
		rig_open(&r);
		snprintf(script, sizeof(script), "EHLO %s\r\n" MAIL RCPT DATA, rows[i].said);
		play(&r, script);
		assert_int_equal(r.commits, 1);
		assert_string_equal(r.last->helo, rows[i].kept);
		rig_close(&r);
	}
}

static void test_header_flags(void **state)
{
	static const struct {
		const char *content;
		uint32_t flags;
	} rows[] = {
		{ "Date: d\r\n\r\nx\r\n", 0 },
		{ "From a@b Mon\r\nDate: d\r\n\r\nx\r\n", 0 },
		{ "Date: d\r\nno field\r\nTo: x\r\n\r\nx\r\n", MESSAGE_HEADER_MENDED },
		{ "Date: d\r\nno field\r\n\r\nx\r\n", MESSAGE_HEADER_CUT },
		{ "no field\r\n", MESSAGE_HEADER_CUT },
		{ "", 0 },
		{ "\r\n", 0 },
		{ "Date: d\r\n", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char script[300];
		struct rig r;

		rig_init(&r);
		rig_open(&r);
		snprintf(script, sizeof(script), EHLO MAIL RCPT "DATA\r\n%s.\r\n", rows[i].content);
		play(&r, script);
		assert_int_equal(r.commits, 1);
		assert_int_equal(r.last->flags, rows[i].flags);
		rig_close(&r);
	}
}

/* ---- room ---- */

static bool room_for(void *arg, size_t bytes)
{
	return bytes < *(size_t *)arg;
}

static void test_envelopes_need_room(void **state)
{
	size_t room = 4000;
	char script[100];
	struct rig r;
	size_t envelope, content;
	unsigned n = 0;

	rig_init(&r);
	r.peer.envelope_room = room_for;
	r.peer.arg = &room;
	rig_open(&r);
	play(&r, EHLO MAIL);
	rig_codes(&r);
	do {
		snprintf(script, sizeof(script), "RCPT TO:<b%u@r.example>\r\n", n++);
		play(&r, script);
	} while (strcmp(rig_codes(&r), "250 2.1.5") == 0 && n < 100);
	assert_in_range(n, 8, 50);
	smtp_server_held(r.server, &envelope, &content);
	assert_true(envelope > 0 && envelope <= room && content == 0);
	/* those that were taken go their way */
	play(&r, DATA);
	assert_string_equal(rig_codes(&r), "354, 250 2.0.0");
	assert_int_equal(r.last->nrecipients, n - 1);
	smtp_server_held(r.server, &envelope, &content);
	assert_int_equal(envelope + content, 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_clears_errors),
		cmocka_unit_test(test_time_forgets_errors),
		cmocka_unit_test(test_bad_recipients_of_a_list),
		cmocka_unit_test(test_refusals_are_told),
		cmocka_unit_test(test_postmaster),
		cmocka_unit_test(test_names_of_clients),
		cmocka_unit_test(test_header_flags),
		cmocka_unit_test(test_envelopes_need_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
