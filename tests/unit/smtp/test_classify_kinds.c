/* Kinds of replies whose single wordings are without number, against the shipped rules: Exchange's
 * store driver, the old consumer service, IPv6, loops. usage: test_classify_kinds RULES */
#include <string.h>

#include "classify_rig.h"

static const char *const any_phase[] = { "connect", "banner", "ehlo", "mail", "rcpt", "data", "eod",
	"unknown" };

/* What the store driver says is about a mailbox, a message or the store, whatever stands behind it;
 * never about our address, and never in the provider's name. */
static void test_store_driver(void **state)
{
	static const char *const part[] = { "STOREDRV.Deliver.Exception:",
		"STOREDRV.Submission.Exception:", "STOREDRV.Submit.Exception:",
		"STOREDRV.Deliver; ", "STOREDRV; ",
		"STOREDRV.Deliver.Exception:NobodyKnows.This." };
	static const char *const what[] = { "StorageTransientException", "MailboxOfflineException",
		"ConversionFailedException", "QuotaExceededException.MapiExceptionShutoffQuota",
		"PropertyErrorException.FolderSave", "AnExceptionOfNextYear",
		"rule failed; your IP address 192.0.2.7 is on our blacklist",
		"too many messages from 192.0.2.7, server busy" };
	static const char *const code[] = { "550 5.2.0", "554 5.2.0", "554 5.6.0", "550 5.7.1",
		"554", "432 4.3.2", "451 4.2.0", "450 4.2.1", "451" };
	static const char *const phase[] = { "rcpt", "data", "eod" };

	for (size_t i = 0; i < COUNT(part) * COUNT(what) * COUNT(code) * COUNT(phase); i++) {
		const char *c = code[i % COUNT(code)];
		struct classification got;
		char text[300];

		(void)snprintf(text, sizeof(text),
			"%s %s%s; Failed to process message [Hostname=AM0PR07MB4321.eurprd07.prod.outlook.com]",
			c, part[i / COUNT(code) % COUNT(part)],
			what[i / COUNT(code) / COUNT(part) % COUNT(what)]);
		got = ask(shipped, "microsoft365",
			phase[i / COUNT(code) / COUNT(part) / COUNT(what)], text);
		if (got.verdict == VERDICT_SOURCE_BLOCK || got.verdict == VERDICT_SOURCE_THROTTLE ||
			got.voice == VOICE_PROVIDER ||
			(*c == '4' && (got.verdict == VERDICT_RECIPIENT_INVALID ||
					      got.verdict == VERDICT_MESSAGE_REJECTED)))
			fail_msg("%s, voice %s: %s", verdict_name(got.verdict),
				voice_name(got.voice), text);
	}
}

/* The consumer service's own marks speak of our address, in any words and at any time. */
static void test_consumer_marks(void **state)
{
	static const char *const mark[] = { "OU-001", "OU-002", "OU-003", "DY-001", "DY-002",
		"SC-001", "SC-002", "SC-003", "SC-004" };
	static const char *const words[] = { "",
		("Mail rejected by Windows Live Hotmail for policy reasons. Reasons for rejection may "
		 "be related to content with spam-like characteristics or IP/domain reputation."),
		"Unfortunately, messages from 192.0.2.7 weren't sent.",
		"(COL004-MC1F13) Words that nobody has seen yet", "mailbox unavailable" };
	static const char *const code[] = { "550", "554", "550 5.7.1" };

	for (size_t i = 0; i < COUNT(mark) * COUNT(words) * COUNT(code); i++) {
		char text[300];

		(void)snprintf(text, sizeof(text), "%s %s %s", code[i % COUNT(code)],
			mark[i / COUNT(code) % COUNT(mark)], words[i / COUNT(code) / COUNT(mark)]);
		for (size_t k = 0; k < COUNT(any_phase); k++) {
			struct classification got = ask(shipped, "outlook", any_phase[k], text);

			if (got.verdict != VERDICT_SOURCE_BLOCK || got.voice != VOICE_PROVIDER)
				fail_msg("%s, voice %s: %s: %s", verdict_name(got.verdict),
					voice_name(got.voice), any_phase[k], text);
		}
	}
}

/* What is asked of IPv6 alone: a name for the address is ours, signatures are the message's; and a
 * tenant that takes no IPv6 speaks for itself. With any words, for a while or for good. */
static void test_ipv6(void **state)
{
	static const struct {
		const char *code;
		enum verdict verdict;
		enum verdict_scope scope;
	} t[] = {
		{ "450 4.7.25", VERDICT_SOURCE_BLOCK, SCOPE_SOURCE },
		{ "550 5.7.25", VERDICT_SOURCE_BLOCK, SCOPE_SOURCE },
		{ "450 4.7.26", VERDICT_MESSAGE_REJECTED, SCOPE_DEFAULT },
		{ "550 5.7.26", VERDICT_MESSAGE_REJECTED, SCOPE_DEFAULT },
		{ "550 5.7.510", VERDICT_SOURCE_BLOCK, SCOPE_DOMAIN },
	};
	static const char *const words[] = { "", "Access denied", "Service unavailable",
		"does not accept email over IPv6", "mail from [2001:db8::7] is not taken" };
	static const char *const phase[] = { "mail", "rcpt", "eod" };

	for (size_t i = 0; i < COUNT(t) * COUNT(words) * COUNT(phase); i++) {
		struct classification got;
		char text[200];

		(void)snprintf(text, sizeof(text), "%s %s", t[i % COUNT(t)].code,
			words[i / COUNT(t) % COUNT(words)]);
		got = ask(shipped, "microsoft365", phase[i / COUNT(t) / COUNT(words)], text);
		if (got.verdict != t[i % COUNT(t)].verdict || got.scope != t[i % COUNT(t)].scope ||
			got.voice == VOICE_PROVIDER)
			fail_msg("%s %s: %s", verdict_name(got.verdict),
				verdict_scope_name(got.scope), text);
	}
}

/* A loop is the receiver's configuration, with whatever code it is told. */
static void test_loops(void **state)
{
	static const char *const code[] = { "554 5.4.6", "550 5.4.14", "500 5.4.6", "550 5.4.0",
		"554", "550 5.7.1", "550" };
	static const char *const words[] = { "Hop count exceeded - possible mail loop",
		"Routing loop detected", "mail loop detected", "too many hops",
		"message is looping",
		"This message is looping: it already has my Delivered-To line.",
		"Hop count exceeded - possible mail loop ATTR34" };
	static const char *const phase[] = { "rcpt", "data", "eod" };

	for (size_t i = 0; i < COUNT(code) * COUNT(words) * COUNT(phase); i++) {
		struct classification got;
		char text[200];

		(void)snprintf(text, sizeof(text), "%s %s", code[i % COUNT(code)],
			words[i / COUNT(code) % COUNT(words)]);
		got = ask(shipped, "microsoft365", phase[i / COUNT(code) / COUNT(words)], text);
		if (got.verdict != VERDICT_DESTINATION_CONFIG)
			fail_msg("%s: %s", verdict_name(got.verdict), text);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store_driver),
		cmocka_unit_test(test_consumer_marks),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_loops),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s RULES\n", argv[0]);
		return 64;
	}
	rules_path = argv[1];
	return cmocka_run_group_tests(tests, load, unload);
}
