/* The shipped rules against matrices of wordings, codes and phases. usage: test_classify_words
 * RULES */
#include <string.h>

#include "classify_rig.h"

static bool is_source(enum verdict v)
{
	return v == VERDICT_SOURCE_BLOCK || v == VERDICT_SOURCE_THROTTLE;
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
		"Mail refused:", "Sender denied," };
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
		"too many complaints about mail of the sending server: refused",
		"mail from this network is no longer accepted by the recipient",
		"your sending range is disabled for this mailbox",
		"the sending IP was blocked by the tenant allow/block list",
		"unable to relay: the IP 192.0.2.7 is blocked",
		"the IP of the sender domain is on our block list",
		"the certificate is valid but 192.0.2.7 is on a block list",
		"your network has sent to too many mailboxes that do not exist",
		"this sending range has sent viruses to our users",
		"messages with attachments from IP 192.0.2.7 are blocked" };
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

			if (!is_source(v))
				fail_msg("%s: %s", verdict_name(v), text);
		}
	}
}

/* What marks a rule of the receiving organization outweighs whatever its author has it say, in any
 * phase; the marks that only its text bears count once a recipient was named. */
static void test_tenants_words(void **state)
{
	static const struct {
		bool anywhere;
		const char *code, *before, *after; /* code NULL: each */
	} mark[] = {
		{ true, NULL,
			"TRANSPORT.RULES.RejectMessage; the message was rejected by organization "
			"policy: ",
			"" },
		{ true, NULL, "Rejected by mail flow rule: ", "" },
		{ true, NULL, "", ". TRANSPORT.RULES.RejectMessage" },
		{ true, NULL, "Transport rule: \"", "\"" },
		{ true, "550 5.7.900", "", "" },
		{ true, "550 5.7.950", "", "" },
		{ true, "554 5.7.999", "", "" },
		{ true, "550 5.7.912", "Access denied, ", " (S3140)" },
		{ false, NULL, "Delivery not authorized, message refused; ", "" },
		{ false, NULL, "",
			". Please contact your system administrator for more information." },
		{ false, NULL, "Your message was refused: \"", "\"" },
		{ false, NULL, "Refused by our security team, ", "" },
		{ false, NULL, "Against company policy: ", "" },
	};
	static const char *const code[] = { "550 5.7.1", "554 5.7.1", "550 5.7.0" };
	static const char *const claim[] = { "your IP address is on our blacklist",
		"banned sending IP [192.0.2.7]", "part of your network is on our block list",
		"Client host [192.0.2.7] blocked using Spamhaus",
		"too many messages from 192.0.2.7", "your IP has a bad reputation",
		"the host 192.0.2.7 has no reverse DNS", "sender is rate limited (AS77719)",
		"server busy, try again later from 192.0.2.7", "connection refused (S3150)",
		"mailbox unavailable", "relay access denied" };
	static const char *const phase[] = { "eod", "rcpt", "data", "unknown", "mail", "ehlo",
		"banner", "connect" };

	for (size_t i = 0; i < COUNT(mark); i++) {
		for (size_t k = 0; k < COUNT(code) * COUNT(claim); k++) {
			char text[256];

			(void)snprintf(text, sizeof(text), "%s %s%s%s",
				mark[i].code ? mark[i].code : code[k % COUNT(code)], mark[i].before,
				claim[k / COUNT(code)], mark[i].after);
			for (size_t j = 0; j < (mark[i].anywhere ? COUNT(phase) : 4); j++) {
				struct classification got =
					ask(shipped, "microsoft365", phase[j], text);

				if (got.verdict != VERDICT_MESSAGE_REJECTED ||
					got.voice != VOICE_TENANT)
					fail_msg("%s by line %u: %s: %s", verdict_name(got.verdict),
						got.rule_line, phase[j], text);
			}
		}
	}
}

/* What is said of the tenant or domain that sends is not said of our address, and never by a
 * tenant's word; nor does it bounce where it is for a while. */
static void test_sender_words(void **state)
{
	static const char *const detail[] = { "7.233", "7.705", "7.708", "7.711", "7.750" };
	static const char *const words[] = { "Access denied, tenant has exceeded threshold",
		"Service unavailable. Access denied, traffic not accepted from this IP. AS(7171)",
		"Client blocked from sending from unregistered domains",
		"Access denied, bad inbound connector. AS(2204)", "Server busy [192.0.2.7]",
		"Your IP is on a block list", "" };
	static const char *const phase[] = { "mail", "rcpt", "data", "eod", "unknown" };
	static const char *const provider[] = { "microsoft365", "outlook", "default" };

	for (size_t i = 0; i < COUNT(detail) * COUNT(words) * 2; i++) {
		char text[256];
		int class = i % 2 ? 5 : 4;

		(void)snprintf(text, sizeof(text), "%d50 %d.%s %s", class, class,
			detail[i / 2 % COUNT(detail)], words[i / 2 / COUNT(detail)]);
		for (size_t j = 0; j < COUNT(phase) * COUNT(provider); j++) {
			struct classification got = ask(shipped, provider[j % COUNT(provider)],
				phase[j / COUNT(provider)], text);

			if (got.scope != SCOPE_SENDER ||
				got.verdict != (class == 5 ? VERDICT_MESSAGE_REJECTED
							   : VERDICT_TRANSIENT_OTHER))
				fail_msg("%s, scope %d: %s", verdict_name(got.verdict), got.scope,
					text);
		}
	}
}

/* Codes that no tenant can choose, and blocks before a recipient was named, are the provider's. */
static void test_providers_words(void **state)
{
	static const struct {
		enum voice voice;
		enum verdict verdict;
		const char *phase, *text;
	} t[] = {
		{ VOICE_PROVIDER, VERDICT_SOURCE_BLOCK, "rcpt",
			"550 5.7.606 Access denied, banned sending IP [192.0.2.7] AS(1430)" },
		{ VOICE_PROVIDER, VERDICT_SOURCE_BLOCK, "rcpt",
			"550 5.7.511 Access denied, banned sender[192.0.2.7]. To request removal "
			"from this list please forward this message to "
			"delist@messaging.microsoft.com AS(508)" },
		{ VOICE_PROVIDER, VERDICT_SOURCE_BLOCK, "mail",
			"550 5.7.1 Unfortunately, messages from [192.0.2.7] weren't sent, part of "
			"their network is on our block list (S3150)." },
		{ VOICE_PROVIDER, VERDICT_SOURCE_THROTTLE, "rcpt",
			"451 4.7.500 Server busy. Please try again later from [192.0.2.7]. "
			"(S77719)" },
		{ VOICE_RECEIVER, VERDICT_SOURCE_BLOCK, "eod",
			"550 5.7.1 messages from [192.0.2.7] weren't sent, part of their network "
			"is on our block list (S3150)." },
		{ VOICE_RECEIVER, VERDICT_SOURCE_BLOCK, "rcpt",
			"550 5.7.1 Your IP address is on our blacklist" },
		{ VOICE_TENANT, VERDICT_SOURCE_BLOCK, "rcpt",
			"550 5.7.513 Service unavailable, Client host [192.0.2.7] blocked by "
			"contoso.com using Customer Block list (AS16012607)" },
		{ VOICE_TENANT, VERDICT_SOURCE_BLOCK, "rcpt",
			"550 5.7.510 Access denied, contoso.com does not accept email over IPv6" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct classification got = ask(shipped, "microsoft365", t[i].phase, t[i].text);

		if (got.voice != t[i].voice || got.verdict != t[i].verdict)
			fail_msg("voice %d, %s by line %u: %s", got.voice,
				verdict_name(got.verdict), got.rule_line, t[i].text);
		got = ask(shipped, "default", t[i].phase, t[i].text);
		if (got.voice == VOICE_PROVIDER) /* nobody speaks for all others */
			fail_msg("by line %u: %s", got.rule_line, t[i].text);
	}
}

/* Codes of Microsoft by family, with no words that would help and with misleading ones. */
static void test_code_families(void **state)
{
	static const struct {
		uint16_t subject, low, high;
		enum verdict verdict;
	} t[] = {
		{ 1, 1, 6, VERDICT_RECIPIENT_INVALID },
		{ 1, 10, 10, VERDICT_RECIPIENT_INVALID },
		{ 2, 0, 1, VERDICT_RECIPIENT_INVALID },
		{ 2, 2, 2, VERDICT_DESTINATION_BUSY },
		{ 2, 3, 3, VERDICT_MESSAGE_REJECTED },
		{ 2, 4, 120, VERDICT_RECIPIENT_INVALID },
		{ 2, 121, 122, VERDICT_DESTINATION_BUSY },
		{ 4, 1, 1, VERDICT_RECIPIENT_INVALID },
		{ 4, 4, 17, VERDICT_DESTINATION_CONFIG },
		{ 4, 300, 330, VERDICT_DESTINATION_CONFIG },
		{ 6, 0, 220, VERDICT_MESSAGE_REJECTED },
		{ 7, 23, 23, VERDICT_MESSAGE_REJECTED },
		{ 7, 25, 25, VERDICT_SOURCE_BLOCK },
		{ 7, 26, 26, VERDICT_MESSAGE_REJECTED },
		{ 7, 120, 199, VERDICT_RECIPIENT_INVALID },
		{ 7, 300, 349, VERDICT_DESTINATION_CONFIG },
		{ 7, 350, 350, VERDICT_MESSAGE_REJECTED },
		{ 7, 351, 399, VERDICT_DESTINATION_CONFIG },
		{ 7, 509, 509, VERDICT_MESSAGE_REJECTED },
		{ 7, 510, 511, VERDICT_SOURCE_BLOCK },
		{ 7, 515, 515, VERDICT_MESSAGE_REJECTED },
		{ 7, 606, 649, VERDICT_SOURCE_BLOCK },
		{ 7, 705, 705, VERDICT_MESSAGE_REJECTED },
		{ 7, 900, 999, VERDICT_MESSAGE_REJECTED },
	};
	static const char *const words[] = { "", "Access denied", "Service refused, sorry",
		("[DB5PEPF00014B9B.eurprd02.prod.outlook.com 2025-11-25T08:06:40.951Z "
		 "08DE2A19D02BF789]") };

	for (size_t i = 0; i < COUNT(t); i++) {
		for (unsigned d = t[i].low; d <= t[i].high; d++) {
			for (size_t k = 0; k < COUNT(words) * 2; k++) {
				char text[200];
				enum verdict got;

				(void)snprintf(text, sizeof(text), "55%d 5.%u.%u %s", k % 2 ? 4 : 0,
					t[i].subject, d, words[k / 2]);
				got = ask(shipped, "microsoft365", "rcpt", text).verdict;
				if (got != t[i].verdict)
					fail_msg("%s: %s", verdict_name(got), text);
			}
		}
	}
}

/* The number behind ATTR says nothing without its code: of our address speak 1, 3 and 5 with 4.4.4
 * alone, whatever words stand there; the marks of regions and loops keep their meaning. */
static void test_attribution(void **state)
{
	static const char *const code[] = { "451 4.4.3", "451 4.3.2", "451 4.4.1", "451 4.4.62",
		"451 4.7.1", "421 4.3.2", "451", "554 5.4.6", "550 5.4.14", "451 4.4.4" };

	for (unsigned number = 1; number <= 60; number++) {
		for (size_t i = 0; i < COUNT(code); i++) {
			bool ours =
				i == COUNT(code) - 1 && (number == 1 || number == 3 || number == 5);
			struct classification got;
			char text[120];

			(void)snprintf(text, sizeof(text),
				"%s Temporary server error. Please try again later ATTR%u.1",
				code[i], number);
			got = ask(shipped, "microsoft365", "rcpt", text);
			if ((got.verdict == VERDICT_SOURCE_THROTTLE) != ours ||
				got.verdict == VERDICT_SOURCE_BLOCK ||
				(*code[i] == '4' &&
					(got.verdict == VERDICT_RECIPIENT_INVALID ||
						got.verdict == VERDICT_MESSAGE_REJECTED)))
				fail_msg("%s by line %u: %s", verdict_name(got.verdict),
					got.rule_line, text);
		}
	}
	assert_int_equal(ask(shipped, "microsoft365", "rcpt",
				 "554 5.4.6 Hop count exceeded, possible mail loop ATTR1")
				 .verdict,
		VERDICT_DESTINATION_CONFIG);
}

/* Numbers of Microsoft's spam agents: those that are known, whatever stands around them, and an
 * unknown one, which is of our address as most are, but not in the provider's name. */
static void test_agent_numbers(void **state)
{
	static const struct {
		enum verdict verdict;
		enum verdict_scope scope;
		enum voice voice;
		const char *phase, *text;
	} t[] = {
		{ VERDICT_RECIPIENT_INVALID, SCOPE_DEFAULT, VOICE_RECEIVER, "rcpt",
			"550 5.4.1 Access denied. AS(201806281)" },
		{ VERDICT_RECIPIENT_INVALID, SCOPE_DEFAULT, VOICE_RECEIVER, "rcpt",
			"550 5.5.0 unavailable (S2017062302)" },
		{ VERDICT_SOURCE_BLOCK, SCOPE_DOMAIN, VOICE_TENANT, "rcpt",
			"550 5.7.1 Service unavailable (AS16012607)" },
		{ VERDICT_SOURCE_BLOCK, SCOPE_SENDER, VOICE_RECEIVER, "mail",
			"550 5.7.1 Service unavailable (S8001)" },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_SENDER, VOICE_RECEIVER, "mail",
			"550 5.7.1 Service unavailable AS(8002)" },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_SENDER, VOICE_RECEIVER, "rcpt",
			"550 5.7.1 Access denied, bad inbound connector. AS(2204)" },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_DEFAULT, VOICE_RECEIVER, "eod",
			"550 5.7.1 Requested action not taken (AS345)" },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_DEFAULT, VOICE_RECEIVER, "mail",
			"550 5.7.1 Access denied AS(42004)" },
		{ VERDICT_SOURCE_BLOCK, SCOPE_SUBNET, VOICE_PROVIDER, "mail",
			"550 5.7.1 Service unavailable (S3150)" },
		{ VERDICT_SOURCE_BLOCK, SCOPE_SOURCE, VOICE_RECEIVER, "mail",
			"550 5.7.1 Service unavailable (AS3130)" },
		{ VERDICT_SOURCE_BLOCK, SCOPE_SOURCE, VOICE_RECEIVER, "rcpt",
			"550 5.7.1 Service unavailable. AS(98765)" },
		{ VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, VOICE_RECEIVER, "rcpt",
			"451 Try later (AS98765)" },
		{ VERDICT_TRANSIENT_OTHER, SCOPE_DEFAULT, VOICE_RECEIVER, "rcpt",
			"450 4.1.1 Lookup failed, try later (S98765)" },
		{ VERDICT_DESTINATION_BUSY, SCOPE_RECIPIENT, VOICE_RECEIVER, "rcpt",
			"450 4.2.1 Mailbox is being moved (S98765)" },
		{ VERDICT_DESTINATION_BUSY, SCOPE_DEFAULT, VOICE_RECEIVER, "rcpt",
			"452 4.3.1 Out of disk space (S98765)" },
		{ VERDICT_TRANSIENT_OTHER, SCOPE_DEFAULT, VOICE_RECEIVER, "eod",
			"451 4.6.0 Conversion failed for now (AS98765)" },
		{ VERDICT_TRANSIENT_OTHER, SCOPE_RECIPIENT, VOICE_RECEIVER, "rcpt",
			"451 4.7.1 Greylisted, come back (AS98765)" },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_DEFAULT, VOICE_TENANT, "eod",
			"550 5.7.1 Rejected by a DLP policy of contoso.com AS(98765)" },
		{ VERDICT_MESSAGE_REJECTED, SCOPE_DEFAULT, VOICE_RECEIVER, "eod",
			"550 5.7.1 Mail from 192.0.2.1 contains malware AS(98765)" },
		{ VERDICT_DESTINATION_BUSY, SCOPE_DOMAIN, VOICE_RECEIVER, "eod",
			"550 5.5.0 Queue quota of the organization exceeded" },
		{ VERDICT_DESTINATION_BUSY, SCOPE_DEFAULT, VOICE_RECEIVER, "banner",
			"554 5.3.2 System not accepting network messages" },
		{ VERDICT_SOURCE_THROTTLE, SCOPE_SUBNET, VOICE_PROVIDER, "rcpt",
			"451 4.7.500 Try later (S77799)" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct classification got = ask(shipped, "microsoft365", t[i].phase, t[i].text);

		if (got.verdict != t[i].verdict || got.scope != t[i].scope ||
			got.voice != t[i].voice)
			print_error("%s %s voice %s by line %u: %s\n", verdict_name(got.verdict),
				verdict_scope_name(got.scope), voice_name(got.voice), got.rule_line,
				t[i].text);
		assert_int_equal(got.verdict, t[i].verdict);
		assert_int_equal(got.scope, t[i].scope);
		assert_int_equal(got.voice, t[i].voice);
	}
}

/* The other way round: plain words about the recipient, the message or the tenant are never taken
 * for our address's fault, whatever the code and the phase; as a refusal for good they are read as
 * what they say. */
static void test_other_faults(void **state)
{
	static const struct {
		enum verdict verdict;
		const char *words;
	} fault[] = {
		{ VERDICT_RECIPIENT_INVALID, "the mailbox of j.doe@contoso.com does not exist" },
		{ VERDICT_RECIPIENT_INVALID, "user unknown" },
		{ VERDICT_RECIPIENT_INVALID, "no such user here" },
		{ VERDICT_RECIPIENT_INVALID, "the recipient's account has been closed" },
		{ VERDICT_RECIPIENT_INVALID,
			"the account of this user is closed and takes no more messages" },
		{ VERDICT_RECIPIENT_INVALID, "this mailbox has been deactivated" },
		{ VERDICT_RECIPIENT_INVALID, "mailbox unavailable" },
		{ VERDICT_RECIPIENT_INVALID,
			"the recipient was not found in the directory of the organization" },
		{ VERDICT_RECIPIENT_INVALID, "recipient address rejected: no such mailbox" },
		{ VERDICT_RECIPIENT_INVALID, "this group only accepts messages from members" },
		{ VERDICT_RECIPIENT_INVALID, "the address you wrote to is no longer in use" },
		{ VERDICT_RECIPIENT_INVALID,
			"the mailbox is disabled and cannot receive messages" },
		{ VERDICT_RECIPIENT_INVALID,
			"the recipient has left the organization, the account was deleted" },
		{ VERDICT_RECIPIENT_INVALID,
			"the recipient's mailbox has been inactive for too long" },
		{ VERDICT_MESSAGE_REJECTED, "the message was rejected as spam" },
		{ VERDICT_MESSAGE_REJECTED, "the message contains malware" },
		{ VERDICT_MESSAGE_REJECTED, "the message exceeds the maximum size" },
		{ VERDICT_MESSAGE_REJECTED, "the sending domain does not pass DMARC verification" },
		{ VERDICT_MESSAGE_REJECTED, "SPF check failed for the sender's domain" },
		{ VERDICT_MESSAGE_REJECTED, "the DKIM signature of the message is not valid" },
		{ VERDICT_MESSAGE_REJECTED,
			"the sending domain is on the block list of the organization" },
		{ VERDICT_MESSAGE_REJECTED,
			"the sender's address is blocked by the recipient's organization" },
		{ VERDICT_MESSAGE_REJECTED, "the message has a bare line feed" },
		{ VERDICT_MESSAGE_REJECTED, "attachments of this type are not allowed" },
		{ VERDICT_MESSAGE_REJECTED, "the message is refused by a mail flow rule" },
		{ VERDICT_MESSAGE_REJECTED,
			"the From header of the message is not RFC 5322 compliant" },
		{ VERDICT_MESSAGE_REJECTED, "the message contains a link that is on a block list" },
		{ VERDICT_MESSAGE_REJECTED, "the domain of the sender does not meet the required "
					    "authentication level" },
		{ VERDICT_MESSAGE_REJECTED,
			"the sender example@example.com is on the tenant allow/block list" },
		{ VERDICT_DESTINATION_CONFIG,
			"the recipient's domain is not an accepted domain of this organization" },
		{ VERDICT_DESTINATION_CONFIG, "relay access denied" },
		{ VERDICT_DESTINATION_CONFIG, "unable to relay for contoso.org" },
		{ VERDICT_DESTINATION_CONFIG, "hop count exceeded, possible mail loop" },
		{ VERDICT_DESTINATION_CONFIG,
			"TLS is required by the organization, issue STARTTLS first" },
		{ VERDICT_DESTINATION_CONFIG,
			"the certificate does not match the one of the inbound connector" },
		{ VERDICT_DESTINATION_CONFIG, "the inbound connector of the organization restricts "
					      "domains to certificates" },
		{ VERDICT_DESTINATION_CONFIG, "the tenant has no mail-enabled subscriptions" },
		{ VERDICT_DESTINATION_CONFIG, "mail was sent to the wrong region of Office 365" },
		{ VERDICT_DESTINATION_CONFIG, "the organization's tenant has been deprovisioned" },
		{ VERDICT_DESTINATION_CONFIG, "direct send is not allowed for this organization" },
	};
	static const char *const code[] = { "550 5.7.1", "550 5.7.0", "550 5.1.1", "550 5.4.1",
		"550 5.2.1", "550 5.0.0", "550", "554 5.7.1", "554", "550 5.3.0", "550 5.5.0",
		"550 5.7.133", "450 4.7.1", "451 4.7.0", "451 4.3.0", "450 4.2.0", "451",
		"421 4.3.2", "450", "451 4.4.0", "452 4.3.1", "421", "450 4.1.1", "451 4.7.1" };
	static const char *const phase[] = { "mail", "rcpt", "data", "eod", "unknown" };
	static const char *const provider[] = { "microsoft365", "outlook" };

	for (size_t i = 0; i < COUNT(code) * COUNT(fault); i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "%s %s", code[i % COUNT(code)],
			fault[i / COUNT(code)].words);
		for (size_t j = 0; j < COUNT(phase) * COUNT(provider); j++) {
			enum verdict v = ask(shipped, provider[j % COUNT(provider)],
				phase[j / COUNT(provider)], text)
						 .verdict;

			if (is_source(v) || (*text == '5' && v != fault[i / COUNT(code)].verdict))
				fail_msg("%s: %s: %s", verdict_name(v), phase[j / COUNT(provider)],
					text);
		}
	}
}

/* Receivers of the world at large, in several languages: our address's faults are read as such
 * whatever code and words stand before them, and nobody else's are. */
static void test_others(void **state)
{
	static const char *const code[] = { "550 5.7.1", "550 5.1.1", "550 5.4.1", "550 5.2.1",
		"550 5.0.0", "550", "554 5.7.1", "554", "550 5.3.0", "550 5.7.0", "450 4.7.1",
		"451 4.7.0", "450", "451 4.3.0" };
	static const char *const head[] = { "Access denied,", "Service unavailable;",
		"Message rejected;", "Mail refused:", "" };
	static const char *const ours[] = { "your IP has been found on a block list",
		"the IP address 192.0.2.7 is blocked",
		"Client host [192.0.2.7] blocked using bl.example",
		"messages from your IP address are not accepted",
		"connections from 192.0.2.7 are refused", "the sending IP has a poor reputation",
		"192.0.2.7 is listed by Spamhaus", "the host 192.0.2.7 is on a blocklist",
		"the connecting IP has no reverse DNS record", "too many messages from your IP",
		"your server is listed in a DNSBL", "no PTR record for 192.0.2.7",
		"votre adresse IP est bloquee", "Ihre IP-Adresse ist gesperrt",
		"la direccion IP 192.0.2.7 esta bloqueada", "your network is blocked for abuse",
		"mail from your IP range is not accepted", "helo command rejected: localhost",
		"dynamic IP addresses are not accepted", "banned sending IP [192.0.2.7]" };
	static const char *const theirs[] = { "user unknown", "no such user here",
		"the mailbox does not exist", "this account has been disabled",
		"recipient address rejected: no such mailbox", "mailbox unavailable",
		"Benutzer unbekannt", "utilisateur inconnu", "the message was rejected as spam",
		"the message contains a virus", "the message exceeds the maximum size",
		"the sending domain does not pass DMARC",
		"SPF check failed for the sender's domain", "the DKIM signature is not valid",
		"attachments of this type are not allowed",
		"sender address rejected: domain not found",
		"the message is refused by a mail flow rule", "rejected by organization policy",
		"the content of the message is suspicious", "relay access denied",
		"too many hops, mail loop", "unable to relay", "mailbox full",
		"the recipient is over quota", "receiving mail at a rate that is too high" };
	static const char *const phase[] = { "mail", "rcpt", "data", "eod", "unknown" };

	for (size_t i = 0; i < COUNT(code) * COUNT(head) * COUNT(phase); i++) {
		const char *c = code[i % COUNT(code)], *h = head[i / COUNT(code) % COUNT(head)];
		const char *p = phase[i / COUNT(code) / COUNT(head)];
		char text[256];

		for (size_t k = 0; k < COUNT(ours) + COUNT(theirs); k++) {
			bool our = k < COUNT(ours);
			enum verdict v;

			if (our && *c == '4')
				continue; /* for a while it may be said of anything */
			(void)snprintf(text, sizeof(text), "%s %s %s", c, h,
				our ? ours[k] : theirs[k - COUNT(ours)]);
			v = ask(shipped, "default", p, text).verdict;
			if (is_source(v) != our)
				fail_msg("%s: %s: %s", verdict_name(v), p, text);
		}
	}
}

/* Words of greylisting, of receivers of several makes: nobody is to blame, and the mail is to come
 * back from the same source. */
static void test_greylisting(void **state)
{
	static const char *const words[] = { "Greylisted, see http://greylist.example/help",
		"Recipient address rejected: Greylisted",
		"Greylisting in action, please come back later", "You have been greylisted",
		"Temporarily deferred by greylisting, try again in 300 seconds",
		"Please try again later", "try again in 300 seconds",
		"Not accepted for now from an unknown sender-recipient triple",
		"Greylisted; your IP address 192.0.2.1 is new to us, come back in 5 minutes",
		"Mail for this recipient is postponed, retry in 5 minutes" };
	static const char *const code[] = { "450 4.2.0", "451 4.7.1", "450 4.7.1", "451 4.7.0",
		"450", "451", "421 4.7.0" };
	static const char *const phase[] = { "mail", "rcpt", "data", "eod" };

	for (size_t i = 0; i < COUNT(code) * COUNT(words); i++) {
		char text[256];

		(void)snprintf(
			text, sizeof(text), "%s %s", code[i % COUNT(code)], words[i / COUNT(code)]);
		for (size_t j = 0; j < COUNT(phase); j++) {
			struct classification got = ask(shipped, "default", phase[j], text);

			if (got.verdict != VERDICT_TRANSIENT_OTHER)
				fail_msg("%s by line %u: %s: %s", verdict_name(got.verdict),
					got.rule_line, phase[j], text);
		}
	}
}

/* Its own trouble, told for a while: nobody's fault but the receiver's, and nothing is bounced for
 * it. */
static void test_receiver_faults(void **state)
{
	static const char *const fault[] = {
		"the server is out of memory, insufficient system resources",
		"the mailbox server is too busy", "the mailbox database is offline",
		"directory lookup failed, Active Directory is unavailable", "DNS query failed",
		"the message could not be replicated",
		"too many concurrent deliveries to this mailbox",
		"service not available, closing transmission channel",
		"the server is shutting down", "the queue quota of the organization is exceeded",
		"connection dropped", "timeout waiting for client input",
		"temporary proxy failure, the mailbox server did not answer", "the mailbox is full",
		"the recipient receives too many messages per hour"
	};
	static const char *const code[] = { "450 4.7.1", "451 4.7.0", "451 4.3.0", "450 4.2.0",
		"451", "421 4.3.2", "450", "451 4.4.0", "452 4.3.1", "421", "450 4.1.1",
		"451 4.7.1" };
	static const char *const phase[] = { "connect", "banner", "ehlo", "mail", "rcpt", "data",
		"eod", "unknown" };

	for (size_t i = 0; i < COUNT(code) * COUNT(fault); i++) {
		char text[256];

		(void)snprintf(
			text, sizeof(text), "%s %s", code[i % COUNT(code)], fault[i / COUNT(code)]);
		for (size_t j = 0; j < COUNT(phase); j++) {
			enum verdict v = ask(shipped, "microsoft365", phase[j], text).verdict;

			if (v != VERDICT_DESTINATION_BUSY && v != VERDICT_TRANSIENT_OTHER)
				fail_msg("%s: %s: %s", verdict_name(v), phase[j], text);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source_faults),
		cmocka_unit_test(test_tenants_words),
		cmocka_unit_test(test_sender_words),
		cmocka_unit_test(test_providers_words),
		cmocka_unit_test(test_code_families),
		cmocka_unit_test(test_attribution),
		cmocka_unit_test(test_agent_numbers),
		cmocka_unit_test(test_other_faults),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_greylisting),
		cmocka_unit_test(test_receiver_faults),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s RULES\n", argv[0]);
		return 64;
	}
	rules_path = argv[1];
	return cmocka_run_group_tests(tests, load, unload);
}
